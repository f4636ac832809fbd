package protocol

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/backoff"
)

// The world below is one direction of one link over a network that loses, doubles and reorders:
// whatever was sent once can come at any time, for ever. Both ends restart and are restored from
// older copies; incarnations only grow.

type letter struct{ id uint64 }

type senderDisk struct {
	state *postv1.SendingState
	rows  map[uint64]letter // outbox by sequence
	said  []letter          // what the sender's own history says it has told
}

func (d senderDisk) copy() senderDisk {
	rows := make(map[uint64]letter, len(d.rows))
	for k, v := range d.rows {
		rows[k] = v
	}
	return senderDisk{proto.CloneOf(d.state), rows, slices.Clone(d.said)}
}

type receiverDisk struct {
	state   *postv1.ReceivingState
	known   map[uint64]bool
	applied []letter
	refused map[uint64]*postv1.SignedRefusal
}

func (d receiverDisk) copy() receiverDisk {
	out := receiverDisk{
		state: proto.CloneOf(d.state), known: map[uint64]bool{}, refused: map[uint64]*postv1.SignedRefusal{},
		applied: slices.Clone(d.applied),
	}
	for k := range d.known {
		out.known[k] = true
	}
	for k, v := range d.refused {
		out.refused[k] = v
	}
	return out
}

type parcel struct {
	header  *postv1.ParcelHeader
	letters []letter
}

type world struct {
	now          time.Time
	s, sCopy     senderDisk
	r, rCopy     receiverDisk
	flight       Flight
	sInc, rInc   uint64
	incarnations uint64
	nextID       uint64
	parcels      []parcel
	receipts     []*postv1.Receipt
	restoredS    bool
	told         map[uint64]bool // refusals the sender learnt
	keep         time.Duration
}

var pace = backoff.Range{Min: 5 * time.Second, Max: 15 * time.Minute}

func newWorld(keep time.Duration) *world {
	w := &world{now: time.Unix(1_800_000_000, 0), sInc: 1, rInc: 1, incarnations: 1, told: map[uint64]bool{}, keep: keep}
	w.s = senderDisk{
		state: &postv1.SendingState{OwnIncarnation: 1, NextSequence: 1, FloorSequence: 1},
		rows:  map[uint64]letter{},
	}
	w.r = receiverDisk{state: &postv1.ReceivingState{}, known: map[uint64]bool{}, refused: map[uint64]*postv1.SignedRefusal{}}
	w.sCopy, w.rCopy = w.s.copy(), w.r.copy()
	w.restart()
	return w
}

func (w *world) restart() {
	w.flight = NewFlight(pace, 7, w.s.state.GetNextSequence()-1, w.s.state.GetReceiptedSequence())
}

func (w *world) step(in Input) Output {
	var out Output
	w.flight, out = w.flight.Step(in, w.now)
	return out
}

func (w *world) queue() {
	w.nextID++
	l := letter{w.nextID}
	seq := w.s.state.GetNextSequence()
	w.s.rows[seq] = l
	w.s.said = append(w.s.said, l)
	w.s.state.NextSequence = seq + 1
	w.step(Queued{seq})
}

func poison(l letter) bool { return l.id%7 == 3 }

func idBytes(l letter) []byte {
	b := make([]byte, 16)
	binary.BigEndian.PutUint64(b, l.id)
	return b
}

// send packs and sends one parcel if the flight wants one; lost says that the broker refuses it.
func (w *world) send(most uint64, refuse bool) bool {
	out := w.step(Tick{})
	if out.Pack == 0 {
		return false
	}
	p := parcel{header: &postv1.ParcelHeader{
		SenderIncarnation: w.sInc, ReceiverIncarnation: w.s.state.GetPeerIncarnation(), FirstSequence: out.Pack,
		ReceiptedSequence: w.s.state.GetReceiptedSequence(), FloorSequence: w.s.state.GetFloorSequence(),
	}}
	last := out.Pack
	for ; last < out.Pack+most && last < w.s.state.GetNextSequence(); last++ {
		p.letters = append(p.letters, w.s.rows[last])
	}
	p.header.LastSequence = last - 1
	w.step(Packed{out.Pack, last - 1})
	if refuse {
		w.step(NotTaken{out.Pack})
	} else {
		w.parcels = append(w.parcels, p)
	}
	return true
}

// ask sends the parcel without letters by which two ends compare marks.
func (w *world) ask() {
	w.parcels = append(w.parcels, parcel{header: &postv1.ParcelHeader{
		SenderIncarnation: w.sInc, ReceiverIncarnation: w.s.state.GetPeerIncarnation(),
		FirstSequence: w.s.state.GetNextSequence(), LastSequence: w.s.state.GetNextSequence() - 1,
		ReceiptedSequence: w.s.state.GetReceiptedSequence(), FloorSequence: w.s.state.GetFloorSequence(),
	}})
}

func (w *world) deliver(p parcel) {
	next, acc := Accept(w.r.state, w.rInc, p.header, w.now)
	if acc.Verdict == Stale || acc.Verdict == Overtaken {
		return
	}
	resend := acc.Verdict == Gap
	for i, l := range p.letters {
		seq := p.header.GetFirstSequence() + uint64(i)
		if acc.Verdict == Gap {
			break
		}
		if seq <= next.GetMark() {
			Settle(next, seq, idBytes(l), w.r.refused[l.id])
			continue
		}
		if Full(next) {
			resend = true
			break
		}
		if !w.r.known[l.id] {
			w.r.known[l.id] = true
			if poison(l) {
				w.r.refused[l.id] = &postv1.SignedRefusal{Refusal: idBytes(l)}
			} else {
				w.r.applied = append(w.r.applied, l)
			}
		}
		Settle(next, seq, idBytes(l), w.r.refused[l.id])
	}
	w.r.state = next
	w.receipts = append(w.receipts, Receipt(next, w.rInc, resend, w.now))
}

func (w *world) count(r *postv1.Receipt) {
	var atMark []byte
	if l, ok := w.s.rows[r.GetMark()]; ok {
		atMark = idBytes(l)
	}
	next, out := Count(w.s.state, r, atMark, w.now)
	w.s.state = next
	for _, refusal := range out.Refusals {
		w.told[binary.BigEndian.Uint64(refusal.GetRefusal().GetRefusal())] = true
	}
	if out.Verdict == Counted || out.Verdict == Repeated {
		w.step(Moved{Receipted: next.GetReceiptedSequence(), Reset: out.Reset, Resend: out.Resend})
	}
	w.keepHouse()
}

func (w *world) keepHouse() {
	kept, _ := Keep(w.s.state, w.keep, 100, w.now)
	for seq := w.s.state.GetFloorSequence(); seq < kept.GetFloorSequence(); seq++ {
		delete(w.s.rows, seq)
	}
	w.s.state = kept
}

func (w *world) restoreSender() {
	w.s = w.sCopy.copy()
	w.incarnations++
	w.sInc = w.incarnations
	w.restoredS = true
	var seqs []uint64
	for seq := range w.s.rows {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	rows := map[uint64]letter{}
	for i, seq := range seqs {
		rows[uint64(i)+1] = w.s.rows[seq]
	}
	w.s.state = Begin(w.s.state, w.sInc, uint64(len(seqs)))
	w.s.rows = rows
	w.restart()
}

func (w *world) restoreReceiver() {
	w.r = w.rCopy.copy()
	w.incarnations++
	w.rInc = w.incarnations
	if w.r.state.GetPeerIncarnation() > 0 {
		w.receipts = append(w.receipts, Receipt(w.r.state, w.rInc, false, w.now))
	}
}

func (w *world) safe(t *rapid.T) {
	seen := map[uint64]bool{}
	last := uint64(0)
	for _, l := range w.r.applied {
		if seen[l.id] {
			t.Fatalf("letter %d applied twice", l.id)
		}
		seen[l.id] = true
		if !w.restoredS && l.id < last {
			t.Fatalf("letter %d applied after %d", l.id, last)
		}
		last = l.id
	}
	for seq := w.s.state.GetReceiptedSequence() + 1; seq < w.s.state.GetNextSequence(); seq++ {
		if _, ok := w.s.rows[seq]; !ok {
			t.Fatalf("unreceipted letter %d has left the outbox", seq)
		}
	}
	if w.s.state.GetOvertaken() {
		t.Fatal("overtaken, though every restore was announced")
	}
}

// heal lets everything through for a while; all the sender ever said must then be there.
func (w *world) heal(t *rapid.T) {
	w.step(Reconnected{})
	for i := range 400 {
		w.now = w.now.Add(time.Second)
		n := len(w.parcels)
		if i%100 == 0 {
			w.ask()
		}
		for w.send(5, false) {
		}
		m := len(w.receipts)
		for _, p := range w.parcels[n:] {
			w.deliver(p)
		}
		for _, r := range w.receipts[m:] {
			w.count(r)
		}
		w.safe(t)
	}
	if got, want := w.s.state.GetReceiptedSequence()+1, w.s.state.GetNextSequence(); got != want {
		t.Fatalf("jam: receipted up to %d of %d", got-1, want-1)
	}
	for _, l := range w.s.said {
		if !w.r.known[l.id] {
			t.Fatalf("letter %d was never applied", l.id)
		}
	}
}

func TestLinkLosesNothingAndDoublesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Letters are kept longer than the test lasts: so restores of the receiver lose nothing.
		w := newWorld(1000 * time.Hour)
		restores := 0
		t.Repeat(map[string]func(*rapid.T){
			"queue": func(*rapid.T) { w.queue() },
			"send": func(t *rapid.T) {
				w.send(rapid.Uint64Range(1, 4).Draw(t, "most"), rapid.IntRange(0, 9).Draw(t, "refuse") == 0)
			},
			"deliver": func(t *rapid.T) {
				if len(w.parcels) > 0 {
					w.deliver(w.parcels[rapid.IntRange(0, len(w.parcels)-1).Draw(t, "parcel")])
				}
			},
			"deliver newest": func(*rapid.T) {
				if len(w.parcels) > 0 {
					w.deliver(w.parcels[len(w.parcels)-1])
				}
			},
			"receipt": func(t *rapid.T) {
				if len(w.receipts) > 0 {
					w.count(w.receipts[rapid.IntRange(0, len(w.receipts)-1).Draw(t, "receipt")])
				}
			},
			"receipt newest": func(*rapid.T) {
				if len(w.receipts) > 0 {
					w.count(w.receipts[len(w.receipts)-1])
				}
			},
			"time":           func(t *rapid.T) { w.now = w.now.Add(time.Duration(rapid.IntRange(1, 1000).Draw(t, "s")) * time.Second) },
			"reconnect":      func(*rapid.T) { w.step(Reconnected{}) },
			"compare":        func(*rapid.T) { w.ask() },
			"restart sender": func(*rapid.T) { w.restart() },
			"copy sender":    func(*rapid.T) { w.sCopy = w.s.copy() },
			"copy receiver":  func(*rapid.T) { w.rCopy = w.r.copy() },
			"restore receiver": func(t *rapid.T) {
				if restores++; restores < 4 {
					w.restoreReceiver()
				}
			},
			"restore sender": func(t *rapid.T) {
				if restores++; restores < 4 {
					w.restoreSender()
				}
			},
			"": w.safe,
		})
		w.heal(t)
	})
}

func TestRefusalsReachTheSender(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(0)
		t.Repeat(map[string]func(*rapid.T){
			"queue": func(*rapid.T) { w.queue() },
			"send":  func(*rapid.T) { w.send(3, false) },
			"deliver": func(t *rapid.T) {
				if len(w.parcels) > 0 {
					w.deliver(w.parcels[rapid.IntRange(0, len(w.parcels)-1).Draw(t, "parcel")])
				}
			},
			"receipt": func(t *rapid.T) {
				if len(w.receipts) > 0 {
					w.count(w.receipts[rapid.IntRange(0, len(w.receipts)-1).Draw(t, "receipt")])
				}
			},
			"time": func(*rapid.T) { w.now = w.now.Add(20 * time.Second) },
			"": func(t *rapid.T) {
				// Whatever receipts were lost, the sender knows of every refusal it was receipted over.
				for _, l := range w.s.said[:w.s.state.GetReceiptedSequence()] {
					if poison(l) && !w.told[l.id] {
						t.Fatalf("letter %d was receipted and the sender was not told of its refusal", l.id)
					}
				}
			},
		})
		w.heal(t)
	})
}

func TestManyRefusalsWaitForTheSender(t *testing.T) {
	w := newWorld(time.Hour)
	for w.nextID < 7*(MaxOpenRefusals+20) {
		w.queue()
	}
	rapid.Check(t, func(t *rapid.T) { w.heal(t) })
	for _, l := range w.s.said {
		if poison(l) != w.told[l.id] {
			t.Fatalf("letter %d: poison %v, told %v", l.id, poison(l), w.told[l.id])
		}
	}
}

func TestRolledBackUnannouncedIsNoticed(t *testing.T) {
	w := newWorld(time.Hour)
	w.queue()
	w.sCopy = w.s.copy()
	w.queue()
	w.send(9, false)
	w.deliver(w.parcels[0])
	w.s = w.sCopy.copy() // the file was put back; the incarnation stayed
	w.restart()
	w.queue() // another letter under the same sequence
	w.queue()
	w.count(w.receipts[0])
	if !w.s.state.GetOvertaken() || w.s.state.GetReceiptedSequence() != 0 {
		t.Fatalf("a receipt for letters this end does not have was counted: %v", w.s.state)
	}
}

func TestReceiverRolledBackUnannouncedIsNoticed(t *testing.T) {
	w := newWorld(time.Hour)
	w.queue()
	w.rCopy = w.r.copy()
	w.send(9, false)
	w.deliver(w.parcels[0])
	w.count(w.receipts[0])
	w.r = w.rCopy.copy() // the file was put back; the incarnation stayed
	w.queue()
	w.send(9, false)
	if _, acc := Accept(w.r.state, w.rInc, w.parcels[1].header, w.now); acc.Verdict != Overtaken {
		t.Fatalf("the sender holds a receipt for a letter that this end does not have: %s", acc.Verdict)
	}
}

func TestOldIncarnationsAreNotBelieved(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	sending := &postv1.SendingState{OwnIncarnation: 5, PeerIncarnation: 7, NextSequence: 10, ReceiptedSequence: 3, FloorSequence: 1}
	for _, test := range []struct {
		name    string
		receipt *postv1.Receipt
		want    Verdict
	}{
		{"both current", &postv1.Receipt{SenderIncarnation: 5, ReceiverIncarnation: 7, Mark: 6}, Counted},
		{"restored receiver", &postv1.Receipt{SenderIncarnation: 5, ReceiverIncarnation: 8, Mark: 1}, Counted},
		{"old receiver", &postv1.Receipt{SenderIncarnation: 5, ReceiverIncarnation: 6, Mark: 6}, Stale},
		{"old sender", &postv1.Receipt{SenderIncarnation: 4, ReceiverIncarnation: 7, Mark: 6}, Stale},
		{"old sender, restored receiver", &postv1.Receipt{SenderIncarnation: 4, ReceiverIncarnation: 8, Mark: 6}, Stale},
		{"lower mark", &postv1.Receipt{SenderIncarnation: 5, ReceiverIncarnation: 7, Mark: 2}, Stale},
		{"same mark", &postv1.Receipt{SenderIncarnation: 5, ReceiverIncarnation: 7, Mark: 3}, Repeated},
		{"never sent", &postv1.Receipt{SenderIncarnation: 5, ReceiverIncarnation: 7, Mark: 10}, Overtaken},
		{"later sender", &postv1.Receipt{SenderIncarnation: 6, ReceiverIncarnation: 7, Mark: 1}, Overtaken},
	} {
		next, out := Count(sending, test.receipt, nil, now)
		if out.Verdict != test.want {
			t.Errorf("receipt, %s: %s, want %s", test.name, out.Verdict, test.want)
		}
		if (test.want == Stale || test.want == Repeated) && next != sending {
			t.Errorf("receipt, %s: it changed the state", test.name)
		}
	}
	receiving := &postv1.ReceivingState{PeerIncarnation: 5, Mark: 3}
	for _, test := range []struct {
		name   string
		header *postv1.ParcelHeader
		want   Verdict
	}{
		{"current", &postv1.ParcelHeader{SenderIncarnation: 5, ReceiverIncarnation: 7, FirstSequence: 4, LastSequence: 5}, Counted},
		{"not yet heard", &postv1.ParcelHeader{SenderIncarnation: 5, FirstSequence: 4, LastSequence: 5}, Counted},
		{"overlapping", &postv1.ParcelHeader{SenderIncarnation: 5, FirstSequence: 2, LastSequence: 5}, Counted},
		{"repeated", &postv1.ParcelHeader{SenderIncarnation: 5, FirstSequence: 2, LastSequence: 3}, Repeated},
		{"gap", &postv1.ParcelHeader{SenderIncarnation: 5, FirstSequence: 5, LastSequence: 6}, Gap},
		{"comparing, equal", &postv1.ParcelHeader{SenderIncarnation: 5, FirstSequence: 4, LastSequence: 3}, Repeated},
		{"comparing, behind", &postv1.ParcelHeader{SenderIncarnation: 5, FirstSequence: 5, LastSequence: 4}, Gap},
		{"restored sender", &postv1.ParcelHeader{SenderIncarnation: 6, FirstSequence: 1, LastSequence: 1}, Counted},
		{"old sender", &postv1.ParcelHeader{SenderIncarnation: 4, FirstSequence: 4, LastSequence: 5}, Stale},
		{"later receiver", &postv1.ParcelHeader{SenderIncarnation: 5, ReceiverIncarnation: 8, FirstSequence: 4, LastSequence: 5}, Overtaken},
	} {
		next, out := Accept(receiving, 7, test.header, now)
		if out.Verdict != test.want {
			t.Errorf("parcel, %s: %s, want %s", test.name, out.Verdict, test.want)
		}
		if (test.want == Stale || test.want == Overtaken) && next != receiving {
			t.Errorf("parcel, %s: it changed the state", test.name)
		}
		if test.want == Counted && test.header.GetSenderIncarnation() == 5 && out.First != 4 {
			t.Errorf("parcel, %s: begins with letter %d, want 4", test.name, out.First)
		}
	}
}

func TestWhoTookAnotherLetter(t *testing.T) {
	sent := &postv1.SendingState{OwnIncarnation: 7, NextSequence: 4}
	for name, c := range map[string]struct {
		taken  *postv1.TakenMark
		atMark []byte
		other  bool
	}{
		"nothing":                 {&postv1.TakenMark{Incarnation: 7}, nil, false},
		"all that was queued":     {&postv1.TakenMark{Incarnation: 7, Sequence: 3, LetterId: []byte("c")}, []byte("c"), false},
		"what is kept no longer":  {&postv1.TakenMark{Incarnation: 7, Sequence: 2, LetterId: []byte("b")}, nil, false},
		"another letter":          {&postv1.TakenMark{Incarnation: 7, Sequence: 3, LetterId: []byte("d")}, []byte("c"), true},
		"one more":                {&postv1.TakenMark{Incarnation: 7, Sequence: 4, LetterId: []byte("d")}, nil, true},
		"one more of a past life": {&postv1.TakenMark{Incarnation: 6, Sequence: 4, LetterId: []byte("d")}, nil, false},
	} {
		if other := TookOther(sent, c.taken, c.atMark); other != c.other {
			t.Errorf("%s: took another: %t", name, other)
		}
	}
}

func TestKeptNoLonger(t *testing.T) {
	w := newWorld(time.Minute)
	w.rCopy = w.r.copy()
	exchange := func() {
		for w.send(9, false) {
			w.deliver(w.parcels[len(w.parcels)-1])
			w.count(w.receipts[len(w.receipts)-1])
		}
	}
	for range 2 {
		w.queue()
		exchange()
	}
	for range 40 {
		w.now = w.now.Add(4 * time.Second)
		w.keepHouse()
	}
	w.queue()
	exchange()
	if floor := w.s.state.GetFloorSequence(); floor != 3 {
		t.Fatalf("floor %d, want 3: one letter inside the time of keeping", floor)
	}
	w.restoreReceiver()     // from the empty copy
	w.deliver(w.parcels[0]) // an old parcel still brings letter 1; letter 2 is kept by nobody
	next, out := Count(w.s.state, w.receipts[len(w.receipts)-1], nil, w.now)
	if !out.Reset || out.LostFrom != 2 || out.LostTo != 2 {
		t.Fatalf("letter 2, no longer kept, was not reported: %+v", out)
	}
	w.s.state = next
	w.step(Moved{Receipted: next.GetReceiptedSequence(), Reset: true})
	if !w.send(9, false) {
		t.Fatal("letter 3, still kept, was not sent again")
	}
	last := w.parcels[len(w.parcels)-1]
	if _, acc := Accept(w.r.state, w.rInc, last.header, w.now); acc.Verdict != Counted || acc.First != 3 || acc.MissedFrom != 2 || acc.MissedTo != 2 {
		t.Fatalf("the receiver did not go on from the sender's floor: %+v", acc)
	}
}

// When the broker is there again, what no receipt covers goes at once, however long the last wait was.
func TestReconnectedSendsAtOnce(t *testing.T) {
	w := newWorld(time.Hour)
	for range 3 {
		w.queue()
	}
	for range 5 { // nobody answers, so waits have grown
		w.send(9, false)
		w.now = w.now.Add(pace.Max)
	}
	w.send(9, false)
	if out := w.step(Tick{}); out.Pack != 0 {
		t.Fatalf("a parcel is under way, and letter %d is sent again", out.Pack)
	}
	if out := w.step(Reconnected{}); out.Pack != 1 {
		t.Fatalf("the broker is there again, and what waits is sent at %v", out.Wake)
	}
}

func TestRepetitionsGrowAndSpread(t *testing.T) {
	now := time.Unix(0, 0)
	var waits [2][]time.Duration
	for link := range waits {
		f := NewFlight(pace, uint64(link), 3, 0)
		at := now
		for range 12 {
			var out Output
			f, out = f.Step(Tick{}, at)
			if out.Pack != 1 {
				t.Fatalf("at %v nothing was sent again", at)
			}
			f, out = f.Step(Packed{1, 3}, at)
			waits[link] = append(waits[link], out.Wake.Sub(at))
			at = out.Wake
		}
		base := pace.Min
		for i, wait := range waits[link] {
			if wait < base/2 || wait > base {
				t.Errorf("link %d wait %d is %v, want half to all of %v", link, i, wait, base)
			}
			base = min(base*2, pace.Max)
		}
	}
	if slices.Equal(waits[0], waits[1]) {
		t.Error("two links repeat at the same times")
	}
}
