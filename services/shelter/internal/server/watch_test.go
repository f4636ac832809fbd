package server_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Who watches is told what is there, and then each change of it, in one shelter or in all.
func TestWatchCapacity(t *testing.T) {
	w := newWorld(t)
	one, other := w.create(t, "one", 3), w.create(t, "other", 5)
	watch := func(shelter string) grpc.ServerStreamingClient[shelterv1.CapacityChange] {
		ctx, cancel := context.WithCancel(w.token("case-worker"))
		t.Cleanup(cancel)
		stream, err := w.gateway.WatchCapacity(ctx, &shelterv1.WatchCapacityRequest{Parent: "nodes/punjab", Shelter: shelter})
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	next := func(stream grpc.ServerStreamingClient[shelterv1.CapacityChange], group string, available int32) {
		t.Helper()
		change, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if change.GetGroup().GetName() != group || change.GetGroup().GetAvailable() != available || change.GetLookTime() == nil {
			t.Fatalf("told %v, want %s with %d", change, group, available)
		}
	}
	all, single := watch(""), watch("nodes/punjab/shelters/other")
	next(all, one, 3)
	next(all, other, 5)
	next(single, other, 5)

	hold, err := w.hold(t.Context(), one, "a")
	if err != nil {
		t.Fatal(err)
	}
	next(all, one, 2)
	if _, err := w.referral.ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: hold.GetName()}); err != nil {
		t.Fatal(err)
	}
	next(all, one, 3)
	manager := w.token("shelter-manager")
	if _, err := w.gateway.DeclareFull(manager, &shelterv1.DeclareFullRequest{Name: "nodes/punjab/shelters/other"}); err != nil {
		t.Fatal(err)
	}
	next(all, other, 0)
	next(single, other, 0) // and nothing of the other shelter before it
	if _, err := w.gateway.WithdrawFull(manager, &shelterv1.WithdrawFullRequest{Name: "nodes/punjab/shelters/other"}); err != nil {
		t.Fatal(err)
	}
	next(single, other, 5)
	for name, c := range map[string]struct {
		ctx     context.Context
		client  shelterv1.ShelterServiceClient
		request *shelterv1.WatchCapacityRequest
		want    codes.Code
	}{
		"without a token":             {t.Context(), w.gateway, &shelterv1.WatchCapacityRequest{Parent: "nodes/punjab"}, codes.Unauthenticated},
		"another role":                {w.token("passer-by"), w.gateway, &shelterv1.WatchCapacityRequest{Parent: "nodes/punjab"}, codes.PermissionDenied},
		"another service":             {w.token("case-worker"), w.referral, &shelterv1.WatchCapacityRequest{Parent: "nodes/punjab"}, codes.PermissionDenied},
		"another node":                {w.token("case-worker"), w.gateway, &shelterv1.WatchCapacityRequest{Parent: "nodes/sindh"}, codes.NotFound},
		"a shelter that is not there": {w.token("case-worker"), w.gateway, &shelterv1.WatchCapacityRequest{Parent: "nodes/punjab", Shelter: "nodes/punjab/shelters/none"}, codes.NotFound},
		"no name of a node":           {w.token("case-worker"), w.gateway, &shelterv1.WatchCapacityRequest{Parent: "punjab"}, codes.InvalidArgument},
	} {
		stream, err := c.client.WatchCapacity(c.ctx, c.request)
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
