package app_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/facts"
	"amanat.example/services/referral/internal/rules"
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

// Who corrects an outcome after the person has gone on to them finds what the one before has told, and changes what was reached where no more than the
// outcome itself.
func TestAnOutcomeIsCorrectedByTheNextOwner(t *testing.T) {
	net := newNetwork(t)
	sindh, name := net.nodes["sindh"], net.walk(completed).GetName()
	links := net.chain(net.nodes["punjab"], name).Links()
	at := slices.IndexFunc(links, func(l custody.Link) bool { return l.Event.GetCompleted() != nil })
	_, err := sindh.assert(name)
	must(t, err)
	net.settle()
	_, err = sindh.CorrectReferral(background, &referralv1.CorrectReferralRequest{
		Name: name, Etag: sindh.get(name).GetEtag(), Supersedes: links[at].Hash.Bytes(),
		Body: &referralv1.CorrectReferralRequest_Completed{Completed: &custodyv1.Completed{Outcome: "ENTRUSTED"}},
	}, actor)
	must(t, err)
	net.settle()
	told := map[string]bool{}
	var fresh *federalv1.Fact
	for _, f := range net.facts() {
		told[string(facts.ID("punjab", "referral", f))] = true
		if f.GetKind() == facts.Completed && f.GetCode() == "ENTRUSTED" {
			fresh = f
		}
	}
	if !told[string(fresh.GetCorrects())] || fresh.GetToNode() != "punjab" || !proto.Equal(fresh.GetEventTime(), links[at].Event.GetTime()) {
		t.Errorf("told %v", fresh)
	}
	net.checkTold(name)
}

// checkTold holds that of a referral that was told which its chain says, to whoever reads it at any later time (such as a node that was restored);
// and that whoever told it began the referral or was handed it.
func (net *network) checkTold(name string) {
	net.t.Helper()
	var chain *custody.Chain
	for _, n := range net.nodes {
		if n.holdsChain(name) && (chain == nil || len(net.chain(n, name).Links()) > len(chain.Links())) {
			chain = net.chain(n, name)
		}
	}
	said, has := map[string]string{}, map[string]bool{chain.State().Origin: true}
	for _, l := range chain.Links() {
		for _, f := range rules.Facts(l, chain.Links(), chain.State(), nil) {
			teller := l.Event.GetOwner()
			said[string(facts.ID(teller, "referral", f))] = fmt.Sprintf("%s of %s", f, teller)
			if !has[teller] {
				net.t.Errorf("%s tells %v, and was handed nothing", teller, f)
			}
			has[f.GetToNode()] = has[f.GetToNode()] || f.GetKind() == facts.Dispatched
		}
	}
	told := map[string]bool{}
	for teller, f := range net.toldBy() {
		id := string(facts.ID(teller, "referral", f))
		if told[id] = true; said[id] == "" && bytes.Equal(f.GetFlowId(), chain.State().Submitted.GetFlowId()) {
			net.t.Errorf("%s has told %v, which the chain does not say", teller, f)
		}
	}
	for id, f := range said {
		if !told[id] {
			net.t.Errorf("the chain says %s, which was not told", f)
		}
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
