package app_test

import (
	"bytes"
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
)

// At each step with an agency, of a placement and of a service, what is late is told to the unit at the origin, and told again.
func TestAnAgencyThatSaysNothingIsLate(t *testing.T) {
	for kind, steps := range map[custodyv1.ReferralKind][]referralv1.Deadline_Kind{
		placement: {
			referralv1.Deadline_KIND_RECEIVE, referralv1.Deadline_KIND_READY, referralv1.Deadline_KIND_DISPATCH, referralv1.Deadline_KIND_ARRIVE,
			referralv1.Deadline_KIND_SERVE, referralv1.Deadline_KIND_COMPLETE, referralv1.Deadline_KIND_CLOSE,
		},
		forService: {
			referralv1.Deadline_KIND_RECEIVE, referralv1.Deadline_KIND_READY, referralv1.Deadline_KIND_SERVE,
			referralv1.Deadline_KIND_COMPLETE, referralv1.Deadline_KIND_CLOSE,
		},
	} {
		net, origin, _, _ := newOwnerNetwork(t)
		name, offer := net.outside(kind)
		next := map[referralv1.Deadline_Kind]func() error{
			referralv1.Deadline_KIND_RECEIVE:  func() error { return origin.enter(offer, saysYes()) },
			referralv1.Deadline_KIND_READY:    func() error { return origin.enter(offer, saysReady()) },
			referralv1.Deadline_KIND_DISPATCH: func() error { return origin.dispatch(name) },
			referralv1.Deadline_KIND_ARRIVE:   func() error { return origin.enter(offer, saysCame()) },
			referralv1.Deadline_KIND_SERVE:    func() error { return origin.enter(offer, saysGiven()) },
			referralv1.Deadline_KIND_COMPLETE: func() error { return origin.enter(offer, saysOutcome()) },
			referralv1.Deadline_KIND_CLOSE:    func() error { return origin.complete(name) },
		}
		for _, due := range steps {
			times := 2
			if due == referralv1.Deadline_KIND_RECEIVE {
				times = 1 // and then the offer expires
			}
			for again := range times {
				before := len(origin.missed())
				net.now = origin.get(name).GetNextDeadline().GetDueTime().AsTime()
				origin.fire()
				all := origin.missed()
				if len(all) != before+1 || all[before].GetKind() != due || all[before].GetUnit() != "nodes/balochistan/units/hub" || all[before].GetMissed() != int32(again+1) {
					t.Fatalf("%v: want %v to be missed, got %v", kind, due, all[before:])
				}
			}
			must(t, next[due]())
		}
		net.settle()
		net.checkState(name, completed, "balochistan")
	}
}

// A referral is cancelled at every step before the person leaves for an agency; afterwards it is refused with what to do.
func TestCancelAtEveryStepWithAnAgency(t *testing.T) {
	steps := []func(origin *node, name, offer string) error{
		func(*node, string, string) error { return nil },
		func(origin *node, _, offer string) error { return origin.enter(offer, saysReceived()) },
		func(origin *node, _, offer string) error { return origin.enter(offer, origin.net.saysLater()) },
		func(origin *node, _, offer string) error { return origin.enter(offer, saysYes()) },
		func(origin *node, _, offer string) error { return origin.confirm(offer) },
		func(origin *node, _, offer string) error { return origin.enter(offer, saysReady()) },
		func(origin *node, name, _ string) error { return origin.dispatch(name) },
		func(origin *node, _, offer string) error { return origin.enter(offer, saysCame()) },
		func(origin *node, _, offer string) error { return origin.enter(offer, saysGiven()) },
	}
	for last := range steps {
		net, origin, _, _ := newOwnerNetwork(t)
		origin.AutoConfirm = false
		name, offer := net.outside(placement)
		for _, step := range steps[:last+1] {
			must(t, step(origin, name, offer))
		}
		if last > 5 {
			wrong(t, origin.cancel(name), fault.WrongState, "recordReturn")
			continue
		}
		for range 2 {
			must(t, origin.cancel(name))
		}
		net.settle()
		net.checkState(name, cancelled, "balochistan")
		if o := origin.get(name).GetOffers()[0]; o.GetState() != offerWithdrawn || origin.get(name).GetNextDeadline() != nil {
			t.Errorf("after step %d: %v", last, o)
		}
	}
}

// Consent that ends while the person is at an agency ends the asking of others. The duty of care stays, and so does what is due.
func TestConsentEndsWhileThePersonIsAtAnAgency(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	name, offer := net.outside(placement)
	must(t, origin.enter(offer, saysYes()))
	must(t, origin.enter(offer, saysReady()))
	must(t, origin.dispatch(name))
	must(t, origin.enter(offer, saysCame()))
	_, err := origin.EndConsent(context.Background(), &referralv1.EndConsentRequest{Name: name, Note: theNote}, actor)
	must(t, err)
	net.settle()
	if v := origin.get(name); !v.GetConsentEnded() || v.GetCareNode() != "balochistan" || v.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_SERVE {
		t.Errorf("%v", v)
	}
	if origin.told("referral.referral.consent-ended.v1", name) != 1 {
		t.Error("nobody was told")
	}
	if err := origin.askAgency(name); fault.ReasonOf(err) != fault.ConsentMissing {
		t.Errorf("another agency is asked: %v", err)
	}
	must(t, origin.enter(offer, saysGiven()))
	must(t, origin.enter(offer, saysOutcome()))
	must(t, origin.complete(name))
}

// An origin that was restored goes on with an agency from what its copy and the others know: what it lost is entered again, and what somebody
// who had the person before has heard of comes back.
func TestARestoredOriginGoesOnWithAnAgency(t *testing.T) {
	t.Run("what nobody else knows is entered again", func(t *testing.T) {
		net := newNetwork(t)
		origin := net.nodes["balochistan"]
		name, offer := net.outside(placement)
		copied := origin.copy()
		must(t, origin.enter(offer, saysYes()))
		must(t, origin.enter(offer, saysReady()))
		must(t, origin.dispatch(name))
		origin.restore(copied, false, false)
		if err := origin.enter(offer, saysYes()); err == nil {
			t.Error("entered before the others have answered")
		}
		net.heal()
		for _, step := range []error{
			origin.enter(offer, saysYes()), origin.enter(offer, saysReady()), origin.dispatch(name), origin.enter(offer, saysCame()),
			origin.enter(offer, saysGiven()), origin.enter(offer, saysOutcome()), origin.complete(name),
		} {
			must(t, step)
		}
		net.settle()
		net.checkState(name, completed, "balochistan")
		net.checkDeadlines("at the end")
	})
	t.Run("what a former owner has heard of comes back", func(t *testing.T) {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		name := net.walk(hasCome).GetName()
		must(t, origin.askBack(name))
		net.settle()
		net.bringBack(punjab, origin, name)
		copied := origin.copy()
		must(t, origin.askAgency(name))
		offer := origin.lastOffer(name).GetName()
		must(t, origin.enter(offer, saysYes()))
		must(t, origin.enter(offer, saysReady()))
		must(t, origin.dispatch(name))
		must(t, origin.enter(offer, saysCame()))
		net.settle()
		head := origin.head(name)
		origin.restore(copied, false, false)
		net.heal()
		v := origin.get(name)
		if !bytes.Equal(v.GetHead(), head) || !v.GetOutside() || v.GetState() != hasCome || v.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_SERVE {
			t.Errorf("after the recovery: %v", v)
		}
		must(t, origin.enter(offer, saysGiven()))
		must(t, origin.enter(offer, saysOutcome()))
		must(t, origin.complete(name))
		net.settle()
		net.checkState(name, completed, "balochistan", "punjab")
		net.checkDeadlines("at the end")
	})
}

// A node with good keys writes of an agency what is not its to write: nobody takes it in.
func TestNoNodeWritesOfAnAgencyForTheOrigin(t *testing.T) {
	net := newNetwork(t)
	origin, punjab, sindh := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
	name := net.walk(hasCome).GetName()
	must(t, func() error { _, err := sindh.assert(name); return err }()) // and sindh owns it next
	net.settle()
	net.refused = nil
	chain := net.chain(sindh, name)
	s := chain.State()
	write := func(by *node, body *custodyv1.Event) *custodyv1.SignedEvent {
		body.Referral, body.Epoch, body.Sequence, body.PreviousHash, body.Owner = s.Referral, s.Epoch, s.Sequence+1, s.Head.Bytes(), by.Node
		body.Time, body.Actor = chain.Links()[0].Event.GetTime(), actor
		raw, err := proto.Marshal(body)
		must(t, err)
		return &custodyv1.SignedEvent{Event: raw, Signature: by.Signer.Sign(custody.DomainEvent, raw)}
	}
	offered := proto.CloneOf(chain.Links()[1].Event).GetOffered()
	offered.ToNode, offered.ToUnit, offered.External = "", "", &custodyv1.ExternalAgency{Kind: "NGO", Asking: make([]byte, 16)}
	entry := &custodyv1.ExternalAnswered{
		Offer: chain.State().Offers[0].Hash.Bytes(), SayTime: chain.Links()[0].Event.GetTime(), Means: "PHONE",
		Body: &custodyv1.ExternalAnswered_Arrived{Arrived: &custodyv1.Arrived{Identification: []string{"REFERRAL_SLIP"}}},
	}
	for what, e := range map[string]*custodyv1.Event{
		"an owner that is not the first asks": {Body: &custodyv1.Event_Offered{Offered: offered}},
		"an owner enters an answer of a unit": {Body: &custodyv1.Event_ExternalAnswered{ExternalAnswered: entry}},
		"an owner sends to an agency":         {Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{Offer: entry.GetOffer(), ToNode: "sindh", ExpectTime: entry.GetSayTime()}}},
	} {
		for _, by := range []*node{sindh, punjab} {
			letter := &custodyv1.ChainLetter{Referral: name, Chain: chain.Message()}
			letter.Chain.Events = append(letter.Chain.Events, write(by, proto.CloneOf(e)))
			net.unmoved(origin, "custody.chain.v1: chain-not-valid", func() { net.brings(by.Node, "balochistan", "custody.chain.v1", letter) })
			if t.Failed() {
				t.Fatalf("%s, written by %s", what, by.Node)
			}
		}
	}
	// An offer to an agency concerns no node, whoever brings it.
	letter := &custodyv1.OfferLetter{Offered: write(sindh, &custodyv1.Event{Body: &custodyv1.Event_Offered{Offered: offered}})}
	net.unmoved(punjab, "custody.offer.v1: not-for-this-node", func() { net.brings("sindh", "punjab", "custody.offer.v1", letter) })
}
