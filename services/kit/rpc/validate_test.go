package rpc

import (
	"slices"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
)

// requestWithRules is a request type whose rules are of every kind that could repeat a value.
func requestWithRules(t *testing.T) protoreflect.MethodDescriptor {
	t.Helper()
	text := descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
	single, many := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	with := func(rules *validate.FieldRules) *descriptorpb.FieldOptions {
		o := &descriptorpb.FieldOptions{}
		proto.SetExtension(o, validate.E_Field, rules)
		return o
	}
	short := &validate.FieldRules{Type: &validate.FieldRules_String_{String_: &validate.StringRules{MaxLen: proto.Uint64(2)}}}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("rules_test.proto"), Package: proto.String("rulestest"), Syntax: proto.String("proto3"),
		Dependency: []string{"buf/validate/validate.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Request"),
			Field: []*descriptorpb.FieldDescriptorProto{
				{Name: proto.String("computed"), Number: proto.Int32(1), Type: text, Label: single, Options: with(&validate.FieldRules{Cel: []*validate.Rule{
					{Id: proto.String("known"), Expression: proto.String("this == '' ? '' : 'there is no ' + this")},
				}})},
				{Name: proto.String("stated"), Number: proto.Int32(2), Type: text, Label: single, Options: with(&validate.FieldRules{Cel: []*validate.Rule{
					{Id: proto.String("empty"), Message: proto.String("must be empty."), Expression: proto.String("this == ''")},
				}})},
				{
					Name: proto.String("by_name"), Number: proto.Int32(3), Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), Label: many,
					TypeName: proto.String(".rulestest.Request.ByNameEntry"),
					Options:  with(&validate.FieldRules{Type: &validate.FieldRules_Map{Map: &validate.MapRules{Values: short}}}),
				},
				{Name: proto.String("codes"), Number: proto.Int32(4), Type: text, Label: many, Options: with(&validate.FieldRules{
					Type: &validate.FieldRules_Repeated{Repeated: &validate.RepeatedRules{Items: short}},
				})},
			},
			NestedType: []*descriptorpb.DescriptorProto{{
				Name: proto.String("ByNameEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
				Field: []*descriptorpb.FieldDescriptorProto{
					{Name: proto.String("key"), Number: proto.Int32(1), Type: text, Label: single},
					{Name: proto.String("value"), Number: proto.Int32(2), Type: text, Label: single},
				},
			}},
		}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Service"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Call"), InputType: proto.String(".rulestest.Request"), OutputType: proto.String(".rulestest.Request"),
		}}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file.Services().Get(0).Methods().Get(0)
}

func TestNoViolationRepeatsAValueOrAKey(t *testing.T) {
	const secret = "Gul Bibi"
	m := &method{descriptor: requestWithRules(t)}
	r, err := newRules([]*method{m})
	if err != nil {
		t.Fatal(err)
	}
	request := dynamicpb.NewMessage(m.descriptor.Input())
	fields := m.descriptor.Input().Fields()
	for _, name := range []protoreflect.Name{"computed", "stated"} {
		request.Set(fields.ByName(name), protoreflect.ValueOfString(secret))
	}
	request.Mutable(fields.ByName("by_name")).Map().Set(protoreflect.ValueOfString(secret).MapKey(), protoreflect.ValueOfString(secret))
	codes := request.Mutable(fields.ByName("codes")).List()
	codes.Append(protoreflect.ValueOfString("ok"))
	codes.Append(protoreflect.ValueOfString(secret))

	var refusal *fault.Error
	if err := r.check(request); err != nil {
		refusal = Fault(err)
	}
	want := []fault.Violation{
		{Field: "computed", Sentence: "breaks the rule known"},
		{Field: "stated", Sentence: "must be empty"},
		{Field: "by_name", Sentence: "must be at most 2 characters"},
		{Field: "codes[1]", Sentence: "must be at most 2 characters"},
	}
	if got := refusal.Fields(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRulesThatDoNotCompileAreFoundAtTheStart(t *testing.T) {
	m := &method{descriptor: requestWithRules(t)}
	options := m.descriptor.Input().Fields().ByName("stated").Options()
	rules := proto.GetExtension(options, validate.E_Field).(*validate.FieldRules)
	rules.Cel[0].Expression = proto.String("this ==")
	if _, err := newRules([]*method{m}); err == nil {
		t.Error("no error")
	}
}

// A time out of range passes every comparison of the proto's rules.
func TestTimesThatAreNoneAreRefused(t *testing.T) {
	service := shelterv1.File_amanat_shelter_v1_shelter_proto.Services().ByName("ShelterService")
	r, err := newRules([]*method{{descriptor: service.Methods().ByName("CreateShelter")}, {descriptor: service.Methods().ByName("PlaceHold")}})
	if err != nil {
		t.Fatal(err)
	}
	for path, request := range map[string]proto.Message{
		"expire_time": &shelterv1.PlaceHoldRequest{
			Group: "nodes/punjab/shelters/lahore/groups/girls", Quantity: 1, RequestId: "request-1",
			Needs: &custodyv1.Needs{Gender: "Feminine"}, ExpireTime: &timestamppb.Timestamp{Seconds: 1 << 60},
		},
		"shelter.groups[1].capacity_time": &shelterv1.CreateShelterRequest{
			Parent: "nodes/punjab", ShelterId: "lahore", Shelter: &shelterv1.Shelter{DisplayName: "Girls", District: "PK617", Groups: []*shelterv1.Group{
				{Genders: []string{"Feminine"}, UnitKind: 1, CapacityTime: timestamppb.Now()},
				{Genders: []string{"Feminine"}, UnitKind: 1, CapacityTime: &timestamppb.Timestamp{Nanos: -1}},
			}},
		},
	} {
		if got := Fault(r.check(request)).Fields(); len(got) != 1 || got[0] != (fault.Violation{Field: path, Sentence: timeRule}) {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// What protovalidate says to a programmer is said so that a person knows what to write.
func TestSentencesAPersonCanActOn(t *testing.T) {
	service := referralv1.File_amanat_referral_v1_referral_proto.Services().ByName("ReferralService")
	var methods []*method
	for _, name := range []protoreflect.Name{"SubmitReferral", "AcceptOffer", "ListReferrals"} {
		methods = append(methods, &method{descriptor: service.Methods().ByName(name)})
	}
	r, err := newRules(methods)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, request := range []proto.Message{
		&referralv1.SubmitReferralRequest{Parent: "x", Urgency: 77, Actor: &custodyv1.Actor{Person: "x", Unit: "x"}},
		&referralv1.AcceptOfferRequest{Name: "x", Group: "x", Worker: &identityv1.WorkerContact{Phone: "x"}},
		&referralv1.ListReferralsRequest{Filter: &referralv1.ListReferralsRequest_Filter{OwnerNode: "X"}},
	} {
		for _, v := range Fault(r.check(request)).Fields() {
			got[v.Field] = v.Sentence
		}
	}
	for field, want := range map[string]string{
		"kind":              "must be given",
		"needs":             "must be given",
		"urgency":           "must be one of the values that the contract defines",
		"unit":              "must be a name of the form nodes/*/units/*",
		"actor.person":      "must be a name of the form nodes/*/workers/*, or be left out",
		"actor.unit":        "must be a name of the form nodes/*/(units|shelters)/*, or be left out",
		"name":              "must be a name of the form nodes/*/referrals/*/offers/*",
		"group":             "must be a name of the form nodes/*/shelters/*/groups/*, or be left out",
		"worker.phone":      `must match the pattern ^\+[1-9][0-9]{7,14}$`,
		"filter.owner_node": "must match the pattern ^([a-z][a-z0-9-]{1,30})?$",
	} {
		if got[field] != want {
			t.Errorf("%s: got %q, want %q", field, got[field], want)
		}
	}
}
