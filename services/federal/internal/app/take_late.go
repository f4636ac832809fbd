package app

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

// refusedCounts says that what is late is not told as it should be.
const refusedCounts = "invalid-late-counts"

// TakeLate is the post's handler of late counts: it keeps the newest of each node and service. None is newer than now.
func (a *App) TakeLate(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	late := &federalv1.LateCounts{}
	if err := a.open(from, letter, late, refusedCounts); err != nil {
		return err
	}
	if !rules.FitsLate(late) {
		return post.Refuse(refusedCounts)
	}
	// Where a clock runs ahead there, what is told when it is right again would look older for as long.
	at := late.GetCountTime()
	if now := a.Now(); at.AsTime().After(now) {
		at = timestamppb.New(now)
	}
	key := kitstore.K(from.GetNode(), from.GetService())
	known, err := store.Late.Get(tx, key)
	switch {
	case err == nil && !at.AsTime().After(known.GetCountTime().AsTime()):
		return nil // told before, or older than what is known
	case err != nil && !errors.Is(err, kitstore.ErrNotFound):
		return err
	}
	return store.Late.Put(tx, key, &federalv1.LateReport{
		Node: from.GetNode(), Service: from.GetService(), Counts: late.GetCounts(), CountTime: at,
	})
}

// ListLateReports lists what each service last told, in order of node and service.
func (a *App) ListLateReports(ctx context.Context, request *federalv1.ListLateReportsRequest) (*federalv1.ListLateReportsResponse, error) {
	token, err := a.Tokens.Read("late", request.GetFilter(), request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	span := kitstore.Range{After: token}
	if node := request.GetFilter().GetNode(); node != "" {
		span.Prefix = kitstore.K(node)
	}
	response := &federalv1.ListLateReportsResponse{}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		rows, next, err := store.Late.Page(r, span, paging.Size(request.GetPageSize(), usualPage))
		for _, row := range rows {
			response.LateReports = append(response.LateReports, row.Value)
		}
		span.After = next
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("late", request.GetFilter(), span.After)
	return response, err
}
