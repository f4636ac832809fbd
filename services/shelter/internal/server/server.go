// Package server answers the shelter service's RPCs: call the use case, nothing else. What a
// request must be is checked before (proto rules) and in the use case; errors are mapped by
// kit/rpc.
package server

import (
	"context"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/shelter/internal/app"
)

// Policy says who may call what. Beds are placed, promised and filled by the node's referral
// service for offers, and by shelter managers for local needs.
func Policy() rpc.Policy {
	managers := []string{codes.RoleShelterManager, codes.RoleSupervisor}
	readers := []string{codes.RoleShelterManager, codes.RoleSupervisor, codes.RoleCaseWorker}
	method := func(name string) string { return "/" + shelterv1.ShelterService_ServiceDesc.ServiceName + "/" + name }
	byService := []string{"referral"}
	byPerson := []string{"gateway"}
	return rpc.Policy{
		method("CreateShelter"): {Callers: byPerson, Roles: managers},
		method("GetShelter"):    {Callers: byPerson, Roles: readers},
		method("ListShelters"):  {Callers: byPerson, Roles: readers},
		method("PlaceHold"):     {Callers: byService},
		method("GetHold"):       {Callers: append(byService, "operator")},
		method("ConfirmHold"):   {Callers: byService},
		method("ReleaseHold"):   {Callers: byService},
		method("AdmitHold"):     {Callers: byService},
	}
}

// Server is a shelterv1.ShelterServiceServer.
type Server struct {
	shelterv1.UnsafeShelterServiceServer
	app *app.App
}

var _ shelterv1.ShelterServiceServer = (*Server)(nil)

// New serves the use cases of a.
func New(a *app.App) *Server { return &Server{app: a} }

// CreateShelter implements the RPC.
func (s *Server) CreateShelter(ctx context.Context, r *shelterv1.CreateShelterRequest) (*shelterv1.Shelter, error) {
	return s.app.CreateShelter(ctx, r)
}

// GetShelter implements the RPC.
func (s *Server) GetShelter(ctx context.Context, r *shelterv1.GetShelterRequest) (*shelterv1.Shelter, error) {
	return s.app.GetShelter(ctx, r.GetName())
}

// ListShelters implements the RPC.
func (s *Server) ListShelters(ctx context.Context, r *shelterv1.ListSheltersRequest) (*shelterv1.ListSheltersResponse, error) {
	return s.app.ListShelters(ctx, r)
}

// PlaceHold implements the RPC.
func (s *Server) PlaceHold(ctx context.Context, r *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
	return s.app.PlaceHold(ctx, r)
}

// GetHold implements the RPC.
func (s *Server) GetHold(ctx context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	return s.app.GetHold(ctx, r.GetName())
}

// ConfirmHold implements the RPC.
func (s *Server) ConfirmHold(ctx context.Context, r *shelterv1.ConfirmHoldRequest) (*shelterv1.Hold, error) {
	return s.app.ConfirmHold(ctx, r)
}

// ReleaseHold implements the RPC.
func (s *Server) ReleaseHold(ctx context.Context, r *shelterv1.ReleaseHoldRequest) (*shelterv1.Hold, error) {
	return s.app.ReleaseHold(ctx, r)
}

// AdmitHold implements the RPC.
func (s *Server) AdmitHold(ctx context.Context, r *shelterv1.AdmitHoldRequest) (*shelterv1.Stay, error) {
	return s.app.AdmitHold(ctx, r)
}
