package network

import (
	"errors"
	"net"
	"sync"
	"time"
)

// farTimeout is how long the far end may take to answer a connection.
const farTimeout = 5 * time.Second

// Link is the line between a node and the hub, as far as it can be cut: it passes bytes on both ways as they come.
// Cut, it does what a real line does: it swallows what is sent, either way, and tells nobody. New connections are
// taken and not answered. Mended, it has forgotten the connections of before, as the routers of a real line have.
type Link struct {
	listener net.Listener
	to       string

	mu     sync.Mutex
	roads  map[*road]bool
	cut    bool
	closed bool
	all    sync.WaitGroup
}

// road is one connection over a link.
type road struct {
	near, far net.Conn // far is nil for one that was begun while the link was cut
	dead      bool     // swallows everything; guarded by Link.mu
}

// OpenLink opens a line to an address, on a free port of loopback. Close ends it.
func OpenLink(to string) (*Link, error) {
	listener, err := listenBelow()
	if err != nil {
		return nil, err
	}
	l := &Link{listener: listener, to: to, roads: map[*road]bool{}}
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
}

// Mend lets new connections through again, and breaks those of before.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	for r := range l.roads {
		if r.dead {
			l.breakRoad(r)
		}
	}
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

// breakRoad is called with mu held.
func (l *Link) breakRoad(r *road) {
	_ = r.near.Close()
	if r.far != nil {
		_ = r.far.Close()
	}
	delete(l.roads, r)
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

// pave connects a new connection with the far end, unless the link is cut.
func (l *Link) pave(near net.Conn) {
	r := &road{near: near}
	if !l.isCut() {
		r.far, _ = net.DialTimeout("tcp", l.to, farTimeout)
		if r.far == nil {
			_ = near.Close() // nobody listens there
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.roads[r] = true
	r.dead = l.cut || r.far == nil
	switch {
	case l.closed, r.far == nil && !l.cut: // it was mended meanwhile
		l.breakRoad(r)
	case r.far != nil:
		l.all.Go(func() { l.carry(r, r.near, r.far) })
		l.all.Go(func() { l.carry(r, r.far, r.near) })
	}
}

func (l *Link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// carry passes on what comes at one end, until an end closes. An end that closes while the link is cut is not seen at the other.
func (l *Link) carry(r *road, from, to net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if dead := l.isDead(r); !dead {
			if n > 0 && err == nil {
				_, err = to.Write(buffer[:n])
			}
			if err != nil {
				l.mu.Lock()
				l.breakRoad(r)
				l.mu.Unlock()
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *Link) isDead(r *road) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.dead
}
