package app

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fieldmask"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// changeShelter is the frame of what changes a shelter: find it, compare the etag, let decide change it, and store it
// unless nothing changed. kind names the event; runs says that the caller runs shelters, and may see where a confidential one is.
func (a *App) changeShelter(ctx context.Context, name, etag, kind string, runs bool, decide func(tx *kitstore.Tx, s *shelterv1.Shelter, now time.Time) (changed bool, err error)) (shown *shelterv1.Shelter, err error) {
	if err := a.checkNode("name", name); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		now := a.Now()
		row, err := store.Shelters.Row(tx, a.Keys, kitstore.K(name))
		if err != nil {
			return found(err, "shelter")
		}
		if err := compare(etag, row.Version); err != nil {
			return err
		}
		s := row.Value
		changed, err := decide(tx, s, now)
		if err != nil {
			return err
		}
		if changed {
			s.UpdateTime, s.Etag, s.Groups = timestamppb.New(now), "", nil
			if err := store.Shelters.Put(tx, a.Keys, kitstore.K(name), s); err != nil {
				return err
			}
			said := &shelterv1.ShelterChanged{Shelter: name}
			if kind == "suspended" {
				said.Reason = s.GetSuspensionReason()
			}
			if err := a.Events.Append(tx, "shelter.shelter."+kind+".v1", name, now, said); err != nil {
				return err
			}
			tx.AfterCommit(a.Wake)
		}
		shown, err = a.show(tx, name, runs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

// UpdateShelter changes what the directory says of a shelter.
func (a *App) UpdateShelter(ctx context.Context, request *shelterv1.UpdateShelterRequest, runs bool) (*shelterv1.Shelter, error) {
	if err := named("shelter", request.GetShelter() != nil, request.GetShelter().GetName(), shelterPattern, "nodes/*/shelters/*"); err != nil {
		return nil, err
	}
	if len(request.GetShelter().GetGroups()) > 0 {
		return nil, fault.InvalidField("shelter.groups", "are changed one by one, with UpdateGroup")
	}
	return a.changeShelter(ctx, request.GetShelter().GetName(), request.GetEtag(), "updated", runs, func(_ *kitstore.Tx, s *shelterv1.Shelter, _ time.Time) (bool, error) {
		if err := fieldmask.Merge(s, request.GetShelter(), request.GetUpdateMask(), "groups"); err != nil {
			return false, err
		}
		if err := a.Rules.Check("shelter", s, "groups"); err != nil {
			return false, err
		}
		return true, checkShelter(s)
	})
}

// SuspendShelter takes a shelter out of use; every live hold ends in the same transaction, each with its event, so each holder
// hears of it once. Stays go on. Before a restored store is compared, the holds of offers are left: they may be stays by now. What is left of them ends with
// the comparison.
func (a *App) SuspendShelter(ctx context.Context, request *shelterv1.SuspendShelterRequest, runs bool) (*shelterv1.Shelter, error) {
	if err := codes.CheckField("reason", codes.Suspension, request.GetReason()); err != nil {
		return nil, err
	}
	return a.changeShelter(ctx, request.GetName(), request.GetEtag(), "suspended", runs, func(tx *kitstore.Tx, s *shelterv1.Shelter, now time.Time) (bool, error) {
		if s.GetState() == shelterv1.Shelter_STATE_SUSPENDED && s.GetSuspensionReason() != request.GetReason() {
			return false, fault.New(fault.WrongState, "The shelter is suspended for another reason. Reopen it first.", "state", "SUSPENDED")
		}
		if compared, err := a.compared(tx); err != nil {
			return false, err
		} else if !compared { // also where the copy says the same: it may have been reopened since
			if err := store.NoteSuspended(tx, a.DB.Incarnation(), s.GetName()); err != nil {
				return false, err
			}
		}
		if s.GetState() == shelterv1.Shelter_STATE_SUSPENDED {
			return false, nil
		}
		s.State, s.SuspensionReason = shelterv1.Shelter_STATE_SUSPENDED, request.GetReason()
		return true, a.endHolds(tx, s.GetName(), now)
	})
}

// endHolds releases every live hold of a shelter; of a store that is not compared yet, those that serve no offer.
func (a *App) endHolds(tx *kitstore.Tx, shelter string, now time.Time) error {
	if err := a.expireDue(tx, now); err != nil {
		return err
	}
	compared, err := a.compared(tx)
	if err != nil {
		return err
	}
	var live []*shelterv1.HoldRecord
	err = store.LiveHolds.Scan(tx, kitstore.Range{Prefix: kitstore.K(shelter)}, func(_ kitstore.Key, r *shelterv1.HoldRecord) error {
		if compared || r.GetHold().GetOffer() == "" {
			live = append(live, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range live {
		if err := rules.Release(r.GetHold(), rules.BySuspended, now); err != nil {
			return err
		}
		if _, err := a.put(tx, r, now); err != nil {
			return err
		}
	}
	return nil
}

// ReopenShelter takes a suspended shelter back into use.
func (a *App) ReopenShelter(ctx context.Context, request *shelterv1.ReopenShelterRequest, runs bool) (*shelterv1.Shelter, error) {
	return a.changeShelter(ctx, request.GetName(), request.GetEtag(), "reopened", runs, func(_ *kitstore.Tx, s *shelterv1.Shelter, _ time.Time) (bool, error) {
		if s.GetState() != shelterv1.Shelter_STATE_SUSPENDED {
			return false, nil
		}
		s.State, s.SuspensionReason = shelterv1.Shelter_STATE_ACTIVE, ""
		return true, nil
	})
}

// DeclareFull says that nothing is free in a shelter, whatever the rows say.
func (a *App) DeclareFull(ctx context.Context, request *shelterv1.DeclareFullRequest, runs bool) (*shelterv1.Shelter, error) {
	return a.changeShelter(ctx, request.GetName(), request.GetEtag(), "declared-full", runs, func(tx *kitstore.Tx, s *shelterv1.Shelter, now time.Time) (bool, error) {
		until, err := rules.FullUntil(request.GetUntilTime(), now)
		if err != nil {
			return false, err
		}
		s.FullUntilTime = timestamppb.New(until)
		return true, vouch(tx, s.GetName(), now)
	})
}

// WithdrawFull takes that back.
func (a *App) WithdrawFull(ctx context.Context, request *shelterv1.WithdrawFullRequest, runs bool) (*shelterv1.Shelter, error) {
	return a.changeShelter(ctx, request.GetName(), request.GetEtag(), "withdrawn-full", runs, func(tx *kitstore.Tx, s *shelterv1.Shelter, now time.Time) (bool, error) {
		if s.GetFullUntilTime() == nil {
			return false, nil
		}
		s.FullUntilTime = nil
		return true, vouch(tx, s.GetName(), now)
	})
}

// vouch notes that a person has just spoken for the numbers of a shelter's groups.
func vouch(tx *kitstore.Tx, shelter string, now time.Time) error {
	return store.Groups.Scan(tx, kitstore.Range{Prefix: kitstore.K(shelter)}, func(key kitstore.Key, g *shelterv1.Group) error {
		g.VouchTime = timestamppb.New(now)
		return store.Groups.Put(tx, key, g)
	})
}
