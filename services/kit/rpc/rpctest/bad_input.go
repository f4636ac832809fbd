package rpctest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"amanat.example/services/kit/rpc"
)

// BadInput tries every RPC with every mutant of its valid requests, and in the end with the
// requests themselves, which must be answered: so each mutant was refused for its one fault.
func (s *Suite) BadInput(t *testing.T) {
	s.dial(t)
	tried := 0
	for _, m := range s.methods(t) {
		t.Run(string(m.Name()), func(t *testing.T) {
			call := s.Calls[string(m.Name())]
			s.tryBytes(t, m)
			used, reached, absent := map[string]bool{}, map[protoreflect.FullName]bool{}, map[string]string{}
			for _, request := range call.Requests(t) {
				if got := request.ProtoReflect().Descriptor().FullName(); got != m.Input().FullName() {
					t.Fatalf("the request is a %s, want %s", got, m.Input().FullName())
				}
				mutator := newMutator(request)
				for _, bad := range mutator.mutants {
					s.try(t, m, call, bad, used)
					tried++
				}
				for name := range mutator.reached {
					reached[name] = true
				}
				for path, name := range mutator.absent {
					absent[path] = name
				}
				s.answered(t, m, request)
			}
			for path, name := range absent {
				if _, never := call.Except[path]; never {
					used[path] = true
					continue
				}
				if !reached[protoreflect.FullName(name)] {
					t.Errorf("no valid request has the field %s: fill it, so that what is in it is tried", path)
				}
			}
			for name := range call.Except {
				if !used[name] {
					t.Errorf("the exception %q is of no mutant: remove it", name)
				}
			}
		})
	}
	t.Logf("%s: %d RPCs, %d bad requests", s.Descriptor.ServiceName, len(s.Calls), tried)
}

// tryBytes sends what is no request at all, and more than one may hold.
func (s *Suite) tryBytes(t *testing.T, m protoreflect.MethodDescriptor) {
	ctx, caller := s.allowed(t, m)
	padding := protowire.AppendBytes(protowire.AppendTag(nil, 20_000, protowire.BytesType), make([]byte, rpc.MaxMessageBytes))
	for name, c := range map[string]struct {
		body []byte
		want Refusal
	}{
		"request too large":       {padding, Refusal{codes.ResourceExhausted, "TOO_LARGE", ""}},
		"request that is garbage": {[]byte("\x0a\xff"), Refusal{codes.InvalidArgument, "INVALID_FIELD", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Unchanged(t, func() error { return s.send(ctx, caller, m, c.body) })
			s.Refused(t, err, c.want)
		})
	}
}

// answered holds that a request is valid.
func (s *Suite) answered(t *testing.T, m protoreflect.MethodDescriptor, request proto.Message) {
	t.Helper()
	body, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	ctx, caller := s.allowed(t, m)
	if err := s.send(ctx, caller, m, body); err != nil {
		t.Errorf("the valid request is refused: %v %v", err, status.Convert(err).Details())
	}
}

func (s *Suite) try(t *testing.T, m protoreflect.MethodDescriptor, call Call, bad mutant, used map[string]bool) {
	t.Helper()
	want := codes.InvalidArgument
	if bad.etag {
		want = codes.Aborted
	}
	if except, ok := call.Except[index(bad.name)]; ok {
		used[index(bad.name)] = true
		if want = except.Code; want == codes.OK {
			return
		}
	}
	t.Run(bad.name, func(t *testing.T) {
		ctx, caller := s.allowed(t, m)
		for _, fault := range s.judgeMutant(func() error { return s.send(ctx, caller, m, bad.body) }, bad, want) {
			t.Error(fault)
		}
	})
}

// judgeMutant says what is wrong with the refusal of a mutant.
func (s *Suite) judgeMutant(call func() error, bad mutant, want codes.Code) []string {
	faults, err := s.judge(call)
	st := status.Convert(err)
	if st.Code() != want {
		faults = append(faults, fmt.Sprintf("got %v, want %v: %s", st.Code(), want, st.Message()))
	}
	named := slices.ContainsFunc(fields(st), func(field string) bool { return within(bad.path, field) })
	if want == codes.InvalidArgument && !named {
		faults = append(faults, fmt.Sprintf("it names %q, want %s: %s", fields(st), bad.path, st.Message()))
	}
	return append(faults, repeats(st)...)
}

// repeats are the places at which a refusal says what was sent.
func repeats(st *status.Status) (faults []string) {
	look := func(where, text string) {
		for _, sent := range []string{unknown, "zzzzzzzz", broken, "\xff"} {
			if bytes.Contains([]byte(text), []byte(sent)) {
				faults = append(faults, fmt.Sprintf("the %s repeats what was sent: %q", where, text[:min(len(text), 200)]))
			}
		}
	}
	look("sentence", st.Message())
	for key, value := range detail[*errdetails.ErrorInfo](st).GetMetadata() {
		look("metadata", key+"="+value)
	}
	for _, v := range detail[*errdetails.BadRequest](st).GetFieldViolations() {
		if v.GetDescription() == "" {
			faults = append(faults, "the violation of "+v.GetField()+" says nothing")
		}
		look("violation", v.GetDescription())
	}
	return faults
}
