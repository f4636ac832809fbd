package flow

import (
	"context"
	"errors"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// Kinds of letters.
const (
	// FactsKind tells facts, and gives back those that their teller has lost.
	FactsKind = "federal.facts.v2"
	// DaysKind tells days.
	DaysKind = "federal.days.v1"
	// SheltersKind tells what a node's shelters have.
	SheltersKind = "federal.shelters.v1"
	// LinksKind tells how a service's links stand.
	LinksKind = "federal.links.v1"
	// WantedKind asks for days.
	WantedKind = "federal.flows_wanted.v1"
)

const (
	// settle is how long changes of a day are gathered before it is told again.
	settle = 5 * time.Second
	// PerLetter is how many facts one letter tells again, or gives back, about 100 KB.
	PerLetter = 500
	// daysPerLetter is how many days one letter tells.
	daysPerLetter = 400
)

// Tables keep what a service has told.
type Tables struct {
	told   *store.Table[*federalv1.Fact]
	days   *store.Table[*federalv1.FlowDayMark]
	untold *store.Index[*federalv1.FlowDayMark]
}

// Declare adds the tables (`flow_facts`, `flow_days`) to a service's schema.
func Declare(schema *store.Schema) *Tables {
	t := &Tables{
		told: store.NewTable[*federalv1.Fact](schema, "flow_facts"), // (day, id)
		days: store.NewTable[*federalv1.FlowDayMark](schema, "flow_days"),
	}
	t.untold = store.NewIndex(t.days, "flow_days_untold", func(m *federalv1.FlowDayMark) []store.Key {
		if m.GetTold() {
			return nil
		}
		return []store.Key{store.K(m.GetDay().GetDay())}
	})
	return t
}

// Post queues letters in the transaction of the state they report.
type Post interface {
	Queue(tx *store.Tx, o post.Outgoing) error
}

// Teller tells facts and days. All fields are needed.
type Teller struct {
	// DB is the service's store.
	DB *store.DB
	// Tables are where it keeps what it told.
	Tables *Tables
	// Node and Service are who tells.
	Node, Service string
	// Federal is the name of the federal node.
	Federal string
	// Now is the clock.
	Now func() time.Time
	// Post sends letters.
	Post Post
}

// Tell keeps facts and queues them, in the transaction that makes them true. Those that were told before are passed over.
func (t *Teller) Tell(tx *store.Tx, all ...*federalv1.Fact) error {
	var fresh []*federalv1.Fact
	for _, f := range all {
		added, err := t.keep(tx, f)
		if err != nil {
			return err
		}
		if added {
			fresh = append(fresh, f)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	err := t.send(tx, FactsKind, &federalv1.Facts{Facts: fresh})
	if errors.Is(err, post.ErrAbsent) {
		return nil // what happens is nowhere undone for it: of the day, which is told until it is taken, the cell asks for what it lacks
	}
	return err
}

// keep adds a fact to its day, unless it is there.
func (t *Teller) keep(tx *store.Tx, f *federalv1.Fact) (added bool, err error) {
	day, id := facts.Day(f.GetEventTime().AsTime()), facts.ID(t.Node, t.Service, f)
	if there, err := t.Tables.told.Has(tx, store.K(day, id)); err != nil || there {
		return false, err
	}
	if err := t.Tables.told.Insert(tx, store.K(day, id), f); err != nil {
		return false, err
	}
	mark, err := t.Tables.days.Get(tx, store.K(day))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	return true, t.Tables.days.Put(tx, store.K(day), &federalv1.FlowDayMark{Day: facts.Add(mark.GetDay(), day, id)})
}

func (t *Teller) send(tx *store.Tx, kind string, body proto.Message) error {
	return t.Post.Queue(tx, post.Outgoing{
		To: &postv1.Address{Node: t.Federal, Service: "federal"}, Lane: postv1.Lane_LANE_BULK, Kind: kind, Body: body,
	})
}

// Report tells the days that have changed since they were told, and answers when to look again.
func (t *Teller) Report(ctx context.Context) (next time.Time, err error) {
	now := t.Now()
	next = now.Add(settle)
	changed := false
	err = t.DB.View(ctx, func(r store.Reader) error {
		rows, _, err := t.Tables.untold.Page(r, store.Range{}, 1)
		changed = len(rows) > 0
		return err
	})
	if err != nil || !changed {
		return next, err
	}
	err = t.DB.Update(ctx, func(tx *store.Tx) error {
		rows, _, err := t.Tables.untold.Page(tx, store.Range{}, daysPerLetter)
		if err != nil || len(rows) == 0 {
			return err
		}
		days := &federalv1.FlowDays{}
		for _, row := range rows {
			days.Days = append(days.Days, row.Value.GetDay())
			mark := &federalv1.FlowDayMark{Day: row.Value.GetDay(), Told: true}
			if err := t.Tables.days.Put(tx, store.K(mark.GetDay().GetDay()), mark); err != nil {
				return err
			}
		}
		return t.send(tx, DaysKind, days)
	})
	return post.OnceThere(now, next, err)
}

// Reports is what tells of a service from its start on: BeginLife until it could be done, and Report from then on. teller is asked for each time;
// one caller at a time.
func Reports(teller func() *Teller) func(context.Context) (next time.Time, err error) {
	begun := false
	return func(ctx context.Context) (time.Time, error) {
		t := teller()
		if !begun {
			if err := t.BeginLife(ctx); err != nil {
				return post.OnceThere(t.Now(), time.Time{}, err)
			}
			begun = true
		}
		return t.Report(ctx)
	}
}

// Handlers take in what the federal cell writes. The teller is asked for with each letter: a service's post is made of its handlers, and its
// teller of its post.
func Handlers(teller func() *Teller) map[string]post.Handler {
	return map[string]post.Handler{
		WantedKind: func(tx *store.Tx, from *postv1.Address, l *postv1.Letter) error {
			return teller().takeWanted(tx, from, l)
		},
		FactsKind: func(tx *store.Tx, from *postv1.Address, l *postv1.Letter) error {
			return teller().takeBack(tx, from, l)
		},
	}
}

// Why a letter is refused.
const (
	refusedSender = "not-the-federal-cell"
	refusedBody   = "invalid-flows"
)

// open reads a letter of the federal cell.
func (t *Teller) open(from *postv1.Address, letter *postv1.Letter, into proto.Message) error {
	if from.GetNode() != t.Federal || from.GetService() != "federal" {
		return post.Refuse(refusedSender)
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(letter.GetBody(), into); err != nil {
		return post.Refuse(refusedBody)
	}
	if protovalidate.Validate(into) != nil {
		return post.Refuse(refusedBody)
	}
	return nil
}

// takeWanted tells again what is asked for. A day is told behind its facts.
func (t *Teller) takeWanted(tx *store.Tx, from *postv1.Address, letter *postv1.Letter) error {
	wanted := &federalv1.FlowsWanted{}
	if err := t.open(from, letter, wanted); err != nil {
		return err
	}
	for _, day := range wanted.GetDays() {
		if err := t.tellAgain(tx, day); err != nil {
			return err
		}
	}
	if !wanted.GetAllDays() {
		return nil
	}
	return t.tellAll(tx)
}

// lastDay is later than any.
const lastDay = "9999-12-31"

// tellAll tells all days, and that there are no others.
func (t *Teller) tellAll(tx *store.Tx) error {
	told := &federalv1.FlowDays{}
	for span := (store.Range{}); ; {
		rows, after, err := t.Tables.days.Page(tx, span, daysPerLetter)
		if err != nil {
			return err
		}
		for _, row := range rows {
			told.Days = append(told.Days, row.Value.GetDay())
		}
		if len(told.GetDays()) == 0 { // a letter tells one at least
			told.Days = []*federalv1.FlowDay{{Day: facts.Day(t.Now()), Digest: make([]byte, 32)}}
		}
		if told.ThroughDay = lastDay; after != nil {
			told.ThroughDay = told.GetDays()[len(told.GetDays())-1].GetDay()
		}
		if err := t.send(tx, DaysKind, told); err != nil || after == nil {
			return err
		}
		told, span.After = &federalv1.FlowDays{AfterDay: told.GetThroughDay()}, after
	}
}

// BeginLife tells all days at a start in a life that is not the store's first: what was told in one that is lost the cell has, and gives back.
func (t *Teller) BeginLife(ctx context.Context) error {
	if t.DB.FirstLife() {
		return nil
	}
	return t.DB.Update(ctx, t.tellAll)
}

// retell has Report tell a day.
func (t *Teller) retell(tx *store.Tx, day *federalv1.FlowDay) error {
	return t.Tables.days.Put(tx, store.K(day.GetDay()), &federalv1.FlowDayMark{Day: day})
}

// tellAgain queues all facts of a day and has Report tell it; also one of which nothing is known here.
func (t *Teller) tellAgain(tx *store.Tx, day string) error {
	span := store.Range{Prefix: store.K(day)}
	for {
		rows, after, err := t.Tables.told.Page(tx, span, PerLetter)
		if err != nil {
			return err
		}
		told := &federalv1.Facts{}
		for _, row := range rows {
			told.Facts = append(told.Facts, row.Value)
		}
		if len(rows) > 0 {
			if err := t.send(tx, FactsKind, told); err != nil {
				return err
			}
		}
		if span.After = after; after == nil {
			break
		}
	}
	mark, err := t.Tables.days.Get(tx, store.K(day))
	if errors.Is(err, store.ErrNotFound) {
		mark, err = &federalv1.FlowDayMark{Day: &federalv1.FlowDay{Day: day, Digest: make([]byte, 32)}}, nil
	}
	if err != nil {
		return err
	}
	return t.retell(tx, mark.GetDay())
}

// takeBack takes in facts that this service told and has lost.
func (t *Teller) takeBack(tx *store.Tx, from *postv1.Address, letter *postv1.Letter) error {
	told := &federalv1.Facts{}
	if err := t.open(from, letter, told); err != nil {
		return err
	}
	if mutant.Off("given back") {
		return nil
	}
	for _, f := range told.GetFacts() {
		if !f.GetEventTime().IsValid() {
			return post.Refuse(refusedBody)
		}
		if _, err := t.keep(tx, f); err != nil {
			return err
		}
	}
	return nil
}
