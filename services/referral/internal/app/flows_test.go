package app_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/facts"
)

// What was completed is corrected three times: of the outcome and the services the last word stands, and each fact of before has one that takes its
// place.
func TestCorrectedOutcomesAreTold(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	v := net.walk(inService)
	punjab := net.nodes["punjab"]
	must(t, punjab.complete(v.GetName()))
	net.settle()
	links := net.chain(punjab, v.GetName()).Links()
	at := slices.IndexFunc(links, func(l custody.Link) bool { return l.Event.GetCompleted() != nil })
	wrong := links[at].Hash
	for _, right := range []*custodyv1.Completed{
		{Outcome: "ENTRUSTED", Services: []string{"SHELTER", "PSYCHOSOCIAL"}},
		{Outcome: "ENTRUSTED", Services: []string{"PSYCHOSOCIAL"}}, // takes one back
		{Outcome: "REUNIFIED", Services: []string{"PSYCHOSOCIAL"}}, // the time stays that of what was told at first
	} {
		net.now = net.now.Add(time.Hour)
		_, err := punjab.CorrectReferral(context.Background(), &referralv1.CorrectReferralRequest{
			Name: v.GetName(), Etag: punjab.get(v.GetName()).GetEtag(), Supersedes: wrong.Bytes(),
			Body: &referralv1.CorrectReferralRequest_Completed{Completed: right},
		}, actor)
		must(t, err)
		net.settle()
		all := net.chain(punjab, v.GetName()).Links()
		wrong = all[len(all)-1].Hash // the correction is corrected
	}
	// As the federal cell reads them: what is corrected is not there.
	gone, told := map[string]bool{}, map[string]*federalv1.Fact{}
	for _, f := range net.facts() {
		gone[string(f.GetCorrects())] = true
		if f.GetKind() == facts.Completed || f.GetKind() == facts.Service {
			told[string(facts.ID("punjab", "referral", f))] = f
		}
	}
	var left []string
	for id, f := range told {
		if !gone[id] {
			left = append(left, f.GetKind()+" "+f.GetCode())
			if !f.GetEventTime().AsTime().Equal(links[at].Event.GetTime().AsTime()) {
				t.Errorf("%v is told of another time than %v", f, links[at].Event.GetTime().AsTime())
			}
		}
	}
	slices.Sort(left)
	if want := []string{"COMPLETED REUNIFIED", "SERVICE PSYCHOSOCIAL"}; !slices.Equal(left, want) {
		t.Errorf("left: %v", left)
	}
	if len(told) < 5 {
		t.Errorf("told %v", told)
	}
	if origin.get(v.GetName()).GetState() != completed {
		t.Error("not completed")
	}
}

// A submission says of which case's flow it is, to the federal cell alone.
func TestTheCasesFlowIsTold(t *testing.T) {
	net := newNetwork(t)
	origin := net.nodes["balochistan"]
	request := submitRequest()
	request.CaseFlowId = []byte("sixteen bytes 16")
	v, err := origin.SubmitReferral(context.Background(), request)
	must(t, err)
	net.settle()
	told := net.facts()
	if len(told) != 1 || string(told[0].GetCaseFlowId()) != "sixteen bytes 16" || told[0].GetKind() != facts.Referred || told[0].GetCode() != "PLACEMENT" {
		t.Errorf("told %v", told)
	}
	for _, m := range net.history {
		if m.out.To.GetNode() != "federal" && bytes.Contains(m.body, request.GetCaseFlowId()) {
			t.Errorf("%s to %v carries the case's flow", m.out.Kind, m.out.To)
		}
	}
	if origin.get(v.GetName()).GetState() != submitted {
		t.Error("not submitted")
	}
}
