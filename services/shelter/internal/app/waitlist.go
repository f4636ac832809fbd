package app

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// CreateWaitlistEntry puts somebody on a group's waitlist. The group must take them; it need not have room.
func (a *App) CreateWaitlistEntry(ctx context.Context, request *shelterv1.CreateWaitlistEntryRequest) (*shelterv1.WaitlistEntry, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	asked := request.GetWaitlistEntry()
	if err := codes.CheckNeeds("waitlist_entry.needs", asked.GetNeeds()); err != nil {
		return nil, err
	}
	return making(ctx, a, request.GetRequestId(), request, getEntry, func(tx *kitstore.Tx, id string, now time.Time) (string, error) {
		if err := rules.CheckReview("waitlist_entry.review_time", asked.GetReviewTime(), now); err != nil {
			return "", err
		}
		s, row, err := a.group(tx, request.GetParent())
		if err != nil {
			return "", err
		}
		if err := rules.Fits(s, row.Value, asked.GetNeeds()); err != nil {
			return "", err
		}
		e := &shelterv1.WaitlistEntry{
			Name: request.GetParent() + "/waitlistEntries/" + id, Quantity: asked.GetQuantity(), Offer: asked.GetOffer(), Needs: asked.GetNeeds(),
			ReviewTime: asked.GetReviewTime(), State: shelterv1.WaitlistEntry_STATE_WAITING, CreateTime: timestamppb.New(now),
		}
		return e.GetName(), a.putEntry(tx, e, "entered", now)
	})
}

func (a *App) putEntry(tx *kitstore.Tx, e *shelterv1.WaitlistEntry, what string, now time.Time) error {
	e.Etag = ""
	if err := store.Waitlist.Put(tx, kitstore.K(e.GetName()), e); err != nil {
		return err
	}
	tx.AfterCommit(a.Wake)
	return a.Events.Append(tx, "shelter.waitlist."+what+".v1", e.GetName(), now, &shelterv1.WaitlistChanged{Entry: e.GetName(), Offer: e.GetOffer()})
}

var entries = kind[*shelterv1.WaitlistEntry]{row: entryRow, get: getEntry, put: (*App).putEntry}

func entryRow(r kitstore.Reader, name string) (kitstore.Row[*shelterv1.WaitlistEntry], error) {
	row, err := store.Waitlist.Row(r, kitstore.K(name))
	return row, found(err, "waitlist entry")
}

func getEntry(r kitstore.Reader, name string) (*shelterv1.WaitlistEntry, error) {
	row, err := entryRow(r, name)
	if err != nil {
		return nil, err
	}
	row.Value.Etag = etagOf(row.Version)
	return row.Value, nil
}

// ReviewWaitlistEntry sets the next date to look at an entry.
func (a *App) ReviewWaitlistEntry(ctx context.Context, request *shelterv1.ReviewWaitlistEntryRequest) (*shelterv1.WaitlistEntry, error) {
	return changing(ctx, a, entries, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, e *shelterv1.WaitlistEntry, now time.Time) (string, error) {
		return "reviewed", rules.ReviewEntry(e, request.GetReviewTime(), now)
	})
}

// CloseWaitlistEntry takes an entry off.
func (a *App) CloseWaitlistEntry(ctx context.Context, request *shelterv1.CloseWaitlistEntryRequest) (*shelterv1.WaitlistEntry, error) {
	if err := codes.CheckField("reason", codes.WaitlistClose, request.GetReason()); err != nil {
		return nil, err
	}
	return changing(ctx, a, entries, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, e *shelterv1.WaitlistEntry, _ time.Time) (string, error) {
		return eventIf("closed", func(e *shelterv1.WaitlistEntry) (bool, error) { return rules.CloseEntry(e, request.GetReason()) }, e)
	})
}

// ListWaitlistEntries lists a shelter's waitlist, the longest waiting first.
func (a *App) ListWaitlistEntries(ctx context.Context, request *shelterv1.ListWaitlistEntriesRequest) (*shelterv1.ListWaitlistEntriesResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	scope := proto.CloneOf(request)
	scope.PageSize, scope.PageToken = 0, ""
	after, err := a.Tokens.Read("waitlist", scope, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	response := &shelterv1.ListWaitlistEntriesResponse{}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		page := store.WaitlistByShelter.Page
		if request.GetFilter().GetWaiting() {
			page = store.Waiting.Page
		}
		rows, next, err := page(r, kitstore.Range{Prefix: kitstore.K(request.GetParent()), After: after}, paging.Size(request.GetPageSize(), 50))
		for _, row := range rows {
			row.Value.Etag = etagOf(row.Version)
			response.WaitlistEntries = append(response.WaitlistEntries, row.Value)
		}
		after = next
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("waitlist", scope, after)
	return response, err
}
