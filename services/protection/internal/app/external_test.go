package app_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// Who goes to an agency outside the network is a case here all the way: no dossier leaves, and the outcome, recorded here, closes the case once.
func TestAnAgencyOutsideTheNetwork(t *testing.T) {
	b := newApp(t, home)
	c := b.referred()
	for _, state := range []custodyv1.ReferralState{ready, inTransit, arrived, inService} {
		b.happens("moved", &referralv1.ReferralChanged{
			Referral: referral, State: state, OriginNode: home, OwnerNode: home, CareNode: home, GiverNode: home, OwnerNodes: []string{home},
			Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Offer: referral + "/offers/aa", Unit: b.parent() + "/units/hub", Outside: state != ready,
		})
	}
	c = b.get(c.GetName())
	if c.GetState() != protectionv1.Case_STATE_ACTIVE || !c.GetOutside() || c.GetReferralState() != inService {
		t.Fatalf("while the agency has the person: %v", c)
	}
	b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Referral{Name: referral}, nil })
	closed, err := b.RecordOutcome(t.Context(), &protectionv1.RecordOutcomeRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Outcome: "REUNIFIED", Services: []string{"SHELTER"},
	}, actor)
	if err != nil || closed.GetState() != protectionv1.Case_STATE_CLOSED || closed.GetOutcome() != "REUNIFIED" {
		t.Fatalf("closed: %v, %v", closed, err)
	}
	b.happens("completed", &referralv1.ReferralChanged{
		Referral: referral, State: completed, OriginNode: home, OwnerNode: home, CareNode: home, GiverNode: home, OwnerNodes: []string{home},
		Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Outcome: "REUNIFIED", Outside: true,
	})
	want := []string{"protection.case.created.v1", "protection.case.consented.v1", "protection.case.referred.v1", "protection.case.closed.v1"}
	if got := b.happened(); !slices.Equal(got, want) || b.get(c.GetName()).GetState() != protectionv1.Case_STATE_CLOSED {
		t.Errorf("events: %v", got)
	}
	if dossiers := b.letters.of("protection.dossier.v1"); len(dossiers) != 0 {
		t.Errorf("dossiers left: %v", dossiers)
	}
}
