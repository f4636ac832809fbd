package app_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/store"
)

// node is one node's referral service with its file, and a shelter service that follows a script.
type node struct {
	*app.App
	t        testing.TB
	net      *network
	path     string
	events   []event
	queue    []outbox.Command
	silent   bool                    // the shelter does not answer
	backward bool                    // of commands about several offers those about the last come first: they keep no order among each other
	spoilt   bool                    // the test has written what the service never would
	restored bool                    // from an older copy: what was done may be asked again
	engine   *kitstore.Memory        // instead of a file
	refuse   map[string]*fault.Error // by method
	holds    map[string]*shelterv1.Hold
	calls    []string          // methods that were carried out, once each
	heard    map[string]uint64 // lives of the other nodes
	// released are the holds that were given back; admitted the offers whose stay was asked for, discharged those whose stay has ended.
	released, admitted, discharged map[string]bool
	placed                         map[string]placing          // by request id, as the shelter knows them for ever
	parked                         map[string][]*postv1.Letter // in quarantine, by sender and subject
	stuck                          func(post.Outgoing) bool    // what the post fails to take; nil for nothing
	absent                         func(post.Outgoing) bool    // whose receiver the roster names no more by the time it is queued; nil for none
}

// placing is a hold that was placed, and what asked for it.
type placing struct {
	request *shelterv1.PlaceHoldRequest
	hold    string
}

func (n *node) Append(tx *kitstore.Tx, kind, subject string, now time.Time, data proto.Message) error {
	if err := store.Events.Append(tx, kind, subject, now, data); err != nil {
		return err
	}
	tx.AfterCommit(func() { n.events = append(n.events, event{kind, subject, proto.Clone(data)}) })
	return nil
}

// poster is the node's post: letters leave when their transaction has committed.
type poster struct{ n *node }

func (p poster) Queue(tx *kitstore.Tx, o post.Outgoing) error {
	if err := o.Check(); err != nil {
		return err
	}
	if to := o.To.GetNode(); p.n.net.suspended[to] || p.n.net.dropped[to] {
		return fmt.Errorf("at %s: %w", to, post.ErrAbsent)
	}
	if p.n.absent != nil && p.n.absent(o) {
		return fmt.Errorf("at %s, since it was looked at: %w", o.To.GetNode(), post.ErrAbsent)
	}
	raw, err := proto.Marshal(o.Body)
	if err != nil {
		return err
	}
	size := len(raw)
	if o.Sealed {
		size += identity.SealOverhead
	}
	if size > post.MaxBody {
		return errors.New("field body: it has too many bytes")
	}
	if p.n.stuck != nil && p.n.stuck(o) {
		return errors.New("the post does not take this letter")
	}
	tx.AfterCommit(func() {
		p.n.net.sent = append(p.n.net.sent, mail{from: p.n.Node, out: o, body: raw, life: p.n.DB.Incarnation()})
	})
	return nil
}

func (p poster) Park(tx *kitstore.Tx, from *postv1.Address, _ uint64, l *postv1.Letter, reason string) error {
	tx.AfterCommit(func() {
		p.n.net.refused = append(p.n.net.refused, l.GetKind()+": "+reason)
		p.n.parked[from.GetNode()+l.GetSubject()] = append(p.n.parked[from.GetNode()+l.GetSubject()], l)
	})
	return nil
}

func (p poster) Parked(_ kitstore.Reader, from *postv1.Address, subject string) (bool, error) {
	return len(p.n.parked[from.GetNode()+subject]) > 0, nil
}

func (p poster) SealBody(_ *postv1.Address, l *postv1.Letter) ([]byte, error) {
	if !l.GetSealed() {
		return l.GetBody(), nil
	}
	return p.n.Roster.Seal(p.n.Node, "referral", "letter", nil, l.GetBody())
}

func (p poster) OpenBody(_ *postv1.Address, l *postv1.Letter) ([]byte, error) {
	if !l.GetSealed() {
		return l.GetBody(), nil
	}
	return p.n.Opener.Open("letter", nil, l.GetBody())
}

func (p poster) Incarnations(kitstore.Reader, string) (map[string]uint64, error) {
	return maps.Clone(p.n.heard), nil
}

// commands is the node's outbox.
type commands struct{ n *node }

func (o commands) Queue(tx *kitstore.Tx, c outbox.Command) error {
	if err := outbox.CheckID(c.ID); err != nil {
		return err
	}
	if slices.ContainsFunc(o.n.queue, func(q outbox.Command) bool { return q.ID == c.ID }) {
		return kitstore.ErrExists
	}
	tx.AfterCommit(func() { o.n.queue = append(o.n.queue, c) })
	return nil
}

func (o commands) Wait(context.Context, string) error {
	if o.n.silent {
		return context.DeadlineExceeded
	}
	o.n.runCommands()
	return nil
}

// runCommands lets the shelter answer what is queued.
func (n *node) runCommands() (worked bool) {
	for len(n.queue) > 0 && !n.silent {
		next := 0
		if n.backward {
			last := n.queue[len(n.queue)-1].Subject
			next = slices.IndexFunc(n.queue, func(c outbox.Command) bool { return c.Subject == last })
		}
		c := n.queue[next]
		n.queue = slices.Delete(n.queue, next, next+1)
		reply, refusal := n.shelter(c)
		must(n.t, n.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
			return n.Results()[c.Method](tx, outbox.Result{Command: c, Reply: reply, Fault: refusal})
		}))
		worked = true
	}
	return worked
}

// shelterAddress is where the shelter of every node is.
const shelterAddress = "canary shelter address"

func (n *node) shelter(c outbox.Command) (proto.Message, *fault.Error) {
	if refusal := n.refuse[c.Method]; refusal != nil {
		if hold, ok := c.Request.(interface{ GetName() string }); ok && refusal.Reason() == fault.HoldEnded {
			n.holds[hold.GetName()].State = shelterv1.Hold_STATE_EXPIRED
		}
		return nil, refusal
	}
	n.calls = append(n.calls, filepath.Base(c.Method))
	switch r := c.Request.(type) {
	case *shelterv1.PlaceHoldRequest:
		switch before, known := n.placed[r.GetRequestId()]; {
		case known && proto.Equal(before.request, r):
			return n.holds[before.hold], nil
		case known:
			return nil, fault.New(fault.IdempotencyMismatch, "Another hold.")
		}
		h := &shelterv1.Hold{
			Name: "nodes/" + n.Node + "/holds/" + uuid.NewString(), Group: r.GetGroup(), State: shelterv1.Hold_STATE_HELD, Offer: r.GetOffer(),
			ExpireTime: r.GetExpireTime(), Fence: &custodyv1.Fence{Incarnation: 7, Number: uint64(len(n.holds) + 1)},
		}
		n.holds[h.GetName()] = h
		n.placed[r.GetRequestId()] = placing{r, h.GetName()}
		return h, nil
	case *shelterv1.ConfirmHoldRequest:
		h := n.holds[r.GetName()]
		switch h.GetState() {
		case shelterv1.Hold_STATE_HELD, shelterv1.Hold_STATE_CONFIRMED:
		case shelterv1.Hold_STATE_OCCUPIED:
			return nil, fault.New(fault.WrongState, "Admitted.")
		default:
			return nil, fault.New(fault.HoldEnded, "Ended.")
		}
		h.State, h.Location = shelterv1.Hold_STATE_CONFIRMED, &shelterv1.Location{Address: shelterAddress, Phone: "+924211111111"}
		return h, nil
	case *shelterv1.ReleaseHoldRequest:
		n.released[r.GetName()] = true
		n.holds[r.GetName()].State = shelterv1.Hold_STATE_RELEASED
		return n.holds[r.GetName()], nil
	case *shelterv1.AdmitHoldRequest:
		h := n.holds[r.GetName()]
		if h.GetState() == shelterv1.Hold_STATE_EXPIRED { // the shelter ended it before its turn came
			return nil, fault.New(fault.HoldEnded, "Ended.")
		}
		switch again := h.GetState() == shelterv1.Hold_STATE_OCCUPIED; {
		case n.discharged[r.GetOffer()]:
			return nil, fault.New(fault.WrongState, "Given up.", "state", "DISCHARGED")
		case again && n.admitted[r.GetOffer()] && !n.restored, !again && h.GetState() != shelterv1.Hold_STATE_CONFIRMED:
			n.t.Errorf("%s: a hold that is %v is to be admitted for %s", n.Node, h.GetState(), r.GetOffer())
		}
		h.State, n.admitted[r.GetOffer()] = shelterv1.Hold_STATE_OCCUPIED, true
	}
	return &shelterv1.Stay{}, nil
}
