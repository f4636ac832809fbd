package posttest

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// A receipt tells of a new life of its writer as a parcel does: what the earlier life wrote is not applied any more, on any lane.
func TestReceiptOfNewLife(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.QueueAll(punjab.Office, bulk, []string{"before"})
	r.run(r.receipted)
	sindh.keepCopy()
	sindh.QueueAll(punjab.Office, bulk, []string{"lost"})
	sindh.QueueAll(punjab.Office, urgent, []string{"lost too"})
	r.settleAlone(sindh)
	lost := map[string][][]byte{"bulk": r.mails("bulk", true), "urgent": r.mails("urgent", true)}
	r.fake.Wipe(t) // so that punjab reads nothing of it now
	r.restore(sindh)
	punjab.QueueAll(sindh.Office, bulk, []string{"to sindh"})
	before := len(r.mails("bulk", false))
	r.settleAlone(punjab)
	r.settleAlone(sindh)
	r.fake.Wipe(t)

	receipts := r.mails("bulk", false)
	if len(receipts) == before {
		t.Fatal("the new life sent no receipt")
	}
	r.fake.Inject(t, toPunjab+"bulk.sindh."+Service, receipts[len(receipts)-1])
	r.settleAlone(punjab)
	r.fake.Wipe(t)
	for lane, all := range lost {
		for _, data := range all {
			r.fake.Inject(t, toPunjab+lane+".sindh."+Service, data)
		}
	}
	r.settleAlone(punjab)
	mustEqual(t, punjab.Received(), []string{"before"})
}

// toPunjab is where mail from sindh to punjab goes, before its lane.
const toPunjab = "amanat.post.punjab." + Service + "."

func (r *room) settleAlone(d *desk) {
	for r.step(d) {
	}
}

// mails are the parcels, or the receipts, that sindh sent to punjab on a lane.
func (r *room) mails(lane string, parcels bool) (found [][]byte) {
	r.t.Helper()
	for _, data := range r.fake.Seen(r.t, toPunjab+lane) {
		var mail postv1.Mail
		if err := proto.Unmarshal(data, &mail); err != nil {
			r.t.Fatal(err)
		}
		if (mail.GetParcel() != nil) == parcels {
			found = append(found, data)
		}
	}
	return found
}

// A parcel of a new life on one lane tells of it on the other too, also where nothing was heard on that one before.
func TestParcelOfNewLife(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.keepCopy()
	sindh.QueueAll(punjab.Office, urgent, []string{"lost"})
	r.settleAlone(sindh)
	lost := r.mails("urgent", true)
	r.fake.Wipe(t) // so that punjab reads nothing of it now
	r.restore(sindh)
	sindh.QueueAll(punjab.Office, bulk, []string{"after"})
	r.run(r.receipted)
	for _, data := range lost {
		r.fake.Inject(t, toPunjab+"urgent.sindh."+Service, data)
	}
	r.settleAlone(punjab)
	mustEqual(t, punjab.Received(), []string{"after"})
}

// A sender is put back to before it wrote a letter, and nobody says so; its next parcel has another letter in that one's place, and more behind it. The
// receiver takes nothing of it, so that its receipt says what it has: the sender learns that it was put back, and all that it wrote since comes.
func TestAParcelThatReachesPastALostLetter(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.QueueAll(punjab.Office, bulk, []string{"before"})
	r.run(r.receipted)
	sindh.keepCopy()
	sindh.QueueAll(punjab.Office, bulk, []string{"lost"})
	r.settleAlone(sindh)
	r.settleAlone(punjab)
	r.fake.Wipe(t) // with the receipt for it
	sindh.Stop()
	sindh.desk = sindh.old.Clone()
	sindh.Open()
	sindh.QueueAll(punjab.Office, bulk, []string{"in its place", "behind that"})
	for range 3 {
		r.settleAlone(sindh)
		r.settleAlone(punjab)
	}
	if len(sindh.rolled) == 0 {
		t.Fatalf("nobody tells it; punjab has %v", punjab.Received())
	}
	if err := sindh.DB.RaiseIncarnation(t.Context(), sindh.rolled[0]); err != nil {
		t.Fatal(err)
	}
	sindh.Stop()
	sindh.Open()
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"before", "lost", "in its place", "behind that"})
}

// What a peer says of a life of this store is not believed beyond a day ahead of the clock: a hostile one must not use incarnations up.
// Where it is this clock that was set back, it is believed when the clock is right again.
func TestALifeInTheFutureIsNotBelieved(t *testing.T) {
	for name, life := range map[string]struct {
		ahead    time.Duration
		believed bool
	}{
		"of the next hours": {23 * time.Hour, true},
		"of days ahead":     {49 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, sindh, punjab := newDesks(t)
			punjab.keepCopy()
			punjab.Stop()
			punjab.Open()
			if err := punjab.DB.RaiseIncarnation(t.Context(), uint64(r.now.Add(life.ahead).UnixNano())); err != nil {
				t.Fatal(err)
			}
			above := punjab.DB.Incarnation()
			punjab.Stop()
			punjab.Open() // a post in that life
			sindh.QueueAll(punjab.Office, bulk, []string{"heard"})
			r.run(r.receipted)
			punjab.Stop()
			punjab.desk = punjab.old.Clone() // nobody says that this is an older copy
			punjab.Open()
			told := func() int {
				sindh.QueueAll(punjab.Office, bulk, []string{"more"})
				r.settleAlone(sindh)
				r.settleAlone(punjab)
				return len(punjab.rolled)
			}
			if n := told(); (n > 0) != life.believed {
				t.Fatalf("it was told %d times that it was rolled back", n)
			}
			r.now = r.now.Add(life.ahead)
			if n := told(); n == 0 || punjab.rolled[n-1] != above {
				t.Fatalf("when the clock is right it is told to rise above %v, want %d", punjab.rolled, above)
			}
			mustEqual(t, punjab.Received(), nil)
		})
	}
}

// A store that was lost and made anew learns from its peers' parcels that there was one before it, and applies nothing of theirs as if it were new:
// first it must ask what it lost. A store that is new learns no such thing.
func TestAStoreThatWasLostIsTold(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.QueueAll(punjab.Office, bulk, []string{"before"})
	punjab.QueueAll(sindh.Office, bulk, []string{"also"})
	r.run(r.receipted)
	if len(punjab.rolled)+len(sindh.rolled) > 0 {
		t.Fatalf("new stores are told that they are not: %v, %v", punjab.rolled, sindh.rolled)
	}
	punjab.Stop()
	punjab.desk, r.now = store.NewMemory(), r.now.Add(time.Hour)
	punjab.Open()
	// It speaks first, and is told all the same.
	punjab.QueueAll(sindh.Office, bulk, []string{"here I am"})
	sindh.QueueAll(punjab.Office, bulk, []string{"after"})
	r.settleAlone(punjab)
	r.settleAlone(sindh)
	r.settleAlone(punjab)
	if n := len(punjab.rolled); n == 0 || punjab.rolled[0] < punjab.DB.Incarnation() {
		t.Fatalf("it must rise above %v, and is in life %d", punjab.rolled, punjab.DB.Incarnation())
	}
	mustEqual(t, punjab.Received(), nil)
	if err := punjab.DB.RaiseIncarnation(t.Context(), punjab.rolled[0]); err != nil {
		t.Fatal(err)
	}
	punjab.Stop()
	punjab.Open()
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"before", "after"})
	mustEqual(t, sindh.Received(), []string{"also", "here I am"})
}

// newKeys makes a desk's node anew, of which another tells all; all desks are opened again.
func (r *room) newKeys(of, at *desk) {
	r.t.Helper()
	for _, d := range r.desks {
		d.Stop()
	}
	ReplaceKeys(r.t, at.root, of.Addr.GetNode(), "PK-PB", at.Addr.GetNode())
	roster, err := identity.LoadRoster(at.root, at.Addr.GetNode())
	if err == nil {
		err = identity.InstallRoster(at.root, of.Addr.GetNode(), roster.Log())
	}
	for _, d := range r.desks {
		if err == nil {
			d.id, err = identity.Load(d.root, d.Addr.GetNode(), Service)
		}
		if err != nil {
			r.t.Fatal(err)
		}
		d.Open()
	}
}

// What was sealed to keys that a node has lost never opens: what comes behind it does not wait for it, and what is said again is taken.
func TestWhatIsSealedToLostKeysHoldsNothingUp(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	say := func(text string, sealed bool) {
		t.Helper()
		if err := sindh.DB.Update(t.Context(), func(tx *store.Tx) error {
			return sindh.Post.Queue(tx, post.Outgoing{To: punjab.Addr, Lane: bulk, Kind: kindNote, Subject: "one", Body: wrapperspb.String(text), Sealed: sealed})
		}); err != nil {
			t.Fatal(err)
		}
	}
	say("sealed", true)
	say("open", false)
	r.newKeys(punjab, sindh)
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"open"})
	say("sealed again", true)
	say("more", false)
	punjab.Stop()
	punjab.Open() // it tries what lies in quarantine again
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"open", "sealed again", "more"})
}

// What a restored sender still has to tell, it tells in the order in which it was queued.
func TestRestoredSenderKeepsTheOrder(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.QueueAll(punjab.Office, bulk, texts("o", 20))
	sindh.keepCopy()
	r.restore(sindh)
	sindh.QueueAll(punjab.Office, bulk, []string{"p"})
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), append(texts("o", 20), "p"))
}

// told is a broker that brings one message, and notes what it is told of it.
type told struct {
	nowhere
	mail      chan post.Message
	id        uint64 // of what it brings next
	ack, nak  int
	afterward func() uint64 // letters received, when it is told
	received  uint64
}

func (b *told) Transport(testing.TB, string, string) post.Transport { return b }

func (b *told) Mail(lane postv1.Lane) <-chan post.Message {
	if lane == bulk {
		return b.mail
	}
	return nil
}

func (b *told) bring(subject string, data []byte) {
	b.mail <- post.Message{
		Subject: subject, Data: data, ID: b.id,
		Ack: func() { b.ack++; b.received = b.afterward() },
		Nak: func(time.Duration) { b.nak++ },
	}
}

// newFlaky has a desk to which a broker brings a parcel that cannot be applied now.
func newFlaky(t *testing.T) (r *room, punjab *desk, broker *told, parcel []byte) {
	t.Helper()
	r, sindh, punjab := newDesks(t)
	sindh.Queue(punjab.Office, bulk, kindFlaky, "s", "1")
	r.settleAlone(sindh)
	parcel = r.mails("bulk", true)[0]
	punjab.Stop()
	broker = &told{mail: make(chan post.Message, 1), afterward: punjab.count}
	punjab.hub = broker
	punjab.Open()
	punjab.Fail(true)
	return r, punjab, broker, parcel
}

// The broker is told to forget a parcel when it is applied, and never before.
func TestTheBrokerIsToldAfterwards(t *testing.T) {
	r, punjab, broker, parcel := newFlaky(t)
	broker.bring(toPunjab+"bulk.sindh."+Service, parcel)
	r.settleAlone(punjab)
	if broker.ack != 0 || broker.nak != 1 {
		t.Errorf("what fails for now: forgotten %d times, asked for again %d times", broker.ack, broker.nak)
	}
	punjab.Fail(false)
	broker.bring(toPunjab+"bulk.sindh."+Service, parcel)
	r.settleAlone(punjab)
	if broker.ack != 1 || broker.nak != 1 || broker.received != 1 {
		t.Errorf("what was applied: forgotten %d times, with %d letters in the store", broker.ack, broker.received)
	}
}

// Of a parcel that cannot be applied now the broker holds one copy alone: its sender repeats it, and would fill its place there. Where that one is
// lost another takes its place.
func TestOneCopyIsHeldBack(t *testing.T) {
	r, punjab, broker, parcel := newFlaky(t)
	for _, c := range []struct {
		what     string
		id       uint64
		after    time.Duration
		ack, nak int
	}{
		{"the first", 1, 0, 0, 1},
		{"a copy", 2, 0, 1, 1},
		{"the first again", 1, time.Second, 1, 2},
		{"a copy, long after the first came last", 3, time.Minute, 1, 3},
		{"another copy", 4, time.Second, 2, 3},
		{"that one again", 3, time.Second, 2, 4},
	} {
		r.now, broker.id = r.now.Add(c.after), c.id
		broker.bring(toPunjab+"bulk.sindh."+Service, parcel)
		r.settleAlone(punjab)
		if broker.ack != c.ack || broker.nak != c.nak {
			t.Fatalf("%s: %d forgotten, want %d; %d asked for again, want %d", c.what, broker.ack, c.ack, broker.nak, c.nak)
		}
	}
	punjab.Fail(false)
	broker.bring(toPunjab+"bulk.sindh."+Service, parcel)
	r.settleAlone(punjab)
	if broker.ack != 3 || broker.received != 1 {
		t.Errorf("now that it can be applied: %d forgotten, %d letters received", broker.ack, broker.received)
	}
}
