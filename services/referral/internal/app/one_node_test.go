package app_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
)

// local begins a referral between two units of punjab.
func (net *network) local(kind custodyv1.ReferralKind) (name, offer string) {
	net.t.Helper()
	r := submitRequest()
	r.Parent, r.Unit, r.Kind = "nodes/punjab", "nodes/punjab/units/multan", kind
	if kind == forService {
		r.Service = "LEGAL"
	}
	v, err := net.nodes["punjab"].SubmitReferral(context.Background(), r)
	must(net.t, err)
	net.settle()
	return v.GetName(), v.GetOffers()[0].GetName()
}

// A referral inside one province takes the roads of any other: the person comes back to the first unit, from the other unit or from the road,
// or goes on to a third province.
func TestRoadsWithinOneNode(t *testing.T) {
	sent := func(t *testing.T) (*network, *node, string) {
		net, _, punjab, _ := newOwnerNetwork(t)
		name, offer := net.local(placement)
		punjab.accept(offer)
		net.settle()
		must(t, punjab.dispatch(name))
		net.settle()
		return net, punjab, name
	}
	back := func(n *node, name string) error {
		_, err := n.RecordReturn(context.Background(), &referralv1.RecordReturnRequest{Name: name, Reason: "SURVIVOR_WISH"}, actor)
		return err
	}
	t.Run("back from the other unit", func(t *testing.T) {
		net, punjab, name := sent(t)
		wrong(t, punjab.cancel(name), fault.WrongState, "recordReturn")
		must(t, punjab.arrive(name))
		must(t, punjab.serve(name))
		wrong(t, punjab.askBack(name), fault.WrongState, "record the return")
		must(t, back(punjab, name))
		net.settle()
		if v := punjab.get(name); v.GetState() != returned || v.GetNextDeadline() != nil {
			t.Errorf("%v", v)
		}
	})
	t.Run("back from the road", func(t *testing.T) {
		net, punjab, name := sent(t)
		_, err := punjab.assert(name)
		must(t, err)
		must(t, back(punjab, name))
		net.settle()
		net.checkState(name, returned, "punjab")
	})
	t.Run("on to a third province", func(t *testing.T) {
		net, punjab, name := sent(t)
		must(t, punjab.arrive(name))
		_, err := punjab.ask(name, karachi)
		must(t, err)
		net.settle()
		sindh := net.nodes["sindh"]
		sindh.accept(punjab.lastOffer(name).GetName())
		net.settle()
		must(t, punjab.dispatch(name))
		net.settle()
		must(t, sindh.arrive(name))
		net.settle()
		net.checkState(name, hasCome, "punjab", "sindh")
	})
}

// A service that another unit of the same node gives: asked back, planned, given, and closed with its outcome.
func TestAServiceWithinOneNode(t *testing.T) {
	net, _, n, _ := newOwnerNetwork(t)
	ctx := context.Background()
	name, offer := net.local(forService)
	_, err := n.AskQuestion(ctx, &referralv1.AskQuestionRequest{Name: offer, Topic: "HEALTH", Note: theNote}, actor)
	must(t, err)
	net.settle()
	if due := n.get(name).GetNextDeadline().GetKind(); due != referralv1.Deadline_KIND_INFORM {
		t.Errorf("with a question: %v", due)
	}
	_, err = n.AnswerQuestion(ctx, &referralv1.AnswerQuestionRequest{Name: offer, Note: theNote}, actor)
	must(t, err)
	net.settle()
	request := acceptRequest(offer)
	request.Group = ""
	_, err = n.AcceptOffer(ctx, request, actor)
	must(t, err)
	net.settle()
	_, err = n.ProposeSchedule(ctx, &referralv1.ProposeScheduleRequest{Name: offer, MeetTime: timestamppb.New(net.now.Add(1)), Place: theMeeting}, actor)
	must(t, err)
	net.settle()
	_, err = n.GiveService(ctx, &referralv1.GiveServiceRequest{Name: offer, Services: []string{"LEGAL"}}, actor)
	must(t, err)
	net.settle()
	net.checkState(name, inService, "punjab")
	_, err = n.ReportOutcome(ctx, &referralv1.ReportOutcomeRequest{Name: offer, Outcome: "SERVICE_GIVEN", Services: []string{"LEGAL"}}, actor)
	must(t, err)
	net.settle()
	must(t, n.complete(name))
	net.settle()
	v := n.get(name)
	if v.GetState() != completed || v.GetOffers()[0].GetOutcome() != "SERVICE_GIVEN" {
		t.Errorf("%v", v)
	}
}

// Those who go together to another unit of the same node have one hold, leave as one, and each arrives; where one is taken back, nobody goes.
func TestThoseWhoGoTogetherWithinOneNode(t *testing.T) {
	begin := func(t *testing.T) (*network, *node, []*referralv1.Referral) {
		net, _, punjab, _ := newOwnerNetwork(t)
		request := familyRequest()
		request.Parent = "nodes/punjab"
		for _, one := range request.GetRequests() {
			one.Parent, one.Unit = "nodes/punjab", "nodes/punjab/units/multan"
		}
		response, err := punjab.SubmitReferrals(context.Background(), request)
		must(t, err)
		net.settle()
		accept := acceptRequest(response.GetReferrals()[0].GetOffers()[0].GetName())
		for _, v := range response.GetReferrals()[1:] {
			accept.Also = append(accept.Also, &referralv1.AcceptedWith{Offer: v.GetOffers()[0].GetName(), Group: accept.GetGroup()})
		}
		_, err = punjab.AcceptOffer(context.Background(), accept, actor)
		must(t, err)
		net.settle()
		each(response.GetReferrals(), func(name string) { net.checkState(name, promised, "punjab") })
		return net, punjab, response.GetReferrals()
	}
	t.Run("all go", func(t *testing.T) {
		net, punjab, family := begin(t)
		must(t, punjab.dispatch(family[2].GetName()))
		net.settle()
		each(family, func(name string) {
			must(t, punjab.arrive(name))
			net.settle()
			net.checkState(name, hasCome, "punjab")
		})
		if punjab.count("PlaceHold") != 1 || punjab.count("AdmitHold") != 3 || punjab.count("ReleaseHold") != 0 {
			t.Errorf("the shelter was asked %v", punjab.calls)
		}
	})
	t.Run("one is taken back", func(t *testing.T) {
		net, punjab, family := begin(t)
		must(t, punjab.withdraw(family[1].GetOffers()[0].GetName(), "NEEDS_CHANGED"))
		net.settle()
		each(family, func(name string) { net.checkState(name, submitted, "punjab") })
		if punjab.count("ReleaseHold") != 1 {
			t.Errorf("the shelter was asked %v", punjab.calls)
		}
	})
}
