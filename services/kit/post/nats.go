package post

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/logging"
)

const (
	// A hub that restarts is noticed within two missed heartbeats; with the client's defaults it
	// takes half a minute.
	pullHeartbeat = 500 * time.Millisecond
	pullExpiry    = 2 * time.Second
	pullMessages  = 16 // of at most 1 MiB each

	pingInterval = 20 * time.Second
	pingsOut     = 2

	reopenWait   = 250 * time.Millisecond
	ackWait      = 10 * time.Second // for the broker's word that it took a parcel
	mailBuffer   = 4
	publishQueue = 1024
)

// NATSConfig says how a service reaches the hub.
type NATSConfig struct {
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

// NATS is the Transport over the hub's JetStream.
type NATS struct {
	config      NATSConfig
	conn        *nats.Conn
	js          jetstream.JetStream
	mail        map[postv1.Lane]chan Message
	reconnected chan struct{}
	cancel      context.CancelFunc
	done        chan struct{}
}

// NewNATS connects to the hub and goes on trying for ever: an absent hub is no error. Close ends it.
func NewNATS(c NATSConfig) (*NATS, error) {
	if c.Log == nil {
		return nil, errors.New("post: NATSConfig.Log is needed: somebody must be told that the hub is out of reach")
	}
	n := &NATS{config: c, mail: map[postv1.Lane]chan Message{}, reconnected: make(chan struct{}, 1), done: make(chan struct{})}
	options := []nats.Option{
		nats.Name(c.Node + "." + c.Service),
		nats.Nkey(c.NKey, c.Sign),
		nats.CustomInboxPrefix(inboxPrefix(c.Node, c.Service)),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reopenWait),
		nats.ReconnectJitter(reopenWait, reopenWait),
		nats.ReconnectBufSize(-1), // a parcel that cannot leave now is sent later by the post, not by the client
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.ConnectHandler(func(*nats.Conn) { wake(n.reconnected) }),
		nats.ReconnectHandler(func(*nats.Conn) { wake(n.reconnected) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.Log.Warn("the hub is out of reach", logging.Err(err)) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.Log.Warn("the hub reports an error", logging.Err(err))
		}),
	}
	if c.TLS != nil {
		options = append(options, nats.Secure(c.TLS))
	}
	var err error
	if n.conn, err = nats.Connect(c.URL, options...); err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	n.js, err = jetstream.New(n.conn, jetstream.WithPublishAsyncMaxPending(publishQueue), jetstream.WithPublishAsyncTimeout(ackWait))
	if err != nil {
		n.conn.Close()
		return nil, fmt.Errorf("use the hub's streams: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	ended := make(chan struct{}, len(lanes))
	for _, lane := range lanes {
		mail := make(chan Message, mailBuffer)
		n.mail[lane] = mail
		go func() {
			n.pump(ctx, lane, mail)
			ended <- struct{}{}
		}()
	}
	go func() {
		for range lanes {
			<-ended
		}
		n.conn.Close()
		close(n.done)
	}()
	return n, nil
}

// Close disconnects and waits until nothing runs any more.
func (n *NATS) Close() {
	n.cancel()
	<-n.done
}

// Mail implements Transport.
func (n *NATS) Mail(lane postv1.Lane) <-chan Message { return n.mail[lane] }

// Reconnected implements Transport.
func (n *NATS) Reconnected() <-chan struct{} { return n.reconnected }

// Publish implements Transport. The broker refuses when the subject or the stream is full.
func (n *NATS) Publish(ctx context.Context, subject string, data []byte, done func(error)) {
	if !n.conn.IsConnected() {
		done(nats.ErrDisconnected)
		return
	}
	future, err := n.js.PublishAsync(subject, data)
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
		case <-n.done:
			done(nats.ErrConnectionClosed)
		}
	}()
}

// pump keeps the mailbox of a lane open until ctx ends.
func (n *NATS) pump(ctx context.Context, lane postv1.Lane, mail chan<- Message) {
	failures := 0
	for lost := false; ctx.Err() == nil; lost = true {
		if lost {
			select {
			case <-ctx.Done():
				return
			case <-time.After(reopenWait):
			}
		}
		messages, err := n.open(ctx, lane)
		if err != nil {
			// While a machine starts, the hub may come a moment later: that is nobody's business yet.
			if failures++; failures > 1 || n.conn.IsConnected() {
				n.config.Log.Warn("the mailbox at the hub cannot be opened; it will be tried again", logging.Err(err))
			}
			continue
		}
		failures = 0
		if lost {
			wake(n.reconnected) // the hub may have lost what it held
		}
		err = deliver(ctx, messages, mail)
		messages.Stop()
		if err != nil && ctx.Err() == nil {
			n.config.Log.Warn("the mailbox at the hub was lost; it will be opened again", logging.Err(err))
		}
	}
}

func (n *NATS) open(ctx context.Context, lane postv1.Lane) (jetstream.MessagesContext, error) {
	ctx, cancel := context.WithTimeout(ctx, pullExpiry)
	defer cancel()
	consumer, err := n.js.Consumer(ctx, streamName, durableName(n.config.Node, n.config.Service, lane))
	if err != nil {
		return nil, err
	}
	return consumer.Messages(jetstream.PullMaxMessages(pullMessages), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
}

func deliver(ctx context.Context, messages jetstream.MessagesContext, mail chan<- Message) error {
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
		select {
		case <-ctx.Done():
			return nil
		case mail <- message:
		}
	}
}
