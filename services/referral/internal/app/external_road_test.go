package app_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/flow"
)

// On the road: who does not come is looked for, may come after all, or turns round and is here; and who was there may come back.
func TestOnTheRoadToAnAgency(t *testing.T) {
	sent := func(t *testing.T) (*network, *node, string, string) {
		net, origin, _, _ := newOwnerNetwork(t)
		name, offer := net.outside(placement)
		must(t, origin.enter(offer, saysYes()))
		must(t, origin.enter(offer, saysReady()))
		must(t, origin.dispatch(name))
		_, err := origin.CheckIn(context.Background(), &referralv1.CheckInRequest{Name: name, District: "PK-BA-HUB"}, actor)
		must(t, err)
		return net, origin, name, offer
	}
	lost := func(origin *node, name string) error {
		_, err := origin.RecordNoShow(context.Background(), &referralv1.RecordNoShowRequest{Name: name, Note: theNote}, actor)
		return err
	}
	back := func(origin *node, name string) error {
		_, err := origin.RecordReturn(context.Background(), &referralv1.RecordReturnRequest{Name: name, Reason: "SURVIVOR_WISH"}, actor)
		return err
	}
	t.Run("did not come, and came", func(t *testing.T) {
		_, origin, name, offer := sent(t)
		wrong(t, back(origin, name), fault.WrongState, "assertArrival")
		wrong(t, origin.cancel(name), fault.WrongState, "assertArrival")
		must(t, lost(origin, name))
		wrong(t, back(origin, name), fault.WrongState, "assertArrival")
		if due := origin.get(name).GetNextDeadline().GetKind(); due != referralv1.Deadline_KIND_FIND {
			t.Errorf("due: %v", due)
		}
		must(t, origin.enter(offer, saysCame()))
		if v := origin.get(name); v.GetState() != hasCome || v.GetNoShow() != nil || v.GetCareNode() != "balochistan" {
			t.Errorf("%v", v)
		}
	})
	t.Run("turned round", func(t *testing.T) {
		net, origin, name, _ := sent(t)
		if err := origin.arrive(name); fault.ReasonOf(err) != fault.WrongState {
			t.Errorf("an arrival there was recorded as one here: %v", err)
		}
		_, err := origin.assert(name)
		must(t, err)
		v := origin.get(name)
		if v.GetState() != hasCome || v.GetOutside() {
			t.Errorf("%v", v)
		}
		arrivals := origin.eventsOf("referral.referral.arrived.v1") // by which the case stays a case
		told, ok := arrivals[len(arrivals)-1].(*referralv1.ReferralChanged)
		if !ok || told.GetState() != hasCome || told.GetOutside() || told.GetOwnerNode() != told.GetOriginNode() || told.GetToNode() != "" {
			t.Errorf("told: %v", told)
		}
		wrong(t, origin.cancel(name), fault.WrongState, "recordReturn")
		_, err = origin.ask(name, lahore)
		must(t, err)
		net.settle()
		must(t, origin.withdraw(origin.lastOffer(name).GetName(), "NOT_NEEDED"))
		must(t, back(origin, name))
		net.settle()
		net.checkState(name, returned, "balochistan")
	})
	t.Run("did not come, and was found", func(t *testing.T) {
		_, origin, name, _ := sent(t)
		must(t, lost(origin, name))
		_, err := origin.ReportSafety(context.Background(), &referralv1.ReportSafetyRequest{Name: name, Code: "FOUND_SAFE", Found: true}, actor)
		must(t, err)
		if v := origin.get(name); !v.GetFound() || v.GetNextDeadline() != nil {
			t.Errorf("%v", v)
		}
		_, err = origin.assert(name)
		must(t, err)
		if v := origin.get(name); v.GetState() != hasCome || v.GetOutside() || v.GetNextDeadline() == nil {
			t.Errorf("%v", v)
		}
	})
	t.Run("came back", func(t *testing.T) {
		_, origin, name, offer := sent(t)
		must(t, origin.enter(offer, saysCame()))
		wrong(t, origin.cancel(name), fault.WrongState, "recordReturn")
		_, err := origin.assert(name)
		wrong(t, err, fault.WrongState, "recordReturn")
		must(t, back(origin, name))
		if v := origin.get(name); v.GetState() != returned || v.GetOutside() || v.GetNextDeadline() != nil {
			t.Errorf("%v", v)
		}
	})
	t.Run("is at a node after all", func(t *testing.T) {
		net, origin, name, offer := sent(t)
		net.again = false // an arrival that is said again is answered again
		_, err := net.nodes["sindh"].assert(name)
		must(t, err)
		net.settle()
		net.checkState(name, hasCome, "balochistan", "sindh")
		if v := origin.get(name); v.GetCareNode() != "sindh" || v.GetOutside() {
			t.Errorf("%v", v)
		}
		if err := origin.enter(offer, saysCame()); fault.ReasonOf(err) != fault.NotOwner {
			t.Errorf("an arrival entered after it: %v", err)
		}
	})
	t.Run("goes on to a province", func(t *testing.T) {
		net, origin, name, offer := sent(t)
		must(t, origin.enter(offer, saysCame()))
		_, err := origin.ask(name, lahore)
		must(t, err)
		net.settle()
		punjab := net.nodes["punjab"]
		punjab.accept(origin.lastOffer(name).GetName())
		net.settle()
		must(t, origin.dispatch(name))
		net.settle()
		must(t, punjab.arrive(name))
		must(t, punjab.serve(name))
		net.settle()
		net.checkState(name, inService, "balochistan", "punjab")
		net.checkTold(name)
		there := []string{facts.Accepted, facts.Dispatched, facts.Arrived}
		if got := net.flows(); !slices.Equal(got, slices.Concat([]string{facts.Referred}, there, there)) {
			t.Errorf("the flow: %v", got)
		}
		if _, err := punjab.OfferReferral(context.Background(), &referralv1.OfferReferralRequest{Name: name, External: agency(), Etag: punjab.get(name).GetEtag()}, actor); fault.ReasonOf(err) != fault.WrongState {
			t.Errorf("another than the first owner asks an agency: %v", err)
		}
	})
	t.Run("who had the person hears of it at once", func(t *testing.T) {
		net, origin, punjab, _ := newOwnerNetwork(t)
		request := submitRequest()
		request.Urgency = custodyv1.Urgency_URGENCY_LOW
		v, err := origin.SubmitReferral(context.Background(), request)
		must(t, err)
		name := v.GetName()
		for _, step := range []func() error{
			func() error { return nil },
			func() error { punjab.accept(v.GetOffers()[0].GetName()); return nil },
			func() error { return origin.dispatch(name) },
			func() error { return punjab.arrive(name) },
			func() error { return origin.askBack(name) },
			func() error { return punjab.confirm(punjab.lastOffer(name).GetName()) },
			func() error { return punjab.dispatch(name) },
			func() error { return origin.arrive(name) },
			func() error { return origin.askAgency(name) },
			func() error { return origin.enter(origin.lastOffer(name).GetName(), saysYes()) },
			func() error { return origin.enter(origin.lastOffer(name).GetName(), saysReady()) },
			func() error { return origin.dispatch(name) },
		} {
			must(t, step())
			net.settle()
		}
		must(t, origin.enter(origin.lastOffer(name).GetName(), saysCame()))
		if len(net.sent) != 2 || net.sent[0].out.To.GetNode() != "punjab" || net.sent[0].out.Lane != postv1.Lane_LANE_URGENT || net.sent[1].out.Kind != flow.FactsKind {
			t.Errorf("letters: %v", net.sent)
		}
		net.settle()
		net.checkState(name, hasCome, "balochistan", "punjab")
	})
	t.Run("an arrival is corrected", func(t *testing.T) {
		_, origin, name, offer := sent(t)
		must(t, origin.enter(offer, saysCame()))
		head := origin.head(name)
		_, err := origin.CorrectReferral(context.Background(), &referralv1.CorrectReferralRequest{Name: name, Supersedes: head, Body: &referralv1.CorrectReferralRequest_Arrived{
			Arrived: &custodyv1.Arrived{Identification: []string{"OWN_STATEMENT"}, ArriveTime: timestamppb.New(origin.net.now.Add(-time.Hour))},
		}}, actor)
		must(t, err)
		if s := origin.chain(name).State(); !slices.Equal(s.Arrived.GetIdentification(), []string{"OWN_STATEMENT"}) || s.State != hasCome || !s.Outside {
			t.Errorf("%v", s.Arrived)
		}
	})
}
