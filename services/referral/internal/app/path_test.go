package app_test

import (
	"bytes"
	"context"
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
	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// walk takes a referral along the whole path, up to and with a state.
func (net *network) walk(to custodyv1.ReferralState) *referralv1.Referral {
	net.t.Helper()
	ctx := context.Background()
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.submit()
	steps := []func() error{
		func() error { net.settle(); return nil }, // SUBMITTED
		func() error { // CONFIRMED and, by the shelter's promise, READY
			_, err := dest.AcceptOffer(ctx, acceptRequest(v.GetOffers()[0].GetName()), actor)
			return err
		},
		func() error { return nil },
		func() error {
			_, err := origin.DispatchReferral(ctx, net.dispatchRequest(v.GetName()), actor)
			return err
		},
		func() error {
			_, err := dest.RecordArrival(ctx, &referralv1.RecordArrivalRequest{Name: v.GetName(), Identification: []string{"REFERRAL_SLIP"}, Note: theNote}, actor)
			return err
		},
		func() error {
			_, err := dest.StartService(ctx, &referralv1.StartServiceRequest{Name: v.GetName(), Services: []string{"SHELTER"}}, actor)
			return err
		},
		func() error { _, err := dest.CompleteReferral(ctx, completeRequest(v.GetName())); return err },
	}
	for i := range int(to) {
		must(net.t, steps[i]())
		net.settle()
	}
	return v
}

func completeRequest(name string) *referralv1.CompleteReferralRequest {
	return &referralv1.CompleteReferralRequest{Name: name, Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: theFeedback, Actor: actor}
}

func (n *node) get(name string) *referralv1.Referral {
	n.t.Helper()
	v, err := n.GetReferral(context.Background(), name)
	must(n.t, err)
	return v
}

func (n *node) offer(name string) *referralv1.Offer {
	n.t.Helper()
	o, err := n.GetOffer(context.Background(), name)
	must(n.t, err)
	return o
}

func (n *node) head(name string) []byte { return n.get(name).GetHead() }

func TestWholePathWithEveryLetterTwice(t *testing.T) {
	net := newNetworkOnFiles(t)
	net.again = true
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_COMPLETED)
	if len(net.refused) > 0 {
		t.Errorf("letters were refused: %v", net.refused)
	}
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	for _, n := range []*node{origin, dest} {
		got := n.get(v.GetName())
		if got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED || got.GetOutcome() != "REUNIFIED" ||
			got.GetOwnerNode() != "punjab" || got.GetNextDeadline() != nil || len(got.GetAnnexes()) != 6 {
			t.Errorf("%s sees %v", n.Node, got)
		}
	}
	if !bytes.Equal(origin.head(v.GetName()), dest.head(v.GetName())) {
		t.Error("the chains differ")
	}
	if !strings.HasPrefix(v.GetReference(), "BA-26-00001-") {
		t.Errorf("reference %s", v.GetReference())
	}
	if want := []string{"PlaceHold", "ConfirmHold", "AdmitHold"}; !slices.Equal(dest.calls, want) {
		t.Errorf("the shelter was asked %v, want %v", dest.calls, want)
	}
	if o := dest.offer(v.GetOffers()[0].GetName()); o.GetState() != custodyv1.OfferState_OFFER_STATE_FULFILLED {
		t.Errorf("the offer is %v", o.GetState())
	}
	for _, m := range net.history {
		if _, told := m.out.Body.(*federalv1.Facts); !told && m.out.Lane != postv1.Lane_LANE_URGENT {
			t.Errorf("%s of a high risk left on the %v", m.out.Kind, m.out.Lane)
		}
	}
	for _, fact := range net.facts() {
		if fact.GetFromNode() != "balochistan" || fact.GetToNode() != "punjab" {
			t.Errorf("told %v", fact)
		}
	}
	want := []string{facts.Referred, facts.Accepted, facts.Dispatched, facts.Arrived, facts.Completed, facts.Service}
	if got := net.flows(); !slices.Equal(got, want) {
		t.Errorf("told %v", got)
	}
	net.checkTold(v.GetName())
	checkNoLeak(t, net, v.GetName())
}

// checkNoLeak holds that what people wrote is nowhere but in sealed annexes, and is there.
func checkNoLeak(t *testing.T, net *network, name string) {
	t.Helper()
	see := func(where string, raw []byte) {
		for _, c := range canaries {
			if bytes.Contains(raw, []byte(c)) {
				t.Errorf("%s holds %q", where, c)
			}
		}
	}
	for _, m := range net.history {
		if !m.out.Sealed {
			see("the letter "+m.out.Kind, m.body)
		}
	}
	read := ""
	for _, n := range net.nodes {
		for _, e := range n.events {
			raw, err := proto.Marshal(e.data)
			must(t, err)
			see("the event "+e.kind, raw)
		}
		see("the file of "+n.Node, n.file())
		if n.Node == "sindh" {
			continue
		}
		for _, annex := range n.get(name).GetAnnexes() {
			content, err := n.GetAnnex(context.Background(), annex)
			must(t, err)
			read += content.String()
		}
	}
	for _, c := range canaries {
		if !strings.Contains(read, c) {
			t.Errorf("no annex holds %q", c)
		}
	}
}

func TestDelayedLettersComeToTheSameEnd(t *testing.T) {
	for seed := range uint64(5) {
		net := newNetwork(t)
		rnd := mathrand.New(mathrand.NewPCG(seed, 1))
		v := net.submit()
		dest, origin, ctx := net.nodes["punjab"], net.nodes["balochistan"], context.Background()
		offer := v.GetOffers()[0].GetName()
		for range 2000 {
			// Everybody tries everything; what is not possible yet is refused and changes nothing.
			switch rnd.IntN(8) {
			case 0:
				_, _ = dest.AcceptOffer(ctx, acceptRequest(offer), actor)
			case 1:
				_, _ = origin.DispatchReferral(ctx, net.dispatchRequest(v.GetName()), actor)
			case 2:
				_, _ = dest.RecordArrival(ctx, &referralv1.RecordArrivalRequest{Name: v.GetName(), Identification: []string{"REFERRAL_SLIP"}}, actor)
			case 3:
				_, _ = dest.StartService(ctx, &referralv1.StartServiceRequest{Name: v.GetName(), Services: []string{"SHELTER"}}, actor)
			case 4:
				_, _ = dest.CompleteReferral(ctx, completeRequest(v.GetName()))
			default:
				net.deliverAny(rnd)
				dest.runCommands()
			}
			if origin.get(v.GetName()).GetState() == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED {
				break
			}
		}
		net.settle()
		if got := origin.get(v.GetName()); got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED || len(net.refused) > 0 {
			t.Errorf("seed %d: the origin sees %v; refused %v", seed, got.GetState(), net.refused)
		}
	}
}

func TestSubmitIsIdempotent(t *testing.T) {
	net := newNetwork(t)
	first := net.submit()
	if second := net.submit(); !proto.Equal(first, second) {
		t.Errorf("the same key made %v", second)
	}
	for name, change := range map[string]func(*referralv1.SubmitReferralRequest){
		"unit": func(r *referralv1.SubmitReferralRequest) { r.ToUnit = "nodes/sindh/units/karachi" },
		"note": func(r *referralv1.SubmitReferralRequest) { r.Note = "another" },
		"none": func(r *referralv1.SubmitReferralRequest) { r.Note = "" },
	} {
		request := submitRequest()
		change(request)
		_, err := net.nodes["balochistan"].SubmitReferral(context.Background(), request)
		if fault.ReasonOf(err) != fault.IdempotencyMismatch {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusedHoldGoesBackToReceived(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	dest, offer := net.nodes["punjab"], v.GetOffers()[0].GetName()
	dest.refuse[shelterv1.ShelterService_PlaceHold_FullMethodName] = fault.New(fault.NoCapacity, "Full.")
	_, err := dest.AcceptOffer(context.Background(), acceptRequest(offer), actor)
	if fault.ReasonOf(err) != fault.NoCapacity {
		t.Fatalf("got %v", err)
	}
	if o := dest.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_RECEIVED || o.GetAcceptFailure() != "NO_CAPACITY" {
		t.Errorf("the offer is %v", o)
	}
	clear(dest.refuse)
	o, err := dest.AcceptOffer(context.Background(), acceptRequest(offer), actor)
	must(t, err)
	if o.GetState() != custodyv1.OfferState_OFFER_STATE_ACCEPTED || o.GetAcceptFailure() != "" {
		t.Errorf("the second attempt gives %v", o)
	}
}

func TestAcceptWithoutTheSheltersAnswerStaysPending(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	dest, offer := net.nodes["punjab"], v.GetOffers()[0].GetName()
	dest.silent = true
	for range 2 { // asking twice queues one command
		o, err := dest.AcceptOffer(context.Background(), acceptRequest(offer), actor)
		must(t, err)
		if o.GetState() != custodyv1.OfferState_OFFER_STATE_ACCEPTING || len(dest.queue) != 1 {
			t.Fatalf("the offer is %v with %d commands", o.GetState(), len(dest.queue))
		}
	}
	_, err := dest.DeclineOffer(context.Background(), &referralv1.DeclineOfferRequest{Name: offer, Reason: "TOO_FAR"}, actor)
	if fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("declining while the hold is asked for: %v", err)
	}
	dest.silent = false
	net.settle()
	if got := net.nodes["balochistan"].get(v.GetName()); got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_READY {
		t.Errorf("the origin sees %v", got.GetState())
	}
}

func TestHoldEndedBeforeConfirmationAsksAgain(t *testing.T) {
	net := newNetwork(t)
	net.again = true
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	origin, dest, offer := net.nodes["balochistan"], net.nodes["punjab"], v.GetOffers()[0].GetName()
	dest.refuse[shelterv1.ShelterService_ConfirmHold_FullMethodName] = fault.New(fault.HoldEnded, "Ended.")
	_, err := dest.AcceptOffer(context.Background(), acceptRequest(offer), actor)
	must(t, err)
	net.settle()
	got := origin.get(v.GetName())
	if got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN ||
		got.GetOffers()[0].GetDeclineReason() != "HOLD_ENDED" {
		t.Fatalf("the origin sees %v", got)
	}
	// Another unit is asked, and gets the note too.
	_, err = origin.OfferReferral(context.Background(), &referralv1.OfferReferralRequest{
		Name: v.GetName(), ToUnit: "nodes/sindh/units/karachi", Etag: got.GetEtag(),
	}, actor)
	must(t, err)
	net.settle()
	second := origin.get(v.GetName()).GetOffers()[1]
	if second.GetState() != custodyv1.OfferState_OFFER_STATE_RECEIVED {
		t.Errorf("the second offer is %v", second.GetState())
	}
	must(t, net.nodes["sindh"].DB.View(context.Background(), func(r kitstore.Reader) error {
		annexes, err := net.nodes["sindh"].Annexes.List(r, v.GetName())
		if len(annexes) != 1 {
			t.Errorf("the second unit holds %d annexes", len(annexes))
		}
		return err
	}))
}

// The shelter ends a hold by itself: the acceptance goes with it, and the origin asks another unit.
// That the confirmation crosses it on the way changes nothing.
func TestHoldThatTheShelterEndsTakesTheAcceptanceBack(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		net := newNetwork(t)
		net.again = true
		v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
		origin, dest, offer := net.nodes["balochistan"], net.nodes["punjab"], v.GetOffers()[0].GetName()
		_, err := dest.AcceptOffer(context.Background(), acceptRequest(offer), actor)
		must(t, err)
		dest.runCommands()
		hold := ""
		for name := range dest.holds {
			hold = name
		}
		dest.refuse[shelterv1.ShelterService_ConfirmHold_FullMethodName] = fault.New(fault.HoldEnded, "The shelter was suspended.")
		ends := func(kind string, data proto.Message) {
			packed, err := anypb.New(data)
			must(t, err)
			for range 2 { // events may come twice
				must(t, dest.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
					return dest.FollowShelter(tx, &eventsv1.Event{Type: kind, Data: packed})
				}))
			}
		}
		if confirmed {
			net.settle() // the confirmation has come, and the shelter has refused it
		}
		ends("shelter.hold.placed.v1", &shelterv1.HoldChanged{Hold: hold, Offer: offer})
		ends("shelter.hold.released.v1", &shelterv1.HoldChanged{Hold: "nodes/punjab/holds/another", Offer: offer})
		if got := dest.offer(offer).GetState(); !confirmed && got != custodyv1.OfferState_OFFER_STATE_ACCEPTED {
			t.Fatalf("another hold's end made the offer %v", got)
		}
		dest.holds[hold].State = shelterv1.Hold_STATE_RELEASED
		ends("shelter.hold.released.v1", &shelterv1.HoldChanged{Hold: hold, Offer: offer, ReleaseReason: "SHELTER_SUSPENDED"})
		net.settle()
		got := origin.get(v.GetName())
		if got.GetState() != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN ||
			got.GetOffers()[0].GetDeclineReason() != "HOLD_ENDED" || len(net.refused) > 0 {
			t.Errorf("confirmed %v: the origin sees %v; refused %v", confirmed, got, net.refused)
		}
	}
}

func TestForeignFenceIsNoPromise(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	dest := net.nodes["punjab"]
	_, err := dest.AcceptOffer(context.Background(), acceptRequest(v.GetOffers()[0].GetName()), actor)
	must(t, err)
	for _, h := range dest.holds {
		h.Fence = &custodyv1.Fence{Incarnation: 8, Number: 1}
	}
	net.settle()
	if got := net.nodes["balochistan"].get(v.GetName()).GetState(); got != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED {
		t.Errorf("the referral is %v", got)
	}
	if !slices.Contains(dest.calls, "ReleaseHold") {
		t.Errorf("the wrong bed is kept: %v", dest.calls)
	}
}

func TestDeclineAndLateReply(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	dest, offer := net.nodes["punjab"], v.GetOffers()[0].GetName()
	for range 2 {
		o, err := dest.DeclineOffer(context.Background(), &referralv1.DeclineOfferRequest{Name: offer, Reason: "OTHER", Note: theNote}, actor)
		must(t, err)
		if o.GetState() != custodyv1.OfferState_OFFER_STATE_DECLINED {
			t.Errorf("the offer is %v", o.GetState())
		}
	}
	net.settle()
	got := net.nodes["balochistan"].get(v.GetName())
	if got.GetOffers()[0].GetDeclineReason() != "OTHER" || got.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN {
		t.Errorf("the origin sees %v", got)
	}
}

func TestFormerOwnerAnswersALateReplyWithTheChain(t *testing.T) {
	net := newNetwork(t)
	net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT)
	var late mail
	for _, m := range net.history {
		if m.out.Kind == "custody.reply.v1" {
			late = m
		}
	}
	net.apply(late)
	if len(net.sent) != 1 || net.sent[0].out.Kind != "custody.chain.v1" || net.sent[0].out.To.GetNode() != "punjab" {
		t.Errorf("the former owner answered with %v", net.sent)
	}
}

func TestReferralWithinOneNode(t *testing.T) {
	net := newNetwork(t)
	n, ctx := net.nodes["punjab"], context.Background()
	r := submitRequest()
	r.Parent, r.Unit = "nodes/punjab", "nodes/punjab/units/multan"
	v, err := n.SubmitReferral(ctx, r)
	must(t, err)
	net.settle()
	_, err = n.AcceptOffer(ctx, acceptRequest(v.GetOffers()[0].GetName()), actor)
	must(t, err)
	net.settle()
	_, err = n.DispatchReferral(ctx, net.dispatchRequest(v.GetName()), actor)
	must(t, err)
	got, err := n.RecordArrival(ctx, &referralv1.RecordArrivalRequest{Name: v.GetName(), Identification: []string{"REFERRAL_SLIP"}}, actor)
	must(t, err)
	net.settle()
	if got.GetResponsibleUnit() != "nodes/punjab/units/lahore" || !slices.Equal(n.calls, []string{"PlaceHold", "ConfirmHold", "AdmitHold"}) {
		t.Errorf("after arrival %v answers; the shelter was asked %v", got.GetResponsibleUnit(), n.calls)
	}
}

func TestLettersThatCanNeverBeApplied(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT)
	kept := map[string]mail{}
	for _, m := range net.history {
		kept[m.out.Kind] = m
	}
	raw := func(m proto.Message) []byte { b, err := proto.Marshal(m); must(t, err); return b }
	send := func(kind, from, to string, body []byte) mail {
		m := kept[kind]
		m.life, m.from, m.out.To, m.out.Kind, m.body = 0, from, &postv1.Address{Node: to, Service: "referral"}, kind, body
		return m
	}
	broken := &custodyv1.ChainLetter{}
	must(t, proto.Unmarshal(kept["custody.chain.v1"].body, broken))
	broken.Chain.Events[0].Signature[0] ^= 1
	for want, m := range map[string]mail{
		"custody.offer.v1: not-for-this-node":  send("custody.offer.v1", "balochistan", "sindh", kept["custody.offer.v1"].body),
		"custody.offer.v1: sender-not-allowed": send("custody.offer.v1", "sindh", "punjab", kept["custody.offer.v1"].body),
		"custody.offer.v1: body-not-readable":  send("custody.offer.v1", "balochistan", "punjab", []byte{0xff}),
		"custody.offer.v1: offer-not-valid":    send("custody.offer.v1", "balochistan", "punjab", nil),
		"custody.reply.v1: sender-not-allowed": send("custody.reply.v1", "sindh", "balochistan", kept["custody.reply.v1"].body),
		"custody.reply.v1: referral-unknown":   send("custody.reply.v1", "punjab", "sindh", kept["custody.reply.v1"].body),
		"custody.reply.v1: reply-not-valid":    send("custody.reply.v1", "punjab", "sindh", nil),
		"custody.chain.v1: not-for-this-node":  send("custody.chain.v1", "balochistan", "sindh", kept["custody.chain.v1"].body),
		"custody.chain.v1: sender-not-allowed": send("custody.chain.v1", "sindh", "punjab", kept["custody.chain.v1"].body),
		"custody.chain.v1: chain-not-valid":    send("custody.chain.v1", "balochistan", "sindh", raw(broken)),
		"custody.head.v1: sender-not-allowed":  send("custody.head.v1", "sindh", "punjab", raw(&custodyv1.HeadQuery{Referral: v.GetName()})),
		"custody.head.v1: referral-unknown":    send("custody.head.v1", "punjab", "sindh", raw(&custodyv1.HeadQuery{Referral: v.GetName()})),
		"custody.annex.v1: referral-unknown":   send("custody.annex.v1", "punjab", "sindh", kept["custody.annex.v1"].body),
		"custody.annex.v1: annex-not-valid":    send("custody.annex.v1", "punjab", "sindh", raw(&custodyv1.AnnexLetter{Referral: v.GetName()})),
	} {
		net.refused = nil
		n := net.nodes[m.out.To.GetNode()]
		before := n.dump()
		net.apply(m)
		if !slices.Equal(net.refused, []string{want}) || !bytes.Equal(before, n.dump()) || len(net.sent) > 0 {
			t.Errorf("want %s, got %v", want, net.refused)
		}
	}
}

func TestForkIsKeptAndTold(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	origin, dest, offer := net.nodes["balochistan"], net.nodes["punjab"], v.GetOffers()[0].GetName()
	_, err := dest.AcceptOffer(context.Background(), acceptRequest(offer), actor)
	must(t, err)
	net.settle()
	chain, err := origin.GetCustodyChain(context.Background(), v.GetName())
	must(t, err)
	// The origin, restored from a copy, confirms the same acceptance once more, at another time.
	var at int
	for i, e := range chain.GetEvents() {
		decoded := &custodyv1.Event{}
		must(t, proto.Unmarshal(e.GetEvent(), decoded))
		if decoded.GetConfirmed() != nil {
			at = i
		}
	}
	forked, err := custody.Load(chain.GetEvents()[:at]...)
	must(t, err)
	_, err = forked.Append(origin.Signer, "balochistan", &custodyv1.Event{
		Actor: actor, Time: timestamppb.New(net.now.Add(time.Minute)),
		Body: &custodyv1.Event_Confirmed{Confirmed: &custodyv1.Confirmed{Offer: forked.State().Offers[0].Hash.Bytes()}},
	})
	must(t, err)
	body, err := proto.Marshal(&custodyv1.ChainLetter{Referral: v.GetName(), Chain: forked.Message()})
	must(t, err)
	head := dest.head(v.GetName())
	for range 2 {
		net.apply(mail{from: "balochistan", body: body, out: post.Outgoing{Kind: "custody.chain.v1", To: &postv1.Address{Node: "punjab", Service: "referral"}}})
	}
	told := 0
	for _, e := range dest.events {
		if e.kind == "referral.referral.forked.v1" {
			told++
		}
	}
	if told != 1 || !bytes.Equal(head, dest.head(v.GetName())) {
		t.Errorf("told %d times", told)
	}
	must(t, dest.DB.View(context.Background(), func(r kitstore.Reader) error {
		n, err := store.Forks.Count(r)
		if n != 1 {
			t.Errorf("%d forks are kept", n)
		}
		return err
	}))
}

func TestLists(t *testing.T) {
	net := newNetwork(t)
	ctx := context.Background()
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	var names []string
	for i := range 5 {
		net.now = net.now.Add(time.Minute)
		r := submitRequest()
		r.RequestId = fmt.Sprintf("request-%d", i)
		v, err := origin.SubmitReferral(ctx, r)
		must(t, err)
		names = append(names, v.GetName())
		net.settle()
	}
	var got []string
	request := &referralv1.ListReferralsRequest{Parent: "nodes/balochistan", PageSize: 2}
	for {
		page, err := origin.ListReferrals(ctx, request)
		must(t, err)
		for _, v := range page.GetReferrals() {
			got = append(got, v.GetName())
		}
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			break
		}
	}
	slices.Reverse(got)
	if !slices.Equal(got, names) {
		t.Errorf("got %v, want %v", got, names)
	}
	reference := origin.get(names[2]).GetReference()
	one, err := origin.ListReferrals(ctx, &referralv1.ListReferralsRequest{Parent: "nodes/balochistan", Filter: &referralv1.ListReferralsRequest_Filter{Reference: reference}})
	must(t, err)
	if len(one.GetReferrals()) != 1 || one.GetReferrals()[0].GetName() != names[2] {
		t.Errorf("by reference: %v", one)
	}
	offers, err := dest.ListOffers(ctx, &referralv1.ListOffersRequest{Parent: "nodes/punjab", PageSize: 4, Filter: &referralv1.ListOffersRequest_Filter{ToUnit: "nodes/punjab/units/lahore"}})
	must(t, err)
	if len(offers.GetOffers()) != 4 || offers.GetNextPageToken() == "" || !strings.HasPrefix(offers.GetOffers()[0].GetName(), names[0]) {
		t.Errorf("offers: %v", offers)
	}
	due, err := origin.ListDeadlines(ctx, &referralv1.ListDeadlinesRequest{Parent: "nodes/balochistan", Filter: &referralv1.ListDeadlinesRequest_Filter{Unit: "nodes/balochistan/units/hub"}})
	must(t, err)
	if len(due.GetDeadlines()) != 5 || due.GetDeadlines()[0].GetReferral() != names[0] {
		t.Errorf("deadlines: %v", due)
	}
}
