package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

// refusedDays says that days are not told as they should be.
const refusedDays = "invalid-days"

const (
	// askAgain is how soon a day that still differs is asked for again. What was asked for comes by the same way, and may be long under way.
	askAgain = time.Hour
	// askSeldom is how often at least one is asked for that was asked for in vain: each time the wait is twice as long.
	askSeldom = 8 * time.Hour
)

// keepDay adds a fact to its day.
func (a *App) keepDay(tx *kitstore.Tx, r *federalv1.FactRecord) error {
	day := facts.Day(r.GetFact().GetEventTime().AsTime())
	d, err := dayOf(tx, r.GetSourceNode(), r.GetSourceService(), day)
	if err != nil {
		return err
	}
	d.Kept = facts.Add(d.GetKept(), day, r.GetFactId())
	return a.putDay(tx, d)
}

// dayOf is a day of a service; one with nothing while nothing is known of it.
func dayOf(r kitstore.Reader, node, service, day string) (*federalv1.DayRecord, error) {
	d, err := store.Days.Get(r, kitstore.K(node, service, day))
	if errors.Is(err, kitstore.ErrNotFound) {
		return &federalv1.DayRecord{Node: node, Service: service, Kept: &federalv1.FlowDay{Day: day, Digest: make([]byte, 32)}}, nil
	}
	return d, err
}

// putDay stores a day. That the two ends differ is an alarm only once the service has said that it has something else: facts that are told
// come before their day is told anew, so in between the cell has more, and that ends by itself.
func (a *App) putDay(tx *kitstore.Tx, d *federalv1.DayRecord) error {
	if facts.Same(d.GetTold(), d.GetKept()) {
		d.DifferTime, d.Asked = nil, 0
	}
	return store.Days.Put(tx, kitstore.K(d.GetNode(), d.GetService(), d.GetKept().GetDay()), d)
}

// TakeDays is the post's handler of [flow.DaysKind]: what the service has told of a day came before, on the same lane, so it must be the same
// here, to the last fact. Where it is not, the day differs, which is an alarm, and both ends give each other what they have of it.
func (a *App) TakeDays(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	days := &federalv1.FlowDays{}
	if err := a.open(from, letter, days, refusedDays); err != nil {
		return err
	}
	for _, told := range days.GetDays() {
		if !rules.FitsDay(told.GetDay()) {
			return post.Refuse(refusedDays)
		}
	}
	all, err := withUnknown(tx, from, days)
	if err != nil {
		return err
	}
	now := a.Clock() // as letters go, also where people's clock jumps
	wanted := &federalv1.FlowsWanted{}
	for _, told := range all {
		d, err := dayOf(tx, from.GetNode(), from.GetService(), told.GetDay())
		if err != nil {
			return err
		}
		d.Told, d.TellTime = told, timestamppb.New(now)
		if !facts.Same(d.GetTold(), d.GetKept()) {
			if d.DifferTime == nil {
				d.DifferTime = timestamppb.New(now)
			}
			if !askTime(d, now).After(now) && len(wanted.GetDays()) < daysWanted { // AskAgain asks for the rest
				if err := a.ask(tx, from, d, wanted, now); err != nil {
					return err
				}
			}
		}
		if err := a.putDay(tx, d); err != nil {
			return err
		}
	}
	if len(wanted.GetDays()) == 0 {
		return nil
	}
	return a.write(tx, from, flow.WantedKind, wanted)
}

// daysWanted is how many days one letter asks for.
const daysWanted = 400

// withUnknown are the days that are told, and those that are kept here and of which their service says that it knows nothing.
func withUnknown(tx *kitstore.Tx, from *postv1.Address, days *federalv1.FlowDays) ([]*federalv1.FlowDay, error) {
	if days.GetThroughDay() == "" {
		return days.GetDays(), nil
	}
	all, known := slices.Clone(days.GetDays()), map[string]bool{}
	for _, told := range all {
		known[told.GetDay()] = true
	}
	err := store.Days.Scan(tx, kitstore.Range{Prefix: kitstore.K(from.GetNode(), from.GetService())}, func(_ kitstore.Key, d *federalv1.DayRecord) error {
		day := d.GetKept().GetDay()
		if days.GetAfterDay() < day && day <= days.GetThroughDay() && !known[day] {
			all = append(all, &federalv1.FlowDay{Day: day, Digest: make([]byte, 32)})
		}
		return nil
	})
	return all, err
}

// askTime is when a day that differs is to be asked for. What was asked for in a future that a clock had run into is asked for now.
func askTime(d *federalv1.DayRecord, now time.Time) time.Time {
	asked := d.GetAskTime().AsTime()
	if d.GetAskTime() == nil || asked.After(now) {
		return now
	}
	wait := askAgain
	for n := int32(1); n < d.GetAsked() && wait < askSeldom; n++ {
		wait *= 2
	}
	return asked.Add(wait)
}

// ask gives back what is kept of a day, and puts it among those that are wanted.
func (a *App) ask(tx *kitstore.Tx, from *postv1.Address, d *federalv1.DayRecord, wanted *federalv1.FlowsWanted, now time.Time) error {
	d.AskTime, d.Asked = timestamppb.New(now), d.GetAsked()+1
	wanted.Days = append(wanted.Days, d.GetKept().GetDay())
	return a.giveBack(tx, from, d.GetKept().GetDay())
}

// giveBack queues what is kept of a day to the service that told it.
func (a *App) giveBack(tx *kitstore.Tx, to *postv1.Address, day string) error {
	span := kitstore.Range{Prefix: kitstore.K(to.GetNode(), to.GetService(), day)}
	for {
		rows, next, err := store.FactsByDay.Page(tx, span, flow.PerLetter)
		if err != nil {
			return err
		}
		told := &federalv1.Facts{}
		for _, row := range rows {
			told.Facts = append(told.Facts, row.Value.GetFact())
		}
		if len(rows) > 0 {
			if err := a.write(tx, to, flow.FactsKind, told); err != nil {
				return err
			}
		}
		if span.After = next; next == nil {
			return nil
		}
	}
}

func (a *App) write(tx *kitstore.Tx, to *postv1.Address, kind string, body proto.Message) error {
	return a.Post.Queue(tx, post.Outgoing{To: to, Lane: postv1.Lane_LANE_BULK, Kind: kind, Body: body})
}

// AskForDays asks every province for all its days: at each start, since this store may be an older copy.
func (a *App) AskForDays(ctx context.Context) error {
	return a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		for _, teller := range a.Tellers() {
			if err := a.write(tx, teller, flow.WantedKind, &federalv1.FlowsWanted{AllDays: true}); err != nil && !errors.Is(err, post.ErrAbsent) {
				return err // one that has become absent meanwhile keeps no other from being asked
			}
		}
		return nil
	})
}
