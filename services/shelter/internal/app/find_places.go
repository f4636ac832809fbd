package app

import (
	"context"
	"fmt"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
)

// FindPlaces finds places for people, the best first, and says why the other shelters are none. It reads the directory in
// memory alone, so it sees whatever was committed before it began.
func (a *App) FindPlaces(_ context.Context, request *shelterv1.FindPlacesRequest) (*shelterv1.FindPlacesResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	for i, needs := range request.GetPeople() {
		if err := codes.CheckNeeds(fmt.Sprintf("people[%d]", i), needs); err != nil {
			return nil, err
		}
	}
	if near := request.GetNearDistrict(); near != "" {
		if err := codes.CheckField("near_district", codes.District, near); err != nil {
			return nil, err
		}
	}
	if _, ok := codes.LangOf(request.GetLanguageCode()); !ok {
		return nil, fault.InvalidField("language_code", "must be en, ur or sd, or be left out, which means en")
	}
	return a.Directory.find(request, a.Now())
}
