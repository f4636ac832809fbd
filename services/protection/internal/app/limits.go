package app

import (
	"context"
	"encoding/binary"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	"amanat.example/services/protection/internal/rules"
)

// ListLimits lists which time limits hold at this node, and why.
func (a *App) ListLimits(_ context.Context, request *protectionv1.ListLimitsRequest) (*protectionv1.ListLimitsResponse, error) {
	after, err := a.page("limits", request.GetParent(), request.GetPageToken())
	if err != nil {
		return nil, err
	}
	own, _ := a.Roster.Node(a.Node)
	all, begin := rules.Limits(a.Limits, own.GetProvince()), uint64(0)
	if len(after) > 0 {
		if len(after) != 8 {
			return nil, fault.InvalidField("page_token", "is not one this list gave; start again without it")
		}
		begin = binary.BigEndian.Uint64(after)
	}
	all = all[min(begin, uint64(len(all))):]
	size := paging.Size(request.GetPageSize(), usualPage)
	response := &protectionv1.ListLimitsResponse{Limits: all[:min(size, len(all))]}
	var next []byte
	if len(all) > size {
		next = binary.BigEndian.AppendUint64(nil, begin+uint64(size))
	}
	response.NextPageToken, err = a.Tokens.Make("limits", nil, next)
	return response, err
}
