package advert

import (
	"context"

	"amanat.example/services/kit/hub"
)

// Transport carries adverts. It is believed in nothing.
type Transport interface {
	// Connected says whether the broker can be reached: else nothing need be made for it.
	Connected() bool
	// Publish hands an advert to the broker. done is called exactly once, from any goroutine and possibly before Publish returns, with
	// nil when the broker took it.
	Publish(ctx context.Context, subject string, data []byte, done func(error))
	// Adverts are what all nodes advertise, the own one included.
	Adverts() <-chan hub.Message
	// Reconnected receives whenever the broker may have forgotten something or is there again.
	Reconnected() <-chan struct{}
}

const (
	ahead  = 256 // of a kilobyte or two each
	buffer = 256
)

// NATS is the Transport over the hub's JetStream.
type NATS struct {
	*hub.Conn
	adverts chan hub.Message
}

// NewNATS connects to the hub and goes on trying for ever: an absent hub is no error. Close ends it.
func NewNATS(c hub.Config) (*NATS, error) {
	adverts := make(chan hub.Message, buffer)
	conn, err := hub.Connect(c, hub.Reader{Stream: streamName, Durable: durableName(c.Node), Ahead: ahead, To: adverts})
	if err != nil {
		return nil, err
	}
	return &NATS{Conn: conn, adverts: adverts}, nil
}

// Adverts implements Transport.
func (n *NATS) Adverts() <-chan hub.Message { return n.adverts }
