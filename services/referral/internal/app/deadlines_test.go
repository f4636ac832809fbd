package app_test

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/soaktest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

func (n *node) fire() time.Time {
	n.t.Helper()
	next, err := n.FireDeadlines(context.Background())
	must(n.t, err)
	return next
}

func (n *node) missed() (all []*referralv1.Deadline) {
	for _, e := range n.events {
		if m, ok := e.data.(*referralv1.DeadlineMissed); ok {
			all = append(all, m.GetDeadline())
		}
	}
	return all
}

func TestDeadlineFiresOncePerDueTimeAlsoAfterRestart(t *testing.T) {
	net := newNetworkOnFiles(t)
	v := net.submit() // nobody receives it
	origin := net.nodes["balochistan"]
	due := v.GetNextDeadline().GetDueTime().AsTime()
	if v.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_RECEIVE || due.Sub(net.now) != time.Hour {
		t.Fatalf("the first deadline is %v", v.GetNextDeadline())
	}
	net.now = due.Add(-1)
	if next := origin.fire(); !next.Equal(due) || len(origin.missed()) != 0 {
		t.Errorf("before its time %d fired; the next is due at %v", len(origin.missed()), next)
	}
	net.now = due
	for range 3 {
		origin.fire()
		must(t, origin.DB.Close())
		origin.open()
	}
	if m := origin.missed(); len(m) != 1 || m[0].GetMissed() != 1 || m[0].GetUnit() != "nodes/balochistan/units/hub" || !m[0].GetDueTime().AsTime().Equal(due) {
		t.Fatalf("fired %v", m)
	}
	net.now = v.GetOffers()[0].GetAnswerBy().AsTime() // nobody answered either
	origin.fire()
	if got := origin.get(v.GetName()); len(origin.missed()) != 1 || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN {
		t.Fatalf("fired %v, then %v is due", origin.missed(), got.GetNextDeadline())
	}
	net.now = net.now.Add(100 * time.Hour) // the node was off for days: it speaks once
	origin.fire()
	if m := origin.missed(); len(m) != 2 || m[1].GetMissed() != 1 || m[1].GetKind() != referralv1.Deadline_KIND_ASK_AGAIN {
		t.Errorf("fired %v", m)
	}
	first := map[referralv1.Deadline_Kind]time.Time{
		v.GetNextDeadline().GetKind():      due,
		referralv1.Deadline_KIND_ASK_AGAIN: origin.missed()[1].GetDueTime().AsTime(),
	}
	for _, e := range origin.events {
		if m, ok := e.data.(*referralv1.DeadlineMissed); ok && (!m.GetFirstDueTime().AsTime().Equal(first[m.GetDeadline().GetKind()]) || m.GetReference() != v.GetReference() || m.GetUrgency() != v.GetUrgency()) {
			t.Errorf("each step says which deadline it is of: %v", m)
		}
	}
}

// One that fires may move others that were due with it, of those who go together: they are not missed besides.
func TestWhatOneDeadlineMovesIsNotMissedWithIt(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	family := net.family()
	until := origin.get(family[0].GetName()).GetNextDeadline().GetDueTime().AsTime()
	net.pass(until.Sub(net.now))
	for _, v := range family {
		if got := origin.get(v.GetName()).GetNextDeadline(); got.GetMissed() > 0 || got.GetKind() != referralv1.Deadline_KIND_ASK_AGAIN || !got.GetDueTime().AsTime().After(net.now) {
			t.Errorf("due: %v", got)
		}
	}
	if m := origin.missed(); len(m) != 0 {
		t.Errorf("missed: %v", m)
	}
}

// What was missed is counted while it is open, and apart from that of what nobody is left to tell.
func TestMissedDeadlinesAreCounted(t *testing.T) {
	net := newNetwork(t)
	v := net.submit() // nobody receives it
	origin := net.nodes["balochistan"]
	check := func(when string, missed, unheeded uint64) {
		t.Helper()
		if s := origin.status(); s.GetMissedDeadlines() != missed || s.GetUnheededDeadlines() != unheeded {
			t.Errorf("%s: %v, want %d missed and %d unheeded", when, s, missed, unheeded)
		}
	}
	check("before its time", 0, 0)
	net.now = v.GetOffers()[0].GetAnswerBy().AsTime()
	net.now = origin.fire() // from now on somebody must ask again
	for step := uint64(1); step <= 4; step++ {
		next := origin.fire()
		check("step "+fmt.Sprint(step), 1, step/3)
		net.now = next
	}
	must(t, origin.cancel(v.GetName()))
	check("after the end", 0, 0)
}

// twoOffers are made to punjab by one referral each; net.now is when they are not answered yet.
func (net *network) twoOffers() (v, w *referralv1.Referral) {
	net.t.Helper()
	v = net.submit()
	other := submitRequest()
	other.RequestId = "request-2"
	w, err := net.nodes["balochistan"].SubmitReferral(background, other)
	must(net.t, err)
	net.settle()
	return v, w
}

// onTheWay counts the letters of a kind about a referral that are not delivered yet.
func (net *network) onTheWay(kind string, about *referralv1.Referral) (n int) {
	for _, m := range net.sent {
		if m.out.Kind == kind && m.out.Subject == about.GetName() {
			n++
		}
	}
	return n
}

// The key file is an older copy than the store, so that what punjab wrote beside an answer does not open: what is missed is told all the same, and
// the answer is said again without it.
func TestAnAnnexThatDoesNotOpenStopsNoDeadline(t *testing.T) {
	net := newNetwork(t)
	v, w := net.twoOffers()
	punjab := net.nodes["punjab"]
	_, err := punjab.WaitlistOffer(background, &referralv1.WaitlistOfferRequest{
		Name: v.GetOffers()[0].GetName(), Note: theNote, ReviewTime: timestamppb.New(net.now.Add(time.Hour)),
	}, actor)
	must(t, err)
	net.settle()
	punjab.loseKeys()
	net.now = net.now.Add(90 * 24 * time.Hour)
	if next := punjab.fire(); !next.After(net.now) {
		t.Error("what has fired is due again at once")
	}
	for _, name := range []string{v.GetName(), w.GetName()} {
		if got := punjab.told("referral.deadline.missed.v1", name); got != 1 {
			t.Errorf("it is told %d times that %s is late", got, name)
		}
	}
	if net.onTheWay("custody.reply.v1", v) != 2 || net.onTheWay("custody.annex.v1", v) > 0 { // received, and waitlisted
		t.Errorf("%d answers and %d annexes are on their way", net.onTheWay("custody.reply.v1", v), net.onTheWay("custody.annex.v1", v))
	}
	net.settle()
}

// The post fails to take what punjab says again of one offer: a person is told of that one too, and of the other, each once. It is said when its
// next step comes.
func TestADeadlineThatFailsKeepsNoOther(t *testing.T) {
	net := newNetwork(t)
	v, w := net.twoOffers()
	punjab := net.nodes["punjab"]
	punjab.stuck = func(o post.Outgoing) bool { return o.Subject == v.GetName() }
	net.now = v.GetOffers()[0].GetAnswerBy().AsTime()
	var next time.Time
	for range 3 {
		next = punjab.fire()
	}
	for _, name := range []string{v.GetName(), w.GetName()} {
		if got := punjab.told("referral.deadline.missed.v1", name); got != 1 {
			t.Errorf("it is told %d times that %s is late", got, name)
		}
	}
	if !next.After(net.now) || net.onTheWay("custody.reply.v1", w) != 1 {
		t.Fatalf("%d answers are on their way, and the next is due after %v", net.onTheWay("custody.reply.v1", w), next.Sub(net.now))
	}
	net.sent, punjab.stuck, net.now = nil, nil, next
	punjab.fire()
	if got := net.onTheWay("custody.reply.v1", v); got != 1 {
		t.Errorf("%d answers are said again", got)
	}
	net.settle()
}

// What ends by itself and cannot be told ends later, and what ends with it ends at once.
func TestWhatCannotEndByItselfKeepsNoOther(t *testing.T) {
	net := newNetwork(t)
	v, w := net.twoOffers()
	origin := net.nodes["balochistan"]
	state := func(r *referralv1.Referral) custodyv1.OfferState {
		return origin.get(r.GetName()).GetOffers()[0].GetState()
	}
	origin.stuck = func(o post.Outgoing) bool { return o.Subject == v.GetName() }
	net.now = v.GetOffers()[0].GetAnswerBy().AsTime()
	next := origin.fire()
	if state(v) != custodyv1.OfferState_OFFER_STATE_RECEIVED || state(w) != custodyv1.OfferState_OFFER_STATE_EXPIRED || !next.After(net.now) {
		t.Errorf("the offers are %v and %v, and the next is due after %v", state(v), state(w), next.Sub(net.now))
	}
	origin.stuck, net.now = nil, next
	origin.fire()
	if state(v) != custodyv1.OfferState_OFFER_STATE_EXPIRED {
		t.Errorf("at last the offer is %v", state(v))
	}
	net.settle()
}

// A store that has failed is no deadline that cannot be fired: the service stops.
func TestDeadlinesOfAStoreThatHasFailed(t *testing.T) {
	net := newNetwork(t)
	origin := net.nodes["balochistan"]
	net.now = net.submit().GetNextDeadline().GetDueTime().AsTime()
	origin.engine.FailNextCommit(errors.New("no space left"))
	if _, err := origin.FireDeadlines(background); !errors.Is(err, kitstore.ErrFatal) {
		t.Errorf("%v", err)
	}
	_ = origin.DB.Close() // it says again why it failed
	origin.open()
}

func TestWatchAsksTheOwner(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT)
	origin, dest, ctx := net.nodes["balochistan"], net.nodes["punjab"], context.Background()
	watch := origin.get(v.GetName()).GetNextDeadline()
	if watch.GetKind() != referralv1.Deadline_KIND_WATCH || watch.GetDueTime().AsTime().Sub(net.now) != 30*time.Hour {
		t.Fatalf("the watch is %v", watch)
	}
	// The arrival's letters are lost; the watch brings the chain back.
	_, err := dest.RecordArrival(ctx, &referralv1.RecordArrivalRequest{Name: v.GetName(), Identification: []string{"REFERRAL_SLIP"}}, actor)
	must(t, err)
	net.sent = nil
	net.now = watch.GetDueTime().AsTime()
	origin.fire()
	net.settle()
	got := origin.get(v.GetName())
	if got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_ARRIVED || got.GetNextDeadline().GetDueTime().AsTime().Sub(net.now) != 7*24*time.Hour {
		t.Errorf("the origin sees %v", got)
	}
}

// chain is a referral's chain as a node holds it.
func (net *network) chain(n *node, name string) *custody.Chain {
	net.t.Helper()
	message, err := n.GetCustodyChain(context.Background(), name)
	must(net.t, err)
	c, err := custody.Load(message.GetEvents()...)
	must(net.t, err)
	return c
}

// checkDeadlines holds invariant I7 at every node.
func (net *network) checkDeadlines(when string) {
	net.t.Helper()
	for _, n := range net.nodes {
		want := map[string]bool{}
		must(net.t, n.DB.View(context.Background(), func(r kitstore.Reader) error {
			err := store.Referrals.Scan(r, kitstore.Range{}, func(_ kitstore.Key, record *referralv1.ReferralRecord) error {
				v := record.GetReferral()
				chain := net.chain(n, v.GetName())
				live := !chain.State().Terminal() && chain.State().Owned(n.Node)
				lost := v.GetState() == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW && v.GetCareNode() == n.Node && !v.GetFound()
				if live || lost {
					want[v.GetName()] = true
				}
				return nil
			})
			if err != nil {
				return err
			}
			err = store.Offers.Scan(r, kitstore.Range{}, func(_ kitstore.Key, record *referralv1.OfferRecord) error {
				switch record.GetState() {
				case custodyv1.OfferState_OFFER_STATE_FULFILLED:
					event := &custodyv1.Event{}
					if err := proto.Unmarshal(record.GetOffered().GetEvent(), event); err != nil {
						return err
					}
					if event.GetOffered().GetKind() != custodyv1.ReferralKind_REFERRAL_KIND_SERVICE || record.GetOutcome() != "" {
						return nil
					}
				case custodyv1.OfferState_OFFER_STATE_DECLINED, custodyv1.OfferState_OFFER_STATE_WITHDRAWN,
					custodyv1.OfferState_OFFER_STATE_LAPSED, custodyv1.OfferState_OFFER_STATE_EXPIRED:
					return nil
				}
				event := &custodyv1.Event{}
				if err := proto.Unmarshal(record.GetOffered().GetEvent(), event); err != nil {
					return err
				}
				want[store.OfferName(event.GetReferral(), custody.HashOf(record.GetOffered().GetEvent()).String())] = true
				return nil
			})
			if err != nil {
				return err
			}
			err = store.Arrivals.Scan(r, kitstore.Range{}, func(_ kitstore.Key, record *referralv1.ArrivalRecord) error {
				reply := &custodyv1.Reply{}
				if err := proto.Unmarshal(record.GetReply().GetReply(), reply); err != nil {
					return err
				}
				want[reply.GetReferral()+" arrival"] = !record.GetTaken()
				if record.GetTaken() {
					delete(want, reply.GetReferral()+" arrival")
				}
				return nil
			})
			if err != nil {
				return err
			}
			return store.Deadlines.Scan(r, kitstore.Range{}, func(_ kitstore.Key, record *referralv1.DeadlineRecord) error {
				d := record.GetDeadline()
				name := d.GetReferral()
				if d.GetKind() == referralv1.Deadline_KIND_FOLLOW_PERSON {
					name += " arrival"
				}
				if d.GetOffer() != "" {
					name = d.GetOffer()
				}
				if !want[name] {
					net.t.Fatalf("%s, %s: %v is over and still has a deadline", when, n.Node, d)
				}
				if !strings.HasPrefix(d.GetUnit(), "nodes/"+n.Node+"/units/") || d.GetDueTime() == nil {
					net.t.Fatalf("%s, %s: nobody of this node answers for %v", when, n.Node, d)
				}
				delete(want, name)
				return nil
			})
		}))
		for name := range want {
			net.t.Fatalf("%s: %s has no deadline at %s", when, name, n.Node)
		}
	}
}

func TestEveryLiveReferralHasADeadlineOnRandomWalks(t *testing.T) {
	completed, services, arrived, moves, outside := 0, 0, 0, 0, 0
	ends := map[custodyv1.ReferralState]int{}
	for seed := range soaktest.Alone[uint64](8, 3) {
		net := newNetwork(t)
		rnd := mathrand.New(mathrand.NewPCG(seed, 2))
		origin := net.nodes["balochistan"]
		origin.AutoConfirm = seed%2 == 0
		var names []string
		for i := range 400 {
			what := net.randomMove(rnd, origin, &names)
			net.checkDeadlines(fmt.Sprintf("seed %d, move %d (%s)", seed, i, what))
			moves++
		}
		net.settle()
		net.checkDeadlines("settled")
		if len(net.refused) > 0 {
			t.Errorf("seed %d: refused %v", seed, net.refused)
		}
		for _, name := range names {
			v := origin.get(name)
			ends[v.GetState()]++
			outside += net.wentOutside(name)
			if v.GetState() == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED {
				completed++
				if v.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE {
					services++
				}
			}
		}
		for _, n := range net.nodes {
			arrived += len(n.eventsOf("referral.arrival.taken.v1"))
		}
	}
	t.Logf("in the end: %v; %d came to agencies", ends, outside)
	if completed == 0 || services == 0 || arrived == 0 || outside == 0 {
		t.Errorf("%d moves completed %d, %d of them services, with %d arrivals asserted and %d at agencies: the walks are too short to show anything",
			moves, completed, services, arrived, outside)
	}
}

// randomMove lets somebody try something with some referral.
func (net *network) randomMove(rnd *mathrand.Rand, origin *node, names *[]string) string {
	ctx := context.Background()
	dests := []*node{net.nodes["punjab"], net.nodes["sindh"]}
	if len(*names) == 0 || rnd.IntN(100) == 0 {
		r := submitRequest()
		r.RequestId = fmt.Sprintf("request-%d", len(*names))
		r.Urgency = custodyv1.Urgency(1 + rnd.IntN(3))
		if rnd.IntN(2) == 0 {
			r.Kind, r.Service = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, "LEGAL"
		}
		if rnd.IntN(3) == 0 {
			r.ToUnit, r.External = "", agency()
		}
		v, err := origin.SubmitReferral(ctx, r)
		must(net.t, err)
		*names = append(*names, v.GetName())
		return "submit"
	}
	name := (*names)[rnd.IntN(len(*names))]
	v := origin.get(name)
	offer := v.GetOffers()[len(v.GetOffers())-1]
	dest := net.nodeOf(rnd, offer)
	switch rnd.IntN(6) {
	case 0:
		return net.randomDecision(rnd, name)
	case 2:
		if offer.GetExternal() != nil || rnd.IntN(4) == 0 {
			return net.agencyMove(rnd, origin, name)
		}
	case 1:
		return net.destinationMove(rnd, dest, name, offer.GetName())
	}
	switch rnd.IntN(20) {
	case 0:
		request := acceptRequest(offer.GetName())
		request.Group = "nodes/" + dest.Node + "/shelters/a1/groups/b1"
		if v.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE {
			request.Group = ""
		}
		_, _ = dest.AcceptOffer(ctx, request, actor)
		return "accept"
	case 1:
		if rnd.IntN(4) == 0 {
			_, _ = dest.DeclineOffer(ctx, &referralv1.DeclineOfferRequest{Name: offer.GetName(), Reason: "TOO_FAR"}, actor)
		}
		return "decline"
	case 2:
		_, _ = origin.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: offer.GetName()}, actor)
		return "confirm"
	case 3:
		to := dests[rnd.IntN(2)].Node
		_, _ = origin.OfferReferral(ctx, &referralv1.OfferReferralRequest{Name: name, ToUnit: "nodes/" + to + "/units/centre", Etag: v.GetEtag()}, actor)
		return "offer"
	case 4:
		_, _ = origin.DispatchReferral(ctx, net.dispatchRequest(name), actor)
		return "dispatch"
	case 5:
		_, _ = dest.RecordArrival(ctx, &referralv1.RecordArrivalRequest{Name: name, Identification: []string{"REFERRAL_SLIP"}}, actor)
		return "arrive"
	case 6:
		_, _ = dest.StartService(ctx, &referralv1.StartServiceRequest{Name: name, Services: []string{"SHELTER"}}, actor)
		_, _ = dest.CompleteReferral(ctx, completeRequest(name))
		_, _ = origin.CompleteReferral(ctx, completeRequest(name))
		return "serve and complete"
	case 7:
		net.now = net.now.Add(time.Duration(rnd.IntN(4)) * time.Hour)
		for _, n := range net.nodes {
			n.fire()
		}
		return "time passes"
	case 8:
		for _, n := range dests {
			n.silent = rnd.IntN(3) == 0
			clear(n.refuse)
			if rnd.IntN(6) == 0 {
				n.refuse[shelterv1.ShelterService_PlaceHold_FullMethodName] = fault.New(fault.NoCapacity, "Full.")
				n.refuse[shelterv1.ShelterService_ConfirmHold_FullMethodName] = fault.New(fault.HoldEnded, "Ended.")
			}
		}
		return "shelters change"
	case 9:
		for _, n := range dests {
			n.runCommands()
		}
		return "shelters answer"
	}
	net.deliverAny(rnd) // a word takes its chain with it
	net.deliverAny(rnd)
	return "letters come"
}

// randomDecision lets any node try what an owner, or the first owner, may do.
func (net *network) randomDecision(rnd *mathrand.Rand, name string) string {
	ctx := context.Background()
	all := []*node{net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]}
	n := all[rnd.IntN(len(all))]
	if !n.holdsChain(name) {
		return "nothing"
	}
	offers := n.get(name).GetOffers()
	offer := offers[rnd.IntN(len(offers))]
	switch rnd.IntN(12) {
	case 0:
		_ = n.withdraw(offer.GetName(), "NEEDS_CHANGED")
		return "withdraw"
	case 1:
		if rnd.IntN(6) == 0 {
			_ = n.cancel(name)
		}
		return "cancel"
	case 2:
		_ = n.askBack(name)
		return "ask back"
	case 3:
		_, _ = n.CheckIn(ctx, &referralv1.CheckInRequest{Name: name, NextTime: timestamppb.New(net.now.Add(time.Duration(1+rnd.IntN(20)) * time.Hour))}, actor)
		return "check in"
	case 4:
		if rnd.IntN(4) == 0 {
			_, _ = n.RecordNoShow(ctx, &referralv1.RecordNoShowRequest{Name: name}, actor)
		}
		return "no-show"
	case 5:
		_, _ = n.RecordReturn(ctx, &referralv1.RecordReturnRequest{Name: name, Reason: "FAMILY_TRACED"}, actor)
		return "returned"
	case 6:
		if rnd.IntN(3) == 0 {
			_ = n.askAgency(name)
			return "ask an agency"
		}
		_, _ = n.ask(name, "nodes/"+all[1+rnd.IntN(2)].Node+"/units/second")
		return "ask another"
	case 7:
		_ = n.confirm(offer.GetName())
		return "confirm"
	case 8:
		_ = n.dispatch(name)
		return "dispatch"
	case 9:
		_ = n.arrive(name)
		return "arrive"
	case 10:
		asked := net.nodeOf(rnd, offer)
		_, _ = asked.AskQuestion(ctx, &referralv1.AskQuestionRequest{Name: offer.GetName(), Topic: "HEALTH"}, actor)
		_, _ = asked.RequestRelease(ctx, &referralv1.RequestReleaseRequest{Name: offer.GetName(), Reason: "NO_CAPACITY"}, actor)
		return "ask back, or to be released"
	}
	_, _ = n.AnswerQuestion(ctx, &referralv1.AnswerQuestionRequest{Name: offer.GetName(), Note: theNote}, actor)
	_, _ = n.RefuseRelease(ctx, &referralv1.RefuseReleaseRequest{Name: offer.GetName(), Reason: "NO_OTHER_PLACE"}, actor)
	return "answer"
}

// destinationMove lets a unit that was asked, or one that has the person, do something.
func (net *network) destinationMove(rnd *mathrand.Rand, dest *node, referral, offer string) string {
	switch rnd.IntN(10) {
	case 0:
		if rnd.IntN(8) == 0 { // who answers is the owner's side
			_, _ = dest.AskQuestion(background, &referralv1.AskQuestionRequest{Name: offer, Topic: "HEALTH"}, actor)
		}
		return "ask"
	case 1:
		_, _ = dest.WaitlistOffer(background, &referralv1.WaitlistOfferRequest{
			Name: offer, ReviewTime: timestamppb.New(net.now.Add(time.Duration(1+rnd.IntN(100)) * time.Hour)),
		}, actor)
		return "wait"
	case 2:
		if rnd.IntN(4) == 0 {
			_, _ = dest.WithdrawAcceptance(background, &referralv1.WithdrawAcceptanceRequest{Name: offer, Reason: "TOO_FAR"}, actor)
		}
		return "take back"
	case 3:
		if rnd.IntN(4) == 0 {
			_, _ = dest.RequestRelease(background, &referralv1.RequestReleaseRequest{Name: offer, Reason: "NO_CAPACITY"}, actor)
		}
		return "ask for release"
	case 4:
		_, _ = dest.ProposeSchedule(background, &referralv1.ProposeScheduleRequest{Name: offer, MeetTime: timestamppb.New(net.now.Add(time.Hour)), Place: theMeeting}, actor)
		return "propose"
	case 5, 6:
		_, _ = dest.GiveService(background, &referralv1.GiveServiceRequest{Name: offer, Services: []string{"LEGAL"}}, actor)
		return "give"
	case 7:
		_, _ = dest.ReportOutcome(background, &referralv1.ReportOutcomeRequest{Name: offer, Outcome: "SERVICE_GIVEN", Services: []string{"LEGAL"}}, actor)
		net.settle()
		_, _ = net.nodes["balochistan"].CompleteReferral(background, completeRequest(referral))
		return "report, and close"
	case 8:
		n := net.nodes[[]string{"punjab", "sindh"}[rnd.IntN(2)]]
		if rnd.IntN(6) == 0 && net.nodes["balochistan"].get(referral).GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT {
			_, _ = n.assert(referral)
		}
		return "assert"
	}
	_, _ = dest.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: referral, Code: "THREAT"}, actor)
	return "tell"
}
