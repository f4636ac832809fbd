// Package server answers the protection service's RPCs: call the use case, nothing else. What a
// request must be is checked before (proto rules) and in the use case; errors are mapped by
// kit/rpc.
package server

import (
	"context"

	"google.golang.org/grpc"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/protection/internal/app"
)

// Policy says who may call what: people through the gateway, and nobody else, since all of it
// is about persons.
func Policy() rpc.Policy {
	workers := rpc.Row{Callers: []string{"gateway"}, Roles: []string{codes.RoleCaseWorker, codes.RoleSupervisor}}
	told := rpc.Row{Callers: []string{"gateway"}, Roles: []string{codes.RoleSupervisor, codes.RoleCaseWorker, codes.RoleFocalPoint}}
	ladder := rpc.Row{Callers: []string{"gateway"}, Roles: []string{codes.RoleFocalPoint, codes.RoleOperator}}
	supervisors := rpc.Row{Callers: []string{"gateway"}, Roles: []string{codes.RoleSupervisor}}
	return rpc.Policy{
		protectionv1.ProtectionService_CreateUnit_FullMethodName:   supervisors,
		protectionv1.ProtectionService_GetUnit_FullMethodName:      workers,
		protectionv1.ProtectionService_ListUnits_FullMethodName:    workers,
		protectionv1.ProtectionService_UpdateUnit_FullMethodName:   supervisors,
		protectionv1.ProtectionService_CreateWorker_FullMethodName: supervisors,
		// A supervisor may change any worker, a worker what is their own.
		protectionv1.ProtectionService_UpdateWorker_FullMethodName: {
			Callers: []string{"gateway"}, Roles: []string{codes.RoleSupervisor, codes.RoleCaseWorker, codes.RoleFocalPoint},
		},
		protectionv1.ProtectionService_ListWorkers_FullMethodName:       workers,
		protectionv1.ProtectionService_CreateCase_FullMethodName:        workers,
		protectionv1.ProtectionService_GetCase_FullMethodName:           workers,
		protectionv1.ProtectionService_ListCases_FullMethodName:         workers,
		protectionv1.ProtectionService_WatchCases_FullMethodName:        workers,
		protectionv1.ProtectionService_RecordConsent_FullMethodName:     workers,
		protectionv1.ProtectionService_ReferCase_FullMethodName:         workers,
		protectionv1.ProtectionService_RecordOutcome_FullMethodName:     workers,
		protectionv1.ProtectionService_GetLadder_FullMethodName:         told,
		protectionv1.ProtectionService_UpdateLadder_FullMethodName:      ladder,
		protectionv1.ProtectionService_ListLimits_FullMethodName:        told,
		protectionv1.ProtectionService_ListCaseDeadlines_FullMethodName: told,
		protectionv1.ProtectionService_MeetDeadline_FullMethodName:      workers,
		protectionv1.ProtectionService_RecordLegalEvent_FullMethodName:  workers,
		protectionv1.ProtectionService_ListNotices_FullMethodName:       told,
		protectionv1.ProtectionService_AcknowledgeNotice_FullMethodName: told,
		protectionv1.ProtectionService_ListAuditRows_FullMethodName:     supervisors,
	}
}

// Server is a protectionv1.ProtectionServiceServer.
type Server struct {
	protectionv1.UnsafeProtectionServiceServer
	app *app.App
}

var _ protectionv1.ProtectionServiceServer = (*Server)(nil)

// New serves the use cases of a.
func New(a *app.App) *Server { return &Server{app: a} }

// actor is the person of the call, acting through this service.
func actor(ctx context.Context) *custodyv1.Actor {
	person := rpc.Person(ctx)
	return &custodyv1.Actor{Person: person.GetPerson(), Unit: person.GetUnit(), Service: "protection"}
}

// CreateUnit implements the RPC.
func (s *Server) CreateUnit(ctx context.Context, r *protectionv1.CreateUnitRequest) (*protectionv1.Unit, error) {
	return s.app.CreateUnit(ctx, r)
}

// GetUnit implements the RPC.
func (s *Server) GetUnit(ctx context.Context, r *protectionv1.GetUnitRequest) (*protectionv1.Unit, error) {
	return s.app.GetUnit(ctx, r.GetName())
}

// ListUnits implements the RPC.
func (s *Server) ListUnits(ctx context.Context, r *protectionv1.ListUnitsRequest) (*protectionv1.ListUnitsResponse, error) {
	return s.app.ListUnits(ctx, r)
}

// CreateWorker implements the RPC.
func (s *Server) CreateWorker(ctx context.Context, r *protectionv1.CreateWorkerRequest) (*protectionv1.Worker, error) {
	return s.app.CreateWorker(ctx, r)
}

// ListWorkers implements the RPC.
func (s *Server) ListWorkers(ctx context.Context, r *protectionv1.ListWorkersRequest) (*protectionv1.ListWorkersResponse, error) {
	return s.app.ListWorkers(ctx, r)
}

// CreateCase implements the RPC.
func (s *Server) CreateCase(ctx context.Context, r *protectionv1.CreateCaseRequest) (*protectionv1.Case, error) {
	return s.app.CreateCase(ctx, r)
}

// GetCase implements the RPC.
func (s *Server) GetCase(ctx context.Context, r *protectionv1.GetCaseRequest) (*protectionv1.Case, error) {
	return s.app.GetCase(ctx, r.GetName())
}

// ListCases implements the RPC.
func (s *Server) ListCases(ctx context.Context, r *protectionv1.ListCasesRequest) (*protectionv1.ListCasesResponse, error) {
	return s.app.ListCases(ctx, r)
}

// WatchCases implements the RPC.
func (s *Server) WatchCases(r *protectionv1.WatchCasesRequest, stream grpc.ServerStreamingServer[protectionv1.CaseNews]) error {
	return s.app.WatchCases(stream.Context(), r, stream.Send)
}

// RecordConsent implements the RPC.
func (s *Server) RecordConsent(ctx context.Context, r *protectionv1.RecordConsentRequest) (*protectionv1.Case, error) {
	return s.app.RecordConsent(ctx, r, actor(ctx))
}

// ReferCase implements the RPC.
func (s *Server) ReferCase(ctx context.Context, r *protectionv1.ReferCaseRequest) (*protectionv1.Case, error) {
	return s.app.ReferCase(ctx, r, actor(ctx))
}

// RecordOutcome implements the RPC.
func (s *Server) RecordOutcome(ctx context.Context, r *protectionv1.RecordOutcomeRequest) (*protectionv1.Case, error) {
	return s.app.RecordOutcome(ctx, r, actor(ctx))
}

// ListAuditRows implements the RPC.
func (s *Server) ListAuditRows(ctx context.Context, r *protectionv1.ListAuditRowsRequest) (*protectionv1.ListAuditRowsResponse, error) {
	return s.app.ListAuditRows(ctx, r)
}
