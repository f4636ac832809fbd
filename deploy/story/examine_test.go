package story

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/scenario"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Names of a year of two: one went from sindh to punjab and is there, one gets a service at home.
const moved, served = "nodes/sindh/referrals/moved", "nodes/sindh/referrals/served"

func movedReferral() *referralv1.Referral {
	return &referralv1.Referral{
		Name: moved, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, State: inService, OwnerNode: "punjab", Head: []byte("moved"), Sequence: 9,
		Offers: []*referralv1.Offer{{ToNode: "punjab", State: custodyv1.OfferState_OFFER_STATE_FULFILLED}},
	}
}

func servedReferral() *referralv1.Referral {
	return &referralv1.Referral{
		Name: served, Kind: custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, State: completed, OwnerNode: "sindh", Head: []byte("served"), Sequence: 9,
		Offers: []*referralv1.Offer{{ToNode: "punjab", State: custodyv1.OfferState_OFFER_STATE_FULFILLED}},
	}
}

// wholeYear is the evidence of a year in which all went well.
func wholeYear() *yearEvidence {
	e := &yearEvidence{
		year: &scenario.Year{Cases: []scenario.Case{{Node: "sindh"}, {Node: "sindh"}, {Node: "punjab"}}},
		referrals: map[string]map[string]*referralv1.Referral{
			"sindh": {moved: movedReferral(), served: servedReferral()}, "punjab": {moved: movedReferral()},
		},
		cases: map[string][]*protectionv1.Case{
			"sindh": {
				{Name: "nodes/sindh/cases/1", Source: protectionv1.Case_SOURCE_INTAKE, Referral: moved},
				{Name: "nodes/sindh/cases/2", Source: protectionv1.Case_SOURCE_INTAKE, Referral: served},
			},
			"punjab": {
				{Name: "nodes/punjab/cases/4", Source: protectionv1.Case_SOURCE_REFERRAL, Referral: moved},
				{Name: "nodes/punjab/cases/3", Source: protectionv1.Case_SOURCE_INTAKE},
			},
		},
		shelters: map[string][]*shelterv1.Shelter{"punjab": {{Groups: []*shelterv1.Group{{Total: 2, Occupied: 1}}}}},
		stays:    map[string]int{"punjab": 1}, late: map[deadline]bool{},
		told: []string{moved, served, "nodes/sindh/cases/1", "nodes/sindh/cases/2", "nodes/punjab/cases/3"},
	}
	e.counted = e.expected()
	return e
}

// Each way in which a year can break a promise shows in the figure that names it, and why is told.
func TestJudgeYear(t *testing.T) {
	if r := wholeYear().judge(); !r.Kept() || r.Referrals != 2 || r.Identified != 3 || r.Cases != 4 || len(r.Why) != 0 ||
		r.States["IN_SERVICE"] != 1 || r.States["COMPLETED"] != 1 {
		t.Fatalf("a year in which all went well is taken for broken: %+v", r)
	}
	lost := func(r *YearResult) bool { return r.Lost > 0 && len(r.Why) > 0 }
	doubled := func(r *YearResult) bool { return r.Doubled > 0 && len(r.Why) > 0 }
	group := func(e *yearEvidence) *shelterv1.Group { return e.shelters["punjab"][0].GetGroups()[0] }
	for name, c := range map[string]struct {
		spoil func(*yearEvidence)
		seen  func(*YearResult) bool
	}{
		"nobody knows it any more": {func(e *yearEvidence) { // and the federal cell was never told
			delete(e.referrals["sindh"], served)
			e.counted = e.expected()
		}, lost},
		"nor that there was one": {func(e *yearEvidence) {
			delete(e.referrals["sindh"], served)
			e.cases["sindh"][1].Referral = ""
			e.counted = e.expected()
		}, lost},
		"one who was taken in is gone": {func(e *yearEvidence) {
			e.cases["punjab"] = e.cases["punjab"][:1]
			e.told = e.told[:4] // nobody remembers
			e.counted = e.expected()
		}, lost},
		"somebody else instead": {func(e *yearEvidence) { e.cases["punjab"][1].Name = "nodes/punjab/cases/5" }, lost},
		"a place promised, and no bed held": {func(e *yearEvidence) {
			for _, known := range e.referrals {
				known[moved].State = ready
			}
			group := e.shelters["punjab"][0].GetGroups()[0]
			e.cases["punjab"], group.Occupied, e.stays["punjab"] = e.cases["punjab"][1:], 0, 0
			e.counted = e.expected()
		}, lost},
		"owned by who does not know it": {func(e *yearEvidence) {
			for _, known := range e.referrals {
				known[moved].OwnerNode = "balochistan"
			}
		}, lost},
		"not known at its origin":      {func(e *yearEvidence) { delete(e.referrals["sindh"], moved) }, lost},
		"not known at its owner":       {func(e *yearEvidence) { delete(e.referrals["punjab"], moved) }, lost},
		"told differently":             {func(e *yearEvidence) { e.referrals["punjab"][moved].Head = []byte("other") }, lost},
		"no case where it began":       {func(e *yearEvidence) { e.cases["sindh"] = e.cases["sindh"][1:] }, lost},
		"no case where they came to":   {func(e *yearEvidence) { e.cases["punjab"] = e.cases["punjab"][1:] }, lost},
		"two cases where they came to": {func(e *yearEvidence) { e.cases["punjab"][1] = e.cases["punjab"][0] }, doubled},
		"two cases where it began":     {func(e *yearEvidence) { e.cases["sindh"][1] = e.cases["sindh"][0] }, doubled},
		"taken in twice":               {func(e *yearEvidence) { e.year.Cases = e.year.Cases[1:] }, doubled},
		"somebody there without a bed": {func(e *yearEvidence) { group(e).Occupied, e.stays["punjab"] = 0, 0 }, lost},
		"a stay without a bed":         {func(e *yearEvidence) { e.stays["punjab"] = 2 }, lost},
		"a bed that nobody is in":      {func(e *yearEvidence) { group(e).Occupied, e.stays["punjab"] = 2, 2 }, doubled},
		"a hold that nobody needs":     {func(e *yearEvidence) { group(e).Held = 1 }, doubled},
		"more taken than there is":     {func(e *yearEvidence) { group(e).Total = 0 }, func(r *YearResult) bool { return r.OverbookedBeds == 1 }},
		"a flow that was not counted":  {func(e *yearEvidence) { e.counted[corridor{"sindh", "punjab", federalv1.Stage_STAGE_ARRIVED}] = 0 }, func(r *YearResult) bool { return !r.FederalMatches }},
		"a person counted twice":       {func(e *yearEvidence) { e.counted[corridor{"punjab", "", federalv1.Stage_STAGE_IDENTIFIED}]++ }, func(r *YearResult) bool { return !r.FederalMatches }},
		"an arrival somewhere else": {func(e *yearEvidence) {
			e.counted[corridor{"sindh", "punjab", federalv1.Stage_STAGE_ARRIVED}]--
			e.counted[corridor{"sindh", "balochistan", federalv1.Stage_STAGE_ARRIVED}]++
		}, func(r *YearResult) bool { return !r.FederalMatches }},
		"a flow that nobody knows":      {func(e *yearEvidence) { e.counted[corridor{"punjab", "sindh", federalv1.Stage_STAGE_COMPLETED}]++ }, func(r *YearResult) bool { return !r.FederalMatches }},
		"an acceptance that is missing": {func(e *yearEvidence) { e.counted[corridor{"sindh", "", federalv1.Stage_STAGE_ACCEPTED}]-- }, func(r *YearResult) bool { return !r.FederalMatches }},
	} {
		e := wholeYear()
		c.spoil(e)
		if r := e.judge(); !c.seen(r) || r.Kept() {
			t.Errorf("%s: goes unseen: %+v", name, r)
		}
	}
}

// Whoever was given up makes a year a broken one.
func TestGivenUp(t *testing.T) {
	r := wholeYear().judge()
	if r.GivenUp = 1; r.Kept() {
		t.Error("somebody was given up, and nothing is broken")
	}
}

// Who gives a service hears of the choice and of the end: its copy may be shorter, and says the same once all is over.
func TestAServiceIsToldInPart(t *testing.T) {
	origin, known := servedReferral(), servedReferral()
	known.Head, known.Sequence = []byte("before"), 8
	if !toldTheSame(origin, known) {
		t.Error("a shorter copy is taken for a broken promise")
	}
	if known.State = confirmed; toldTheSame(origin, known) {
		t.Error("the end was not heard, and nobody noticed")
	}
	if origin.State = inService; !toldTheSame(origin, known) {
		t.Error("what need not be heard is missed")
	}
	if known.Sequence = 10; toldTheSame(origin, known) {
		t.Error("a copy that is ahead of its origin is taken for good")
	}
	before, after := movedReferral(), movedReferral()
	if before.Head, before.Sequence = []byte("before"), 8; toldTheSame(after, before) {
		t.Error("whoever has the person does not know what the origin knows, and nobody noticed")
	}
	if after.OwnerNode, after.State, before.State = "sindh", ready, confirmed; !toldTheSame(after, before) {
		t.Error("nobody was handed over yet, and a shorter copy is taken for a broken promise")
	}
}

// A bed held for who was promised one and has not come, or was not there on the day, is needed.
func TestHeldBeds(t *testing.T) {
	for _, state := range []custodyv1.ReferralState{confirmed, ready, onTheRoad} {
		e := wholeYear()
		for _, node := range []string{"sindh", "punjab"} {
			e.referrals[node][moved].State = state
		}
		e.cases["punjab"] = e.cases["punjab"][1:]
		g := e.shelters["punjab"][0].GetGroups()[0]
		g.Held, g.Occupied, e.stays["punjab"] = 1, 0, 0
		e.counted = e.expected()
		if r := e.judge(); !r.Kept() {
			t.Errorf("%v: %+v", state, r)
		}
	}
}

// Those of a family who are referred for a place to stay go together; for a service, and without a referral, each is alone.
func TestParties(t *testing.T) {
	refer := func(kind custodyv1.ReferralKind) *scenario.Referral {
		return &scenario.Referral{Request: &protectionv1.ReferCaseRequest{Kind: kind}}
	}
	const place, service = custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	year := &scenario.Year{Cases: []scenario.Case{
		{Number: 1, Family: 1, Referral: refer(place)},
		{Number: 2, Family: 1, Referral: refer(place)},
		{Number: 3, Family: 1},
		{Number: 4, Family: 4, Referral: refer(service)},
		{Number: 5, Family: 4, Referral: refer(service)},
		{Number: 6, Referral: refer(place)},
		{Number: 7, Referral: refer(place)},
	}}
	var got []int
	for _, y := range parties(year) {
		got = append(got, len(y.members))
	}
	if want := []int{2, 1, 1, 1, 1, 1}; len(got) != len(want) || got[0] != 2 {
		t.Errorf("parties of %v, want %v", got, want)
	}
}

// A deadline of which worker, supervisor and focal point were told was missed once.
func TestDeadlinesAreCountedOnce(t *testing.T) {
	e, due := wholeYear(), time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	notice := func(subject, step string, due time.Time, level protectionv1.Notice_Level) *protectionv1.Notice {
		return &protectionv1.Notice{Subject: subject, Step: step, DueTime: timestamppb.New(due), Level: level}
	}
	e.addNotices([]*protectionv1.Notice{
		notice(moved, "RECEIVE", due, protectionv1.Notice_LEVEL_WORKER), notice(moved, "RECEIVE", due, protectionv1.Notice_LEVEL_SUPERVISOR),
		notice(moved, "ANSWER", due, protectionv1.Notice_LEVEL_WORKER), notice(moved, "RECEIVE", due.Add(time.Hour), protectionv1.Notice_LEVEL_WORKER),
	})
	e.addNotices([]*protectionv1.Notice{
		notice(served, "RECEIVE", due, protectionv1.Notice_LEVEL_WORKER), notice(moved, "ANSWER", due, protectionv1.Notice_LEVEL_FOCAL_POINT),
	})
	if r := e.judge(); r.DeadlinesMissed != 4 {
		t.Errorf("%d deadlines were missed, of 4", r.DeadlinesMissed)
	}
}
