package app

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// ListAdverts lists what other nodes last said of their shelters, each with its age.
func (a *App) ListAdverts(ctx context.Context, request *shelterv1.ListAdvertsRequest) (*shelterv1.ListAdvertsResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	filter := request.GetFilter()
	if district := filter.GetDistrict(); district != "" {
		if err := codes.CheckField("filter.district", codes.District, district); err != nil {
			return nil, err
		}
	}
	after, err := a.Tokens.Read("adverts", filter, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	index, all := store.AdvertsByNode, kitstore.Range{}
	switch {
	case filter.GetDistrict() != "": // few
		index, all = store.AdvertsByDistrict, kitstore.Range{Prefix: kitstore.K(filter.GetDistrict())}
	case filter.GetNode() != "":
		all.Prefix = kitstore.K(filter.GetNode())
	}
	response := &shelterv1.ListAdvertsResponse{}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		now := a.Now()
		next, err := pager(paging.Size(request.GetPageSize(), 50), after, func(after kitstore.Key, limit int) ([]kitstore.Row[*shelterv1.AdvertRecord], kitstore.Key, error) {
			return index.Page(r, kitstore.Range{Prefix: all.Prefix, After: after}, limit)
		}, func(row kitstore.Row[*shelterv1.AdvertRecord]) (bool, error) {
			one := store.Advert(row.Value)
			if filter.GetNode() != "" && filter.GetNode() != one.GetNode() {
				return false, nil
			}
			heard := row.Value.GetHearTime()
			response.Adverts = append(response.Adverts, &shelterv1.HeardAdvert{
				Advert: one, HearTime: heard, Age: durationpb.New(max(0, now.Sub(heard.AsTime()))), Freshness: rules.Fresh(heard, now),
			})
			return true, nil
		})
		after = next
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("adverts", filter, after)
	return response, err
}
