package rpctest

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	schema = store.NewSchema("rpctest", 1)
	rows   = store.NewTable[*shelterv1.Hold](schema, "rows")
)

// lax is a service whose PlaceHold is what a test makes it.
type lax struct {
	shelterv1.UnimplementedShelterServiceServer
	placeHold func(*shelterv1.PlaceHoldRequest) error
}

func (l *lax) PlaceHold(_ context.Context, r *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
	return &shelterv1.Hold{}, l.placeHold(r)
}

// The suite must find each way in which a refusal can be wrong.
func TestASuiteBites(t *testing.T) {
	place := Place{Root: t.TempDir(), Node: "punjab", Service: "shelter"}
	if err := identity.InitNetwork(identity.Options{Root: place.Root, Node: "punjab", Province: "PK-PB", Services: []string{"shelter", "referral"}}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "rows.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	policy, service := rpc.Policy{}, &lax{}
	for _, m := range shelterv1.ShelterService_ServiceDesc.Methods {
		policy["/"+shelterv1.ShelterService_ServiceDesc.ServiceName+"/"+m.MethodName] = rpc.Row{Callers: []string{"referral"}}
	}
	for _, m := range shelterv1.ShelterService_ServiceDesc.Streams {
		policy["/"+shelterv1.ShelterService_ServiceDesc.ServiceName+"/"+m.StreamName] = rpc.Row{Callers: []string{"referral"}}
	}
	address := place.Serve(t, policy, func(context.Context, rpc.Reading) error { return nil }, func(r grpc.ServiceRegistrar) { shelterv1.RegisterShelterServiceServer(r, service) })
	s := &Suite{Place: place, Address: address, Descriptor: &shelterv1.ShelterService_ServiceDesc, Policy: policy, Writes: Watch(db)}
	conn := place.Dial(t, address, "referral")
	method := shelterv1.File_amanat_shelter_v1_shelter_proto.Services().ByName("ShelterService").Methods().ByName("PlaceHold")
	s.conns = map[string]*grpc.ClientConn{"referral": conn}

	request := &shelterv1.PlaceHoldRequest{
		Group: "nodes/punjab/shelters/lahore/groups/girls", Quantity: 1, RequestId: "request-1", Needs: &custodyv1.Needs{Gender: "Feminine"},
	}
	mutants := newMutator(request).mutants
	at := slices.IndexFunc(mutants, func(m mutant) bool { return m.name == "needs.gender unknown" })
	if at < 0 {
		t.Fatalf("no such mutant among %v", mutants)
	}
	for name, c := range map[string]struct {
		place func(*shelterv1.PlaceHoldRequest) error
		fault string // empty: none
	}{
		"accepts":       {func(*shelterv1.PlaceHoldRequest) error { return nil }, "not refused"},
		"blames itself": {func(*shelterv1.PlaceHoldRequest) error { return errors.New("oh") }, "blames us"},
		"names no field": {
			func(*shelterv1.PlaceHoldRequest) error { return fault.New(fault.UnknownCode, "It is not in the list.") }, "it names",
		},
		"names another field": {
			func(*shelterv1.PlaceHoldRequest) error { return fault.InvalidField("quantity", "must be less") }, "it names",
		},
		"has another code": {func(*shelterv1.PlaceHoldRequest) error { return fault.NotFound("gender") }, "got NotFound"},
		"repeats": {
			func(r *shelterv1.PlaceHoldRequest) error {
				return fault.InvalidField("needs.gender", "must not be "+r.GetNeeds().GetGender())
			}, "repeats",
		},
		"writes": {
			func(*shelterv1.PlaceHoldRequest) error {
				if err := db.Update(context.Background(), func(tx *store.Tx) error { return rows.Put(tx, store.K("a"), &shelterv1.Hold{}) }); err != nil {
					return err
				}
				return fault.InvalidField("needs.gender", "must be a code")
			}, "changed the store",
		},
		"refuses well": {func(*shelterv1.PlaceHoldRequest) error { return fault.InvalidField("needs.gender", "must be a code") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			service.placeHold = c.place
			found := s.judgeMutant(func() error { return s.send(t.Context(), "referral", method, mutants[at].body) }, mutants[at], codes.InvalidArgument)
			if c.fault == "" && len(found) > 0 || c.fault != "" && !strings.Contains(strings.Join(found, "; "), c.fault) {
				t.Errorf("found %q, want %q", found, c.fault)
			}
		})
	}
}

// Every kind of field has its mutants, and what a caller may not set is left alone.
func TestMutants(t *testing.T) {
	names := map[string]bool{}
	for _, m := range newMutator(&shelterv1.CreateShelterRequest{
		Parent: "nodes/punjab", Shelter: &shelterv1.Shelter{DisplayName: "Girls", Groups: []*shelterv1.Group{{Name: "girls"}}},
	}).mutants {
		names[m.name] = true
	}
	for _, want := range []string{
		"parent missing", "parent not UTF-8", "parent too long", "parent unknown", "shelter missing", "shelter.address not UTF-8",
		"shelter.languages too many", "shelter.languages[0] unknown", "shelter.groups missing", "shelter.groups too many", "shelter.groups[0].total negative",
		"shelter.groups[0].total absurd", "shelter.groups[0].unit_kind unknown", "shelter.etag not UTF-8", "shelter.address unknown",
	} {
		if !names[want] {
			t.Errorf("no mutant %q", want)
		}
	}
	for _, no := range []string{"shelter.etag unknown", "shelter.groups[0].held negative", "shelter.state unknown"} {
		if names[no] {
			t.Errorf("a mutant %q", no)
		}
	}
}

// A request that a mutant was made of stays as it was, and every mutant differs from it.
func TestMutantsLeaveTheRequestAsItWas(t *testing.T) {
	request := &shelterv1.PlaceHoldRequest{Group: "g", Quantity: 1, Needs: &custodyv1.Needs{Gender: "Feminine", Languages: []string{"urd", "bal"}}}
	kept := proto.CloneOf(request)
	m := newMutator(request)
	if !proto.Equal(request, kept) || !proto.Equal(m.root, kept) {
		t.Errorf("the request is %v", m.root)
	}
	whole, err := proto.MarshalOptions{Deterministic: true}.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range m.mutants {
		if len(bad.body) == 0 || string(bad.body) == string(whole) {
			t.Errorf("%s is the request itself, or nothing", bad.name)
		}
	}
}

// Who may call and who can come by REST must be the same.
func TestRoutesBite(t *testing.T) {
	service := shelterv1.File_amanat_shelter_v1_reconcile_proto.Services().ByName("ReconcileService")
	without := service.Methods().ByName("ReconcileOffers")
	with := shelterv1.File_amanat_shelter_v1_shelter_proto.Services().ByName("ShelterService").Methods().ByName("GetHold")
	for caller, wrong := range map[string]protoreflect.MethodDescriptor{rpc.Gateway: without, "referral": with} {
		s := &Suite{Policy: rpc.Policy{fullName(with): {Callers: []string{caller}}, fullName(without): {Callers: []string{caller}}}}
		for _, m := range []protoreflect.MethodDescriptor{with, without} {
			if got := s.routes(m); (len(got) > 0) != (m == wrong) {
				t.Errorf("called by %s: %s: %q", caller, m.Name(), got)
			}
		}
	}
}

func TestAnRPCWithoutAValidRequestIsAFault(t *testing.T) {
	service := shelterv1.File_amanat_shelter_v1_shelter_proto.Services().ByName("ShelterService")
	s := &Suite{Descriptor: &shelterv1.ShelterService_ServiceDesc, Calls: map[string]Call{"Gone": {}}}
	got := strings.Join(s.uncovered([]protoreflect.MethodDescriptor{service.Methods().ByName("GetHold")}), "; ")
	if !strings.Contains(got, "GetHold has no valid request") || !strings.Contains(got, "no RPC Gone") {
		t.Errorf("found %q", got)
	}
}
