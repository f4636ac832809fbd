package fault

import (
	"errors"
	"fmt"
	"maps"

	eventsv1 "amanat.example/proto/amanat/events/v1"
)

// Reason is why a call failed, for programs; the list is in amanat/events/v1.
type Reason = eventsv1.Reason

// The reasons, named as use cases name them. The proto says what each means.
const (
	Field               = eventsv1.Reason_REASON_INVALID_FIELD
	Missing             = eventsv1.Reason_REASON_NOT_FOUND
	Stale               = eventsv1.Reason_REASON_STALE_ETAG
	WrongState          = eventsv1.Reason_REASON_WRONG_STATE
	ConsentMissing      = eventsv1.Reason_REASON_CONSENT_MISSING
	NoCapacity          = eventsv1.Reason_REASON_NO_CAPACITY
	CannotMeetNeeds     = eventsv1.Reason_REASON_CANNOT_MEET_NEEDS
	IdempotencyMismatch = eventsv1.Reason_REASON_IDEMPOTENCY_MISMATCH
	Unauthenticated     = eventsv1.Reason_REASON_UNAUTHENTICATED
	NotAllowed          = eventsv1.Reason_REASON_NOT_ALLOWED
	HoldEnded           = eventsv1.Reason_REASON_HOLD_ENDED
	NotOwner            = eventsv1.Reason_REASON_NOT_OWNER
	Internal            = eventsv1.Reason_REASON_INTERNAL
	Unavailable         = eventsv1.Reason_REASON_UNAVAILABLE
	UnknownCode         = eventsv1.Reason_REASON_UNKNOWN_CODE
	StaleFence          = eventsv1.Reason_REASON_STALE_FENCE
	TooLarge            = eventsv1.Reason_REASON_TOO_LARGE
	UnknownNode         = eventsv1.Reason_REASON_UNKNOWN_NODE
	Recovering          = eventsv1.Reason_REASON_RECOVERING
	TooMany             = eventsv1.Reason_REASON_TOO_MANY_REQUESTS
)

// Violation is one field that breaks its rule.
type Violation struct {
	// Field is the path from the request's root, such as `offer.needs[2].code`.
	Field string
	// Sentence says what the field must be. It never repeats what the field held.
	Sentence string
}

// Error is a refusal that its receiver can act on. Make one with [New] or its kin.
type Error struct {
	reason   Reason
	sentence string
	metadata map[string]string
	fields   []Violation
	cause    error
}

// New makes a refusal. pairs are metadata keys and values in turn: ids and codes, never a
// person's data; a key without a value gets an empty one.
func New(reason Reason, sentence string, pairs ...string) *Error {
	e := &Error{reason: reason, sentence: sentence}
	for i := 0; i < len(pairs); i += 2 {
		value := ""
		if i+1 < len(pairs) {
			value = pairs[i+1]
		}
		if e.metadata == nil {
			e.metadata = make(map[string]string, len(pairs)/2)
		}
		e.metadata[pairs[i]] = value
	}
	return e
}

// InvalidField refuses a request because of one field. The sentence says what the field must
// be, such as "must lie after the arrival"; it must not repeat what the field held.
func InvalidField(field, sentence string) *Error {
	return InvalidFields(Violation{Field: field, Sentence: sentence})
}

// InvalidFields refuses a request because of some fields, of which at least one is given.
func InvalidFields(violations ...Violation) *Error {
	sentence := "The request is not valid."
	if len(violations) > 0 {
		sentence = fmt.Sprintf("Field %s: %s.", violations[0].Field, violations[0].Sentence)
		switch more := len(violations) - 1; {
		case more == 1:
			sentence += " There is 1 more."
		case more > 1:
			sentence += fmt.Sprintf(" There are %d more.", more)
		}
	}
	return &Error{reason: Field, sentence: sentence, fields: violations}
}

// NotFound says that there is no such thing, or none the caller may see: the two look the same.
// kind is what was looked for, such as "referral".
func NotFound(kind string) *Error {
	return New(Missing, fmt.Sprintf("There is no such %s, or it is not visible to you.", kind), "kind", kind)
}

// StaleEtag says that the row changed since the caller read it.
func StaleEtag() *Error {
	return New(Stale, "This was changed by someone else since you read it. Read it again, then repeat your change.")
}

// Wrap attaches the cause for the log; it is never sent to a caller.
func (e *Error) Wrap(cause error) *Error {
	wrapped := *e
	wrapped.cause = cause
	return &wrapped
}

// Reason is for programs.
func (e *Error) Reason() Reason { return e.reason }

// Sentence is for people.
func (e *Error) Sentence() string { return e.sentence }

// Metadata holds ids and codes; the caller owns the copy.
func (e *Error) Metadata() map[string]string { return maps.Clone(e.metadata) }

// Fields are the violations of a request that is not valid; nil for all other reasons.
func (e *Error) Fields() []Violation { return e.fields }

// Error is the reason's name and the sentence.
func (e *Error) Error() string { return e.reason.String() + ": " + e.sentence }

// Unwrap gives the cause, which is for the log alone.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is a refusal for the same reason, so that
// errors.Is(err, fault.New(fault.Missing, "")) works through wrapping.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.reason == e.reason
}

// ReasonOf is the reason of the first refusal in err's chain, or REASON_UNSPECIFIED when there
// is none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.reason
	}
	return eventsv1.Reason_REASON_UNSPECIFIED
}

// WithFields attaches field violations to a copy.
func (e *Error) WithFields(violations ...Violation) *Error {
	with := *e
	with.fields = violations
	return &with
}
