package app

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// ListNotices lists notices, newest first.
func (a *App) ListNotices(ctx context.Context, request *protectionv1.ListNoticesRequest) (*protectionv1.ListNoticesResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	f := request.GetFilter()
	after, err := a.Tokens.Read("notices", f, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	index, rows := store.NoticesByTime, kitstore.Range{Reverse: true, After: after}
	if f.GetWorker() != "" {
		index, rows.Prefix = store.NoticesByWorker, kitstore.K(f.GetWorker())
	}
	response := &protectionv1.ListNoticesResponse{}
	next, err := sweepPages(ctx, a.DB, index, rows, paging.Size(request.GetPageSize(), usualPage), func(row kitstore.Row[*protectionv1.Notice]) bool {
		n := row.Value
		if f.GetUnit() != "" && f.GetUnit() != n.GetUnit() || f.GetOpen() && n.GetAcknowledgeTime() != nil {
			return false
		}
		n.Etag = etag(row.Version)
		response.Notices = append(response.Notices, n)
		return true
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("notices", f, next)
	return response, err
}

// AcknowledgeNotice notes that somebody took notice. Who is told may; any may who is above. Taking notice
// again is a no-op.
func (a *App) AcknowledgeNotice(ctx context.Context, request *protectionv1.AcknowledgeNoticeRequest, by string, above bool) (shown *protectionv1.Notice, err error) {
	if err := a.checkNode("name", request.GetName()); err != nil {
		return nil, err
	}
	key := kitstore.K(request.GetName())
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		row, err := store.Notices.Row(tx, key)
		if errors.Is(err, kitstore.ErrNotFound) {
			return fault.NotFound("notice")
		}
		if err != nil {
			return err
		}
		n := row.Value
		if !above && n.GetWorker() != by {
			return fault.New(fault.NotAllowed, "This notice is for somebody else. Ask a supervisor to take it.")
		}
		switch {
		case n.GetAcknowledgeTime() != nil:
		case request.GetEtag() != etag(row.Version):
			return fault.StaleEtag()
		default:
			if err := a.acknowledge(tx, key, n, by); err != nil {
				return err
			}
		}
		if row, err = store.Notices.Row(tx, key); err != nil {
			return err
		}
		shown = row.Value
		shown.Etag = etag(row.Version)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

func (a *App) acknowledge(tx *kitstore.Tx, key kitstore.Key, n *protectionv1.Notice, by string) error {
	now := a.Now()
	n.AcknowledgeTime, n.AcknowledgedBy = timestamppb.New(now), by
	if n.GetState() == protectionv1.Notice_STATE_WAITING {
		n.State = protectionv1.Notice_STATE_LISTED // it was read in the list: no message is needed any more
	}
	if err := store.Notices.Put(tx, key, n); err != nil {
		return err
	}
	missed := store.MissedKey(n.GetKind(), n.GetSubject(), n.GetStep(), n.GetDueTime().AsTime())
	record, err := store.Missed.Get(tx, missed)
	if err != nil {
		return err
	}
	rules.Acknowledge(record, n.GetLevel(), now)
	return store.Missed.Put(tx, missed, record)
}
