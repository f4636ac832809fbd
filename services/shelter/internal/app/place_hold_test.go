package app_test

import (
	"context"
	"fmt"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
)

// TestNobodyIsBroughtToAnExcludedDistrict, by whatever border it was written: a hold is refused where a search leaves the shelter out.
func TestNobodyIsBroughtToAnExcludedDistrict(t *testing.T) {
	for i, c := range []struct {
		what, shelter, excluded string
		refused                 bool
	}{
		{"the district itself", "PK217", "PK217", true},
		{"carved out of it since", "PK-BA-HUB", "PK217", true},
		{"what it was carved from", "PK217", "PK-BA-HUB", true},
		{"in Keamari, Karachi West is excluded", "PK-SD-KEAMARI", "PK729", true},
		{"in Killa Abdullah, Chaman is excluded", "PK214", "PK235", true},
		{"in Sibi, Lehri is excluded, which went into it", "PK228", "PK218", true},
		{"the other half of a divided district", "PK-KP-SWZ-UPPER", "PK-KP-SWZ-LOWER", false},
		{"another district", "PK712", "PK217", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := newApp(t)
			name := fmt.Sprintf("nodes/punjab/shelters/shelter-%d", i)
			if _, err := b.CreateShelter(context.Background(), &shelterv1.CreateShelterRequest{
				Parent: "nodes/punjab", ShelterId: fmt.Sprint("shelter-", i), Shelter: &shelterv1.Shelter{
					DisplayName: "Home", District: c.shelter,
					Groups: []*shelterv1.Group{{Name: "girls", Genders: []string{"Feminine"}, AgeTo: 18, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 2}},
				},
			}, manager); err != nil {
				t.Fatal(err)
			}
			needs := girl()
			needs.ExcludedDistricts = []string{c.excluded}
			h, err := b.PlaceHold(context.Background(), &shelterv1.PlaceHoldRequest{Group: name + "/groups/girls", Quantity: 1, Needs: needs, RequestId: "request-1"})
			found, findErr := b.FindPlaces(context.Background(), &shelterv1.FindPlacesRequest{Parent: "nodes/punjab", People: []*custodyv1.Needs{needs}})
			if findErr != nil {
				t.Fatal(findErr)
			}
			if c.refused {
				want(t, "a hold", err, fault.CannotMeetNeeds)
				if len(found.GetPlaces()) != 0 || found.GetLeftOut()[0].GetCode() != "EXCLUDED_DISTRICT" {
					t.Errorf("the search finds %v", found)
				}
			} else if err != nil || h.GetState() != shelterv1.Hold_STATE_HELD || len(found.GetPlaces()) != 1 {
				t.Errorf("%v, %v, and the search finds %v", h, err, found)
			}
		})
	}
}

// A hold that has run out keeps no bed from who comes after it, also before its end was noted; and it cannot be confirmed any more.
func TestABedWhoseHoldHasJustRunOut(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 1)
	first := b.mustPlace(t, 1, "first")
	b.clock.Add(first.GetExpireTime().AsTime().Sub(b.clock.Now()) - 1)
	if _, err := b.place(1, "early"); fault.ReasonOf(err) != fault.NoCapacity {
		t.Errorf("while the hold lasts: %v", err)
	}
	b.clock.Add(1)
	second := b.mustPlace(t, 1, "second")
	_, err := b.ConfirmHold(context.Background(), &shelterv1.ConfirmHoldRequest{Name: first.GetName(), Fence: first.GetFence()})
	if fault.ReasonOf(err) != fault.HoldEnded {
		t.Errorf("the first is confirmed: %v", err)
	}
	if _, err := b.ConfirmHold(context.Background(), &shelterv1.ConfirmHoldRequest{Name: second.GetName(), Fence: second.GetFence()}); err != nil {
		t.Errorf("the second: %v", err)
	}
}
