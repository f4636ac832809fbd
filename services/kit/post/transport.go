package post

import (
	"context"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/hub"
)

// Transport carries sealed parcels and signed receipts. It is believed in nothing: it may lose,
// double, reorder, delay, forge and replay.
type Transport interface {
	// Publish hands data to the broker under a subject. done is called exactly once, from any
	// goroutine and possibly before Publish returns, with nil when the broker took the data: which
	// never means that it was delivered. data must not be changed afterwards.
	Publish(ctx context.Context, subject string, data []byte, done func(error))
	// Mail is what comes to the own mailbox on a lane. Run reads each lane in one goroutine.
	Mail(lane postv1.Lane) <-chan Message
	// Reconnected receives whenever the broker may have forgotten something or is there again.
	Reconnected() <-chan struct{}
}

// Message is one delivery by a Transport. Exactly one of Ack and Nak is called.
type Message = hub.Message

// Keys are how the post signs, verifies, seals and opens as its own service.
type Keys interface {
	// Sign signs for a domain with the own service's key.
	Sign(domain string, message []byte) []byte
	// Verify checks what another service signed, with any key it ever had: for what is kept.
	Verify(node, service, domain string, message, signature []byte) error
	// VerifyCurrent checks with the key it has now alone: for parcels and receipts, which are signed anew when they are
	// sent again.
	VerifyCurrent(node, service, domain string, message, signature []byte) error
	// Seal seals to another service.
	Seal(node, service, info string, aad, plaintext []byte) ([]byte, error)
	// Open opens what was sealed to the own service.
	Open(info string, aad, sealed []byte) ([]byte, error)
	// Active says whether the newest roster names this service at an active node.
	Active(node, service string) bool
}
