package app_test

import (
	"context"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
)

func TestCancelAtEveryMoment(t *testing.T) {
	for state := submitted; state <= completed; state++ {
		net, origin, punjab, sindh := newOwnerNetwork(t)
		v := net.walk(state)
		offer := v.GetOffers()[0].GetName()
		if state > promised { // the person was handed over
			before := origin.dump()
			err := origin.cancel(v.GetName())
			if fault.ReasonOf(err) != fault.NotOwner || state < completed && !strings.Contains(err.Error(), "return") || string(before) != string(origin.dump()) {
				t.Errorf("cancelled in %v: %v", state, err)
			}
			continue
		}
		if state == submitted { // another unit is asked, and has accepted
			_, err := origin.ask(v.GetName(), karachi)
			must(t, err)
			net.settle()
			sindh.accept(origin.lastOffer(v.GetName()).GetName())
			net.settle()
		}
		for range 2 { // cancelling again is a no-op
			must(t, origin.cancel(v.GetName()))
		}
		net.settle()
		net.checkState(v.GetName(), cancelled, "balochistan")
		if got := origin.get(v.GetName()); got.GetNextDeadline() != nil || got.GetEndReason() != "FOUND_LOCALLY" || origin.told("referral.referral.cancelled.v1", v.GetName()) != 1 {
			t.Errorf("the origin sees %v", got)
		}
		if o := punjab.offer(offer); o.GetState() != offerWithdrawn || o.GetDeclineReason() != "NOT_NEEDED" {
			t.Errorf("punjab sees %v", o)
		}
	}
}

// Cancelling and accepting, withdrawing and promising, in every order in which letters and the shelter's answers can come: in the end
// nobody is asked, no bed is kept, and both sides agree.
func TestCancelAgainstAnAcceptanceUnderWay(t *testing.T) {
	crossed := 0
	for seed := range uint64(10) {
		net, origin, punjab, _ := newOwnerNetwork(t)
		rnd := mathrand.New(mathrand.NewPCG(seed, 3))
		v := net.walk(submitted)
		offer := v.GetOffers()[0].GetName()
		punjab.silent = true
		punjab.accept(offer)
		left := rnd.IntN(12)
		for i := range 40 {
			if i == left {
				if seed%2 == 0 {
					must(t, origin.cancel(v.GetName()))
				} else {
					must(t, origin.withdraw(offer, "NEEDS_CHANGED"))
				}
			}
			if rnd.IntN(3) == 0 {
				punjab.silent = false
				punjab.runCommands()
				punjab.silent = true
			}
			net.deliverAny(rnd)
		}
		punjab.silent = false
		net.settle()
		want := submitted
		if seed%2 == 0 {
			want = cancelled
		}
		net.checkState(v.GetName(), want, "balochistan")
		if o := punjab.offer(offer); o.GetState() != offerWithdrawn || o.GetHold() != "" && !punjab.released[o.GetHold()] {
			t.Errorf("seed %d: punjab sees %v", seed, o)
		}
		for _, m := range net.history {
			if letter, ok := m.out.Body.(*custodyv1.ReplyLetter); ok && origin.recorded(v.GetName(), letter.GetReply()) == nil {
				crossed++
				break
			}
		}
	}
	if crossed == 0 {
		t.Error("no acceptance crossed a cancellation: nothing was shown")
	}
}

// recorded finds a reply in the chain; nil where it is not there.
func (n *node) recorded(name string, signed *custodyv1.SignedReply) *custodyv1.Event {
	for _, l := range n.net.chain(n, name).Links() {
		if string(l.Event.GetReplyRecorded().GetReply().GetReply()) == string(signed.GetReply()) {
			return l.Event
		}
	}
	return nil
}

func TestAnOfferExpiresAtItsAnswerTime(t *testing.T) {
	for _, accepting := range []bool{false, true} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		v := net.walk(submitted)
		offer := v.GetOffers()[0].GetName()
		if accepting { // the acceptance is on its way when the time is over
			punjab.accept(offer)
		}
		net.now = v.GetOffers()[0].GetAnswerBy().AsTime().Add(-1)
		origin.fire()
		if origin.told("referral.offer.expired.v1", offer) != 0 {
			t.Error("the offer expired before its time")
		}
		net.now = net.now.Add(1)
		for range 2 {
			origin.fire()
		}
		net.settle()
		got := origin.get(v.GetName())
		if got.GetState() != submitted || got.GetOffers()[0].GetState() != offerExpired || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN {
			t.Errorf("the origin sees %v", got)
		}
		o := punjab.offer(offer)
		if o.GetState() != offerExpired || punjab.told("referral.offer.expired.v1", offer) != 1 || origin.told("referral.offer.expired.v1", offer) != 1 {
			t.Errorf("the unit sees %v", o)
		}
		if accepting && !punjab.released[o.GetHold()] {
			t.Error("the bed is kept")
		}
	}
}

func TestAReferralThatNobodyTakesExpires(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	v := net.walk(submitted)
	_, err := punjab.DeclineOffer(context.Background(), &referralv1.DeclineOfferRequest{Name: v.GetOffers()[0].GetName(), Reason: "TOO_FAR"}, actor)
	must(t, err)
	net.settle()
	last := net.now
	for origin.get(v.GetName()).GetState() == submitted {
		next := origin.fire()
		if next.Sub(last) > 8*24*time.Hour {
			t.Fatalf("it does not end: due is %v", next)
		}
		if !next.IsZero() {
			net.now = next
		}
	}
	net.settle()
	net.checkState(v.GetName(), isExpired, "balochistan")
	if net.now.Sub(last) != 7*24*time.Hour || origin.told("referral.referral.expired.v1", v.GetName()) != 1 || origin.get(v.GetName()).GetNextDeadline() != nil {
		t.Errorf("it ended after %v, told %d times", net.now.Sub(last), origin.told("referral.referral.expired.v1", v.GetName()))
	}
	most := int32(0)
	for _, d := range origin.missed() {
		most = max(most, d.GetMissed())
	}
	if most < 3 {
		t.Errorf("before its end people were told up to step %d", most)
	}
}

func TestAMissedCheckInIsAnAlarmOnBothSides(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	v := net.walk(inTransit)
	checkIn := func(next time.Duration) {
		_, err := punjab.CheckIn(context.Background(), &referralv1.CheckInRequest{
			Name: v.GetName(), District: "PK-BA-HUB", NextTime: timestamppb.New(net.now.Add(next)), Note: theNote,
		}, actor)
		must(t, err)
		net.settle()
	}
	checkIn(2 * time.Hour)
	net.now = net.now.Add(time.Hour)
	checkIn(2 * time.Hour) // heard of again: the first agreement is kept
	net.now = net.now.Add(90 * time.Minute)
	origin.fire()
	punjab.fire()
	if len(origin.missed())+len(punjab.missed()) > 0 {
		t.Fatal("somebody who was heard of is missed")
	}
	if got := origin.get(v.GetName()); got.GetCheckedIn().GetDistrict() != "PK-BA-HUB" || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_CHECK_IN {
		t.Errorf("the origin sees %v", got)
	}
	net.now = net.now.Add(2 * time.Hour)
	for _, n := range []*node{origin, punjab} {
		n.fire()
		if m := n.missed(); len(m) != 1 || m[0].GetKind() != referralv1.Deadline_KIND_CHECK_IN {
			t.Errorf("at %s was missed %v", n.Node, m)
		}
	}
	net.settle()
}

func TestAPersonWhoDoesNotComeIsLookedFor(t *testing.T) {
	for _, end := range []string{"found", "arrived", "asked back"} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		v := net.walk(inTransit)
		if end == "asked back" { // and the wish to have the person back ends with it
			must(t, origin.askBack(v.GetName()))
			net.settle()
		}
		for range 2 {
			_, err := punjab.RecordNoShow(context.Background(), &referralv1.RecordNoShowRequest{
				Name: v.GetName(), LastContactTime: timestamppb.New(net.now.Add(-time.Hour)), Note: theNote,
			}, actor)
			must(t, err)
		}
		for _, m := range net.sent {
			if m.out.Kind == "custody.chain.v1" && m.out.Lane != postv1.Lane_LANE_URGENT {
				t.Errorf("the alarm leaves on the %v", m.out.Lane)
			}
		}
		net.settle()
		net.checkState(v.GetName(), noShow, "balochistan", "punjab")
		for _, n := range []*node{origin, punjab} {
			if n.told("referral.referral.no-show.v1", v.GetName()) != 1 {
				t.Errorf("%s was told %d times", n.Node, n.told("referral.referral.no-show.v1", v.GetName()))
			}
		}
		if d := origin.get(v.GetName()).GetNextDeadline(); d.GetKind() != referralv1.Deadline_KIND_FIND || punjab.get(v.GetName()).GetNextDeadline() != nil {
			t.Errorf("the origin has %v, punjab %v", d, punjab.get(v.GetName()).GetNextDeadline())
		}
		net.now = net.now.Add(3 * time.Hour)
		origin.fire()
		if m := origin.missed(); len(m) != 1 || m[0].GetKind() != referralv1.Deadline_KIND_FIND {
			t.Errorf("missed at the origin: %v", m)
		}
		net.settle()
		switch end {
		case "found":
			net.says("balochistan", "punjab", v.GetName(), "", &custodyv1.Reply{
				Body: &custodyv1.Reply_SafetyInformation{SafetyInformation: &custodyv1.SafetyInformation{Code: "FOUND_SAFE", Found: true}},
			})
			net.settle()
			if got := origin.get(v.GetName()); !got.GetFound() || got.GetNextDeadline() != nil || origin.told("referral.referral.found.v1", v.GetName()) != 1 {
				t.Errorf("the origin sees %v", got)
			}
		default:
			must(t, punjab.arrive(v.GetName()))
			net.settle()
			net.checkState(v.GetName(), hasCome, "balochistan", "punjab")
			if d := origin.get(v.GetName()).GetNextDeadline(); d.GetKind() != referralv1.Deadline_KIND_WATCH {
				t.Errorf("the origin has %v", d)
			}
		}
	}
}

func TestCorrectionsAndTheEndOfConsentReachWhoHoldsTheChain(t *testing.T) {
	for _, state := range []custodyv1.ReferralState{promised, inService, completed} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		v := net.walk(state)
		ctx, owner := context.Background(), origin
		if state > promised {
			owner = punjab
		}
		first := net.chain(owner, v.GetName()).Links()[0].Hash
		needs := submitRequest().GetNeeds()
		needs.AgeFrom, needs.AgeTo = 12, 12
		_, err := owner.CorrectReferral(ctx, &referralv1.CorrectReferralRequest{
			Name: v.GetName(), Supersedes: first.Bytes(), Body: &referralv1.CorrectReferralRequest_Needs{Needs: needs}, Note: theNote,
		}, actor)
		must(t, err)
		for range 2 { // ending it again is a no-op
			_, err = owner.EndConsent(ctx, &referralv1.EndConsentRequest{Name: v.GetName(), Note: theNote}, actor)
			must(t, err)
		}
		urgent := 0
		for _, m := range net.sent {
			if m.out.Kind == "custody.chain.v1" && m.out.Lane == postv1.Lane_LANE_URGENT {
				urgent++
			}
		}
		net.settle()
		for _, n := range []*node{origin, punjab} {
			got := n.get(v.GetName())
			if got.GetNeeds().GetAgeFrom() != 12 || !got.GetConsentEnded() || got.GetState() != state && n == owner || urgent == 0 {
				t.Errorf("in %v %s sees %v", state, n.Node, got)
			}
			if n.told("referral.referral.corrected.v1", v.GetName()) != 1 || n.told("referral.referral.consent-ended.v1", v.GetName()) != 1 {
				t.Errorf("in %v %s was not told", state, n.Node)
			}
		}
		if state == promised {
			must(t, origin.withdraw(v.GetOffers()[0].GetName(), "CONSENT_ENDED"))
			if _, err := origin.ask(v.GetName(), karachi); fault.ReasonOf(err) != fault.ConsentMissing {
				t.Errorf("another unit is asked after consent has ended: %v", err)
			}
			net.settle()
		}
	}
}

// What somebody else says of consent makes the owner tell everybody.
func TestConsentWithdrawnElsewhereEndsIt(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	v := net.walk(inService)
	net.says("balochistan", "punjab", v.GetName(), "", &custodyv1.Reply{
		Body: &custodyv1.Reply_ConsentWithdrawn{ConsentWithdrawn: &custodyv1.ConsentWithdrawn{WithdrawTime: timestamppb.New(net.now)}},
	})
	net.settle()
	for _, n := range []*node{origin, punjab} {
		if !n.get(v.GetName()).GetConsentEnded() || n.told("referral.referral.consent-ended.v1", v.GetName()) != 1 {
			t.Errorf("%s sees %v", n.Node, n.get(v.GetName()))
		}
	}
}

func TestWhatOwnersWriteIsNowhereButInAnnexes(t *testing.T) {
	net, origin, punjab, _ := twice(newNetworkOnFiles(t))
	v := net.walk(inTransit)
	ctx := context.Background()
	must(t, origin.askBack(v.GetName()))
	net.settle()
	must(t, punjab.withdraw(punjab.lastOffer(v.GetName()).GetName(), "OTHER"))
	_, err := punjab.CheckIn(ctx, &referralv1.CheckInRequest{Name: v.GetName(), Note: theNote}, actor)
	must(t, err)
	must(t, punjab.arrive(v.GetName()))
	must(t, punjab.serve(v.GetName()))
	_, err = punjab.CompleteReferral(ctx, completeRequest(v.GetName()))
	must(t, err)
	net.settle()
	checkNoLeak(t, net, v.GetName())
	if a, b := origin.annexes(v.GetName()), punjab.annexes(v.GetName()); !slices.Equal(a, b) {
		t.Errorf("the origin holds %d annexes, punjab %d", len(a), len(b))
	}
}

// Within one province one node is giver, owner and receiver: who finds the person there says so, and the search ends.
func TestAPersonIsFoundWithinOneNode(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["punjab"]
	r := submitRequest()
	r.Parent, r.Unit = "nodes/punjab", "nodes/punjab/units/multan"
	v, err := n.SubmitReferral(background, r)
	must(t, err)
	net.settle()
	n.accept(v.GetOffers()[0].GetName())
	net.settle()
	must(t, n.dispatch(v.GetName()))
	_, err = n.RecordNoShow(background, &referralv1.RecordNoShowRequest{Name: v.GetName()}, actor)
	must(t, err)
	net.settle()
	if d := n.get(v.GetName()).GetNextDeadline(); d.GetKind() != referralv1.Deadline_KIND_FIND {
		t.Fatalf("nobody looks for the person: %v", d)
	}
	told, err := n.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: v.GetName(), Code: "FOUND_SAFE", Found: true, Note: theNote}, actor)
	must(t, err)
	net.settle()
	if got := n.get(v.GetName()); told.GetToldNode() != "punjab" || !got.GetFound() || got.GetNextDeadline() != nil || n.told("referral.referral.found.v1", v.GetName()) != 1 {
		t.Errorf("told %v; the node sees %v", told, got)
	}
	net.checkDeadlines("found")
}

// The owner, where the person did not come, hears that they are found: the giver, who looks for them, is told with what was written.
func TestTheOwnerSaysThatAPersonIsFound(t *testing.T) {
	net, origin, punjab, sindh := newOwnerNetwork(t)
	v := net.walk(submitted)
	_, err := origin.ask(v.GetName(), karachi)
	must(t, err)
	net.settle()
	punjab.accept(v.GetOffers()[0].GetName())
	net.settle()
	must(t, origin.confirm(v.GetOffers()[0].GetName()))
	net.settle()
	must(t, origin.dispatch(v.GetName()))
	net.settle()
	_, err = punjab.RecordNoShow(background, &referralv1.RecordNoShowRequest{Name: v.GetName()}, actor)
	must(t, err)
	net.settle()
	// Who was only asked ends no search.
	_, err = sindh.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: v.GetName(), Code: "FOUND_SAFE", Found: true}, actor)
	must(t, err)
	net.settle()
	if got := origin.get(v.GetName()); got.GetFound() || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_FIND || origin.told("referral.referral.found.v1", v.GetName()) != 0 {
		t.Errorf("who was only asked ended the search: %v", got)
	}
	before := len(origin.annexes(v.GetName()))
	_, err = punjab.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: v.GetName(), Code: "FOUND_SAFE", Found: true, Note: theNote}, actor)
	must(t, err)
	net.settle()
	if got := origin.get(v.GetName()); !got.GetFound() || got.GetNextDeadline() != nil || len(origin.annexes(v.GetName())) != before+1 {
		t.Errorf("the giver sees %v", got)
	}
}

// Within one node the offer's deadline at the unit asked and the end of the offer at its owner are due at once: what has ended reminds nobody.
func TestAnOfferWithinOneNodeExpiresOnce(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["punjab"]
	r := submitRequest()
	r.Parent, r.Unit = "nodes/punjab", "nodes/punjab/units/multan"
	v, err := n.SubmitReferral(background, r)
	must(t, err)
	net.settle()
	offer := v.GetOffers()[0]
	net.now = offer.GetAnswerBy().AsTime()
	n.fire()
	net.settle()
	if o := n.offer(offer.GetName()); o.GetState() != offerExpired || n.deadline(offer.GetName()) != nil {
		t.Errorf("the offer is %v, and %v is due", o.GetState(), n.deadline(offer.GetName()))
	}
	net.checkDeadlines("expired")
}
