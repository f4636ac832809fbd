package simulation

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
	"amanat.example/services/referral"
	"amanat.example/services/shelter"
)

// Place is one service of one node.
type Place uint8

// Referral and Shelter are the services of a node, by its number.
func Referral(node int) Place { return Place(node) }
func Shelter(node int) Place  { return Place(len(Nodes) + node) }

const places = 2 * len(Nodes)

// Node is the number of its node.
func (p Place) Node() int { return int(p) % len(Nodes) }

func (p Place) String() string {
	if p < Place(len(Nodes)) {
		return Nodes[p.Node()] + "/referral"
	}
	return Nodes[p.Node()] + "/shelter"
}

// ID is the number of something that is kept once: a service's state, or a message. 0 is none.
type ID uint32

// kept is a service's state.
type kept struct {
	place  Place
	engine *store.Memory // never opened itself
	bare   [16]byte      // digest without the marks of events that were taken in
	facts  *facts        // nil until asked for
	greets []ID          // and with what it compares marks
	mails  []ID          // what its post sends after a start; nil until asked for
	mailed bool
	queue  []string // commands that may go now; nil until asked for
	queued bool
	events uint64 // how many a shelter service has told, or a referral service taken in
	source string // the store whose events those are; of a shelter service empty until asked for
}

// World is all that was met.
type World struct {
	t     testing.TB
	keys  [places]*privacy.Keyring
	rules Settings

	states   []*kept
	byDigest map[[16]byte]ID
	messages []mail
	byData   map[[16]byte]ID
	known    map[input]outcome
	times    []time.Time
	chains   chains

	stuck string // a letter that could not be applied, which breaks an invariant; empty for none

	// Ran counts how often the product's code was run, Asked how often it was needed.
	Ran, Asked int
}

// Settings of the services.
type Settings struct {
	// ManualConfirm: a person chooses, also where there is but one acceptance.
	ManualConfirm bool
	// Keeps: nobody asks to be let go here, so no promise may be lost.
	Keeps bool
	// Beds of the one group of each node's shelter, and of a second group; 0: there is no second.
	Beds, SecondBeds int32
}

// input is what a service's state is changed by; the same input from the same state has the same outcome.
type input struct {
	at    ID
	other ID // the state of a second service that takes part, or a message
	what  string
	now   uint16
}

// outcome is what came of it.
type outcome struct {
	at, other ID
	reply     ID // a message
	err       string
}

// NewWorld makes one.
func NewWorld(t testing.TB, rules Settings) *World {
	w := &World{
		t: t, rules: rules, states: make([]*kept, 1), byDigest: map[[16]byte]ID{}, messages: make([]mail, 1), byData: map[[16]byte]ID{},
		known: map[input]outcome{}, times: []time.Time{time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)},
	}
	w.chains = chains{map[[32]byte]*chainFacts{}, cheap{}}
	for p := range Place(places) {
		keys, err := privacy.OpenKeyring(t.Context(), privacy.Options{
			Dir: t.TempDir(), Engine: store.NewMemory(), Inline: true, Clock: func() time.Time { return w.times[0] }, Rand: &lot{seed: mark("keys", p.String())},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.keys[p] = keys
	}
	return w
}

// noise are tables that nothing here reads back: a node's own events, which nobody follows, and what is written for people to see.
var noise = map[string]bool{"audit": true}

// keep notes a state; one that was met before has its number already.
func (w *World) keep(p Place, engine *store.Memory) ID {
	h, marks := sha256.New(), sha256.New()
	write := func(parts ...[]byte) {
		into := h
		if string(parts[0]) == "event_marks" {
			into = marks
		}
		var size [4]byte
		for _, b := range parts {
			binary.BigEndian.PutUint32(size[:], uint32(len(b)))
			_, _ = into.Write(size[:])
			_, _ = into.Write(b)
		}
	}
	write([]byte{byte(p)})
	events, source, letters := uint64(0), "", map[string]bool{}
	err := engine.Each(func(bucket string, key, payload []byte) {
		switch {
		case bucket == "post_outbox":
			w.unlike(letters, payload)
		case bucket == "events" && int(p) >= len(Nodes):
			events++
		case bucket == "event_marks":
			mark := &eventsv1.EventMark{}
			if err := proto.Unmarshal(payload, mark); err != nil {
				w.t.Fatal(err)
			}
			events, source = mark.GetPosition(), mark.GetStoreId()
		case noise[bucket], bucket == "events" && int(p) < len(Nodes):
			return
		case bucket == "annexes": // sealed with another nonce each time
			payload = nil
		}
		write([]byte(bucket), key, payload)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	bare := h.Sum(nil)
	both := sha256.Sum256(marks.Sum(bare))
	digest := [16]byte(both[:])
	if id, ok := w.byDigest[digest]; ok {
		return id
	}
	w.states = append(w.states, &kept{place: p, engine: engine, bare: [16]byte(bare), events: events, source: source})
	id := ID(len(w.states) - 1)
	w.byDigest[digest] = id
	return id
}

// mail is a message between posts.
type mail struct {
	subject string
	data    []byte
	from    Place
	to      Place // places: to a node outside
	parcel  *postv1.ParcelHeader
	letters []*postv1.Letter
	receipt bool
}

func (w *World) keepMail(m mail) ID {
	digest := sha256.Sum256(append([]byte(m.subject+"\x00"), m.data...))
	if id, ok := w.byData[[16]byte(digest[:])]; ok {
		return id
	}
	w.messages = append(w.messages, m)
	id := ID(len(w.messages) - 1)
	w.byData[[16]byte(digest[:])] = id
	return id
}

// session is a service opened for one thing.
type session struct {
	w        *World
	place    Place
	engine   *store.Memory
	now      time.Time
	lot      *lot
	from     ID // the state it was opened from
	wire     *wire
	referral *referral.Stepped
	shelter  *shelter.Stepped
}

// open opens a copy of a state. seed is all that chance follows from.
func (w *World) open(id ID, now uint16, shelterConn grpc.ClientConnInterface, seed ...any) *session {
	s := w.openEngine(w.states[id].place, w.states[id].engine.Clone(), now, shelterConn, seed...)
	s.from = id
	return s
}

func (w *World) openEngine(p Place, engine *store.Memory, now uint16, shelterConn grpc.ClientConnInterface, seed ...any) *session {
	s := &session{
		w: w, place: p, engine: engine, now: w.times[now],
		lot: &lot{seed: mark(append([]any{p.String()}, seed...)...)}, wire: newWire(),
	}
	clock := func() time.Time { return s.now }
	var err error
	if int(p) < len(Nodes) {
		own := cheap{Nodes[p.Node()], "referral"}
		if shelterConn == nil {
			shelterConn = away{}
		}
		s.referral, err = referral.OpenStepped(context.Background(), referral.Stepping{
			Node: own.node, Federal: Federal, ManualConfirm: w.rules.ManualConfirm, Engine: engine, Keys: w.keys[p], Crypto: own, Roster: own,
			Transport: s.wire, Shelter: shelterConn, Now: clock, Random: s.lot, NewID: s.lot.newID, Log: logging.Discard(),
		})
	} else {
		s.shelter, err = shelter.OpenStepped(context.Background(), shelter.Stepping{
			Node: Nodes[p.Node()], Engine: engine, Keys: w.keys[p], Now: clock, NewID: s.lot.newID, Random: s.lot,
		})
	}
	if err != nil {
		w.t.Fatalf("%s does not open: %v", p, err)
	}
	return s
}

// done keeps what the service has become.
func (s *session) done() ID {
	if s.from != 0 && s.engine.Commits() == 0 {
		return s.from
	}
	return s.w.keep(s.place, s.engine.Clone())
}

// once answers what comes of an input: from memory where it came before.
func (w *World) once(in input, do func() outcome) outcome {
	w.Asked++
	if out, ok := w.known[in]; ok {
		return out
	}
	w.Ran++
	out := do()
	w.known[in] = out
	return out
}

// wire is a transport that collects what is published and gives what the session puts in.
type wire struct {
	sent        []mail
	boxes       map[postv1.Lane]chan post.Message
	reconnected chan struct{}
}

func newWire() *wire {
	return &wire{boxes: map[postv1.Lane]chan post.Message{
		postv1.Lane_LANE_URGENT: make(chan post.Message, 1), postv1.Lane_LANE_BULK: make(chan post.Message, 1),
	}, reconnected: make(chan struct{})}
}

func (w *wire) Publish(_ context.Context, subject string, data []byte, done func(error)) {
	w.sent = append(w.sent, mail{subject: subject, data: data})
	done(nil)
}

func (w *wire) Mail(lane postv1.Lane) <-chan post.Message { return w.boxes[lane] }

func (w *wire) Reconnected() <-chan struct{} { return w.reconnected }

var _ io.Reader = (*lot)(nil)

// away is a shelter service that cannot be reached.
type away struct{}

func (away) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return errAway }

func (away) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errAway
}

// now is the time with a number, which is made when it is new.
func (w *World) timeOf(at time.Time) uint16 {
	for i, t := range w.times {
		if t.Equal(at) {
			return uint16(i)
		}
	}
	w.times = append(w.times, at)
	return uint16(len(w.times) - 1)
}

// unlike holds that chance gives no two letters one id: the second would be thrown away as known.
func (w *World) unlike(known map[string]bool, letter []byte) {
	l := &postv1.Letter{}
	if err := proto.Unmarshal(letter, l); err != nil {
		w.t.Fatal(err)
	}
	if known[string(l.GetLetterId())] {
		w.t.Fatal("two letters have one id: what they follow from is seeded alike")
	}
	known[string(l.GetLetterId())] = true
}
