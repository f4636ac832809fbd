package rpctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/rpc"
)

// Suite is a service behind its real server, with a valid call of each of its RPCs.
type Suite struct {
	Place

	// Descriptor is the service's.
	Descriptor *grpc.ServiceDesc
	// Policy is the service's own.
	Policy rpc.Policy
	// Address is where it listens.
	Address string
	// Writes watches the service's stores.
	Writes *Writes
	// Queued counts what a test's stand-ins for post and outbox took; nil where they are none.
	Queued func() int
	// Calls has one entry for each RPC, by its short name such as "GetCase".
	Calls map[string]Call

	conns  map[string]*grpc.ClientConn
	tokens map[string][]byte // by role
	bad    map[string]map[string][][]byte
}

// Call is a valid call of one RPC.
type Call struct {
	// Requests makes valid requests, each of which would be answered. Together they fill every
	// message within the request, so that each field of it is reached: two requests where a oneof
	// has two members.
	Requests func(t testing.TB) []proto.Message
	// Except are the mutants that have another fate than INVALID_ARGUMENT, by their names such as
	// "filter.unit unknown", or by its path a field that no valid request has. An exception that no
	// mutant has is a fault.
	Except map[string]Exception
}

// Exception is the fate of one mutant, and why.
type Exception struct {
	// Code is what it gets instead; OK: it is a valid request, and is not sent.
	Code codes.Code
	// Why is for whoever reads the test.
	Why string
}

// Accepted excepts a mutant that is a valid request.
func Accepted(why string) Exception { return Exception{codes.OK, why} }

// Answered excepts a mutant that is refused with another code.
func Answered(code codes.Code, why string) Exception { return Exception{code, why} }

// Never excepts a field, by its path, that no valid request has.
func Never(why string) Exception { return Exception{codes.InvalidArgument, why} }

// methods are the service's RPCs with their descriptors, in order of name.
func (s *Suite) methods(t testing.TB) []protoreflect.MethodDescriptor {
	t.Helper()
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.Descriptor.ServiceName))
	if err != nil {
		t.Fatal(err)
	}
	service := found.(protoreflect.ServiceDescriptor)
	var all []protoreflect.MethodDescriptor
	for i := range service.Methods().Len() {
		if m := service.Methods().Get(i); !m.IsStreamingClient() { // what uploads has tests of its own
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b protoreflect.MethodDescriptor) int {
		return strings.Compare(string(a.Name()), string(b.Name()))
	})
	for _, fault := range s.uncovered(all) {
		t.Error(fault)
	}
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// uncovered are the RPCs without a valid request, and the requests without an RPC.
func (s *Suite) uncovered(methods []protoreflect.MethodDescriptor) (faults []string) {
	named := map[string]bool{}
	for _, m := range methods {
		named[string(m.Name())] = true
		if s.Calls[string(m.Name())].Requests == nil {
			faults = append(faults, fmt.Sprintf("%s has no valid request here: give it one, so that bad ones can be derived", m.Name()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Calls)) {
		if !named[name] {
			faults = append(faults, fmt.Sprintf("%s has no RPC %s", s.Descriptor.ServiceName, name))
		}
	}
	return faults
}

func (s *Suite) row(m protoreflect.MethodDescriptor) rpc.Row { return s.Policy[fullName(m)] }

func fullName(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// allowed is the context of a caller whom the policy allows, and that caller's name.
func (s *Suite) allowed(t testing.TB, m protoreflect.MethodDescriptor) (context.Context, string) {
	t.Helper()
	row, ctx := s.row(m), t.Context()
	caller := callerOf(row)
	if roles, _ := row.May(caller); len(roles) > 0 {
		ctx = rpc.WithPersonToken(ctx, s.tokenFor(t, roles[0]))
	}
	return ctx, caller
}

// callerOf is who calls first: a service. The operator is none, and has a certificate alone.
func callerOf(row rpc.Row) string {
	if row.Callers[0] == "operator" && len(row.People) > 0 {
		return rpc.Gateway
	}
	return row.Callers[0]
}

// tokenFor is a good token, made once: its making reads files.
func (s *Suite) tokenFor(t testing.TB, role string) []byte {
	t.Helper()
	if s.tokens[role] == nil {
		s.tokens[role] = s.Token(t, role, nil)
	}
	return s.tokens[role]
}

// dial connects as services of the node, for as long as the test lasts.
func (s *Suite) dial(t testing.TB, services ...string) {
	t.Helper()
	s.conns, s.tokens, s.bad = map[string]*grpc.ClientConn{}, map[string][]byte{}, map[string]map[string][][]byte{}
	for _, m := range s.methods(t) {
		services = append(services, callerOf(s.row(m)))
	}
	slices.Sort(services)
	for _, as := range slices.Compact(services) {
		s.conns[as] = s.Dial(t, s.Address, as)
	}
}

// send calls an RPC with the very bytes given. Of a stream it takes the first message: one that is well opened has something to
// tell at once.
func (s *Suite) send(ctx context.Context, as string, m protoreflect.MethodDescriptor, request []byte) error {
	return call(ctx, s.conns[as], m, request)
}

func call(ctx context.Context, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, request []byte) error {
	options := []grpc.CallOption{grpc.ForceCodecV2(raw{}), grpc.MaxCallSendMsgSize(2 * rpc.MaxMessageBytes)}
	var reply []byte
	if !m.IsStreamingServer() {
		return conn.Invoke(ctx, fullName(m), request, &reply, options...)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, fullName(m), options...)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // EOF: what went wrong is told below.
		return err
	}
	_ = stream.CloseSend() // It always answers nil.
	return stream.RecvMsg(&reply)
}

// raw is a codec for bytes that are marshalled already.
type raw struct{}

var _ encoding.CodecV2 = raw{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("rpctest: %T is not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("rpctest: %T is not bytes", v)
	}
	*b = data.Materialize()
	return nil
}

// Unchanged makes a call that must be refused, and holds that nothing was written and that the
// refusal says who refuses, why, and to a person what.
func (s *Suite) Unchanged(t testing.TB, call func() error) error {
	t.Helper()
	faults, err := s.judge(call)
	for _, fault := range faults {
		t.Error(fault)
	}
	return err
}

// judge makes a call that must be refused and says what is wrong with the refusal.
func (s *Suite) judge(call func() error) (faults []string, refusal error) {
	before := s.state()
	refusal = call()
	if after := s.state(); after != before {
		faults = append(faults, fmt.Sprintf("a refused call changed the store: before %s, after %s", before, after))
	}
	return append(faults, s.faults(refusal)...), refusal
}

// state is all that a refused call must leave as it is.
func (s *Suite) state() string {
	if s.Queued == nil {
		return s.Writes.State()
	}
	return fmt.Sprintf("%d letters and commands, %s", s.Queued(), s.Writes.State())
}

// faults are what a refusal lacks of what every refusal has.
func (s *Suite) faults(err error) (faults []string) {
	st := status.Convert(err)
	info := detail[*errdetails.ErrorInfo](st)
	number, known := eventsv1.Reason_value[info.GetReason()]
	switch {
	case err == nil:
		return []string{"it was not refused"}
	case st.Code() == codes.Internal || st.Code() == codes.Unknown || st.Code() == codes.Unavailable:
		faults = append(faults, fmt.Sprintf("it is refused as %v, which blames us: %s", st.Code(), st.Message()))
	case !known || number == 0:
		faults = append(faults, fmt.Sprintf("no reason a program can read: %v %v", st, info))
	case info.GetDomain() != s.Service+".amanat":
		faults = append(faults, fmt.Sprintf("the reason's domain is %q", info.GetDomain()))
	}
	if len(strings.Fields(st.Message())) < 3 {
		faults = append(faults, fmt.Sprintf("no sentence: %q", st.Message()))
	}
	return faults
}

// Refusal is what a test expects of a refused call.
type Refusal struct {
	// Code of the status.
	Code codes.Code
	// Reason is ErrorInfo's, without REASON_.
	Reason string
	// Names is the field that is at fault, or what the metadata says: "kind=referral"; empty where
	// the reason says it all.
	Names string
}

// Refused holds that an error is the refusal expected.
func (s *Suite) Refused(t testing.TB, err error, want Refusal) {
	t.Helper()
	st := status.Convert(err)
	info := detail[*errdetails.ErrorInfo](st)
	if st.Code() != want.Code || info.GetReason() != "REASON_"+want.Reason {
		t.Errorf("got %v %s, want %v REASON_%s: %s", st.Code(), info.GetReason(), want.Code, want.Reason, st.Message())
	}
	key, value, metadata := strings.Cut(want.Names, "=")
	switch {
	case want.Names == "":
	case metadata && info.GetMetadata()[key] != value:
		t.Errorf("the metadata %v does not say %s: %s", info.GetMetadata(), want.Names, st.Message())
	case !metadata && !slices.Contains(fields(st), want.Names):
		t.Errorf("it names %q, want %s: %s", fields(st), want.Names, st.Message())
	}
}

// fields are the fields that a refusal names.
func fields(st *status.Status) (names []string) {
	for _, v := range detail[*errdetails.BadRequest](st).GetFieldViolations() {
		names = append(names, v.GetField())
	}
	return names
}

func detail[D any](st *status.Status) (found D) {
	for _, d := range st.Details() {
		if d, ok := d.(D); ok {
			return d
		}
	}
	return found
}
