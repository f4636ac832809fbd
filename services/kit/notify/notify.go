package notify

import (
	"context"
	"errors"
	"time"
)

// Message is what one worker is told.
type Message struct {
	// ID is the idempotency key, the same whenever the message is sent again: letters, digits, hyphens.
	ID string
	// To is the worker.
	To Recipient
	// Subject is one line.
	Subject string
	// Text is all of it, in the worker's language.
	Text string
	// Notices are the same for programs.
	Notices []Notice
	// MadeTime is when it was made; repetitions have the same.
	MadeTime time.Time
}

// Recipient is who is told.
type Recipient struct {
	// Worker is the resource name.
	Worker string
	// Email and Phone are the worker's own; either may be empty.
	Email, Phone string
	// Language is the tag of the text's language, such as ur.
	Language string
}

// Notice is one notice of a message: ids and codes.
type Notice struct {
	Name      string    `json:"name"`
	Step      string    `json:"step"`
	Level     string    `json:"level"`
	Reference string    `json:"reference,omitempty"`
	HighRisk  bool      `json:"high_risk"`
	DueTime   time.Time `json:"due_time"`
	Path      string    `json:"path"`
}

// Sender takes messages on their way. It is safe for concurrent use.
type Sender interface {
	// Name is short and never changes: `smtp`, `webhook`.
	Name() string
	// Reaches says whether the sender has a way to this person.
	Reaches(to Recipient) bool
	// Send sends once and answers when the other side has taken the message. An error that wraps
	// [ErrRefused] is for good; after any other the message may be sent again.
	Send(ctx context.Context, m Message) error
}

// ErrRefused says that the other side does not want this message, now or later.
var ErrRefused = errors.New("refused for good")

// sendTimeout bounds one send, whatever the caller's context allows.
const sendTimeout = 30 * time.Second
