package app_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
)

// askedForService has a node asked for a service, which it will give.
func (net *network) askedForService(n *node) (name, offer string) {
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
	return name, offer
}

// servedBy is askedForService of a node that gave it, and said what came of it.
func (net *network) servedBy(n *node) (name, offer string) {
	net.t.Helper()
	name, offer = net.askedForService(n)
	_, err := n.GiveService(context.Background(), &referralv1.GiveServiceRequest{Name: offer, Services: []string{"LEGAL"}}, actor)
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

// A unit writes down nothing that its owner would refuse: it is told so itself. Its visits leave room for what must be said of the person, and
// what came of it all is always taken.
func TestAUnitSaysNoMoreThanItsOwnerTakes(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	name, offer := net.askedForService(punjab)
	recorded := func() uint64 { return origin.chain(name).State().Sequence }
	fill := func(say func() error) (times uint64) {
		for before := recorded(); times < 200; times++ {
			net.now = net.now.Add(time.Minute)
			kept := punjab.dump()
			if err := say(); err != nil {
				if fault.ReasonOf(err) != fault.WrongState || !slices.Equal(kept, punjab.dump()) || len(net.sent) > 0 {
					t.Errorf("refused with %v, and %d letters", err, len(net.sent))
				}
				break
			}
			net.settle()
			if recorded() != before+times+1 || len(net.refused) > 0 {
				t.Fatalf("of %d replies %d are recorded; the owner refused %q", times+1, recorded()-before, net.refused)
			}
		}
		return times
	}
	visits := fill(func() error {
		_, err := punjab.GiveService(background, &referralv1.GiveServiceRequest{Name: offer, Services: []string{"LEGAL"}}, actor)
		return err
	})
	words := fill(func() error {
		_, err := punjab.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: name, Code: "THREAT", Note: theNote}, actor)
		return err
	})
	if visits < 100 || words < 10 {
		t.Errorf("it says %d visits and %d words", visits, words)
	}
	before := recorded()
	_, err := punjab.ReportOutcome(background, &referralv1.ReportOutcomeRequest{Name: offer, Outcome: "SERVICE_GIVEN", Services: []string{"LEGAL"}}, actor)
	must(t, err)
	net.settle()
	if recorded() == before || len(net.refused) > 0 {
		t.Errorf("what came of it is not recorded; the owner refused %q", net.refused)
	}
}

// Who asked a unit takes no more of it than a chain has room for, and refuses nothing that the chain holds when it is said again.
func TestWhatStandsInTheChainIsNeverTooMuch(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	name, offer := net.askedForService(punjab)
	var said []mail
	for visit := 0; len(net.refused) == 0; visit++ {
		said = append(said, net.says("punjab", "balochistan", name, offer, &custodyv1.Reply{
			Body: &custodyv1.Reply_ServiceGiven{ServiceGiven: &custodyv1.ServiceGiven{Services: []string{"LEGAL", fmt.Sprint(visit)}}},
		}))
		net.settle()
	}
	last := len(said) - 1
	before := origin.dump()
	net.refused, net.sent = nil, slices.Clone(said[:last])
	net.settle()
	if len(net.refused) > 0 || !slices.Equal(before, origin.dump()) {
		t.Errorf("of %d visits that the chain holds %d are refused", last, len(net.refused))
	}
	net.unmoved(origin, "custody.reply.v1: reply-not-valid", func() { net.apply(said[last]) })
}
