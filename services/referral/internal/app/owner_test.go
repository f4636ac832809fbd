package app_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// Referral and offer states, short.
const (
	submitted = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
	confirmed = custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED
	promised  = custodyv1.ReferralState_REFERRAL_STATE_READY
	inTransit = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
	hasCome   = custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
	inService = custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE
	completed = custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
	cancelled = custodyv1.ReferralState_REFERRAL_STATE_CANCELLED
	isExpired = custodyv1.ReferralState_REFERRAL_STATE_EXPIRED
	noShow    = custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
	returned  = custodyv1.ReferralState_REFERRAL_STATE_RETURNED

	offerReceived  = custodyv1.OfferState_OFFER_STATE_RECEIVED
	offerAccepted  = custodyv1.OfferState_OFFER_STATE_ACCEPTED
	offerWithdrawn = custodyv1.OfferState_OFFER_STATE_WITHDRAWN
	offerExpired   = custodyv1.OfferState_OFFER_STATE_EXPIRED
)

const (
	karachi = "nodes/sindh/units/karachi"
	lahore  = "nodes/punjab/units/lahore"
)

// says sends a reply of a node to the owner it knows, as its letter. It answers an offer where one is named.
func (net *network) says(from, to, referral, offer string, r *custodyv1.Reply) mail {
	net.t.Helper()
	r.Referral, r.Node, r.Time = referral, from, timestamppb.New(net.now)
	if offer != "" {
		_, hex := store.SplitOffer(offer)
		hash, err := custody.ParseHash(hex)
		must(net.t, err)
		r.Offer = hash.Bytes()
	}
	signed, err := custody.SignReply(net.nodes[from].Signer, r)
	must(net.t, err)
	letter := &custodyv1.ReplyLetter{Reply: signed}
	raw, err := proto.Marshal(letter)
	must(net.t, err)
	m := mail{from: from, out: post.Outgoing{
		To: &postv1.Address{Node: to, Service: "referral"}, Lane: postv1.Lane_LANE_URGENT, Kind: "custody.reply.v1", Subject: referral, Body: letter,
	}, body: raw}
	net.sent = append(net.sent, m)
	return m
}

// ask asks one more unit, as the owner.
func (n *node) ask(name, unit string) (*referralv1.Referral, error) {
	return n.OfferReferral(context.Background(), &referralv1.OfferReferralRequest{Name: name, ToUnit: unit, Etag: n.get(name).GetEtag()}, actor)
}

// accept accepts an offer made to the node.
func (n *node) accept(offer string) {
	n.t.Helper()
	request := acceptRequest(offer)
	request.Group = "nodes/" + n.Node + "/shelters/a1/groups/b1"
	_, err := n.AcceptOffer(context.Background(), request, actor)
	must(n.t, err)
}

func (n *node) withdraw(offer, reason string) error {
	_, err := n.WithdrawOffer(context.Background(), &referralv1.WithdrawOfferRequest{Name: offer, Reason: reason, Note: theNote}, actor)
	return err
}

func (n *node) cancel(name string) error {
	_, err := n.CancelReferral(context.Background(), &referralv1.CancelReferralRequest{Name: name, Reason: "FOUND_LOCALLY", Note: theNote}, actor)
	return err
}

func (n *node) confirm(offer string) error {
	_, err := n.ConfirmOffer(context.Background(), &referralv1.ConfirmOfferRequest{Name: offer}, actor)
	return err
}

func (n *node) dispatch(name string) error {
	_, err := n.DispatchReferral(context.Background(), n.net.dispatchRequest(name), actor)
	return err
}

func (n *node) arrive(name string) error {
	_, err := n.RecordArrival(context.Background(), &referralv1.RecordArrivalRequest{Name: name, Identification: []string{"REFERRAL_SLIP"}, Note: theNote}, actor)
	return err
}

func (n *node) serve(name string) error {
	_, err := n.StartService(context.Background(), &referralv1.StartServiceRequest{Name: name, Services: []string{"SHELTER"}}, actor)
	return err
}

func (n *node) askBack(name string) error {
	_, err := n.RequestReturn(context.Background(), &referralv1.RequestReturnRequest{
		Name: name, Reason: "FAMILY_TRACED", Unit: "nodes/" + n.Node + "/units/hub", Note: theNote,
	}, actor)
	return err
}

// lastOffer is the newest offer of a referral as a node sees it.
func (n *node) lastOffer(name string) *referralv1.Offer {
	n.t.Helper()
	offers := n.get(name).GetOffers()
	return offers[len(offers)-1]
}

// told counts the events of a kind about a subject, of a referral or one of its offers.
func (n *node) told(kind, name string) (count int) {
	for _, e := range n.events {
		if e.kind == kind && strings.HasPrefix(e.subject, name) {
			count++
		}
	}
	return count
}

// checkState holds what some nodes see of a referral.
func (net *network) checkState(name string, want custodyv1.ReferralState, nodes ...string) {
	net.t.Helper()
	for _, n := range nodes {
		if got := net.nodes[n].get(name); got.GetState() != want {
			net.t.Fatalf("%s sees %v, want %v; refused %v", n, got.GetState(), want, net.refused)
		}
	}
}

// flows are what was told to the federal cell, in order.
func (net *network) flows() (kinds []string) {
	net.t.Helper()
	for _, f := range net.facts() {
		kinds = append(kinds, f.GetKind())
	}
	return kinds
}

// facts are the same, each of which must be told once.
func (net *network) facts() (all []*federalv1.Fact) {
	net.t.Helper()
	for _, f := range net.toldBy() {
		if slices.ContainsFunc(all, func(other *federalv1.Fact) bool { return proto.Equal(f, other) }) {
			net.t.Errorf("told twice: %v", f)
		}
		all = append(all, f)
	}
	return all
}

// toldBy are the facts that were told to the federal cell, in order, by who told them.
func (net *network) toldBy() iter.Seq2[string, *federalv1.Fact] {
	return func(yield func(string, *federalv1.Fact) bool) {
		for _, m := range net.history {
			told, ok := m.out.Body.(*federalv1.Facts)
			if !ok {
				continue
			}
			if m.out.Lane != postv1.Lane_LANE_BULK || m.out.To.GetNode() != "federal" || m.out.To.GetService() != "federal" || m.out.Sealed {
				net.t.Errorf("facts left as %v", m.out)
			}
			for _, f := range told.GetFacts() {
				if !yield(m.from, f) {
					return
				}
			}
		}
	}
}

// newOwnerNetwork is one in which every letter comes twice.
func newOwnerNetwork(t *testing.T) (net *network, origin, punjab, sindh *node) {
	return twice(newNetwork(t))
}

// twice has every letter come twice.
func twice(net *network) (_ *network, origin, punjab, sindh *node) {
	net.again = true
	net.t.Cleanup(func() {
		if len(net.refused) > 0 {
			net.t.Errorf("letters were refused: %v", net.refused)
		}
		net.checkDeadlines("at the end")
	})
	return net, net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
}

func TestSeveralUnitsAreAskedAndOneIsChosen(t *testing.T) {
	net, origin, punjab, sindh := newOwnerNetwork(t)
	v := net.walk(submitted)
	if _, err := origin.ask(v.GetName(), "nodes/punjab/units/lahore"); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("the same unit was asked twice: %v", err)
	}
	_, err := origin.ask(v.GetName(), karachi)
	must(t, err)
	net.settle()
	first, second := v.GetOffers()[0].GetName(), origin.lastOffer(v.GetName()).GetName()
	punjab.accept(first)
	sindh.accept(second)
	net.settle()
	// Two could be chosen, so the service chooses none.
	net.checkState(v.GetName(), submitted, "balochistan")
	if kind := origin.get(v.GetName()).GetNextDeadline().GetKind(); kind != referralv1.Deadline_KIND_CONFIRM {
		t.Errorf("due is %v", kind)
	}
	must(t, origin.confirm(second))
	net.settle()
	net.checkState(v.GetName(), promised, "balochistan")
	if o := punjab.offer(first); o.GetState() != offerWithdrawn || o.GetDeclineReason() != "OTHER_CHOSEN" || punjab.told("referral.offer.withdrawn.v1", first) != 1 {
		t.Errorf("punjab's offer is %v", o)
	}
	if want := []string{facts.Referred, facts.Accepted, facts.Accepted}; !slices.Equal(net.flows(), want) {
		t.Errorf("told %v", net.flows())
	}
}

func TestAtMostEightUnitsAreAskedAtOnce(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	v := net.walk(submitted)
	for i := range 8 {
		_, err := origin.ask(v.GetName(), karachi+string(rune('a'+i)))
		if i < 7 {
			must(t, err)
		} else if fault.ReasonOf(err) != fault.WrongState {
			t.Errorf("a ninth unit was asked: %v", err)
		}
	}
	must(t, origin.withdraw(v.GetOffers()[0].GetName(), "NEEDS_CHANGED"))
	_, err := origin.ask(v.GetName(), "nodes/punjab/units/lahore") // the same unit again, since nothing of it lives
	must(t, err)
	net.settle()
}

func TestTheChosenOfferTakenBackAsksAgain(t *testing.T) {
	for _, state := range []custodyv1.ReferralState{submitted, promised} {
		net, origin, punjab, sindh := newOwnerNetwork(t)
		v := net.walk(state)
		offer := v.GetOffers()[0].GetName()
		for range 2 { // taking it back again is a no-op
			must(t, origin.withdraw(offer, "OTHER"))
		}
		net.settle()
		got := origin.get(v.GetName())
		if got.GetState() != submitted || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN || got.GetOffers()[0].GetDeclineReason() != "OTHER" {
			t.Fatalf("the origin sees %v", got)
		}
		if o := punjab.offer(offer); o.GetState() != offerWithdrawn || state == promised && !slices.Contains(punjab.calls, "ReleaseHold") {
			t.Errorf("the unit sees %v; its shelter was asked %v", o.GetState(), punjab.calls)
		}
		_, err := origin.ask(v.GetName(), karachi)
		must(t, err)
		net.settle()
		sindh.accept(origin.lastOffer(v.GetName()).GetName())
		net.settle()
		must(t, origin.dispatch(v.GetName()))
		net.settle()
		must(t, sindh.arrive(v.GetName()))
		net.settle()
		net.checkState(v.GetName(), hasCome, "balochistan", "sindh")
		net.flows()
	}
}

func TestAQuestionIsAnsweredToWhoAskedAlone(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	v := net.walk(submitted)
	offer := v.GetOffers()[0].GetName()
	net.says("punjab", "balochistan", v.GetName(), offer, &custodyv1.Reply{Body: &custodyv1.Reply_Question{Question: &custodyv1.Question{Topic: "HEALTH"}}})
	net.settle()
	if d := origin.get(v.GetName()).GetNextDeadline(); d.GetKind() != referralv1.Deadline_KIND_INFORM {
		t.Fatalf("due is %v", d)
	}
	// The answer time passes while the unit waits for us: its offer lives, and it has the usual time once it knows.
	net.now = v.GetOffers()[0].GetAnswerBy().AsTime().Add(time.Hour)
	origin.fire()
	before := len(punjab.annexes(v.GetName()))
	_, err := origin.AnswerQuestion(context.Background(), &referralv1.AnswerQuestionRequest{Name: offer, Note: "Canary-Answer"}, actor)
	must(t, err)
	net.settle()
	got := origin.get(v.GetName())
	if got.GetOffers()[0].GetState() != offerReceived || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ANSWER ||
		got.GetNextDeadline().GetDueTime().AsTime().Sub(net.now) != 3*time.Hour {
		t.Errorf("the origin sees %v", got)
	}
	if len(punjab.annexes(v.GetName())) != before+1 || origin.told("referral.offer.answered.v1", offer) != 1 {
		t.Error("the answer did not reach the unit")
	}
	punjab.accept(offer)
	net.settle()
	net.checkState(v.GetName(), promised, "balochistan")
}

// annexes are the commitments of those a node holds of a referral.
func (n *node) annexes(name string) (all []string) {
	must(n.t, n.DB.View(context.Background(), func(r kitstore.Reader) (err error) {
		all, err = n.Annexes.List(r, name)
		return err
	}))
	return all
}

func TestAReleaseIsGrantedOrRefused(t *testing.T) {
	for _, granted := range []bool{true, false} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		v := net.walk(promised)
		offer, ctx := v.GetOffers()[0].GetName(), context.Background()
		net.says("punjab", "balochistan", v.GetName(), offer, &custodyv1.Reply{
			Body: &custodyv1.Reply_ReleaseRequested{ReleaseRequested: &custodyv1.ReleaseRequested{Reason: "NO_CAPACITY"}},
		})
		net.settle()
		got := origin.get(v.GetName())
		if got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_RELEASE || got.GetOffers()[0].GetReleaseReason() != "NO_CAPACITY" {
			t.Fatalf("the origin sees %v", got)
		}
		if granted {
			for range 2 {
				_, err := origin.GrantRelease(ctx, &referralv1.GrantReleaseRequest{Name: offer, Note: theNote}, actor)
				must(t, err)
			}
			net.settle()
			net.checkState(v.GetName(), submitted, "balochistan")
			if o := punjab.offer(offer); o.GetDeclineReason() != "RELEASED" {
				t.Errorf("the unit sees %v", o)
			}
			continue
		}
		_, err := origin.RefuseRelease(ctx, &referralv1.RefuseReleaseRequest{Name: offer, Reason: "NO_OTHER_PLACE"}, actor)
		must(t, err)
		net.settle()
		got = origin.get(v.GetName())
		if got.GetState() != promised || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_DISPATCH || got.GetOffers()[0].GetReleaseReason() != "" {
			t.Errorf("the origin sees %v", got)
		}
		must(t, origin.dispatch(v.GetName()))
		net.settle()
	}
}
