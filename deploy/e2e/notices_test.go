package e2e

import (
	"context"
	"maps"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// An offer that nobody answers and a waitlist entry that nobody looks at reach the people who answer for
// them, through real processes and NATS; the worker on duty and, where no unit is known, the focal
// point. After every process of the node was killed each is told once.
func TestMissedDeadlinesAreTold(t *testing.T) {
	if testing.Short() {
		t.Skip("needs half a minute of real processes; run without -short")
	}
	t.Parallel()
	c := newCountry(t)
	p := newPeople(t, c.layout)
	c.run(t, func(part network.Part) []string {
		return []string{c.amanat, "part", "--data", c.layout.Root, part.Node, part.Name}
	})
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	r := &canaries{people: p, t: t, ctx: ctx}
	worker := "nodes/" + there + "/workers/lahore-duty"
	rostered(r, worker)
	waited(r)

	referral, err := p.call(ctx, home, network.Protection, methodOf(t, &referralv1.SubmitReferralRequest{}), &referralv1.SubmitReferralRequest{
		Parent: "nodes/" + home, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Urgency: custodyv1.Urgency_URGENCY_HIGH, Reasons: []string{"NO_LOCAL_BED"}, Needs: needs(), Unit: homeUnit, ToUnit: awayUnit,
		Ground: &referralv1.SubmitReferralRequest_Override{Override: &custodyv1.ConsentOverride{
			LegalBasis: "COURT_ORDER", Approver: "nodes/balochistan/workers/everyone",
		}},
		Note: "An order.", RequestId: "submit-0001", AnswerBy: timestamppb.New(time.Now().Add(5 * time.Second)),
		Actor: &custodyv1.Actor{Person: "nodes/" + home + "/workers/everyone", Unit: homeUnit, Service: network.Protection},
	})
	must(t, err)
	told := func() map[string]string {
		page := ask[*protectionv1.ListNoticesResponse](r, there, &protectionv1.ListNoticesRequest{Parent: "nodes/" + there})
		all := map[string]string{}
		for _, n := range page.GetNotices() {
			if n.GetStep() == "ANSWER" && n.GetReference() != referral.(*referralv1.Referral).GetReference() {
				t.Errorf("the notice says %v", n)
			}
			all[n.GetName()] = n.GetStep() + " " + n.GetWorker()
		}
		return all
	}
	var first map[string]string
	eventually(t, "both notices", func() bool { first = told(); return len(first) == 2 })
	want := map[string]bool{"ANSWER " + worker: true, "WAITLIST_REVIEW nodes/" + there + "/workers/lahore-head": true}
	for _, n := range first {
		if !want[n] {
			t.Errorf("told: %v", first)
		}
	}
	for _, part := range c.layout.Parts() {
		if part.Node == there {
			c.supervisor.Kill(part)
		}
	}
	eventually(t, "every process again", func() bool {
		for _, part := range c.layout.Parts() {
			if part.Node == there && c.supervisor.Restarts(part) == 0 {
				return false
			}
		}
		return true
	})
	// One more deadline, so that all events before it were followed again.
	ask[*shelterv1.WaitlistEntry](r, there, entry("waitlist-0002"))
	var after map[string]string
	eventually(t, "a third notice", func() bool { after = told(); return len(after) > 2 })
	maps.DeleteFunc(after, func(name, _ string) bool { return first[name] == "" })
	if len(told()) != 3 || !maps.Equal(after, first) {
		t.Errorf("after the restart: %v, before: %v", told(), first)
	}
	c.stop()
	c.sound(t)
}

// rostered enters the unit at Lahore with a worker who is always on duty, and a focal point.
func rostered(r *canaries, worker string) {
	r.t.Helper()
	ask[*protectionv1.Unit](r, there, &protectionv1.CreateUnitRequest{
		Parent: "nodes/" + there, UnitId: "lahore", Unit: &protectionv1.Unit{DisplayName: "Lahore", District: "PK617"},
	})
	for _, id := range []string{"lahore-duty", "lahore-head"} {
		ask[*protectionv1.Worker](r, there, &protectionv1.CreateWorkerRequest{
			Parent: "nodes/" + there, WorkerId: id, Worker: &protectionv1.Worker{Unit: awayUnit, DisplayName: id, Roles: []string{"case-worker"}},
		})
	}
	unit := &protectionv1.Unit{Name: awayUnit}
	for day := range int32(7) {
		unit.Duty = append(unit.Duty, &protectionv1.DutySpan{Weekday: day + 1, From: "00:00", Until: "24:00", Workers: []string{worker}})
	}
	ask[*protectionv1.Unit](r, there, &protectionv1.UpdateUnitRequest{Unit: unit})
	ask[*protectionv1.Ladder](r, there, &protectionv1.UpdateLadderRequest{
		Ladder: &protectionv1.Ladder{Name: "nodes/" + there + "/ladder", FocalPoint: "nodes/" + there + "/workers/lahore-head"},
	})
}

// waited puts somebody on the waitlist of a shelter at Lahore, to be looked at at once.
func waited(r *canaries) {
	r.t.Helper()
	ask[*shelterv1.Shelter](r, there, &shelterv1.CreateShelterRequest{
		Parent: "nodes/" + there, ShelterId: "lahore-girls", Shelter: &shelterv1.Shelter{
			DisplayName: "Shelter", District: "PK617", Groups: []*shelterv1.Group{{
				Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1,
			}},
		},
	})
	ask[*shelterv1.WaitlistEntry](r, there, entry("waitlist-0001"))
}

func entry(request string) proto.Message {
	return &shelterv1.CreateWaitlistEntryRequest{
		Parent: beds, RequestId: request, WaitlistEntry: &shelterv1.WaitlistEntry{
			Quantity: 1, Needs: needs(), ReviewTime: timestamppb.New(time.Now().Add(5 * time.Second)),
		},
	}
}
