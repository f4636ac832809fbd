package app_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

// arrivedInBulk takes a referral of a medium risk, whose letters take the bulk lane, to punjab.
func (net *network) arrivedInBulk() (name string) {
	net.t.Helper()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	request := submitRequest()
	request.Urgency = custodyv1.Urgency_URGENCY_MEDIUM
	v, err := origin.SubmitReferral(background, request)
	must(net.t, err)
	name = v.GetName()
	net.settle()
	punjab.accept(v.GetOffers()[0].GetName())
	net.settle()
	must(net.t, origin.dispatch(name))
	net.settle()
	must(net.t, punjab.arrive(name))
	net.settle()
	return name
}

// onTheWayBack takes one to punjab, and back on the road to the origin.
func (net *network) onTheWayBack() (name string) {
	net.t.Helper()
	name = net.arrivedInBulk()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	must(net.t, origin.askBack(name))
	net.settle()
	must(net.t, punjab.confirm(punjab.lastOffer(name).GetName()))
	net.settle()
	must(net.t, punjab.dispatch(name))
	return name
}

// urgent carries only what takes the urgent lane, since the bulk lane is behind a backlog; it says how many letters that were.
func (net *network) urgent() (carried int) {
	net.t.Helper()
	for i := 0; i < len(net.sent) && carried < 100; {
		if net.sent[i].out.Lane != postv1.Lane_LANE_URGENT {
			i++
			continue
		}
		net.deliver(i)
		carried, i = carried+1, 0
	}
	return carried
}

// Punjab has handed the person back, and its letter waits in the bulk lane: the origin still holds punjab for the owner, and punjab the
// origin. What a third node says of the person on the urgent lane is not passed to and fro between the two, and is not lost.
func TestAWordIsNotPassedInACircle(t *testing.T) {
	net := newNetwork(t)
	name := net.onTheWayBack()
	_, err := net.nodes["sindh"].assert(name)
	must(t, err)
	if n := net.urgent(); n > 10 {
		t.Errorf("it made %d letters while the handover waits", n)
	}
	net.settle()
	net.came(name, "sindh")
}

// Sindh hands one person over to both former owners, and shows each the handover to the other. Each passes a word on to the other, and
// the other's chain contradicts its own: there it stays, and a person is told.
func TestAForkEndsTheRound(t *testing.T) {
	net := newNetwork(t)
	origin, punjab, sindh := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
	name := net.walk(hasCome).GetName()
	net.referOn(name)
	must(t, sindh.arrive(name))
	net.settle()
	for _, n := range []*node{origin, punjab} {
		_, err := n.assert(name)
		must(t, err)
	}
	asserted := slices.DeleteFunc(net.sent, func(m mail) bool { return m.out.Kind != "custody.reply.v1" })
	net.sent = nil
	for i, to := range []string{"punjab", "balochistan"} { // each is shown the other's
		forked := net.chain(sindh, name).Clone()
		letter := &custodyv1.ReplyLetter{}
		must(t, proto.Unmarshal(asserted[i].body, letter))
		e := &custodyv1.Event{Actor: actor, Time: timestamppb.New(net.now), Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: letter.GetReply()}}}
		l, err := forked.Append(sindh.Signer, "sindh", e)
		must(t, err)
		e = &custodyv1.Event{Actor: actor, Time: timestamppb.New(net.now), Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{
			ToNode: asserted[i].from, Arrival: l.Hash.Bytes(),
		}}}
		_, err = forked.Append(sindh.Signer, "sindh", e)
		must(t, err)
		net.brings("sindh", to, "custody.chain.v1", &custodyv1.ChainLetter{Referral: name, Chain: forked.Message()})
	}
	net.sent = nil
	net.brings("sindh", "balochistan", "custody.reply.v1", net.signed("sindh", name, &custodyv1.Reply{
		Body: &custodyv1.Reply_SafetyInformation{SafetyInformation: &custodyv1.SafetyInformation{Code: "THREAT"}},
	}))
	if n := net.urgent(); n > 20 {
		t.Errorf("a word made %d letters", n)
	}
	if origin.told("referral.referral.forked.v1", name)+punjab.told("referral.referral.forked.v1", name) == 0 {
		t.Error("nobody is told of the fork")
	}
}

// An answer comes a second time, after the unit has asked something else: that question still waits. So does a request to be released
// that was put anew after the first was refused.
func TestAnOldAnswerIsNoneToANewQuestion(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	referral, offer := net.asked()
	ask := func(topic string) {
		_, err := punjab.AskQuestion(background, &referralv1.AskQuestionRequest{Name: offer, Topic: topic}, actor)
		must(t, err)
		net.settle()
	}
	again := func() { // all that the origin said of the offer comes again
		for _, m := range slices.Clone(net.history) {
			if m.out.Kind == "custody.offer.v1" {
				net.apply(m)
			}
		}
	}
	ask("HEALTH")
	_, err := origin.AnswerQuestion(background, &referralv1.AnswerQuestionRequest{Name: offer, Note: theNote}, actor)
	must(t, err)
	net.settle()
	net.now = net.now.Add(time.Minute)
	ask("SAFETY")
	again()
	if o := punjab.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED || o.GetQuestionTopic() != "SAFETY" {
		t.Errorf("the second question was answered by the first answer: %v", o)
	}
	_, err = origin.AnswerQuestion(background, &referralv1.AnswerQuestionRequest{Name: offer, Note: theNote}, actor)
	must(t, err)
	net.settle()
	punjab.accept(offer)
	net.settle()
	release := func() {
		_, err := punjab.RequestRelease(background, &referralv1.RequestReleaseRequest{Name: offer, Reason: "NO_CAPACITY"}, actor)
		must(t, err)
		net.settle()
		net.now = net.now.Add(time.Minute)
	}
	release()
	_, err = origin.RefuseRelease(background, &referralv1.RefuseReleaseRequest{Name: offer, Reason: "NO_OTHER_PLACE"}, actor)
	must(t, err)
	net.settle()
	release()
	again()
	if o := punjab.offer(offer); o.GetReleaseReason() == "" || origin.get(referral).GetNextDeadline().GetKind() != referralv1.Deadline_KIND_RELEASE {
		t.Errorf("the second request was refused by the first refusal: %v", o)
	}
}

// Punjab hands the person to sindh, where they are. The origin has it from punjab and speaks to sindh at once, by a link on which the
// handover does not come: what it says of the person is taken all the same, with what was written beside it.
func TestAWordComesBeforeTheHandover(t *testing.T) {
	for what, say := range map[string]func(n *node, name string) error{
		"safety": func(n *node, name string) error {
			_, err := n.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: name, Code: "THREAT", Note: theNote}, actor)
			return err
		},
		"consent": func(n *node, name string) error {
			_, err := n.WithdrawConsent(background, &referralv1.WithdrawConsentRequest{Name: name, Note: theNote}, actor)
			return err
		},
		"return": func(n *node, name string) error { return n.askBack(name) },
		"its watch": func(n *node, name string) error { // which only asks
			n.net.now = n.get(name).GetNextDeadline().GetDueTime().AsTime()
			_, err := n.FireDeadlines(background)
			return err
		},
	} {
		net := newNetwork(t)
		origin, sindh := net.nodes["balochistan"], net.nodes["sindh"]
		name := net.walk(hasCome).GetName()
		_, err := sindh.assert(name)
		must(t, err)
		slow := func(m mail) bool { return m.from == "punjab" && m.out.To.GetNode() == "sindh" }
		for i := 0; i >= 0; i = slices.IndexFunc(net.sent, func(m mail) bool { return !slow(m) }) {
			net.deliver(i)
		}
		if origin.get(name).GetOwnerNode() != "sindh" || sindh.holdsChain(name) || len(net.sent) == 0 {
			t.Fatalf("the handover came: %d letters are on their way", len(net.sent))
		}
		must(t, say(origin, name))
		late := net.sent
		net.sent = slices.DeleteFunc(slices.Clone(late), slow)
		net.settle()
		if len(net.refused) > 0 {
			t.Errorf("%s: refused %v", what, net.refused)
		}
		said := what == "its watch"
		for _, l := range net.chain(sindh, name).Links() {
			if _, by := custody.Said(l); by == "balochistan" {
				said = slices.Contains(sindh.annexes(name), custody.Hash(l.Event.GetAnnexCommitment()).String())
			}
		}
		if !said {
			t.Errorf("%s: it is not in the chain with its note", what)
		}
		net.sent = append(net.sent, slices.DeleteFunc(late, func(m mail) bool { return !slow(m) })...)
		net.settle()
		if len(net.refused) > 0 {
			t.Errorf("%s: at last, refused %v", what, net.refused)
		}
	}
}
