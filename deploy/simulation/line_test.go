package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/events"
)

// hubbub is the hub: what it has taken it brings, sooner or later, once or more often; what it forgets, nobody tells.
type hubbub struct {
	life  int    // grows when it is wiped
	last  uint64 // message that it has numbered; after an accident it numbers anew
	cut   map[string]int
	slow  map[string]time.Time // until when what a node sends takes hours
	taken []taken              // what it has taken lately
}

// Ways of a link that are cut.
const (
	cutOut = 1 << iota
	cutIn
)

type taken struct {
	at      time.Time
	subject string
	data    []byte
}

// remembers is how long a copy of the hub's store goes back at most.
const remembers = 6 * time.Hour

var errNoHub = errors.New("no answer from the hub")

// line is the transport of a service.
type line struct {
	house       *house
	boxes       map[postv1.Lane]chan postMessage
	reconnected chan struct{}
}

func newLine(h *house) *line {
	return &line{house: h, boxes: map[postv1.Lane]chan postMessage{
		postv1.Lane_LANE_URGENT: make(chan postMessage, 1), postv1.Lane_LANE_BULK: make(chan postMessage, 1),
	}, reconnected: make(chan struct{}, 1)}
}

// Publish implements post.Transport.
func (l *line) Publish(_ context.Context, subject string, data []byte, done func(error)) {
	h := l.house
	c := h.c
	if c.hub.cut[h.node]&cutOut != 0 {
		done(errNoHub)
		return
	}
	h.promise(data)
	if c.plan.bytes {
		_, _ = c.trace.Write(data)
	}
	c.did["parcels and receipts"]++
	c.hub.take(c.now, subject, data)
	copies := 1
	if !c.calm {
		switch x := h.chance.Float64(); {
		case x < 0.02:
			copies = 0
			c.did["messages lost"]++
			_, _ = fmt.Fprintln(c.trace, "lost", h, c.now)
		case x < 0.05:
			copies = 2
			c.did["messages doubled"]++
		}
	}
	for range copies {
		wait := 5*time.Millisecond + about(h.chance, 300*time.Millisecond)
		if !c.calm && h.chance.Float64() < 0.05 {
			wait += about(h.chance, 10*time.Minute)
			c.did["messages late"]++
		}
		if c.now.Before(c.hub.slow[h.node]) {
			wait += about(h.chance, 4*time.Hour)
		}
		c.hub.last++
		c.bring(wait, c.hub.life, c.hub.last, subject, data)
	}
	if !c.calm && h.chance.Float64() < 0.01 || c.hub.cut[h.node]&cutIn != 0 { // it has it, and its answer is lost
		done(errNoHub)
		return
	}
	done(nil)
}

func (b *hubbub) take(now time.Time, subject string, data []byte) {
	b.taken = append(b.taken, taken{now, subject, data})
	if len(b.taken) > 20000 {
		i := slices.IndexFunc(b.taken, func(t taken) bool { return now.Sub(t.at) < remembers })
		b.taken = slices.Clone(b.taken[max(i, 0):])
	}
}

// patience is how often in a row mail may be put off by a service.
const patience = 500

// bring delivers a message after a while.
func (c *country) bring(wait time.Duration, life int, id uint64, subject string, data []byte) {
	c.after(wait, func() {
		if life != c.hub.life {
			return // the hub was wiped
		}
		to, lane := c.addressee(subject)
		if to.down() || c.hub.cut[to.node]&cutIn != 0 {
			c.bring(30*time.Second+about(to.chance, time.Minute), life, id, subject, data)
			return
		}
		to.line.boxes[lane] <- postMessage{
			Subject: subject, Data: data, ID: id, Ack: func() { to.putOff = 0 }, Nak: func(d time.Duration) {
				if to.putOff++; to.putOff > patience {
					c.breaks("JAM (mail): %s takes nothing more, and was tried %d times (%s)", to, to.putOff, subject)
				}
				c.bring(d, life, id, subject, data)
			},
		}
		to.work()
	})
}

// Mail implements post.Transport.
func (l *line) Mail(lane postv1.Lane) <-chan postMessage { return l.boxes[lane] }

// Reconnected implements post.Transport.
func (l *line) Reconnected() <-chan struct{} { return l.reconnected }

// fellow is the crypto of a service of the country, and its roster.
type fellow struct {
	cheap
	nodes    []string
	services []string // of each node
}

func (f fellow) Active(node, service string) bool {
	return slices.Contains(f.nodes, node) && slices.Contains(f.services, service) || node == Federal && service == Federal
}

func (f fellow) Member(node string) bool { return slices.Contains(f.nodes, node) || node == Federal }

func (f fellow) Node(name string) (*identityv1.RosterNode, bool) {
	if name == Federal {
		return &identityv1.RosterNode{Node: name, State: identityv1.RosterNode_STATE_ACTIVE, Services: []*identityv1.RosterService{{Service: Federal}}}, true
	}
	if !slices.Contains(f.nodes, name) {
		return nil, false
	}
	node := &identityv1.RosterNode{Node: name, Province: "PK-PB", State: identityv1.RosterNode_STATE_ACTIVE}
	for _, service := range f.services {
		node.Services = append(node.Services, &identityv1.RosterService{Service: service})
	}
	return node, true
}

func (f fellow) Nodes() (all []*identityv1.RosterNode) {
	for _, name := range f.nodes {
		node, _ := f.Node(name)
		all = append(all, node)
	}
	node, _ := f.Node(Federal)
	return append(all, node)
}

// promise notes what a receipt says before it leaves.
func (h *house) promise(data []byte) {
	var mail postv1.Mail
	receipt := &postv1.Receipt{}
	if proto.Unmarshal(data, &mail) != nil || mail.GetReceipt() == nil || proto.Unmarshal(mail.GetReceipt().GetReceipt(), receipt) != nil {
		return
	}
	key := promised{receipt.GetLink().GetFrom().GetNode(), receipt.GetLink().GetFrom().GetService(), receipt.GetLink().GetLane(), receipt.GetSenderIncarnation()}
	h.promised[key] = max(h.promised[key], receipt.GetMark())
	ever := believed{key.node + "/" + key.service, h.name, key.lane, key.sender}
	h.c.receipts[ever] = max(h.c.receipts[ever], receipt.GetMark())
}

// believed is a link of which receipts were written in any life of the receiver.
type believed struct {
	from, to string
	lane     postv1.Lane
	sender   uint64
}

// promised is a link of which a receipt was written, in a life of its sender.
type promised struct {
	node, service string
	lane          postv1.Lane
	sender        uint64
}

// unsteady is the connection to another service of the node: it is down when that is, and now and then an answer is lost.
type unsteady struct {
	house *house
	to    string
}

func (u unsteady) Invoke(ctx context.Context, method string, request, reply any, options ...grpc.CallOption) error {
	c, to := u.house.c, u.house.c.house(u.house.node, u.to)
	if to.down() || to.unsure && method != events.ListEventsMethod || !c.calm && u.house.chance.Float64() < 0.01 {
		return errAway
	}
	err := to.server().From(u.house.service, nil).Invoke(ctx, method, request, reply, options...)
	if to.failed() {
		return errAway
	}
	to.work()
	if !c.calm && u.house.chance.Float64() < 0.01 {
		return errAway
	}
	return err
}

func (u unsteady) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errAway
}
