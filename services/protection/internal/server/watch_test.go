package server_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
)

// Who watches is told what happens to cases, without the persons; who comes back gets what it missed.
func TestWatchCases(t *testing.T) {
	w := newWorld(t)
	gateway := protectionv1.NewProtectionServiceClient(w.place.Dial(t, w.address, rpc.Gateway))
	watch := func(after string) grpc.ServerStreamingClient[protectionv1.CaseNews] {
		ctx, cancel := context.WithCancel(rpc.WithPersonToken(t.Context(), w.place.Token(t, "case-worker", nil)))
		t.Cleanup(cancel)
		stream, err := gateway.WatchCases(ctx, &protectionv1.WatchCasesRequest{Parent: parent, After: after})
		must(t, err)
		return stream
	}
	next := func(stream grpc.ServerStreamingClient[protectionv1.CaseNews]) *protectionv1.CaseNews {
		t.Helper()
		news, err := stream.Recv()
		must(t, err)
		return news
	}
	watching := watch("")
	if first := next(watching); !first.GetReadAnew() || first.GetPosition() == "" || first.GetCase() != "" {
		t.Fatalf("at first: %v", first)
	}
	c := w.taken(t)
	created := next(watching)
	if created.GetCase() != c.GetName() || created.GetEventType() != "protection.case.created.v1" || created.GetState() != c.GetState() ||
		created.GetEtag() != c.GetEtag() || created.GetEventTime() == nil || created.GetReadAnew() {
		t.Errorf("created: %v, want %v", created, c.GetName())
	}
	agreed, err := w.app.RecordConsent(t.Context(), consent(c), nil)
	must(t, err)
	for what, stream := range map[string]grpc.ServerStreamingClient[protectionv1.CaseNews]{"watching": watching, "back": watch(created.GetPosition())} {
		if got := next(stream); got.GetEventType() != "protection.case.consented.v1" || got.GetEtag() != agreed.GetEtag() || got.GetCase() != c.GetName() {
			t.Errorf("%s: %v", what, got)
		}
	}
	if err := privacy.CheckUnmarked((&protectionv1.CaseNews{}).ProtoReflect().Descriptor()); err != nil {
		t.Error(err)
	}
}
