package events_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
)

// What every service serves beside its own RPCs is under the same rules.
func TestBadRequestsForEvents(t *testing.T) {
	place := rpctest.Place{Root: t.TempDir(), Node: "punjab", Service: "shelter"}
	if err := identity.InitNetwork(identity.Options{
		Root: place.Root, Node: "punjab", Province: "PK-PB", Services: []string{"shelter", "referral", "gateway", "protection"},
	}); err != nil {
		t.Fatal(err)
	}
	db := openFile(t, ownerSchema)
	add(t, db, 0, 3)
	policy := rpc.Policy{events.ListEventsMethod: {Callers: []string{"referral"}}}
	s := &rpctest.Suite{
		Place: place, Descriptor: &eventsv1.EventService_ServiceDesc, Policy: policy, Writes: rpctest.Watch(db),
		Address: place.Serve(t, policy, nil, func(r grpc.ServiceRegistrar) {
			eventsv1.RegisterEventServiceServer(r, events.NewServer(db, ownerLog, func(uint64) {}))
		}),
		Calls: map[string]rpctest.Call{"ListEvents": {
			Requests: func(testing.TB) []proto.Message {
				return []proto.Message{&eventsv1.ListEventsRequest{After: 1, PageSize: 1, StoreId: events.StoreID(db)}}
			},
			Except: map[string]rpctest.Exception{
				"after absurd":     rpctest.Accepted("the store was put back to an older copy"),
				"store_id unknown": rpctest.Accepted("of another life of the store, or of another store"),
			},
		}},
	}
	t.Run("input", s.BadInput)
	t.Run("callers", func(t *testing.T) { s.Callers(t, "gateway", "protection") })
}
