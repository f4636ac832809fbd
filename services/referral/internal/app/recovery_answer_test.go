package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// status is what an operator sees of the node.
func (n *node) status() *statusv1.Status {
	n.t.Helper()
	s := &statusv1.Status{}
	must(n.t, n.DB.View(context.Background(), func(r kitstore.Reader) error { return store.Status(r, s) }))
	return s
}

// awaited are the nodes whose answers a restored node still awaits.
func (n *node) awaited() []string { return n.status().GetAwaitedNodes() }

// life is an incarnation as an answer names it.
func life(node string, incarnation uint64) *custodyv1.Incarnation {
	return &custodyv1.Incarnation{Node: node, Incarnation: incarnation}
}

// An answer to a query of an earlier life does not count: since then that node may have told this one what the later life has lost again.
func TestAnswerToAnEarlierLife(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	old := n.copy()
	n.restore(old, true, false)
	earlier := n.DB.Incarnation()
	n.restore(old, true, false)
	for _, from := range []string{"punjab", "sindh"} {
		net.brings(from, n.Node, "custody.recovery.answer.v1", &custodyv1.RecoveryAnswer{Known: []*custodyv1.Incarnation{life(n.Node, earlier)}})
		net.brings(from, n.Node, "custody.recovery.answer.v1", &custodyv1.RecoveryAnswer{})
	}
	if got := n.awaited(); !slices.Equal(got, []string{"punjab", "sindh"}) {
		t.Errorf("awaited are %v", got)
	}
	wrong(t, n.dispatch(v.GetName()), fault.Recovering, "restored")
	net.heal()
	must(t, n.dispatch(v.GetName()))
}

// All were restored, and punjab's post fails to take what it is to tell the first: the others are told, and its own recovery ends. The first is told
// when that can be.
func TestOneDebtKeepsNoOtherWaiting(t *testing.T) {
	net := newNetwork(t)
	punjab := net.nodes["punjab"]
	net.walk(hasCome)
	for _, n := range net.nodes {
		n.restore(n.copy(), true, false)
	}
	punjab.stuck = func(o post.Outgoing) bool {
		return o.To.GetNode() == "balochistan" && o.Kind == "custody.recovery.part.v1"
	}
	for range 20 {
		net.settle()
		net.now = net.now.Add(11 * time.Second)
	}
	if punjab.Recovering() || slices.Contains(net.nodes["sindh"].awaited(), "punjab") || !slices.Equal(net.nodes["balochistan"].awaited(), []string{"punjab"}) {
		t.Errorf("punjab recovers still: %t; sindh awaits %v, balochistan %v", punjab.Recovering(), net.nodes["sindh"].awaited(), net.nodes["balochistan"].awaited())
	}
	next, err := punjab.Recover(background)
	must(t, err)
	if !next.After(net.now) {
		t.Fatal("what could not be told is not told later")
	}
	punjab.stuck, net.now = nil, next
	net.heal()
}

// The asker is suspended while it is told what punjab holds, after punjab has looked whether it takes part: it is told that once it is readmitted,
// since it asks no second time.
func TestAnAnswerToWhoIsSuspendedMeanwhile(t *testing.T) {
	for _, kind := range []string{"custody.recovery.part.v1", "custody.annex.v1", "custody.recovery.answer.v1"} {
		t.Run(kind, func(t *testing.T) {
			net := newNetwork(t)
			n, punjab := net.nodes["balochistan"], net.nodes["punjab"]
			net.walk(hasCome)
			n.restore(n.copy(), true, false)
			kept := 0
			punjab.absent = func(o post.Outgoing) bool {
				is := o.To.GetNode() == n.Node && o.Kind == kind
				if is {
					kept++
				}
				return is
			}
			net.settle()
			if got := n.awaited(); kept == 0 || !slices.Equal(got, []string{"punjab"}) {
				t.Errorf("%d letters could not be sent, and awaited are %v", kept, got)
			}
			next, err := punjab.Recover(background)
			must(t, err)
			if !next.After(net.now) {
				t.Fatal("what could not be told is not told later")
			}
			punjab.absent, net.now = nil, next
			net.heal()
		})
	}
}

// A node becomes absent between the look and the question: that ends no service, and it is asked later.
func TestWhoIsSuspendedMeanwhileIsAskedLater(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	net.walk(hasCome)
	n.absent = func(o post.Outgoing) bool { return o.To.GetNode() == "sindh" && o.Kind == "custody.recovery.query.v1" }
	n.restore(n.copy(), true, false)
	net.settle()
	if got := n.awaited(); !slices.Equal(got, []string{"sindh"}) {
		t.Errorf("awaited are %v", got)
	}
	n.absent, net.now = nil, net.now.Add(time.Minute)
	net.heal()
}

// What was written beside does not open at punjab, whose key file is an older copy: it answers without that.
func TestAnAnnexThatDoesNotOpenKeepsNoAnswer(t *testing.T) {
	net := newNetwork(t)
	net.walk(hasCome)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	origin.restore(origin.copy(), true, false)
	punjab.loseKeys()
	net.heal()
}

// A store that has failed is no answer that cannot be given now: the service stops.
func TestADebtOfAStoreThatHasFailed(t *testing.T) {
	net := newNetwork(t)
	punjab := net.nodes["punjab"]
	net.brings("sindh", "punjab", "custody.recovery.query.v1", &custodyv1.RecoveryQuery{})
	punjab.engine.FailNextCommit(errors.New("no space left"))
	if _, err := punjab.Recover(background); !errors.Is(err, kitstore.ErrFatal) {
		t.Errorf("%v", err)
	}
	_ = punjab.DB.Close() // it says again why it failed
	punjab.open()
}

// Whoever has not heard of a node that was restored too may yet take in what an earlier life of that one wrote: it is asked again.
func TestAnswerOfWhoHasNotHeardOfARestore(t *testing.T) {
	for name, restored := range map[string]bool{"not restored": false, "restored": true} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			n := net.nodes["balochistan"]
			n.restore(n.copy(), true, false)
			own := life(n.Node, n.DB.Incarnation())
			net.brings("punjab", n.Node, "custody.recovery.answer.v1", &custodyv1.RecoveryAnswer{Known: []*custodyv1.Incarnation{own, life("punjab", 3)}})
			net.brings("sindh", n.Node, "custody.recovery.answer.v1", &custodyv1.RecoveryAnswer{
				Known: []*custodyv1.Incarnation{own, life("punjab", 3), life("sindh", 5)}, Restored: restored,
			})
			if got := n.awaited(); slices.Contains(got, "punjab") != restored || slices.Contains(got, "sindh") {
				t.Errorf("awaited are %v", got)
			}
			net.heal()
		})
	}
}

// It cannot hear of it while that other is away, for days perhaps, and each of its answers tells all that it holds: it is asked ever less often.
func TestWhoCannotHearOfARestoreIsAskedSeldom(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	n.restore(n.copy(), true, false)
	own := life(n.Node, n.DB.Incarnation())
	net.brings("sindh", n.Node, "custody.recovery.answer.v1", &custodyv1.RecoveryAnswer{Known: []*custodyv1.Incarnation{own, life("sindh", 5)}, Restored: true})
	asked, end := 0, net.now.Add(6*time.Hour)
	for net.now.Before(end) {
		next, err := n.Recover(background)
		must(t, err)
		for _, m := range net.sent {
			if m.out.To.GetNode() == "punjab" && m.out.Kind == "custody.recovery.query.v1" {
				asked++
				net.brings("punjab", n.Node, "custody.recovery.answer.v1", &custodyv1.RecoveryAnswer{Known: []*custodyv1.Incarnation{own, life("punjab", 3)}})
			}
		}
		if net.sent = nil; next.After(net.now) {
			net.now = next
		}
	}
	if asked < 20 || asked > 100 {
		t.Errorf("in six hours it is asked %d times", asked)
	}
}

// A node that is suspended may hold what the restored one lost: it is asked once it is readmitted, and waited for unless it is excused.
func TestASuspendedNodeIsAskedLater(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	net.suspended["sindh"] = true
	n.restore(n.copy(), true, false)
	net.settle()
	if got := n.awaited(); !slices.Equal(got, []string{"sindh"}) {
		t.Errorf("awaited are %v", got)
	}
	wrong(t, n.dispatch(v.GetName()), fault.Recovering, "restored")
	net.suspended["sindh"] = false
	net.now = net.now.Add(time.Minute)
	net.heal()
	must(t, n.dispatch(v.GetName()))
}

// A service that has just started may be an older copy than anybody knows, of a time at which a recovery went on: what waited then is done
// when the others were heard, for they may know that it was done long ago, in a life that is lost.
func TestNoRecoveryEndsBeforeTheServiceHasListened(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	n.restore(n.copy(), true, false)
	listened := false
	n.Listened = func() bool { return listened }
	for range 3 {
		net.settle()
		net.now = net.now.Add(11 * time.Second)
	}
	if got := n.awaited(); len(got) > 0 {
		t.Errorf("awaited are %v", got)
	}
	wrong(t, n.dispatch(v.GetName()), fault.Recovering, "restored")
	if next, err := n.Recover(background); err != nil || !next.Equal(net.now.Add(time.Second)) {
		t.Errorf("it looks again at %v: %v", next, err)
	}
	listened = true
	net.heal()
	must(t, n.dispatch(v.GetName()))
}

// A service that has listened just while it looked whether it has looks again: nothing else would wake it.
func TestARecoveryEndsThoughTheListeningEndedMeanwhile(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	n.restore(n.copy(), true, false)
	listened := false
	n.Listened = func() bool { return listened }
	net.settle()
	n.Listened = func() bool { defer func() { listened = true }(); return listened }
	if next, err := n.Recover(background); err != nil || next.IsZero() && n.Recovering() {
		t.Errorf("it looks again at %v: %v", next, err)
	}
	net.heal()
}

// The numbers that people say on the phone are not given twice, though the store has forgotten that it gave the last ones.
func TestReferencesAreNotGivenAgain(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	last := func() (number uint64) {
		must(t, n.DB.View(background, func(r kitstore.Reader) error {
			stored, err := store.Counters.Get(r, store.ReferenceKey)
			number = stored.GetValue()
			return err
		}))
		return number
	}
	net.submit()
	old, before := n.copy(), last()
	for i := range 3 {
		request := submitRequest()
		request.RequestId += string(rune('a' + i))
		_, err := n.SubmitReferral(background, request)
		must(t, err)
	}
	given := last()
	net.settle()
	n.restore(old, true, false)
	if now := last(); given != before+3 || now < given {
		t.Errorf("the last number was %d, then %d, and after the restore it is %d", before, given, now)
	}
	net.heal()
}

// Only who made an offer can say that its record is lost.
func TestNobodyVoidsAnothersOffer(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(submitted)
	_, hash := store.SplitOffer(v.GetOffers()[0].GetName())
	offer := net.chain(net.nodes["balochistan"], v.GetName()).State().Offers[0].Hash
	if offer.String() != hash {
		t.Fatalf("the offer is %s, not %s", offer, hash)
	}
	void := &custodyv1.OfferVoid{Referral: v.GetName(), Offer: offer.Bytes()}
	net.unmoved(net.nodes["punjab"], "custody.offer.void.v1: sender-not-allowed", func() { net.brings("sindh", "punjab", "custody.offer.void.v1", void) })
	for _, bad := range [][]byte{nil, make([]byte, len(custody.Hash{})+1)} {
		void := &custodyv1.OfferVoid{Referral: v.GetName(), Offer: bad}
		net.unmoved(net.nodes["punjab"], "custody.offer.void.v1: body-not-readable", func() { net.brings("balochistan", "punjab", "custody.offer.void.v1", void) })
	}
}

// A restored node that was only asked gets back the annexes that it had, and none of what others wrote to the owner.
func TestAnnexesComeBackToWhoHadThem(t *testing.T) {
	net := newNetwork(t)
	origin, punjab, sindh := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
	old := sindh.copy()
	v := net.walk(submitted)
	_, err := origin.ask(v.GetName(), karachi)
	must(t, err)
	net.settle()
	punjab.accept(v.GetOffers()[0].GetName())
	sindh.accept(sindh.firstOffer(v.GetName()).GetName())
	net.settle()
	must(t, origin.confirm(v.GetOffers()[0].GetName()))
	net.settle()
	had, begin := sindh.annexes(v.GetName()), len(net.history)
	sindh.restore(old, true, false)
	net.heal()
	if got := sindh.annexes(v.GetName()); len(had) == 0 || !slices.Equal(got, had) {
		t.Errorf("it had %v, and has %v", had, got)
	}
	for _, m := range net.history[begin:] {
		letter, ok := m.out.Body.(*custodyv1.AnnexLetter)
		if !ok || m.out.To.GetNode() != "sindh" {
			continue
		}
		if c := custody.Commit(letter.GetAnnex()).String(); !slices.Contains(had, c) {
			t.Errorf("%s tells it of an annex it never had", m.from)
		}
	}
}

// Another node tells a restored one what it holds, and may mean harm: what is of another referral, of another node, or was not signed by
// who it says, is not taken in.
func TestPartsThatAreNotTrue(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.walk(submitted)
	punjab.accept(v.GetOffers()[0].GetName())
	net.settle()
	offered := net.chain(origin, v.GetName()).Links()[1].Signed
	n := net.nodes["sindh"]
	n.restore(n.copy(), true, false)
	reply := net.signed("punjab", v.GetName(), &custodyv1.Reply{Offer: make([]byte, 32), Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}}).GetReply()
	forged := proto.CloneOf(offered)
	forged.Signature[0]++
	for name, c := range map[string]struct {
		want string
		part *custodyv1.RecoveryPart
	}{
		"an event of another referral": {"chain-not-valid", &custodyv1.RecoveryPart{Referral: v.GetName() + "x", Steps: []*custodyv1.RecoveryStep{stepOf(offered)}}},
		"a forged event":               {"chain-not-valid", &custodyv1.RecoveryPart{Referral: v.GetName(), Steps: []*custodyv1.RecoveryStep{stepOf(forged)}}},
		"another's reply": {"chain-not-valid", &custodyv1.RecoveryPart{Referral: v.GetName(), Steps: []*custodyv1.RecoveryStep{
			{Step: &custodyv1.RecoveryStep_Reply{Reply: reply}},
		}}},
		"an offer to another node": {"sender-not-allowed", &custodyv1.RecoveryPart{Referral: v.GetName(), Steps: []*custodyv1.RecoveryStep{stepOf(offered)}}},
	} {
		t.Log(name)
		net.unmoved(n, "custody.recovery.part.v1: "+c.want, func() { net.brings("punjab", "sindh", "custody.recovery.part.v1", c.part) })
	}
	net.heal()
}

func stepOf(signed *custodyv1.SignedEvent) *custodyv1.RecoveryStep {
	return &custodyv1.RecoveryStep{Step: &custodyv1.RecoveryStep_Event{Event: signed}}
}

// The owner is put back to before it answered a question, or before it was asked: what the unit has said since stands in its chain all the same.
func TestAUnitGoesOnFromAnAnswerThatItsOwnerHasLost(t *testing.T) {
	for name, known := range map[string]bool{"the question is known": true, "the question is lost": false} {
		for when, later := range map[string]bool{"it had accepted": false, "it accepts later": true} {
			t.Run(name+", "+when, func(t *testing.T) {
				net := newNetwork(t)
				origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
				referral, offer := net.asked()
				old := origin.copy()
				_, err := punjab.AskQuestion(background, &referralv1.AskQuestionRequest{Name: offer, Topic: "HEALTH"}, actor)
				must(t, err)
				net.settle()
				if known {
					old = origin.copy()
				}
				_, err = origin.AnswerQuestion(background, &referralv1.AnswerQuestionRequest{Name: offer, Note: theNote}, actor)
				must(t, err)
				net.settle()
				if !later {
					punjab.accept(offer)
					net.settle()
				}
				origin.restore(old, true, false)
				net.heal()
				if later {
					punjab.accept(offer)
					net.settle()
				}
				if got := origin.get(referral).GetState(); got != custodyv1.ReferralState_REFERRAL_STATE_READY || len(net.refused) > 0 {
					t.Errorf("it is %v; refused %q", got, net.refused)
				}
				must(t, origin.dispatch(referral))
				net.settle()
				net.checkState(referral, inTransit, "balochistan", "punjab")
			})
		}
	}
}

// An owner that was put back answers anew what it had answered before it was asked the next thing: that one still waits for a person, and what the
// owner does then is heard, at whatever position: this one has heard of later ones, of the life that is lost.
func TestALostAnswerIsNoneToTheNextQuestion(t *testing.T) {
	const asked, received = custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED, custodyv1.OfferState_OFFER_STATE_RECEIVED
	for name, c := range map[string]struct{ before, after int }{ // offers to others that the owner makes in the lost life, and in the next
		"at the position where it had answered": {0, 0},
		"behind it":                             {0, 1},
		"before it":                             {2, 0},
	} {
		for _, withdraws := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, withdrawn %t", name, withdraws), func(t *testing.T) {
				net := newNetwork(t)
				origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
				referral, offer := net.asked()
				asks := func(topic string) {
					t.Helper()
					net.now = net.now.Add(time.Minute)
					_, err := punjab.AskQuestion(background, &referralv1.AskQuestionRequest{Name: offer, Topic: topic}, actor)
					must(t, err)
				}
				answers := func() {
					t.Helper()
					_, err := origin.AnswerQuestion(background, &referralv1.AnswerQuestionRequest{Name: offer, Note: theNote}, actor)
					must(t, err)
					net.settle()
				}
				others := func(count int) {
					for i := range count {
						_, err := origin.ask(referral, []string{karachi, "nodes/sindh/units/hyderabad"}[i])
						must(t, err)
					}
				}
				asks("HEALTH")
				net.settle()
				old := origin.copy()
				others(c.before)
				answers()
				if !withdraws {
					asks("SAFETY")
				}
				origin.restore(old, true, false)
				late := func(m mail) bool {
					return m.from == punjab.Node && m.out.Kind == "custody.reply.v1" || m.from == "sindh" && m.out.Kind != "custody.recovery.answer.v1"
				}
				net.settleBut(late)
				for origin.Recovering() {
					net.now = net.now.Add(11 * time.Second)
					net.settleBut(late)
				}
				others(c.after)
				if withdraws {
					must(t, origin.withdraw(offer, "NEEDS_CHANGED"))
					net.heal()
					if o := punjab.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_WITHDRAWN {
						t.Errorf("by the unit its offer is %v", o.GetState())
					}
					return
				}
				net.heal()
				if o := punjab.offer(offer); o.GetState() != asked || o.GetQuestionTopic() != "SAFETY" {
					t.Errorf("by the unit its second question is answered: %v", o)
				}
				if d := origin.get(referral).GetNextDeadline(); d.GetKind() != referralv1.Deadline_KIND_INFORM {
					t.Errorf("nobody is to answer it: %v", d)
				}
				answers()
				if o := punjab.offer(offer); o.GetState() != received {
					t.Errorf("by the unit its second question is not answered: %v", o)
				}
				punjab.accept(offer)
				net.settle()
				if len(net.refused) > 0 {
					t.Errorf("refused %q", net.refused)
				}
			})
		}
	}
}

// An owner that was restored before it asked has answered nothing: a unit that passes over its own question is refused.
func TestNothingWasAnsweredBeforeItWasAsked(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	origin.restore(origin.copy(), true, false)
	net.heal()
	net.now = net.now.Add(time.Hour)
	referral, offer := net.asked()
	_, err := punjab.AskQuestion(background, &referralv1.AskQuestionRequest{Name: offer, Topic: "HEALTH"}, actor)
	must(t, err)
	net.settle()
	head := origin.head(referral)
	net.says(punjab.Node, origin.Node, referral, offer, &custodyv1.Reply{Actor: actor, Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{Hold: "h"}}})
	net.settle()
	if len(net.refused) != 1 || !bytes.Equal(head, origin.head(referral)) {
		t.Errorf("refused %q, and its chain has moved: %t", net.refused, !bytes.Equal(head, origin.head(referral)))
	}
}
