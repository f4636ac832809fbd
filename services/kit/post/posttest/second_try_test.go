package posttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// reopen stops an office and opens it again, as after an upgrade.
func (r *room) reopen(d *desk) {
	d.Stop()
	d.Open()
	r.run(r.receipted)
}

// quiet lets everything happen that happens by itself within a minute.
func (r *room) quiet(desks ...*desk) {
	for range 3 {
		for did := true; did; {
			did = false
			for _, d := range desks {
				did = r.step(d) || did
			}
		}
		r.now = r.now.Add(30 * time.Second)
	}
}

// behindLater has sindh write a letter of a kind that punjab does not know, another about the same behind it on either lane, and one about
// something else.
func behindLater(t *testing.T) (r *room, sindh, punjab *desk) {
	r, sindh, punjab = newDesks(t)
	sindh.Queue(punjab.Office, bulk, kindNote, "s", "1")
	sindh.Queue(punjab.Office, bulk, kindLater, "s", "2")
	sindh.Queue(punjab.Office, bulk, kindNote, "s", "3")
	sindh.Queue(punjab.Office, bulk, kindLater, "", "of nothing")
	sindh.Queue(punjab.Office, bulk, kindNote, "x", "other")
	sindh.keepCopy()
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"1", "other"})
	mustEqual(t, quarantined(t, punjab.Office), []string{"", "s", "s"})
	return r, sindh, punjab
}

// A letter of a kind that came with a later version is applied when the receiver has that version too, with all that waits behind it, in
// order; from then on nothing waits.
func TestQuarantineAfterAnUpgrade(t *testing.T) {
	r, sindh, punjab := behindLater(t)
	r.reopen(punjab)
	r.quiet(sindh, punjab)
	mustEqual(t, quarantined(t, punjab.Office), []string{"", "s", "s"}) // asked, tried, and refused again
	punjab.upgraded = true
	r.reopen(punjab)
	r.quiet(sindh, punjab)
	mustEqual(t, punjab.Received(), []string{"1", "other", "of nothing", "2", "3"})
	mustEqual(t, quarantined(t, punjab.Office), nil)
	sindh.Queue(punjab.Office, bulk, kindNote, "s", "4")
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"1", "other", "of nothing", "2", "3", "4"})

	// What was refused once and applied since is known by its id for ever, and its refusal is told no more.
	r.restore(sindh)
	r.quiet(sindh, punjab)
	mustEqual(t, sindh.Refused(), nil)
	mustEqual(t, punjab.Received(), []string{"1", "other", "of nothing", "2", "3", "4"})
}

// What comes while the first are asked for waits behind them, and goes with them.
func TestQuarantineGrowsMeanwhile(t *testing.T) {
	r, sindh, punjab := behindLater(t)
	punjab.upgraded = true
	punjab.Stop()
	punjab.Open()
	r.settleAlone(punjab) // the question is on its way
	sindh.Queue(punjab.Office, bulk, kindNote, "s", "4")
	sindh.Queue(punjab.Office, urgent, kindNote, "s", "5")
	r.quiet(sindh, punjab)
	got := punjab.Received()
	slices.Sort(got)
	mustEqual(t, got, []string{"1", "2", "3", "4", "5", "of nothing", "other"})
	mustEqual(t, quarantined(t, punjab.Office), nil)
}

// A sender that was restored to before it wrote a letter does not stand by it: it is let go, and what it says since is heard.
func TestQuarantineOfALostLife(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.Queue(punjab.Office, bulk, kindNote, "s", "1")
	r.run(r.receipted)
	sindh.keepCopy()
	sindh.Queue(punjab.Office, bulk, kindLater, "s", "lost")
	r.run(r.receipted)
	r.restore(sindh)
	r.quiet(sindh, punjab)
	punjab.upgraded = true
	r.reopen(punjab)
	r.quiet(sindh, punjab)
	sindh.Queue(punjab.Office, bulk, kindLater, "s", "2")
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"1", "2"})
	mustEqual(t, quarantined(t, punjab.Office), nil)
}

// A sender that was restored to after it wrote a letter, whose outbox has it still, stands by it.
func TestQuarantineOfALetterStillKept(t *testing.T) {
	r, sindh, punjab := behindLater(t)
	sindh.keepCopy()
	r.restore(sindh)
	r.quiet(sindh, punjab)
	punjab.upgraded = true
	r.reopen(punjab)
	r.quiet(sindh, punjab)
	mustEqual(t, punjab.Received(), []string{"1", "other", "of nothing", "2", "3"})
	mustEqual(t, quarantined(t, punjab.Office), nil)
}

// The sender of what stays bad is asked at the start and once a day, by one letter for each subject.
func TestQuarantineIsAskedForOnceADay(t *testing.T) {
	r, sindh, punjab := behindLater(t)
	questions := func() uint64 {
		var queued uint64
		links, err := punjab.Post.Status(t.Context())
		must(t, err)
		for _, l := range links {
			if l.Outgoing && l.Link.GetTo().GetNode() == "sindh" {
				queued += l.Mark
			}
		}
		return queued
	}
	r.quiet(sindh, punjab)
	before := questions()
	for day := range uint64(3) {
		r.now = r.now.Add(24 * time.Hour)
		r.quiet(sindh, punjab)
		if got, want := questions(), before+2*(day+1); got != want {
			t.Errorf("after %d days %d letters went to sindh, want %d", day+1, got, want)
		}
	}
	mustEqual(t, quarantined(t, punjab.Office), []string{"", "s", "s"})
	must(t, punjab.DB.View(t.Context(), func(r store.Reader) error {
		letters, _, err := tables.Quarantine(r, nil, 2)
		for _, l := range letters {
			if l.GetStands() {
				t.Error("what was refused again is to be tried without asking")
			}
		}
		return err
	}))
}

// What is never applied, however much of it there is, about many things or about nothing, does not keep the sender of what can be from being
// asked.
func TestQuarantineOfMuchThatStaysBad(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	for n := range 70 {
		sindh.Queue(punjab.Office, bulk, kindPoison, "", "")
		sindh.Queue(punjab.Office, bulk, kindPoison, fmt.Sprint("s", n), "")
	}
	sindh.Queue(punjab.Office, bulk, kindLater, "", "about nothing")
	sindh.Queue(punjab.Office, bulk, kindLater, "t", "about t")
	r.run(r.receipted)
	punjab.upgraded = true
	r.reopen(punjab)
	for range 3 {
		r.quiet(sindh, punjab)
		r.now = r.now.Add(24 * time.Hour)
	}
	mustEqual(t, punjab.Received(), []string{"about nothing", "about t"})
}

// Questions and answers that are malformed are refused, and an answer reaches only what its writer sent.
func TestQuarantineAnswersOfStrangers(t *testing.T) {
	r, sindh, punjab := behindLater(t)
	var ids [][]byte
	must(t, punjab.DB.View(t.Context(), func(r store.Reader) error {
		letters, _, err := tables.Quarantine(r, nil, 10)
		for _, l := range letters {
			ids = append(ids, l.GetLetter().GetLetterId())
		}
		return err
	}))
	for _, c := range []struct {
		from *desk
		kind string
		body proto.Message
	}{
		{sindh, "post.stand_query.v1", &postv1.StandQuery{Subject: "s"}},
		{sindh, "post.stand_query.v1", &postv1.StandQuery{Subject: "s", Letters: []*postv1.AskedLetter{{LetterId: []byte("short")}}}},
		{sindh, "post.stand_answer.v1", &postv1.StandAnswer{Subject: "s", FallenLetterIds: make([][]byte, 65)}},
		{punjab, "post.stand_answer.v1", &postv1.StandAnswer{Subject: "s", FallenLetterIds: ids}}, // who did not write them
	} {
		must(t, c.from.DB.Update(t.Context(), func(tx *store.Tx) error {
			return c.from.Post.Queue(tx, post.Outgoing{To: punjab.Addr, Lane: urgent, Kind: c.kind, Body: c.body})
		}))
	}
	r.run(r.receipted)
	r.quiet(sindh, punjab)
	bad := slices.DeleteFunc(sindh.Refused(), func(s string) bool { return s != " question-about-quarantine-malformed" })
	if len(bad) != 3 {
		t.Errorf("%d were refused, want 3", len(bad))
	}
	if got := quarantined(t, punjab.Office); len(got) != 3+len(bad) {
		t.Errorf("in quarantine: %q", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A letter that a handler took, to do it later, and that cannot be done then, goes to quarantine: what comes behind it waits, its sender is
// asked, and with a later version all is applied in order.
func TestQuarantineOfWhatWasTaken(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.Queue(punjab.Office, bulk, kindNote, "s", "taken")
	r.run(r.receipted)
	park := func(subject, text string, sealed bool) {
		t.Helper()
		body, err := proto.Marshal(wrapperspb.String(text))
		must(t, err)
		id := sha256.Sum256(body)
		l := &postv1.Letter{LetterId: id[:16], Kind: kindLater, Subject: subject, Body: body, Sealed: sealed}
		l.Body, err = punjab.Post.SealBody(sindh.Addr, l)
		must(t, err)
		if bytes.Equal(l.GetBody(), body) == sealed {
			t.Error("what came sealed lies in the clear, or the other way round")
		}
		opened, err := punjab.Post.OpenBody(sindh.Addr, l)
		must(t, err)
		mustEqual(t, []string{string(opened)}, []string{string(body)})
		must(t, punjab.DB.Update(t.Context(), func(tx *store.Tx) error {
			return punjab.Post.Park(tx, sindh.Addr, sindh.DB.Incarnation(), l, "not-possible")
		}))
	}
	park("s", "first", false)
	park("s", "second", true)
	park("", "of nothing", false)
	park("", "of nothing either", true)
	sindh.Queue(punjab.Office, urgent, kindNote, "s", "third")
	sindh.Queue(punjab.Office, urgent, kindNote, "x", "other")
	r.run(r.receipted)
	r.quiet(sindh, punjab)
	mustEqual(t, punjab.Received(), []string{"taken", "other"})
	mustEqual(t, quarantined(t, punjab.Office), []string{"", "", "s", "s", "s"})
	punjab.upgraded = true
	r.reopen(punjab)
	r.quiet(sindh, punjab)
	mustEqual(t, punjab.Received(), []string{"taken", "other", "of nothing", "of nothing either", "first", "second", "third"})
	mustEqual(t, quarantined(t, punjab.Office), nil)
}

// A letter that waits in quarantine behind another, and turns out to be sealed to lost keys when its turn comes, holds nothing up either.
func TestQuarantineBehindWhichSomethingDoesNotOpen(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.Queue(punjab.Office, bulk, kindLater, "s", "1")
	must(t, sindh.DB.Update(t.Context(), func(tx *store.Tx) error {
		return sindh.Post.Queue(tx, post.Outgoing{To: punjab.Addr, Lane: bulk, Kind: kindNote, Subject: "s", Body: wrapperspb.String("2"), Sealed: true})
	}))
	sindh.Queue(punjab.Office, bulk, kindNote, "s", "3")
	r.run(r.receipted)
	mustEqual(t, quarantined(t, punjab.Office), []string{"s", "s", "s"})
	punjab.upgraded = true
	r.newKeys(punjab, sindh)
	r.quiet(sindh, punjab)
	r.now = r.now.Add(24 * time.Hour)
	r.quiet(sindh, punjab)
	sindh.Queue(punjab.Office, bulk, kindNote, "s", "4")
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"1", "3", "4"})
	mustEqual(t, quarantined(t, punjab.Office), []string{"s"})
}
