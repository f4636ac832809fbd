package events

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

// Message is one event as it goes to the broker.
type Message struct {
	Subject string // amanat.<node>.<type>
	ID      string // the event's, by which a broker drops repetitions
	Payload []byte // CloudEvents 1.0 JSON
}

// Broker takes published events. Publish returns nil when the broker has stored them all; some
// of them may be published again.
type Broker interface {
	Publish(ctx context.Context, messages []Message) error
}

const (
	// pollEvery is how often a publisher or follower looks without being woken.
	pollEvery = 2 * time.Second
	// markEvery is how long a publisher's mark may lag behind: a mark for each batch would cost a
	// commit each, and what is published twice after a crash is dropped by its id.
	markEvery = time.Second
)

var retryIn = backoff.Range{Min: 100 * time.Millisecond, Max: 10 * time.Second}

// publisherMark is the key of the publisher's mark; followers' marks begin with "from".
var publisherMark = store.K("publisher")

// PublisherConfig says whose events go where. Metrics and clock aside, all of it is needed.
type PublisherConfig struct {
	DB     *store.DB
	Log    *Log
	Node   string // such as `sindh`
	Broker Broker
	Logger *logging.Logger
	Now    func() time.Time // nil: time.Now
}

// Publisher puts committed events on the node's NATS.
type Publisher struct {
	c      PublisherConfig
	wake   chan struct{}
	mark   eventsv1.EventMark // published
	saved  uint64             // position in the stored mark
	saveAt time.Time          // when the stored mark is due

	published atomic.Uint64 // the mark's position, for the metrics
	known     atomic.Bool   // that the mark was read
}

// NewPublisher makes one. From now on it notes what commits; [Publisher.Run] or [Publisher.Step]
// publishes it.
func NewPublisher(c PublisherConfig) *Publisher {
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Publisher{c: c, wake: make(chan struct{}, 1)}
	table := c.Log.events.Name()
	c.DB.Observe(func(set store.ChangeSet) {
		for _, change := range set.Changes {
			if change.Table == table {
				nudge(p.wake)
				return
			}
		}
	})
	return p
}

func nudge(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default: // There is one waiting already.
	}
}

// Run publishes until ctx ends. Failures are logged and tried again; none stops it.
func (p *Publisher) Run(ctx context.Context) {
	run(ctx, p.wake, p.c.Logger, p.Step)
	// One last mark, so that a restart publishes nothing again. The store may be closing: then the
	// next start publishes a second's events once more.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), markEvery)
	defer cancel()
	_ = p.save(last)
}

// Step publishes one batch and answers how many events it had; 0 when there are none left. It is
// for one goroutine, and not beside Run.
func (p *Publisher) Step(ctx context.Context) (int, error) {
	if err := p.load(ctx); err != nil {
		return 0, err
	}
	var batch []*eventsv1.Event
	err := p.c.DB.View(ctx, func(r store.Reader) (err error) {
		batch, _, err = p.c.Log.read(r, p.mark.StoreId, p.mark.Position, defaultPage)
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(batch) > 0 {
		if err := p.publish(ctx, batch); err != nil {
			return 0, err
		}
		if p.mark.Position == p.saved {
			p.saveAt = p.c.Now().Add(markEvery)
		}
		p.mark.Position = batch[len(batch)-1].GetPosition()
		p.published.Store(p.mark.Position)
	}
	if p.mark.Position != p.saved && !p.c.Now().Before(p.saveAt) {
		return len(batch), p.save(ctx)
	}
	return len(batch), nil
}

func (p *Publisher) publish(ctx context.Context, batch []*eventsv1.Event) error {
	messages := make([]Message, len(batch))
	for i, event := range batch {
		payload, err := marshal(p.c.Node, p.c.Log.service, event)
		if err != nil {
			return err
		}
		messages[i] = Message{Subject: subjectOf(p.c.Node, event.GetType()), ID: event.GetId(), Payload: payload}
	}
	if err := p.c.Broker.Publish(ctx, messages); err != nil {
		return fmt.Errorf("publish %d events: %w", len(messages), err)
	}
	return nil
}

// load reads the mark, once in each life of the store. What was published in an earlier life is
// not published again under new ids: followers read the log itself.
func (p *Publisher) load(ctx context.Context) error {
	id := StoreID(p.c.DB)
	if p.mark.StoreId == id {
		return nil
	}
	err := p.c.DB.View(ctx, func(r store.Reader) error {
		stored, err := p.c.Log.marks.Get(r, publisherMark)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		p.saved = stored.GetPosition()
		return nil
	})
	if err == nil {
		p.mark.Position = max(p.saved, p.mark.Position)
		p.mark.StoreId = id
		p.published.Store(p.mark.Position)
		p.known.Store(true)
	}
	return err
}

func (p *Publisher) save(ctx context.Context) error {
	if p.mark.Position == p.saved {
		return nil
	}
	mark := &eventsv1.EventMark{StoreId: p.mark.StoreId, Position: p.mark.Position}
	if err := p.c.DB.Update(ctx, func(tx *store.Tx) error { return p.c.Log.marks.Put(tx, publisherMark, mark) }); err != nil {
		return fmt.Errorf("save the publisher's mark: %w", err)
	}
	p.saved = mark.Position
	return nil
}
