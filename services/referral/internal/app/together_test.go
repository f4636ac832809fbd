package app_test

import (
	"bytes"
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
)

func familyRequest() *referralv1.SubmitReferralsRequest {
	r := &referralv1.SubmitReferralsRequest{Parent: "nodes/balochistan"}
	for i := range 3 {
		one := submitRequest()
		one.RequestId = fmt.Sprintf("request-of-child-%d", i)
		r.Requests = append(r.Requests, one)
	}
	return r
}

// family begins the referrals of three children who are not parted.
func (net *network) family() []*referralv1.Referral {
	net.t.Helper()
	response, err := net.nodes["balochistan"].SubmitReferrals(context.Background(), familyRequest())
	must(net.t, err)
	net.settle()
	return response.GetReferrals()
}

// each does something for every child.
func each(family []*referralv1.Referral, do func(name string)) {
	for _, v := range family {
		do(v.GetName())
	}
}

// togetherRequest accepts the last offers of a family, with one call.
func (net *network) togetherRequest(n *node, family []*referralv1.Referral) *referralv1.AcceptOfferRequest {
	net.t.Helper()
	origin := net.nodes["balochistan"]
	request := acceptRequest(origin.lastOffer(family[0].GetName()).GetName())
	request.Group = "nodes/" + n.Node + "/shelters/a1/groups/b1"
	for _, v := range family[1:] {
		request.Also = append(request.Also, &referralv1.AcceptedWith{
			Offer: origin.lastOffer(v.GetName()).GetName(), Group: "nodes/" + n.Node + "/shelters/a1/groups/b2",
		})
	}
	return request
}

func (net *network) acceptAll(n *node, family []*referralv1.Referral) {
	net.t.Helper()
	_, err := n.AcceptOffer(context.Background(), net.togetherRequest(n, family), actor)
	must(net.t, err)
	net.settle()
}

func TestChildrenWhoAreNotParted(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	family := net.family()
	again, err := origin.SubmitReferrals(context.Background(), familyRequest())
	must(t, err)
	for i, v := range again.GetReferrals() {
		if v.GetName() != family[i].GetName() || len(v.GetTogether()) != 2 || slices.Contains(v.GetTogether(), v.GetName()) {
			t.Errorf("the same keys gave %v", v)
		}
	}
	if o := punjab.offer(family[0].GetOffers()[0].GetName()); !slices.Equal(o.GetTogether(), []string{family[1].GetName(), family[2].GetName()}) {
		t.Errorf("the unit asked sees %v", o)
	}
	before := punjab.dump()
	for name, change := range map[string]func(r *referralv1.AcceptOfferRequest){
		"alone":       func(r *referralv1.AcceptOfferRequest) { r.Also = nil },
		"all but one": func(r *referralv1.AcceptOfferRequest) { r.Also = r.Also[1:] },
		"one twice":   func(r *referralv1.AcceptOfferRequest) { r.Also[1] = r.Also[0] },
		"itself":      func(r *referralv1.AcceptOfferRequest) { r.Also[0].Offer = r.GetName() },
		"elsewhere":   func(r *referralv1.AcceptOfferRequest) { r.Also[0].Group = "nodes/sindh/shelters/a1/groups/b1" },
	} {
		r := net.togetherRequest(punjab, family)
		change(r)
		if _, err := punjab.AcceptOffer(context.Background(), r, actor); fault.ReasonOf(err) != fault.Field {
			t.Errorf("accepted %s: %v", name, err)
		}
	}
	if string(before) != string(punjab.dump()) {
		t.Error("a refused acceptance changed something")
	}
	net.acceptAll(punjab, family)
	if want := []string{"PlaceHold", "ConfirmHold", "ConfirmHold", "ConfirmHold"}; !slices.Equal(punjab.calls, want) || len(punjab.holds) != 1 {
		t.Errorf("the shelter was asked %v", punjab.calls)
	}
	each(family, func(name string) { net.checkState(name, promised, "balochistan") })
	must(t, origin.dispatch(family[1].GetName())) // one call sends all
	net.settle()
	for i, v := range family {
		net.checkState(v.GetName(), inTransit, "balochistan", "punjab")
		if n := len(punjab.annexes(v.GetName())); n != len(punjab.annexes(family[0].GetName())) || n < 3 {
			t.Errorf("punjab holds %d annexes of child %d", n, i)
		}
	}
	must(t, punjab.arrive(family[0].GetName())) // each arrives on its own
	net.settle()
	net.checkState(family[0].GetName(), hasCome, "balochistan", "punjab")
	net.checkState(family[2].GetName(), inTransit, "balochistan", "punjab")
	checkNoLeakOf(t, net)
}

// checkNoLeakOf holds that no letter or event shows what people wrote.
func checkNoLeakOf(t *testing.T, net *network) {
	t.Helper()
	shown := func(what string, raw []byte) {
		for _, c := range canaries {
			if bytes.Contains(raw, []byte(c)) {
				t.Errorf("%s shows %q", what, c)
			}
		}
	}
	if len(net.history) == 0 {
		t.Error("no letter was sent")
	}
	for _, m := range net.history {
		if !m.out.Sealed {
			shown(m.out.Kind, m.body)
		}
	}
	for _, n := range net.nodes {
		for _, e := range n.events {
			raw, err := proto.Marshal(e.data)
			must(t, err)
			shown(e.kind, raw)
		}
	}
}

func TestDispatchedOnlyWhenAllAreReady(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	family := net.family()
	_, err := punjab.AcceptOffer(context.Background(), net.togetherRequest(punjab, family), actor)
	must(t, err)
	punjab.silent = true // all are chosen, and the shelter does not promise yet
	net.settle()
	if err := origin.dispatch(family[0].GetName()); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("some were sent: %v", err)
	}
	each(family, func(name string) { net.checkState(name, confirmed, "balochistan") })
	punjab.silent = false
	net.settle()
	must(t, origin.dispatch(family[0].GetName()))
	net.settle()
}

// What was written beside an acceptance does not open when the shelter answers, because the key file is an older copy: the places are promised
// without it.
func TestTheyAreAcceptedWithAnOlderKeyFile(t *testing.T) {
	net, _, punjab, _ := newOwnerNetwork(t)
	family := net.family()
	punjab.silent = true
	_, err := punjab.AcceptOffer(background, net.togetherRequest(punjab, family), actor)
	must(t, err)
	punjab.loseKeys()
	punjab.silent = false
	net.settle()
	each(family, func(name string) { net.checkState(name, promised, "balochistan") })
}

// Whatever falls for one falls for all: nobody goes alone, no bed is kept, and all are asked for again, elsewhere.
func TestTheyFallBackTogether(t *testing.T) {
	for name, fall := range map[string]func(net *network, origin, punjab *node, v *referralv1.Referral){
		"taken back by the owner": func(net *network, origin, _ *node, v *referralv1.Referral) {
			must(net.t, origin.withdraw(v.GetOffers()[0].GetName(), "NEEDS_CHANGED"))
		},
		"one is cancelled": func(net *network, origin, _ *node, v *referralv1.Referral) { must(net.t, origin.cancel(v.GetName())) },
		"the shelter refuses one": func(net *network, _, punjab *node, v *referralv1.Referral) {
			net.says("punjab", "balochistan", v.GetName(), v.GetOffers()[0].GetName(), &custodyv1.Reply{
				Body: &custodyv1.Reply_ReleaseRequested{ReleaseRequested: &custodyv1.ReleaseRequested{Reason: "NO_CAPACITY"}},
			})
			net.settle()
			_, err := net.nodes["balochistan"].GrantRelease(context.Background(), &referralv1.GrantReleaseRequest{Name: v.GetOffers()[0].GetName()}, actor)
			must(net.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			net, origin, punjab, sindh := newOwnerNetwork(t)
			family := net.family()
			net.acceptAll(punjab, family)
			fall(net, origin, punjab, family[0])
			net.settle()
			left := family
			if origin.get(family[0].GetName()).GetState() == cancelled {
				left = family[1:]
			}
			for _, v := range left {
				got := origin.get(v.GetName())
				if got.GetState() != submitted || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN {
					t.Errorf("the origin sees %v", got)
				}
			}
			_, err := origin.ask(left[0].GetName(), karachi) // one call asks for all
			must(t, err)
			net.settle()
			net.acceptAll(sindh, left)
			must(t, origin.dispatch(left[0].GetName()))
			net.settle()
			each(left, func(name string) { net.checkState(name, inTransit, "balochistan", "sindh") })
		})
	}
}

// The shelter's promise for one fails after all were chosen: the others are let go.
func TestOneHoldThatEndedFreesAll(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	family := net.family()
	punjab.refuse[shelterv1.ShelterService_ConfirmHold_FullMethodName] = fault.New(fault.HoldEnded, "Ended.")
	net.acceptAll(punjab, family)
	each(family, func(name string) { net.checkState(name, submitted, "balochistan") })
	for _, v := range family {
		if o := origin.get(v.GetName()).GetOffers()[0]; o.GetState() != offerWithdrawn && o.GetDeclineReason() != "HOLD_ENDED" {
			t.Errorf("the origin sees %v", o)
		}
	}
}

// The acceptance is taken back while the shelter is asked for all: the beds are given back, once.
func TestAGroupTakenBackWhileItIsAccepted(t *testing.T) {
	for first := range 3 {
		net, origin, punjab, _ := newOwnerNetwork(t)
		family := net.family()
		punjab.silent = true
		_, err := punjab.AcceptOffer(context.Background(), net.togetherRequest(punjab, family), actor)
		must(t, err)
		must(t, origin.withdraw(family[first].GetOffers()[0].GetName(), "NEEDS_CHANGED"))
		if first > 0 { // some hear of it before the shelter answers, some after
			net.deliver(0)
		} else {
			net.settle()
		}
		punjab.silent = false
		net.settle()
		for _, v := range family {
			if o := punjab.offer(v.GetOffers()[0].GetName()); o.GetState() != offerWithdrawn {
				t.Errorf("punjab sees %v", o)
			}
		}
		if want := []string{"PlaceHold", "ReleaseHold"}; !slices.Equal(punjab.calls, want) {
			t.Errorf("the shelter was asked %v", punjab.calls)
		}
	}
}

// The offer in whose name the beds are held is over before the shelter answers, and the others are not told yet: nobody uses the beds,
// and they are given back, once.
func TestTheFirstOfAGroupIsTakenBackWhileItIsAccepted(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	family := net.family()
	punjab.silent = true
	_, err := punjab.AcceptOffer(context.Background(), net.togetherRequest(punjab, family), actor)
	must(t, err)
	must(t, origin.withdraw(family[0].GetOffers()[0].GetName(), "NEEDS_CHANGED"))
	net.deliver(slices.IndexFunc(net.sent, func(m mail) bool { return m.out.Subject == family[0].GetName() }))
	punjab.silent = false
	punjab.runCommands()
	if want := []string{"PlaceHold", "ReleaseHold"}; !slices.Equal(punjab.calls, want) {
		t.Errorf("the shelter was asked %v", punjab.calls)
	}
	for _, v := range family[1:] {
		if o := punjab.offer(v.GetOffers()[0].GetName()); o.GetState() != custodyv1.OfferState_OFFER_STATE_RECEIVED {
			t.Errorf("punjab sees %v", o)
		}
	}
	net.settle()
}

// A hold that the shelter has ended, or lost with a restore, takes all acceptances back that rested on it, once, so that the owner does not choose them
// in vain.
func TestAHoldForAllThatIsGone(t *testing.T) {
	for name, say := range map[string]func(punjab *node, offer, hold string){
		"its event is heard": func(punjab *node, offer, hold string) {
			data, err := anypb.New(&shelterv1.HoldChanged{Hold: hold, Offer: offer})
			must(t, err)
			must(t, punjab.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
				return punjab.FollowShelter(tx, &eventsv1.Event{Type: "shelter.hold.expired.v1", Data: data})
			}))
		},
		"files are compared": func(punjab *node, offer, _ string) {
			must(t, punjab.ReconcileShelter(background, &listed{whole: true, lost: []string{offer}}))
		},
	} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		origin.AutoConfirm = false
		family := net.family()
		net.acceptAll(punjab, family)
		lead := family[0].GetOffers()[0].GetName()
		hold := punjab.offer(lead).GetHold()
		punjab.holds[hold].State = shelterv1.Hold_STATE_EXPIRED
		for range 2 {
			say(punjab, lead, hold)
			net.settle()
		}
		for _, v := range family {
			if o := punjab.offer(v.GetOffers()[0].GetName()); o.GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED || o.GetDeclineReason() != "HOLD_ENDED" {
				t.Errorf("%s: punjab sees %v", name, o)
			}
			if o := origin.lastOffer(v.GetName()); o.GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED && o.GetDeclineReason() != "TOGETHER" {
				t.Errorf("%s: the origin sees %v", name, o)
			}
			net.checkState(v.GetName(), submitted, "balochistan")
		}
		if slices.Contains(punjab.calls, "ReleaseHold") {
			t.Errorf("%s: the shelter was asked %v", name, punjab.calls)
		}
	}
}

// The list of live offers names a hold for all once, with all its parts, as long as one of them lives, and as far as the furthest is.
func TestAHoldForAllStandsOnceAmongLiveOffers(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	family := net.family()
	lead := family[0].GetOffers()[0].GetName()
	check := func(when string, stage shelterv1.LiveOffer_Stage) {
		t.Helper()
		shelter := &listed{}
		must(t, punjab.ReconcileShelter(context.Background(), shelter))
		live := shelter.pages[0].GetOffers()
		if stage == shelterv1.LiveOffer_STAGE_UNSPECIFIED && len(live) == 0 {
			return
		}
		parts := 3
		if stage == shelterv1.LiveOffer_STAGE_TENTATIVE {
			parts = 0 // no bed is entered anew for it
		}
		if len(live) != 1 || live[0].GetOffer() != lead || live[0].GetStage() != stage || len(live[0].GetParts()) != parts || live[0].GetHold() != punjab.offer(lead).GetHold() {
			t.Errorf("%s: %v", when, live)
		}
	}
	punjab.silent = true
	_, err := punjab.AcceptOffer(context.Background(), net.togetherRequest(punjab, family), actor)
	must(t, err)
	check("accepting", shelterv1.LiveOffer_STAGE_TENTATIVE)
	punjab.silent = false
	net.settle()
	check("promised", shelterv1.LiveOffer_STAGE_PROMISED)
	must(t, origin.dispatch(family[0].GetName()))
	net.settle()
	must(t, punjab.arrive(family[2].GetName()))
	net.settle()
	check("one has arrived", shelterv1.LiveOffer_STAGE_ARRIVED)
}

// A child that travelled first does not take the others' places away.
func TestAChildWhoTravelledFirst(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	net.again = false // an arrival asserted again is answered again
	family := net.family()
	net.acceptAll(punjab, family)
	net.says("punjab", "balochistan", family[0].GetName(), "", &custodyv1.Reply{
		Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{Ordinal: 1, Unit: "nodes/punjab/units/lahore"}},
	})
	net.settle()
	net.checkState(family[0].GetName(), inTransit, "balochistan", "punjab")
	each(family[1:], func(name string) { net.checkState(name, promised, "balochistan") })
	must(t, origin.dispatch(family[1].GetName()))
	net.settle()
	each(family, func(name string) { net.checkState(name, inTransit, "balochistan", "punjab") })
	if slices.Contains(punjab.calls, "ReleaseHold") {
		t.Errorf("the others' beds were given back: %v", punjab.calls)
	}
}

func TestRefusedGroups(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	family := net.family()
	before := origin.dump()
	for name, c := range map[string]struct {
		change func(r *referralv1.SubmitReferralsRequest)
		want   fault.Reason
		field  string
	}{
		"another unit is asked": {func(r *referralv1.SubmitReferralsRequest) { r.Requests[1].ToUnit = karachi }, fault.Field, "requests[1].to_unit"},
		"another risk":          {func(r *referralv1.SubmitReferralsRequest) { r.Requests[2].Urgency = 3 }, fault.Field, "requests[2].urgency"},
		"a key twice":           {func(r *referralv1.SubmitReferralsRequest) { r.Requests[2].RequestId = r.Requests[0].GetRequestId() }, fault.Field, "requests[2].request_id"},
		"a code that is none": {func(r *referralv1.SubmitReferralsRequest) {
			r.Requests[1].Service = "X"
		}, fault.UnknownCode, "requests[1].service"},
		"some keys used before":   {func(r *referralv1.SubmitReferralsRequest) { r.Requests[1].RequestId = "request-new" }, fault.IdempotencyMismatch, ""},
		"fewer of them":           {func(r *referralv1.SubmitReferralsRequest) { r.Requests = r.Requests[:2] }, fault.IdempotencyMismatch, ""},
		"a key with another note": {func(r *referralv1.SubmitReferralsRequest) { r.Requests[1].Note = "Another." }, fault.IdempotencyMismatch, ""},
	} {
		r := proto.CloneOf(familyRequest())
		if c.field != "" {
			for _, one := range r.GetRequests() {
				one.RequestId = "new-" + one.GetRequestId()
			}
		}
		c.change(r)
		_, err := origin.SubmitReferrals(context.Background(), r)
		f, _ := err.(*fault.Error)
		if fault.ReasonOf(err) != c.want || c.field != "" && (len(f.Fields()) != 1 || f.Fields()[0].Field != c.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if string(before) != string(origin.dump()) || len(net.sent) > 0 {
		t.Error("a refused group changed something")
	}
	each(family, func(name string) { must(t, origin.cancel(name)) })
	net.settle()
}

// In whatever order letters, refusals and withdrawals come, no child leaves without the others, and no bed stays.
func TestNobodyGoesAloneInAnyOrder(t *testing.T) {
	sent := 0
	for seed := range uint64(6) {
		net, origin, punjab, sindh := newOwnerNetwork(t)
		net.again = seed%4 == 0
		rnd := mathrand.New(mathrand.NewPCG(seed, 7))
		family := net.family()
		all := []*node{origin, punjab, sindh}
		for range 200 {
			v := family[rnd.IntN(len(family))]
			offer := origin.lastOffer(v.GetName())
			asked := net.nodes[offer.GetToNode()]
			switch rnd.IntN(16) {
			case 0, 1, 2, 3:
				_, _ = asked.AcceptOffer(context.Background(), net.togetherRequest(asked, family), actor)
			case 4:
				if rnd.IntN(12) == 0 {
					_, _ = asked.DeclineOffer(context.Background(), &referralv1.DeclineOfferRequest{Name: offer.GetName(), Reason: "TOO_FAR"}, actor)
				}
			case 5:
				if rnd.IntN(12) == 0 {
					_ = origin.withdraw(offer.GetName(), "NEEDS_CHANGED")
				}
			case 6:
				if rnd.IntN(8) > 0 {
					break
				}
				_, _ = origin.ask(v.GetName(), []string{karachi, "nodes/punjab/units/lahore"}[rnd.IntN(2)])
			case 7:
				_ = origin.confirm(offer.GetName())
				_ = origin.dispatch(v.GetName())
			case 8:
				if rnd.IntN(8) == 0 {
					net.now = net.now.Add(time.Duration(rnd.IntN(3)) * time.Hour)
					origin.fire()
				}
			default:
				net.deliverAny(rnd)
				all[1+rnd.IntN(2)].runCommands()
			}
			travelling := 0
			each(family, func(name string) {
				if origin.get(name).GetState() == inTransit {
					travelling++
				}
			})
			if travelling != 0 && travelling != len(family) {
				t.Fatalf("seed %d: %d of %d are on the road", seed, travelling, len(family))
			}
		}
		net.settle()
		if origin.get(family[0].GetName()).GetState() == inTransit {
			sent++
		}
	}
	if sent == 0 {
		t.Error("nobody ever left: nothing was shown")
	}
}

// Of a family one referral alone comes back to an origin that was restored: it goes on without those that nobody has any more.
func TestAFamilyOfWhomOneComesBack(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	old := origin.copy()
	family := net.family()
	_, err := punjab.AcceptOffer(context.Background(), net.togetherRequest(punjab, family), actor)
	must(t, err)
	chain := func(m mail) bool { return m.out.Kind == "custody.chain.v1" }
	for !slices.ContainsFunc(net.sent, chain) { // until the place is chosen for all
		net.deliver(0)
	}
	net.sent = slices.DeleteFunc(net.sent, func(m mail) bool { return chain(m) && m.out.Subject != family[1].GetName() })
	net.deliver(slices.IndexFunc(net.sent, chain))
	origin.restore(old, true, false)
	net.heal()
	if v := origin.get(family[1].GetName()); v.GetState() != custodyv1.ReferralState_REFERRAL_STATE_READY || len(net.refused) > 0 {
		t.Errorf("the one that came back is %v; refused: %q", v.GetState(), net.refused)
	}
	must(t, origin.dispatch(family[1].GetName()))
	net.settle()
	must(t, punjab.arrive(family[1].GetName()))
	net.settle()
	net.checkState(family[1].GetName(), custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, "balochistan", "punjab")
}

// A family was asked at two places, and one was chosen; the origin is put back to before that, and hears of the choice by the chain of one of
// them while all stand still. The other place has fallen for all: nothing jams, and nobody is expected there whichever copies come back.
func TestAPlaceThatFellIsHeardOfInARecovery(t *testing.T) {
	for _, all := range []bool{true, false} {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		family := net.family()
		_, err := punjab.AcceptOffer(background, net.togetherRequest(punjab, family), actor)
		must(t, err)
		first := origin.lastOffer(family[0].GetName()).GetName()
		_, err = origin.ask(family[0].GetName(), karachi)
		must(t, err)
		for len(net.sent) > 0 {
			net.deliver(0)
		}
		old := origin.copy()
		must(t, origin.confirm(first))
		if !all { // the chains of the others are lost on the way
			net.sent = slices.DeleteFunc(net.sent, func(m mail) bool { return m.out.Subject != family[0].GetName() })
		}
		net.settle()
		origin.restore(old, true, false)
		net.heal()
		if len(net.refused) > 0 {
			t.Errorf("refused: %q", net.refused)
		}
		for _, one := range family {
			for _, o := range origin.get(one.GetName()).GetOffers() {
				if live(o.GetState()) && o.GetToNode() != punjab.Node {
					t.Errorf("all told %t: an offer to %s is %v, which is not needed", all, o.GetToNode(), o.GetState())
				}
			}
		}
	}
}
