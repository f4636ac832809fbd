package app_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
)

// count counts the calls of a kind that the shelter got.
func (n *node) count(call string) (times int) {
	for _, c := range n.calls {
		if c == call {
			times++
		}
	}
	return times
}

// stages are those of the live offers.
func (n *node) stages() (all []shelterv1.LiveOffer_Stage) {
	n.t.Helper()
	shelter := &listed{whole: true}
	must(n.t, n.ReconcileShelter(background, shelter))
	for _, live := range shelter.pages[0].GetOffers() {
		all = append(all, live.GetStage())
	}
	return all
}

// One of those who go together is there before anybody is chosen, or sent: the hold becomes a stay for each with
// that arrival, and the shelter is asked of each who comes.
func TestOneOfThoseWhoGoTogetherIsThereFirst(t *testing.T) {
	for first := range 3 {
		for _, chosen := range []bool{false, true} {
			net, origin, punjab, _ := newOwnerNetwork(t)
			net.again = false // an arrival asserted again is answered again
			origin.AutoConfirm = chosen
			family := net.family()
			net.acceptAll(punjab, family)
			_, err := punjab.assert(family[first].GetName())
			must(t, err)
			if got := punjab.stages(); !slices.Equal(got, []shelterv1.LiveOffer_Stage{shelterv1.LiveOffer_STAGE_ARRIVED}) {
				t.Errorf("before the referral follows the beds are %v", got)
			}
			net.settle()
			net.came(family[first].GetName(), "punjab")
			left := slices.Delete(slices.Clone(family), first, first+1)
			if !chosen {
				must(t, origin.confirm(origin.lastOffer(left[0].GetName()).GetName()))
				net.settle()
			}
			each(left, func(name string) { net.checkState(name, promised, "balochistan") })
			must(t, origin.dispatch(left[0].GetName()))
			net.settle()
			each(left, func(name string) { must(t, punjab.arrive(name)) })
			net.settle()
			if punjab.count("AdmitHold") != 3 || punjab.count("ReleaseHold") != 0 || punjab.count("AdmitWalkIn") != 0 || len(punjab.holds) != 1 {
				t.Errorf("the shelter was asked %v", punjab.calls)
			}
			for i, v := range family { // the stay is needed until the last of them has left
				if got := punjab.stages(); !slices.Equal(got, []shelterv1.LiveOffer_Stage{shelterv1.LiveOffer_STAGE_ARRIVED}) {
					t.Errorf("with %d gone the beds are %v", i, got)
				}
				must(t, punjab.serve(v.GetName()))
				_, err := punjab.CompleteReferral(background, completeRequest(v.GetName()))
				must(t, err)
			}
			if got := punjab.stages(); len(got) != 0 {
				t.Errorf("with all gone the beds are %v", got)
			}
			net.settle()
		}
	}
}

// Those on the road turn up elsewhere, one after the other: the last gives back what was held for all.
func TestTheLastWhoTurnsUpElsewhereGivesTheBedsBack(t *testing.T) {
	for first := range 3 {
		net, origin, punjab, sindh := newOwnerNetwork(t)
		net.again = false
		family := net.family()
		net.acceptAll(punjab, family)
		must(t, origin.dispatch(family[0].GetName()))
		net.settle()
		for i := range family {
			if punjab.count("ReleaseHold") != 0 {
				t.Errorf("with %d elsewhere the beds were given back", i)
			}
			_, err := sindh.assert(family[(first+i)%3].GetName())
			must(t, err)
			net.settle()
			net.came(family[(first+i)%3].GetName(), "sindh")
		}
		if punjab.count("ReleaseHold") != 1 || punjab.count("AdmitHold") != 0 {
			t.Errorf("the shelter was asked %v", punjab.calls)
		}
	}
}

// A promised hold that is lost, by the shelter's word or when the files are compared, is lost for all, and the owner is asked, once,
// to let each of them go.
func TestAPromisedHoldForAllIsLost(t *testing.T) {
	for name, lose := range map[string]func(n *node, offer string){
		"the shelter says so": func(n *node, offer string) {
			data, err := anypb.New(&shelterv1.HoldChanged{Hold: n.offer(offer).GetHold(), Offer: offer})
			must(n.t, err)
			must(n.t, n.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
				return n.FollowShelter(tx, &eventsv1.Event{Type: "shelter.hold.released.v1", Data: data})
			}))
		},
		"files are compared": func(n *node, offer string) { must(n.t, n.ReconcileShelter(background, &listed{lost: []string{offer}})) },
	} {
		t.Run(name, func(t *testing.T) {
			net, origin, punjab, _ := newOwnerNetwork(t)
			family := net.family()
			net.acceptAll(punjab, family)
			lead := family[0].GetOffers()[0].GetName()
			punjab.holds[punjab.offer(lead).GetHold()].State = shelterv1.Hold_STATE_RELEASED
			for range 2 {
				lose(punjab, lead)
			}
			net.settle()
			for _, v := range family {
				offer := v.GetOffers()[0].GetName()
				if o := punjab.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_READY || o.GetReleaseReason() != "HOLD_ENDED" {
					t.Errorf("punjab sees %v", o)
				}
				if o := origin.lastOffer(v.GetName()); o.GetReleaseReason() != "HOLD_ENDED" {
					t.Errorf("the origin sees %v", o)
				}
				if n := punjab.told("referral.offer.release-requested.v1", v.GetName()); n != 1 {
					t.Errorf("release was asked for %d times", n)
				}
			}
			if got := punjab.stages(); len(got) != 0 {
				t.Errorf("the beds are %v", got)
			}
			_, err := origin.GrantRelease(background, &referralv1.GrantReleaseRequest{Name: lead}, actor)
			must(t, err)
			net.settle()
			if punjab.count("ReleaseHold") != 0 {
				t.Errorf("what was lost was given back: %v", punjab.calls)
			}
		})
	}
}

// The hold ends at the shelter after it was confirmed, and that is heard before the confirmation: nothing is promised.
func TestHoldThatEndsBehindItsConfirmation(t *testing.T) {
	net := newNetwork(t)
	referral, offer := net.asked()
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	_, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
	must(t, err)
	dest.silent = true
	net.settle()
	net.checkState(referral, custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED, "balochistan")
	hold := dest.holds[dest.offer(offer).GetHold()]
	packed, err := anypb.New(&shelterv1.HoldChanged{Hold: hold.GetName(), Offer: offer, State: shelterv1.Hold_STATE_RELEASED})
	must(t, err)
	must(t, dest.DB.Update(background, func(tx *kitstore.Tx) error {
		return dest.FollowShelter(tx, &eventsv1.Event{Type: "shelter.hold.released.v1", Data: packed})
	}))
	dest.silent = false
	net.settle()
	hold.State = shelterv1.Hold_STATE_RELEASED
	if o := dest.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED || o.GetDeclineReason() != "HOLD_ENDED" {
		t.Errorf("punjab sees %v", o)
	}
	net.checkState(referral, custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, "balochistan")
	if origin.get(referral).GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN {
		t.Errorf("the origin sees %v", origin.get(referral))
	}
}

// The hold was placed, but the shelter's answer was lost until the hold had run out: this attempt is refused, and the next one asks for
// another hold, also with the same words.
func TestAHoldThatRanOutUnheard(t *testing.T) {
	net := newNetwork(t)
	_, offer := net.asked()
	dest := net.nodes["punjab"]
	for range 2 {
		dest.silent = true
		_, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
		must(t, err)
		placed, refusal := dest.shelter(dest.queue[0])
		if refusal != nil {
			t.Fatal(refusal)
		}
		placed.(*shelterv1.Hold).State = shelterv1.Hold_STATE_EXPIRED
		dest.silent = false
		net.settle()
		if o := dest.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_RECEIVED || o.GetAcceptFailure() != "HOLD_ENDED" {
			t.Errorf("punjab sees %v", o)
		}
	}
	accepted, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
	must(t, err)
	if accepted.GetState() != custodyv1.OfferState_OFFER_STATE_ACCEPTED {
		t.Errorf("punjab sees %v", accepted)
	}
}

// One whose offer was taken back is there, while the bed is still held, tentatively, for those who go together with them: it is confirmed
// before it is made a stay, for the shelter admits nobody to a tentative hold.
func TestATentativeHoldIsConfirmedForWhoIsThere(t *testing.T) {
	for who := range 3 {
		net, origin, punjab, _ := newOwnerNetwork(t)
		net.again = false
		origin.AutoConfirm = false
		family := net.family()
		net.acceptAll(punjab, family)
		must(t, origin.withdraw(origin.lastOffer(family[who].GetName()).GetName(), "NEEDS_CHANGED"))
		net.deliver(slices.IndexFunc(net.sent, func(m mail) bool { return m.out.Subject == family[who].GetName() }))
		if o := punjab.offer(family[who].GetOffers()[0].GetName()); o.GetState() != offerWithdrawn || punjab.count("ReleaseHold") != 0 {
			t.Fatalf("punjab sees %v; the shelter was asked %v", o, punjab.calls)
		}
		_, err := punjab.assert(family[who].GetName())
		must(t, err)
		net.settle()
		net.came(family[who].GetName(), "punjab")
		if want := []string{"PlaceHold", "ConfirmHold", "AdmitHold"}; !slices.Equal(punjab.calls, want) {
			t.Errorf("the shelter was asked %v", punjab.calls)
		}
	}
}

// waited notes until when a result is waited for.
type waited struct {
	app.Commands
	until time.Time
}

func (w *waited) Wait(ctx context.Context, _ string) error {
	w.until, _ = ctx.Deadline()
	return context.DeadlineExceeded
}

// Whoever accepts is answered before they stop waiting, whatever day the use cases have: a caller's deadline is by the machine's clock.
func TestAcceptingAnswersInTime(t *testing.T) {
	net := newNetwork(t)
	_, offer := net.asked()
	dest := net.nodes["punjab"]
	commands := &waited{Commands: dest.Commands}
	dest.Commands = commands
	end := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(background, end)
	defer cancel()
	shown, err := dest.AcceptOffer(ctx, acceptRequest(offer), actor)
	must(t, err)
	if shown.GetState() != custodyv1.OfferState_OFFER_STATE_ACCEPTING || commands.until.IsZero() || !commands.until.Before(end) {
		t.Errorf("%v was waited for until %v, the caller waits until %v", shown.GetState(), commands.until, end)
	}
}

// One of those who go together is there before the shelter answers for their beds, and by then the offers are over, of all or of one: the beds are
// not given back, and who is still asked for has a place in the same stay.
func TestTheBedsAreForWhoeverOfThemIsThere(t *testing.T) {
	for who := range 3 {
		for over := range 4 { // the offer of one is over, or of all
			net, origin, punjab, _ := newOwnerNetwork(t)
			net.again = false
			family := net.family()
			punjab.silent = true
			_, err := punjab.AcceptOffer(background, net.togetherRequest(punjab, family), actor)
			must(t, err)
			must(t, origin.withdraw(family[over%3].GetOffers()[0].GetName(), "NEEDS_CHANGED"))
			for i := 0; i < len(net.sent); i++ { // the others' owner has taken theirs back too, and that is heard of now, or not yet
				if m := net.sent[i]; over == 3 || m.out.Subject == family[over].GetName() {
					net.deliver(i)
					i--
				}
			}
			_, err = punjab.assert(family[who].GetName())
			must(t, err)
			punjab.silent = false
			punjab.runCommands()
			if want := []string{"PlaceHold", "ConfirmHold", "AdmitHold"}; !slices.Equal(punjab.calls, want) {
				t.Errorf("%d is there, and the offer of %d is over: the shelter was asked %v", who, over, punjab.calls)
			}
			for i, v := range family {
				o := punjab.offer(v.GetOffers()[0].GetName())
				if gone := over == 3 || i == over; gone != (o.GetState() == offerWithdrawn) || !gone && o.GetState() != custodyv1.OfferState_OFFER_STATE_ACCEPTED {
					t.Errorf("%d is there, and the offer of %d is over: that of %d is %v", who, over, i, o.GetState())
				}
			}
			net.settle()
			net.came(family[who].GetName(), "punjab")
		}
	}
}

// The hold for all has ended when the first of them comes, and the shelter says so to what was asked of it then. Whoever is here has no bed, which a
// person is told; what rests on their bed is taken back, or asks to be let go.
func TestThereIsNoStayForAnyOfThem(t *testing.T) {
	ended := fault.New(fault.HoldEnded, "Ended.")
	for who := range 3 {
		for _, state := range []custodyv1.OfferState{
			custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED, custodyv1.OfferState_OFFER_STATE_READY,
		} {
			net, origin, punjab, _ := newOwnerNetwork(t)
			net.again = false
			origin.AutoConfirm = state == custodyv1.OfferState_OFFER_STATE_READY
			family := net.family()
			net.acceptAll(punjab, family)
			punjab.silent = true
			if state == custodyv1.OfferState_OFFER_STATE_CONFIRMED {
				must(t, origin.confirm(origin.lastOffer(family[0].GetName()).GetName()))
				net.settle()
			}
			_, err := punjab.assert(family[who].GetName())
			must(t, err)
			for method := range punjab.Results() {
				if method != shelterv1.ShelterService_ReleaseHold_FullMethodName {
					punjab.refuse[method] = ended
				}
			}
			punjab.silent = false
			punjab.runCommands()
			for i, v := range family {
				o := punjab.offer(v.GetOffers()[0].GetName())
				lost := o.GetState() == custodyv1.OfferState_OFFER_STATE_LAPSED || o.GetReleaseReason() != ""
				if told := punjab.told("referral.offer.bed-lost.v1", o.GetName()) > 0; i == who && !told || i != who && !lost {
					t.Errorf("%v, and %d is there: the offer of %d is %v; told: %t", state, who, i, o, told)
				}
			}
			clear(punjab.refuse)
			net.settle()
			net.came(family[who].GetName(), "punjab")
		}
	}
}

// Of those who go together one has come, and a shelter service that was restored has no beds for them any more: a person is told of who is here,
// whoever it is, and of those who are promised a place, and the owner is asked, once, to let these go.
func TestAStayForAllIsLost(t *testing.T) {
	for who := range 3 {
		net, _, punjab, _ := newOwnerNetwork(t)
		net.again = false
		family := net.family()
		net.acceptAll(punjab, family)
		_, err := punjab.assert(family[who].GetName())
		must(t, err)
		net.settle()
		for range 2 {
			must(t, punjab.ReconcileShelter(background, &listed{lost: []string{family[0].GetOffers()[0].GetName()}}))
			net.settle()
		}
		for i, v := range family {
			o := punjab.offer(v.GetOffers()[0].GetName())
			told, asked := punjab.told("referral.offer.bed-lost.v1", o.GetName()), punjab.told("referral.offer.release-requested.v1", v.GetName())
			if i == who && (told == 0 || asked > 0) || i != who && (told != 1 || asked != 1 || o.GetReleaseReason() != "HOLD_ENDED") {
				t.Errorf("%d is there: of %d it is told %d times, and release asked for %d times: %v", who, i, told, asked, o)
			}
		}
	}
}

// The shelter refuses the bed and a question is put; the node is put back to before that, and the shelter holds the bed after all, for an offer that is
// not being accepted: it is given back. The hold of the next acceptance is another, and is kept.
func TestAHoldAfterOneThatWasGivenBack(t *testing.T) {
	net := newNetwork(t)
	_, offer := net.asked()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	origin.AutoConfirm = true
	punjab.silent = true
	_, err := punjab.AcceptOffer(background, acceptRequest(offer), actor)
	must(t, err)
	old := punjab.copy()
	punjab.refuse[shelterv1.ShelterService_PlaceHold_FullMethodName] = fault.New(fault.HoldEnded, "No.")
	punjab.silent = false
	punjab.runCommands()
	clear(punjab.refuse)
	_, err = punjab.AskQuestion(background, &referralv1.AskQuestionRequest{Name: offer, Topic: "HEALTH", Note: theNote}, actor)
	must(t, err)
	net.settle()
	punjab.restore(old, true, false)
	punjab.silent = true // nothing is taken in before all have answered
	net.heal()
	punjab.silent = false
	net.settle()
	_, err = origin.AnswerQuestion(background, &referralv1.AnswerQuestionRequest{Name: offer, Note: theNote}, actor)
	must(t, err)
	net.settle()
	for range 2 { // the first asks for the hold that was given back
		punjab.silent = true
		_, _ = punjab.AcceptOffer(background, acceptRequest(offer), actor)
		// While files are compared the shelter answers: that the former hold is lost says nothing of the one it has given.
		shelter := &listed{whole: true, lost: []string{offer}, meanwhile: func() {
			punjab.silent = false
			net.settle()
		}}
		must(t, punjab.ReconcileShelter(background, shelter))
		if live := shelter.pages[0].GetOffers(); len(live) != 1 || live[0].GetStage() != shelterv1.LiveOffer_STAGE_TENTATIVE {
			t.Errorf("while the shelter is asked the beds are %v", live)
		}
	}
	if o := punjab.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_READY || !slices.Equal(punjab.stages(), []shelterv1.LiveOffer_Stage{shelterv1.LiveOffer_STAGE_PROMISED}) {
		t.Errorf("the offer is %v, and the shelter was asked %v", o, punjab.calls)
	}
}

const aGroup = "nodes/punjab/shelters/a1/groups/b1"

// A unit is put back to when it asked for a bed, and was chosen meanwhile: the hold that it is given once more stays held for that choice.
func TestAHoldThatWasChosenMeanwhile(t *testing.T) {
	net := newNetwork(t)
	referral, offer := net.asked()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	origin.AutoConfirm = true
	punjab.silent = true
	_, err := punjab.AcceptOffer(background, acceptRequest(offer), actor)
	must(t, err)
	old := punjab.copy()
	punjab.silent = false
	punjab.runCommands()
	punjab.silent = true
	net.settle()
	net.checkState(referral, custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED, "balochistan")
	punjab.restore(old, true, false)
	if len(punjab.queue) != 1 || punjab.queue[0].Method != shelterv1.ShelterService_PlaceHold_FullMethodName {
		t.Fatalf("the shelter is to be asked %v", punjab.queue)
	}
	net.heal()
	punjab.silent = false
	net.settle()
	if o := punjab.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_READY || punjab.count("ReleaseHold") != 0 {
		t.Errorf("the offer is %v, and the shelter was asked %v", o, punjab.calls)
	}
}

// The bed for all was gone when the first of those who go together came: the next is given the bed that is named, and is not thought to be in a stay
// that there is not.
func TestTheNextOfThoseWithoutAStayIsGivenABed(t *testing.T) {
	net, _, punjab, _ := newOwnerNetwork(t)
	net.again = false
	family := net.family()
	net.acceptAll(punjab, family)
	_, err := punjab.assert(family[0].GetName())
	must(t, err)
	punjab.refuse[shelterv1.ShelterService_AdmitHold_FullMethodName] = fault.New(fault.HoldEnded, "Ended.")
	net.settle()
	clear(punjab.refuse)
	_, err = punjab.AssertArrival(background, &referralv1.AssertArrivalRequest{
		Name: family[1].GetName(), Unit: "nodes/punjab/units/lahore", Identification: []string{"ESCORT_STATEMENT"}, Group: aGroup,
	}, actor)
	must(t, err)
	net.settle()
	if punjab.count("AdmitWalkIn") != 1 {
		t.Errorf("the shelter was asked %v", punjab.calls)
	}
}

// Somebody at the door is refused the bed that is named, or that was asked for before: they are given what is held for them by then, or a person is told.
func TestARefusedBedAtTheDoor(t *testing.T) {
	full := fault.New(fault.NoCapacity, "Full.")
	for name, c := range map[string]struct {
		named, refused string
		calls          []string
		told           int
	}{
		"the named, and another is held":        {aGroup, shelterv1.ShelterService_AdmitWalkIn_FullMethodName, []string{"PlaceHold", "ConfirmHold", "AdmitHold"}, 0},
		"the one that was asked for":            {"", shelterv1.ShelterService_PlaceHold_FullMethodName, nil, 1},
		"the named, and the one that was asked": {aGroup, "", nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			referral, offer := net.asked()
			punjab := net.nodes["punjab"]
			punjab.silent = true
			_, err := punjab.AcceptOffer(background, acceptRequest(offer), actor)
			must(t, err)
			_, err = punjab.AssertArrival(background, &referralv1.AssertArrivalRequest{
				Name: referral, Unit: "nodes/punjab/units/lahore", Identification: []string{"ESCORT_STATEMENT"}, Group: c.named,
			}, actor)
			must(t, err)
			for _, method := range []string{shelterv1.ShelterService_AdmitWalkIn_FullMethodName, shelterv1.ShelterService_PlaceHold_FullMethodName} {
				if c.refused == "" || c.refused == method {
					punjab.refuse[method] = full
				}
			}
			punjab.silent = false
			punjab.runCommands()
			if told := punjab.told("referral.offer.bed-lost.v1", offer); told != c.told || !slices.Equal(punjab.calls, c.calls) {
				t.Errorf("a person is told %d times, and the shelter was asked %v", told, punjab.calls)
			}
		})
	}
}

// Who has come and has a bed is asked for at another unit of the same node: that bed is held for them, and is no stay before they are sent there.
func TestWhoHasABedIsGivenNoOther(t *testing.T) {
	net := newNetwork(t)
	referral, offer := net.asked()
	punjab := net.nodes["punjab"]
	_, err := punjab.AcceptOffer(background, acceptRequest(offer), actor)
	must(t, err)
	_, err = punjab.assert(referral)
	must(t, err)
	net.settle()
	net.came(referral, "punjab")
	must(t, punjab.serve(referral))
	asked, err := punjab.ask(referral, "nodes/punjab/units/other")
	must(t, err)
	net.settle()
	_, err = punjab.AcceptOffer(background, acceptRequest(asked.GetOffers()[1].GetName()), actor)
	must(t, err)
	net.settle()
	if punjab.count("PlaceHold") != 2 || punjab.count("AdmitHold") != 1 {
		t.Errorf("the shelter was asked %v", punjab.calls)
	}
}

// Somebody of whom the node knows nothing else is refused a bed at the door: a person is told, and a bed that is held for them later is theirs.
func TestARefusedBedOfOneWhoIsNotExpected(t *testing.T) {
	net := newNetwork(t)
	net.later = true
	sindh := net.nodes["sindh"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	sindh.refuse[shelterv1.ShelterService_AdmitWalkIn_FullMethodName] = fault.New(fault.NoCapacity, "Full.")
	_, err := sindh.AssertArrival(background, &referralv1.AssertArrivalRequest{
		Name: v.GetName(), Unit: "nodes/sindh/units/karachi", Identification: []string{"ESCORT_STATEMENT"},
		Group: "nodes/sindh/shelters/a1/groups/b1", Needs: submitRequest().GetNeeds(),
	}, actor)
	must(t, err)
	sindh.runCommands()
	if n := sindh.told("referral.arrival.bed-refused.v1", v.GetName()); n != 1 {
		t.Errorf("a person is told %d times", n)
	}
	net.settle()
	net.checkState(v.GetName(), custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, "sindh")
}

// Who was here before, has left and is at the door again is not thought to lie in the bed of their earlier stay.
func TestARefusedBedOfOneWhoIsBack(t *testing.T) {
	net := newNetwork(t)
	punjab := net.nodes["punjab"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE)
	asked, err := punjab.ask(v.GetName(), karachi)
	must(t, err)
	net.settle()
	sindh := net.nodes["sindh"]
	accept := acceptRequest(asked.GetOffers()[len(asked.GetOffers())-1].GetName())
	accept.Group = "nodes/sindh/shelters/a1/groups/b1"
	_, err = sindh.AcceptOffer(background, accept, actor)
	must(t, err)
	net.settle()
	must(t, punjab.dispatch(v.GetName()))
	net.settle()
	must(t, sindh.arrive(v.GetName()))
	net.settle()
	net.checkState(v.GetName(), custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, "sindh")
	punjab.refuse[shelterv1.ShelterService_AdmitWalkIn_FullMethodName] = fault.New(fault.NoCapacity, "Full.")
	_, err = punjab.AssertArrival(background, &referralv1.AssertArrivalRequest{
		Name: v.GetName(), Unit: "nodes/punjab/units/lahore", Identification: []string{"OWN_STATEMENT"}, Group: aGroup,
	}, actor)
	must(t, err)
	punjab.runCommands()
	if n := punjab.told("referral.offer.bed-lost.v1", v.GetOffers()[0].GetName()); n != 1 {
		t.Errorf("a person is told %d times; the shelter was asked %v", n, punjab.calls)
	}
}

// A unit that was put back to before it accepted a family is told what it said and that it was chosen: the one hold for them all is promised to each.
func TestAFamilyIsPromisedItsBedsAfterARestore(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	origin.AutoConfirm = true
	family := net.family()
	old := punjab.copy()
	punjab.silent = true
	_, err := punjab.AcceptOffer(background, net.togetherRequest(punjab, family), actor)
	must(t, err)
	punjab.silent = false
	punjab.runCommands()
	punjab.silent = true
	net.settle()
	punjab.restore(old, true, false)
	punjab.silent = true
	net.heal()
	punjab.silent = false
	net.settle()
	for i, v := range family {
		if o := punjab.offer(v.GetOffers()[0].GetName()); o.GetState() != custodyv1.OfferState_OFFER_STATE_READY {
			t.Errorf("the offer of %d is %v; the shelter was asked %v", i, o, punjab.calls)
		}
	}
}
