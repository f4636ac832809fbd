package outbox

import (
	"container/heap"
	"encoding/binary"
	"slices"
	"time"

	outboxv1 "amanat.example/proto/amanat/outbox/v1"
	"amanat.example/services/kit/store"
)

// lanes are the queued commands as the dispatcher sees them: one lane per subject, of which only
// the first command may be under way. They follow the table by its change sets, so they hold
// what is committed, in the order it was.
type lanes struct {
	bySubject map[string]*lane
	byID      map[string]*lane
	ready     []*lane // may go now, longest waiting first
	delayed   laneHeap
	away      map[string]int // delayed lanes by the service that was away
}

// lane is one subject's commands.
type lane struct {
	subject  string
	queue    []entry // by sequence
	busy     bool    // its first command is under way
	failures int     // of its first command
	due      time.Time
	away     bool // its service could not be reached
	place    int  // in the heap of delayed lanes, or one of the two below
}

const (
	placeNone  = -1 // busy or empty
	placeReady = -2
)

// entry is one command without its request.
type entry struct {
	sequence    uint64
	id, service string
	queued      time.Time
}

func newLanes() lanes {
	return lanes{bySubject: make(map[string]*lane), byID: make(map[string]*lane), away: make(map[string]int)}
}

func sequenceOf(key store.Key) uint64 { return binary.BigEndian.Uint64(key) }

// add puts a command in its lane. One that is there already stays as it is.
func (l *lanes) add(sequence uint64, row *outboxv1.QueuedCommand) {
	if l.byID[row.GetId()] != nil {
		return
	}
	subject := "s" + row.GetSubject()
	if row.GetSubject() == "" {
		subject = "i" + row.GetId() // In no order: a lane of its own.
	}
	to := l.bySubject[subject]
	if to == nil {
		to = &lane{subject: subject, place: placeNone}
		l.bySubject[subject] = to
	}
	at, _ := slices.BinarySearchFunc(to.queue, sequence, func(e entry, s uint64) int {
		switch {
		case e.sequence < s:
			return -1
		case e.sequence > s:
			return 1
		}
		return 0
	})
	to.queue = slices.Insert(to.queue, at, entry{sequence: sequence, id: row.GetId(), service: row.GetService(), queued: row.GetQueueTime().AsTime()})
	l.byID[row.GetId()] = to
	if !to.busy && to.place == placeNone {
		l.release(to)
	}
}

// remove takes out a command that has its result.
func (l *lanes) remove(id string) {
	from := l.byID[id]
	if from == nil {
		return
	}
	delete(l.byID, id)
	from.queue = slices.DeleteFunc(from.queue, func(e entry) bool { return e.id == id })
	from.failures = 0
}

// release makes a lane ready.
func (l *lanes) release(one *lane) {
	one.place = placeReady
	l.ready = append(l.ready, one)
}

// take answers a lane whose first command may go now, and marks it busy; or how long it is until
// one may, negative when none waits for a time.
func (l *lanes) take(now time.Time) (*lane, time.Duration) {
	for len(l.delayed) > 0 && !l.delayed[0].due.After(now) {
		l.undelay(l.delayed[0])
	}
	if len(l.ready) > 0 {
		one := l.ready[0]
		l.ready = l.ready[1:]
		one.busy, one.place = true, placeNone
		return one, 0
	}
	if len(l.delayed) > 0 {
		return nil, l.delayed[0].due.Sub(now)
	}
	return nil, -1
}

// done puts a lane back whose first command had its result.
func (l *lanes) done(one *lane) {
	one.busy = false
	if len(one.queue) == 0 {
		delete(l.bySubject, one.subject)
		return
	}
	l.release(one)
}

// delay puts a lane back whose first command is to be tried again when due, or as soon as its
// service answers somebody else, where it is away.
func (l *lanes) delay(one *lane, due time.Time, away bool) {
	one.busy, one.due, one.away = false, due, away
	if away {
		l.away[one.queue[0].service]++
	}
	heap.Push(&l.delayed, one)
}

// undelay takes a lane out of the heap and makes it ready.
func (l *lanes) undelay(one *lane) {
	heap.Remove(&l.delayed, one.place)
	if one.away {
		l.away[one.queue[0].service]--
	}
	l.release(one)
}

// answers makes all ready for which a service was away: it has just answered.
func (l *lanes) answers(service string) {
	if l.away[service] == 0 {
		return
	}
	for _, one := range slices.Clone(l.delayed) {
		if one.away && one.queue[0].service == service {
			l.undelay(one)
		}
	}
}

// laneHeap orders delayed lanes by when they are due.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *laneHeap) Push(x any) {
	one := x.(*lane)
	one.place = len(*h)
	*h = append(*h, one)
}

func (h *laneHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
