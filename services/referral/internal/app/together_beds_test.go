package app_test

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
)

// The stays of all begin with the first who comes. One that ends before its own person comes takes a bed with it, which is told once: as soon as the
// shelter says so, or when they are at the door. The others keep theirs, and the first of them may leave by then.
func TestABedThatEndedBeforeItsPersonCame(t *testing.T) {
	for _, heard := range []bool{false, true} {
		for late := range 3 {
			net, origin, punjab, _ := newOwnerNetwork(t)
			family := net.family()
			net.acceptAll(punjab, family)
			must(t, origin.dispatch(family[0].GetName()))
			net.settle()
			left := slices.Delete(slices.Clone(family), late, late+1)
			each(left, func(name string) { must(t, punjab.arrive(name)) })
			net.settle()
			lead, offer := family[0].GetOffers()[0].GetName(), family[late].GetOffers()[0].GetName()
			punjab.discharged[offer] = true
			told := func() (n int) {
				for _, e := range punjab.events {
					if e.kind == "referral.offer.bed-lost.v1" {
						n++
						if e.subject != offer {
							t.Errorf("%s has lost a bed", e.subject)
						}
					}
				}
				return n
			}
			ended := func(offer string, awaited bool) {
				data, err := anypb.New(&shelterv1.StayChanged{
					Offer: offer, Hold: punjab.offer(lead).GetHold(), State: shelterv1.Stay_STATE_DISCHARGED, Awaited: awaited,
				})
				must(t, err)
				must(t, punjab.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
					return punjab.FollowShelter(tx, &eventsv1.Event{Type: "shelter.stay.discharged.v1", Data: data})
				}))
			}
			ended(left[0].GetOffers()[0].GetName(), false)
			if told() != 0 {
				t.Error("who has come and left again has lost a bed")
			}
			if heard {
				ended(offer, false) // by another offer's stay, of before each had one of their own
				ended(offer, true)
				ended(offer, true)
				if told() != 1 {
					t.Errorf("before they come %d are told", told())
				}
			}
			must(t, punjab.arrive(family[late].GetName()))
			net.settle()
			must(t, punjab.serve(family[late].GetName()))
			net.settle()
			if told() != 1 {
				t.Errorf("heard: %v, number %d: %d are told", heard, late, told())
			}
			if asked := punjab.count("AdmitHold"); heard && asked != 2 || !heard && asked != 3 {
				t.Errorf("heard: %v: the shelter was asked %v", heard, punjab.calls)
			}
		}
	}
}

// All are there before the shelter answers whether it holds their beds. The commands about each go by themselves: whichever comes first finds a hold that
// is confirmed, and nobody is told that somebody is here without a bed.
func TestWhoeverComesFirstConfirmsTheHold(t *testing.T) {
	for _, backward := range []bool{false, true} {
		for _, placed := range []bool{false, true} {
			net, origin, punjab, _ := newOwnerNetwork(t)
			net.again, punjab.backward = false, backward
			origin.AutoConfirm = false
			family := net.family()
			punjab.silent = !placed
			_, err := punjab.AcceptOffer(background, net.togetherRequest(punjab, family), actor)
			must(t, err)
			punjab.silent = true
			each(family, func(name string) {
				_, err := punjab.assert(name)
				must(t, err)
			})
			punjab.silent = false
			net.settle()
			each(family, func(name string) { net.came(name, "punjab") })
			if punjab.count("AdmitHold") != 3 || slices.ContainsFunc(punjab.events, func(e event) bool { return e.kind == "referral.offer.bed-lost.v1" }) {
				t.Errorf("backward: %v, placed: %v: the shelter was asked %v", backward, placed, punjab.calls)
			}
		}
	}
}
