package app_test

import (
	"slices"
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
)

// A former owner is suspended, or the roster drops its referral service: the owner goes on without it, and arrivals are taken; when it is there
// again, it asks for what it missed.
func TestASuspendedNodeHoldsUpNobody(t *testing.T) {
	t.Run("suspended", func(t *testing.T) { holdsUpNobody(t, func(net *network) map[string]bool { return net.suspended }) })
	t.Run("without the service", func(t *testing.T) { holdsUpNobody(t, func(net *network) map[string]bool { return net.dropped }) })
}

func holdsUpNobody(t *testing.T, absent func(*network) map[string]bool) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	name := net.walk(inTransit).GetName()
	absent(net)["balochistan"] = true
	must(t, punjab.arrive(name))
	net.settle()
	must(t, punjab.serve(name))
	_, err := punjab.CompleteReferral(background, completeRequest(name))
	must(t, err)
	net.settle()
	absent(net)["balochistan"] = false
	net.now = net.now.Add(60 * 24 * time.Hour)
	origin.fire()
	net.settle()
	net.checkState(name, completed, "balochistan", "punjab")
}

// What is said of a person while the owner takes no part is said again when it does, with what was written beside it, until it stands in the
// chain, and then no more.
func TestAWordToASuspendedOwner(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	name := net.walk(hasCome).GetName()
	net.suspended["punjab"] = true
	_, err := origin.WithdrawConsent(background, &referralv1.WithdrawConsentRequest{Name: name, Note: theNote}, actor)
	must(t, err)
	net.settle()
	net.suspended["punjab"] = false
	for _, want := range []int{1, 0} {
		net.now = origin.get(name).GetNextDeadline().GetDueTime().AsTime()
		origin.fire()
		before := len(net.history)
		net.settle()
		words := slices.DeleteFunc(slices.Clone(net.history[before:]), func(m mail) bool { return m.from != origin.Node || m.out.Kind != "custody.reply.v1" })
		if ended := origin.chain(name).State().ConsentEnded; !ended || len(words) != want || len(net.refused) > 0 {
			t.Fatalf("consent has ended: %t; it is said %d times; refused %q", ended, len(words), net.refused)
		}
	}
	for _, l := range punjab.chain(name).Links() {
		if _, by := custody.Said(l); by == origin.Node && !slices.Contains(punjab.annexes(name), custody.Hash(l.Event.GetAnnexCommitment()).String()) {
			t.Error("what was written beside it did not come")
		}
	}
}

// However much was said, the chain that says what it is about is sent but once, ahead of it all in one lane: that of what never waits, where some of
// it may not wait.
func TestTheChainIsSentOnceWithAllThatIsSaidAgain(t *testing.T) {
	t.Run("of safety too", func(t *testing.T) { saidAgainInOneLane(t, true) })
	t.Run("what can wait", func(t *testing.T) { saidAgainInOneLane(t, false) })
}

func saidAgainInOneLane(t *testing.T, safety bool) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	name := net.arrivedInBulk()
	net.suspended["punjab"] = true
	must(t, origin.askBack(name))
	wrong := origin.chain(name).Links()[0].Hash.Bytes()
	for range 2 {
		net.now = net.now.Add(time.Minute)
		_, err := origin.RequestCorrection(background, &referralv1.RequestCorrectionRequest{Name: name, Event: wrong, Note: theNote}, actor)
		must(t, err)
	}
	lane, words := postv1.Lane_LANE_BULK, 3
	if safety {
		lane, words = postv1.Lane_LANE_URGENT, 4
		_, err := origin.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: name, Code: "THREAT", Note: theNote}, actor)
		must(t, err)
	}
	net.settle()
	net.suspended["punjab"] = false
	net.now = origin.get(name).GetNextDeadline().GetDueTime().AsTime()
	origin.fire()
	var kinds []string
	beside := 0
	for _, m := range net.sent {
		switch {
		case m.from != origin.Node:
			continue
		case m.out.Sealed:
			beside++
		default:
			kinds = append(kinds, m.out.Kind)
		}
		if m.out.Lane != lane {
			t.Errorf("%s goes in the lane %v", m.out.Kind, m.out.Lane)
		}
	}
	want := append([]string{"custody.chain.v1"}, slices.Repeat([]string{"custody.reply.v1"}, words)...)
	if want = append(want, "custody.head.v1"); !slices.Equal(kinds, want) || beside < words-1 {
		t.Errorf("it sends %q, and %d annexes", kinds, beside)
	}
	net.settle()
	said := 0
	for _, l := range punjab.chain(name).Links() {
		if _, by := custody.Said(l); by == origin.Node && l.Event.GetReplyRecorded() != nil {
			said++
		}
	}
	if said != words || len(net.refused) > 0 {
		t.Errorf("the owner has recorded %d replies, and refused %q", said, net.refused)
	}
}

// So is what was said to its offer: else the owner waits for a promise that was given, and the promised bed for the person.
func TestAPromiseToASuspendedOwner(t *testing.T) {
	for what, say := range map[string]func(n *node, offer string){
		"acceptance": func(n *node, offer string) { n.accept(offer); n.net.settle() },
		"promise":    func(n *node, _ string) { n.net.settle() },
	} {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		v := net.walk(submitted)
		offer := v.GetOffers()[0].GetName()
		if what == "promise" {
			punjab.accept(offer)
			for len(net.sent) > 0 { // the shelter has not answered yet
				net.deliver(0)
			}
		}
		net.suspended["balochistan"] = true
		say(punjab, offer)
		net.suspended["balochistan"] = false
		if got := origin.get(v.GetName()).GetState(); got == promised {
			t.Fatalf("%s: the owner has heard all: the test tries nothing", what)
		}
		net.now = net.now.Add(36 * time.Hour)
		punjab.fire()
		net.settle()
		if got := origin.get(v.GetName()); got.GetState() != promised || len(net.refused) > 0 {
			t.Errorf("%s: at its owner the referral is %v, the offer %v; refused %q", what, got.GetState(), got.GetOffers()[0].GetState(), net.refused)
		}
	}
}

// The slip names a node that is suspended: the arrival is asserted all the same, and said again until that node is back.
func TestAnArrivalFromASuspendedNode(t *testing.T) {
	net := newNetwork(t)
	name, sindh := net.walk(submitted).GetName(), net.nodes["sindh"]
	net.suspended["balochistan"] = true
	shown, err := sindh.assert(name)
	must(t, err)
	net.settle()
	net.suspended["balochistan"] = false
	net.now = shown.GetDueTime().AsTime()
	sindh.fire()
	net.settle()
	net.came(name, "sindh")
}

// An acceptance waits while its receiver, restored, asks the others; meanwhile its writer is suspended. It stands in the chain all the same, is
// not chosen by itself, and a person chooses once the place takes part again.
func TestAnAcceptanceThatWaitedOfASuspendedNode(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.walk(submitted)
	offer := v.GetOffers()[0].GetName()
	net.suspended["sindh"] = true
	origin.restore(origin.copy(), true, false)
	punjab.accept(offer)
	net.settle()
	if got := origin.awaited(); !slices.Equal(got, []string{"sindh"}) {
		t.Fatalf("awaited are %v", got)
	}
	net.suspended["sindh"], net.suspended["punjab"] = false, true
	net.now = net.now.Add(time.Minute)
	net.heal()
	got := origin.get(v.GetName())
	if o := got.GetOffers()[0]; o.GetState() != offerAccepted || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_CONFIRM || len(net.refused) > 0 {
		t.Errorf("the offer is %v, the next deadline %v; refused %v", o.GetState(), got.GetNextDeadline(), net.refused)
	}
	net.suspended["punjab"] = false
	must(t, origin.confirm(offer))
	net.settle()
	net.checkState(v.GetName(), custodyv1.ReferralState_REFERRAL_STATE_READY, "balochistan")
}

// A chosen place is suspended before the person leaves: nobody is sent there, and the offer is taken back.
func TestNobodyIsSentToASuspendedNode(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	origin.AutoConfirm = false
	v := net.walk(submitted)
	offer := v.GetOffers()[0].GetName()
	punjab.accept(offer)
	net.settle()
	net.suspended["punjab"] = true
	wrong(t, origin.confirm(offer), fault.UnknownNode, "name")
	net.suspended["punjab"] = false
	must(t, origin.confirm(offer))
	net.settle()
	net.suspended["punjab"] = true
	wrong(t, origin.dispatch(v.GetName()), fault.UnknownNode, "name")
	must(t, origin.withdraw(offer, "NEEDS_CHANGED"))
	net.settle()
	net.checkState(v.GetName(), submitted, "balochistan")
	net.suspended["punjab"] = false // its beds are given back when it hears, at the latest by what it says too late
	_, err := punjab.RequestRelease(background, &referralv1.RequestReleaseRequest{Name: offer, Reason: "NO_CAPACITY"}, actor)
	must(t, err)
	net.settle()
	if o := punjab.offer(offer); o.GetState() != offerWithdrawn {
		t.Errorf("punjab sees %v", o)
	}
}
