package posttest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
)

// Faults are chances between 0 and 1, for each message.
type Faults struct {
	Lose, Double, Delay, Refuse float64
}

// Fake is a broker in memory, safe for concurrent use. What it delays comes behind later messages.
type Fake struct {
	mu       sync.Mutex
	random   *rand.Rand
	faults   Faults
	boxes    map[string]chan post.Message // by mailbox and lane
	held     []sent
	last     uint64 // message that lies there; a wiped hub numbers anew
	all      []sent // everything ever published: the hub's memory
	watchers map[string]chan struct{}
	capacity int
}

type sent struct {
	id      uint64 // 0: it lies nowhere yet
	subject string
	data    []byte
}

// NewFake makes a broker whose faults follow from the seed and the order of calls.
func NewFake(seed uint64, faults Faults) *Fake {
	return &Fake{
		random: rand.New(rand.NewPCG(seed, 0)), faults: faults, capacity: 512,
		boxes: map[string]chan post.Message{}, watchers: map[string]chan struct{}{},
	}
}

var errRefused = errors.New("the broker is full")

// Transport implements Hub.
func (f *Fake) Transport(_ testing.TB, node, service string) post.Transport {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := node + "." + service
	if f.watchers[name] == nil {
		f.watchers[name] = make(chan struct{}, 1)
	}
	for _, lane := range []string{"urgent", "bulk"} {
		if box := name + "." + lane; f.boxes[box] == nil {
			f.boxes[box] = make(chan post.Message, f.capacity)
		}
	}
	return &fakeTransport{fake: f, name: name, reconnected: f.watchers[name]}
}

// SetFaults changes the weather.
func (f *Fake) SetFaults(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = faults
}

// Wipe implements Hub: everything under way is lost, and the clients notice.
func (f *Fake) Wipe(testing.TB) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held, f.last = nil, 0
	for _, box := range f.boxes {
		for len(box) > 0 {
			<-box
		}
	}
	for _, w := range f.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Inject implements Hub.
func (f *Fake) Inject(_ testing.TB, subject string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(sent{subject: subject, data: data})
}

// Seen implements Hub.
func (f *Fake) Seen(_ testing.TB, subject string) [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all [][]byte
	for _, s := range f.all {
		if strings.HasPrefix(s.subject, subject) {
			all = append(all, s.data)
		}
	}
	return all
}

// Holds implements Hub.
func (f *Fake) Holds(_ testing.TB, text []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.all, func(s sent) bool { return bytes.Contains(s.data, text) })
}

func (f *Fake) publish(s sent, done func(error)) {
	f.mu.Lock()
	f.all = append(f.all, s)
	var err error
	switch roll := f.random.Float64(); {
	case roll < f.faults.Refuse:
		err = errRefused
	case roll < f.faults.Refuse+f.faults.Lose:
	case roll < f.faults.Refuse+f.faults.Lose+f.faults.Delay:
		f.held = append(f.held, s)
	default:
		if !f.put(s) {
			err = errRefused
		}
		if f.random.Float64() < f.faults.Double {
			f.put(s)
		}
	}
	if len(f.held) > 0 && f.random.Float64() < 0.3 {
		i := f.random.IntN(len(f.held))
		f.put(f.held[i])
		f.held = slices.Delete(f.held, i, i+1)
	}
	f.mu.Unlock()
	done(err)
}

// put delivers; the caller holds mu.
func (f *Fake) put(s sent) bool {
	parts := strings.Split(s.subject, ".")
	box := f.boxes[strings.Join(parts[2:5], ".")]
	if box == nil {
		return true
	}
	if s.id == 0 {
		f.last++
		s.id = f.last
	}
	m := post.Message{Subject: s.subject, Data: s.data, ID: s.id, Ack: func() {}}
	m.Nak = func(time.Duration) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.put(s)
	}
	select {
	case box <- m:
		return true
	default:
		return false
	}
}

type fakeTransport struct {
	fake        *Fake
	name        string
	reconnected chan struct{}
}

func (t *fakeTransport) Publish(_ context.Context, subject string, data []byte, done func(error)) {
	t.fake.publish(sent{subject: subject, data: data}, done)
}

func (t *fakeTransport) Mail(lane postv1.Lane) <-chan post.Message {
	name := "bulk"
	if lane == postv1.Lane_LANE_URGENT {
		name = "urgent"
	}
	t.fake.mu.Lock()
	defer t.fake.mu.Unlock()
	return t.fake.boxes[t.name+"."+name]
}

func (t *fakeTransport) Reconnected() <-chan struct{} { return t.reconnected }
