package rpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/logging"
)

// Local serves a service's unary methods to callers in the same process, on the caller's goroutine and without a network: for
// simulations. Who calls is believed; policy, rules of requests and errors are those of [Server]. Nothing is audited or counted.
type Local struct {
	server *Server // of it only what makes statuses
	policy Policy
	impls  map[string]any // by service
}

// localMethod is what of a method is the same for all that serve it.
type localMethod struct {
	service string
	handler grpc.MethodHandler
	rules   *rules
}

// served are methods by full name, whose service was registered anywhere: a simulation opens its services thousands of times, and
// compiles their rules once.
var served = struct {
	sync.RWMutex
	methods map[string]localMethod
}{methods: map[string]localMethod{}}

// NewLocal makes one for a service. closed is [Config].Closed; nil for a service that is always open.
func NewLocal(service string, policy Policy, closed func() error) *Local {
	return &Local{
		server: &Server{service: service, log: logging.Discard(), closed: closed, now: time.Now}, policy: policy, impls: map[string]any{},
	}
}

// RegisterService implements grpc.ServiceRegistrar. It panics where rules of requests do not compile. Streams are not served, nor
// is what has no row in the policy.
func (l *Local) RegisterService(desc *grpc.ServiceDesc, impl any) {
	l.impls[desc.ServiceName] = impl
	served.Lock()
	defer served.Unlock()
	var inputs []protoreflect.MessageDescriptor
	for _, m := range desc.Methods {
		if _, known := served.methods["/"+desc.ServiceName+"/"+m.MethodName]; known {
			return
		}
		inputs = append(inputs, l.server.describe(desc.ServiceName, m.MethodName, false).descriptor.Input())
	}
	compiled, err := rulesOf(inputs)
	if err != nil {
		panic(err)
	}
	for _, m := range desc.Methods {
		served.methods["/"+desc.ServiceName+"/"+m.MethodName] = localMethod{desc.ServiceName, m.Handler, compiled}
	}
}

// From is a connection of a caller: another service, for a person or, where person is nil, for itself.
func (l *Local) From(caller string, person *identityv1.PersonToken) grpc.ClientConnInterface {
	return &localConn{Local: l, caller: caller, person: person}
}

type localConn struct {
	*Local
	caller string
	person *identityv1.PersonToken
}

// Invoke implements grpc.ClientConnInterface.
func (c *localConn) Invoke(ctx context.Context, name string, request, reply any, _ ...grpc.CallOption) error {
	row, listed := c.policy[name]
	served.RLock()
	m, known := served.methods[name]
	served.RUnlock()
	if !listed || !known || c.impls[m.service] == nil {
		return status.Error(codes.Unimplemented, "the method "+name+" is not served")
	}
	answer, err := c.serve(ctx, name, row, m, request.(proto.Message))
	if err != nil {
		made, _ := c.server.toStatus(ctx, err)
		return made.Err()
	}
	proto.Merge(reply.(proto.Message), answer)
	return nil
}

func (c *localConn) serve(ctx context.Context, name string, row Row, m localMethod, request proto.Message) (proto.Message, error) {
	roles, err := c.server.mayCall(row, c.caller, name)
	if err != nil {
		return nil, err
	}
	if err := haveRole(c.person, roles, name); err != nil {
		return nil, err
	}
	if err := m.rules.check(request); err != nil {
		return nil, err
	}
	id := newRequestID()
	if out, ok := metadata.FromOutgoingContext(ctx); ok && len(out.Get(RequestIDKey)) > 0 {
		id = out.Get(RequestIDKey)[0]
	}
	ctx = context.WithValue(ctx, callKey{}, &call{started: c.server.now(), requestID: id, caller: c.caller, person: c.person})
	decode := func(into any) error {
		proto.Merge(into.(proto.Message), request)
		return nil
	}
	answer, err := m.handler(c.impls[m.service], ctx, decode, nil)
	if err != nil {
		return nil, err
	}
	return answer.(proto.Message), checkReply(answer)
}

var errNoStreams = errors.New("rpc: a local connection serves no streams")

// NewStream implements grpc.ClientConnInterface; it always fails.
func (c *localConn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errNoStreams
}
