package app

import (
	"context"
	"errors"
	"fmt"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
)

// ListPublications lists publications without their tables, the newest month and edition first.
func (a *App) ListPublications(ctx context.Context, request *federalv1.ListPublicationsRequest) (*federalv1.ListPublicationsResponse, error) {
	filter := request.GetFilter()
	token, err := a.Tokens.Read("publications", filter, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	span := kitstore.Range{After: token, Reverse: true}
	if filter.GetMonth() != "" {
		span.Prefix = kitstore.K(filter.GetMonth())
	}
	response := &federalv1.ListPublicationsResponse{}
	limit := paging.Size(request.GetPageSize(), usualPage)
	err = a.DB.View(ctx, func(r kitstore.Reader) (err error) {
		if filter.GetNewest() {
			response.Publications, span.After, err = newest(r, span, limit)
			return err
		}
		rows, next, err := store.Publications.Page(r, span, limit)
		for _, row := range rows {
			response.Publications = append(response.Publications, listed(row.Value))
		}
		span.After = next
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("publications", filter, span.After)
	return response, err
}

// newest is a page of the newest edition of each month.
func newest(r kitstore.Reader, span kitstore.Range, limit int) (all []*federalv1.Publication, next kitstore.Key, err error) {
	months, next, err := store.Frozen.Page(r, span, limit)
	if err != nil {
		return nil, nil, err
	}
	for _, row := range months {
		p, err := getPublication(r, row.Value.GetPublication())
		if err != nil {
			return nil, nil, err
		}
		all = append(all, listed(p))
	}
	return all, next, nil
}

// GetPublication reads one with its tables.
func (a *App) GetPublication(ctx context.Context, name string) (p *federalv1.Publication, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		p, err = getPublication(r, name)
		return err
	})
	return p, err
}

func getPublication(r kitstore.Reader, name string) (*federalv1.Publication, error) {
	month, edition, err := editionOf(name)
	if err != nil {
		return nil, fault.InvalidField("name", err.Error())
	}
	p, err := store.Publications.Get(r, store.PublicationKey(month, edition))
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, fault.NotFound("publication")
	}
	return p, err
}

// editionOf is the month and the edition of a publication's name.
func editionOf(name string) (month string, edition int32, err error) {
	var year, monthOfYear int
	if _, err := fmt.Sscanf(name, "publications/%04d-%02d-e%d", &year, &monthOfYear, &edition); err != nil {
		return "", 0, errors.New("must be publications/{month}-e{edition}, such as publications/2026-11-e1")
	}
	return fmt.Sprintf("%04d-%02d", year, monthOfYear), edition, nil
}
