package app

import (
	"context"
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// AdmitWalkIn admits somebody who stands at the door.
func (a *App) AdmitWalkIn(ctx context.Context, request *shelterv1.AdmitWalkInRequest) (*shelterv1.Stay, error) {
	if err := a.checkNode("group", request.GetGroup()); err != nil {
		return nil, err
	}
	if err := codes.CheckNeeds("needs", request.GetNeeds()); err != nil {
		return nil, err
	}
	return making(ctx, a, request.GetRequestId(), request, getStay, func(tx *kitstore.Tx, id string, now time.Time) (string, error) {
		if err := a.expireDue(tx, now); err != nil {
			return "", err
		}
		part := &shelterv1.Part{Group: request.GetGroup(), Quantity: request.GetQuantity(), Needs: request.GetNeeds()}
		if err := a.room(tx, []*shelterv1.Part{part}, now); err != nil {
			return "", err
		}
		s, err := store.Shelters.GetPublic(tx, kitstore.K(store.ShelterOf(request.GetGroup())))
		if err != nil {
			return "", err
		}
		name := a.parent() + "/stays/" + id
		return name, a.putStay(tx, rules.NewStay(name, request.GetGroup(), request.GetQuantity(), s.GetLongestStayDays(), now), "admitted", now)
	})
}

func (a *App) putStay(tx *kitstore.Tx, s *shelterv1.Stay, what string, now time.Time) error {
	s.Etag = ""
	if err := store.Stays.Put(tx, kitstore.K(s.GetName()), s); err != nil {
		return err
	}
	tx.AfterCommit(a.Wake)
	return a.Events.Append(tx, "shelter.stay."+what+".v1", s.GetName(), now, &shelterv1.StayChanged{
		Stay: s.GetName(), Group: s.GetGroup(), Offer: s.GetOffer(), State: s.GetState(), Hold: s.GetHold(), Awaited: s.GetAwaited(),
	})
}

var stays = kind[*shelterv1.Stay]{row: stayRow, get: getStay, put: (*App).putStay}

func stayRow(r kitstore.Reader, name string) (kitstore.Row[*shelterv1.Stay], error) {
	row, err := store.Stays.Row(r, kitstore.K(name))
	return row, found(err, "stay")
}

func getStay(r kitstore.Reader, name string) (*shelterv1.Stay, error) {
	row, err := stayRow(r, name)
	if err != nil {
		return nil, err
	}
	return stayOf(row), nil
}

// stayOf is a stored stay as it is shown. One stored before stays had states is in the bed.
func stayOf(row kitstore.Row[*shelterv1.Stay]) *shelterv1.Stay {
	s := row.Value
	s.Etag = etagOf(row.Version)
	if s.GetState() == shelterv1.Stay_STATE_UNSPECIFIED {
		s.State = shelterv1.Stay_STATE_PRESENT
	}
	return s
}

// GetStay reads a stay.
func (a *App) GetStay(ctx context.Context, name string) (shown *shelterv1.Stay, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		shown, err = getStay(r, name)
		return err
	})
	return shown, err
}

// ListStays lists stays in order of admission.
func (a *App) ListStays(ctx context.Context, request *shelterv1.ListStaysRequest) (*shelterv1.ListStaysResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	after, err := a.Tokens.Read("stays", request.GetFilter(), request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	response, shelter := &shelterv1.ListStaysResponse{}, request.GetFilter().GetShelter()
	err = a.DB.View(ctx, func(r kitstore.Reader) (err error) {
		page := func(after kitstore.Key, limit int) ([]kitstore.Row[*shelterv1.Stay], kitstore.Key, error) {
			if shelter != "" && request.GetFilter().GetCurrent() {
				return store.CurrentStays.Page(r, kitstore.Range{Prefix: kitstore.K(shelter), After: after}, limit)
			}
			return store.Stays.Page(r, kitstore.Range{After: after}, limit)
		}
		after, err = pager(paging.Size(request.GetPageSize(), 50), after, page, func(row kitstore.Row[*shelterv1.Stay]) (bool, error) {
			if shelter != "" && store.ShelterOf(row.Value.GetGroup()) != shelter || request.GetFilter().GetCurrent() && !store.Current(row.Value) {
				return false, nil
			}
			response.Stays = append(response.Stays, stayOf(row))
			return true, nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("stays", request.GetFilter(), after)
	return response, err
}

// MoveStay moves a stay to another group of the shelter: the one bed is free and the other taken in one step.
func (a *App) MoveStay(ctx context.Context, request *shelterv1.MoveStayRequest) (*shelterv1.Stay, error) {
	if err := a.checkNode("to_group", request.GetToGroup()); err != nil {
		return nil, err
	}
	return changing(ctx, a, stays, request.GetName(), request.GetEtag(), func(tx *kitstore.Tx, s *shelterv1.Stay, now time.Time) (string, error) {
		if err := rules.CheckMovable(s, store.ShelterOf(request.GetToGroup()) == store.ShelterOf(s.GetGroup())); err != nil {
			return "", err
		}
		if s.GetGroup() == request.GetToGroup() {
			return "", nil
		}
		if err := a.expireDue(tx, now); err != nil {
			return "", err
		}
		_, row, err := a.group(tx, request.GetToGroup())
		if err != nil {
			return "", err
		}
		taken, err := count(tx, request.GetToGroup())
		if err != nil {
			return "", err
		}
		s.Group = request.GetToGroup()
		return "moved", rules.Room(row.Value, taken, s.GetQuantity())
	})
}

// StartAbsence notes that somebody is away for a time.
func (a *App) StartAbsence(ctx context.Context, request *shelterv1.StartAbsenceRequest) (*shelterv1.Stay, error) {
	if err := codes.CheckField("reason", codes.Absence, request.GetReason()); err != nil {
		return nil, err
	}
	return changing(ctx, a, stays, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, s *shelterv1.Stay, now time.Time) (string, error) {
		return "absent", rules.Leave(s, request.GetReason(), request.GetReturnTime(), now)
	})
}

// EndAbsence notes that somebody is back.
func (a *App) EndAbsence(ctx context.Context, request *shelterv1.EndAbsenceRequest) (*shelterv1.Stay, error) {
	return changing(ctx, a, stays, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, s *shelterv1.Stay, _ time.Time) (string, error) {
		return eventIf("returned", rules.Return, s)
	})
}

// DischargeStay ends a stay: the bed is free.
func (a *App) DischargeStay(ctx context.Context, request *shelterv1.DischargeStayRequest) (*shelterv1.Stay, error) {
	if err := codes.CheckField("reason", codes.Discharge, request.GetReason()); err != nil {
		return nil, err
	}
	return changing(ctx, a, stays, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, s *shelterv1.Stay, now time.Time) (string, error) {
		return eventIf("discharged", func(s *shelterv1.Stay) (bool, error) { return rules.Discharge(s, request.GetReason(), now) }, s)
	})
}

// eventIf names the event of a rule that changed something.
func eventIf[M any](event string, rule func(M) (bool, error), m M) (string, error) {
	changed, err := rule(m)
	if err != nil || !changed {
		return "", err
	}
	return event, nil
}
