package posttest

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// Hub is a broker under test.
type Hub interface {
	// Transport connects a service; if it has a Close method the suite calls it.
	Transport(tb testing.TB, node, service string) post.Transport
	// Wipe makes the broker forget everything and begin anew.
	Wipe(tb testing.TB)
	// Inject puts a message into a mailbox as someone could who has taken over the broker.
	Inject(tb testing.TB, subject string, data []byte)
	// Seen is what was published under subjects with this prefix, in order.
	Seen(tb testing.TB, prefix string) [][]byte
	// Holds says whether the text can be read in anything that came to the broker.
	Holds(tb testing.TB, text []byte) bool
}

const (
	urgent = postv1.Lane_LANE_URGENT
	bulk   = postv1.Lane_LANE_BULK
)

// Run runs the suite: each test gets a hub of its own, for the network at root.
func Run(t *testing.T, hub func(t *testing.T, root string) Hub) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, w world)
	}{
		{"exactly once and in order through restarts", restarts},
		{"urgent passes a backlog", urgentPasses},
		{"a poison letter lets others pass", poison},
		{"what fails for now is tried again in order", flaky},
		{"a wiped hub loses nothing", wiped},
		{"forged, truncated and replayed mail changes nothing", forged},
		{"a key that the roster has replaced signs no mail", replacedKey},
		{"mail of a suspended node counts no more until it is readmitted", suspended},
		{"bodies are never readable outside", canary},
		{"a restored receiver gets everything again", restoredReceiver},
		{"a restored sender repeats and nothing doubles", restoredSender},
		{"letters to the own service", loopback},
		{"files among letters", filesAmongLetters},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := Network(t)
			h := hub(t, root)
			test.run(t, world{hub: h, root: root, sindh: NewOffice(t, h, root, "sindh"), punjab: NewOffice(t, h, root, "punjab")})
		})
	}
}

type world struct {
	hub           Hub
	root          string
	sindh, punjab *Office
}

func texts(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s%04d", prefix, i)
	}
	return all
}

func withPrefix(all []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

func mustEqual(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("received %d letters %.200v…, want %d in order", len(got), got, len(want))
	}
}

func restarts(t *testing.T, w world) {
	w.sindh.Start()
	w.punjab.Start()
	const rounds, each = 12, 40
	u, b, back := texts("u", rounds*each), texts("b", rounds*each), texts("back", rounds*each)
	for i := range rounds {
		w.sindh.QueueAll(w.punjab, bulk, b[i*each:][:each])
		for j := range each {
			if j%8 == 0 {
				w.punjab.QueueAll(w.sindh, bulk, back[i*each+j:][:8])
			}
			if j%4 == 0 {
				w.sindh.QueueAll(w.punjab, urgent, u[i*each+j:][:4])
			}
		}
		switch i % 3 {
		case 0:
			w.sindh.Stop()
			w.sindh.Start()
		case 1:
			w.punjab.Stop()
			w.punjab.Start()
		}
	}
	Wait(t, "all letters arrive", func() bool { return w.punjab.count() >= 2*rounds*each && w.sindh.count() >= rounds*each })
	Wait(t, "all letters are receipted", func() bool { return w.sindh.Unreceipted()+w.punjab.Unreceipted() == 0 })
	mustEqual(t, withPrefix(w.punjab.Received(), "u"), u)
	mustEqual(t, withPrefix(w.punjab.Received(), "b"), b)
	mustEqual(t, w.sindh.Received(), back)
}

func urgentPasses(t *testing.T, w world) {
	w.sindh.Open()
	backlog := texts("b", 1000)
	for i := range backlog {
		backlog[i] += strings.Repeat(".", 8<<10) // so that the backlog fills more than one window
	}
	w.sindh.QueueAll(w.punjab, bulk, backlog)
	w.punjab.Start()
	w.sindh.Run()
	Wait(t, "the backlog moves", func() bool { return w.punjab.count() > 0 })
	w.sindh.QueueAll(w.punjab, urgent, []string{"urgent"})
	Wait(t, "all arrive", func() bool { return w.punjab.count() == 1001 })
	if at := slices.Index(w.punjab.Received(), "urgent"); at >= 1000 {
		t.Fatalf("the urgent letter came at place %d, behind the backlog", at)
	}
	mustEqual(t, withPrefix(w.punjab.Received(), "b"), backlog)
}

func poison(t *testing.T, w world) {
	w.sindh.Open()
	w.sindh.Queue(w.punjab, bulk, kindNote, "x", "x1")
	w.sindh.Queue(w.punjab, bulk, kindPoison, "x", "bad")
	w.sindh.Queue(w.punjab, bulk, kindNote, "x", "x2")
	w.sindh.Queue(w.punjab, bulk, kindNote, "y", "y1")
	w.sindh.Queue(w.punjab, bulk, "test.unknown.v1", "z", "z1")
	w.sindh.Queue(w.punjab, bulk, kindPanic, "p", "p1")
	w.sindh.Queue(w.punjab, bulk, kindNote, "", "last")
	saved := w.sindh.backup()
	w.sindh.Run()
	w.punjab.Start()
	Wait(t, "the last letter arrives", func() bool { return w.punjab.count() == 3 })
	Wait(t, "the link is not jammed", func() bool { return w.sindh.Unreceipted() == 0 })
	mustEqual(t, w.punjab.Received(), []string{"x1", "y1", "last"})
	want := []string{"p handler-failed", "x " + longReason[:199], "x waits-behind-refused-letter", "z unknown-kind"}
	told := func() []string { return slices.Sorted(slices.Values(w.sindh.Refused())) }
	mustEqual(t, told(), want)
	mustEqual(t, quarantined(t, w.punjab), []string{"p", "x", "x", "z"})

	// The sender forgets that it was told: the letters come again, and so do the refusals.
	w.sindh.Stop()
	w.sindh.restore(saved)
	w.sindh.Start()
	Wait(t, "the refusals are repeated", func() bool { return slices.Equal(told(), want) })
	Wait(t, "the link is not jammed again", func() bool { return w.sindh.Unreceipted() == 0 })
	mustEqual(t, w.punjab.Received(), []string{"x1", "y1", "last"})
	mustEqual(t, quarantined(t, w.punjab), []string{"p", "x", "x", "z"})
}

func quarantined(t *testing.T, o *Office) (subjects []string) {
	t.Helper()
	err := o.DB.View(t.Context(), func(r store.Reader) error {
		letters, _, err := tables.Quarantine(r, nil, 100)
		for _, l := range letters {
			subjects = append(subjects, l.GetLetter().GetSubject())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return subjects
}

func flaky(t *testing.T, w world) {
	w.sindh.Open()
	w.sindh.Queue(w.punjab, bulk, kindNote, "s", "1")
	w.sindh.Queue(w.punjab, bulk, kindFlaky, "s", "2")
	w.sindh.Queue(w.punjab, bulk, kindNote, "s", "3")
	w.punjab.Fail(true)
	w.punjab.Start()
	w.sindh.Run()
	Wait(t, "the failing letter was met", func() bool { return w.punjab.Counted("parcel-in", "put-off") > 0 })
	mustEqual(t, w.punjab.Received(), []string{"1"})
	w.punjab.Fail(false)
	Wait(t, "all arrive", func() bool { return w.punjab.count() == 3 })
	mustEqual(t, w.punjab.Received(), []string{"1", "2", "3"})
}

func wiped(t *testing.T, w world) {
	w.sindh.Start()
	w.punjab.Start()
	all := texts("w", 600)
	for i := range 6 {
		w.sindh.QueueAll(w.punjab, bulk, all[i*100:][:100])
		if i%2 == 1 {
			w.hub.Wipe(t)
		}
	}
	Wait(t, "all letters arrive", func() bool { return w.punjab.count() >= 600 })
	Wait(t, "all letters are receipted", func() bool { return w.sindh.Unreceipted() == 0 })
	mustEqual(t, w.punjab.Received(), all)
}

// exchange sends a few letters and returns a parcel and a receipt that were really under way.
func (w world) exchange(t *testing.T) (parcel, receipt []byte, toPunjab, toSindh string) {
	t.Helper()
	w.sindh.Start()
	w.punjab.Start()
	for _, text := range []string{"one", "two"} {
		w.sindh.QueueAll(w.punjab, bulk, []string{text})
		Wait(t, "the letter is receipted", func() bool { return w.sindh.Unreceipted() == 0 })
	}
	toPunjab = "amanat.post.punjab." + Service + ".bulk.sindh." + Service
	toSindh = "amanat.post.sindh." + Service + ".bulk.punjab." + Service
	Wait(t, "the mail was seen", func() bool { return len(w.hub.Seen(t, toPunjab)) > 0 && len(w.hub.Seen(t, toSindh)) > 0 })
	return w.hub.Seen(t, toPunjab)[0], w.hub.Seen(t, toSindh)[0], toPunjab, toSindh
}

func forged(t *testing.T, w world) {
	parcel, receipt, toPunjab, toSindh := w.exchange(t)
	type attack struct {
		victim        *Office
		subject       string
		data          []byte
		what, verdict string
	}
	otherFrom := "amanat.post.punjab." + Service + ".bulk.federal.federal"
	attacks := []attack{
		{w.punjab, toPunjab, parcel, "parcel-in", "repeated"},
		{w.punjab, toPunjab, parcel[:len(parcel)/2], "mail-in", "malformed"},
		{w.punjab, toPunjab, []byte("hello"), "mail-in", "malformed"},
		{w.punjab, otherFrom, parcel, "parcel-in", "foreign-address"},
		{w.punjab, strings.Replace(toPunjab, "bulk", "urgent", 1), parcel, "parcel-in", "foreign-address"},
		{w.punjab, "amanat.post.punjab." + Service + ".bulk.atlantis.referral", parcel, "mail-in", "unknown-sender"},
		{w.sindh, toSindh, parcel, "parcel-in", "foreign-address"},
		{w.sindh, toSindh, receipt[:len(receipt)-9], "mail-in", "malformed"},
		{w.punjab, toPunjab, receipt, "receipt-in", "foreign-address"},
		{w.punjab, toPunjab, tamper(t, parcel, func(m *postv1.Mail) { m.GetParcel().Sealed[1130]++ }), "parcel-in", "bad-signature"},
		{w.punjab, toPunjab, tamper(t, parcel, func(m *postv1.Mail) { m.GetParcel().Signature[3]++ }), "parcel-in", "bad-signature"},
		{w.punjab, toPunjab, tamper(t, parcel, rewriteHeader(t)), "parcel-in", "bad-signature"},
		{w.sindh, toSindh, tamper(t, receipt, raiseMark(t)), "receipt-in", "bad-signature"},
	}
	// A receipt of the past is signed and true; it says nothing new.
	attacks = append(attacks, attack{w.sindh, toSindh, receipt, "receipt-in", "stale"})
	for i, a := range attacks {
		before := a.victim.Counted(a.what, a.verdict)
		w.hub.Inject(t, a.subject, a.data)
		Wait(t, fmt.Sprintf("attack %d is counted as %s", i, a.verdict), func() bool { return a.victim.Counted(a.what, a.verdict) > before })
	}
	mustEqual(t, w.punjab.Received(), []string{"one", "two"})
	mustEqual(t, w.sindh.Received(), nil)
	w.sindh.QueueAll(w.punjab, bulk, []string{"three"})
	Wait(t, "honest mail still goes", func() bool { return w.punjab.count() == 3 && w.sindh.Unreceipted() == 0 })
}

// replacedKey has Sindh enter new keys in the roster, as after a theft: whoever has the old ones can speak for it no more.
func replacedKey(t *testing.T, w world) {
	parcel, _, toPunjab, _ := w.exchange(t)
	w.punjab.QueueAll(w.sindh, bulk, []string{"back"})
	Wait(t, "the letter is receipted", func() bool { return w.punjab.Unreceipted() == 0 })
	var receipt []byte
	Wait(t, "the receipt was seen", func() bool {
		for _, data := range w.hub.Seen(t, toPunjab) {
			var mail postv1.Mail
			if proto.Unmarshal(data, &mail) == nil && mail.GetReceipt() != nil {
				receipt = data
			}
		}
		return receipt != nil
	})
	w.sindh.Stop()
	ReplaceKeys(t, w.root, "sindh", "PK-SD", "punjab")
	for what, data := range map[string][]byte{"parcel-in": parcel, "receipt-in": receipt} {
		before := w.punjab.Counted(what, "bad-signature")
		w.hub.Inject(t, toPunjab, data)
		Wait(t, "it is thrown away: "+what, func() bool { return w.punjab.Counted(what, "bad-signature") > before })
	}
	mustEqual(t, w.punjab.Received(), []string{"one", "two"})
}

func tamper(t *testing.T, data []byte, change func(*postv1.Mail)) []byte {
	t.Helper()
	var mail postv1.Mail
	if err := proto.Unmarshal(data, &mail); err != nil {
		t.Fatal(err)
	}
	change(&mail)
	changed, err := proto.Marshal(&mail)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func rewriteHeader(t *testing.T) func(*postv1.Mail) {
	return func(m *postv1.Mail) {
		var header postv1.ParcelHeader
		if err := proto.Unmarshal(m.GetParcel().GetHeader(), &header); err != nil {
			t.Fatal(err)
		}
		header.SenderIncarnation++
		header.FirstSequence, header.LastSequence = 3, 3
		m.GetParcel().Header, _ = proto.Marshal(&header)
	}
}

func raiseMark(t *testing.T) func(*postv1.Mail) {
	return func(m *postv1.Mail) {
		var receipt postv1.Receipt
		if err := proto.Unmarshal(m.GetReceipt().GetReceipt(), &receipt); err != nil {
			t.Fatal(err)
		}
		receipt.Mark = 1000
		m.GetReceipt().Receipt, _ = proto.Marshal(&receipt)
	}
}

func canary(t *testing.T, w world) {
	const secret = "the-canary-of-the-coal-mine"
	w.sindh.Start()
	worker := &identityv1.WorkerContact{Worker: "nodes/sindh/workers/1", DisplayName: secret, Phone: "+923001234567"}
	open := post.Outgoing{To: w.punjab.Addr, Lane: bulk, Kind: kindNote, Body: worker}
	if _, err := w.sindh.Post.Prepare(open); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Fatalf("a body with marked fields was taken unsealed: %v", err)
	}
	sealed := open
	sealed.Sealed = true
	prepared, err := w.sindh.Post.Prepare(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sindh.DB.Update(t.Context(), func(tx *store.Tx) error { return w.sindh.Post.QueuePrepared(tx, prepared) }); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(w.sindh.path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte(secret)) {
		t.Error("the sealed letter's body is readable in the sender's store")
	}
	w.sindh.QueueAll(w.punjab, bulk, []string{secret}) // not marked: sealed by the parcel alone
	w.punjab.Start()
	Wait(t, "both letters are settled", func() bool { return w.punjab.count() == 2 && w.sindh.Unreceipted() == 0 })
	if got := w.punjab.Received(); !strings.Contains(got[0], "nodes/sindh/workers/1") || got[1] != secret {
		t.Fatalf("the letters were not opened: %q", got)
	}
	if w.hub.Holds(t, []byte(secret)) {
		t.Error("a body is readable in what came to the hub")
	}
}

func restoredReceiver(t *testing.T, w world) {
	w.sindh.Start()
	w.punjab.Start()
	all := texts("r", 90)
	empty := w.punjab.backup()
	w.sindh.QueueAll(w.punjab, bulk, all[:30])
	Wait(t, "the first arrive", func() bool { return w.punjab.count() == 30 && w.sindh.Unreceipted() == 0 })
	saved := w.punjab.backup()
	w.sindh.QueueAll(w.punjab, bulk, all[30:60])
	Wait(t, "the next are receipted", func() bool { return w.punjab.count() == 60 && w.sindh.Unreceipted() == 0 })
	w.punjab.Stop()
	w.punjab.restore(saved)
	w.punjab.Start()
	if n := w.punjab.count(); n < 30 {
		t.Fatalf("the restored store has %d letters", n)
	}
	Wait(t, "the sender repeats what it had receipts for", func() bool { return w.punjab.count() == 60 })
	w.sindh.QueueAll(w.punjab, bulk, all[60:])
	Wait(t, "the last arrive", func() bool { return w.punjab.count() == 90 && w.sindh.Unreceipted() == 0 })
	mustEqual(t, w.punjab.Received(), all)

	// From a copy older than the link: the receiver does not know that anyone ever wrote.
	w.punjab.Stop()
	w.punjab.restore(empty)
	w.punjab.Start()
	Wait(t, "all arrive again", func() bool { return w.punjab.count() == 90 && w.sindh.Unreceipted() == 0 })
	mustEqual(t, w.punjab.Received(), all)
}

func restoredSender(t *testing.T, w world) {
	w.sindh.Start()
	w.punjab.Start()
	all := texts("s", 60)
	w.sindh.QueueAll(w.punjab, bulk, all[:30])
	Wait(t, "the first arrive", func() bool { return w.sindh.Unreceipted() == 0 })
	saved := w.sindh.backup()
	w.sindh.QueueAll(w.punjab, bulk, texts("tail", 10)) // told, then forgotten by the teller
	Wait(t, "the tail arrives", func() bool { return w.sindh.Unreceipted() == 0 })
	w.sindh.Stop()
	w.sindh.restore(saved)
	w.sindh.Start()
	w.sindh.QueueAll(w.punjab, bulk, all[30:])
	Wait(t, "all arrive", func() bool { return w.punjab.count() == 70 && w.sindh.Unreceipted() == 0 })
	mustEqual(t, withPrefix(w.punjab.Received(), "s"), all)
	mustEqual(t, withPrefix(w.punjab.Received(), "tail"), texts("tail", 10))
}

func loopback(t *testing.T, w world) {
	w.sindh.Start()
	w.sindh.QueueAll(w.sindh, bulk, texts("l", 300))
	w.sindh.Queue(w.sindh, urgent, kindPoison, "x", "bad")
	Wait(t, "all arrive", func() bool {
		return w.sindh.count() == 300 && w.sindh.Unreceipted() == 0 && len(w.sindh.Refused()) == 1
	})
	mustEqual(t, w.sindh.Received(), texts("l", 300))
	own := "amanat.post.sindh." + Service + "."
	if seen := w.hub.Seen(t, own); len(seen) > 0 {
		t.Errorf("%d letters to the own service went to the hub", len(seen))
	}
}

// filesAmongLetters sends files both ways, and to the own service, through the loss of the hub.
func filesAmongLetters(t *testing.T, w world) {
	w.sindh.Start()
	w.punjab.Start()
	large := bytes.Repeat([]byte("synthetic scan "), 200_000)
	there := w.sindh.sendFile(w.punjab, kindFile, "there", large)
	w.sindh.QueueAll(w.punjab, bulk, []string{"behind"})
	back := w.punjab.sendFile(w.sindh, kindFile, "back", []byte("small"))
	w.hub.Wipe(t)
	Wait(t, "all arrive", func() bool { return w.punjab.count() == 2 && w.sindh.count() == 1 })
	own := w.sindh.sendFile(w.sindh, kindFile, "own", []byte("own"))
	Wait(t, "all is receipted", func() bool {
		return w.sindh.count() == 2 && w.sindh.Unreceipted()+w.punjab.Unreceipted() == 0
	})
	mustEqual(t, w.punjab.Received(), []string{"file there", "behind"})
	mustEqual(t, w.sindh.Received(), []string{"file back", "file own"})
	for _, f := range []struct {
		at, from *Office
		id, want []byte
	}{{w.punjab, w.sindh, there.ID(), large}, {w.sindh, w.punjab, back.ID(), []byte("small")}, {w.sindh, w.sindh, own.ID(), []byte("own")}} {
		if got := f.at.readFile(f.from, f.id); !bytes.Equal(got, f.want) {
			t.Errorf("%d bytes came, want %d", len(got), len(f.want))
		}
	}
	if w.hub.Holds(t, []byte("synthetic scan")) {
		t.Error("a file is readable in what came to the hub")
	}
}
