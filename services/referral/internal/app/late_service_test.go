package app_test

import (
	"context"
	"slices"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/facts"
)

// servedBy has a node asked for a service, which it gives, and says what came of it.
func (net *network) servedBy(n *node) (name, offer string) {
	net.t.Helper()
	request := submitRequest()
	request.Kind, request.Service = forService, "LEGAL"
	v, err := net.nodes["balochistan"].SubmitReferral(context.Background(), request)
	must(net.t, err)
	net.settle()
	name, offer = v.GetName(), v.GetOffers()[0].GetName()
	accept := acceptRequest(offer)
	accept.Group = ""
	_, err = n.AcceptOffer(context.Background(), accept, actor)
	must(net.t, err)
	net.settle()
	_, err = n.GiveService(context.Background(), &referralv1.GiveServiceRequest{Name: offer, Services: []string{"LEGAL"}}, actor)
	must(net.t, err)
	_, err = n.ReportOutcome(context.Background(), &referralv1.ReportOutcomeRequest{Name: offer, Outcome: "SERVICE_GIVEN", Services: []string{"LEGAL"}}, actor)
	must(net.t, err)
	net.settle()
	return name, offer
}

// A service given that comes after the completion is taken in, once, and reopens nothing: no state is told, no letter is
// refused. What came of it can be said anew, and is told.
func TestAServiceGivenThatComesLate(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	name, offer := net.servedBy(net.nodes["punjab"])
	must(t, origin.complete(name))
	net.settle()
	told := origin.told("referral.referral.in-service.v1", name)
	late := net.says("punjab", "balochistan", name, offer, &custodyv1.Reply{Body: &custodyv1.Reply_ServiceGiven{ServiceGiven: &custodyv1.ServiceGiven{Services: []string{"HEALTH"}}}})
	net.settle()
	net.checkState(name, completed, "balochistan", "punjab")
	if origin.told("referral.referral.in-service.v1", name) != told {
		t.Error("it was told that the referral is in service again")
	}
	if got := net.chain(origin, name).State().ServiceStarted.GetServices(); !slices.Equal(got, []string{"LEGAL", "HEALTH"}) {
		t.Errorf("services in the chain: %v", got)
	}
	sequence := origin.get(name).GetSequence()
	net.sent = append(net.sent, late)
	net.settle()
	if got := origin.get(name).GetSequence(); got != sequence {
		t.Error("the same visit stands twice")
	}
	_, err := origin.CompleteReferral(context.Background(), &referralv1.CompleteReferralRequest{Name: name, Outcome: "REFERRED_ON", Services: []string{"HEALTH"}, Actor: actor})
	must(t, err)
	net.settle()
	if got := net.flows(); !slices.Equal(got, []string{facts.Referred, facts.Accepted, facts.Completed, facts.Service, facts.Completed}) {
		t.Errorf("the flow: %v", got)
	}
}
