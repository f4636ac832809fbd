package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"amanat.example/services/kit/logging"
)

const (
	// A hub that restarts is noticed within two missed heartbeats; with the client's defaults it
	// takes half a minute.
	pullHeartbeat = 500 * time.Millisecond
	pullExpiry    = 2 * time.Second

	pingInterval = 20 * time.Second
	pingsOut     = 2

	reopenWait   = 250 * time.Millisecond
	refusalTold  = time.Minute      // between complaints that the hub refuses this service
	ackWait      = 10 * time.Second // for the broker's word that it took a message
	publishQueue = 1024
)

// Config says how a service reaches the hub.
type Config struct {
	Node, Service string
	// URL of the hub, such as `tls://hub.federal.amanat:4230`; several are separated by commas.
	URL string
	// TLS trusts the CA of the node that runs the hub, as the roster names it.
	TLS *tls.Config
	// NKey is the service's public user key at the hub, Sign answers the hub's challenge with it.
	NKey string
	Sign func(nonce []byte) ([]byte, error)
	Log  *logging.Logger // whom to tell that the hub is out of reach
}

// Message is one delivery. Exactly one of Ack and Nak is called.
type Message struct {
	Subject string
	Data    []byte
	// ID is the broker's number of what it delivers, the same each time; zero when it is not known.
	ID uint64
	// Ack tells the broker that it may forget the message.
	Ack func()
	// Nak asks the broker to deliver it again after the delay.
	Nak func(delay time.Duration)
}

// Reader is a durable consumer that was made beforehand.
type Reader struct {
	Stream, Durable string
	// Ahead is how many messages are fetched before they are asked for.
	Ahead int
	// To takes what comes, in order.
	To chan<- Message
}

// Conn is a service's connection to the hub's JetStream.
type Conn struct {
	config      Config
	conn        *nats.Conn
	js          jetstream.JetStream
	reconnected chan struct{}
	cancel      context.CancelFunc
	done        chan struct{}
}

// Connect connects to the hub, goes on trying for ever, and reads what comes to the readers. Close ends it.
func Connect(c Config, readers ...Reader) (*Conn, error) {
	if c.Log == nil {
		return nil, errors.New("hub: Config.Log is needed: somebody must be told that the hub is out of reach")
	}
	h := &Conn{config: c, reconnected: make(chan struct{}, 1), done: make(chan struct{})}
	options := []nats.Option{
		nats.Name(c.Node + "." + c.Service),
		nats.Nkey(c.NKey, c.Sign),
		nats.CustomInboxPrefix(inboxPrefix(c.Node, c.Service)),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a node that joins, or is readmitted, may be here before the hub knows of it
		nats.ReconnectWait(reopenWait),
		nats.ReconnectJitter(reopenWait, reopenWait),
		nats.ReconnectBufSize(-1), // what cannot leave now is sent later by who sends it, not by the client
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.ConnectHandler(func(*nats.Conn) { h.wake() }),
		nats.ReconnectHandler(func(*nats.Conn) { h.wake() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.Log.Warn("the hub is out of reach", logging.Err(err)) }),
		nats.ErrorHandler(c.complain()),
	}
	if c.TLS != nil {
		options = append(options, nats.Secure(c.TLS))
	}
	var err error
	if h.conn, err = nats.Connect(c.URL, options...); err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	h.js, err = jetstream.New(h.conn, jetstream.WithPublishAsyncMaxPending(publishQueue), jetstream.WithPublishAsyncTimeout(ackWait))
	if err != nil {
		h.conn.Close()
		return nil, fmt.Errorf("use the hub's streams: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	var reading sync.WaitGroup
	for _, r := range readers {
		reading.Go(func() { h.pump(ctx, r) })
	}
	go func() {
		<-ctx.Done()
		reading.Wait()
		h.conn.Close()
		close(h.done)
	}()
	return h, nil
}

// complain tells of what the hub reports. A node that is suspended, or not yet let in, is refused some times a second: that is told
// now and then.
func (c Config) complain() nats.ErrHandler {
	var told time.Time // the client calls one at a time
	return func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if !errors.Is(err, nats.ErrAuthorization) {
			c.Log.Warn("the hub reports an error", logging.Err(err))
			return
		}
		if time.Since(told) >= refusalTold {
			told = time.Now()
			c.Log.Warn("the hub refuses this service: the roster at the hub does not name it as of an active node; it will be tried again", logging.Err(err))
		}
	}
}

// Close disconnects and waits until nothing runs any more.
func (h *Conn) Close() {
	h.cancel()
	<-h.done
}

// Connected says whether the hub can be reached.
func (h *Conn) Connected() bool { return h.conn.IsConnected() }

// Reconnected receives whenever the broker may have forgotten something or is there again.
func (h *Conn) Reconnected() <-chan struct{} { return h.reconnected }

// Publish hands data to the broker under a subject. done is called exactly once, from any goroutine and possibly before
// Publish returns, with nil when the broker took the data. The broker refuses when the subject or the stream is
// full. data must not be changed afterwards.
func (h *Conn) Publish(ctx context.Context, subject string, data []byte, done func(error)) {
	if !h.Connected() {
		done(nats.ErrDisconnected)
		return
	}
	future, err := h.js.PublishAsync(subject, data)
	if err != nil {
		done(err)
		return
	}
	go func() {
		select {
		case <-future.Ok():
			done(nil)
		case err := <-future.Err():
			done(err)
		case <-ctx.Done():
			done(ctx.Err())
		case <-h.done:
			done(nats.ErrConnectionClosed)
		}
	}()
}

func (h *Conn) wake() {
	select {
	case h.reconnected <- struct{}{}:
	default:
	}
}

// pump keeps a durable consumer open until ctx ends.
func (h *Conn) pump(ctx context.Context, r Reader) {
	failures := 0
	for lost := false; ctx.Err() == nil; lost = true {
		if lost {
			select {
			case <-ctx.Done():
				return
			case <-time.After(reopenWait):
			}
		}
		messages, err := h.open(ctx, r)
		if err != nil {
			// While a machine starts, the hub may come a moment later: that is nobody's business yet.
			if failures++; failures > 1 || h.Connected() {
				h.config.Log.Warn("the mailbox at the hub cannot be opened; it will be tried again", logging.Err(err))
			}
			continue
		}
		failures = 0
		if lost {
			h.wake() // the hub may have lost what it held
		}
		err = deliver(ctx, messages, r.To)
		messages.Stop()
		if err != nil && ctx.Err() == nil {
			h.config.Log.Warn("the mailbox at the hub was lost; it will be opened again", logging.Err(err))
		}
	}
}

func (h *Conn) open(ctx context.Context, r Reader) (jetstream.MessagesContext, error) {
	ctx, cancel := context.WithTimeout(ctx, pullExpiry)
	defer cancel()
	consumer, err := h.js.Consumer(ctx, r.Stream, r.Durable)
	if err != nil {
		return nil, err
	}
	return consumer.Messages(jetstream.PullMaxMessages(r.Ahead), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
}

func deliver(ctx context.Context, messages jetstream.MessagesContext, to chan<- Message) error {
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	for {
		m, err := messages.Next()
		if err != nil {
			return err
		}
		message := Message{
			Subject: m.Subject(), Data: m.Data(),
			// An acknowledgement that is lost costs a repetition, which is a no-op.
			Ack: func() { _ = m.Ack() },
			Nak: func(delay time.Duration) { _ = m.NakWithDelay(delay) },
		}
		if about, err := m.Metadata(); err == nil {
			message.ID = about.Sequence.Stream
		}
		select {
		case <-ctx.Done():
			return nil
		case to <- message:
		}
	}
}
