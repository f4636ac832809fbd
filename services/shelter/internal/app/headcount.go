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
func (a *App) CreateHeadcount(ctx context.Context, request *shelterv1.CreateHeadcountRequest) (*shelterv1.Headcount, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	return making(ctx, a, request.GetRequestId(), request, getHeadcount, func(tx *kitstore.Tx, id string, now time.Time) (string, error) {
		h, err := a.compareCounts(tx, request, now)
		if err != nil {
			return "", err
		}
		h.Name = request.GetParent() + "/headcounts/" + id
		if err := vouch(tx, request.GetParent(), now); err != nil {
			return "", err
		}
		if err := a.putHeadcount(tx, h, "recorded", now); err != nil {
			return "", err
		}
		return h.GetName(), store.NoteCounted(tx, a.DB.Incarnation(), request.GetParent())
	})
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

var headcounts = kind[*shelterv1.Headcount]{row: headcountRow, get: getHeadcount, put: (*App).putHeadcount}

func headcountRow(r kitstore.Reader, name string) (kitstore.Row[*shelterv1.Headcount], error) {
	row, err := store.Headcounts.Row(r, store.HeadcountKey(name))
	return row, found(err, "headcount")
}

func getHeadcount(r kitstore.Reader, name string) (*shelterv1.Headcount, error) {
	row, err := headcountRow(r, name)
	if err != nil {
		return nil, err
	}
	row.Value.Etag = etagOf(row.Version)
	return row.Value, nil
}

// ExplainHeadcount says why a group's count differs.
func (a *App) ExplainHeadcount(ctx context.Context, request *shelterv1.ExplainHeadcountRequest) (*shelterv1.Headcount, error) {
	if err := codes.CheckField("explanation", codes.HeadcountDifference, request.GetExplanation()); err != nil {
		return nil, err
	}
	return changing(ctx, a, headcounts, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, h *shelterv1.Headcount, _ time.Time) (string, error) {
		return eventIf("explained", func(h *shelterv1.Headcount) (bool, error) {
			return rules.Explain(h, request.GetGroup(), request.GetExplanation())
		}, h)
	})
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
