package app

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// CreateWorker enters a worker of a unit.
func (a *App) CreateWorker(ctx context.Context, request *protectionv1.CreateWorkerRequest) (created *protectionv1.Worker, err error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	w := request.GetWorker()
	name := request.GetParent() + "/workers/" + request.GetWorkerId()
	entered := &protectionv1.Worker{
		Name: name, Unit: w.GetUnit(), DisplayName: w.GetDisplayName(), Phone: w.GetPhone(), Email: w.GetEmail(), Roles: w.GetRoles(),
		Language: w.GetLanguage(), QuietHours: w.GetQuietHours(), Leaves: w.GetLeaves(), Suspended: w.GetSuspended(),
		CreateTime: timestamppb.New(a.Now()),
	}
	// Judged before there is a key, so that of one that is refused nothing is left.
	if err := a.DB.View(ctx, func(r kitstore.Reader) error { return a.checkWorker(r, entered) }); err != nil {
		return nil, err
	}
	if err := a.Keys.Prepare(ctx, store.KeyName(name)); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		if err := a.checkWorker(tx, entered); err != nil {
			return err
		}
		err := store.Workers.Insert(tx, a.Keys, kitstore.K(name), entered)
		if errors.Is(err, kitstore.ErrExists) {
			return fault.InvalidField("worker_id", "is taken by another worker of this node; choose another")
		}
		if err != nil {
			return err
		}
		created, err = a.showWorker(tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// ListWorkers lists the node's workers without names and telephones.
func (a *App) ListWorkers(ctx context.Context, request *protectionv1.ListWorkersRequest) (*protectionv1.ListWorkersResponse, error) {
	after, err := a.page("workers", request.GetParent(), request.GetPageToken())
	if err != nil {
		return nil, err
	}
	response := &protectionv1.ListWorkersResponse{}
	var next kitstore.Key
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		var rows []privacy.Row[*protectionv1.Worker]
		rows, next, err = store.Workers.PagePublic(r, kitstore.Range{After: after}, paging.Size(request.GetPageSize(), usualPage))
		for _, row := range rows {
			row.Value.Etag = etag(row.Version)
			response.Workers = append(response.Workers, row.Value)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("workers", nil, next)
	return response, err
}
