package server_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/server"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
	kitstore "amanat.example/services/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newSuite is the federal service behind its real server, with three facts told, of which one is of a month that is published.
func newSuite(t testing.TB, descriptor *grpc.ServiceDesc, calls map[string]rpctest.Call) *rpctest.Suite {
	t.Helper()
	place := rpctest.Place{Root: t.TempDir(), Node: "federal", Service: "federal"}
	if err := identity.InitNetwork(
		identity.Options{Root: place.Root, Node: "federal", Services: []string{"federal", "gateway", "protection", "referral"}},
		identity.Options{Root: place.Root, Node: "sindh", Province: "PK-SD", Services: []string{"gateway"}},
	); err != nil {
		t.Fatal(err)
	}
	db, err := kitstore.Open(context.Background(), kitstore.Options{Path: filepath.Join(t.TempDir(), "federal.db"), Schema: store.Schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := db.Check(context.Background())
		if err := errors.Join(err, report.Err(), db.Close()); err != nil {
			t.Errorf("the store: %v", err)
		}
	})
	a := &app.App{
		DB: db, Node: "federal", Now: time.Now, Clock: time.Now, Tokens: paging.New([]byte("test")), Member: func(string) bool { return true },
		Province: func(string) string { return "PK-SD" }, Tellers: func() []*postv1.Address { return nil },
		OwnLinks: func(context.Context) (*federalv1.LinkStates, error) { return &federalv1.LinkStates{}, nil },
	}
	times := []time.Time{time.Now(), time.Now(), time.Date(2026, 1, 15, 8, 0, 0, 0, time.UTC)}
	for i, to := range []string{"punjab", "balochistan", "punjab"} {
		body, err := proto.Marshal(&federalv1.Facts{Facts: []*federalv1.Fact{{
			FlowId: bytes.Repeat([]byte{byte(i)}, 16), Kind: facts.Referred, FromNode: "sindh", ToNode: to, EventTime: timestamppb.New(times[i]),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(t.Context(), func(tx *kitstore.Tx) error {
			return a.TakeFacts(tx, &postv1.Address{Node: "sindh", Service: "referral"}, &postv1.Letter{Kind: flow.FactsKind, Body: body})
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.RevisePublications(t.Context(), &federalv1.RevisePublicationsRequest{
		Reason: federalv1.RevisionReason_REVISION_REASON_CORRECTIONS, RequestId: "of-the-suite",
	}, ""); err != nil {
		t.Fatal(err)
	}
	// It was restored since: what it published in January's second edition is lost.
	if err := db.RaiseIncarnation(t.Context(), db.Incarnation()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if withheld, err := a.BeginLife(t.Context()); err != nil || !withheld {
			t.Fatal(withheld, err)
		}
	}
	if _, err := a.ResumePublications(t.Context(), &federalv1.ResumePublicationsRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	address := place.Serve(t, server.Policy(), nil, func(r grpc.ServiceRegistrar) {
		federalv1.RegisterFederalServiceServer(r, server.New(a))
		federalv1.RegisterFiguresServiceServer(r, server.NewFigures(a))
		federalv1.RegisterPublicationServiceServer(r, server.NewPublications(a))
	})
	return &rpctest.Suite{
		Place: place, Address: address, Descriptor: descriptor, Policy: server.Policy(), Writes: rpctest.Watch(db),
		Calls: calls,
	}
}

// one is a call with one good request.
func one(request proto.Message) rpctest.Call {
	return rpctest.Call{Requests: func(testing.TB) []proto.Message { return []proto.Message{request} }}
}

func federalSuite(t testing.TB) *rpctest.Suite {
	return newSuite(t, &federalv1.FederalService_ServiceDesc, map[string]rpctest.Call{
		"ListCorridors":   one(&federalv1.ListCorridorsRequest{PageSize: 1, Filter: &federalv1.ListCorridorsRequest_Filter{FromNode: "sindh"}}),
		"ListLateReports": one(&federalv1.ListLateReportsRequest{PageSize: 1, Filter: &federalv1.ListLateReportsRequest_Filter{Node: "sindh"}}),
	})
}

func figuresSuite(t testing.TB) *rpctest.Suite {
	return newSuite(t, &federalv1.FiguresService_ServiceDesc, map[string]rpctest.Call{
		"GetFigures": one(&federalv1.GetFiguresRequest{Name: "figures/2026-01..2026-12"}),
		"ListDays":   one(&federalv1.ListDaysRequest{PageSize: 1, Filter: &federalv1.ListDaysRequest_Filter{Node: "sindh", Differing: true}}),
		"ListLinks":  one(&federalv1.ListLinksRequest{PageSize: 1, Filter: &federalv1.ListLinksRequest_Filter{Node: "sindh"}}),
	})
}

const published = "publications/2026-01-e1"

func publicationSuite(t testing.TB) *rpctest.Suite {
	return newSuite(t, &federalv1.PublicationService_ServiceDesc, map[string]rpctest.Call{
		"ListPublications":   one(&federalv1.ListPublicationsRequest{PageSize: 1, Filter: &federalv1.ListPublicationsRequest_Filter{Month: "2026-01", Newest: true}}),
		"GetPublication":     one(&federalv1.GetPublicationRequest{Name: published}),
		"ExportPublication":  one(&federalv1.ExportPublicationRequest{Name: published, Format: federalv1.PublicationFormat_PUBLICATION_FORMAT_XLSX}),
		"ResumePublications": one(&federalv1.ResumePublicationsRequest{Lost: []string{"publications/2026-01-e2"}}),
		"RevisePublications": {
			Requests: one(&federalv1.RevisePublicationsRequest{Reason: federalv1.RevisionReason_REVISION_REASON_LATE_LETTERS, RequestId: "revision-1"}).Requests,
			Except:   map[string]rpctest.Exception{"request_id unknown": rpctest.Accepted("a key may be any text")},
		},
	})
}

var suites = map[string]func(testing.TB) *rpctest.Suite{"federal": federalSuite, "figures": figuresSuite, "publications": publicationSuite}

func each(t *testing.T, test func(t *testing.T, s *rpctest.Suite)) {
	for name, suite := range suites {
		t.Run(name, func(t *testing.T) { test(t, suite(t)) })
	}
}

func TestBadInput(t *testing.T) { each(t, func(t *testing.T, s *rpctest.Suite) { s.BadInput(t) }) }

func TestBadCallers(t *testing.T) {
	each(t, func(t *testing.T, s *rpctest.Suite) { s.Callers(t, "gateway", "protection", "referral") })
}

func TestStrangers(t *testing.T) {
	each(t, func(t *testing.T, s *rpctest.Suite) { s.Stranger(t, "sindh") })
}

// A page token is good for the list, the filter and the service that gave it, and no other.
func TestPageTokenOfAnotherFilter(t *testing.T) {
	s := federalSuite(t)
	client := federalv1.NewFederalServiceClient(s.Dial(t, s.Address, "gateway"))
	ctx := rpc.WithPersonToken(t.Context(), s.Token(t, "federal-analyst", nil))
	request := &federalv1.ListCorridorsRequest{PageSize: 1}
	first, err := client.ListCorridors(ctx, request)
	if err != nil || first.GetNextPageToken() == "" {
		t.Fatalf("%v, %v", first, err)
	}
	request.PageToken = first.GetNextPageToken()
	if second, err := client.ListCorridors(ctx, request); err != nil || len(second.GetCorridors()) != 1 {
		t.Fatalf("%v, %v", second, err)
	}
	for name, change := range map[string]func(r *federalv1.ListCorridorsRequest){
		"another filter": func(r *federalv1.ListCorridorsRequest) {
			r.Filter = &federalv1.ListCorridorsRequest_Filter{FromNode: "sindh"}
		},
		"one letter changed": func(r *federalv1.ListCorridorsRequest) {
			token := []byte(r.GetPageToken())
			token[3] ^= 1
			r.PageToken = string(token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := proto.CloneOf(request)
			change(r)
			err := s.Unchanged(t, func() error { _, err := client.ListCorridors(ctx, r); return err })
			s.Refused(t, err, rpctest.Refusal{Code: codes.InvalidArgument, Reason: "INVALID_FIELD", Names: "page_token"})
		})
	}
}

// What is published is for everybody, also for nobody: the gateway reads it for who is not signed in, and for any role. Nobody but an analyst publishes.
func TestWhatIsPublishedIsForEverybody(t *testing.T) {
	s := publicationSuite(t)
	client := federalv1.NewPublicationServiceClient(s.Dial(t, s.Address, "gateway"))
	for _, role := range []string{"", "case-worker", "federal-analyst"} {
		ctx := t.Context()
		if role != "" {
			ctx = rpc.WithPersonToken(ctx, s.Token(t, role, nil))
		}
		list, err := client.ListPublications(ctx, &federalv1.ListPublicationsRequest{})
		if err != nil || len(list.GetPublications()) != 1 {
			t.Fatalf("%q: %v, %v", role, list, err)
		}
		p, err := client.GetPublication(ctx, &federalv1.GetPublicationRequest{Name: list.GetPublications()[0].GetName()})
		if err != nil || len(p.GetTables()) != 11 || p.GetName() != published {
			t.Fatalf("%q: %v, %v", role, p, err)
		}
		file, err := client.ExportPublication(ctx, &federalv1.ExportPublicationRequest{Name: published})
		if err != nil || !bytes.HasPrefix(file.GetData(), []byte("month,edition,table,")) {
			t.Fatalf("%q: %v, %v", role, file, err)
		}
		_, err = client.RevisePublications(ctx, &federalv1.RevisePublicationsRequest{
			Reason: federalv1.RevisionReason_REVISION_REASON_LATE_LETTERS, RequestId: "revision-2",
		})
		if (err == nil) != (role == "federal-analyst") {
			t.Errorf("%q publishes: %v", role, err)
		}
	}
	if _, err := client.GetPublication(t.Context(), &federalv1.GetPublicationRequest{Name: "publications/2026-01-e3"}); status.Code(err) != codes.NotFound {
		t.Errorf("an edition that is none: %v", err)
	}
}
