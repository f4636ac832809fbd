package rpc

import (
	"context"
	"regexp"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

// Metadata keys of a call.
const (
	// RequestIDKey carries the id that one request of a person keeps through all services: 8 to
	// 64 hexadecimal digits and hyphens, such as a UUID.
	RequestIDKey = "amanat-request-id"
	// PersonTokenKey carries a SignedPersonToken, marshalled.
	PersonTokenKey = "amanat-person-token-bin"
)

// requestIDs that are taken over from a caller; anything else is replaced, so that an id can
// stand in a log line as it is.
var requestIDs = regexp.MustCompile(`^[0-9a-f-]{8,64}$`)

// call is what is known of the call being served.
type call struct {
	started   time.Time
	requestID string
	caller    string
	person    *identityv1.PersonToken
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// Caller is the service of this node that makes the call, such as "gateway"; empty outside a
// served call.
func Caller(ctx context.Context) string { return callOf(ctx).caller }

// Person is the verified token of the person who acts; nil when a service acts for itself.
// The receiver must not change it.
func Person(ctx context.Context) *identityv1.PersonToken { return callOf(ctx).person }

// RequestID is the id under which the call stands in every log; empty outside a served call.
func RequestID(ctx context.Context) string { return callOf(ctx).requestID }

// WithPersonToken makes outgoing calls act for a person. raw is a SignedPersonToken, marshalled.
func WithPersonToken(ctx context.Context, raw []byte) context.Context {
	return metadata.AppendToOutgoingContext(ctx, PersonTokenKey, string(raw))
}

// incomingRequestID takes the caller's id if it is well-formed, else makes one.
func incomingRequestID(ctx context.Context) string {
	if values := metadata.ValueFromIncomingContext(ctx, RequestIDKey); len(values) > 0 && requestIDs.MatchString(values[0]) {
		return values[0]
	}
	return newRequestID()
}

func newRequestID() string { return uuid.New().String() }
