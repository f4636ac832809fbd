package server_test

import (
	"maps"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/shelter/internal/server"
)

// Only the node's referral service compares, and what is no list is refused whole.
func TestBadComparisons(t *testing.T) {
	r, s := newSuite(t)
	policy := server.Policy()
	maps.DeleteFunc(policy, func(method string, _ rpc.Row) bool {
		return !strings.HasPrefix(method, "/"+shelterv1.ReconcileService_ServiceDesc.ServiceName+"/")
	})
	s.Descriptor, s.Policy = &shelterv1.ReconcileService_ServiceDesc, policy
	s.Calls = map[string]rpctest.Call{
		"BeginReconciliation": {Requests: func(testing.TB) []proto.Message {
			return []proto.Message{&shelterv1.BeginReconciliationRequest{Parent: "nodes/punjab"}}
		}},
		"ReconcileOffers": {
			Requests: func(t testing.TB) []proto.Message {
				h := r.held(t)
				return []proto.Message{&shelterv1.ReconcileOffersRequest{
					Parent: "nodes/punjab", Fence: &custodyv1.Fence{Incarnation: r.db.Incarnation(), Number: h.GetFence().GetNumber()},
					After: strings.Replace(h.GetOffer(), "sindh", "balochistan", 1), Until: h.GetOffer(),
					Offers: []*shelterv1.LiveOffer{{
						Offer: h.GetOffer(), Stage: shelterv1.LiveOffer_STAGE_PROMISED, Hold: h.GetName(), Parts: r.placeHold().GetAlso(),
					}},
				}}
			},
			Except: map[string]rpctest.Exception{
				"fence.incarnation absurd": rpctest.Answered(codes.FailedPrecondition, "the list was begun in another life of the store"),
			},
		},
	}
	s.BadInput(t)
	s.Callers(t, "gateway", "referral", "protection", "federal")
}
