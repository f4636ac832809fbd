package server

import (
	"context"
	"slices"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/rpc"
)

// has says whether the person of the call has one of some roles.
func has(ctx context.Context, roles ...string) bool {
	return slices.ContainsFunc(rpc.Person(ctx).GetRoles(), func(role string) bool { return slices.Contains(roles, role) })
}

// UpdateUnit implements the RPC.
func (s *Server) UpdateUnit(ctx context.Context, r *protectionv1.UpdateUnitRequest) (*protectionv1.Unit, error) {
	return s.app.UpdateUnit(ctx, r)
}

// UpdateWorker implements the RPC.
func (s *Server) UpdateWorker(ctx context.Context, r *protectionv1.UpdateWorkerRequest) (*protectionv1.Worker, error) {
	return s.app.UpdateWorker(ctx, r, rpc.Person(ctx).GetPerson(), has(ctx, codes.RoleSupervisor))
}

// GetLadder implements the RPC.
func (s *Server) GetLadder(ctx context.Context, r *protectionv1.GetLadderRequest) (*protectionv1.Ladder, error) {
	return s.app.GetLadder(ctx, r.GetName())
}

// UpdateLadder implements the RPC.
func (s *Server) UpdateLadder(ctx context.Context, r *protectionv1.UpdateLadderRequest) (*protectionv1.Ladder, error) {
	return s.app.UpdateLadder(ctx, r)
}

// ListLimits implements the RPC.
func (s *Server) ListLimits(ctx context.Context, r *protectionv1.ListLimitsRequest) (*protectionv1.ListLimitsResponse, error) {
	return s.app.ListLimits(ctx, r)
}

// ListCaseDeadlines implements the RPC.
func (s *Server) ListCaseDeadlines(ctx context.Context, r *protectionv1.ListCaseDeadlinesRequest) (*protectionv1.ListCaseDeadlinesResponse, error) {
	return s.app.ListCaseDeadlines(ctx, r)
}

// MeetDeadline implements the RPC.
func (s *Server) MeetDeadline(ctx context.Context, r *protectionv1.MeetDeadlineRequest) (*protectionv1.CaseDeadline, error) {
	return s.app.MeetDeadline(ctx, r)
}

// RecordLegalEvent implements the RPC.
func (s *Server) RecordLegalEvent(ctx context.Context, r *protectionv1.RecordLegalEventRequest) (*protectionv1.RecordLegalEventResponse, error) {
	return s.app.RecordLegalEvent(ctx, r)
}

// ListNotices implements the RPC.
func (s *Server) ListNotices(ctx context.Context, r *protectionv1.ListNoticesRequest) (*protectionv1.ListNoticesResponse, error) {
	return s.app.ListNotices(ctx, r)
}

// AcknowledgeNotice implements the RPC.
func (s *Server) AcknowledgeNotice(ctx context.Context, r *protectionv1.AcknowledgeNoticeRequest) (*protectionv1.Notice, error) {
	return s.app.AcknowledgeNotice(ctx, r, rpc.Person(ctx).GetPerson(), has(ctx, codes.RoleSupervisor, codes.RoleFocalPoint))
}
