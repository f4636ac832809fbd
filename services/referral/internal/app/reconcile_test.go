package app_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// listed takes lists as the shelter service does.
type listed struct {
	pages []*shelterv1.ReconcileOffersRequest
	fails error
	lost  []string
	whole bool // its store was not restored

	meanwhile func() // is done while it compares
}

func (l *listed) BeginReconciliation(context.Context, *shelterv1.BeginReconciliationRequest, ...grpc.CallOption) (*shelterv1.BeginReconciliationResponse, error) {
	return &shelterv1.BeginReconciliationResponse{Fence: &custodyv1.Fence{Incarnation: 7, Number: 9}, Restored: !l.whole}, nil
}

func (l *listed) ReconcileOffers(_ context.Context, r *shelterv1.ReconcileOffersRequest, _ ...grpc.CallOption) (*shelterv1.ReconcileOffersResponse, error) {
	l.pages = append(l.pages, proto.CloneOf(r))
	if l.meanwhile != nil {
		l.meanwhile()
	}
	return &shelterv1.ReconcileOffersResponse{Lost: l.lost}, l.fails
}

// The list is whole, in pages that follow each other from the first name to the last, and has each live offer once with its stage
// and hold.
func TestListOfLiveOffers(t *testing.T) {
	net := newNetwork(t)
	to := net.nodes["punjab"]
	promised := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	offer := promised.GetOffers()[0].GetName()
	record := &referralv1.OfferRecord{}
	must(t, to.DB.View(context.Background(), func(r kitstore.Reader) (err error) {
		record, err = store.Offers.Get(r, store.OfferKey(offer))
		return err
	}))
	// More than two pages of offers that are being accepted, and as many that were declined, around it.
	var all []string
	to.spoilt = true
	must(t, to.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		for n := range 2406 {
			event := &custodyv1.Event{}
			if err := proto.Unmarshal(record.GetOffered().GetEvent(), event); err != nil {
				return err
			}
			id, err := to.NewID()
			if err != nil {
				return err
			}
			event.Referral = "nodes/balochistan/referrals/" + id
			raw, err := proto.Marshal(event)
			if err != nil {
				return err
			}
			other := &referralv1.OfferRecord{Offered: &custodyv1.SignedEvent{Event: raw}, State: custodyv1.OfferState_OFFER_STATE_DECLINED, Group: record.GetGroup()}
			if n%2 == 1 {
				other.State = custodyv1.OfferState_OFFER_STATE_ACCEPTING
			}
			name := offerNameOf(raw, event.GetReferral())
			if n%2 == 1 {
				all = append(all, name)
			}
			if err := store.Offers.Put(tx, store.OfferKey(name), other); err != nil {
				return err
			}
		}
		return nil
	}))
	shelter := &listed{}
	must(t, to.ReconcileShelter(context.Background(), shelter))
	// A restored one has a list of three pages thrice, and hears before the last time that it comes again.
	pages := shelter.pages[2*len(shelter.pages)/3:]
	for i, before := range shelter.pages[:2*len(pages)] {
		once := proto.CloneOf(pages[i%len(pages)])
		once.Again = true
		if !proto.Equal(before, once) {
			t.Fatalf("page %d is not as page %d is in the end", i+1, i%len(pages)+1)
		}
	}
	whole := &listed{whole: true}
	must(t, to.ReconcileShelter(context.Background(), whole))
	if len(whole.pages) != len(pages) || whole.pages[0].GetAgain() {
		t.Errorf("one that was not restored has %d pages, not %d", len(whole.pages), len(pages))
	}
	after, stages := "", map[string]shelterv1.LiveOffer_Stage{}
	for i, page := range pages {
		last := i == len(pages)-1
		if page.GetAfter() != after || (page.GetUntil() == "") != last || !last && page.GetUntil() <= after || page.GetFence().GetNumber() != 9 || page.GetAgain() {
			t.Fatalf("page %d goes from %q to %q", i+1, page.GetAfter(), page.GetUntil())
		}
		for _, o := range page.GetOffers() {
			if o.GetOffer() <= page.GetAfter() || page.GetUntil() != "" && o.GetOffer() > page.GetUntil() {
				t.Errorf("%s stands on the page from %q to %q", o.GetOffer(), page.GetAfter(), page.GetUntil())
			}
			stages[o.GetOffer()] = o.GetStage()
			if o.GetOffer() == offer && (o.GetHold() != record.GetHold() || len(o.GetParts()) != 1 || o.GetParts()[0].GetGroup() != record.GetGroup()) {
				t.Errorf("the promised one is listed as %v", o)
			}
		}
		after = page.GetUntil()
	}
	if len(pages) < 3 || len(stages) != len(all)+1 || stages[offer] != shelterv1.LiveOffer_STAGE_PROMISED ||
		slices.ContainsFunc(all, func(name string) bool { return stages[name] != shelterv1.LiveOffer_STAGE_TENTATIVE }) {
		t.Errorf("%d pages list %v", len(pages), stages)
	}

	shelter.fails = errors.New("away")
	if err := to.ReconcileShelter(context.Background(), shelter); err == nil {
		t.Error("a page that was not taken is no whole list")
	}
	if restored, err := to.ShelterRestored(context.Background(), shelter); err != nil || !restored {
		t.Errorf("restored %v: %v", restored, err)
	}
}

func offerNameOf(event []byte, referral string) string {
	return store.OfferName(referral, custody.HashOf(event).String())
}

// forgetGroup takes away what no reply says: in which group an offer's bed is.
func (n *node) forgetGroup(offers ...string) {
	n.t.Helper()
	must(n.t, n.DB.Update(background, func(tx *kitstore.Tx) error {
		for _, name := range offers {
			record, err := store.Offers.Get(tx, store.OfferKey(name))
			if err != nil {
				return err
			}
			record.Group = ""
			if err := store.Offers.Put(tx, store.OfferKey(name), record); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Of offers that were lost and recalled nobody knows the group: they are listed by what their people need, alone or together, and the list is
// one that the shelter service takes.
func TestRecalledOffersAreListedByTheirNeeds(t *testing.T) {
	net, _, punjab, _ := newOwnerNetwork(t)
	family := net.family()
	_, err := punjab.AcceptOffer(background, net.togetherRequest(punjab, family), actor)
	must(t, err)
	net.settle()
	for known := 3; known > 0; known-- {
		punjab.forgetGroup(family[known-1].GetOffers()[0].GetName())
		shelter := &listed{}
		must(t, punjab.ReconcileShelter(background, shelter))
		must(t, protovalidate.Validate(shelter.pages[0]))
		live := shelter.pages[0].GetOffers()
		if len(live) != 1 || len(live[0].GetParts()) != known-1 || len(live[0].GetUnplaced()) != 4-known {
			t.Fatalf("the group of %d is known: %v", known-1, live)
		}
	}
}

// A restored shelter service is told of whoever came on a referral that is over, too: nobody has said that they left. For whom it has no bed, a
// person is told.
func TestWhoCameOnAReferralThatIsOver(t *testing.T) {
	net := newNetwork(t)
	punjab := net.nodes["punjab"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_COMPLETED)
	offer := v.GetOffers()[0].GetName()
	whole := &listed{whole: true}
	must(t, punjab.ReconcileShelter(background, whole))
	if live := whole.pages[0].GetOffers(); len(live) != 0 {
		t.Errorf("one that was not restored is told of %v", live)
	}
	restored := &listed{lost: []string{offer}}
	must(t, punjab.ReconcileShelter(background, restored))
	live := restored.pages[0].GetOffers()
	if len(live) != 1 || live[0].GetOffer() != offer || live[0].GetStage() != shelterv1.LiveOffer_STAGE_ARRIVED || live[0].GetHold() == "" || len(live[0].GetParts()) != 1 {
		t.Errorf("one that was restored is told of %v", live)
	}
	if n := len(punjab.eventsOf("referral.offer.bed-lost.v1")); n != 1 {
		t.Errorf("people are told %d times that there is no bed", n)
	}
}

// Somebody came and went home again while the shelter service was away, and the files are compared before it has heard of either: the bed is not given
// back, since it is about to be made a stay. What the shelter refuses then, a person is told.
func TestABedIsKeptUntilItIsAStay(t *testing.T) {
	for name, refusal := range map[string]*fault.Error{"admitted": nil, "refused": fault.New(fault.HoldEnded, "Ended.")} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			punjab := net.nodes["punjab"]
			v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT)
			punjab.silent = true
			must(t, punjab.arrive(v.GetName()))
			must(t, punjab.serve(v.GetName()))
			_, err := punjab.CompleteReferral(background, completeRequest(v.GetName()))
			must(t, err)
			if got := punjab.stages(); !slices.Equal(got, []shelterv1.LiveOffer_Stage{shelterv1.LiveOffer_STAGE_ARRIVED}) {
				t.Fatalf("before the shelter has answered the beds are %v", got)
			}
			told := 0
			if refusal != nil {
				punjab.refuse[shelterv1.ShelterService_AdmitHold_FullMethodName], told = refusal, 1
			}
			punjab.silent = false
			net.settle()
			if got := punjab.stages(); len(got) != 0 {
				t.Errorf("when it has answered the beds are %v", got)
			}
			if n := len(punjab.eventsOf("referral.offer.bed-lost.v1")); n != told {
				t.Errorf("people are told %d times that there is no bed, want %d", n, told)
			}
		})
	}
}

// Somebody comes while the shelter service has not answered for the bed, and by then the acceptance is over. The bed may be held already: it is not given
// back when the files are compared. Where the shelter refuses it then, a person is told of each who is here: nobody looks at that acceptance any more.
func TestABedThatIsAskedForIsKeptForWhoIsHere(t *testing.T) {
	for name, refusal := range map[string]*fault.Error{"held": nil, "refused": fault.New(fault.HoldEnded, "No.")} {
		for _, followed := range []bool{false, true} {
			for who := range 3 {
				net, origin, punjab, _ := newOwnerNetwork(t)
				net.again = false
				family := net.family()
				punjab.silent = true
				_, err := punjab.AcceptOffer(background, net.togetherRequest(punjab, family), actor)
				must(t, err)
				must(t, origin.withdraw(family[0].GetOffers()[0].GetName(), "NEEDS_CHANGED"))
				net.settle()
				if got := punjab.stages(); len(got) != 0 {
					t.Errorf("before anybody is here the beds are %v", got)
				}
				_, err = punjab.assert(family[who].GetName())
				must(t, err)
				if followed {
					net.settle()
				}
				if got := punjab.stages(); !slices.Equal(got, []shelterv1.LiveOffer_Stage{shelterv1.LiveOffer_STAGE_TENTATIVE}) {
					t.Errorf("%s, followed: %t; before the shelter has answered for %d the beds are %v", name, followed, who, got)
				}
				told := 0
				if refusal != nil {
					punjab.refuse[shelterv1.ShelterService_PlaceHold_FullMethodName], told = refusal, 1
				}
				punjab.silent = false
				net.settle()
				if n := punjab.told("referral.offer.bed-lost.v1", family[who].GetName()); n != told || len(punjab.eventsOf("referral.offer.bed-lost.v1")) != told {
					t.Errorf("%s, followed: %t; people are told %d times that there is no bed for %d, want %d", name, followed, n, who, told)
				}
				net.came(family[who].GetName(), "punjab")
			}
		}
	}
}

// Two promised beds are lost, and what follows for one cannot be said now: it is done for the other, and said the next time.
func TestOneLostBedKeepsNoOther(t *testing.T) {
	net := newNetwork(t)
	v, w := net.twoOffers()
	punjab := net.nodes["punjab"]
	lost := []string{v.GetOffers()[0].GetName(), w.GetOffers()[0].GetName()}
	for _, offer := range lost {
		_, err := punjab.AcceptOffer(background, acceptRequest(offer), actor)
		must(t, err)
		net.settle()
		punjab.holds[punjab.offer(offer).GetHold()].State = shelterv1.Hold_STATE_RELEASED
	}
	punjab.stuck = func(o post.Outgoing) bool { return o.Subject == v.GetName() }
	must(t, punjab.ReconcileShelter(background, &listed{whole: true, lost: lost}))
	if one, other := punjab.offer(lost[0]).GetReleaseReason(), punjab.offer(lost[1]).GetReleaseReason(); one != "" || other != "HOLD_ENDED" {
		t.Errorf("the reasons are %q and %q", one, other)
	}
	punjab.stuck = nil
	must(t, punjab.ReconcileShelter(background, &listed{whole: true, lost: lost}))
	for _, offer := range lost {
		if n := punjab.told("referral.offer.bed-lost.v1", offer); n != 1 || punjab.offer(offer).GetReleaseReason() != "HOLD_ENDED" {
			t.Errorf("it is told %d times: %v", n, punjab.offer(offer))
		}
	}
	net.settle()
}
