package logging

import (
	"net"
	"regexp"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const noName = "(no name)"

var (
	nodeForm    = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}$`)
	serviceForm = regexp.MustCompile(`^[a-z]{3,20}$`)
	// Names that stand for one person's affairs end in an id of ours; those of units and shelters
	// are given by the operator.
	resourceForm = regexp.MustCompile(`^nodes/[a-z][a-z0-9-]{1,30}(/(units|shelters|groups)/[a-z][a-z0-9-]{1,60}|/[a-z][A-Za-z]{2,30}/[0-9a-f-]{4,64})*$`)
	methodForm   = regexp.MustCompile(`^/?[A-Za-z][A-Za-z0-9_.]*/[A-Za-z][A-Za-z0-9]*$`)
	subjectForm  = regexp.MustCompile(`^(amanat|_INBOX)(\.[A-Za-z0-9_-]+)*$`)
	idForm       = regexp.MustCompile(`^[0-9a-f-]{8,64}$`)
)

func text(k, value string, form *regexp.Regexp) Field {
	if !form.MatchString(value) {
		value = noName
	}
	return Field{zap.String(k, value)}
}

// Node is the name of a node, such as `punjab`.
func Node(name string) Field { return text("node", name, nodeForm) }

// Service is the name of a service, such as `referral`.
func Service(name string) Field { return text("service", name, serviceForm) }

// Peer is the node and service at the other end.
func Peer(node, service string) Field {
	if !nodeForm.MatchString(node) || !serviceForm.MatchString(service) {
		return Field{zap.String("peer", noName)}
	}
	return Field{zap.String("peer", node+"/"+service)}
}

// Referral is the resource name of a referral or of what belongs to one.
func Referral(name string) Field { return Resource("referral", name) }

// Case is the resource name of a case.
func Case(name string) Field { return Resource("case", name) }

// Resource is any other resource name, such as `nodes/punjab/holds/0192…`. The last part of a
// name is an id of ours, or of a unit, shelter or group the operator's word for it.
func Resource(k key, name string) Field { return text(string(k), name, resourceForm) }

// RPC is the full name of a method, such as `/amanat.referral.v1.ReferralService/AcceptOffer`.
func RPC(fullMethod string) Field { return text("rpc", fullMethod, methodForm) }

// Subject is a NATS subject.
func Subject(subject string) Field { return text("subject", subject, subjectForm) }

// ID is an id made by a program, in hexadecimal digits and hyphens: of an error, a token, a trace.
func ID(k key, id string) Field { return text(string(k), id, idForm) }

// Code is the outcome of an RPC.
func Code(code codes.Code) Field { return Field{zap.String("code", code.String())} }

// Enum is the name of a value of one of our enumerations, such as a state.
func Enum(k key, value protoreflect.Enum) Field {
	number := value.Number()
	if known := value.Descriptor().Values().ByNumber(number); known != nil {
		return Field{zap.String(string(k), string(known.Name()))}
	}
	return Field{zap.Int32(string(k), int32(number))}
}

// Address is where something listens or is reached.
func Address(address net.Addr) Field { return Field{zap.Stringer("address", address)} }

// Count is how many there are of something.
func Count[N int | int32 | int64 | uint32 | uint64](of key, n N) Field {
	return Field{zap.Any(string(of), n)}
}

// Flag is whether something holds.
func Flag(k key, holds bool) Field { return Field{zap.Bool(string(k), holds)} }

// Took is how long something lasted.
func Took(d time.Duration) Field { return Field{zap.Duration("took", d)} }

// Time is when something was or will be.
func Time(k key, t time.Time) Field {
	return Field{zap.String(string(k), t.UTC().Format(time.RFC3339Nano))}
}
