package referral_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/referral"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the service as its program does, without hub, NATS and shelter service to reach.
func start(t testing.TB, root string) (address string, stop func()) {
	t.Helper()
	s, err := referral.New(context.Background(), referral.Config{FederalNode: "federal", Service: config.Service{
		Data: root, Node: "punjab", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", ShelterAddress: "127.0.0.1:1",
		NATSURL: "tls://127.0.0.1:1", HubURL: "tls://127.0.0.1:1", LogLevel: "error",
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s.Address().String(), func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func dial(t testing.TB, root, as, address string) *grpc.ClientConn {
	t.Helper()
	caller, err := identity.Load(root, "punjab", as)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(address, caller.ClientTLS("referral"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func request() *referralv1.SubmitReferralRequest {
	return &referralv1.SubmitReferralRequest{
		Parent: "nodes/punjab", Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Urgency: custodyv1.Urgency_URGENCY_HIGH, Reasons: []string{"NO_LOCAL_BED"},
		Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10},
		Ground: &referralv1.SubmitReferralRequest_Consent{Consent: &custodyv1.ConsentReceipt{
			Commitment: make([]byte, 32), Basis: "ORAL_ASSENT_AND_CAREGIVER", Purposes: []string{"PLACEMENT"}, RecordTime: &timestamppb.Timestamp{Seconds: 1772300000},
		}},
		Unit: "nodes/punjab/units/multan", ToUnit: "nodes/punjab/units/lahore", Note: "A note.", RequestId: "request-1",
		Actor: &custodyv1.Actor{Unit: "nodes/punjab/units/multan", Service: "protection"},
	}
}

// With every link down, a referral within the node is submitted, offered by letter to the node
// itself and received; all of it outlives a restart.
func TestSubmitWithEveryLinkDown(t *testing.T) {
	root := t.TempDir()
	if err := identity.InitNetwork(identity.Options{
		Root: root, Node: "punjab", DisplayName: "Punjab", Province: "PK-PB",
		Services: []string{"referral", "protection", "gateway"},
	}, identity.Options{
		Root: root, Node: "federal", DisplayName: "Federal", Services: []string{"federal"}, Hub: true,
	}); err != nil {
		t.Fatal(err)
	}
	address, stop := start(t, root)
	client := referralv1.NewReferralServiceClient(dial(t, root, "protection", address))
	submitted, err := client.SubmitReferral(t.Context(), request(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	// People's steps need a person, and the gateway.
	_, err = client.ConfirmOffer(t.Context(), &referralv1.ConfirmOfferRequest{Name: submitted.GetOffers()[0].GetName()})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("protection confirms by itself: %v", err)
	}
	stop()

	address, stop = start(t, root)
	defer stop()
	conn := dial(t, root, "protection", address)
	// The offer and the answer that it is stored go through the node's own post.
	received := func() bool {
		listed, err := eventsv1.NewEventServiceClient(conn).ListEvents(t.Context(), &eventsv1.ListEventsRequest{}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range listed.GetEvents() {
			if e.GetType() == "referral.offer.received.v1" {
				return true
			}
		}
		return false
	}
	for !received() {
		if t.Context().Err() != nil {
			t.Fatal("the offer was not received")
		}
	}
	again, err := referralv1.NewReferralServiceClient(conn).SubmitReferral(t.Context(), request())
	if err != nil || again.GetName() != submitted.GetName() || again.GetReference() != submitted.GetReference() {
		t.Fatalf("after the restart: %v, %v", again, err)
	}
}

// A node that joins while the service runs can be asked at once.
func TestNodeThatJoinsIsAsked(t *testing.T) {
	root := t.TempDir()
	services := []string{"referral", "protection"}
	if err := identity.InitNetwork(
		identity.Options{Root: root, Node: "punjab", DisplayName: "Punjab", Province: "PK-PB", Services: services},
		identity.Options{Root: root, Node: "federal", DisplayName: "Federal", Services: []string{"federal"}, Hub: true},
	); err != nil {
		t.Fatal(err)
	}
	address, stop := start(t, root)
	defer stop()
	client := referralv1.NewReferralServiceClient(dial(t, root, "protection", address))
	ask := request()
	ask.ToUnit = "nodes/sindh/units/karachi"
	if _, err := client.SubmitReferral(t.Context(), ask, grpc.WaitForReady(true)); status.Code(err) != codes.FailedPrecondition && status.Code(err) != codes.InvalidArgument {
		t.Fatalf("a unit of a node that takes no part: %v", err)
	}

	joins, err := identity.InitNode(identity.Options{Root: root, Node: "sindh", DisplayName: "Sindh", Province: "PK-SD", Services: services})
	if err != nil {
		t.Fatal(err)
	}
	now, err := identity.LoadRoster(root, "punjab")
	if err != nil {
		t.Fatal(err)
	}
	next, err := identity.NextRoster(now.Log(), time.Now(), []*identityv1.NodeRequest{joins}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"punjab", "federal"} {
		if err := identity.SignRoster(root, node, next); err != nil {
			t.Fatal(err)
		}
	}
	log := proto.CloneOf(now.Log())
	log.Versions = append(log.Versions, next)
	if err := identity.InstallRoster(root, "punjab", log); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SubmitReferral(t.Context(), ask); err != nil {
		t.Fatalf("after it joined: %v", err)
	}
}
