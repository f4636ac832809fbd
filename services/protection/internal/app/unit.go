package app

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// usualPage is how many rows a page has when none was asked.
const usualPage = 50

// CreateUnit enters a unit.
func (a *App) CreateUnit(ctx context.Context, request *protectionv1.CreateUnitRequest) (created *protectionv1.Unit, err error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	if u := request.GetUnit(); u.GetSupervisor() != "" || len(u.GetDuty())+len(u.GetDutyExceptions()) > 0 {
		return nil, fault.InvalidField("unit", "must have neither supervisor nor duty yet: enter the unit, then its workers, then change the unit")
	}
	if err := codes.CheckField("unit.district", codes.District, request.GetUnit().GetDistrict()); err != nil {
		return nil, err
	}
	name := request.GetParent() + "/units/" + request.GetUnitId()
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		err := store.Units.Insert(tx, kitstore.K(name), &protectionv1.Unit{
			Name: name, DisplayName: request.GetUnit().GetDisplayName(), District: request.GetUnit().GetDistrict(),
			CreateTime: timestamppb.New(a.Now()),
		})
		if errors.Is(err, kitstore.ErrExists) {
			return fault.InvalidField("unit_id", "is taken by another unit of this node; choose another")
		}
		if err != nil {
			return err
		}
		created, err = getUnit(tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// GetUnit reads a unit.
func (a *App) GetUnit(ctx context.Context, name string) (unit *protectionv1.Unit, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		unit, err = getUnit(r, name)
		return err
	})
	return unit, err
}

func getUnit(r kitstore.Reader, name string) (*protectionv1.Unit, error) {
	row, err := store.Units.Row(r, kitstore.K(name))
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, fault.NotFound("unit")
	}
	if err != nil {
		return nil, err
	}
	row.Value.Etag = etag(row.Version)
	return row.Value, nil
}

// ListUnits lists the node's units.
func (a *App) ListUnits(ctx context.Context, request *protectionv1.ListUnitsRequest) (*protectionv1.ListUnitsResponse, error) {
	after, err := a.page("units", request.GetParent(), request.GetPageToken())
	if err != nil {
		return nil, err
	}
	response := &protectionv1.ListUnitsResponse{}
	var next kitstore.Key
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		var rows []kitstore.Row[*protectionv1.Unit]
		rows, next, err = store.Units.Page(r, kitstore.Range{After: after}, paging.Size(request.GetPageSize(), usualPage))
		for _, row := range rows {
			row.Value.Etag = etag(row.Version)
			response.Units = append(response.Units, row.Value)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("units", nil, next)
	return response, err
}

// page is where a list without a filter goes on.
func (a *App) page(list, parent, token string) (kitstore.Key, error) {
	if err := a.checkNode("parent", parent); err != nil {
		return nil, err
	}
	after, err := a.Tokens.Read(list, nil, token)
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	return after, nil
}
