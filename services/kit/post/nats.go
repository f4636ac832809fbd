package post

import (
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/hub"
)

const (
	pullMessages = 16 // of at most 1 MiB each
	mailBuffer   = 4
)

// NATS is the Transport over the hub's JetStream.
type NATS struct {
	*hub.Conn
	mail map[postv1.Lane]chan Message
}

// NewNATS connects to the hub and goes on trying for ever: an absent hub is no error. Close ends it.
func NewNATS(c hub.Config) (*NATS, error) {
	mail := map[postv1.Lane]chan Message{}
	var readers []hub.Reader
	for _, lane := range lanes {
		mail[lane] = make(chan Message, mailBuffer)
		readers = append(readers, hub.Reader{
			Stream: streamName, Durable: durableName(c.Node, c.Service, lane), Ahead: pullMessages, To: mail[lane],
		})
	}
	conn, err := hub.Connect(c, readers...)
	if err != nil {
		return nil, err
	}
	return &NATS{Conn: conn, mail: mail}, nil
}

// Mail implements Transport.
func (n *NATS) Mail(lane postv1.Lane) <-chan Message { return n.mail[lane] }
