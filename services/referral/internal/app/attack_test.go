package app_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// These tests play a node of the network that has valid keys and means harm.

// brings applies a letter of one node at another, as the post does: what it says, it signed.
func (net *network) brings(from, to, kind string, body proto.Message) {
	net.t.Helper()
	raw, err := proto.Marshal(body)
	must(net.t, err)
	net.apply(mail{from: from, body: raw, out: post.Outgoing{Kind: kind, To: &postv1.Address{Node: to, Service: "referral"}}})
}

// signed is a reply of a node, as its letter.
func (net *network) signed(by, referral string, r *custodyv1.Reply) *custodyv1.ReplyLetter {
	net.t.Helper()
	r.Referral, r.Node, r.Time = referral, by, timestamppb.New(net.now)
	signed, err := custody.SignReply(net.nodes[by].Signer, r)
	must(net.t, err)
	return &custodyv1.ReplyLetter{Reply: signed}
}

// unmoved holds that a node refused a letter, changed nothing and answered nothing.
func (net *network) unmoved(at *node, want string, do func()) {
	net.t.Helper()
	net.refused = nil
	before, letters := at.dump(), len(net.sent)
	do()
	if !slices.Equal(net.refused, []string{want}) || !bytes.Equal(before, at.dump()) || len(net.sent) != letters {
		net.t.Errorf("want %s, got %v; %d letters in answer", want, net.refused, len(net.sent)-letters)
	}
	net.refused = nil
}

// A unit that was asked in vain "refuses" a handover that nobody gave it: it learns nothing by that, and the letter is no jam.
func TestWhoWasOnlyAskedRefusesNoHandover(t *testing.T) {
	for _, state := range []custodyv1.ReferralState{submitted, inTransit} {
		net := newNetwork(t)
		origin := net.nodes["balochistan"]
		v := net.walk(submitted)
		_, err := origin.ask(v.GetName(), karachi)
		must(t, err)
		net.settle()
		hash := make([]byte, 32)
		if state == inTransit {
			net.nodes["punjab"].accept(v.GetOffers()[0].GetName())
			net.settle()
			must(t, origin.confirm(v.GetOffers()[0].GetName()))
			net.settle()
			must(t, origin.dispatch(v.GetName()))
			hash = net.chain(origin, v.GetName()).State().Handover.Event.Bytes()
			net.sent = nil
		}
		letter := net.signed("sindh", v.GetName(), &custodyv1.Reply{Body: &custodyv1.Reply_Refused{Refused: &custodyv1.Refused{Dispatched: hash}}})
		net.unmoved(origin, "custody.reply.v1: sender-not-allowed", func() { net.brings("sindh", "balochistan", "custody.reply.v1", letter) })
		net.sent = nil
	}
}

// Sindh was asked in vain and knows the referral's name. It begins a chain of its own under that name: punjab, who has an offer and no
// chain yet, does not take it for the referral, and the true one goes its way.
func TestNobodyTakesAReferralsPlace(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(submitted)
	punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
	squatted := &custody.Chain{}
	first := proto.CloneOf(net.chain(net.nodes["balochistan"], v.GetName()).Links()[0].Event)
	first.Owner = "sindh"
	if _, err := squatted.Append(sindh.Signer, "sindh", first); err == nil {
		t.Error("sindh began a chain in another's name")
	}
	first.Owner = "sindh"
	raw, err := proto.Marshal(first)
	must(t, err)
	letter := &custodyv1.ChainLetter{Referral: v.GetName(), Chain: &custodyv1.Chain{Events: []*custodyv1.SignedEvent{
		{Event: raw, Signature: sindh.Signer.Sign(custody.DomainEvent, raw)},
	}}}
	net.unmoved(punjab, "custody.chain.v1: chain-not-valid", func() { net.brings("sindh", "punjab", "custody.chain.v1", letter) })
	// An offer of a name that holds another's would lie among that referral's offers, and be its deadline.
	for _, name := range []string{v.GetName() + "/offers/x", v.GetOffers()[0].GetName()} {
		e := proto.CloneOf(net.chain(net.nodes["balochistan"], v.GetName()).Links()[1].Event)
		e.Referral, e.Owner = name, "sindh"
		raw, err := proto.Marshal(e)
		must(t, err)
		offer := &custodyv1.OfferLetter{Offered: &custodyv1.SignedEvent{Event: raw, Signature: sindh.Signer.Sign(custody.DomainEvent, raw)}}
		net.unmoved(punjab, "custody.offer.v1: offer-not-valid", func() { net.brings("sindh", "punjab", "custody.offer.v1", offer) })
	}
	punjab.accept(v.GetOffers()[0].GetName())
	net.settle()
	net.checkState(v.GetName(), promised, "balochistan")
}

// forged is an offer that a node makes though it owns nothing, of a hash below another's.
func (net *network) forged(by, offer string) *custodyv1.OfferLetter {
	net.t.Helper()
	referral, hash := store.SplitOffer(offer)
	e := proto.CloneOf(net.chain(net.nodes["balochistan"], referral).Links()[1].Event)
	for e.Owner = by; ; e.Sequence++ {
		raw, err := proto.Marshal(e)
		must(net.t, err)
		if custody.HashOf(raw).String() < hash {
			return &custodyv1.OfferLetter{Offered: &custodyv1.SignedEvent{Event: raw, Signature: net.nodes[by].Signer.Sign(custody.DomainEvent, raw)}}
		}
	}
}

// A letter is about what no referral is called, in more bytes than a key may have: it is refused, also by a node that was restored and has others
// wait for what it lost.
func TestANameOfNoReferral(t *testing.T) {
	name := strings.Repeat("x", kitstore.MaxKeySize+1)
	for _, restored := range []bool{false, true} {
		net := newNetwork(t)
		events := net.chain(net.nodes["balochistan"], net.walk(submitted).GetName()).Message()
		punjab := net.nodes["punjab"]
		if restored {
			punjab.restore(punjab.copy(), true, false)
			net.brings("sindh", "punjab", "custody.recovery.answer.v1", &custodyv1.RecoveryAnswer{Known: []*custodyv1.Incarnation{life("punjab", punjab.DB.Incarnation())}})
		}
		for _, c := range []struct {
			kind, reason string
			body         proto.Message
		}{
			{"custody.head.v1", "referral-unknown", &custodyv1.HeadQuery{Referral: name}},
			{"custody.head.list.v1", "body-not-readable", &custodyv1.HeadList{Heads: []*custodyv1.SharedHead{{Referral: name, Event: make([]byte, 32)}}}},
			{"custody.chain.v1", "chain-not-valid", &custodyv1.ChainLetter{Referral: name, Chain: events}},
			{"custody.offer.void.v1", "body-not-readable", &custodyv1.OfferVoid{Referral: name, Offer: make([]byte, 32)}},
			{"custody.annex.v1", "referral-unknown", note(t, name)},
			{"custody.reply.v1", "referral-unknown", net.signed("sindh", name, &custodyv1.Reply{Body: &custodyv1.Reply_ArrivalAsserted{}})},
			{"custody.reply.v1", "referral-unknown", net.signed("sindh", name, &custodyv1.Reply{Offer: make([]byte, 32), Body: &custodyv1.Reply_Received{}})},
		} {
			net.unmoved(punjab, c.kind+": "+c.reason, func() { net.brings("sindh", "punjab", c.kind, c.body) })
		}
	}
}

// Sindh, which owns nothing, sends an offer too: it does not learn that the person has come, nor what is known of their safety, and the
// owner does.
func TestWhatIsKnownOfThePersonGoesToNoForger(t *testing.T) {
	for name, say := range map[string]func(n *node, referral string) (told string, err error){
		"an arrival": func(n *node, referral string) (string, error) {
			shown, err := n.assert(referral)
			return shown.GetToldNode(), err
		},
		"safety": func(n *node, referral string) (string, error) {
			told, err := n.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: referral, Code: "THREAT", Note: theNote}, actor)
			return told.GetToldNode(), err
		},
	} {
		net := newNetwork(t)
		v := net.walk(submitted)
		punjab := net.nodes["punjab"]
		net.brings("sindh", "punjab", "custody.offer.v1", net.forged("sindh", v.GetOffers()[0].GetName()))
		net.sent = nil
		if told, err := say(punjab, v.GetName()); err != nil || told != "balochistan" {
			t.Errorf("%s was told to %s: %v", name, told, err)
		}
		for _, m := range net.sent {
			if m.out.To.GetNode() != "balochistan" {
				t.Errorf("%s: %s left for %s", name, m.out.Kind, m.out.To.GetNode())
			}
		}
		net.settle()
	}
}

// A unit that was asked says more and more, and longer and longer things: the chain stays one that can be sent, and the person is handed
// over and comes.
func TestNobodyFillsAChain(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.walk(submitted)
	name := v.GetName()
	_, err := origin.ask(name, karachi)
	must(t, err)
	net.settle()
	say := func(i, length int) *custodyv1.ReplyLetter {
		return net.signed("sindh", name, &custodyv1.Reply{Body: &custodyv1.Reply_SafetyInformation{
			SafetyInformation: &custodyv1.SafetyInformation{Code: fmt.Sprint(i, strings.Repeat("X", length))},
		}})
	}
	net.unmoved(origin, "custody.reply.v1: reply-not-valid", func() { net.brings("sindh", "balochistan", "custody.reply.v1", say(0, 5000)) })
	refusals := 0
	for i := range 200 {
		net.refused = nil
		net.brings("sindh", "balochistan", "custody.reply.v1", say(i, 3000))
		refusals += len(net.refused)
	}
	if refusals == 0 {
		t.Error("a unit that was asked says what it likes, for ever")
	}
	net.refused, net.sent = nil, nil
	punjab.accept(v.GetOffers()[0].GetName())
	net.settle()
	must(t, origin.confirm(v.GetOffers()[0].GetName()))
	net.settle()
	must(t, origin.dispatch(name))
	net.settle()
	must(t, punjab.arrive(name))
	net.settle()
	net.checkState(name, hasCome, "balochistan", "punjab")
	// An owner that makes its chain so long is not followed into that.
	long := net.chain(punjab, name).Clone()
	for proto.Size(long.Message()) < 300<<10 {
		_, err := long.Append(punjab.Signer, "punjab", &custodyv1.Event{Actor: actor, Time: timestamppb.New(net.now), Body: &custodyv1.Event_ConsentEnded{ConsentEnded: &custodyv1.ConsentEnded{}}})
		must(t, err)
	}
	net.unmoved(origin, "custody.chain.v1: chain-not-valid", func() {
		net.brings("punjab", "balochistan", "custody.chain.v1", &custodyv1.ChainLetter{Referral: name, Chain: long.Message()})
	})
}

// Sindh names another's referral among those that go together with its own: their beds are not bound to each other by that.
func TestNobodyBindsAnothersReferral(t *testing.T) {
	net := newNetwork(t)
	punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
	v := net.walk(submitted)
	r := submitRequest()
	r.Parent, r.Unit = "nodes/sindh", karachi
	own, err := sindh.SubmitReferral(background, r)
	must(t, err)
	net.sent = nil
	e := proto.CloneOf(net.chain(sindh, own.GetName()).Links()[1].Event)
	e.GetOffered().Together = []string{v.GetName()}
	raw, err := proto.Marshal(e)
	must(t, err)
	net.brings("sindh", "punjab", "custody.offer.v1", &custodyv1.OfferLetter{Offered: &custodyv1.SignedEvent{Event: raw, Signature: sindh.Signer.Sign(custody.DomainEvent, raw)}})
	net.sent = nil
	request := acceptRequest(store.OfferName(own.GetName(), custody.HashOf(raw).String()))
	request.Also = []*referralv1.AcceptedWith{{Offer: v.GetOffers()[0].GetName(), Group: request.GetGroup()}}
	before := punjab.dump()
	_, err = punjab.AcceptOffer(background, request, actor)
	wrong(t, err, fault.Field, "also[0].offer")
	if !bytes.Equal(before, punjab.dump()) {
		t.Error("a refused acceptance changed something")
	}
}
