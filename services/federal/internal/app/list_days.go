package app

import (
	"context"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
)

// ListDays lists what each service told of each day and what is kept of it, in order of node, service and day.
func (a *App) ListDays(ctx context.Context, request *federalv1.ListDaysRequest) (*federalv1.ListDaysResponse, error) {
	filter := request.GetFilter()
	token, err := a.Tokens.Read("days", filter, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	span := kitstore.Range{After: token}
	if node := filter.GetNode(); node != "" {
		span.Prefix = kitstore.K(node)
	}
	page := store.Days.Page
	if filter.GetDiffering() {
		page = store.DifferingDays.Page
	}
	response := &federalv1.ListDaysResponse{}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		rows, next, err := page(r, span, paging.Size(request.GetPageSize(), usualPage))
		for _, row := range rows {
			response.Days = append(response.Days, row.Value)
		}
		span.After = next
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("days", filter, span.After)
	return response, err
}
