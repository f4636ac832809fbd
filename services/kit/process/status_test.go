package process

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/kit/store"
)

// statusPlace is a referral service of sindh that runs without a hub, as far as its operator sees it.
func statusPlace(t *testing.T, closed func() error) (*Process, *post.Post, rpctest.Place) {
	t.Helper()
	place := rpctest.Place{Root: t.TempDir(), Node: "sindh", Service: "referral"}
	if err := identity.InitNetwork(
		identity.Options{Root: place.Root, Node: "sindh", Province: "PK-SD", Services: []string{"referral", "shelter", "gateway"}},
		identity.Options{Root: place.Root, Node: "federal", Services: []string{"federal"}, Hub: true},
	); err != nil {
		t.Fatal(err)
	}
	schema := store.NewSchema("referral", 1)
	log, letters := events.Declare(schema, "referral", nil), post.Declare(schema)
	p := openAt(t, place.Root, Options{
		Name: "referral", Schema: schema, Events: log, Closed: closed,
		Status: func(_ store.Reader, s *statusv1.Status) error {
			s.MissedDeadlines, s.UnheededDeadlines, s.AwaitedNodes = 3, 1, []string{"punjab"}
			return nil
		},
	})
	sent, err := p.OpenPost(letters, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, p)
	return p, sent, place
}

// The operator learns how a service and its links stand, also while the service is not ready.
func TestStatus(t *testing.T) {
	var why atomic.Pointer[string]
	p, sent, place := statusPlace(t, func() error {
		if why.Load() != nil {
			return errors.New(*why.Load())
		}
		return nil
	})
	before := time.Now()
	err := p.DB.Update(t.Context(), func(tx *store.Tx) error {
		to := &postv1.Address{Node: "federal", Service: "federal"}
		return errors.Join(
			sent.Queue(tx, post.Outgoing{To: to, Lane: postv1.Lane_LANE_BULK, Kind: "test.v1", Body: &timestamppb.Timestamp{}}),
			sent.Queue(tx, post.Outgoing{To: to, Lane: postv1.Lane_LANE_BULK, Kind: "test.v1", Body: &timestamppb.Timestamp{}}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	client := statusv1.NewStatusServiceClient(place.Dial(t, p.Address().String(), rpctest.Operator))
	got, err := client.GetStatus(t.Context(), &statusv1.GetStatusRequest{})
	for strings.HasPrefix(got.GetNotReady(), "not serving") { // it takes calls a moment before it says that it is ready
		got, err = client.GetStatus(t.Context(), &statusv1.GetStatusRequest{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetLinks()) != 1 {
		t.Fatalf("links: %v", got.GetLinks())
	}
	if age := got.GetLinks()[0].GetOldestQueueTime().AsTime(); age.Before(before) || age.After(time.Now()) {
		t.Errorf("the oldest letter was queued at %v", age)
	}
	if got.GetStartTime() == nil {
		t.Error("when it began is missing")
	}
	got.GetLinks()[0].OldestQueueTime, got.StartTime = nil, nil
	want := &statusv1.Status{
		Incarnation: p.DB.Incarnation(), RosterVersion: 1, HubReached: proto.Bool(false), MissedDeadlines: 3, UnheededDeadlines: 1, AwaitedNodes: []string{"punjab"},
		Links: []*statusv1.LinkStatus{{
			Peer: &postv1.Address{Node: "federal", Service: "federal"}, Lane: postv1.Lane_LANE_BULK, Outgoing: true, QueuedLetters: 2,
		}},
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}

	reason := "it was restored and not compared yet"
	why.Store(&reason)
	if got, err = client.GetStatus(t.Context(), &statusv1.GetStatusRequest{}); err != nil || got.GetNotReady() != reason {
		t.Errorf("%v %v", got, err)
	}
}

// Bad requests for a status change nothing, and nobody but the operator gets one.
func TestBadRequestsForStatus(t *testing.T) {
	p, _, place := statusPlace(t, nil)
	s := &rpctest.Suite{
		Place: place, Descriptor: &statusv1.StatusService_ServiceDesc, Policy: p.policy, Writes: rpctest.Watch(p.DB, p.Keys.Store()),
		Address: p.Address().String(),
		Calls: map[string]rpctest.Call{"GetStatus": {
			Requests: func(testing.TB) []proto.Message { return []proto.Message{&statusv1.GetStatusRequest{}} },
		}},
	}
	t.Run("input", s.BadInput)
	t.Run("callers", func(t *testing.T) { s.Callers(t, "gateway", "shelter") })
}
