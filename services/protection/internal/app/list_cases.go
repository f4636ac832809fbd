package app

import (
	"context"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// sweep bounds how many rows one page looks at, so that a filter that matches little holds no
// snapshot for long; such a page is short and has a token for the rest.
const sweep = 2000

// GetCase reads a case, the person's data included. Of an erased person the public part is left.
func (a *App) GetCase(ctx context.Context, name string) (shown *protectionv1.Case, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := a.getCase(r, name)
		if err == nil {
			shown = show(row)
		}
		return err
	})
	return shown, err
}

// ListCases lists cases without the persons' data, newest first.
func (a *App) ListCases(ctx context.Context, request *protectionv1.ListCasesRequest) (*protectionv1.ListCasesResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	filter := request.GetFilter()
	after, err := a.Tokens.Read("cases", filter, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	index, rows := store.CasesByTime, kitstore.Range{Reverse: true}
	if filter.GetReferral() != "" {
		index, rows.Prefix = store.CasesByReferral, kitstore.K(filter.GetReferral())
	}
	rows.After = after
	response := &protectionv1.ListCasesResponse{}
	limit := paging.Size(request.GetPageSize(), usualPage)
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		for looked := 0; len(response.Cases) < limit && looked < sweep; {
			var found []privacy.Row[*protectionv1.CaseRecord]
			found, rows.After, err = index.PagePublic(r, rows, limit-len(response.Cases))
			if err != nil {
				return err
			}
			looked += len(found)
			for _, row := range found {
				if c := show(row); matches(filter, c) {
					response.Cases = append(response.Cases, c)
				}
			}
			if rows.After == nil {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("cases", filter, rows.After)
	return response, err
}

func matches(f *protectionv1.ListCasesRequest_Filter, c *protectionv1.Case) bool {
	return (f.GetState() == protectionv1.Case_STATE_UNSPECIFIED || f.GetState() == c.GetState()) &&
		(f.GetUnit() == "" || f.GetUnit() == c.GetUnit()) && (f.GetReferral() == "" || f.GetReferral() == c.GetReferral())
}
