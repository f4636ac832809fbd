package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
)

// siblings are cases of brothers and sisters with consent, of whom the last has a lower risk.
func (b *bench) siblings(n int) (all []*protectionv1.Case) {
	b.t.Helper()
	b.unit()
	for i := range n {
		r := b.intake()
		r.RequestId = fmt.Sprintf("sibling-%d", i)
		if i == n-1 {
			r.Case.Urgency = custodyv1.Urgency_URGENCY_LOW
		}
		c, err := b.CreateCase(context.Background(), r)
		must(b.t, err)
		c, err = b.RecordConsent(context.Background(), consent(c), actor)
		must(b.t, err)
		all = append(all, c)
	}
	return all
}

func together(all []*protectionv1.Case) *protectionv1.ReferCaseRequest {
	r := refer(all[0])
	for _, c := range all[1:] {
		r.Others = append(r.Others, &protectionv1.OtherCase{Name: c.GetName(), Etag: c.GetEtag(), Needs: r.GetNeeds()})
	}
	return r
}

func groupReferral(i int) string { return referral[:len(referral)-1] + fmt.Sprint(i) }

// groupBegun answers with a referral for each.
func groupBegun(request proto.Message) (proto.Message, error) {
	r, ok := request.(*referralv1.SubmitReferralsRequest)
	if !ok {
		return &referralv1.Told{}, nil
	}
	response := &referralv1.SubmitReferralsResponse{}
	for i := range r.GetRequests() {
		response.Referrals = append(response.Referrals, &referralv1.Referral{Name: groupReferral(i), State: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED})
	}
	return response, nil
}

// Those who go together are referred by one command, each on their own ground, and each case follows its own referral.
func TestReferTogether(t *testing.T) {
	b := newApp(t, home)
	all := b.siblings(3)
	request := together(all)
	request.Others[1].Override = &custodyv1.ConsentOverride{LegalBasis: "IMMINENT_DANGER", Approver: "nodes/balochistan/workers/s"}
	soon, stop := context.WithTimeout(t.Context(), 550*time.Millisecond)
	defer stop()
	if _, err := b.ReferCase(soon, request, actor); err != nil {
		t.Fatalf("with the referral service away: %v", err)
	}
	if _, err := b.ReferCase(t.Context(), refer(b.get(all[1].GetName())), actor); reason(err) != fault.WrongState {
		t.Fatalf("another while one is pending: %v", err)
	}
	b.referral.set(groupBegun)
	for range 2 { // the same call is the same command
		shown, err := b.ReferCase(t.Context(), request, actor)
		if err != nil || shown.GetReferral() != groupReferral(0) {
			t.Fatalf("%v, %v", shown, err)
		}
	}
	var commands []*referralv1.SubmitReferralsRequest
	for _, call := range b.referral.calls {
		if r := call.(*referralv1.SubmitReferralsRequest); len(commands) == 0 || !proto.Equal(commands[0], r) {
			commands = append(commands, r)
		}
	}
	if len(commands) != 1 || len(commands[0].GetRequests()) != 3 {
		t.Fatalf("commands: %v", commands)
	}
	keys := map[string]bool{}
	for i, r := range commands[0].GetRequests() {
		keys[r.GetRequestId()] = true
		if r.GetUrgency() != custodyv1.Urgency_URGENCY_HIGH || r.GetUnit() != all[i].GetUnit() || (r.GetOverride() != nil) != (i == 2) || (r.GetConsent() != nil) != (i != 2) {
			t.Errorf("asked for %v", r)
		}
		told := b.letters.of(flow.FactsKind)[i].Body.(*federalv1.Facts).GetFacts()[0] // of each when they were taken in
		if !bytes.Equal(r.GetCaseFlowId(), told.GetFlowId()) {
			t.Errorf("the referral of case %d is said to be of another's flow", i)
		}
	}
	if len(keys) != 3 {
		t.Errorf("keys: %v", keys)
	}
	for i, c := range all {
		e := chain{state: ready, seq: 13, owner: home, care: home, to: away, giver: home, offer: groupReferral(i) + "/offers/aa", owners: []string{home}}
		b.tellOf(groupReferral(i), e)
		if got := b.get(c.GetName()); got.GetReferral() != groupReferral(i) || got.GetReferralState() != ready {
			t.Errorf("case %d: %v", i, got)
		}
	}
	var of []string
	for _, l := range b.letters.of("protection.dossier.v1") {
		of = append(of, l.Subject)
	}
	if !slices.Equal(of, []string{groupReferral(0), groupReferral(1), groupReferral(2)}) {
		t.Errorf("dossiers of %v", of)
	}
	b.tellOf(groupReferral(1), chain{state: completed, seq: 20, owner: away, care: away, to: away, giver: home, offer: "x", owners: []string{home, away}})
	if a, c := b.get(all[0].GetName()), b.get(all[1].GetName()); a.GetReferralState() != ready || c.GetReferralState() != completed {
		t.Errorf("each follows its own: %v, %v", a, c)
	}
}

// fieldsOf are the fields that a refusal names.
func fieldsOf(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return fmt.Sprint(f.Fields())
	}
	return ""
}

// tellOf is tell of one of several referrals.
func (b *bench) tellOf(name string, c chain) {
	b.t.Helper()
	b.happens("changed", &referralv1.ReferralChanged{
		Referral: name, State: c.state, Sequence: c.seq, OriginNode: home, OwnerNode: c.owner, CareNode: c.care, ToNode: c.to, GiverNode: c.giver, Offer: c.offer, OwnerNodes: c.owners,
	})
}

// One that cannot be referred keeps all from being referred, and nothing is asked; the fault says whose it is.
func TestReferTogetherIsAllOrNone(t *testing.T) {
	b := newApp(t, home)
	all := b.siblings(2)
	bare := b.intake()
	bare.RequestId = "without-consent"
	without, err := b.CreateCase(t.Context(), bare)
	must(t, err)
	for name, c := range map[string]struct {
		change func(r *protectionv1.ReferCaseRequest)
		want   fault.Reason
		names  string
	}{
		"twice the same":   {func(r *protectionv1.ReferCaseRequest) { r.Others[0].Name = r.GetName() }, fault.Field, "others[0].name"},
		"changed since":    {func(r *protectionv1.ReferCaseRequest) { r.Others[0].Etag = "77" }, fault.Stale, ""},
		"for a service":    {func(r *protectionv1.ReferCaseRequest) { r.Kind, r.Service = asService, "LEGAL" }, fault.Field, "kind"},
		"needs of no list": {func(r *protectionv1.ReferCaseRequest) { r.Others[0].Needs = &custodyv1.Needs{Gender: "None"} }, fault.UnknownCode, "others[0].needs.gender"},
		"of another node": {func(r *protectionv1.ReferCaseRequest) {
			r.Others[0].Name = "nodes/sindh/cases/" + r.GetName()[len("nodes/balochistan/cases/"):]
		}, fault.Missing, ""},
		"one without consent": {func(r *protectionv1.ReferCaseRequest) {
			r.Others[0].Name, r.Others[0].Etag = without.GetName(), without.GetEtag()
		}, fault.ConsentMissing, ""},
		"a reason for nothing": {func(r *protectionv1.ReferCaseRequest) {
			r.Note, r.Others[0].Override = "", &custodyv1.ConsentOverride{LegalBasis: "IMMINENT_DANGER"}
		}, fault.Field, "note"},
	} {
		r := proto.CloneOf(together(all))
		r.Others[0].Needs = proto.CloneOf(r.GetNeeds())
		c.change(r)
		_, err := b.ReferCase(t.Context(), r, actor)
		if named := fieldsOf(err); reason(err) != c.want || !strings.Contains(named, c.names) {
			t.Errorf("%s: %v, naming %s", name, err, named)
		}
	}
	for _, c := range all {
		if got := b.get(c.GetName()); got.GetEtag() != c.GetEtag() {
			t.Errorf("changed: %v", got)
		}
	}
	// What the referral service refuses is refused for each, and each can be tried again.
	b.referral.set(func(proto.Message) (proto.Message, error) { return nil, status.Error(codes.FailedPrecondition, "no") })
	if _, err := b.ReferCase(t.Context(), together(all), actor); reason(err) != fault.WrongState {
		t.Fatal(err)
	}
	for i, c := range all {
		all[i] = b.get(c.GetName())
		if all[i].GetReferFailure() != "REASON_WRONG_STATE" || all[i].GetReferral() != "" {
			t.Errorf("case %d: %v", i, all[i])
		}
	}
	b.referral.set(groupBegun)
	if c, err := b.ReferCase(t.Context(), together(all), actor); err != nil || c.GetReferral() != groupReferral(0) || b.get(all[1].GetName()).GetReferral() != groupReferral(1) {
		t.Fatalf("tried again: %v, %v", c, err)
	}
}

// A fault that the referral service finds in one of the requests is shown where the caller wrote it.
func TestFaultOfOneOfThem(t *testing.T) {
	b := newApp(t, home)
	all := b.siblings(2)
	ctx, stop := context.WithTimeout(t.Context(), 550*time.Millisecond)
	defer stop()
	_, err := b.ReferCase(ctx, together(all), actor)
	must(t, err)
	b.referral.mu.Lock() // it is asked again and again meanwhile
	asked := b.referral.calls[0].(*referralv1.SubmitReferralsRequest)
	b.referral.mu.Unlock()
	must(t, b.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
		return b.TakeReferredTogether(tx, outbox.Result{
			Command: outbox.Command{ID: asked.GetRequests()[0].GetRequestId(), Method: referralv1.ReferralService_SubmitReferrals_FullMethodName, Request: asked},
			Fault:   fault.InvalidField("requests[1].needs.gender", "must be one of the list"),
		})
	}))
	again, stop := context.WithTimeout(t.Context(), 550*time.Millisecond) // the answer to the command itself does not come
	defer stop()
	_, err = b.ReferCase(again, together(all), actor)
	if named := fieldsOf(err); reason(err) != fault.Field || !strings.Contains(named, "others[0].needs.gender") {
		t.Fatalf("%v, naming %s", err, named)
	}
}
