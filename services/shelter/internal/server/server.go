// Package server answers the shelter service's RPCs: call the use case, nothing else. What a
// request must be is checked before (proto rules) and in the use case; errors are mapped by
// kit/rpc.
package server

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/shelter/internal/app"
)

// Policy says who may call what. Beds are placed, promised and filled by the node's referral
// service for offers, and by those who run shelters for local needs.
func Policy() rpc.Policy {
	managers := []string{codes.RoleShelterManager, codes.RoleSupervisor}
	readers := []string{codes.RoleShelterManager, codes.RoleSupervisor, codes.RoleCaseWorker}
	p := rpc.Policy{}
	row := func(row rpc.Row, names ...string) {
		for _, name := range names {
			p["/"+shelterv1.ShelterService_ServiceDesc.ServiceName+"/"+name] = row
		}
	}
	row(rpc.Row{Callers: []string{rpc.Gateway}, Roles: managers},
		"CreateShelter", "UpdateShelter", "CreateGroup", "UpdateGroup")
	row(rpc.Row{Callers: []string{rpc.Gateway}, Roles: readers},
		"FindPlaces", "WatchCapacity", "ListHolds", "ListWaitlistEntries", "CreateWaitlistEntry", "ReviewWaitlistEntry", "CloseWaitlistEntry")
	row(rpc.Row{Callers: []string{"referral"}, People: managers}, "PlaceHold", "ConfirmHold", "RenewHold", "ReleaseHold", "AdmitHold")
	// What people see is true whatever a restored store has lost, and none of it promises a bed.
	row(rpc.Row{Callers: []string{rpc.Gateway}, Roles: managers, Early: true},
		"SuspendShelter", "ReopenShelter", "DeclareFull", "WithdrawFull", "CreateOutage", "EndOutage", "CreateHeadcount", "ExplainHeadcount", "MoveStay", "StartAbsence", "EndAbsence", "DischargeStay")
	row(rpc.Row{Callers: []string{rpc.Gateway}, Roles: readers, Early: true},
		"GetShelter", "ListShelters", "ListOutages", "GetStay", "ListStays", "ListHeadcounts")
	row(rpc.Row{Callers: []string{"referral"}, People: managers, Early: true}, "AdmitWalkIn")
	row(rpc.Row{Callers: []string{"referral", "operator"}, People: managers}, "GetHold")
	for _, name := range []string{"BeginReconciliation", "ReconcileOffers"} {
		p["/"+shelterv1.ReconcileService_ServiceDesc.ServiceName+"/"+name] = rpc.Row{Callers: []string{"referral"}, Early: true}
	}
	p[shelterv1.AdvertService_ListAdverts_FullMethodName] = rpc.Row{Callers: []string{rpc.Gateway}, Roles: readers}
	return p
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
	return s.app.CreateShelter(ctx, r, rpc.Person(ctx).GetPerson())
}

// runs says that who acts runs shelters, and may see where a confidential one is.
func runs(ctx context.Context) bool {
	return slices.Contains(rpc.Person(ctx).GetRoles(), codes.RoleShelterManager)
}

// GetShelter implements the RPC.
func (s *Server) GetShelter(ctx context.Context, r *shelterv1.GetShelterRequest) (*shelterv1.Shelter, error) {
	return s.app.GetShelter(ctx, r.GetName(), runs(ctx))
}

// ListShelters implements the RPC.
func (s *Server) ListShelters(ctx context.Context, r *shelterv1.ListSheltersRequest) (*shelterv1.ListSheltersResponse, error) {
	return s.app.ListShelters(ctx, r)
}

// FindPlaces implements the RPC.
func (s *Server) FindPlaces(ctx context.Context, r *shelterv1.FindPlacesRequest) (*shelterv1.FindPlacesResponse, error) {
	return s.app.FindPlaces(ctx, r)
}

// PlaceHold implements the RPC.
func (s *Server) PlaceHold(ctx context.Context, r *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
	return s.app.PlaceHold(ctx, r)
}

// GetHold implements the RPC.
func (s *Server) GetHold(ctx context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	// An operator looks after machines, and need not know where people are.
	return s.app.GetHold(ctx, r.GetName(), rpc.Caller(ctx) != "operator")
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

// UpdateShelter implements the RPC.
func (s *Server) UpdateShelter(ctx context.Context, r *shelterv1.UpdateShelterRequest) (*shelterv1.Shelter, error) {
	return s.app.UpdateShelter(ctx, r, runs(ctx))
}

// SuspendShelter implements the RPC.
func (s *Server) SuspendShelter(ctx context.Context, r *shelterv1.SuspendShelterRequest) (*shelterv1.Shelter, error) {
	return s.app.SuspendShelter(ctx, r, runs(ctx))
}

// ReopenShelter implements the RPC.
func (s *Server) ReopenShelter(ctx context.Context, r *shelterv1.ReopenShelterRequest) (*shelterv1.Shelter, error) {
	return s.app.ReopenShelter(ctx, r, runs(ctx))
}

// DeclareFull implements the RPC.
func (s *Server) DeclareFull(ctx context.Context, r *shelterv1.DeclareFullRequest) (*shelterv1.Shelter, error) {
	return s.app.DeclareFull(ctx, r, runs(ctx))
}

// WithdrawFull implements the RPC.
func (s *Server) WithdrawFull(ctx context.Context, r *shelterv1.WithdrawFullRequest) (*shelterv1.Shelter, error) {
	return s.app.WithdrawFull(ctx, r, runs(ctx))
}

// CreateGroup implements the RPC.
func (s *Server) CreateGroup(ctx context.Context, r *shelterv1.CreateGroupRequest) (*shelterv1.Group, error) {
	return s.app.CreateGroup(ctx, r, rpc.Person(ctx).GetPerson())
}

// UpdateGroup implements the RPC.
func (s *Server) UpdateGroup(ctx context.Context, r *shelterv1.UpdateGroupRequest) (*shelterv1.Group, error) {
	return s.app.UpdateGroup(ctx, r, rpc.Person(ctx).GetPerson())
}

// CreateOutage implements the RPC.
func (s *Server) CreateOutage(ctx context.Context, r *shelterv1.CreateOutageRequest) (*shelterv1.Outage, error) {
	return s.app.CreateOutage(ctx, r)
}

// EndOutage implements the RPC.
func (s *Server) EndOutage(ctx context.Context, r *shelterv1.EndOutageRequest) (*shelterv1.Outage, error) {
	return s.app.EndOutage(ctx, r)
}

// ListOutages implements the RPC.
func (s *Server) ListOutages(ctx context.Context, r *shelterv1.ListOutagesRequest) (*shelterv1.ListOutagesResponse, error) {
	return s.app.ListOutages(ctx, r)
}

// ListHolds implements the RPC.
func (s *Server) ListHolds(ctx context.Context, r *shelterv1.ListHoldsRequest) (*shelterv1.ListHoldsResponse, error) {
	return s.app.ListHolds(ctx, r)
}

// RenewHold implements the RPC.
func (s *Server) RenewHold(ctx context.Context, r *shelterv1.RenewHoldRequest) (*shelterv1.Hold, error) {
	return s.app.RenewHold(ctx, r)
}

// AdmitWalkIn implements the RPC.
func (s *Server) AdmitWalkIn(ctx context.Context, r *shelterv1.AdmitWalkInRequest) (*shelterv1.Stay, error) {
	return s.app.AdmitWalkIn(ctx, r)
}

// GetStay implements the RPC.
func (s *Server) GetStay(ctx context.Context, r *shelterv1.GetStayRequest) (*shelterv1.Stay, error) {
	return s.app.GetStay(ctx, r.GetName())
}

// ListStays implements the RPC.
func (s *Server) ListStays(ctx context.Context, r *shelterv1.ListStaysRequest) (*shelterv1.ListStaysResponse, error) {
	return s.app.ListStays(ctx, r)
}

// MoveStay implements the RPC.
func (s *Server) MoveStay(ctx context.Context, r *shelterv1.MoveStayRequest) (*shelterv1.Stay, error) {
	return s.app.MoveStay(ctx, r)
}

// StartAbsence implements the RPC.
func (s *Server) StartAbsence(ctx context.Context, r *shelterv1.StartAbsenceRequest) (*shelterv1.Stay, error) {
	return s.app.StartAbsence(ctx, r)
}

// EndAbsence implements the RPC.
func (s *Server) EndAbsence(ctx context.Context, r *shelterv1.EndAbsenceRequest) (*shelterv1.Stay, error) {
	return s.app.EndAbsence(ctx, r)
}

// DischargeStay implements the RPC.
func (s *Server) DischargeStay(ctx context.Context, r *shelterv1.DischargeStayRequest) (*shelterv1.Stay, error) {
	return s.app.DischargeStay(ctx, r)
}

// CreateHeadcount implements the RPC.
func (s *Server) CreateHeadcount(ctx context.Context, r *shelterv1.CreateHeadcountRequest) (*shelterv1.Headcount, error) {
	return s.app.CreateHeadcount(ctx, r)
}

// ExplainHeadcount implements the RPC.
func (s *Server) ExplainHeadcount(ctx context.Context, r *shelterv1.ExplainHeadcountRequest) (*shelterv1.Headcount, error) {
	return s.app.ExplainHeadcount(ctx, r)
}

// ListHeadcounts implements the RPC.
func (s *Server) ListHeadcounts(ctx context.Context, r *shelterv1.ListHeadcountsRequest) (*shelterv1.ListHeadcountsResponse, error) {
	return s.app.ListHeadcounts(ctx, r)
}

// CreateWaitlistEntry implements the RPC.
func (s *Server) CreateWaitlistEntry(ctx context.Context, r *shelterv1.CreateWaitlistEntryRequest) (*shelterv1.WaitlistEntry, error) {
	return s.app.CreateWaitlistEntry(ctx, r)
}

// ReviewWaitlistEntry implements the RPC.
func (s *Server) ReviewWaitlistEntry(ctx context.Context, r *shelterv1.ReviewWaitlistEntryRequest) (*shelterv1.WaitlistEntry, error) {
	return s.app.ReviewWaitlistEntry(ctx, r)
}

// CloseWaitlistEntry implements the RPC.
func (s *Server) CloseWaitlistEntry(ctx context.Context, r *shelterv1.CloseWaitlistEntryRequest) (*shelterv1.WaitlistEntry, error) {
	return s.app.CloseWaitlistEntry(ctx, r)
}

// ListWaitlistEntries implements the RPC.
func (s *Server) ListWaitlistEntries(ctx context.Context, r *shelterv1.ListWaitlistEntriesRequest) (*shelterv1.ListWaitlistEntriesResponse, error) {
	return s.app.ListWaitlistEntries(ctx, r)
}

// WatchCapacity implements the RPC.
func (s *Server) WatchCapacity(r *shelterv1.WatchCapacityRequest, stream grpc.ServerStreamingServer[shelterv1.CapacityChange]) error {
	return s.app.WatchCapacity(stream.Context(), r, stream.Send)
}
