package app

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/limits"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// fireAtOnce bounds how many deadlines one transaction fires.
const fireAtOnce = 64

// beginDeadlines has the laws of a case's unit count from an event. One that counts already stays.
func (a *App) beginDeadlines(tx *kitstore.Tx, c *protectionv1.Case, event string, at time.Time) (all []*protectionv1.CaseDeadline, err error) {
	unit, err := optional(store.Units.Get(tx, kitstore.K(orNone(c.GetUnit()))))
	if err != nil {
		return nil, err
	}
	place := rules.PlaceOf(unit)
	if unit == nil { // another node named it, and nobody entered it here: the laws of the province hold all the same
		own, _ := a.Roster.Node(a.Node)
		place = limits.Place{Province: own.GetProvince()}
	}
	for _, d := range rules.CaseDeadlines(a.Limits, c, place, event, at) {
		kept, err := a.begin(tx, d)
		if err != nil {
			return nil, err
		}
		all = append(all, kept)
	}
	return all, nil
}

// begin stores a deadline, unless its step of that event is there; and answers with what is stored.
func (a *App) begin(tx *kitstore.Tx, d *protectionv1.CaseDeadline) (*protectionv1.CaseDeadline, error) {
	known, err := store.DeadlinesBySubject.First(tx, kitstore.Range{Prefix: kitstore.K(d.GetSubject(), d.GetStep(), d.GetEventTime().AsTime())})
	if err == nil {
		return shownDeadline(known), nil
	}
	if !errors.Is(err, kitstore.ErrNotFound) {
		return nil, err
	}
	if d.Name, err = a.newName("caseDeadlines"); err != nil {
		return nil, err
	}
	if err := store.CaseDeadlines.Insert(tx, kitstore.K(d.GetName()), d); err != nil {
		return nil, err
	}
	tx.AfterCommit(a.Wake)
	row, err := store.CaseDeadlines.Row(tx, kitstore.K(d.GetName()))
	return shownDeadline(row), err
}

func shownDeadline(row kitstore.Row[*protectionv1.CaseDeadline]) *protectionv1.CaseDeadline {
	if row.Value == nil {
		return nil
	}
	d := proto.CloneOf(row.Value)
	d.Etag = etag(row.Version)
	return d
}

// endDeadlines ends what is owed of a case or a waitlist entry: all of it, or what had begun by a time that is given, for word of an end
// may be heard again when something else is due.
func (a *App) endDeadlines(tx *kitstore.Tx, subject string, until *timestamppb.Timestamp) error {
	var open []kitstore.Key
	err := store.DeadlinesBySubject.Scan(tx, kitstore.Range{Prefix: kitstore.K(subject)}, func(key kitstore.Key, d *protectionv1.CaseDeadline) error {
		if rules.Owed(d) && (until == nil || !d.GetEventTime().AsTime().After(until.AsTime())) {
			open = append(open, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range open {
		d, err := store.CaseDeadlines.Get(tx, key)
		if err != nil {
			return err
		}
		d.State, d.EndTime = protectionv1.CaseDeadline_STATE_ENDED, timestamppb.New(a.Now())
		if err := store.CaseDeadlines.Put(tx, key, d); err != nil {
			return err
		}
		tx.AfterCommit(a.Wake)
	}
	return nil
}

// resumeDeadlines has what was owed of a case when its person left be owed again, since the person is back. To the laws of a unit at which
// people arrive a return is an arrival.
func (a *App) resumeDeadlines(tx *kitstore.Tx, c *protectionv1.Case, now time.Time) error {
	if _, err := a.beginDeadlines(tx, c, limits.EventArrival, now); err != nil {
		return err
	}
	var all []*protectionv1.CaseDeadline
	err := store.DeadlinesBySubject.Scan(tx, kitstore.Range{Prefix: kitstore.K(c.GetName())}, func(_ kitstore.Key, d *protectionv1.CaseDeadline) error {
		all = append(all, d)
		return nil
	})
	if err != nil {
		return err
	}
	begun, reopened := rules.Resume(all, now)
	for _, d := range begun {
		if _, err := a.begin(tx, d); err != nil {
			return err
		}
	}
	for _, d := range reopened {
		if err := store.CaseDeadlines.Put(tx, kitstore.K(d.GetName()), d); err != nil {
			return err
		}
		tx.AfterCommit(a.Wake)
	}
	return nil
}

// RecordLegalEvent records an event of a case from which the law counts.
func (a *App) RecordLegalEvent(ctx context.Context, request *protectionv1.RecordLegalEventRequest) (*protectionv1.RecordLegalEventResponse, error) {
	if err := a.checkNode("name", request.GetName()); err != nil {
		return nil, err
	}
	response := &protectionv1.RecordLegalEventResponse{}
	err := a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		row, err := a.openCase(tx, request.GetName())
		if err != nil {
			return err
		}
		if request.GetEtag() != etag(row.Version) {
			return fault.StaleEtag()
		}
		if err := rules.CheckEvent(row.Value.GetCase(), request.GetEventTime(), a.Now()); err != nil {
			return err
		}
		response.CaseDeadlines, err = a.beginDeadlines(tx, row.Value.GetCase(), request.GetEvent(), request.GetEventTime().AsTime())
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// MeetDeadline notes that a deadline was met. Meeting it again is a no-op.
func (a *App) MeetDeadline(ctx context.Context, request *protectionv1.MeetDeadlineRequest) (met *protectionv1.CaseDeadline, err error) {
	if err := a.checkNode("name", request.GetName()); err != nil {
		return nil, err
	}
	key := kitstore.K(request.GetName())
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		row, err := store.CaseDeadlines.Row(tx, key)
		if errors.Is(err, kitstore.ErrNotFound) {
			return fault.NotFound("deadline")
		}
		if err != nil {
			return err
		}
		switch d := row.Value; {
		case d.GetState() == protectionv1.CaseDeadline_STATE_MET:
			met = shownDeadline(row)
			return nil
		case request.GetEtag() != etag(row.Version):
			return fault.StaleEtag()
		case !rules.Owed(d):
			return fault.New(fault.WrongState, "Nothing more is owed: the case was closed.", "state", d.GetState().String())
		}
		row.Value.State, row.Value.EndTime = protectionv1.CaseDeadline_STATE_MET, timestamppb.New(a.Now())
		if err := store.CaseDeadlines.Put(tx, key, row.Value); err != nil {
			return err
		}
		tx.AfterCommit(a.Wake)
		row, err = store.CaseDeadlines.Row(tx, key)
		met = shownDeadline(row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return met, nil
}

// ListCaseDeadlines lists open deadlines, the next to be missed first.
func (a *App) ListCaseDeadlines(ctx context.Context, request *protectionv1.ListCaseDeadlinesRequest) (*protectionv1.ListCaseDeadlinesResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	f := request.GetFilter()
	after, err := a.Tokens.Read("case_deadlines", f, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	response := &protectionv1.ListCaseDeadlinesResponse{}
	next, err := sweepPages(ctx, a.DB, store.DeadlinesByTime, kitstore.Range{After: after}, paging.Size(request.GetPageSize(), usualPage),
		func(row kitstore.Row[*protectionv1.CaseDeadline]) bool {
			d := shownDeadline(row)
			if f.GetUnit() != "" && f.GetUnit() != d.GetUnit() || f.GetSubject() != "" && f.GetSubject() != d.GetSubject() || f.GetMissed() && d.GetMissed() == 0 {
				return false
			}
			response.CaseDeadlines = append(response.CaseDeadlines, d)
			return true
		})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("case_deadlines", f, next)
	return response, err
}

// sweepPages collects a page of rows that take says yes to, and looks at a bounded number of rows; a page
// may be short and has a position for the rest.
func sweepPages[M proto.Message](ctx context.Context, db *kitstore.DB, index *kitstore.Index[M], rg kitstore.Range, limit int, take func(kitstore.Row[M]) bool) (kitstore.Key, error) {
	err := db.View(ctx, func(r kitstore.Reader) error {
		for looked := 0; limit > 0 && looked < sweep; {
			rows, next, err := index.Page(r, rg, limit)
			if err != nil {
				return err
			}
			looked += len(rows)
			for _, row := range rows {
				if take(row) {
					limit--
				}
			}
			if rg.After = next; next == nil {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rg.After, nil
}

// FireDeadlines fires the deadlines that have passed, once for each time they were due, and says when the
// next one is; zero when there is none.
func (a *App) FireDeadlines(ctx context.Context) (next time.Time, err error) {
	if err := a.astray().BringBack(ctx); err != nil {
		return time.Time{}, err
	}
	for {
		if next, err = a.nextDeadline(ctx); err != nil || next.IsZero() || next.After(a.Now()) {
			return next, err
		}
		if err := a.DB.Update(ctx, a.fireDue); err != nil {
			return time.Time{}, err
		}
	}
}

func (a *App) nextDeadline(ctx context.Context) (next time.Time, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := store.DeadlinesByTime.First(r, kitstore.Range{})
		if errors.Is(err, kitstore.ErrNotFound) {
			return nil
		}
		next = row.Value.GetNextTime().AsTime()
		return err
	})
	return next, err
}

// astray brings back the deadlines that lie too far ahead.
func (a *App) astray() *late.Astray[*protectionv1.CaseDeadline] {
	return &late.Astray[*protectionv1.CaseDeadline]{
		DB: a.DB, Table: store.CaseDeadlines, Now: a.Now, Missed: store.LateDeadlines, Most: rules.ToldAgain(a.Limits),
		First: func(d *protectionv1.CaseDeadline) time.Time { return d.GetDueTime().AsTime() },
		Due:   func(d *protectionv1.CaseDeadline, at time.Time) { d.NextTime = timestamppb.New(at) },
	}
}

func (a *App) fireDue(tx *kitstore.Tx) error {
	now := a.Now()
	rows, _, err := store.DeadlinesByTime.Page(tx, kitstore.Range{Before: kitstore.K(now.Add(1))}, fireAtOnce)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := a.fire(tx, row, now); err != nil {
			return err
		}
	}
	return nil
}

// fire tells that a deadline was missed, and moves it to its next step.
func (a *App) fire(tx *kitstore.Tx, row kitstore.Row[*protectionv1.CaseDeadline], now time.Time) error {
	d := row.Value
	unit, err := optional(store.Units.Get(tx, kitstore.K(orNone(d.GetUnit()))))
	if err != nil {
		return err
	}
	rules.MissCaseDeadline(d, now, a.Limits, rules.PlaceOf(unit))
	if err := a.Events.Append(tx, "protection.deadline.missed.v1", d.GetName(), now, &protectionv1.CaseDeadlineMissed{CaseDeadline: d}); err != nil {
		return err
	}
	if err := store.CaseDeadlines.Put(tx, row.Key, d); err != nil {
		return err
	}
	kind := protectionv1.Notice_KIND_CASE
	if d.GetStep() == rules.StepWaitlistReview {
		kind = protectionv1.Notice_KIND_WAITLIST
	}
	return a.missed(tx, missing{
		kind: kind, subject: d.GetSubject(), step: d.GetStep(), due: d.GetDueTime().AsTime(), missed: d.GetMissed(),
		unit: d.GetUnit(), reference: d.GetReference(), urgency: d.GetUrgency(),
	})
}

// orNone is a key for no name: a key cannot be empty.
func orNone(name string) string {
	if name == "" {
		return "none"
	}
	return name
}

// optional is a row that need not be there.
func optional[M any](m M, err error) (M, error) {
	if errors.Is(err, kitstore.ErrNotFound) {
		var none M
		return none, nil
	}
	return m, err
}
