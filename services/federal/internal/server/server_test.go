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
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/server"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
	kitstore "amanat.example/services/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newSuite is the federal service behind its real server, with two facts told.
func newSuite(t testing.TB) *rpctest.Suite {
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
	a := &app.App{DB: db, Now: time.Now, Tokens: paging.New([]byte("test")), Member: func(string) bool { return true }}
	for flow, to := range []string{"punjab", "balochistan"} {
		body, err := proto.Marshal(&federalv1.FlowFact{
			FlowId: bytes.Repeat([]byte{byte(flow)}, 16), Stage: federalv1.Stage_STAGE_REFERRED, FromNode: "sindh", ToNode: to, Time: timestamppb.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(t.Context(), func(tx *kitstore.Tx) error {
			return a.TakeFact(tx, &postv1.Address{Node: "sindh", Service: "referral"}, &postv1.Letter{Kind: app.FlowKind, Body: body})
		}); err != nil {
			t.Fatal(err)
		}
	}
	address := place.Serve(t, server.Policy(), nil, func(r grpc.ServiceRegistrar) { federalv1.RegisterFederalServiceServer(r, server.New(a)) })
	return &rpctest.Suite{
		Place: place, Address: address, Descriptor: &federalv1.FederalService_ServiceDesc, Policy: server.Policy(), Writes: rpctest.Watch(db),
		Calls: map[string]rpctest.Call{
			"ListCorridors": {Requests: func(testing.TB) []proto.Message {
				return []proto.Message{&federalv1.ListCorridorsRequest{PageSize: 1, Filter: &federalv1.ListCorridorsRequest_Filter{FromNode: "sindh"}}}
			}},
			"ListLateReports": {Requests: func(testing.TB) []proto.Message {
				return []proto.Message{&federalv1.ListLateReportsRequest{PageSize: 1, Filter: &federalv1.ListLateReportsRequest_Filter{Node: "sindh"}}}
			}},
		},
	}
}

func TestBadInput(t *testing.T) { newSuite(t).BadInput(t) }

func TestBadCallers(t *testing.T) { newSuite(t).Callers(t, "protection", "referral") }

func TestStrangers(t *testing.T) { newSuite(t).Stranger(t, "sindh") }

// A page token is good for the list, the filter and the service that gave it, and no other.
func TestPageTokenOfAnotherFilter(t *testing.T) {
	s := newSuite(t)
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
