package app

import (
	"context"
	"slices"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
)

// ListLinks lists how links stand, in order of node and service; this service's own to active nodes come first. One that was retired or suspended is
// heard no more, and nobody is needed for that.
func (a *App) ListLinks(ctx context.Context, request *federalv1.ListLinksRequest) (*federalv1.ListLinksResponse, error) {
	filter := request.GetFilter()
	token, err := a.Tokens.Read("links", filter, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	span := kitstore.Range{After: token}
	if node := filter.GetNode(); node != "" {
		span.Prefix = kitstore.K(node)
	}
	response := &federalv1.ListLinksResponse{}
	limit := paging.Size(request.GetPageSize(), usualPage)
	if len(token) == 0 && (filter.GetNode() == "" || filter.GetNode() == a.Node) {
		own, err := a.OwnLinks(ctx)
		if err != nil {
			return nil, err
		}
		active := map[string]bool{}
		for _, teller := range a.Tellers() {
			active[teller.GetNode()] = true
		}
		own.Links = slices.DeleteFunc(own.GetLinks(), func(l *federalv1.LinkState) bool { return !active[l.GetNode()] })
		response.Links = append(response.Links, &federalv1.LinkRecord{Node: a.Node, Service: "federal", States: own})
		if limit--; limit == 0 {
			response.NextPageToken, err = a.Tokens.Make("links", filter, kitstore.K("")) // before every other
			return response, err
		}
	}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		rows, next, err := store.Links.Page(r, span, limit)
		for _, row := range rows {
			response.Links = append(response.Links, row.Value)
		}
		span.After = next
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("links", filter, span.After)
	return response, err
}
