package server_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
)

// watcher is a case worker who watches punjab.
type watcher struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[referralv1.ReferralNews]
	stop   func()
}

func (w *world) watch(t *testing.T, after string) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(rpc.WithPersonToken(t.Context(), w.place.Token(t, "case-worker", func(*identityv1.PersonToken) {})))
	t.Cleanup(cancel)
	stream, err := referralv1.NewReferralServiceClient(w.place.Dial(t, w.address, rpc.Gateway)).
		WatchReferrals(ctx, &referralv1.WatchReferralsRequest{Parent: "nodes/punjab", After: after})
	must(t, err)
	return &watcher{t, stream, cancel}
}

func (w *watcher) next() *referralv1.ReferralNews {
	w.t.Helper()
	news, err := w.stream.Recv()
	must(w.t, err)
	return news
}

// until reads up to an event, whose type is told without what all have in common.
func (w *watcher) until(event string) (last *referralv1.ReferralNews, all []*referralv1.ReferralNews) {
	w.t.Helper()
	for last.GetEventType() != "referral."+event+".v1" {
		last = w.next()
		all = append(all, last)
	}
	return last, all
}

// Who watches is told what happens to referrals and offers, with what is needed to know whether a list is still right; who comes
// back gets what it missed.
func TestWatchReferrals(t *testing.T) {
	w := newWorld(t)
	w.recovered(t)
	w.walk(t, asked) // before anybody watches
	watching := w.watch(t, "")
	first := watching.next()
	if !first.GetReadAnew() || first.GetPosition() == "" || first.GetEventType() != "" || first.GetReferral() != "" {
		t.Fatalf("at first: %v", first)
	}
	v := w.walk(t, accepted)
	submitted, _ := watching.until("referral.submitted")
	if submitted.GetReferral() != v.GetName() || submitted.GetOffer() != "" || submitted.GetReferralState() == 0 || submitted.GetReferralEtag() == "" ||
		submitted.GetEventTime() == nil || submitted.GetReadAnew() {
		t.Errorf("submitted: %v", submitted)
	}
	answered, _ := watching.until("offer.accepted")
	offer, err := w.punjab.GetOffer(t.Context(), v.GetOffers()[0].GetName())
	must(t, err)
	if answered.GetOffer() != offer.GetName() || answered.GetOfferState() != offer.GetState() || answered.GetOfferEtag() != offer.GetEtag() || answered.GetReferral() != v.GetName() {
		t.Errorf("accepted: %v, want %v", answered, offer)
	}
	watching.stop()

	done := w.walk(t, inService)
	back := w.watch(t, answered.GetPosition())
	last, all := back.until("referral.in-service")
	if last.GetReferral() != done.GetName() || last.GetReferralState() != done.GetState() || last.GetReferralEtag() != done.GetEtag() {
		t.Errorf("missed: %v, want %s %v", last, done.GetName(), done.GetState())
	}
	seen := map[string]bool{}
	for _, news := range all {
		if seen[news.GetPosition()] || news.GetReadAnew() {
			t.Errorf("told twice, or not what was missed: %v", news)
		}
		seen[news.GetPosition()] = true
	}
	if again, want := w.watch(t, answered.GetPosition()), all[0]; again.next().GetPosition() != want.GetPosition() {
		t.Error("who comes back with one position twice is told something else")
	}
	if got := w.watch(t, "of another life-7").next(); !got.GetReadAnew() || got.GetPosition() != last.GetPosition() && !strings.HasPrefix(got.GetPosition(), strings.Split(last.GetPosition(), "-")[0]) {
		t.Errorf("with an unknown position: %v", got)
	}
}

// The node that asks another knows the offer by the chain alone, the node that is asked may know the offer alone.
func TestWatchOffersOfAnotherNode(t *testing.T) {
	w := newWorld(t)
	w.recovered(t)
	watching := w.watch(t, "")
	watching.next()
	v := w.abroad(t)
	received, _ := watching.until("offer.received")
	if received.GetReferral() != v.GetName() || received.GetOffer() != v.GetOffers()[0].GetName() || received.GetOfferState() == custodyv1.OfferState_OFFER_STATE_UNSPECIFIED || received.GetOfferEtag() == "" {
		t.Errorf("received: %v", received)
	}
}

func TestNewsHoldNothingOfPersons(t *testing.T) {
	if err := privacy.CheckUnmarked((&referralv1.ReferralNews{}).ProtoReflect().Descriptor()); err != nil {
		t.Error(err)
	}
}
