package app_test

import (
	"context"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
)

// bringBack brings the person back to the origin, once it is asked for.
func (net *network) bringBack(owner, origin *node, name string) {
	net.t.Helper()
	must(net.t, owner.confirm(owner.lastOffer(name).GetName()))
	net.settle()
	net.checkState(name, promised, owner.Node)
	must(net.t, owner.dispatch(name))
	net.settle()
	must(net.t, origin.arrive(name))
	net.settle()
}

// goBack brings the person back, which the origin writes down.
func (net *network) goBack(owner, origin *node, name string) {
	net.t.Helper()
	net.bringBack(owner, origin, name)
	for range 2 { // recording it again is a no-op
		_, err := origin.RecordReturn(context.Background(), &referralv1.RecordReturnRequest{Name: name, Reason: "FAMILY_TRACED", Note: theNote}, actor)
		must(net.t, err)
	}
	net.settle()
}

func TestAPersonComesBack(t *testing.T) {
	for _, state := range []custodyv1.ReferralState{inTransit, hasCome, inService} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		v := net.walk(state)
		for range 2 { // asking again is a no-op
			must(t, origin.askBack(v.GetName()))
		}
		if got := origin.get(v.GetName()); !got.GetReturnRequested() || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_RETURN {
			t.Errorf("the origin sees %v", got)
		}
		net.settle()
		if got := punjab.get(v.GetName()); got.GetState() != state || !punjab.lastOffer(v.GetName()).GetReturn() || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_CONFIRM {
			t.Errorf("the owner sees %v", got)
		}
		if punjab.told("referral.referral.return-requested.v1", v.GetName()) != 1 {
			t.Error("the owner was not told")
		}
		net.goBack(punjab, origin, v.GetName())
		net.checkState(v.GetName(), returned, "balochistan", "punjab")
		got := origin.get(v.GetName())
		if got.GetOwnerNode() != "balochistan" || got.GetCareNode() != "balochistan" || got.GetNextDeadline() != nil || got.GetReturnRequested() ||
			got.GetEndReason() != "FAMILY_TRACED" || got.GetResponsibleUnit() != "nodes/balochistan/units/hub" {
			t.Errorf("the origin sees %v", got)
		}
		want := []string{facts.Referred, facts.Accepted, facts.Dispatched, facts.Arrived, facts.Returned}
		if state == inTransit { // they turned round on the road
			want = slices.Delete(want, 3, 4)
		}
		if !slices.Equal(net.flows(), want) {
			t.Errorf("from %v the flow reached %v", state, net.flows())
		}
		net.checkTold(v.GetName())
	}
}

// The person arrives while the road back is being made ready: the wish stands, and is chosen anew.
func TestAPersonArrivesWhileTheReturnIsMadeReady(t *testing.T) {
	for _, ready := range []bool{false, true} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		v := net.walk(inTransit)
		must(t, origin.askBack(v.GetName()))
		net.settle()
		must(t, punjab.confirm(punjab.lastOffer(v.GetName()).GetName()))
		if ready {
			net.settle() // the promise has come
		}
		net.now = net.now.Add(time.Minute)
		must(t, punjab.arrive(v.GetName()))
		net.settle()
		net.checkState(v.GetName(), hasCome, "balochistan", "punjab")
		net.goBack(punjab, origin, v.GetName())
		net.checkState(v.GetName(), returned, "balochistan", "punjab")
	}
}

// The request, and later the promise, are lost; the deadline says them again.
func TestWhatTheOriginSaysIsSaidAgain(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	v := net.walk(hasCome)
	must(t, origin.askBack(v.GetName()))
	net.sent = nil
	net.now = net.now.Add(time.Hour)
	origin.fire()
	if m := origin.missed(); len(m) != 1 || m[0].GetKind() != referralv1.Deadline_KIND_RETURN {
		t.Errorf("missed %v", m)
	}
	net.settle()
	offer := punjab.lastOffer(v.GetName())
	if !offer.GetReturn() {
		t.Fatalf("the owner sees %v", punjab.get(v.GetName()))
	}
	must(t, punjab.confirm(offer.GetName()))
	for len(net.sent) > 0 { // the chain with the choice comes, the promise is lost
		net.deliver(0)
		net.sent = slices.DeleteFunc(net.sent, func(m mail) bool { return m.out.Kind == "custody.reply.v1" })
	}
	net.checkState(v.GetName(), confirmed, "punjab", "balochistan")
	net.now = origin.get(v.GetName()).GetNextDeadline().GetDueTime().AsTime()
	origin.fire()
	net.settle()
	net.checkState(v.GetName(), promised, "punjab")
}

func TestAnOwnerCanRefuseAReturn(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	v := net.walk(inService)
	must(t, origin.askBack(v.GetName()))
	net.settle()
	must(t, punjab.withdraw(punjab.lastOffer(v.GetName()).GetName(), "OTHER"))
	net.settle()
	got := origin.get(v.GetName())
	if got.GetReturnRequested() || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_WATCH || origin.lastOffer(v.GetName()).GetDeclineReason() != "OTHER" ||
		origin.told("referral.offer.withdrawn.v1", v.GetName()) != 1 {
		t.Errorf("the origin sees %v", got)
	}
	net.checkState(v.GetName(), inService, "punjab")
	// Things have changed, and it is asked anew of the same owner; that an old request comes once more changes nothing.
	var old []mail
	for _, m := range net.history {
		if replyOf(t, m).GetReturnRequested() != nil {
			old = append(old, m)
		}
	}
	net.now = net.now.Add(24 * time.Hour)
	must(t, origin.askBack(v.GetName()))
	if got := origin.get(v.GetName()); !got.GetReturnRequested() || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_RETURN {
		t.Errorf("asked anew, the origin sees %v", got)
	}
	net.settle()
	head := punjab.head(v.GetName())
	for _, m := range old {
		net.apply(m)
	}
	if string(head) != string(punjab.head(v.GetName())) || len(old) == 0 {
		t.Errorf("an old request moved the referral, of %d", len(old))
	}
	net.goBack(punjab, origin, v.GetName())
	net.checkState(v.GetName(), returned, "balochistan", "punjab")
}

// referOn sends the person from punjab to sindh.
func (net *network) referOn(name string) {
	net.t.Helper()
	punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
	_, err := punjab.ask(name, karachi)
	must(net.t, err)
	net.settle()
	sindh.accept(punjab.lastOffer(name).GetName())
	net.settle()
	must(net.t, punjab.dispatch(name))
	net.settle()
}

func TestAPersonIsReferredOnToAThirdProvince(t *testing.T) {
	for _, state := range []custodyv1.ReferralState{hasCome, inService} {
		net, origin, punjab, sindh := newOwnerNetwork(t)
		v := net.walk(state)
		net.referOn(v.GetName())
		net.checkState(v.GetName(), inTransit, "balochistan", "punjab", "sindh")
		if got := punjab.get(v.GetName()); got.GetCareNode() != "punjab" || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_WATCH {
			t.Errorf("the giver sees %v", got)
		}
		if from := sindh.lastOffer(v.GetName()).GetFromNode(); from != "punjab" {
			t.Errorf("the offer is from %s", from)
		}
		must(t, sindh.arrive(v.GetName()))
		net.settle()
		net.checkState(v.GetName(), hasCome, "balochistan", "punjab", "sindh")
		must(t, sindh.serve(v.GetName()))
		_, err := sindh.CompleteReferral(context.Background(), completeRequest(v.GetName()))
		must(t, err)
		net.settle()
		for _, n := range []*node{origin, punjab, sindh} {
			got := n.get(v.GetName())
			if got.GetState() != completed || got.GetOutcome() != "REUNIFIED" || got.GetOwnerNode() != "sindh" || got.GetCareNode() != "sindh" || got.GetNextDeadline() != nil {
				t.Errorf("%s sees %v", n.Node, got)
			}
		}
		there := []string{facts.Accepted, facts.Dispatched, facts.Arrived}
		if want := slices.Concat([]string{facts.Referred}, there, there, []string{facts.Completed, facts.Service}); !slices.Equal(net.flows(), want) {
			t.Errorf("stages %v", net.flows())
		}
		net.checkTold(v.GetName())
		if !slices.Contains(sindh.calls, "AdmitHold") {
			t.Errorf("sindh's shelter was asked %v", sindh.calls)
		}
	}
}

// The origin asks for a return while the owner hands the person on. The request names the ownership it was asked in: it lapses, the
// origin is told, and asks the new owner.
func TestARequestToReturnFromAnEarlierOwnerLapses(t *testing.T) {
	net, origin, punjab, sindh := newOwnerNetwork(t)
	v := net.walk(hasCome)
	_, err := punjab.ask(v.GetName(), karachi)
	must(t, err)
	net.settle()
	sindh.accept(punjab.lastOffer(v.GetName()).GetName())
	net.settle()
	must(t, origin.askBack(v.GetName()))
	asked := net.sent
	net.sent = nil
	must(t, punjab.dispatch(v.GetName()))
	dispatched := net.sent
	net.sent = append(asked, dispatched...) // the request reaches a former owner, which passes it on
	net.settle()
	got := origin.get(v.GetName())
	if got.GetReturnRequested() || got.GetOwnerNode() != "sindh" || origin.told("referral.referral.return-lapsed.v1", v.GetName()) != 1 {
		t.Fatalf("the origin sees %v, told %d", got, origin.told("referral.referral.return-lapsed.v1", v.GetName()))
	}
	must(t, origin.askBack(v.GetName()))
	net.settle()
	net.goBack(sindh, origin, v.GetName())
	net.checkState(v.GetName(), returned, "balochistan", "punjab", "sindh")
}

// A return and a third province, in both orders: one of them is chosen, the other hears of it.
func TestAReturnAgainstReferringOn(t *testing.T) {
	for _, home := range []bool{true, false} {
		net, origin, punjab, sindh := newOwnerNetwork(t)
		punjab.AutoConfirm = false
		v := net.walk(hasCome)
		_, err := punjab.ask(v.GetName(), karachi)
		must(t, err)
		net.settle()
		further := punjab.lastOffer(v.GetName()).GetName()
		sindh.accept(further)
		must(t, origin.askBack(v.GetName()))
		net.settle()
		back := punjab.lastOffer(v.GetName()).GetName()
		if home {
			net.goBack(punjab, origin, v.GetName())
			net.checkState(v.GetName(), returned, "balochistan", "punjab")
			if o := sindh.offer(further); o.GetState() != offerWithdrawn {
				t.Errorf("sindh sees %v", o)
			}
			continue
		}
		must(t, punjab.confirm(further))
		net.settle()
		if got := origin.offer(back); got.GetState() != offerWithdrawn || got.GetDeclineReason() != "OTHER_CHOSEN" {
			t.Errorf("the origin sees %v", got)
		}
		must(t, punjab.dispatch(v.GetName()))
		net.settle()
		must(t, sindh.arrive(v.GetName()))
		net.settle()
		net.checkState(v.GetName(), hasCome, "balochistan", "punjab", "sindh")
	}
}

// A request that comes while a third province is chosen waits: it is said again when that fell through.
func TestARequestToReturnWaitsForAChoiceToFall(t *testing.T) {
	net, origin, punjab, sindh := newOwnerNetwork(t)
	v := net.walk(hasCome)
	_, err := punjab.ask(v.GetName(), karachi)
	must(t, err)
	net.settle()
	sindh.accept(punjab.lastOffer(v.GetName()).GetName())
	net.settle() // and was chosen by itself
	must(t, origin.askBack(v.GetName()))
	net.settle()
	if !origin.get(v.GetName()).GetReturnRequested() {
		t.Fatal("the request was forgotten")
	}
	must(t, punjab.withdraw(punjab.lastOffer(v.GetName()).GetName(), "NEEDS_CHANGED"))
	net.settle()
	net.now = net.now.Add(2 * time.Hour)
	origin.fire()
	net.settle()
	if !punjab.lastOffer(v.GetName()).GetReturn() || origin.get(v.GetName()).GetReturnRequested() {
		t.Errorf("the owner sees %v", punjab.get(v.GetName()))
	}
}

func TestOnlyTheFirstOwnerAsksBack(t *testing.T) {
	net, _, punjab, _ := newOwnerNetwork(t)
	v := net.walk(hasCome)
	net.referOn(v.GetName())
	before := punjab.dump()
	if err := punjab.askBack(v.GetName()); fault.ReasonOf(err) != fault.WrongState || string(before) != string(punjab.dump()) {
		t.Errorf("a former owner asked back: %v", err)
	}
}

// Everybody tries everything on the way there, further and back, in any order of letters: nobody sees an impossible state, and the
// chains agree in the end.
func TestThereFurtherAndBackInAnyOrder(t *testing.T) {
	for seed := range uint64(5) {
		net, origin, punjab, sindh := newOwnerNetwork(t)
		net.again = seed%4 == 0
		rnd := mathrand.New(mathrand.NewPCG(seed, 5))
		v := net.walk(inTransit)
		name := v.GetName()
		all := []*node{origin, punjab, sindh}
		for range 250 {
			n := all[rnd.IntN(3)]
			offers := origin.get(name).GetOffers()
			if n.holdsChain(name) {
				offers = n.get(name).GetOffers()
			}
			offer := offers[len(offers)-1].GetName()
			switch rnd.IntN(16) {
			case 0:
				_ = origin.askBack(name)
			case 1:
				if n.holdsChain(name) {
					_, _ = n.ask(name, karachi)
				}
			case 2:
				request := acceptRequest(offer)
				request.Group = "nodes/sindh/shelters/a1/groups/b1"
				_, _ = sindh.AcceptOffer(context.Background(), request, actor)
			case 3:
				_ = n.confirm(offer)
			case 4:
				_ = n.dispatch(name)
			case 5:
				_ = n.arrive(name)
			case 6:
				_ = n.withdraw(offer, "NEEDS_CHANGED")
			case 7:
				if rnd.IntN(4) == 0 {
					_, _ = n.RecordReturn(context.Background(), &referralv1.RecordReturnRequest{Name: name, Reason: "FAMILY_TRACED"}, actor)
				}
			case 8:
				net.now = net.now.Add(time.Duration(rnd.IntN(5)) * time.Hour)
				for _, n := range all {
					n.fire()
				}
			default:
				net.deliverAny(rnd)
				n.runCommands()
			}
		}
		net.settle()
		for _, n := range all { // who lost a letter asks
			net.now = net.now.Add(60 * 24 * time.Hour)
			n.fire()
			net.settle()
		}
		net.checkDeadlines("at the end")
		owner := net.nodes[origin.get(name).GetOwnerNode()]
		if string(owner.head(name)) != string(origin.head(name)) && origin.get(name).GetOwnerNode() != owner.get(name).GetOwnerNode() {
			t.Errorf("seed %d: the origin and the owner disagree", seed)
		}
		net.facts()
		net.checkTold(name)
	}
}

func (n *node) holdsChain(name string) bool {
	_, err := n.GetReferral(context.Background(), name)
	return err == nil
}

// What is told inside a node says who owned a referral, and that the first owner owned it again.
func TestItIsToldWhoOwnedAReferralAgain(t *testing.T) {
	net := newNetwork(t)
	name := net.onTheWayBack()
	net.settle()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	must(t, origin.arrive(name))
	net.settle()
	for _, n := range []*node{origin, punjab} {
		var told [][]string
		for _, e := range n.events {
			if changed, ok := e.data.(*referralv1.ReferralChanged); ok && (len(told) == 0 || !slices.Equal(told[len(told)-1], changed.GetOwnerNodes())) {
				told = append(told, changed.GetOwnerNodes())
			}
		}
		if last := told[len(told)-1]; !slices.Equal(last, []string{"balochistan", "punjab", "balochistan"}) ||
			slices.ContainsFunc(told[:len(told)-1], func(one []string) bool { return len(one) > 2 }) {
			t.Errorf("%s: told %v", n.Node, told)
		}
	}
}
