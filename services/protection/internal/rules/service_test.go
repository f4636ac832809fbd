package rules_test

import (
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/protection/internal/rules"
)

const (
	forService = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	completed  = custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
)

// In a referral for a service the person stays: the case goes on where it was taken in, in every state, and is closed, once, where the
// service was given.
func TestServiceInEveryState(t *testing.T) {
	serving := map[custodyv1.ReferralState]bool{
		custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED: true, custodyv1.ReferralState_REFERRAL_STATE_READY: true,
		custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE: true,
	}
	for number := range custodyv1.ReferralState_name {
		state := custodyv1.ReferralState(number)
		e := &referralv1.ReferralChanged{OriginNode: "balochistan", OwnerNode: "balochistan", ToNode: "punjab", State: state, Kind: forService, Sequence: 1}
		if state == completed {
			e.Outcome = "SERVICE_GIVEN"
		}
		home := &protectionv1.Case{State: protectionv1.Case_STATE_ACTIVE, Source: protectionv1.Case_SOURCE_INTAKE, ReferralKind: forService}
		if _, closed := rules.Follow(&protectionv1.CaseRecord{Case: home}, e); closed || home.GetState() != protectionv1.Case_STATE_ACTIVE || home.GetOutcome() != e.GetOutcome() {
			t.Errorf("%v: at home the case is %v", state, home)
		}
		there := &protectionv1.Case{State: protectionv1.Case_STATE_ACTIVE, Source: protectionv1.Case_SOURCE_REFERRAL, ReferralKind: forService}
		record := &protectionv1.CaseRecord{Case: there}
		for again := range 2 {
			if _, closed := rules.Follow(record, e); closed != (state == completed && again == 0) || (there.GetState() == protectionv1.Case_STATE_CLOSED) != (state == completed) {
				t.Errorf("%v, heard %d times: where the service is given the case is %v", state, again+1, there)
			}
		}
		duty := protectionv1.ReceivedDossier_DUTY_UNSPECIFIED
		if serving[state] {
			duty = rules.Promised
		}
		for node, want := range map[string]protectionv1.ReceivedDossier_Duty{"punjab": duty, "balochistan": 0, "sindh": 0} {
			d := &protectionv1.ReceivedDossier{}
			if rules.Hear(d, e, node); d.GetDuty() != want || d.GetArrived() != (want != 0) {
				t.Errorf("%v: at %s the duty is %v", state, node, d)
			}
		}
	}
}

// What the chain says is promised here, and has ended here, is no duty: a dossier that comes after it is not kept. Who has the person has the
// duty of care whatever became of the offer.
func TestAPromiseThatHasEndedHere(t *testing.T) {
	const offer = "nodes/balochistan/referrals/1/offers/2"
	for number := range custodyv1.ReferralState_name {
		for _, kind := range []custodyv1.ReferralKind{forService, custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT} {
			for _, care := range []string{"balochistan", "punjab"} {
				e := &referralv1.ReferralChanged{
					OriginNode: "balochistan", OwnerNode: care, CareNode: care, ToNode: "punjab", Offer: offer, State: custodyv1.ReferralState(number), Kind: kind, Sequence: 7,
				}
				open, over := &protectionv1.ReceivedDossier{}, &protectionv1.ReceivedDossier{}
				rules.Hear(open, e, "punjab")
				e.OfferOver = true
				closing, _ := rules.Hear(over, e, "punjab")
				want, why := open.GetDuty(), ""
				if state := e.GetState(); state == custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED || state == custodyv1.ReferralState_REFERRAL_STATE_READY {
					if want == rules.Promised {
						want, why = rules.Over, "OFFER_ENDED"
					}
				}
				if over.GetDuty() != want || why != "" && closing != why {
					t.Errorf("%v of %v, care at %s: the duty is %v (%s), want %v (%s)", e.GetState(), kind, care, over.GetDuty(), closing, want, why)
				}
			}
		}
	}
}

// A case whose person was served elsewhere goes on, and can be referred again; one whose person was placed elsewhere cannot.
func TestReferredAgainAfterAService(t *testing.T) {
	for number := range custodyv1.ReferralState_name {
		for _, kind := range []custodyv1.ReferralKind{forService, custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT} {
			state := custodyv1.ReferralState(number)
			c := full()
			c.Referral, c.ReferralKind, c.ReferralState = "nodes/balochistan/referrals/1", kind, state
			can := rules.Vain(state) || kind == forService && state == completed
			if err := rules.CheckRefer(c, &custodyv1.ConsentOverride{}, now); (err == nil) != can {
				t.Errorf("%v, %v: referred again: %v", kind, state, err)
			}
		}
	}
}

// The outcome of a service is recorded where the case was taken in.
func TestOutcomeOfAService(t *testing.T) {
	for _, source := range []protectionv1.Case_Source{protectionv1.Case_SOURCE_INTAKE, protectionv1.Case_SOURCE_REFERRAL} {
		for number := range custodyv1.ReferralState_name {
			state := custodyv1.ReferralState(number)
			err := rules.CheckOutcome(&protectionv1.Case{Source: source, ReferralKind: forService, ReferralState: state})
			can := source == protectionv1.Case_SOURCE_INTAKE && state == custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE
			if (err == nil) != can {
				t.Errorf("%v, %v: %v", source, state, err)
			}
		}
	}
}
