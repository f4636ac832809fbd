package story

import (
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// whole is the evidence of a run of two in which all went well.
func whole() *evidence {
	e := &evidence{
		names: []string{"a", "b"},
		home:  map[string][]*referralv1.Referral{}, away: map[string][]*referralv1.Referral{},
		sent: map[string]int{"a": 1, "b": 1}, received: map[string]int{"a": 1, "b": 1},
		shelters: []*shelterv1.Shelter{{Groups: []*shelterv1.Group{{Total: 2, Occupied: 2}}}},
		counted:  map[federalv1.Stage]int64{}, intakes: 2,
	}
	for _, name := range e.names {
		for _, known := range []map[string][]*referralv1.Referral{e.home, e.away} {
			known[name] = []*referralv1.Referral{{
				Name: name, Head: []byte("head of " + name), State: custodyv1.ReferralState_REFERRAL_STATE_COMPLETED,
			}}
		}
	}
	for stage := range stages {
		e.counted[stage] = 2
	}
	return e
}

// Each way in which a run can break a promise shows in the figure that names it.
func TestJudge(t *testing.T) {
	if r := whole().judge(); !r.Kept() {
		t.Fatalf("a run in which all went well is taken for broken: %+v", r)
	}
	lost := func(r *Result) bool { return r.Lost > 0 }
	doubled := func(r *Result) bool { return r.Doubled > 0 }
	overbooked := func(r *Result) bool { return r.OverbookedBeds > 0 }
	miscounted := func(r *Result) bool { return !r.FederalMatches }
	for name, c := range map[string]struct {
		spoil func(*evidence)
		seen  func(*Result) bool
	}{
		"not known at its origin":  {func(e *evidence) { delete(e.home, "a") }, lost},
		"not known where it went":  {func(e *evidence) { delete(e.away, "a") }, lost},
		"told differently":         {func(e *evidence) { e.away["a"][0].Head = []byte("other") }, lost},
		"no case where it went":    {func(e *evidence) { delete(e.received, "a") }, lost},
		"fewer stays than arrived": {func(e *evidence) { e.shelters[0].Groups[0].Occupied = 1 }, lost},
		"played twice":             {func(e *evidence) { e.names[1] = "a" }, doubled},
		"two cases where it went":  {func(e *evidence) { e.received["a"] = 2 }, doubled},
		"two cases at its origin":  {func(e *evidence) { e.sent["a"] = 2 }, doubled},
		"one taken in twice":       {func(e *evidence) { e.intakes = 3 }, doubled},
		"referred twice, told once": {func(e *evidence) {
			e.home["c"] = []*referralv1.Referral{{Name: "c", State: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED}}
			e.counted[federalv1.Stage_STAGE_REFERRED] = 3
		}, doubled},
		"more stays than arrived":     {func(e *evidence) { e.shelters[0].Groups[0].Occupied = 3 }, doubled},
		"a hold that nobody needs":    {func(e *evidence) { e.shelters[0].Groups[0].Held = 1 }, doubled},
		"more taken than there is":    {func(e *evidence) { e.shelters[0].Groups[0].Total = 1 }, overbooked},
		"one more than there is":      {func(e *evidence) { e.oneMore = true }, overbooked},
		"a flow that was not counted": {func(e *evidence) { e.counted[federalv1.Stage_STAGE_ARRIVED] = 1 }, miscounted},
		"a flow that counted twice":   {func(e *evidence) { e.counted[federalv1.Stage_STAGE_REFERRED] = 3 }, miscounted},
	} {
		e := whole()
		c.spoil(e)
		if r := e.judge(); !c.seen(r) || r.Kept() || r.Lost+r.Doubled > 0 && len(r.Why) == 0 {
			t.Errorf("%s: goes unseen: %+v", name, r)
		}
	}
}

// What an earlier run left half way is neither waited for nor taken for a broken promise.
func TestJudgeBesideWhatIsUnderWay(t *testing.T) {
	e := whole()
	e.earlier = map[string]bool{"c": true}
	e.home["c"] = []*referralv1.Referral{{Name: "c", State: custodyv1.ReferralState_REFERRAL_STATE_READY}}
	e.shelters[0].Groups[0].Total, e.shelters[0].Groups[0].Held = 3, 1
	e.counted[federalv1.Stage_STAGE_REFERRED], e.counted[federalv1.Stage_STAGE_ACCEPTED] = 3, 3
	if r := e.judge(); !r.Kept() {
		t.Fatalf("%+v", r)
	}
}
