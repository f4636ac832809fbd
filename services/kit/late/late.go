// Package late tells the federal cell how many deadlines of a service are missed, by kind and age (DESIGN I7): never of
// whom, never of which unit. A service that has deadlines declares one table and runs one [Reporter].
//
// [Astray] brings missed ones back that a clock which was ahead has put off.
//
// It tells once a day, and at once when the first becomes late or when nothing is late any more. What was told and the letter
// change in one transaction, so that a restart neither loses nor repeats one.
package late

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// Kind is that of the letters.
const Kind = "federal.late.v1"

const day = 24 * time.Hour

// Table keeps what was last told.
type Table struct {
	marks *store.Table[*federalv1.LateMark]
}

// Declare adds the table (`late_mark`) to a service's schema.
func Declare(schema *store.Schema) *Table {
	return &Table{marks: store.NewTable[*federalv1.LateMark](schema, "late_mark")}
}

var key = store.K("late")

// Post queues letters in the transaction of the state they report.
type Post interface {
	Queue(tx *store.Tx, o post.Outgoing) error
}

// Reporter tells what is late. All fields are needed.
type Reporter struct {
	// DB is the service's store.
	DB *store.DB
	// Table is where it keeps what it told.
	Table *Table
	// Federal is the name of the federal node.
	Federal string
	// Now is the clock.
	Now func() time.Time
	// Post sends letters.
	Post Post
	// Each calls fn for every deadline that is missed and open, with its step, a code of the list `deadline`, and when it was due at
	// first; it passes on fn's error, [store.Stop] among them.
	Each func(r store.Reader, fn func(step string, due time.Time) error) error
}

// Rows are the Each of an index whose rows are the deadlines that are missed and open. of says step and due time of one.
func Rows[M proto.Message](index *store.Index[M], of func(M) (step string, due time.Time)) func(store.Reader, func(string, time.Time) error) error {
	return func(r store.Reader, fn func(step string, due time.Time) error) error {
		return index.Scan(r, store.Range{}, func(_ store.Key, m M) error { return fn(of(m)) })
	}
}

// Report tells what there is to tell now, and answers when there is more at the latest. It may be called whenever a deadline has changed.
func (p *Reporter) Report(ctx context.Context) (next time.Time, err error) {
	due := false
	err = p.DB.View(ctx, func(r store.Reader) error {
		mark, late, err := p.look(r)
		next, due = mark.GetNextTime().AsTime(), p.isDue(mark, late)
		return err
	})
	if err != nil || !due {
		return next, err
	}
	err = p.DB.Update(ctx, func(tx *store.Tx) error {
		next, err = p.tell(tx)
		return err
	})
	return post.OnceThere(p.Now(), next, err)
}

// look is what was told last, and whether anything is late now. A service that never told begins with nothing late.
func (p *Reporter) look(r store.Reader) (mark *federalv1.LateMark, late bool, err error) {
	mark, err = p.Table.marks.Get(r, key)
	if errors.Is(err, store.ErrNotFound) {
		mark, err = nil, nil
	}
	if err != nil {
		return nil, false, err
	}
	err = p.Each(r, func(string, time.Time) error { late = true; return store.Stop })
	if errors.Is(err, store.Stop) {
		err = nil
	}
	return mark, late, err
}

// isDue: a day that is more than a day ahead was noted while the clock was wrong.
func (p *Reporter) isDue(mark *federalv1.LateMark, late bool) bool {
	now, next := p.Now(), mark.GetNextTime().AsTime()
	return mark == nil || mark.GetLate() != late || !now.Before(next) || next.After(now.Add(day))
}

func (p *Reporter) tell(tx *store.Tx) (time.Time, error) {
	mark, late, err := p.look(tx)
	if err != nil || !p.isDue(mark, late) {
		return mark.GetNextTime().AsTime(), err
	}
	now := p.Now()
	next := &federalv1.LateMark{Late: late, NextTime: timestamppb.New(now.Add(day)), TellTime: mark.GetTellTime()}
	if mark != nil || late { // a new service has nothing to tell before its first day is over
		counts, err := p.count(tx, now)
		if err != nil {
			return time.Time{}, err
		}
		next.TellTime = timestamppb.New(now)
		err = p.Post.Queue(tx, post.Outgoing{
			To: &postv1.Address{Node: p.Federal, Service: "federal"}, Lane: postv1.Lane_LANE_BULK, Kind: Kind,
			Body: &federalv1.LateCounts{Counts: counts, CountTime: next.TellTime},
		})
		if err != nil {
			return time.Time{}, err
		}
	}
	return next.GetNextTime().AsTime(), p.Table.marks.Put(tx, key, next)
}

// cell is a step and an age.
type cell struct {
	step string
	age  federalv1.LateAge
}

func (p *Reporter) count(r store.Reader, now time.Time) (counts []*federalv1.LateCount, err error) {
	found := map[cell]int64{}
	err = p.Each(r, func(step string, due time.Time) error {
		found[cell{step, Age(now.Sub(due))}]++
		return nil
	})
	order := func(a, b cell) int { return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.age, b.age)) }
	for _, c := range slices.SortedFunc(maps.Keys(found), order) {
		counts = append(counts, &federalv1.LateCount{Step: c.step, Age: c.age, Count: found[c]})
	}
	return counts, err
}

// Age is how late something is that was due so long ago.
func Age(late time.Duration) federalv1.LateAge {
	switch {
	case late < day:
		return federalv1.LateAge_LATE_AGE_UNDER_A_DAY
	case late < 3*day:
		return federalv1.LateAge_LATE_AGE_UNDER_THREE_DAYS
	case late < 7*day:
		return federalv1.LateAge_LATE_AGE_UNDER_A_WEEK
	}
	return federalv1.LateAge_LATE_AGE_A_WEEK_OR_MORE
}
