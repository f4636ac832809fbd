package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
)

// method is one served method with all that its calls need.
type method struct {
	server     *Server
	name       string // as in a policy: /package.Service/Method
	logged     logging.Field
	stock      bool // served by grpc's own code, which makes its own statuses
	stream     bool
	descriptor protoreflect.MethodDescriptor
	row        Row
	audited    bool // the reply's type can carry marked fields
}

// unary puts the steps around a generated unary handler.
func (m *method) unary(generated grpc.MethodHandler) grpc.MethodHandler {
	return func(impl any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in incoming
		keep := func(v any) error {
			in.message, _ = v.(proto.Message)
			return decode(&in)
		}
		return generated(impl, ctx, keep, func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			return m.serveUnary(ctx, &in, func(ctx context.Context) (any, error) { return handler(ctx, request) })
		})
	}
}

func (m *method) serveUnary(ctx context.Context, in *incoming, handle func(context.Context) (any, error)) (reply any, err error) {
	ctx, c, done := m.begin(ctx)
	defer func() {
		if err = m.end(ctx, c, recover(), err); err != nil {
			reply = nil
		}
		done()
	}()
	if err := grpc.SetHeader(ctx, metadata.Pairs(RequestIDKey, c.requestID)); err != nil {
		return nil, err
	}
	if err := m.admit(ctx, c); err != nil {
		return nil, err
	}
	if err := m.check(in); err != nil {
		return nil, err
	}
	if reply, err = handle(ctx); err != nil {
		return nil, err
	}
	if err := checkReply(reply); err != nil {
		return nil, err
	}
	if m.audited {
		return reply, m.server.auditReply(ctx, m, in.message, reply.(proto.Message))
	}
	return reply, nil
}

// streaming puts the steps around a generated stream handler.
func (m *method) streaming(generated grpc.StreamHandler) grpc.StreamHandler {
	return func(impl any, transport grpc.ServerStream) (err error) {
		ctx, c, done := m.begin(transport.Context())
		defer func() {
			err = m.end(ctx, c, recover(), err)
			done()
		}()
		if err := transport.SetHeader(metadata.Pairs(RequestIDKey, c.requestID)); err != nil {
			return err
		}
		if err := m.admit(ctx, c); err != nil {
			return err
		}
		return generated(impl, &servedStream{ServerStream: transport, ctx: ctx, method: m})
	}
}

// servedStream checks each request and audits each reply of a stream.
type servedStream struct {
	grpc.ServerStream
	ctx    context.Context
	method *method
	last   proto.Message // the latest request
	begun  bool          // the caller knows that it is served
}

func (s *servedStream) Context() context.Context { return s.ctx }

func (s *servedStream) RecvMsg(v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("request of %s is a %T, not a proto message", s.method.name, v)
	}
	in := &incoming{message: message}
	if err := s.ServerStream.RecvMsg(in); err != nil {
		return err
	}
	s.last = message
	if err := s.method.check(in); err != nil || s.begun {
		return err
	}
	// Headers travel with the first message, which may be long in coming.
	s.begun = true
	return s.SendHeader(nil)
}

func (s *servedStream) SendMsg(v any) error {
	if err := checkReply(v); err != nil {
		return err
	}
	if s.method.audited {
		if err := s.method.server.auditReply(s.ctx, s.method, s.last, v.(proto.Message)); err != nil {
			return err
		}
	}
	return s.ServerStream.SendMsg(v)
}

// begin counts the call, names it and sets its deadline. A stream also ends when the server
// begins to drain, since it may have no end of its own.
func (m *method) begin(parent context.Context) (context.Context, *call, func()) {
	s := m.server
	s.metrics.begin(m.name)
	c := &call{started: s.now(), requestID: incomingRequestID(parent)}
	ctx := context.WithValue(parent, callKey{}, c)

	longest, usual := s.maxDeadline, s.defaultDeadline
	if m.stream {
		longest, usual = maxStream, maxStream
	}
	if m.row.Deadline > 0 {
		longest, usual = m.row.Deadline, min(usual, m.row.Deadline)
	}
	allowed := longest
	if _, has := parent.Deadline(); !has {
		allowed = usual
	}
	ctx, cancel := context.WithTimeout(ctx, allowed) // An earlier deadline of the caller stays.
	if !m.stream {
		return ctx, c, cancel
	}
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.draining, func() { end(errDraining) })
	return ctx, c, func() {
		stop()
		end(nil)
		cancel()
	}
}

// admit judges who calls and for whom.
func (m *method) admit(ctx context.Context, c *call) error {
	s := m.server
	from, ok := peer.FromContext(ctx)
	if !ok {
		return errNoPeer
	}
	secured, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return errNoPeer
	}
	node, service, err := identity.Peer(secured.State)
	if err != nil {
		return errNoPeer.Wrap(err)
	}
	if node != s.identity.Node() {
		return fault.New(fault.NotAllowed, "Services of another node are reached by the post alone.", "node", node)
	}
	c.caller = service
	roles, err := s.mayCall(m.row, service, m.name)
	if err != nil {
		return err
	}
	return m.admitPerson(ctx, c, roles)
}

// mayCall is which roles a person must have one of for whom a service calls a method; none: any, and nobody need be named. It refuses a
// service that the policy does not list, and everything but early methods while the service is closed.
func (s *Server) mayCall(row Row, service, method string) (roles []string, err error) {
	roles, ok := row.May(service)
	if !ok {
		return nil, fault.New(fault.NotAllowed, "The service "+service+" may not call this method.", "caller", service, "method", method)
	}
	if s.closed != nil && !row.Early {
		return roles, s.closed()
	}
	return roles, nil
}

// haveRole refuses a person who has none of the roles, where there are any.
func haveRole(person *identityv1.PersonToken, roles []string, method string) error {
	if len(roles) > 0 && !slices.ContainsFunc(person.GetRoles(), func(role string) bool { return slices.Contains(roles, role) }) {
		return fault.New(fault.NotAllowed, "Your role does not allow this.", "method", method)
	}
	return nil
}

var errNoPeer = fault.New(fault.Unauthenticated, "The connection shows no certificate of this node.")

// admitPerson verifies the token that came along; its person must have one of the roles, if there are any.
func (m *method) admitPerson(ctx context.Context, c *call, roles []string) error {
	values := metadata.ValueFromIncomingContext(ctx, PersonTokenKey)
	if len(values) == 0 {
		if len(roles) > 0 {
			return fault.New(fault.Unauthenticated, "This needs a signed-in person: the call carries no "+PersonTokenKey+".")
		}
		return nil
	}
	if len(values) > 1 {
		return fault.New(fault.Unauthenticated, "The call carries more than one person token.")
	}
	s := m.server
	person, err := s.identity.VerifyToken([]byte(values[0]), s.now(), s.issuers)
	if err != nil {
		return fault.New(fault.Unauthenticated, "The person token is refused: "+err.Error()+". Sign in again.").Wrap(err)
	}
	c.person = person
	return haveRole(person, roles, m.name)
}

// check refuses a request that is not well-formed or breaks a rule of its proto.
func (m *method) check(in *incoming) error {
	if in.fault != nil {
		return in.fault
	}
	return m.server.rules.check(in.message)
}

// end turns whatever happened into a status, and counts and logs the call.
func (m *method) end(ctx context.Context, c *call, panicked any, err error) error {
	s := m.server
	code := codes.OK
	var errorID string
	var cause error
	if panicked != nil {
		err = fault.Panic(panicked)
	}
	if err != nil {
		answer, known := status.FromError(err)
		if !m.stock || !known || panicked != nil {
			answer, errorID = s.toStatus(ctx, err)
		}
		if code = answer.Code(); errorID != "" {
			cause = err
		} else if f, ok := errors.AsType[*fault.Error](err); ok {
			cause = f.Unwrap()
		}
		err = answer.Err()
	}
	took := s.now().Sub(c.started)
	s.metrics.end(m.name, code, took)
	s.logCall(m, c, code, took.Round(time.Microsecond), errorID, cause)
	return err
}
