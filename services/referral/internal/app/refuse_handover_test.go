package app_test

import (
	"context"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// refusing is a referral whose handover to punjab is on its way, and of which punjab's own record says something else by now.
func (net *network) refusing(state custodyv1.OfferState) (referral, offer string) {
	net.t.Helper()
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	referral, offer = v.GetName(), v.GetOffers()[0].GetName()
	dest := net.nodes["punjab"]
	dest.spoilt = true // an older copy: the chain it holds is of a later time than its offer
	must(net.t, dest.DB.Update(background, func(tx *kitstore.Tx) error {
		if state == custodyv1.OfferState_OFFER_STATE_UNSPECIFIED {
			return store.Offers.Delete(tx, store.OfferKey(offer))
		}
		record, err := store.Offers.Get(tx, store.OfferKey(offer))
		if err != nil {
			return err
		}
		record.State = state
		return store.Offers.Put(tx, store.OfferKey(offer), record)
	}))
	_, err := net.nodes["balochistan"].DispatchReferral(background, net.dispatchRequest(referral), actor)
	must(net.t, err)
	return referral, offer
}

// A handover on a promise that this node's own record does not know is refused, for ever; its writer owns the referral again.
func TestHandoverThatWasNeverPromisedIsRefused(t *testing.T) {
	for _, state := range []custodyv1.OfferState{
		custodyv1.OfferState_OFFER_STATE_UNSPECIFIED, custodyv1.OfferState_OFFER_STATE_DECLINED, custodyv1.OfferState_OFFER_STATE_LAPSED,
		custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_ACCEPTED,
	} {
		net := newNetwork(t)
		net.later = true
		referral, offer := net.refusing(state)
		origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
		var handover mail
		for _, m := range net.sent {
			if m.out.Kind == "custody.chain.v1" {
				handover = m
			}
		}
		net.settle()
		got := origin.get(referral)
		if got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED || got.GetOwnerNode() != "balochistan" ||
			got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN || got.GetOffers()[0].GetState() != custodyv1.OfferState_OFFER_STATE_DECLINED {
			t.Fatalf("%v: the origin sees %v", state, got)
		}
		if giver := net.chain(origin, referral).State().Giver; giver != "" {
			t.Errorf("%v: a handover that was none was given by %s", state, giver)
		}
		if len(origin.eventsOf("referral.handover.refused.v1")) != 1 || len(dest.eventsOf("referral.handover.refused.v1")) != 1 {
			t.Errorf("%v: nobody is told", state)
		}
		if o := dest.maybeOffer(offer); state == custodyv1.OfferState_OFFER_STATE_ACCEPTED && (o.GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED || dest.calls[len(dest.calls)-1] != "ReleaseHold") {
			t.Errorf("what is refused is %v; the shelter was asked %v", o, dest.calls)
		}
		// The same chain again: the same refusal again, and nothing moves.
		head := origin.head(referral)
		var refusals []string
		for _, m := range net.history {
			if reply := replyOf(t, m); reply.GetRefused() != nil {
				refusals = append(refusals, string(m.body))
			}
		}
		net.later = false
		net.apply(handover)
		for _, m := range net.sent {
			if reply := replyOf(t, m); reply.GetRefused() != nil {
				refusals = append(refusals, string(m.body))
			}
		}
		net.settle()
		if len(slices.Compact(refusals)) != 1 || string(head) != string(origin.head(referral)) {
			t.Errorf("%v: it is refused in other words, or the chain has moved", state)
		}
		// Neither holds that the other lacks something.
		for _, n := range []*node{origin, dest} {
			must(t, n.CompareHeads(background))
		}
		before := len(net.history)
		net.settle()
		for _, m := range net.history[before:] {
			if m.out.Kind != "custody.head.digest.v1" {
				t.Errorf("%v: the two compare, and %s writes %s", state, m.from, m.out.Kind)
			}
		}
		net.brings(dest.Node, origin.Node, "custody.head.v1", &custodyv1.HeadQuery{Referral: referral}) // which crossed the refusal
		if len(net.sent) > 0 || len(net.refused) > 0 {
			t.Errorf("%v: who refused asks for the chain, and gets %d letters; refused %v", state, len(net.sent), net.refused)
		}
		// The origin asks elsewhere.
		_, err := origin.OfferReferral(background, &referralv1.OfferReferralRequest{Name: referral, ToUnit: "nodes/sindh/units/karachi", Etag: origin.get(referral).GetEtag()}, actor)
		must(t, err)
		net.settle()
		if len(net.refused) > 0 {
			t.Errorf("refused %v", net.refused)
		}
	}
}

func replyOf(t testing.TB, m mail) *custodyv1.Reply {
	t.Helper()
	letter, reply := &custodyv1.ReplyLetter{}, &custodyv1.Reply{}
	if m.out.Kind != "custody.reply.v1" {
		return reply
	}
	must(t, proto.Unmarshal(m.body, letter))
	must(t, proto.Unmarshal(letter.GetReply().GetReply(), reply))
	return reply
}

// A person at the door outranks the refusal: where the arrival was asserted first, the handover is taken; where the refusal was
// signed first, it stands, and the referral follows by a new handover.
func TestArrivalAtTheNodeThatRefuses(t *testing.T) {
	for seed := range uint64(6) {
		for _, first := range []string{"arrival", "refusal"} {
			net := newNetwork(t)
			net.later = true
			referral, _ := net.refusing(custodyv1.OfferState_OFFER_STATE_DECLINED)
			dest := net.nodes["punjab"]
			rnd := mathrand.New(mathrand.NewPCG(seed, 6))
			if first == "refusal" {
				for len(dest.eventsOf("referral.handover.refused.v1")) == 0 {
					net.deliverAny(rnd)
				}
			}
			_, err := dest.assert(referral)
			must(t, err)
			for len(net.sent) > 0 {
				net.deliverAny(rnd)
			}
			net.settle()
			net.came(referral, "punjab")
			refused := len(dest.eventsOf("referral.handover.refused.v1")) > 0
			if refused != (first == "refusal") {
				t.Errorf("seed %d, the %s first: refused %v", seed, first, refused)
			}
		}
	}
}

func TestOwnerIsTold(t *testing.T) {
	net := newNetwork(t)
	net.again = true
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_ARRIVED)
	origin, dest, name := net.nodes["balochistan"], net.nodes["punjab"], v.GetName()
	safety := func(n *node, code, note string, found bool) error {
		_, err := n.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: name, Code: code, Note: note, Found: found}, actor)
		return err
	}
	wrong(t, safety(origin, "OTHER", "", false), fault.Field, "note")
	wrong(t, safety(origin, "THREAT", "", true), fault.Field, "found")
	wrong(t, safety(origin, "FOUND_SAFE", "", false), fault.Field, "found")
	_, err := dest.RequestCorrection(background, &referralv1.RequestCorrectionRequest{Name: name, Event: origin.head(name), Note: theNote}, actor)
	wrong(t, err, fault.WrongState, "")
	wrong(t, safety(net.nodes["sindh"], "THREAT", "", false), fault.Missing, "")
	must(t, safety(origin, "THREAT", theNote, false))
	head := origin.head(name)
	_, err = origin.RequestCorrection(background, &referralv1.RequestCorrectionRequest{Name: name, Event: head[:31], Note: theNote}, actor)
	wrong(t, err, fault.Field, "event")
	_, err = origin.RequestCorrection(background, &referralv1.RequestCorrectionRequest{Name: name, Event: head, Note: " "}, actor)
	wrong(t, err, fault.Field, "note")
	_, err = origin.RequestCorrection(background, &referralv1.RequestCorrectionRequest{Name: name, Event: head, Note: theNote}, actor)
	must(t, err)
	_, err = origin.WithdrawConsent(background, &referralv1.WithdrawConsentRequest{Name: name, WithdrawTime: timestamppb.New(net.now.Add(time.Hour))}, actor)
	wrong(t, err, fault.Field, "withdraw_time")
	for range 2 {
		_, err = origin.WithdrawConsent(background, &referralv1.WithdrawConsentRequest{Name: name, Note: theNote}, actor)
		must(t, err)
		net.now = net.now.Add(time.Minute)
	}
	net.settle()
	for _, word := range []string{"safety-reported", "correction-requested"} {
		if n := len(dest.eventsOf("referral.owner." + word + ".v1")); n != 1 {
			t.Errorf("%s: the owner's people are told %d times", word, n)
		}
	}
	for _, n := range []*node{origin, dest} {
		if !n.get(name).GetConsentEnded() {
			t.Errorf("%s does not know that consent has ended", n.Node)
		}
	}
	_, err = dest.EndConsent(background, &referralv1.EndConsentRequest{Name: name}, actor)
	must(t, err)
	ended := 0
	for _, l := range net.chain(dest, name).Links() {
		if l.Event.GetConsentEnded() != nil {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("the chain says %d times that consent has ended", ended)
	}
	if len(net.refused) > 0 {
		t.Errorf("refused %v", net.refused)
	}
	for _, m := range net.history {
		if r := replyOf(t, m); (r.GetConsentWithdrawn() != nil || r.GetSafetyInformation() != nil) && m.out.Lane != postv1.Lane_LANE_URGENT {
			t.Errorf("%s waits behind other letters", custody.ReplyName(r))
		}
	}
}

// A unit that has the offer alone tells its owner; a former owner passes on what comes to it.
func TestOwnerIsToldByWhoKnowsLittle(t *testing.T) {
	net := newNetwork(t)
	net.later = true
	referral, offer := net.asked()
	dest, origin := net.nodes["punjab"], net.nodes["balochistan"]
	told, err := dest.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: referral, Code: "THREAT", Note: theNote}, actor)
	must(t, err)
	if told.GetToldNode() != "balochistan" {
		t.Errorf("told %v", told)
	}
	_, err = dest.RequestCorrection(background, &referralv1.RequestCorrectionRequest{Name: referral, Event: make([]byte, 32), Note: theNote}, actor)
	wrong(t, err, fault.Field, "event")
	_, err = dest.RequestCorrection(background, &referralv1.RequestCorrectionRequest{Name: referral, Event: hashOf(t, offer), Note: theNote}, actor)
	must(t, err)
	net.settle()
	if len(origin.eventsOf("referral.owner.safety-reported.v1")) != 1 || len(origin.eventsOf("referral.owner.correction-requested.v1")) != 1 || len(net.refused) > 0 {
		t.Errorf("the origin is told %v; refused %v", origin.events, net.refused)
	}
	// Sindh takes the person; punjab, who does not know, tells the origin, which passes it on.
	_, err = net.nodes["sindh"].assert(referral)
	must(t, err)
	net.settle()
	_, err = dest.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: referral, Code: "ROAD"}, actor)
	must(t, err)
	net.settle()
	if len(net.nodes["sindh"].eventsOf("referral.owner.safety-reported.v1")) != 1 {
		t.Errorf("the owner is not told; refused %v", net.refused)
	}
}

// What people write on the destination's side is nowhere but in sealed annexes.
func TestNothingLeaksFromTheDestination(t *testing.T) {
	net := newNetworkOnFiles(t)
	referral, offer := net.asked()
	dest := net.nodes["punjab"]
	_, err := dest.AskQuestion(background, &referralv1.AskQuestionRequest{Name: offer, Topic: "OTHER", Note: "Canary-Question"}, actor)
	must(t, err)
	_, err = dest.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: referral, Code: "OTHER", Note: "Canary-Safety"}, actor)
	must(t, err)
	_, err = net.nodes["sindh"].AssertArrival(context.Background(), &referralv1.AssertArrivalRequest{
		Name: referral, Unit: "nodes/sindh/units/centre", Identification: []string{"OWN_STATEMENT"}, Note: "Canary-Arrival",
	}, actor)
	must(t, err)
	net.settle()
	for _, n := range net.nodes {
		for _, e := range n.events {
			raw, err := proto.Marshal(e.data)
			must(t, err)
			if strings.Contains(string(raw), "Canary") {
				t.Errorf("the event %s holds what was written", e.kind)
			}
		}
		if strings.Contains(string(n.file()), "Canary") {
			t.Errorf("the file of %s holds what was written", n.Node)
		}
	}
	for _, m := range net.history {
		if !m.out.Sealed && strings.Contains(string(m.body), "Canary") {
			t.Errorf("the letter %s holds what was written", m.out.Kind)
		}
	}
	read := ""
	for _, annex := range net.nodes["balochistan"].get(referral).GetAnnexes() {
		content, err := net.nodes["balochistan"].GetAnnex(background, annex)
		must(t, err)
		read += content.GetNote()
	}
	for _, c := range []string{"Canary-Question", "Canary-Safety", "Canary-Arrival"} {
		if !strings.Contains(read, c) {
			t.Errorf("no annex at the origin holds %q", c)
		}
	}
}
