package app_test

import (
	"context"
	"strings"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// TestASearchHidesTheLocation looks for what is sealed in all that a search says.
func TestASearchHidesTheLocation(t *testing.T) {
	b := newApp(t)
	_, err := b.CreateShelter(context.Background(), &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "lahore-girls", Shelter: &shelterv1.Shelter{
		DisplayName: "Lahore girls", District: "PK617", Confidential: true, Address: "7 Hidden Lane", Phone: "+924211111111",
		Groups: []*shelterv1.Group{{Name: "girls", Genders: []string{"Feminine"}, AgeTo: 18, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1}},
	}}, manager)
	if err != nil {
		t.Fatal(err)
	}
	found, err := b.FindPlaces(context.Background(), &shelterv1.FindPlacesRequest{Parent: "nodes/punjab", People: []*custodyv1.Needs{girl()}, NearDistrict: "PK622"})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.GetPlaces()) != 1 || found.GetPlaces()[0].GetDistanceKm()%10 != 0 || found.GetPlaces()[0].GetDistanceKm() == 0 {
		t.Errorf("found %v, want one place at a distance in tens", found)
	}
	if said := found.String(); strings.Contains(said, "Hidden") || strings.Contains(said, "4211111111") {
		t.Error("a search tells where a confidential shelter is")
	}
}

// TestASearchOfUnknownCodes names the field.
func TestASearchOfUnknownCodes(t *testing.T) {
	b := newApp(t)
	for field, request := range map[string]*shelterv1.FindPlacesRequest{
		"people[0].gender": {Parent: "nodes/punjab", People: []*custodyv1.Needs{{Gender: "girl"}}},
		"language_code":    {Parent: "nodes/punjab", People: []*custodyv1.Needs{girl()}, LanguageCode: "fr"},
		"near_district":    {Parent: "nodes/punjab", People: []*custodyv1.Needs{girl()}, NearDistrict: "nowhere"},
	} {
		if _, err := b.FindPlaces(context.Background(), request); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v, want an error that names %s", err, field)
		}
	}
}
