package custody_test

import (
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// A service given that is heard after the completion stands in the chain and reopens nothing; also a chain of an earlier version, in which the
// referral was reopened and completed once more, is read.
func TestAServiceGivenAfterTheCompletion(t *testing.T) {
	c := &custody.Chain{}
	write := func(e *custodyv1.Event) error {
		_, err := c.Append(plainSigner{}, "balochistan", at(e))
		return err
	}
	must := func(e *custodyv1.Event) {
		t.Helper()
		if err := write(e); err != nil {
			t.Fatal(err)
		}
	}
	first, asked := submitted(), toAgency(custodyv1.ReferralKind_REFERRAL_KIND_SERVICE)
	first.GetSubmitted().Kind = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	asked.GetOffered().External, asked.GetOffered().ToNode, asked.GetOffered().ToUnit = nil, "punjab", "nodes/punjab/units/lahore"
	must(first)
	must(asked)
	offer := offerHash(c)
	say := func(r *custodyv1.Reply) {
		t.Helper()
		r.Offer = offer
		must(recorded(c, "", "punjab", r).event)
	}
	given := func(service string) *custodyv1.Reply {
		return &custodyv1.Reply{Body: &custodyv1.Reply_ServiceGiven{ServiceGiven: &custodyv1.ServiceGiven{Services: []string{service}}}}
	}
	completion := func() *custodyv1.Event {
		return &custodyv1.Event{Body: &custodyv1.Event_Completed{Completed: &custodyv1.Completed{Outcome: "SERVICE_GIVEN"}}}
	}
	say(&custodyv1.Reply{Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}})
	say(&custodyv1.Reply{Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{}}})
	must(&custodyv1.Event{Body: &custodyv1.Event_Confirmed{Confirmed: &custodyv1.Confirmed{Offer: offer}}})
	say(&custodyv1.Reply{Body: &custodyv1.Reply_Ready{Ready: &custodyv1.Ready{}}})
	say(given("LEGAL"))
	say(&custodyv1.Reply{Body: &custodyv1.Reply_OutcomeReported{OutcomeReported: &custodyv1.OutcomeReported{Outcome: "SERVICE_GIVEN"}}})
	must(completion())
	if write(completion()) == nil {
		t.Error("completed twice, and nothing was heard since")
	}
	say(given("HEALTH"))
	check := func(when string) {
		t.Helper()
		again, err := custody.Load(c.Message().GetEvents()...)
		if err != nil || again.State().State != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED || len(again.State().ServiceStarted.GetServices()) != 2 {
			t.Errorf("%s it is read as %v: %v", when, again, err)
		}
	}
	check("after the late visit")
	must(completion())
	check("after the second completion")
	if write(completion()) == nil {
		t.Error("completed a third time")
	}
}
