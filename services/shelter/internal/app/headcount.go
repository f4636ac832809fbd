package app

import (
	"context"
	"strconv"
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

// CreateHeadcount puts down what was counted beside what the stays say. No stay is changed by it.
func (a *App) CreateHeadcount(ctx context.Context, request *shelterv1.CreateHeadcountRequest) (created *shelterv1.Headcount, err error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	id, err := a.NewID()
	if err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		now := a.Now()
		made, remember, err := once(tx, request.GetRequestId(), request)
		if err != nil {
			return err
		}
		if made != "" {
			created, err = getHeadcount(tx, made)
			return err
		}
		h, err := a.compareCounts(tx, request, now)
		if err != nil {
			return err
		}
		h.Name = request.GetParent() + "/headcounts/" + id
		if err := remember(h.GetName()); err != nil {
			return err
		}
		if err := vouch(tx, request.GetParent(), now); err != nil {
			return err
		}
		if err := a.putHeadcount(tx, h, "recorded", now); err != nil {
			return err
		}
		created, err = getHeadcount(tx, h.GetName())
		return err
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

func (a *App) compareCounts(tx *kitstore.Tx, request *shelterv1.CreateHeadcountRequest, now time.Time) (*shelterv1.Headcount, error) {
	if there, err := store.Shelters.Has(tx, kitstore.K(request.GetParent())); err != nil {
		return nil, err
	} else if !there {
		return nil, fault.NotFound("shelter")
	}
	asked := request.GetHeadcount()
	h := &shelterv1.Headcount{CountTime: asked.GetCountTime(), CreateTime: timestamppb.New(now)}
	if h.CountTime == nil {
		h.CountTime = timestamppb.New(now)
	}
	if at := h.CountTime.AsTime(); at.After(now) || at.Before(now.Add(-rules.OldestCount)) {
		return nil, fault.InvalidField("headcount.count_time", "must not lie ahead, nor more than 12 hours back")
	}
	seen := map[string]bool{}
	for i, c := range asked.GetCounts() {
		field := "headcount.counts[" + strconv.Itoa(i) + "].group"
		if seen[c.GetGroup()] {
			return nil, fault.InvalidField(field, "stands twice; count each group once")
		}
		seen[c.GetGroup()] = true
		if there, err := store.Groups.Has(tx, kitstore.K(request.GetParent(), c.GetGroup())); err != nil {
			return nil, err
		} else if !there {
			return nil, fault.InvalidField(field, "is no group of this shelter")
		}
		h.Counts = append(h.Counts, &shelterv1.Count{Group: c.GetGroup(), Present: c.GetPresent()})
	}
	return h, rules.Compare(h, func(group string) (int32, error) {
		beds := kitstore.Range{Prefix: kitstore.K(request.GetParent() + "/groups/" + group)}
		occupied, err := store.OccupiedBeds.Count(tx, beds)
		if err != nil {
			return 0, err
		}
		absent, err := store.AbsentBeds.Count(tx, beds)
		return int32(occupied - absent), err
	})
}

func (a *App) putHeadcount(tx *kitstore.Tx, h *shelterv1.Headcount, what string, now time.Time) error {
	h.Etag = ""
	if err := store.Headcounts.Put(tx, store.HeadcountKey(h.GetName()), h); err != nil {
		return err
	}
	tx.AfterCommit(a.Wake)
	return a.Events.Append(tx, "shelter.headcount."+what+".v1", h.GetName(), now, &shelterv1.HeadcountChanged{Headcount: h.GetName(), Open: h.GetOpen()})
}

func getHeadcount(r kitstore.Reader, name string) (*shelterv1.Headcount, error) {
	row, err := store.Headcounts.Row(r, store.HeadcountKey(name))
	if err != nil {
		return nil, found(err, "headcount")
	}
	row.Value.Etag = etagOf(row.Version)
	return row.Value, nil
}

// ExplainHeadcount says why a group's count differs.
func (a *App) ExplainHeadcount(ctx context.Context, request *shelterv1.ExplainHeadcountRequest) (shown *shelterv1.Headcount, err error) {
	if err := a.checkNode("name", request.GetName()); err != nil {
		return nil, err
	}
	if err := codes.CheckField("explanation", codes.HeadcountDifference, request.GetExplanation()); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		row, err := store.Headcounts.Row(tx, store.HeadcountKey(request.GetName()))
		if err != nil {
			return found(err, "headcount")
		}
		if err := compare(request.GetEtag(), row.Version); err != nil {
			return err
		}
		changed, err := rules.Explain(row.Value, request.GetGroup(), request.GetExplanation())
		if err != nil {
			return err
		}
		if changed {
			if err := a.putHeadcount(tx, row.Value, "explained", a.Now()); err != nil {
				return err
			}
		}
		shown, err = getHeadcount(tx, request.GetName())
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

// ListHeadcounts lists a shelter's headcounts, the newest first.
func (a *App) ListHeadcounts(ctx context.Context, request *shelterv1.ListHeadcountsRequest) (*shelterv1.ListHeadcountsResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	scope := proto.CloneOf(request)
	scope.PageSize, scope.PageToken = 0, ""
	after, err := a.Tokens.Read("headcounts", scope, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	response := &shelterv1.ListHeadcountsResponse{}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		rg := kitstore.Range{Prefix: kitstore.K(request.GetParent()), After: after, Reverse: true}
		page := store.Headcounts.Page
		if request.GetFilter().GetOpen() {
			page = store.OpenHeadcounts.Page
		}
		rows, next, err := page(r, rg, paging.Size(request.GetPageSize(), 50))
		for _, row := range rows {
			row.Value.Etag = etagOf(row.Version)
			response.Headcounts = append(response.Headcounts, row.Value)
		}
		after = next
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("headcounts", scope, after)
	return response, err
}
