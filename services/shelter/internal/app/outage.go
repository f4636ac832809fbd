package app

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// oldest is how far back an outage can be dated.
const oldest = 366 * 24 * time.Hour

// CreateOutage takes beds out of service: only beds that are free.
func (a *App) CreateOutage(ctx context.Context, request *shelterv1.CreateOutageRequest) (*shelterv1.Outage, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	asked := request.GetOutage()
	if err := codes.CheckField("outage.reason", codes.Outage, asked.GetReason()); err != nil {
		return nil, err
	}
	return making(ctx, a, request.GetRequestId(), request, getOutage, func(tx *kitstore.Tx, id string, now time.Time) (string, error) {
		if err := checkDates(asked, now); err != nil {
			return "", err
		}
		if err := a.expireDue(tx, now); err != nil {
			return "", err
		}
		_, row, err := a.group(tx, request.GetParent())
		if err != nil {
			return "", err
		}
		taken, err := count(tx, request.GetParent())
		if err != nil {
			return "", err
		}
		if err := rules.Room(row.Value, taken, asked.GetQuantity()); err != nil {
			return "", err
		}
		o := &shelterv1.Outage{
			Name: request.GetParent() + "/outages/" + id, Quantity: asked.GetQuantity(), Reason: asked.GetReason(),
			FromTime: asked.GetFromTime(), UntilTime: asked.GetUntilTime(), CreateTime: timestamppb.New(now),
		}
		if o.FromTime == nil {
			o.FromTime = timestamppb.New(now)
		}
		return o.GetName(), a.putOutage(tx, o, "started", now)
	})
}

func checkDates(o *shelterv1.Outage, now time.Time) error {
	if from := o.GetFromTime(); from != nil && (from.AsTime().After(now) || from.AsTime().Before(now.Add(-oldest))) {
		return fault.InvalidField("outage.from_time", "must not lie ahead, nor more than a year back; enter an outage when it begins")
	}
	if until := o.GetUntilTime(); until != nil && !until.AsTime().After(now) {
		return fault.InvalidField("outage.until_time", "must lie ahead")
	}
	return nil
}

var outages = kind[*shelterv1.Outage]{row: outageRow, get: getOutage, put: (*App).putOutage}

func outageRow(r kitstore.Reader, name string) (kitstore.Row[*shelterv1.Outage], error) {
	row, err := store.Outages.Row(r, store.OutageKey(name))
	return row, found(err, "outage")
}

func getOutage(r kitstore.Reader, name string) (*shelterv1.Outage, error) {
	row, err := outageRow(r, name)
	if err != nil {
		return nil, err
	}
	row.Value.Etag = etagOf(row.Version)
	return row.Value, nil
}

func (a *App) putOutage(tx *kitstore.Tx, o *shelterv1.Outage, what string, now time.Time) error {
	o.Etag = ""
	if err := store.Outages.Put(tx, store.OutageKey(o.GetName()), o); err != nil {
		return err
	}
	return a.told(tx, "outage."+what, store.GroupOf(o.GetName()), now)
}

// EndOutage brings beds back into service before their time.
func (a *App) EndOutage(ctx context.Context, request *shelterv1.EndOutageRequest) (*shelterv1.Outage, error) {
	return changing(ctx, a, outages, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, o *shelterv1.Outage, now time.Time) (string, error) {
		if o.GetEndTime() != nil {
			return "", nil
		}
		o.EndTime = timestamppb.New(now)
		return "ended", nil
	})
}

// ListOutages lists what is or was out of service in a shelter.
func (a *App) ListOutages(ctx context.Context, request *shelterv1.ListOutagesRequest) (*shelterv1.ListOutagesResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	response := &shelterv1.ListOutagesResponse{}
	scope := &shelterv1.ListOutagesRequest{Parent: request.GetParent(), Filter: request.GetFilter()}
	after, err := a.Tokens.Read("outages", scope, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	err = a.DB.View(ctx, func(r kitstore.Reader) (err error) {
		after, err = pager(paging.Size(request.GetPageSize(), 50), after, func(after kitstore.Key, limit int) ([]kitstore.Row[*shelterv1.Outage], kitstore.Key, error) {
			return store.Outages.Page(r, kitstore.Range{Prefix: kitstore.K(request.GetParent()), After: after}, limit)
		}, func(row kitstore.Row[*shelterv1.Outage]) (bool, error) {
			if request.GetFilter().GetCurrent() && row.Value.GetEndTime() != nil {
				return false, nil
			}
			row.Value.Etag = etagOf(row.Version)
			response.Outages = append(response.Outages, row.Value)
			return true, nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("outages", scope, after)
	return response, err
}
