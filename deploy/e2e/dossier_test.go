package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Two sisters are referred together and have a promised place, and their dossiers are there. Consent for one is withdrawn, then her
// referral is cancelled: reading ends for both at the other node, each with its own reason, which stands in chains that verify.
func TestDossiersOfSistersAreClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a network of processes")
	}
	t.Parallel()
	c, r := populated(t)
	sisters := referredTogether(r, 2)
	names := []string{sisters[0].GetReferral(), sisters[1].GetReferral()}
	ask[*referralv1.Offer](r, there, &referralv1.AcceptOfferRequest{
		Name: r.offer(names[0]).GetName(), Group: beds, Worker: &identityv1.WorkerContact{DisplayName: "Synthetic", Phone: "+923001234567"},
		Also: []*referralv1.AcceptedWith{{Offer: r.offer(names[1]).GetName(), Group: beds}},
	})
	for _, name := range names {
		r.state(home, name, custodyv1.ReferralState_REFERRAL_STATE_READY)
	}
	fresh := func(i int) *protectionv1.Case {
		return ask[*protectionv1.Case](r, home, &protectionv1.GetCaseRequest{Name: sisters[i].GetName()})
	}
	eventually(t, "both cases to follow", func() bool {
		return fresh(0).GetReferralState() == custodyv1.ReferralState_REFERRAL_STATE_READY && fresh(1).GetReferralState() == custodyv1.ReferralState_REFERRAL_STATE_READY
	})
	refusal := consent()
	refusal.Decision, refusal.GivenBy = protectionv1.Consent_DECISION_REFUSED, "Synthetic"
	ask[*protectionv1.Case](r, home, &protectionv1.RecordConsentRequest{Name: sisters[0].GetName(), Etag: fresh(0).GetEtag(), Consent: refusal})
	eventually(t, "the closed dossier in the chain", func() bool { return slices.Equal(closedIn(r, names[0]), []string{there + " CONSENT_ENDED"}) })
	if got := closedIn(r, names[1]); len(got) != 0 {
		t.Errorf("the other sister's is closed: %v", got)
	}
	ask[*referralv1.Referral](r, home, &referralv1.CancelReferralRequest{Name: names[0], Reason: "CONSENT_ENDED"})
	eventually(t, "the other sister's closed dossier", func() bool { return slices.Equal(closedIn(r, names[1]), []string{there + " OFFER_ENDED"}) })
	for _, name := range names {
		verified := ask[*referralv1.VerifyReferralResponse](r, home, &referralv1.VerifyReferralRequest{Name: name})
		if !verified.GetSound() {
			t.Errorf("%s: %v", name, verified)
		}
	}
	file := filepath.Join(t.TempDir(), "sister.amanat")
	exported := ask[*referralv1.ExportHandoverResponse](r, home, &referralv1.ExportHandoverRequest{Name: names[0]})
	must(t, os.WriteFile(file, exported.GetFile(), 0o600))
	c.stop()
	c.sound(t)
	if out, err := exec.CommandContext(r.ctx, c.amanat, "verify", "--data", c.layout.Root, file).CombinedOutput(); err != nil {
		t.Errorf("amanat verify: %v: %s", err, out)
	}
}

// populated runs the network's processes, with people who speak to them.
func populated(t *testing.T) (*country, *canaries) {
	t.Helper()
	c := newCountry(t)
	p := newPeople(t, c.layout)
	c.runWithout(t)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return c, &canaries{people: p, t: t, ctx: ctx}
}

// referredTogether takes sisters in at Hub and refers them to Lahore, where there is a bed for each.
func referredTogether(r *canaries, n int) (all []*protectionv1.Case) {
	r.t.Helper()
	for _, at := range []struct{ node, id, district string }{{home, "hub", "PK-BA-HUB"}, {there, "lahore", "PK617"}} {
		ask[*protectionv1.Unit](r, at.node, &protectionv1.CreateUnitRequest{
			Parent: "nodes/" + at.node, UnitId: at.id, Unit: &protectionv1.Unit{DisplayName: "Unit", District: at.district},
		})
	}
	ask[*shelterv1.Shelter](r, there, &shelterv1.CreateShelterRequest{
		Parent: "nodes/" + there, ShelterId: "lahore-girls", Shelter: &shelterv1.Shelter{
			DisplayName: "Shelter", District: "PK617", Groups: []*shelterv1.Group{{
				Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: int32(n),
			}},
		},
	})
	for i := range n {
		all = append(all, takenIn(r, fmt.Sprintf("intake-sister-%d", i)))
	}
	request := &protectionv1.ReferCaseRequest{
		Name: all[0].GetName(), Etag: all[0].GetEtag(), Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Reasons: []string{"NO_LOCAL_BED"}, ToUnit: awayUnit, Needs: needs(),
	}
	for _, other := range all[1:] {
		request.Others = append(request.Others, &protectionv1.OtherCase{Name: other.GetName(), Etag: other.GetEtag(), Needs: needs()})
	}
	ask[*protectionv1.Case](r, home, request)
	eventually(r.t, "a referral for each", func() bool {
		for i, c := range all {
			all[i] = ask[*protectionv1.Case](r, home, &protectionv1.GetCaseRequest{Name: c.GetName()})
		}
		return !slices.ContainsFunc(all, func(c *protectionv1.Case) bool { return c.GetReferral() == "" })
	})
	return all
}

// takenIn takes a girl in at Hub, with consent.
func takenIn(r *canaries, request string) *protectionv1.Case {
	r.t.Helper()
	taken := ask[*protectionv1.Case](r, home, &protectionv1.CreateCaseRequest{
		Parent: "nodes/" + home, RequestId: request, Case: &protectionv1.Case{
			Unit: homeUnit, Urgency: custodyv1.Urgency_URGENCY_HIGH, FoundDistrict: "PK-BA-HUB",
			Person: &protectionv1.Person{GivenName: "Synthetic", Gender: "Feminine", AgeFrom: 9, AgeTo: 9},
		},
	})
	given := consent()
	given.GivenBy = "Synthetic"
	return ask[*protectionv1.Case](r, home, &protectionv1.RecordConsentRequest{Name: taken.GetName(), Etag: taken.GetEtag(), Consent: given})
}

// closedIn are the nodes that say in a chain, as home holds it, that reading ended there, with why.
func closedIn(r *canaries, referral string) (all []string) {
	r.t.Helper()
	chain := ask[*custodyv1.Chain](r, home, &referralv1.GetCustodyChainRequest{Name: referral})
	for _, signed := range chain.GetEvents() {
		e, reply := &custodyv1.Event{}, &custodyv1.Reply{}
		must(r.t, proto.Unmarshal(signed.GetEvent(), e))
		must(r.t, proto.Unmarshal(e.GetReplyRecorded().GetReply().GetReply(), reply))
		if reply.GetDossierClosed() != nil {
			all = append(all, reply.GetNode()+" "+reply.GetDossierClosed().GetReason())
		}
	}
	return all
}
