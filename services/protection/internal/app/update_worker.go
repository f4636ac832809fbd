package app

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fieldmask"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// mostColleagues bounds how many workers of one unit a change of leave looks at.
const mostColleagues = 1000

// ownFields are what workers may change of themselves.
var ownFields = []string{"display_name", "phone", "email", "language", "quiet_hours", "leaves"}

// UpdateWorker changes a worker. Who is not a supervisor may change of themselves alone, how they are
// reached and when; by is who asks.
func (a *App) UpdateWorker(ctx context.Context, request *protectionv1.UpdateWorkerRequest, by string, supervisor bool) (changed *protectionv1.Worker, err error) {
	name := request.GetWorker().GetName()
	if err := a.named("worker", request.GetWorker() != nil, name, workerPattern, "nodes/*/workers/*"); err != nil {
		return nil, err
	}
	if !supervisor && !ownChange(request, by) {
		return nil, fault.New(fault.NotAllowed, "Workers change of themselves alone how they are reached and when they are away. Ask a supervisor for the rest, and name the fields in update_mask.")
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		row, err := store.Workers.Row(tx, a.Keys, kitstore.K(name))
		switch {
		case errors.Is(err, kitstore.ErrNotFound) || err == nil && row.Erased:
			return fault.NotFound("worker")
		case err != nil:
			return err
		}
		if err := compare(request.GetEtag(), row.Version); err != nil {
			return err
		}
		w := row.Value
		if err := fieldmask.Merge(w, request.GetWorker(), request.GetUpdateMask()); err != nil {
			return err
		}
		if err := a.checkWorker(tx, w); err != nil {
			return err
		}
		if err := store.Workers.Put(tx, a.Keys, row.Key, w); err != nil {
			return err
		}
		changed, err = a.showWorker(tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// ownChange says whether a request is one of a worker about themselves.
func ownChange(request *protectionv1.UpdateWorkerRequest, by string) bool {
	mask := request.GetUpdateMask()
	if mask == nil {
		mask = &fieldmaskpb.FieldMask{}
	}
	return request.GetWorker().GetName() == by && len(mask.GetPaths()) > 0 &&
		!slices.ContainsFunc(mask.GetPaths(), func(path string) bool { return !slices.Contains(ownFields, path) })
}

func (a *App) showWorker(tx *kitstore.Tx, name string) (*protectionv1.Worker, error) {
	row, err := store.Workers.Row(tx, a.Keys, kitstore.K(name))
	if err != nil {
		return nil, err
	}
	row.Value.Etag = etag(row.Version)
	return row.Value, nil
}

// checkWorker judges a worker as it would be stored.
func (a *App) checkWorker(r kitstore.Reader, w *protectionv1.Worker) error {
	if err := a.Rules.Check("worker", w); err != nil {
		return err
	}
	if err := codes.CheckFields("worker.roles", codes.Role, w.GetRoles()); err != nil {
		return err
	}
	there, err := store.Units.Has(r, kitstore.K(w.GetUnit()))
	if err != nil {
		return err
	}
	if !there {
		return fault.InvalidField("worker.unit", "must be a unit of this node; enter the unit first")
	}
	if w.GetSuspended() {
		ladder, err := getLadder(r)
		if err != nil {
			return err
		}
		if ladder.GetFocalPoint() == w.GetName() {
			return fault.InvalidField("worker.suspended", "must not be set for the focal point; name another one first")
		}
	}
	if len(w.GetLeaves()) == 0 {
		return nil
	}
	var colleagues []*protectionv1.Worker
	rows, next, err := store.WorkersByUnit.PagePublic(r, kitstore.Range{Prefix: kitstore.K(w.GetUnit())}, mostColleagues)
	if err != nil {
		return err
	}
	if next != nil {
		return fault.InvalidField("worker.leaves", "cannot be checked in a unit of more than 1000 workers; divide the unit")
	}
	for _, row := range rows {
		colleagues = append(colleagues, row.Value)
	}
	return rules.CheckLeaves(w, colleagues)
}
