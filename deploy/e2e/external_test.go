package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

// A girl of Hub goes to an organisation outside the network: it is asked by telephone and what it says is entered at Hub; the file that its escort
// carries verifies offline and has the chain alone; her case stays at Hub, is closed there with the outcome, and the federal cell counts the flow.
func TestAgencyOutsideTheNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a network of processes")
	}
	t.Parallel()
	c, r := populated(t)
	ask[*protectionv1.Unit](r, home, &protectionv1.CreateUnitRequest{
		Parent: "nodes/" + home, UnitId: "hub", Unit: &protectionv1.Unit{DisplayName: "Unit", District: "PK-BA-HUB"},
	})
	girl := takenIn(r, "intake-outside")
	fresh := func() *protectionv1.Case {
		return ask[*protectionv1.Case](r, home, &protectionv1.GetCaseRequest{Name: girl.GetName()})
	}
	ask[*protectionv1.Case](r, home, &protectionv1.ReferCaseRequest{
		Name: girl.GetName(), Etag: girl.GetEtag(), Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER", Reasons: []string{"NO_LOCAL_BED"},
		Needs: needs(), External: &custodyv1.Agency{Kind: "NGO", DisplayName: "Synthetic home", Phone: "+923001234567"},
	})
	eventually(t, "the referral", func() bool { return fresh().GetReferral() != "" })
	referral := fresh().GetReferral()
	r.enterAnswers(referral)
	eventually(t, "the case to follow", func() bool { return fresh().GetReferralState() == custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE })
	if there := fresh(); !there.GetOutside() || there.GetState() != protectionv1.Case_STATE_ACTIVE {
		t.Errorf("while the agency has her, her case: %v", there)
	}
	ask[*protectionv1.Case](r, home, &protectionv1.RecordOutcomeRequest{
		Name: girl.GetName(), Etag: fresh().GetEtag(), Outcome: "REUNIFIED", Services: []string{"SHELTER"},
	})
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_COMPLETED)
	r.countedOutside()

	exported := ask[*referralv1.ExportHandoverResponse](r, home, &referralv1.ExportHandoverRequest{Name: referral})
	carried := &referralv1.HandoverFile{}
	must(t, custody.DecodeFile(exported.GetFile(), carried))
	if len(carried.GetSealedAnnexes()) != 0 || carried.GetToNode() != "" {
		t.Errorf("the file goes to %q and has %d annexes", carried.GetToNode(), len(carried.GetSealedAnnexes()))
	}
	file := filepath.Join(t.TempDir(), "girl.amanat")
	must(t, os.WriteFile(file, exported.GetFile(), 0o600))
	c.stop()
	c.sound(t)
	if out, err := exec.CommandContext(r.ctx, c.amanat, "verify", "--data", c.layout.Root, file).CombinedOutput(); err != nil {
		t.Errorf("amanat verify: %v: %s", err, out)
	}
}

// enterAnswers enters what an agency says from its acceptance to the outcome, and sends the person there.
func (r *canaries) enterAnswers(referral string) {
	r.t.Helper()
	offer := r.read(home, referral).GetOffers()[0].GetName()
	say := func(request *referralv1.RecordExternalAnswerRequest, want custodyv1.ReferralState) {
		r.t.Helper()
		request.Name, request.Means = offer, "PHONE"
		if got := ask[*referralv1.Referral](r, home, request); got.GetState() != want || got.GetOwnerNode() != home || got.GetCareNode() != home {
			r.t.Fatalf("after %T: %v, want %v with owner and duty of care at %s", request.GetAnswer(), got, want, home)
		}
	}
	say(&referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Accepted{
		Accepted: &referralv1.ExternalAcceptance{Worker: &identityv1.WorkerContact{DisplayName: "Synthetic", Phone: "+923001234567"}},
	}}, custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED)
	say(&referralv1.RecordExternalAnswerRequest{
		Answer: &referralv1.RecordExternalAnswerRequest_Ready{Ready: &referralv1.ExternalPromise{}},
	}, custodyv1.ReferralState_REFERRAL_STATE_READY)
	ask[*referralv1.Referral](r, home, &referralv1.DispatchReferralRequest{
		Name: referral, ExpectTime: timestamppb.New(time.Now().Add(24 * time.Hour)),
		Escort: &custodyv1.Escort{DisplayName: "Synthetic", Phone: "+923001234567", MeetingPlace: "Synthetic", MeetingTime: timestamppb.Now()},
	})
	say(&referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Arrived{
		Arrived: &referralv1.ExternalArrival{Identification: []string{"OWN_STATEMENT"}},
	}}, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED)
	say(&referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_ServiceGiven{
		ServiceGiven: &referralv1.ExternalService{Services: []string{"SHELTER"}},
	}}, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE)
	say(&referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_OutcomeReported{
		OutcomeReported: &referralv1.ExternalOutcome{Outcome: "REUNIFIED", Services: []string{"SHELTER"}},
	}}, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE)
}

// countedOutside waits until the federal cell counts one flow at every stage, to no node.
func (r *canaries) countedOutside() {
	r.t.Helper()
	want := map[federalv1.Stage]int64{
		federalv1.Stage_STAGE_IDENTIFIED: 1, federalv1.Stage_STAGE_REFERRED: 1, federalv1.Stage_STAGE_ACCEPTED: 1,
		federalv1.Stage_STAGE_DISPATCHED: 1, federalv1.Stage_STAGE_ARRIVED: 1, federalv1.Stage_STAGE_COMPLETED: 1,
	}
	var counted map[federalv1.Stage]int64
	eventually(r.t, "the federal count", func() bool {
		counted = map[federalv1.Stage]int64{}
		for _, c := range ask[*federalv1.ListCorridorsResponse](r, network.FederalNode, &federalv1.ListCorridorsRequest{}).GetCorridors() {
			if c.GetFromNode() == home && c.GetToNode() == "" {
				counted[c.GetStage()] += c.GetFlows()
			} else {
				r.t.Fatalf("a flow that nobody made: %v", c)
			}
		}
		return maps.Equal(counted, want)
	})
}
