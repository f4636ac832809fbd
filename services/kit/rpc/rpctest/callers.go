package rpctest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/rpc"
)

// nobody is a role that no policy names.
const nobody = "passer-by"

// routes are what is wrong with who may call an RPC by its route: people come by REST, and nobody else does.
func (s *Suite) routes(m protoreflect.MethodDescriptor) (faults []string) {
	_, people := s.row(m).May(rpc.Gateway)
	switch routed := proto.HasExtension(m.Options(), annotations.E_Http); {
	case routed && !people:
		faults = append(faults, string(m.Name())+" has a route, and the gateway may not call it: everybody would be refused")
	case !routed && people:
		faults = append(faults, string(m.Name())+" may be called by the gateway, and has no route")
	}
	return faults
}

// Callers tries a valid request of every RPC from each of the node's services that may not call it,
// and with each kind of token that is none.
func (s *Suite) Callers(t *testing.T, services ...string) {
	s.dial(t, services...)
	for _, m := range s.methods(t) {
		t.Run(string(m.Name()), func(t *testing.T) {
			request, err := proto.Marshal(s.Calls[string(m.Name())].Requests(t)[0])
			if err != nil {
				t.Fatal(err)
			}
			try := func(what string, ctx context.Context, as string, want Refusal) {
				t.Run(what, func(t *testing.T) {
					s.Refused(t, s.Unchanged(t, func() error { return s.send(ctx, as, m, request) }), want)
				})
			}
			for _, fault := range s.routes(m) {
				t.Error(fault)
			}
			row := s.row(m)
			valid, caller := s.allowed(t, m)
			for _, other := range services {
				if _, may := row.May(other); !may {
					try("called by "+other, valid, other, Refusal{codes.PermissionDenied, "NOT_ALLOWED", "caller=" + other})
				}
			}
			tokens := func(as string) {
				role := nobody
				if roles, _ := row.May(as); len(roles) > 0 {
					role = roles[0]
					try("without a token by "+as, t.Context(), as, Refusal{codes.Unauthenticated, "UNAUTHENTICATED", ""})
					other := rpc.WithPersonToken(t.Context(), s.tokenFor(t, nobody))
					try("another role by "+as, other, as, Refusal{codes.PermissionDenied, "NOT_ALLOWED", "method=" + fullName(m)})
				}
				for what, token := range s.badTokens(t, role) {
					ctx := t.Context()
					for _, raw := range token {
						ctx = rpc.WithPersonToken(ctx, raw)
					}
					try(what+" by "+as, ctx, as, Refusal{codes.Unauthenticated, "UNAUTHENTICATED", ""})
				}
			}
			tokens(caller)
			if len(row.People) > 0 && caller != rpc.Gateway {
				tokens(rpc.Gateway)
			}
		})
	}
}

// badTokens are tokens that are no good, also where no person is needed.
func (s *Suite) badTokens(t testing.TB, role string) map[string][][]byte {
	t.Helper()
	if s.bad[role] != nil {
		return s.bad[role]
	}
	good := s.tokenFor(t, role)
	forged := &identityv1.SignedPersonToken{}
	if err := proto.Unmarshal(good, forged); err != nil {
		t.Fatal(err)
	}
	forged.Token = bytes.Replace(forged.GetToken(), []byte("/workers/w"), []byte("/workers/x"), 1)
	changed, err := proto.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	old := timestamppb.New(time.Now().Add(-time.Hour))
	s.bad[role] = map[string][][]byte{
		"token expired":               {s.Token(t, role, func(p *identityv1.PersonToken) { p.IssueTime = old })},
		"token of the future":         {s.Token(t, role, func(p *identityv1.PersonToken) { p.IssueTime = timestamppb.New(time.Now().Add(time.Hour)) })},
		"token for another audience":  {s.Token(t, role, func(p *identityv1.PersonToken) { p.Audience = []string{"elsewhere"} })},
		"token forged":                {changed},
		"token issued by the service": {s.issue(t, s.Service, role, nil)},
		"token that is none":          {[]byte("none")},
		"two tokens":                  {good, good},
	}
	return s.bad[role]
}

// Stranger tries every RPC with the certificate that another node gave the service that may call
// it. It trusts our server; our server must not trust it.
func (s *Suite) Stranger(t *testing.T, node string) {
	s.dial(t)
	for _, m := range s.methods(t) {
		t.Run(string(m.Name()), func(t *testing.T) {
			valid, caller := s.allowed(t, m)
			elsewhere := Place{Root: s.Root, Node: node, Service: s.Service}.Load(t, caller)
			config := s.Load(t, caller).ClientTLS(s.Service)
			config.GetClientCertificate = elsewhere.ClientTLS(s.Service).GetClientCertificate
			conn, err := rpc.Dial(s.Address, config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			request, err := proto.Marshal(s.Calls[string(m.Name())].Requests(t)[0])
			if err != nil {
				t.Fatal(err)
			}
			before := s.state()
			if err := call(valid, conn, m, request); status.Code(err) != codes.Unavailable {
				t.Errorf("it is let in: %v", err)
			}
			if after := s.state(); after != before {
				t.Errorf("it changed the store: before %s, after %s", before, after)
			}
		})
	}
}
