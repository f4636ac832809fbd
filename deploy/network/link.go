package network

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// farTimeout is how long the far end may take to answer a connection.
const farTimeout = 5 * time.Second

// Way is a direction over a link.
type Way int

const (
	// Out is from the near end to the far one: from a node to the hub.
	Out Way = iota
	// In is the other way.
	In
)

func (w Way) String() string { return [...]string{"out", "in"}[w] }

// Link is the line between a node and the hub, as far as it can be cut: it passes bytes on both ways as they come.
//
// Cut, it does what a real line does: it swallows what is sent, either way, and tells nobody. New connections are
// taken and not answered. Mended, it has forgotten the connections of before, as the routers of a real line have.
//
// Held one way, what is sent that way waits on the line, the other way is open, and connections stay; a new one needs both ways, and is
// not answered. Let go, what has waited arrives.
//
// Slowed, what is sent takes longer to arrive, and less of it goes through in a second.
type Link struct {
	listener net.Listener
	to       string

	mu      sync.Mutex
	changed *sync.Cond // of held, dead and gone, on mu
	roads   map[*road]bool
	cut     bool
	held    [2]bool // by way
	latency time.Duration
	rate    int // bytes a second; 0 without a bound
	closed  bool
	all     sync.WaitGroup
}

// road is one connection over a link.
type road struct {
	near, far net.Conn      // far is nil for one that was begun while the link was cut or held
	dead      bool          // swallows everything; guarded by Link.mu
	gone      chan struct{} // closed when it is broken; with Link.mu held
}

// OpenLink opens a line to an address, on a free port of loopback. Close ends it.
func OpenLink(to string) (*Link, error) {
	listener, err := listenBelow()
	if err != nil {
		return nil, err
	}
	l := &Link{listener: listener, to: to, roads: map[*road]bool{}}
	l.changed = sync.NewCond(&l.mu)
	l.all.Go(l.accept)
	return l, nil
}

// Address is where the near end is.
func (l *Link) Address() string { return l.listener.Addr().String() }

// Cut cuts the link until Mend.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for r := range l.roads {
		r.dead = true
	}
	l.changed.Broadcast()
}

// Mend lets new connections through again, and breaks those of before.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	l.breakUnanswered()
}

// Hold lets nothing arrive that is sent one way, until LetGo.
func (l *Link) Hold(w Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[w] = true
}

// LetGo lets what was held arrive, and breaks the connections that were not answered meanwhile.
func (l *Link) LetGo(w Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[w] = false
	l.changed.Broadcast()
	if !l.shut() {
		l.breakUnanswered()
	}
}

// Slow makes all that is sent from now on arrive so much later, and lets so many bytes a second through each way of a connection; 0 for
// both makes the link as quick as it was.
func (l *Link) Slow(latency time.Duration, bytesPerSecond int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latency, l.rate = latency, bytesPerSecond
}

// Close breaks everything and waits until nothing runs any more.
func (l *Link) Close() error {
	err := l.listener.Close()
	l.mu.Lock()
	l.closed = true
	for r := range l.roads {
		l.breakRoad(r)
	}
	l.mu.Unlock()
	l.all.Wait()
	return err
}

// breakUnanswered is called with mu held.
func (l *Link) breakUnanswered() {
	for r := range l.roads {
		if r.dead {
			l.breakRoad(r)
		}
	}
}

// breakRoad is called with mu held.
func (l *Link) breakRoad(r *road) {
	if !l.roads[r] {
		return
	}
	delete(l.roads, r)
	close(r.gone)
	_ = r.near.Close()
	if r.far != nil {
		_ = r.far.Close()
	}
	l.changed.Broadcast()
}

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			l.all.Go(func() { l.pave(near) })
		}
	}
}

// pave connects a new connection with the far end, unless the link is cut, be it one way alone.
func (l *Link) pave(near net.Conn) {
	r := &road{near: near, gone: make(chan struct{})}
	if !l.isShut() {
		r.far, _ = net.DialTimeout("tcp", l.to, farTimeout)
		if r.far == nil {
			_ = near.Close() // nobody listens there
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.roads[r] = true
	r.dead = l.shut() || r.far == nil
	switch {
	case l.closed, r.far == nil && !l.shut(): // it was mended meanwhile
		l.breakRoad(r)
	case r.far != nil:
		l.carry(r, Out, r.near, r.far)
		l.carry(r, In, r.far, r.near)
	}
}

// shut says that no new connection comes about. It is called with mu held.
func (l *Link) shut() bool { return l.cut || l.held[Out] || l.held[In] }

func (l *Link) isShut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shut()
}

// Bytes are passed on in pieces of this size, and so many pieces are on their way at most: who sends more waits, as on a real line.
const piece, pieces = 16 << 10, 64

// sent is a piece on its way; the last one has the error that ended it.
type sent struct {
	bytes []byte
	due   time.Time
	err   error
}

// carry passes on what comes at one end, until an end closes. An end that closes while the link is cut is not seen at the other.
func (l *Link) carry(r *road, w Way, from, to net.Conn) {
	line := make(chan sent, pieces)
	l.all.Go(func() {
		defer close(line)
		free := time.Now() // when the line has room for the next byte
		buffer := make([]byte, piece)
		for {
			n, err := from.Read(buffer)
			s := sent{bytes: bytes.Clone(buffer[:n]), err: err}
			s.due, free = l.takes(n, free)
			select {
			case line <- s:
			case <-r.gone:
				return
			}
			if err != nil {
				return
			}
		}
	})
	l.all.Go(func() {
		for s := range line {
			l.pass(r, w, to, s)
		}
	})
}

// takes says when bytes that are sent now arrive, and when the line has room for more.
func (l *Link) takes(n int, free time.Time) (due, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if free.Before(now) {
		free = now
	}
	if l.rate > 0 {
		free = free.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
	}
	return free.Add(l.latency), free
}

// pass lets a piece arrive when its time has come and its way is open, or swallows it.
func (l *Link) pass(r *road, w Way, to io.Writer, s sent) {
	if wait := time.Until(s.due); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.gone:
			return
		}
	}
	l.mu.Lock()
	for l.held[w] && !r.dead && l.roads[r] {
		l.changed.Wait()
	}
	open := !r.dead && l.roads[r]
	l.mu.Unlock()
	if !open {
		return
	}
	_, err := to.Write(s.bytes)
	if errors.Join(err, s.err) != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.breakRoad(r)
	}
}
