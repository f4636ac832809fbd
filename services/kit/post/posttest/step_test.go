package posttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"amanat.example/services/kit/store"
)

// desk is an office driven step by step on a store in memory, with what its own history has told.
type desk struct {
	*Office
	told  []string
	old   *store.Memory
	oldTo []string // told, as of old
}

// room is two desks, a broker with faults and a clock, all driven from one seed.
type room struct {
	t        *testing.T
	random   *rand.Rand
	now      time.Time
	fake     *Fake
	desks    [2]*desk
	number   int
	restored bool
	highest  uint64
}

func newRoom(t *testing.T, root string, seed uint64) *room {
	r := &room{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC),
		fake: NewFake(seed, Faults{Lose: 0.1, Double: 0.15, Delay: 0.15, Refuse: 0.05}),
	}
	for i, node := range []string{"sindh", "punjab"} {
		d := &desk{Office: NewOffice(t, r.fake, root, node)}
		d.desk = store.NewMemory()
		d.clock = func() time.Time { return r.now }
		d.Open()
		d.keepCopy()
		r.highest = max(r.highest, d.DB.Incarnation())
		r.desks[i] = d
	}
	return r
}

func (d *desk) keepCopy() { d.old, d.oldTo = d.desk.Clone(), slices.Clone(d.told) }

func (r *room) queue(d, to *desk) {
	r.number++
	lane, name := bulk, "b"
	if r.random.IntN(2) == 0 {
		lane, name = urgent, "u"
	}
	text := fmt.Sprintf("%s%06d", name, r.number)
	if err := d.queueOne(to.Office, lane, text); err != nil {
		r.t.Fatal(err)
	}
	d.told = append(d.told, text)
}

// step drives one desk; a store that fails to sync stops the service, which starts again.
func (r *room) step(d *desk) bool {
	did, _, err := d.Post.Step(context.Background(), r.now)
	if errors.Is(err, store.ErrFatal) {
		r.crash(d)
		return true
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return did
}

func (r *room) crash(d *desk) {
	d.Stop()
	d.desk.Crash(r.random.IntN(2) == 0)
	d.Open()
}

// restore puts an older copy in place, with an incarnation above any before.
func (r *room) restore(d *desk) {
	d.Stop()
	d.desk, d.told = d.old.Clone(), slices.Clone(d.oldTo)
	db, err := store.Open(context.Background(), store.Options{Engine: d.desk, Inline: true, Schema: schema, Clock: d.clock})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := db.RaiseIncarnation(context.Background(), r.highest); err != nil {
		r.t.Fatal(err)
	}
	r.highest = db.Incarnation()
	r.restored = true
	d.openOn(db)
}

func (r *room) act() {
	i := r.random.IntN(2)
	d, other := r.desks[i], r.desks[1-i]
	switch n := r.random.IntN(200); {
	case n < 60:
		r.queue(d, other)
	case n < 185:
		r.step(d)
	case n < 190:
		r.now = r.now.Add(time.Duration(r.random.IntN(500)) * time.Millisecond)
	case n < 193:
		r.crash(d)
	case n < 195:
		d.desk.FailNextCommit(errors.New("no sync"))
		for !errors.Is(d.DB.Err(), store.ErrFatal) {
			err := d.queueOne(other.Office, bulk, "never") // told only if it is kept
			if err == nil {
				r.t.Fatal("a commit that failed to sync was reported as done")
			}
		}
		d.Stop()
		d.desk.Crash(false)
		d.Open()
	case n < 197:
		d.keepCopy()
	case n < 198:
		r.restore(d)
	default:
		r.fake.Wipe(r.t)
	}
}

func (r *room) settle() {
	r.fake.SetFaults(Faults{})
	for range 4000 {
		busy := false
		for _, d := range r.desks {
			busy = r.step(d) || busy
		}
		if !busy {
			if r.now = r.now.Add(time.Second); r.desks[0].Unreceipted()+r.desks[1].Unreceipted() == 0 && r.agree() {
				return
			}
		}
	}
	r.t.Fatalf("never settled: %d and %d letters unreceipted", r.desks[0].Unreceipted(), r.desks[1].Unreceipted())
}

// agree says whether each desk has all that the other's history has told.
func (r *room) agree() bool {
	for i, d := range r.desks {
		got := map[string]bool{}
		for _, text := range r.desks[1-i].Received() {
			got[text] = true
		}
		for _, text := range d.told {
			if !got[text] {
				return false
			}
		}
	}
	return true
}

func (r *room) check() {
	for _, d := range r.desks {
		got := d.Received()
		sorted := slices.Sorted(slices.Values(got))
		if n := len(slices.Compact(slices.Clone(sorted))); n != len(got) {
			r.t.Fatalf("%d letters were applied, of which %d are different", len(got), n)
		}
		if r.restored {
			continue // a restored receiver hears letters again that others forgot
		}
		for _, lane := range []string{"u", "b"} {
			if in := withPrefix(got, lane); !slices.IsSorted(in) {
				r.t.Fatalf("lane %s came out of order: %s", lane, strings.Join(in, " "))
			}
		}
	}
}

// Crashes at any commit, faults of every kind and restores of either side from old copies: what a
// side's own history has told is applied by the other exactly once, in order.
func TestSteppedThroughFaults(t *testing.T) {
	root := Network(t)
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newRoom(t, root, seed)
			for range 400 {
				r.act()
			}
			r.settle()
			r.check()
		})
	}
}

// A receipt that is carried here counts while another comes by the hub. When the two are counted one way round, what is sent next must not
// follow from the other: of a receiver that was restored, the letters that it lost would never be sent again.
func TestReceiptsAtOnce(t *testing.T) {
	r := newRoom(t, Network(t), 1)
	r.fake.SetFaults(Faults{})
	sindh, punjab := r.desks[0], r.desks[1]
	write := func(text string) {
		sindh.Queue(punjab.Office, bulk, kindNote, "", text)
		sindh.told = append(sindh.told, text)
	}
	write("b1")
	first := sindh.export(punjab.Office)
	write("b2")
	write("b3")
	punjab.importWhole(sindh.export(punjab.Office))
	before := punjab.export(sindh.Office)
	r.restore(punjab)
	punjab.importWhole(first)
	after := punjab.export(sindh.Office)

	// The earlier receipt is counted: the later one comes now, if the store can take it already.
	sindh.Stop()
	var counted, taken bool
	sindh.clock = func() time.Time {
		if !counted && sindh.Unreceipted() == 0 {
			counted = true
			_, err := sindh.Post.Import(t.Context(), bytes.NewReader(after))
			taken = err == nil
		}
		return r.now
	}
	sindh.Open()
	sindh.importWhole(before)
	if !counted {
		t.Fatal("nobody looked at the clock while the receipt was counted")
	}
	if !taken {
		sindh.importWhole(after)
	}
	r.settle()
	mustEqual(t, punjab.Received(), []string{"b1", "b2", "b3"})
}
