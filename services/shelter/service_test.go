package shelter_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/process"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/shelter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the service as its program does, without a NATS to reach, and stops it at the end; ended says why it ends by itself before.
func start(t *testing.T, root string) (address string, stop func(), ended <-chan error) {
	t.Helper()
	s, err := shelter.New(t.Context(), shelter.Config{Service: config.Service{
		Data: root, Node: "punjab", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0",
		NATSURL: "tls://127.0.0.1:1", LogLevel: "error",
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	why := make(chan error, 1)
	go func() { why <- s.Run(ctx); close(why) }()
	return s.Address().String(), func() {
		cancel()
		if err := <-why; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}, why
}

func dial(t *testing.T, root, as, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	caller, err := identity.Load(root, "punjab", as)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(address, caller.ClientTLS("shelter"), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A hold and its events outlive a restart, and holds run out by themselves, with NATS away. Where somebody has read more events than there are,
// the store was put back to an older copy: the service ends, and in its next life promises no bed before it was compared.
func TestRestartAndExpiry(t *testing.T) {
	root := t.TempDir()
	if err := identity.InitNetwork(identity.Options{
		Root: root, Node: "punjab", DisplayName: "Punjab", Province: "PK-PB", Services: []string{"shelter", "referral", "gateway"},
	}); err != nil {
		t.Fatal(err)
	}
	address, stop, _ := start(t, root)
	gateway, err := identity.Load(root, "punjab", "gateway")
	if err != nil {
		t.Fatal(err)
	}
	token, err := gateway.IssueToken(&identityv1.PersonToken{
		Person: "nodes/punjab/workers/manager", Roles: []string{"shelter-manager"}, Purpose: "operations", Audience: []string{"shelter"},
	})
	if err != nil {
		t.Fatal(err)
	}
	created, err := shelterv1.NewShelterServiceClient(dial(t, root, "gateway", address)).CreateShelter(
		rpc.WithPersonToken(t.Context(), token), &shelterv1.CreateShelterRequest{
			Parent: "nodes/punjab", ShelterId: "lahore", Shelter: &shelterv1.Shelter{
				DisplayName: "Lahore", District: "PK617", Groups: []*shelterv1.Group{{
					Name: "girls", Genders: []string{"Feminine"}, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1,
				}},
			},
		}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	request := &shelterv1.PlaceHoldRequest{
		Group: created.GetGroups()[0].GetName(), Quantity: 1, RequestId: "request-1",
		Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9},
	}
	placed, err := shelterv1.NewShelterServiceClient(dial(t, root, "referral", address)).PlaceHold(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	stop()

	address, stop, ended := start(t, root)
	conn := dial(t, root, "referral", address)
	client := shelterv1.NewShelterServiceClient(conn)
	again, err := client.PlaceHold(t.Context(), request, grpc.WaitForReady(true))
	if err != nil || again.GetName() != placed.GetName() || again.GetEtag() != placed.GetEtag() {
		t.Fatalf("after the restart: %v, %v", again, err)
	}
	listed, err := eventsv1.NewEventServiceClient(conn).ListEvents(t.Context(), &eventsv1.ListEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(listed.GetEvents()) != 2 || listed.GetEvents()[1].GetType() != "shelter.hold.placed.v1" || listed.GetEvents()[1].GetSubject() != placed.GetName() {
		t.Fatalf("events: %v", listed)
	}
	if remaining := time.Until(again.GetExpireTime().AsTime()); remaining <= 0 || remaining > 90*time.Minute {
		t.Fatalf("the hold ends in %v", remaining)
	}

	_, err = eventsv1.NewEventServiceClient(conn).ListEvents(t.Context(), &eventsv1.ListEventsRequest{StoreId: listed.GetStoreId(), After: 3})
	if ended := <-ended; status.Code(err) != codes.Unavailable || !errors.Is(ended, process.ErrRolledBack) {
		t.Fatalf("who has read more is told %v, and the service ends with %v", err, ended)
	}
	stop()
	address, stop, _ = start(t, root)
	defer stop()
	conn = dial(t, root, "referral", address)
	request.RequestId = "request-2"
	if _, err := shelterv1.NewShelterServiceClient(conn).PlaceHold(t.Context(), request); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "restored") {
		t.Errorf("a bed is promised by an older copy: %v", err)
	}
	if anew, err := eventsv1.NewEventServiceClient(conn).ListEvents(t.Context(), &eventsv1.ListEventsRequest{}); err != nil || anew.GetStoreId() == listed.GetStoreId() {
		t.Errorf("it lives on as %v, %v", anew.GetStoreId(), err)
	}
}
