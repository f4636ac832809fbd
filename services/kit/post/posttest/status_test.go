package posttest

import (
	"testing"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
)

// status is how one end of the bulk link from sindh to punjab stands.
func (d *desk) status(t *testing.T, outgoing bool) post.LinkStatus {
	t.Helper()
	links, err := d.Post.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Outgoing == outgoing && l.Link.GetLane() == bulk && l.Link.GetFrom().GetNode() == "sindh" {
			return l
		}
	}
	t.Fatalf("no such link in %v", links)
	return post.LinkStatus{}
}

// Both ends of a link say how it stands: what waits and since when, what was refused, when the other end was heard last, also if
// it said nothing new, and that it knows more than this end.
func TestStatusOfALink(t *testing.T) {
	r := newRoom(t, Network(t), 1)
	r.fake.SetFaults(Faults{Refuse: 1})
	sindh, punjab := r.desks[0], r.desks[1]
	begun := r.now
	sindh.Queue(punjab.Office, bulk, kindNote, "a", "1")
	sindh.Queue(punjab.Office, bulk, kindPoison, "b", "2")
	r.now = r.now.Add(20 * time.Second)
	sindh.Queue(punjab.Office, bulk, kindNote, "b", "3") // waits behind
	r.step(sindh)
	r.now = r.now.Add(40 * time.Second)
	for name, want := range map[string]float64{"amanat_post_unreceipted_letters": 3, "amanat_post_oldest_unreceipted_seconds": 60} {
		if got := sindh.metric(name, "bulk", "punjab", Service); got != want {
			t.Errorf("nothing came through: %s is %v, want %v", name, got, want)
		}
	}
	if s := sindh.status(t, true); s.Gap != 3 || !s.Oldest.Equal(begun) || !s.Heard.IsZero() || s.Mark != 0 {
		t.Errorf("nothing came through: %+v", s)
	}

	r.settle() // without faults
	if s := sindh.status(t, true); s.Gap != 0 || s.Mark != 3 || !s.Oldest.IsZero() || !s.Heard.After(begun) {
		t.Errorf("all is receipted: %+v", s)
	}
	if age := sindh.metric("amanat_post_oldest_unreceipted_seconds", "bulk", "punjab", Service); age != 0 {
		t.Errorf("all is receipted, and a letter is %v s old", age)
	}
	if s := punjab.status(t, false); s.Quarantined != 2 || s.Mark != 3 || !s.Heard.After(begun) || s.Overtaken {
		t.Errorf("two are refused: %+v", s)
	}

	r.now = r.now.Add(time.Hour)
	quiet := r.now
	r.fake.Wipe(t) // both ends compare their marks when the hub is there again
	r.settle()
	for _, s := range []post.LinkStatus{sindh.status(t, true), punjab.status(t, false)} {
		if s.Heard.Before(quiet) {
			t.Errorf("heard %v ago, and not since: %+v", r.now.Sub(s.Heard), s)
		}
	}

	punjab.keepCopy()
	r.restore(punjab)
	r.settle()
	punjab.Stop()
	punjab.desk = punjab.old.Clone() // nobody says that this is an older copy
	punjab.Open()
	sindh.Queue(punjab.Office, bulk, kindNote, "c", "4")
	for r.step(sindh) || r.step(punjab) {
	}
	if s := punjab.status(t, false); !s.Overtaken {
		t.Errorf("punjab was rolled back and does not say so: %+v", s)
	}
}

// A lane on which nothing ever came is known once its sender wrote on the other, and was never heard.
func TestStatusOfALaneNeverHeard(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.Queue(punjab.Office, bulk, kindNote, "a", "1")
	r.run(r.receipted)
	links, err := punjab.Post.Status(t.Context())
	must(t, err)
	lanes := 0
	for _, l := range links {
		if l.Outgoing {
			continue
		}
		if lanes++; l.Heard.IsZero() != (l.Link.GetLane() == urgent) {
			t.Errorf("%v was heard %v", l.Link.GetLane(), l.Heard)
		}
	}
	if lanes != 2 {
		t.Errorf("%d lanes are known, want 2", lanes)
	}
}

// A post that was opened has heard all when each other end has spoken since; not while one that has spoken knows more than it does itself.
func TestAllHeard(t *testing.T) {
	r := newRoom(t, Network(t), 2)
	r.fake.SetFaults(Faults{})
	sindh, punjab := r.desks[0], r.desks[1]
	heard := func(d *desk, want bool, when string) {
		t.Helper()
		if got, err := d.Post.AllHeard(t.Context()); err != nil || got != want {
			t.Errorf("%s: %t, %v, want %t", when, got, err, want)
		}
	}
	both := func() {
		for r.step(sindh) || r.step(punjab) {
		}
	}
	heard(punjab, true, "with no links there is nobody to hear")
	punjab.Queue(sindh.Office, bulk, kindNote, "a", "1")
	heard(punjab, false, "nobody has answered yet")
	both()
	heard(punjab, true, "the other end has answered")
	heard(sindh, true, "the other end has written")
	punjab.keepCopy()
	punjab.Stop()
	punjab.Open()
	heard(punjab, false, "opened again, it has heard nobody")
	both()
	heard(punjab, true, "the other end compares marks")

	punjab.Queue(sindh.Office, bulk, kindNote, "b", "2")
	both()
	punjab.Stop()
	punjab.desk = punjab.old.Clone() // nobody says that this is an older copy
	punjab.Open()
	both()
	heard(punjab, false, "the other end knows more")
}

// A store that was put back to an older copy, of which nobody has told it, takes in no letter of who has taken more of it than it has written: the
// letter may answer what is lost, by whichever lane that went.
func TestAllHeardWaitsForWhoKnowsMore(t *testing.T) {
	for _, lane := range []postv1.Lane{bulk, urgent} {
		r := newRoom(t, Network(t), 2)
		r.fake.SetFaults(Faults{})
		sindh, punjab := r.desks[0], r.desks[1]
		both := func() {
			for r.step(sindh) || r.step(punjab) {
			}
		}
		for _, l := range []postv1.Lane{bulk, urgent} {
			punjab.Queue(sindh.Office, l, kindNote, "a", "1")
			sindh.Queue(punjab.Office, l, kindNote, "a", "1")
		}
		both()
		punjab.keepCopy()
		punjab.Stop()
		punjab.Open()
		punjab.Queue(sindh.Office, lane, kindNote, "b", "2") // in the life that is lost
		both()
		punjab.Stop()
		punjab.desk = punjab.old.Clone() // nobody says that this is an older copy
		punjab.Open()
		before := len(punjab.Received())
		sindh.Queue(punjab.Office, bulk, kindNote, "c", "3")
		r.settleAlone(sindh)
		r.settleAlone(punjab)
		if all, err := punjab.Post.AllHeard(t.Context()); err != nil || all {
			t.Errorf("%v: it has heard all: %t, %v", lane, all, err)
		}
		if len(punjab.Received()) > before || len(punjab.rolled) == 0 {
			t.Errorf("%v: it has taken in %q; it has learned that it was put back: %d", lane, punjab.Received()[before:], punjab.rolled)
		}
	}
}
