package post

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post/internal/protocol"
	"amanat.example/services/kit/store"
)

// DefaultKeep is how long receipted letters stay reproducible: twice the time between nightly backups.
const DefaultKeep = 48 * time.Hour

// DefaultResend is how long an unreceipted parcel waits before it is sent again.
var DefaultResend = backoff.Range{Min: 5 * time.Second, Max: 15 * time.Minute}

// Handler applies one letter inside the transaction that also moves the link's mark. The letter's
// body is in the clear. nil: it is applied. An error made by Refuse: it can never be applied, and
// goes to quarantine. Any other error: neither it nor what follows it on its link is applied now; all
// is tried again. A handler has no effect but through tx, since the transaction may be undone
// and run again, and must not wait.
type Handler func(tx *store.Tx, from *postv1.Address, letter *postv1.Letter) error

// RefusedHandler learns, in a transaction, that a receiver refused a letter of ours. It may learn the
// same refusal again after a restore of either side. An error is tried again, like a Handler's.
type RefusedHandler func(tx *store.Tx, by *postv1.Address, letter *postv1.Letter, refusal *postv1.SignedRefusal) error

// Refuse is what a Handler returns for a letter that can never be applied. The reason is for programs, such
// as `unknown-referral`, without personal data; of a longer one than 200 bytes the beginning is told.
func Refuse(reason string) error {
	return &refusal{strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")}
}

type refusal struct{ reason string }

func (r *refusal) Error() string { return "the letter can never be applied: " + r.reason }

// Config is what a post needs. The incarnation is that of DB when New is called.
type Config struct {
	Node, Service string
	DB            *store.DB
	Tables        *Tables
	Keys          Keys
	Transport     Transport
	// Handlers by letter kind. A letter of another kind is refused with `unknown-kind`.
	Handlers map[string]Handler
	// OnRefused is optional; refusals are counted and logged in any case.
	OnRefused RefusedHandler
	// OnApplied is called after the commit of a parcel that had new letters. It must be quick.
	// Optional.
	OnApplied func(from *postv1.Address)
	// OnReconnected is called when the broker is there again. It must be quick. Optional.
	OnReconnected func()
	// OnRolledBack is called when a peer knows more of this store than it does itself: it was put back to an older copy without being
	// restored, or was lost and made anew, and must begin a new incarnation, greater than above, in a new Post. It is called outside of transactions. Optional.
	OnRolledBack func(above uint64)
	// Attachments are needed to send and take files. Optional.
	Attachments *Attachments
	Clock       func() time.Time // default time.Now
	Rand        io.Reader        // default crypto/rand
	Log         *logging.Logger  // what a person must look at, such as quarantine
	Keep        time.Duration    // default DefaultKeep
	Resend      backoff.Range    // default DefaultResend
}

// Post is the post of one service.
type Post struct {
	self        *postv1.Address
	own         end // of the loopback; lane unset
	db          *store.DB
	tables      *Tables
	keys        Keys
	transport   Transport
	handlers    map[string]Handler
	onRefused   RefusedHandler
	onApplied   func(*postv1.Address)
	onRolled    func(uint64)
	onReconnect func()
	attachments *attachments // nil: none
	clock       func() time.Time
	rand        io.Reader
	randomMu    sync.Mutex
	log         *logging.Logger
	keep        time.Duration
	resend      backoff.Range
	incarnation uint64
	anew        bool // the store was made anew, and has been in no life but its first
	counts      *counts

	mu      sync.Mutex // guards what follows, up to the channels
	flights map[end]*protocol.Flight
	order   []end             // of flights: urgent before bulk
	owed    map[end]owed      // receipts to write
	heard   map[end]time.Time // also repetitions, which are not stored
	// answered is when a receipt came last, ahead whose parcels know a later incarnation of this store.
	answered map[end]time.Time
	ahead    map[end]bool
	keptAt   time.Time // when the house was last kept
	held     map[parcelKey]heldBack

	compareAt time.Time // when every receipt is written again
	compared  int       // how often that was done since the last reconnection

	askStandAt    time.Time // when the senders of what lies in quarantine are asked next
	askStandAfter store.Key // behind which row there; only while that is done
	standing      bool      // some may stand by what lies there

	wakeRelay, wakeSelf, wakeReceipts, wakeTend chan struct{} // capacity 1
}

// owed is a receipt to be written: the receiving end as committed.
type owed struct {
	state  *postv1.ReceivingState
	resend bool
}

// New readies the post of a service. When the store has a new incarnation, all that the outbox still holds is
// numbered anew, to be sent again; letters already known are recognised there by their ids.
func New(c Config) (*Post, error) {
	for kind := range c.Handlers { // else it is first noticed on the day on which such a letter is to be written
		if !kindPattern.MatchString(kind) {
			return nil, fmt.Errorf("post: handler of %q: no letter can have this kind, which must match %s", kind, kindPattern)
		}
	}
	if c.DB == nil || c.Tables == nil || c.Keys == nil || c.Transport == nil || c.Log == nil || c.Node == "" || c.Service == "" {
		return nil, errors.New("post: Node, Service, DB, Tables, Keys, Transport and Log are required")
	}
	p := &Post{
		self: &postv1.Address{Node: c.Node, Service: c.Service}, own: end{node: c.Node, service: c.Service},
		db: c.DB, tables: c.Tables, keys: c.Keys, transport: c.Transport, handlers: c.Handlers,
		onRefused: c.OnRefused, onApplied: c.OnApplied, onRolled: c.OnRolledBack, onReconnect: c.OnReconnected, clock: c.Clock, rand: c.Rand, log: c.Log,
		keep: c.Keep, resend: c.Resend, incarnation: c.DB.Incarnation(), counts: newCounts(),
		anew:    c.DB.FirstLife(),
		flights: map[end]*protocol.Flight{}, owed: map[end]owed{}, heard: map[end]time.Time{},
		answered: map[end]time.Time{}, ahead: map[end]bool{}, held: map[parcelKey]heldBack{},
		wakeRelay: make(chan struct{}, 1), wakeSelf: make(chan struct{}, 1), wakeReceipts: make(chan struct{}, 1), wakeTend: make(chan struct{}, 1),
		standing: true,
	}
	if p.clock == nil {
		p.clock = time.Now
	}
	if p.rand == nil {
		p.rand = rand.Reader
	}
	if p.keep == 0 {
		p.keep = DefaultKeep
	}
	if p.resend == (backoff.Range{}) {
		p.resend = DefaultResend
	}
	var err error
	if p.attachments, err = newAttachments(c.Attachments); err != nil {
		return nil, err
	}
	if err := p.begin(); err != nil {
		return nil, fmt.Errorf("ready the post of %s at %s: %w", c.Service, c.Node, err)
	}
	return p, nil
}

// begin reads the links and renumbers what an older incarnation had queued.
func (p *Post) begin() error {
	ctx := context.Background()
	if p.attachments != nil {
		if err := p.attachments.sweep(ctx, p.db); err != nil {
			return err
		}
	}
	var sending []*postv1.SendingState
	err := p.db.View(ctx, func(r store.Reader) error {
		return p.tables.sending.Scan(r, store.Range{}, func(_ store.Key, s *postv1.SendingState) error {
			sending = append(sending, s)
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, state := range sending {
		to := endOf(state.GetLink().GetTo(), state.GetLink().GetLane())
		if state.GetOwnIncarnation() != p.incarnation {
			if state, err = p.renumber(ctx, to, state); err != nil {
				return err
			}
		}
		p.flight(to, state.GetNextSequence()-1, state.GetReceiptedSequence())
	}
	return nil
}

func (p *Post) oweReceipt(from end, state *postv1.ReceivingState, resend bool) {
	p.mu.Lock()
	before := p.owed[from]
	// Mail that is carried here by hand is applied beside the hub's, so a later state may be noted first.
	later := before.state.GetPeerIncarnation() == state.GetPeerIncarnation() && before.state.GetMark() > state.GetMark()
	if !later {
		p.owed[from] = owed{state, resend || before.resend && before.state.GetMark() == state.GetMark()}
	}
	p.mu.Unlock()
	wake(p.wakeReceipts)
}

func (p *Post) renumber(ctx context.Context, to end, state *postv1.SendingState) (*postv1.SendingState, error) {
	var next *postv1.SendingState
	err := p.db.Update(ctx, func(tx *store.Tx) error {
		var rows []*postv1.Letter
		err := p.tables.outbox.Scan(tx, store.Range{Prefix: to.key()}, func(key store.Key, l *postv1.Letter) error {
			rows = append(rows, l)
			return p.tables.outbox.Delete(tx, key)
		})
		if err != nil {
			return err
		}
		for i, l := range rows {
			l.Sequence = uint64(i) + 1
			if err := p.tables.outbox.Put(tx, to.row(l.GetSequence()), l); err != nil {
				return err
			}
		}
		next = protocol.Begin(state, p.incarnation, uint64(len(rows)))
		return p.tables.sending.Put(tx, to.key(), next)
	})
	return next, err
}

// flight returns the flight of a link, made when there is none. The caller holds mu or is New.
func (p *Post) flight(to end, queued, receipted uint64) *protocol.Flight {
	f := p.flights[to]
	if f == nil {
		h := fnv.New64a()
		for _, part := range []string{p.own.node, p.own.service, to.node, to.service, to.lane.String()} {
			_, _ = io.WriteString(h, part+"\x00") // a hash takes everything
		}
		fresh := protocol.NewFlight(p.resend, h.Sum64(), queued, receipted)
		f = &fresh
		p.flights[to] = f
		p.order = append(p.order, to)
		slices.SortFunc(p.order, end.compare)
	}
	return f
}

// note moves a link's flight and wakes who sends. It is called in the store's committer.
func (p *Post) note(to end, in protocol.Input) {
	now := p.clock()
	p.mu.Lock()
	f := p.flight(to, 0, 0)
	next, _ := f.Step(in, now)
	*f = next
	p.mu.Unlock()
	if p.isSelf(to) {
		wake(p.wakeSelf)
	} else {
		wake(p.wakeRelay)
	}
}

func (p *Post) isSelf(e end) bool { return e.node == p.own.node && e.service == p.own.service }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
