package app

import (
	"context"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
)

// usualPage is how many corridors a page has when the caller does not say.
const usualPage = 100

// ListCorridors lists exact counts in order of from, to and stage.
func (a *App) ListCorridors(ctx context.Context, request *federalv1.ListCorridorsRequest) (*federalv1.ListCorridorsResponse, error) {
	filter := request.GetFilter()
	token, err := a.Tokens.Read("corridors", filter, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	span := kitstore.Range{After: token, Prefix: kitstore.K(rules.FigureCorridor, "")}
	if from := filter.GetFromNode(); from != "" {
		span.Prefix = kitstore.K(rules.FigureCorridor, "", from)
	}
	response := &federalv1.ListCorridorsResponse{}
	limit := paging.Size(request.GetPageSize(), usualPage)
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		for len(response.Corridors) < limit {
			rows, next, err := store.Counts.Page(r, span, limit-len(response.Corridors))
			if err != nil {
				return err
			}
			for _, row := range rows {
				if c := rules.CorridorOf(row.Value); rules.Matches(filter, c) {
					response.Corridors = append(response.Corridors, c)
				}
			}
			if span.After = next; next == nil {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("corridors", filter, span.After)
	return response, err
}
