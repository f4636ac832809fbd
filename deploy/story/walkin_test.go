package story

import (
	"context"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"amanat.example/deploy/network"
	"amanat.example/deploy/scenario"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
)

// door is a shelter service at which somebody asks for a bed.
type door struct {
	shelterv1.ShelterServiceClient
	places []string                 // groups that are shown as free, in this order
	admit  func(group string) error // nil: admitted
	asked  []string
}

func (d *door) FindPlaces(context.Context, *shelterv1.FindPlacesRequest, ...grpc.CallOption) (*shelterv1.FindPlacesResponse, error) {
	found := &shelterv1.FindPlacesResponse{}
	for _, g := range d.places {
		found.Places = append(found.Places, &shelterv1.Place{Node: "punjab", Shelter: shelterOf(g), Groups: []*shelterv1.PlaceGroup{{Group: g, People: []int32{0}}}})
	}
	return found, nil
}

func (d *door) AdmitWalkIn(_ context.Context, r *shelterv1.AdmitWalkInRequest, _ ...grpc.CallOption) (*shelterv1.Stay, error) {
	d.asked = append(d.asked, r.GetGroup())
	if err := d.admit(r.GetGroup()); err != nil {
		return nil, err
	}
	return &shelterv1.Stay{Name: "nodes/punjab/stays/in-" + idOf(r.GetGroup())}, nil
}

func saying(t *testing.T, code codes.Code, reason fault.Reason, metadata map[string]string) error {
	t.Helper()
	s, err := status.New(code, "no").WithDetails(&errdetails.ErrorInfo{Reason: reason.String(), Domain: "shelter.amanat", Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

// gatewayOf is the identity of a node's gateway, in a network of its own.
func gatewayOf(t *testing.T, node string) *identity.Service {
	t.Helper()
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	gateway, err := identity.Load(l.Root, node, network.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	return gateway
}

// Who came after all gets a bed though the first one that was free is taken a moment later; and who was admitted before the year was broken off is
// found again, also where no bed is free by then.
func TestWalkIn(t *testing.T) {
	gateway := gatewayOf(t, "punjab")
	const a, b = "nodes/punjab/shelters/one/groups/a", "nodes/punjab/shelters/two/groups/b"
	full := saying(t, codes.FailedPrecondition, fault.NoCapacity, nil)
	known := saying(t, codes.AlreadyExists, fault.IdempotencyMismatch, map[string]string{"made": "nodes/punjab/stays/of-before"})
	for name, c := range map[string]struct {
		door
		stay string
	}{
		"the second bed":  {door{places: []string{a, b}, admit: func(g string) error { return map[string]error{a: full}[g] }}, "nodes/punjab/stays/in-b"},
		"the planned bed": {door{admit: func(string) error { return nil }}, "nodes/punjab/stays/in-a"},
		"there before":    {door{admit: func(string) error { return known }}, "nodes/punjab/stays/of-before"},
	} {
		p := &Player{desks: map[string]*desk{"punjab": {node: "punjab", gateway: gateway, shelter: &c.door}}, units: map[string]*protectionv1.Unit{}}
		m := &member{referral: "nodes/sindh/referrals/1", plan: &scenario.Case{Referral: &scenario.Referral{
			Request: &protectionv1.ReferCaseRequest{Needs: &custodyv1.Needs{}}, Answers: []scenario.Answer{{Group: a}},
		}}}
		err := p.walkIn(&hand{ctx: t.Context()}, &party{[]*member{m}}, &referralv1.Offer{ToNode: "punjab", ToUnit: "nodes/punjab/units/lahore"})
		if err != nil || m.stay != c.stay {
			t.Errorf("%s: in %q, %v; asked at %v", name, m.stay, err, c.asked)
		}
	}
}

// What is there already is left as it is; whatever else is refused is an error, and not taken for what is there.
func TestExists(t *testing.T) {
	refusal := func(code codes.Code, field string) error {
		s, err := status.New(code, "no").WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: "no"}}})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	for _, c := range []struct {
		err  error
		made bool
	}{
		{refusal(codes.InvalidArgument, "shelter_id"), true},
		{refusal(codes.InvalidArgument, "unit_id"), true},
		{status.Error(codes.AlreadyExists, "no"), true},
		{refusal(codes.InvalidArgument, "shelter.groups[0].capacity_time"), false},
		{status.Error(codes.InvalidArgument, "no"), false},
		{status.Error(codes.PermissionDenied, "no"), false},
	} {
		if exists(c.err) != c.made {
			t.Errorf("%v: made before %t", c.err, !c.made)
		}
	}
}
