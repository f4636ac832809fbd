package rpc_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// start answers why a server of shelter does not start.
func start(t *testing.T, change func(*rpc.Config), register func(*rpc.Server)) error {
	t.Helper()
	logger, _ := newLogger(t)
	c := rpc.Config{Identity: load(t, "sindh", "shelter"), Log: logger, Policy: rows(shelterv1.ShelterService_ServiceDesc, rpc.Row{Callers: []string{"referral"}}), Audit: noAudit}
	change(&c)
	server, err := rpc.NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	register(server)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // A server that does start ends at once.
	return server.Run(ctx, listen(t), listen(t))
}

func TestServerDoesNotStartUnlessPolicyAndMethodsMatch(t *testing.T) {
	const method = "/amanat.shelter.v1.ShelterService/PlaceHold"
	serveBoth := func(s *rpc.Server) { shelterv1.RegisterShelterServiceServer(s, &shelter{}) }
	for name, c := range map[string]struct {
		change func(*rpc.Config)
		want   string
	}{
		"all is well":         {func(*rpc.Config) {}, ""},
		"method without row":  {func(c *rpc.Config) { delete(c.Policy, method) }, method + " is registered but has no policy row"},
		"row without method":  {func(c *rpc.Config) { c.Policy["/a.B/C"] = rpc.Row{Callers: []string{"referral"}} }, "/a.B/C has a policy row but is not registered"},
		"row without callers": {func(c *rpc.Config) { c.Policy[method] = rpc.Row{} }, method + " has a policy row that names no caller"},
	} {
		t.Run(name, func(t *testing.T) {
			err := start(t, c.change, serveBoth)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestServerDoesNotStartWithoutAuditOfMarkedReplies(t *testing.T) {
	err := start(t, func(c *rpc.Config) {
		c.Audit = nil
		c.Policy = rows(protectionv1.ProtectionService_ServiceDesc, rpc.Row{Callers: []string{"gateway"}})
	}, func(s *rpc.Server) { protectionv1.RegisterProtectionServiceServer(s, &protection{}) })
	if err == nil || !strings.Contains(err.Error(), "Config needs an Audit") {
		t.Errorf("got %v", err)
	}
}

func TestAdminPagesStayOnLoopback(t *testing.T) {
	logger, _ := newLogger(t)
	server, err := rpc.NewServer(rpc.Config{Identity: load(t, "sindh", "shelter"), Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	public, main := listenOn(t, "0.0.0.0:0"), listen(t)
	if err := server.Run(t.Context(), main, public); err == nil || !strings.Contains(err.Error(), "not a loopback address") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyNamedCallersOfThisNode(t *testing.T) {
	impl := &shelter{getHold: func(ctx context.Context, _ *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		return &shelterv1.Hold{Name: rpc.Caller(ctx)}, nil
	}}
	s := serveShelter(t, impl)

	hold, err := shelterv1.NewShelterServiceClient(s.dial("referral", "shelter")).GetHold(t.Context(), aRequest())
	if err != nil || hold.GetName() != "referral" {
		t.Fatalf("a named caller: %v, %v", hold, err)
	}
	_, err = shelterv1.NewShelterServiceClient(s.dial("protection", "shelter")).GetHold(t.Context(), aRequest())
	refused(t, err, codes.PermissionDenied, "REASON_NOT_ALLOWED", "The service protection may not call")

	foreign, err := rpc.Dial(s.addr, load(t, "punjab", "referral").ClientTLS("shelter"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Close() }()
	if _, err := shelterv1.NewShelterServiceClient(foreign).GetHold(t.Context(), aRequest()); err == nil {
		t.Error("a service of another node was let in")
	}
}

func TestHealthAndReflectionNeedNoRowButACertificate(t *testing.T) {
	s := serveShelter(t, &shelter{})
	conn := s.dial("protection", "shelter")
	eventually(t, "serving", func() bool {
		reply, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "amanat.shelter.v1.ShelterService"})
		return err == nil && reply.GetStatus() == healthv1.HealthCheckResponse_SERVING
	})
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	reply, err := stream.Recv()
	if err != nil || len(reply.GetListServicesResponse().GetService()) < 3 {
		t.Errorf("got %v, %v", reply, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

func TestPersonToken(t *testing.T) {
	var person *identityv1.PersonToken
	impl := &shelter{getHold: func(ctx context.Context, _ *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		person = rpc.Person(ctx)
		return &shelterv1.Hold{}, nil
	}}
	now := time.Now()
	s := serveShelter(t, impl, func(c *rpc.Config) {
		c.Policy[shelterv1.ShelterService_GetHold_FullMethodName] = rpc.Row{Callers: []string{"gateway", "referral"}, Roles: []string{"shelter-manager", "supervisor"}}
		c.Now = func() time.Time { return now }
	})
	client := shelterv1.NewShelterServiceClient(s.dial("gateway", "shelter"))
	call := func(raw []byte) error {
		ctx := t.Context()
		if raw != nil {
			ctx = rpc.WithPersonToken(ctx, raw)
		}
		_, err := client.GetHold(ctx, aRequest())
		return err
	}
	good := token(t, nil)
	if err := call(good); err != nil || person.GetPurpose() != "casework" {
		t.Fatalf("a good token: %v, person %v", err, person)
	}
	refused(t, call(nil), codes.Unauthenticated, "REASON_UNAUTHENTICATED", "needs a signed-in person")
	refused(t, call([]byte("not a token")), codes.Unauthenticated, "REASON_UNAUTHENTICATED", "refused")
	other := token(t, func(p *identityv1.PersonToken) { p.Audience = []string{"referral"} })
	refused(t, call(other), codes.Unauthenticated, "REASON_UNAUTHENTICATED", "not meant for this service")
	analyst := token(t, func(p *identityv1.PersonToken) { p.Roles = []string{"federal-analyst"} })
	refused(t, call(analyst), codes.PermissionDenied, "REASON_NOT_ALLOWED", "Your role does not allow this")
	own, err := load(t, "sindh", "referral").IssueToken(&identityv1.PersonToken{
		Person: "nodes/sindh/workers/a", Roles: []string{"supervisor"}, Purpose: "casework", Audience: []string{"shelter"},
	})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, call(own), codes.Unauthenticated, "REASON_UNAUTHENTICATED", "may not")

	now = now.Add(identity.TokenLife + time.Minute)
	refused(t, call(good), codes.Unauthenticated, "REASON_UNAUTHENTICATED", "expired")
}

func TestATokenIsVerifiedAlsoWhereNoneIsNeeded(t *testing.T) {
	impl := &shelter{getHold: func(ctx context.Context, _ *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		return &shelterv1.Hold{Name: rpc.Person(ctx).GetPurpose()}, nil
	}}
	client := shelterv1.NewShelterServiceClient(serveShelter(t, impl).dial("gateway", "shelter"))
	if hold, err := client.GetHold(rpc.WithPersonToken(t.Context(), token(t, nil)), aRequest()); err != nil || hold.GetName() != "casework" {
		t.Errorf("got %v, %v", hold, err)
	}
	_, err := client.GetHold(rpc.WithPersonToken(t.Context(), []byte("x")), aRequest())
	refused(t, err, codes.Unauthenticated, "REASON_UNAUTHENTICATED", "refused")
}
