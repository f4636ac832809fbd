package protection_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/protection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const node = "balochistan"

// start runs the service as its program does, without hub, NATS and referral service to reach.
func start(t *testing.T, root string) (address string, stop func()) {
	t.Helper()
	return startWith(t, root, func(*protection.Config) {})
}

func startWith(t *testing.T, root string, change func(*protection.Config)) (address string, stop func()) {
	t.Helper()
	c := protection.Config{FederalNode: "federal", Service: config.Service{
		Data: root, Node: node, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", ReferralAddress: "127.0.0.1:1", ShelterAddress: "127.0.0.1:1",
		NATSURL: "tls://127.0.0.1:1", HubURL: "tls://127.0.0.1:1", LogLevel: "error",
	}}
	change(&c)
	s, err := protection.New(t.Context(), c)
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

func dial(t *testing.T, root, as, address string) *grpc.ClientConn {
	t.Helper()
	caller, err := identity.Load(root, node, as)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(address, caller.ClientTLS("protection"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A person is taken in through the real server with everything else away, outlives a restart, and
// each reading stands in the audit log. Who may not ask, is refused.
func TestIntakeRestartAudit(t *testing.T) {
	root := t.TempDir()
	if err := identity.InitNetwork(
		identity.Options{Root: root, Node: node, DisplayName: "Balochistan", Province: "PK-BA", Services: []string{"protection", "referral", "gateway"}},
		identity.Options{Root: root, Node: "federal", DisplayName: "Ministry", Services: []string{"federal"}, Hub: true},
	); err != nil {
		t.Fatal(err)
	}
	gateway, err := identity.Load(root, node, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	as := func(role string) context.Context {
		token, err := gateway.IssueToken(&identityv1.PersonToken{
			Person: "nodes/balochistan/workers/w", Roles: []string{role}, Purpose: "casework", Audience: []string{"protection"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return rpc.WithPersonToken(t.Context(), token)
	}
	address, stop := start(t, root)
	client := protectionv1.NewProtectionServiceClient(dial(t, root, "gateway", address))
	unit := &protectionv1.CreateUnitRequest{Parent: "nodes/balochistan", UnitId: "hub", Unit: &protectionv1.Unit{DisplayName: "Hub", District: "PK-BA-HUB"}}
	if _, err := client.CreateUnit(as("case-worker"), unit, grpc.WaitForReady(true)); status.Code(err) != codes.PermissionDenied {
		t.Fatalf("a case worker enters a unit: %v", err)
	}
	if _, err := client.CreateUnit(as("supervisor"), unit); err != nil {
		t.Fatal(err)
	}
	c, err := client.CreateCase(as("case-worker"), &protectionv1.CreateCaseRequest{
		Parent: "nodes/balochistan", RequestId: "request-1", Case: &protectionv1.Case{
			Unit: "nodes/balochistan/units/hub", Urgency: custodyv1.Urgency_URGENCY_HIGH, FoundDistrict: "PK-BA-HUB",
			Person: &protectionv1.Person{GivenName: "Synthetic", Gender: "Feminine", AgeFrom: 9, AgeTo: 9},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()

	address, stop = start(t, root)
	defer stop()
	client = protectionv1.NewProtectionServiceClient(dial(t, root, "gateway", address))
	again, err := client.GetCase(as("case-worker"), &protectionv1.GetCaseRequest{Name: c.GetName()}, grpc.WaitForReady(true))
	if err != nil || !proto.Equal(again, c) {
		t.Fatalf("after the restart: %v, %v", again, err)
	}
	for name, err := range map[string]error{
		"an analyst": func() error {
			_, err := client.GetCase(as("federal-analyst"), &protectionv1.GetCaseRequest{Name: c.GetName()})
			return err
		}(),
		"the referral service": func() error {
			_, err := protectionv1.NewProtectionServiceClient(dial(t, root, "referral", address)).GetCase(t.Context(),
				&protectionv1.GetCaseRequest{Name: c.GetName()}, grpc.WaitForReady(true))
			return err
		}(),
		"a case worker, of the audit log": func() error {
			_, err := client.ListAuditRows(as("case-worker"), &protectionv1.ListAuditRowsRequest{Parent: "nodes/balochistan"})
			return err
		}(),
	} {
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s is answered: %v", name, err)
		}
	}
	var rows []string
	token := ""
	for {
		page, err := client.ListAuditRows(as("supervisor"), &protectionv1.ListAuditRowsRequest{Parent: "nodes/balochistan", PageSize: 1, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.GetAuditRows() {
			rows = append(rows, row.GetMethod()+" "+row.GetResource())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(rows) != 2 || rows[1] != protectionv1.ProtectionService_GetCase_FullMethodName+" "+c.GetName() {
		t.Fatalf("audit rows: %q", rows)
	}
	listed, err := eventsv1.NewEventServiceClient(dial(t, root, "referral", address)).ListEvents(t.Context(), &eventsv1.ListEventsRequest{}, grpc.WaitForReady(true))
	if err != nil || len(listed.GetEvents()) != 1 || listed.GetEvents()[0].GetSubject() != c.GetName() {
		t.Fatalf("events: %v, %v", listed, err)
	}
}
