package rpc

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fuzztest"
)

// unknown says that a message, or one within it, holds fields that this program does not know.
func unknown(m protoreflect.Message) (found bool) {
	found = len(m.GetUnknown()) > 0
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				found = found || unknown(v.List().Get(i).Message())
			}
		default:
			found = found || unknown(v.Message())
		}
		return !found
	})
	return found
}

// Whatever bytes a caller sends as a request, they are a message that keeps its rules, with nothing in it that this program does not know, or
// are refused as a bad request that names what is wrong and repeats nothing.
func FuzzRequest(f *testing.F) {
	messages := []proto.Message{
		&shelterv1.PlaceHoldRequest{}, &shelterv1.CreateShelterRequest{}, &protectionv1.CreateCaseRequest{}, &protectionv1.RecordConsentRequest{},
		&referralv1.SubmitReferralRequest{}, &referralv1.AcceptOfferRequest{}, &referralv1.DispatchReferralRequest{},
		&federalv1.ListCorridorsRequest{}, &federalv1.ListLateReportsRequest{}, &federalv1.GetFiguresRequest{}, &federalv1.ListDaysRequest{}, &federalv1.ListLinksRequest{},
		&federalv1.ListPublicationsRequest{}, &federalv1.GetPublicationRequest{}, &federalv1.ExportPublicationRequest{}, &federalv1.RevisePublicationsRequest{},
		&federalv1.ResumePublicationsRequest{},
	}
	var inputs []protoreflect.MessageDescriptor
	for i, m := range messages {
		inputs = append(inputs, m.ProtoReflect().Descriptor())
		f.Add(byte(i), []byte{0, byte(i), 1, 1, 0, 9, 2, 1}, []byte{})
		f.Add(byte(i), []byte{}, []byte("\x0a\x02\xff\xfe\x7a\x01a"))
	}
	rules, err := rulesOf(inputs)
	if err != nil {
		f.Fatal(err)
	}
	codec := newCodec()
	f.Fuzz(func(t *testing.T, which byte, choices, raw []byte) {
		m := messages[int(which)%len(messages)].ProtoReflect().New().Interface()
		if len(choices) > 0 {
			made := proto.CloneOf(m)
			fuzztest.Mutate(made, fuzztest.NewChoices(choices))
			if written, err := proto.Marshal(made); err == nil {
				raw = append(written, raw...)
			}
		}
		in := &incoming{message: m}
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, in); err != nil {
			t.Fatalf("grpc would answer for us: %v", err)
		}
		err := in.fault
		if err == nil {
			if unknown(m.ProtoReflect()) {
				t.Error("what this program does not know is taken")
			}
			err = rules.check(m)
		}
		if err == nil {
			return
		}
		refused, ok := errors.AsType[*fault.Error](err)
		if !ok || refused.Reason() != fault.Field {
			t.Fatalf("refused with %v", err)
		}
		if said := fmt.Sprint(refused.Error(), refused.Fields()); strings.Contains(said, fuzztest.Canary) {
			t.Errorf("refused with what was sent: %s", said)
		}
	})
}
