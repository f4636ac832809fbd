package app

import (
	"context"
	"encoding/binary"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// ListAuditRows lists who read what, oldest first.
func (a *App) ListAuditRows(ctx context.Context, request *protectionv1.ListAuditRowsRequest) (*protectionv1.ListAuditRowsResponse, error) {
	key, err := a.page("audit_rows", request.GetParent(), request.GetPageToken())
	if err != nil {
		return nil, err
	}
	var after uint64
	if len(key) > 0 {
		if len(key) != 8 {
			return nil, fault.InvalidField("page_token", "is not one this list gave; start again without it")
		}
		after = binary.BigEndian.Uint64(key)
	}
	limit := paging.Size(request.GetPageSize(), usualPage)
	var rows []*privacyv1.AuditRow
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		rows, err = store.Audit.Page(r, after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	var next []byte
	if len(rows) == limit {
		next = binary.BigEndian.AppendUint64(nil, rows[limit-1].GetPosition())
	}
	token, err := a.Tokens.Make("audit_rows", nil, next)
	return &protectionv1.ListAuditRowsResponse{AuditRows: rows, NextPageToken: token}, err
}
