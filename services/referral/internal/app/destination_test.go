package app_test

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

var background = context.Background()

// wrong holds that a call was refused, with a reason and the names of what is at fault.
func wrong(t testing.TB, err error, reason fault.Reason, names string) {
	t.Helper()
	named := fmt.Sprint(err)
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		named += fmt.Sprint(refused.Fields())
	}
	if fault.ReasonOf(err) != reason || !strings.Contains(named, names) {
		t.Errorf("got %v, want %v naming %q", err, reason, names)
	}
}

// asked is a referral of balochistan's with an offer that punjab has received.
func (net *network) asked() (referral, offer string) {
	net.t.Helper()
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	return v.GetName(), v.GetOffers()[0].GetName()
}

// owners writes an event as the origin and sends it alone to punjab, as the origin does for what concerns an offer.
func (net *network) owners(referral string, e *custodyv1.Event) {
	net.t.Helper()
	origin := net.nodes["balochistan"]
	message, err := origin.GetCustodyChain(background, referral)
	must(net.t, err)
	chain, err := custody.Load(message.GetEvents()...)
	must(net.t, err)
	e.Actor, e.Time = actor, timestamppb.New(net.now)
	l, err := chain.Append(origin.Signer, "balochistan", e)
	must(net.t, err)
	body, err := proto.Marshal(&custodyv1.OfferLetter{Offered: l.Signed})
	must(net.t, err)
	for range 2 {
		net.apply(mail{from: "balochistan", body: body, out: post.Outgoing{Kind: "custody.offer.v1", To: &postv1.Address{Node: "punjab", Service: "referral"}}})
	}
}

func hashOf(t testing.TB, offer string) []byte {
	t.Helper()
	hash, err := custody.ParseHash(offer[strings.LastIndex(offer, "/")+1:])
	must(t, err)
	return hash.Bytes()
}

func (n *node) eventsOf(kind string) (all []proto.Message) {
	for _, e := range n.events {
		if e.kind == kind {
			all = append(all, e.data)
		}
	}
	return all
}

func (n *node) deadline(offer string) *referralv1.Deadline {
	n.t.Helper()
	due, err := n.ListDeadlines(background, &referralv1.ListDeadlinesRequest{Parent: "nodes/" + n.Node})
	must(n.t, err)
	for _, d := range due.GetDeadlines() {
		if d.GetOffer() == offer {
			return d
		}
	}
	return nil
}

func TestQuestionIsAnswered(t *testing.T) {
	net := newNetwork(t)
	net.again = true
	referral, offer := net.asked()
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	ask := func(topic, note string) error {
		_, err := dest.AskQuestion(background, &referralv1.AskQuestionRequest{Name: offer, Topic: topic, Note: note}, actor)
		return err
	}
	wrong(t, ask("OTHER", " "), fault.Field, "note")
	must(t, ask("HEALTH", theNote))
	must(t, ask("HEALTH", theNote)) // a no-op
	wrong(t, ask("SAFETY", ""), fault.WrongState, "")
	net.settle()
	got := origin.get(referral)
	if o := got.GetOffers()[0]; o.GetState() != custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED || o.GetQuestionTopic() != "HEALTH" ||
		got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_INFORM {
		t.Fatalf("the origin sees %v", got)
	}
	if d := dest.deadline(offer); d.GetKind() != referralv1.Deadline_KIND_INFORM {
		t.Errorf("the destination waits for %v", d)
	}
	if _, err := dest.AcceptOffer(background, acceptRequest(offer), actor); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("accepted while a question is open: %v", err)
	}
	if len(origin.eventsOf("referral.offer.question-asked.v1")) != 1 || len(dest.eventsOf("referral.offer.question-asked.v1")) != 1 {
		t.Error("nobody is told of the question")
	}
	letter := &custodyv1.ReplyLetter{}
	for _, m := range net.history {
		if m.out.Kind == "custody.reply.v1" {
			must(t, proto.Unmarshal(m.body, letter))
		}
	}
	net.owners(referral, &custodyv1.Event{Body: &custodyv1.Event_Answered{
		Answered: &custodyv1.Answered{Offer: hashOf(t, offer), Question: custody.ReplyHash(letter.GetReply()).Bytes()},
	}})
	if o := dest.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_RECEIVED || o.GetQuestionTopic() != "" || dest.deadline(offer).GetKind() != referralv1.Deadline_KIND_ANSWER {
		t.Errorf("after the answer the offer is %v", o)
	}
}

func TestWaitlistedOfferIsAcceptedInTheEnd(t *testing.T) {
	net := newNetwork(t)
	net.again = true
	referral, offer := net.asked()
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	wait := func(in time.Duration) error {
		_, err := dest.WaitlistOffer(background, &referralv1.WaitlistOfferRequest{Name: offer, ReviewTime: timestamppb.New(net.now.Add(in)), Note: theNote}, actor)
		return err
	}
	const day = 24 * time.Hour
	wrong(t, wait(-time.Second), fault.Field, "review_time")
	wrong(t, wait(91*day), fault.Field, "review_time")
	for _, in := range []time.Duration{3 * day, 2 * day, 2 * day} {
		must(t, wait(in))
		net.settle()
		got := origin.get(referral)
		if d := dest.deadline(offer); d.GetKind() != referralv1.Deadline_KIND_REVIEW || d.GetDueTime().AsTime().Sub(net.now) != in {
			t.Errorf("the destination looks again at %v", d)
		}
		if d := got.GetNextDeadline(); d.GetKind() != referralv1.Deadline_KIND_ANSWER || d.GetDueTime().AsTime().Sub(net.now) != in+3*time.Hour || got.GetOffers()[0].GetReviewTime() == nil {
			t.Errorf("the origin waits for %v", d)
		}
	}
	if n := len(origin.eventsOf("referral.offer.waitlisted.v1")); n != 2 {
		t.Errorf("the origin heard of the waiting list %d times", n)
	}
	net.now = net.now.Add(2 * day)
	dest.fire()
	if m := dest.missed(); len(m) == 0 || m[len(m)-1].GetKind() != referralv1.Deadline_KIND_REVIEW {
		t.Errorf("the date passed silently: %v", m)
	}
	dest.refuse[shelterv1.ShelterService_PlaceHold_FullMethodName] = fault.New(fault.NoCapacity, "Full.")
	if _, err := dest.AcceptOffer(background, acceptRequest(offer), actor); fault.ReasonOf(err) != fault.NoCapacity {
		t.Fatal(err)
	}
	if got := dest.offer(offer).GetState(); got != custodyv1.OfferState_OFFER_STATE_WAITLISTED {
		t.Errorf("without a bed the offer is %v", got)
	}
	must(t, wait(day)) // still on the list
	clear(dest.refuse)
	_, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
	must(t, err)
	net.settle()
	if got := origin.get(referral); got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_READY || len(net.refused) > 0 || got.GetOffers()[0].GetReviewTime() != nil {
		t.Errorf("the origin sees %v; refused %v", got, net.refused)
	}
}

// The answer time of an offer passes: the destination is told too.
func TestAnswerTimeIsNeverSilentAtTheDestination(t *testing.T) {
	net := newNetwork(t)
	_, offer := net.asked()
	dest := net.nodes["punjab"]
	net.now = dest.offer(offer).GetAnswerBy().AsTime()
	dest.fire()
	if m := dest.missed(); len(m) != 1 || m[0].GetOffer() != offer || m[0].GetKind() != referralv1.Deadline_KIND_ANSWER {
		t.Errorf("missed %v", m)
	}
	net.owners(strings.Split(offer, "/offers/")[0], &custodyv1.Event{Body: &custodyv1.Event_OfferExpired{OfferExpired: &custodyv1.OfferExpired{Offer: hashOf(t, offer)}}})
	if o := dest.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_EXPIRED || dest.deadline(offer) != nil {
		t.Errorf("the offer is %v", o)
	}
}

func TestAcceptanceIsWithdrawnInEveryStateBeforeThePromise(t *testing.T) {
	for _, state := range []custodyv1.OfferState{
		custodyv1.OfferState_OFFER_STATE_ACCEPTING, custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED,
	} {
		for _, waited := range []bool{false, true} {
			net := newNetwork(t)
			net.again = true
			referral, offer := net.asked()
			origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
			withdraw := func(reason, note string) error {
				_, err := dest.WithdrawAcceptance(background, &referralv1.WithdrawAcceptanceRequest{Name: offer, Reason: reason, Note: note}, actor)
				return err
			}
			wrong(t, withdraw("NO_CAPACITY", ""), fault.WrongState, "")
			wrong(t, withdraw("OTHER", ""), fault.Field, "note")
			if waited {
				_, err := dest.WaitlistOffer(background, &referralv1.WaitlistOfferRequest{Name: offer, ReviewTime: timestamppb.New(net.now.Add(time.Hour))}, actor)
				must(t, err)
				net.settle()
			}
			origin.AutoConfirm = state == custodyv1.OfferState_OFFER_STATE_CONFIRMED
			dest.silent = state == custodyv1.OfferState_OFFER_STATE_ACCEPTING
			_, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
			must(t, err)
			dest.silent = state != custodyv1.OfferState_OFFER_STATE_ACCEPTED
			net.settle()
			if got := dest.offer(offer).GetState(); got != state {
				t.Fatalf("the offer is %v, not %v", got, state)
			}
			must(t, withdraw("OTHER", theNote))
			must(t, withdraw("OTHER", theNote)) // a no-op
			wrong(t, withdraw("NO_CAPACITY", ""), fault.WrongState, "")
			dest.silent = false
			net.settle()
			got := origin.get(referral)
			if o := got.GetOffers()[0]; o.GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED || o.GetDeclineReason() != "OTHER" ||
				got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN || len(net.refused) > 0 {
				t.Errorf("from %v: the origin sees %v; refused %v", state, got, net.refused)
			}
			if dest.offer(offer).GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED || dest.deadline(offer) != nil || dest.calls[len(dest.calls)-1] != "ReleaseHold" {
				t.Errorf("from %v: the offer is %v; the shelter was asked %v", state, dest.offer(offer), dest.calls)
			}
		}
	}
}

func TestReleaseIsAskedForRefusedAndGranted(t *testing.T) {
	net := newNetwork(t)
	net.again = true
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	referral, offer := v.GetName(), v.GetOffers()[0].GetName()
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	release := func(reason string) error {
		_, err := dest.RequestRelease(background, &referralv1.RequestReleaseRequest{Name: offer, Reason: reason, Note: theNote}, actor)
		return err
	}
	_, err := dest.WithdrawAcceptance(background, &referralv1.WithdrawAcceptanceRequest{Name: offer, Reason: "TOO_FAR"}, actor)
	wrong(t, err, fault.WrongState, "released")
	must(t, release("SAFETY_CONFLICT"))
	must(t, release("SAFETY_CONFLICT")) // a no-op
	net.settle()
	if got := origin.get(referral); got.GetOffers()[0].GetReleaseReason() != "SAFETY_CONFLICT" || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_RELEASE ||
		got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_READY || len(origin.eventsOf("referral.offer.release-requested.v1")) != 1 {
		t.Fatalf("the origin sees %v", got)
	}
	if d := dest.deadline(offer); d.GetKind() != referralv1.Deadline_KIND_RELEASE {
		t.Errorf("the destination waits for %v", d)
	}
	net.owners(referral, &custodyv1.Event{Body: &custodyv1.Event_ReleaseRefused{ReleaseRefused: &custodyv1.ReleaseRefused{Offer: hashOf(t, offer), Reason: "NO_OTHER_PLACE"}}})
	if o := dest.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_READY || o.GetReleaseReason() != "" || dest.deadline(offer).GetKind() != referralv1.Deadline_KIND_DISPATCH {
		t.Errorf("after the refusal the offer is %v", o)
	}
	net.now = net.now.Add(time.Minute)
	must(t, release("NO_CAPACITY")) // anew
	net.settle()
	net.owners(referral, &custodyv1.Event{Body: &custodyv1.Event_OfferWithdrawn{OfferWithdrawn: &custodyv1.OfferWithdrawn{Offer: hashOf(t, offer), Reason: "RELEASED"}}})
	dest.runCommands()
	if o := dest.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_WITHDRAWN || o.GetDeclineReason() != "RELEASED" || o.GetReleaseReason() != "" ||
		dest.calls[len(dest.calls)-1] != "ReleaseHold" || len(net.refused) > 0 {
		t.Errorf("after it was granted the offer is %v; the shelter was asked %v", o, dest.calls)
	}
}

// The shelter is suspended after the promise: the node asks to be let go by itself, and people are told on both sides.
func TestLostBedAsksForRelease(t *testing.T) {
	for _, onTheRoad := range []bool{false, true} {
		net := newNetwork(t)
		net.again = true
		to := custodyv1.ReferralState_REFERRAL_STATE_READY
		if onTheRoad {
			to = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
		}
		v := net.walk(to)
		offer := v.GetOffers()[0].GetName()
		origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
		for _, h := range dest.holds {
			h.State = shelterv1.Hold_STATE_RELEASED
			packed, err := anypb.New(&shelterv1.HoldChanged{Hold: h.GetName(), Offer: offer, State: h.GetState(), ReleaseReason: "SHELTER_SUSPENDED"})
			must(t, err)
			for range 2 { // events may come twice
				must(t, dest.DB.Update(background, func(tx *kitstore.Tx) error {
					return dest.FollowShelter(tx, &eventsv1.Event{Type: "shelter.hold.released.v1", Data: packed})
				}))
			}
		}
		net.settle()
		if n := len(dest.eventsOf("referral.offer.bed-lost.v1")); n != 1 {
			t.Errorf("told %d times of the lost bed", n)
		}
		o := dest.offer(offer)
		if onTheRoad {
			if o.GetReleaseReason() != "" || len(net.refused) > 0 {
				t.Errorf("on the road a release was asked for: %v", o)
			}
			_, err := dest.RecordArrival(background, &referralv1.RecordArrivalRequest{Name: v.GetName(), Identification: []string{"REFERRAL_SLIP"}}, actor)
			must(t, err)
			net.settle()
			if slices.Contains(dest.calls, "AdmitHold") {
				t.Error("a bed that is gone is admitted to")
			}
			continue
		}
		got := origin.get(v.GetName())
		if o.GetReleaseReason() != "HOLD_ENDED" || dest.deadline(offer).GetKind() != referralv1.Deadline_KIND_RELEASE ||
			got.GetOffers()[0].GetReleaseReason() != "HOLD_ENDED" || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_RELEASE || len(net.refused) > 0 {
			t.Errorf("the destination sees %v, the origin %v", o, got)
		}
	}
}

func TestScheduleIsProposed(t *testing.T) {
	net := newNetwork(t)
	net.again = true
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	offer := v.GetOffers()[0].GetName()
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	propose := func(in time.Duration, place string) error {
		_, err := dest.ProposeSchedule(background, &referralv1.ProposeScheduleRequest{Name: offer, MeetTime: timestamppb.New(net.now.Add(in)), Place: place}, actor)
		return err
	}
	wrong(t, propose(-time.Second, theMeeting), fault.Field, "meet_time")
	wrong(t, propose(time.Hour, " "), fault.Field, "place")
	must(t, propose(time.Hour, theMeeting))
	must(t, propose(time.Hour, theMeeting)) // a no-op
	must(t, propose(time.Hour, theMeeting+" 2"))
	must(t, propose(2*time.Hour, theMeeting))
	net.settle()
	if n := len(origin.eventsOf("referral.offer.schedule-proposed.v1")); n != 3 {
		t.Errorf("the origin heard of %d proposals", n)
	}
	if o := origin.get(v.GetName()).GetOffers()[0]; o.GetMeetTime().AsTime().Sub(net.now) != 2*time.Hour || dest.offer(offer).GetMeetTime().AsTime().Sub(net.now) != 2*time.Hour {
		t.Errorf("the origin sees %v", o)
	}
}

func serviceRequest() *referralv1.SubmitReferralRequest {
	r := submitRequest()
	r.Kind, r.Service = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, "LEGAL"
	return r
}

// A referral for a service: the person and the ownership stay, and the loop closes at the origin.
func TestServiceWithEveryLetterTwice(t *testing.T) {
	for _, local := range []bool{false, true} {
		net := newNetwork(t)
		net.again = true
		origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
		request := serviceRequest()
		if local {
			origin, request.Parent, request.Unit = dest, "nodes/punjab", "nodes/punjab/units/multan"
		}
		v, err := origin.SubmitReferral(background, request)
		must(t, err)
		net.settle()
		offer := v.GetOffers()[0].GetName()
		_, err = dest.AcceptOffer(background, acceptRequest(offer), actor)
		wrong(t, err, fault.Field, "group")
		accept := acceptRequest(offer)
		accept.Group = ""
		_, err = dest.AcceptOffer(background, accept, actor)
		must(t, err)
		net.settle()
		if got := origin.get(v.GetName()); got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_READY || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_SERVE || len(dest.calls) > 0 {
			t.Fatalf("the origin sees %v; the shelter was asked %v", got, dest.calls)
		}
		_, err = origin.DispatchReferral(background, net.dispatchRequest(v.GetName()), actor)
		wrong(t, err, fault.WrongState, "")
		report := func(outcome string) error {
			_, err := dest.ReportOutcome(background, &referralv1.ReportOutcomeRequest{Name: offer, Outcome: outcome, Services: []string{"LEGAL"}, Note: theFeedback}, actor)
			return err
		}
		wrong(t, report("SERVICE_GIVEN"), fault.WrongState, "")
		for _, services := range [][]string{{"LEGAL"}, {"LEGAL", "PSYCHOSOCIAL"}} {
			_, err = dest.GiveService(background, &referralv1.GiveServiceRequest{Name: offer, Services: services, Note: theNote}, actor)
			must(t, err)
			net.settle()
		}
		got := origin.get(v.GetName())
		if got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE || !slices.Equal(got.GetServicesGiven(), []string{"LEGAL", "PSYCHOSOCIAL"}) ||
			got.GetOwnerNode() != origin.Node || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_COMPLETE {
			t.Errorf("the origin sees %v", got)
		}
		complete := completeRequest(v.GetName())
		complete.Outcome = "SERVICE_GIVEN"
		_, err = origin.CompleteReferral(background, complete)
		wrong(t, err, fault.WrongState, "")
		must(t, report("SERVICE_GIVEN"))
		must(t, report("SERVICE_GIVEN")) // a no-op
		wrong(t, report("OTHER"), fault.WrongState, "")
		_, err = dest.GiveService(background, &referralv1.GiveServiceRequest{Name: offer, Services: []string{"LEGAL"}}, actor)
		wrong(t, err, fault.WrongState, "")
		net.settle()
		got = origin.get(v.GetName())
		if got.GetOffers()[0].GetOutcome() != "SERVICE_GIVEN" || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_CLOSE || dest.deadline(offer) != nil && !local {
			t.Errorf("after the outcome the origin sees %v", got)
		}
		_, err = origin.CompleteReferral(background, complete)
		must(t, err)
		net.settle()
		for _, n := range []*node{origin, dest} {
			if got := n.get(v.GetName()); got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED || got.GetOutcome() != "SERVICE_GIVEN" || got.GetNextDeadline() != nil {
				t.Errorf("%s sees %v", n.Node, got)
			}
		}
		for _, fact := range net.facts() {
			if fact.GetToNode() != "punjab" {
				t.Errorf("told %v", fact)
			}
		}
		want := []string{facts.Referred, facts.Accepted, facts.Completed, facts.Service}
		net.checkTold(v.GetName())
		if got := net.flows(); !slices.Equal(got, want) || len(net.refused) > 0 {
			t.Errorf("told %v; refused %v", got, net.refused)
		}
	}
}

func TestServiceComesToItsEndWithDelayedLetters(t *testing.T) {
	for seed := range uint64(4) {
		net := newNetwork(t)
		net.later = true
		rnd := mathrand.New(mathrand.NewPCG(seed, 5))
		origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
		v, err := origin.SubmitReferral(background, serviceRequest())
		must(t, err)
		offer := v.GetOffers()[0].GetName()
		accept := acceptRequest(offer)
		accept.Group = ""
		for range 1000 {
			switch rnd.IntN(8) {
			case 0:
				_, _ = dest.AcceptOffer(background, accept, actor)
			case 1:
				_, _ = dest.GiveService(background, &referralv1.GiveServiceRequest{Name: offer, Services: []string{"LEGAL"}}, actor)
			case 2:
				if dest.maybeOffer(offer).GetState() == custodyv1.OfferState_OFFER_STATE_FULFILLED {
					_, _ = dest.ReportOutcome(background, &referralv1.ReportOutcomeRequest{Name: offer, Outcome: "SERVICE_GIVEN", Services: []string{"LEGAL"}}, actor)
				}
			case 3:
				_, _ = origin.CompleteReferral(background, completeRequest(v.GetName()))
			default:
				net.deliverAny(rnd)
			}
			if origin.get(v.GetName()).GetState() == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED {
				break
			}
		}
		net.settle()
		if got := dest.get(v.GetName()); got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED || len(net.refused) > 0 {
			t.Errorf("seed %d: the destination sees %v; refused %v", seed, got.GetState(), net.refused)
		}
	}
}

// maybeOffer is an offer, or nothing while it has not come.
func (n *node) maybeOffer(name string) *referralv1.Offer {
	o, err := n.GetOffer(background, name)
	if err != nil {
		return nil
	}
	return o
}
