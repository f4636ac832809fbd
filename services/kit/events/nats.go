package events

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Stream is the node's stream of events.
	Stream = "EVENTS"
	// StreamBytes is the most it holds. When it is full the oldest go: the stream is for waking
	// and for watching, and must never stop a publisher.
	StreamBytes = 64 << 20
	// dropRepeats is how long the stream knows an event's id.
	dropRepeats = 2 * time.Minute
	// publishWithin is how long the broker may take to store a batch.
	publishWithin = 5 * time.Second
)

// Bus is the node's own NATS: a [Broker] and a [Waker].
type Bus struct {
	node string
	conn *nats.Conn
	js   jetstream.JetStream

	stream atomic.Bool // the stream was there when last seen to

	mu    sync.Mutex
	wakes map[*nats.Subscription]func()
}

// Connect makes a bus on the NATS at url. It connects in the background and reconnects for ever;
// meanwhile publishing fails and nobody is woken. config may be nil where url needs no TLS. name
// is shown to the operator, such as "referral". Close it.
func Connect(url string, config *tls.Config, node, name string) (*Bus, error) {
	b := &Bus{node: node, wakes: make(map[*nats.Subscription]func())}
	options := []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // What is published while away fails at once and is tried again.
		nats.ConnectHandler(func(*nats.Conn) { b.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.connected() }),
	}
	if config != nil {
		options = append(options, nats.Secure(config))
	}
	var err error
	if b.conn, err = nats.Connect(url, options...); err != nil {
		return nil, fmt.Errorf("connect to the node's NATS: %w", err)
	}
	if b.js, err = jetstream.New(b.conn); err != nil {
		b.conn.Close()
		return nil, fmt.Errorf("connect to the node's NATS: %w", err)
	}
	return b, nil
}

// Close ends the connection.
func (b *Bus) Close() { b.conn.Close() }

// Publish implements [Broker]. It sees to the stream first, after each connection and each
// failure, since NATS may have been wiped. (Where somebody else subscribes to a subject, NATS does
// not say that no stream takes it: the answer just does not come.)
func (b *Bus) Publish(ctx context.Context, messages []Message) error {
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	if !b.conn.IsConnected() {
		return nats.ErrDisconnected
	}
	if !b.stream.Load() {
		if err := b.makeStream(ctx); err != nil {
			return err
		}
		b.stream.Store(true)
	}
	err := b.publish(ctx, messages)
	if err != nil {
		b.stream.Store(false)
	}
	return err
}

func (b *Bus) publish(ctx context.Context, messages []Message) error {
	stored := make([]jetstream.PubAckFuture, 0, len(messages))
	for _, m := range messages {
		ack, err := b.js.PublishMsgAsync(&nats.Msg{
			Subject: m.Subject, Data: m.Payload,
			Header: nats.Header{"Content-Type": {ContentType}},
		}, jetstream.WithMsgID(m.ID), jetstream.WithExpectStream(Stream), jetstream.WithRetryAttempts(0))
		if err != nil {
			return err
		}
		stored = append(stored, ack)
	}
	for _, ack := range stored {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (b *Bus) makeStream(ctx context.Context) error {
	_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        Stream,
		Description: "Committed events of this node's services. A copy: the services' stores are the truth.",
		Subjects:    []string{"amanat." + b.node + ".>"},
		Storage:     jetstream.FileStorage,
		MaxBytes:    StreamBytes,
		Discard:     jetstream.DiscardOld,
		Duplicates:  dropRepeats,
	})
	if err != nil {
		return fmt.Errorf("make the stream %s: %w", Stream, err)
	}
	return nil
}

// Subscribe implements [Waker]. It also wakes whenever the connection is made anew.
func (b *Bus) Subscribe(subject string, wake func()) (stop func(), err error) {
	subscription, err := b.conn.Subscribe(subject, func(*nats.Msg) { wake() })
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wakes[subscription] = wake
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.wakes, subscription)
		_ = subscription.Unsubscribe() // The connection is closed: nothing comes any more.
	}, nil
}

func (b *Bus) connected() {
	b.stream.Store(false)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, wake := range b.wakes {
		wake()
	}
}
