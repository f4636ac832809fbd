package app

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/limits"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// missing is what is known of a deadline that was missed.
type missing struct {
	kind            protectionv1.Notice_Kind
	subject, step   string
	due             time.Time // at first
	missed          int32     // how often by now
	unit, reference string    // may be empty
	urgency         custodyv1.Urgency
}

// missed tells a person of it: a notice, at most one for each time it was missed, however often that is
// heard.
func (a *App) missed(tx *kitstore.Tx, m missing) error {
	now, key := a.Now(), store.MissedKey(m.kind, m.subject, m.step, m.due)
	record, err := optional(store.Missed.Get(tx, key))
	if err != nil {
		return err
	}
	if record == nil {
		record = &protectionv1.MissedRecord{Kind: m.kind, Subject: m.subject, Step: m.step, DueTime: timestamppb.New(m.due)}
	}
	known := record.GetMissed()
	unit, err := optional(store.Units.Get(tx, kitstore.K(orNone(m.unit))))
	if err != nil {
		return err
	}
	hold := a.Limits.ByRisk(m.urgency, rules.PlaceOf(unit)).Answer
	level := rules.Tell(record, m.missed, hold, now)
	if record.GetMissed() == known {
		return nil // heard before
	}
	if err := store.Missed.Put(tx, key, record); err != nil {
		return err
	}
	if level == protectionv1.Notice_LEVEL_UNSPECIFIED {
		return nil
	}
	return a.notice(tx, m, unit, level, now)
}

// notice writes who is told.
func (a *App) notice(tx *kitstore.Tx, m missing, unit *protectionv1.Unit, level protectionv1.Notice_Level, now time.Time) error {
	worker, err := a.whoIsTold(tx, unit, level, now)
	if err != nil {
		return err
	}
	name, err := a.newName("notices")
	if err != nil {
		return err
	}
	n := &protectionv1.Notice{
		Name: name, Worker: worker, Unit: m.unit, Kind: m.kind, Step: m.step, Subject: m.subject, Reference: m.reference, Level: level,
		Missed: m.missed, DueTime: timestamppb.New(m.due), CreateTime: timestamppb.New(now), Path: "/v1/" + m.subject, Urgency: m.urgency,
		State: protectionv1.Notice_STATE_WAITING,
	}
	if err := store.Notices.Insert(tx, kitstore.K(name), n); err != nil {
		return err
	}
	if worker == "" {
		return nil // it waits for a focal point
	}
	return a.ring(tx, worker, now)
}

func (a *App) whoIsTold(tx *kitstore.Tx, unit *protectionv1.Unit, level protectionv1.Notice_Level, now time.Time) (string, error) {
	ladder, err := getLadder(tx)
	if err != nil {
		return "", err
	}
	people := a.people(tx)
	worker := rules.WhoIsTold(rules.People{Unit: unit, FocalPoint: ladder.GetFocalPoint(), Worker: people.worker}, level, now)
	return worker, people.err
}

// ring notes that something waits for a worker. A message under way that nobody has taken is not hurried by it.
func (a *App) ring(tx *kitstore.Tx, worker string, now time.Time) error {
	tx.AfterCommit(a.Wake)
	box, err := a.mailbox(tx, worker)
	if err != nil || box.GetMessage() != nil && len(box.GetMessage().GetTakenBy()) == 0 {
		return err
	}
	box.NextTime = timestamppb.New(now)
	return store.Mailboxes.Put(tx, kitstore.K(worker), box)
}

func (a *App) mailbox(r kitstore.Reader, worker string) (*protectionv1.MailboxRecord, error) {
	box, err := optional(store.Mailboxes.Get(r, kitstore.K(worker)))
	if box == nil {
		box = &protectionv1.MailboxRecord{Worker: worker}
	}
	return box, err
}

// missedReferral takes in that the node's referral service missed a deadline.
func (a *App) missedReferral(tx *kitstore.Tx, event *eventsv1.Event) error {
	e := &referralv1.DeadlineMissed{}
	if err := event.GetData().UnmarshalTo(e); err != nil {
		return fmt.Errorf("event %s: %w", event.GetId(), err)
	}
	d := e.GetDeadline()
	subject, due := d.GetReferral(), e.GetFirstDueTime()
	if d.GetOffer() != "" {
		subject = d.GetOffer()
	}
	if due == nil { // written before there was such a field: each time it was due counts as one deadline
		due = d.GetDueTime()
	}
	return a.missed(tx, missing{
		kind: protectionv1.Notice_KIND_REFERRAL, subject: subject, step: strings.TrimPrefix(d.GetKind().String(), "KIND_"), due: due.AsTime(),
		missed: max(d.GetMissed(), 1), unit: d.GetUnit(), reference: e.GetReference(), urgency: e.GetUrgency(),
	})
}

// FollowShelter takes in an event of this node's shelter service, in the transaction that moves the mark:
// a waitlist entry that must be looked at is a deadline of ours until somebody did.
func (a *App) FollowShelter(tx *kitstore.Tx, event *eventsv1.Event) error {
	if !strings.HasPrefix(event.GetType(), "shelter.waitlist.") {
		return nil
	}
	e := &shelterv1.WaitlistChanged{}
	if err := event.GetData().UnmarshalTo(e); err != nil {
		return fmt.Errorf("event %s: %w", event.GetId(), err)
	}
	switch event.GetType() {
	case "shelter.waitlist.review-due.v1":
		return a.reviewDue(tx, e, event.GetTime())
	case "shelter.waitlist.reviewed.v1", "shelter.waitlist.closed.v1":
		return a.endDeadlines(tx, e.GetEntry(), event.GetTime())
	}
	return nil
}

func (a *App) reviewDue(tx *kitstore.Tx, e *shelterv1.WaitlistChanged, at *timestamppb.Timestamp) error {
	d := &protectionv1.CaseDeadline{
		Subject: e.GetEntry(), Step: rules.StepWaitlistReview, EventTime: at, DueTime: at, NextTime: at, State: protectionv1.CaseDeadline_STATE_OPEN,
		Urgency: custodyv1.Urgency_URGENCY_MEDIUM, // the event says none; somebody waits for a place
	}
	// Whose case it is, is known at the node that takes care of the person.
	if referral, _, ok := strings.Cut(e.GetOffer(), "/offers/"); ok {
		row, err := store.CasesByReferral.FirstPublic(tx, kitstore.Range{Prefix: kitstore.K(referral)})
		switch {
		case errors.Is(err, kitstore.ErrNotFound):
		case err != nil:
			return err
		default:
			c := row.Value.GetCase()
			d.Unit, d.Reference, d.Urgency = c.GetUnit(), c.GetReference(), c.GetUrgency()
		}
	}
	_, err := a.begin(tx, d)
	return err
}

// lawsFrom has the laws count from what made a case.
func (a *App) lawsFrom(tx *kitstore.Tx, c *protectionv1.Case, now time.Time) error {
	event := limits.EventIntake
	if c.GetSource() == protectionv1.Case_SOURCE_REFERRAL {
		event = limits.EventArrival
	}
	_, err := a.beginDeadlines(tx, c, event, now)
	return err
}
