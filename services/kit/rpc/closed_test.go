package rpc_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
)

// A service that is closed answers nothing but early methods, says why, and is not ready; then it opens without a restart.
func TestClosedService(t *testing.T) {
	var opened atomic.Bool
	s := serveShelter(t, &shelter{
		getHold: func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
			return &shelterv1.Hold{}, nil
		},
		placeHold: func(context.Context, *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
			t.Error("a closed service was called")
			return nil, nil
		},
	}, func(c *rpc.Config) {
		c.Policy[shelterv1.ShelterService_GetHold_FullMethodName] = rpc.Row{Callers: []string{"referral", "gateway"}, Early: true}
		c.Closed = func() error {
			if opened.Load() {
				return nil
			}
			return fault.New(fault.Unavailable, "Restored; try again in a moment.")
		}
	})
	conn := s.dial("gateway", "shelter")
	client := shelterv1.NewShelterServiceClient(conn)
	ready := func() int {
		response, err := http.Get(s.admin + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	_, err := client.ListHolds(t.Context(), &shelterv1.ListHoldsRequest{Parent: "nodes/sindh"})
	refused(t, err, codes.Unavailable, "REASON_UNAVAILABLE", "Restored")
	if _, err := client.GetHold(t.Context(), aRequest()); err != nil {
		t.Errorf("an early method: %v", err)
	}
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("readyz while closed: %d", got)
	}
	// Who may not call learns nothing of it.
	_, err = shelterv1.NewShelterServiceClient(s.dial("protection", "shelter")).ListHolds(t.Context(), &shelterv1.ListHoldsRequest{Parent: "nodes/sindh"})
	refused(t, err, codes.PermissionDenied, "REASON_NOT_ALLOWED", "may not call")
	opened.Store(true)
	if _, err := client.ListHolds(t.Context(), &shelterv1.ListHoldsRequest{Parent: "nodes/sindh"}); err == nil || fault.ReasonOf(err) == fault.Unavailable {
		t.Errorf("opened: %v", err)
	}
	if got := ready(); got != http.StatusOK {
		t.Errorf("readyz when open: %d", got)
	}
}
