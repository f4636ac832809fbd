package rpc_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
)

// A local connection judges a call as the server does: policy, roles, rules of the request, closed services; and answers with the same
// statuses. What the handler keeps of a request is its own.
func TestLocal(t *testing.T) {
	const hold = "nodes/punjab/holds/0192f0a1-0000-7000-8000-000000000001"
	var kept *shelterv1.GetHoldRequest
	closed := false
	local := rpc.NewLocal("shelter", rpc.Policy{
		shelterv1.ShelterService_GetHold_FullMethodName:     {Callers: []string{"gateway"}, Roles: []string{"shelter-manager"}, Early: true},
		shelterv1.ShelterService_ConfirmHold_FullMethodName: {Callers: []string{"referral"}},
	}, func() error {
		if closed {
			return fault.New(fault.Unavailable, "Not yet.")
		}
		return nil
	})
	shelterv1.RegisterShelterServiceServer(local, &shelter{
		getHold: func(ctx context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
			kept = r
			if rpc.Caller(ctx) != "gateway" || rpc.Person(ctx).GetPerson() != "nodes/punjab/workers/w" {
				return nil, errors.New("another caller")
			}
			return &shelterv1.Hold{Name: r.GetName()}, nil
		},
	})
	manager := &identityv1.PersonToken{Person: "nodes/punjab/workers/w", Roles: []string{"shelter-manager"}}
	ask := func(caller string, person *identityv1.PersonToken, name string) (*shelterv1.Hold, error) {
		return shelterv1.NewShelterServiceClient(local.From(caller, person)).GetHold(t.Context(), &shelterv1.GetHoldRequest{Name: name})
	}
	request := &shelterv1.GetHoldRequest{Name: hold}
	shown, err := shelterv1.NewShelterServiceClient(local.From("gateway", manager)).GetHold(t.Context(), request)
	if err != nil || shown.GetName() != hold || kept == request {
		t.Errorf("%v, %v; the handler has the caller's own request: %v", shown, err, kept == request)
	}
	confirm := func() error {
		_, err := shelterv1.NewShelterServiceClient(local.From("referral", nil)).ConfirmHold(t.Context(), &shelterv1.ConfirmHoldRequest{Name: hold})
		return err
	}
	closed = true
	for name, c := range map[string]struct {
		err  error
		code codes.Code
	}{
		"another caller": {second(ask("protection", manager, hold)), codes.PermissionDenied},
		"no role":        {second(ask("gateway", &identityv1.PersonToken{}, hold)), codes.PermissionDenied},
		"bad request":    {second(ask("gateway", manager, "hold")), codes.InvalidArgument},
		"early":          {second(ask("gateway", manager, hold)), codes.OK},
		"closed":         {confirm(), codes.Unavailable},
		"no policy": {second(shelterv1.NewShelterServiceClient(local.From("referral", nil)).
			ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: hold})), codes.Unimplemented},
	} {
		if got := status.Code(c.err); got != c.code {
			t.Errorf("%s: %v, want %v", name, c.err, c.code)
		}
	}
}

func second[T any](_ T, err error) error { return err }
