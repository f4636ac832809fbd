// Package server answers the federal service's RPCs: call the use case, nothing else.
package server

import (
	"context"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/rpc"
)

// Policy says who may call what: exact counts are for the cell's own eyes, what is published, and how links stand, for everybody's, so the
// gateway may show it to who is not signed in.
func Policy() rpc.Policy {
	everybody := rpc.Row{Callers: []string{"gateway", "operator"}}
	analysts := rpc.Row{Callers: []string{"gateway", "operator"}, Roles: []string{codes.RoleFederalAnalyst, codes.RoleOperator}}
	cell := rpc.Row{Callers: []string{"operator"}, People: analysts.Roles} // its operator reads them too, who sees how the network stands
	return rpc.Policy{
		federalv1.FederalService_ListCorridors_FullMethodName:   analysts,
		federalv1.FederalService_ListLateReports_FullMethodName: analysts,
		federalv1.FiguresService_GetFigures_FullMethodName:      cell,
		federalv1.FiguresService_ListDays_FullMethodName:        cell,
		federalv1.FiguresService_ListLinks_FullMethodName:       everybody,

		federalv1.PublicationService_ListPublications_FullMethodName:   everybody,
		federalv1.PublicationService_GetPublication_FullMethodName:     everybody,
		federalv1.PublicationService_ExportPublication_FullMethodName:  everybody,
		federalv1.PublicationService_RevisePublications_FullMethodName: {Callers: []string{"gateway", "operator"}, Roles: []string{codes.RoleFederalAnalyst}},
		federalv1.PublicationService_ResumePublications_FullMethodName: {Callers: []string{"gateway", "operator"}, Roles: []string{codes.RoleFederalAnalyst}},
	}
}

// Server is a federalv1.FederalServiceServer.
type Server struct {
	federalv1.UnsafeFederalServiceServer
	app *app.App
}

var _ federalv1.FederalServiceServer = (*Server)(nil)

// New serves the use cases of a.
func New(a *app.App) *Server { return &Server{app: a} }

// ListCorridors implements the RPC.
func (s *Server) ListCorridors(ctx context.Context, r *federalv1.ListCorridorsRequest) (*federalv1.ListCorridorsResponse, error) {
	return s.app.ListCorridors(ctx, r)
}

// ListLateReports implements the RPC.
func (s *Server) ListLateReports(ctx context.Context, r *federalv1.ListLateReportsRequest) (*federalv1.ListLateReportsResponse, error) {
	return s.app.ListLateReports(ctx, r)
}
