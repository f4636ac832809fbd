package rpctest

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"amanat.example/services/kit/store"
)

// Outages have a service lose its power while callers write a history: between commits, or within one that does not reach the disk.
type Outages struct {
	engine      *store.Memory
	random      *rand.Rand
	calls, next atomic.Int64
	due         chan struct{} // the call of which next is the number was made

	mu   sync.Mutex
	over *sync.Cond
	past int // outages that are over
}

// Calls between two outages: at least, and up to so many more.
const leastCalls, moreCalls = 20, 120

// NewOutages makes those of one history, which follow from a seed and the calls.
func NewOutages(engine *store.Memory, seed uint64) *Outages {
	o := &Outages{engine: engine, random: rand.New(rand.NewPCG(seed, 0)), due: make(chan struct{}, 1)}
	o.over = sync.NewCond(&o.mu)
	o.next.Store(leastCalls)
	return o
}

// Past is how many outages are over; whoever calls the service asks before.
func (o *Outages) Past() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.past
}

// Called counts a call that was answered.
func (o *Outages) Called() {
	if o.calls.Add(1) == o.next.Load() {
		o.due <- struct{}{}
	}
}

// Unanswered waits, after a call that was not answered, until the service is there again: then it is settled whether the call was made. past
// is from before the call.
func (o *Outages) Unanswered(past int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.past == past {
		o.over.Wait()
	}
}

// Run makes outages until done is closed, and says how many. failed is closed once the store of the service as it is now has failed; crash
// ends it, calls Crash of its engine, and starts it again.
func (o *Outages) Run(done <-chan struct{}, failed func() <-chan struct{}, crash func(keep bool)) (times int) {
	for over := false; !over; times++ {
		select {
		case <-done:
			return times
		case <-o.due:
		}
		if o.random.IntN(3) > 0 {
			o.engine.FailNextCommit(errors.New("the disk does not answer"))
			select {
			case <-done:
				over = true
			case <-failed():
			}
		}
		crash(o.random.IntN(2) == 0)
		o.mu.Lock()
		o.past++
		o.over.Broadcast()
		o.mu.Unlock()
		o.next.Store(o.calls.Load() + leastCalls + o.random.Int64N(moreCalls))
	}
	return times
}
