// Package server answers the referral service's RPCs: call the use case, nothing else. What a
// request must be is checked before (proto rules) and in the use case; errors are mapped by
// kit/rpc.
package server

import (
	"context"

	"google.golang.org/grpc"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/referral/internal/app"
)

// Policy says who may call what. Referrals begin and end from the node's protection service,
// which holds case and consent; all other steps are taken by people through the gateway.
func Policy() rpc.Policy {
	workers := []string{codes.RoleCaseWorker, codes.RoleSupervisor}
	receivers := []string{codes.RoleCaseWorker, codes.RoleSupervisor, codes.RoleShelterManager}
	readers := []string{codes.RoleCaseWorker, codes.RoleSupervisor, codes.RoleShelterManager, codes.RoleFocalPoint}
	method := func(name string) string {
		return "/" + referralv1.ReferralService_ServiceDesc.ServiceName + "/" + name
	}
	byService, byPerson := []string{"protection"}, []string{"gateway"}
	return rpc.Policy{
		method("SubmitReferral"):   {Callers: byService},
		method("SubmitReferrals"):  {Callers: byService},
		method("CompleteReferral"): {Callers: byService},
		method("CompareReferrals"): {Callers: byService},

		method("ReportDossierClosed"): {Callers: byService},
		method("ReportConsentEnded"):  {Callers: byService},

		method("GetReferral"):      {Callers: byPerson, Roles: readers},
		method("ListReferrals"):    {Callers: byPerson, Roles: readers},
		method("WatchReferrals"):   {Callers: byPerson, Roles: readers},
		method("GetCustodyChain"):  {Callers: byPerson, Roles: readers},
		method("VerifyReferral"):   {Callers: byPerson, Roles: readers},
		method("ExportHandover"):   {Callers: byPerson, Roles: workers},
		method("ImportHandover"):   {Callers: byPerson, Roles: receivers},
		method("GetOffer"):         {Callers: byPerson, Roles: readers},
		method("ListOffers"):       {Callers: byPerson, Roles: readers},
		method("ListDeadlines"):    {Callers: byPerson, Roles: readers},
		method("GetAnnex"):         {Callers: byPerson, Roles: receivers},
		method("GetRecovery"):      {Callers: byPerson, Roles: readers},
		method("ExcusePeer"):       {Callers: byPerson, Roles: []string{codes.RoleSupervisor, codes.RoleFocalPoint}},
		method("AcceptOffer"):      {Callers: byPerson, Roles: receivers},
		method("DeclineOffer"):     {Callers: byPerson, Roles: receivers},
		method("OfferReferral"):    {Callers: byPerson, Roles: workers},
		method("ConfirmOffer"):     {Callers: byPerson, Roles: workers},
		method("DispatchReferral"): {Callers: byPerson, Roles: workers},
		method("RecordArrival"):    {Callers: byPerson, Roles: receivers},
		method("StartService"):     {Callers: byPerson, Roles: workers},
		method("WithdrawOffer"):    {Callers: byPerson, Roles: workers},
		method("AnswerQuestion"):   {Callers: byPerson, Roles: workers},
		method("GrantRelease"):     {Callers: byPerson, Roles: workers},
		method("RefuseRelease"):    {Callers: byPerson, Roles: workers},
		method("CancelReferral"):   {Callers: byPerson, Roles: workers},
		method("CheckIn"):          {Callers: byPerson, Roles: receivers},
		method("RecordNoShow"):     {Callers: byPerson, Roles: receivers},
		method("RequestReturn"):    {Callers: byPerson, Roles: workers},
		method("RecordReturn"):     {Callers: byPerson, Roles: workers},
		method("CorrectReferral"):  {Callers: byPerson, Roles: workers},
		method("EndConsent"):       {Callers: byPerson, Roles: workers},

		method("RecordExternalAnswer"): {Callers: byPerson, Roles: workers},

		method("AskQuestion"):        {Callers: byPerson, Roles: receivers},
		method("WaitlistOffer"):      {Callers: byPerson, Roles: receivers},
		method("WithdrawAcceptance"): {Callers: byPerson, Roles: receivers},
		method("RequestRelease"):     {Callers: byPerson, Roles: receivers},
		method("ProposeSchedule"):    {Callers: byPerson, Roles: receivers},
		method("GiveService"):        {Callers: byPerson, Roles: receivers},
		method("ReportOutcome"):      {Callers: byPerson, Roles: receivers},
		method("AssertArrival"):      {Callers: byPerson, Roles: receivers},
		method("ReportSafety"):       {Callers: byPerson, Roles: receivers},
		method("RequestCorrection"):  {Callers: byPerson, Roles: receivers},
		method("WithdrawConsent"):    {Callers: byPerson, Roles: receivers},
	}
}

// Server is a referralv1.ReferralServiceServer.
type Server struct {
	referralv1.UnsafeReferralServiceServer
	app *app.App
}

var _ referralv1.ReferralServiceServer = (*Server)(nil)

// New serves the use cases of a.
func New(a *app.App) *Server { return &Server{app: a} }

// actor is the person of the call, acting through this service.
func actor(ctx context.Context) *custodyv1.Actor {
	person := rpc.Person(ctx)
	return &custodyv1.Actor{Person: person.GetPerson(), Unit: person.GetUnit(), Service: "referral"}
}

// SubmitReferral implements the RPC.
func (s *Server) SubmitReferral(ctx context.Context, r *referralv1.SubmitReferralRequest) (*referralv1.Referral, error) {
	return s.app.SubmitReferral(ctx, r)
}

// GetReferral implements the RPC.
func (s *Server) GetReferral(ctx context.Context, r *referralv1.GetReferralRequest) (*referralv1.Referral, error) {
	return s.app.GetReferral(ctx, r.GetName())
}

// ListReferrals implements the RPC.
func (s *Server) ListReferrals(ctx context.Context, r *referralv1.ListReferralsRequest) (*referralv1.ListReferralsResponse, error) {
	return s.app.ListReferrals(ctx, r)
}

// WatchReferrals implements the RPC.
func (s *Server) WatchReferrals(r *referralv1.WatchReferralsRequest, stream grpc.ServerStreamingServer[referralv1.ReferralNews]) error {
	return s.app.WatchReferrals(stream.Context(), r, stream.Send)
}

// GetCustodyChain implements the RPC.
func (s *Server) GetCustodyChain(ctx context.Context, r *referralv1.GetCustodyChainRequest) (*custodyv1.Chain, error) {
	return s.app.GetCustodyChain(ctx, r.GetName())
}

// VerifyReferral implements the RPC.
func (s *Server) VerifyReferral(ctx context.Context, r *referralv1.VerifyReferralRequest) (*referralv1.VerifyReferralResponse, error) {
	return s.app.VerifyReferral(ctx, r.GetName())
}

// ExportHandover implements the RPC.
func (s *Server) ExportHandover(ctx context.Context, r *referralv1.ExportHandoverRequest) (*referralv1.ExportHandoverResponse, error) {
	file, err := s.app.ExportHandover(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	return &referralv1.ExportHandoverResponse{File: file}, nil
}

// ImportHandover implements the RPC.
func (s *Server) ImportHandover(ctx context.Context, r *referralv1.ImportHandoverRequest) (*referralv1.Referral, error) {
	return s.app.ImportHandover(ctx, r)
}

// GetOffer implements the RPC.
func (s *Server) GetOffer(ctx context.Context, r *referralv1.GetOfferRequest) (*referralv1.Offer, error) {
	return s.app.GetOffer(ctx, r.GetName())
}

// ListOffers implements the RPC.
func (s *Server) ListOffers(ctx context.Context, r *referralv1.ListOffersRequest) (*referralv1.ListOffersResponse, error) {
	return s.app.ListOffers(ctx, r)
}

// AcceptOffer implements the RPC.
func (s *Server) AcceptOffer(ctx context.Context, r *referralv1.AcceptOfferRequest) (*referralv1.Offer, error) {
	return s.app.AcceptOffer(ctx, r, actor(ctx))
}

// DeclineOffer implements the RPC.
func (s *Server) DeclineOffer(ctx context.Context, r *referralv1.DeclineOfferRequest) (*referralv1.Offer, error) {
	return s.app.DeclineOffer(ctx, r, actor(ctx))
}

// OfferReferral implements the RPC.
func (s *Server) OfferReferral(ctx context.Context, r *referralv1.OfferReferralRequest) (*referralv1.Referral, error) {
	return s.app.OfferReferral(ctx, r, actor(ctx))
}

// ConfirmOffer implements the RPC.
func (s *Server) ConfirmOffer(ctx context.Context, r *referralv1.ConfirmOfferRequest) (*referralv1.Referral, error) {
	return s.app.ConfirmOffer(ctx, r, actor(ctx))
}

// DispatchReferral implements the RPC.
func (s *Server) DispatchReferral(ctx context.Context, r *referralv1.DispatchReferralRequest) (*referralv1.Referral, error) {
	return s.app.DispatchReferral(ctx, r, actor(ctx))
}

// RecordArrival implements the RPC.
func (s *Server) RecordArrival(ctx context.Context, r *referralv1.RecordArrivalRequest) (*referralv1.Referral, error) {
	return s.app.RecordArrival(ctx, r, actor(ctx))
}

// StartService implements the RPC.
func (s *Server) StartService(ctx context.Context, r *referralv1.StartServiceRequest) (*referralv1.Referral, error) {
	return s.app.StartService(ctx, r, actor(ctx))
}

// CompleteReferral implements the RPC.
func (s *Server) CompleteReferral(ctx context.Context, r *referralv1.CompleteReferralRequest) (*referralv1.Referral, error) {
	return s.app.CompleteReferral(ctx, r)
}

// ListDeadlines implements the RPC.
func (s *Server) ListDeadlines(ctx context.Context, r *referralv1.ListDeadlinesRequest) (*referralv1.ListDeadlinesResponse, error) {
	return s.app.ListDeadlines(ctx, r)
}

// GetAnnex implements the RPC.
func (s *Server) GetAnnex(ctx context.Context, r *referralv1.GetAnnexRequest) (*custodyv1.AnnexContent, error) {
	return s.app.GetAnnex(ctx, r.GetName())
}

// CompareReferrals implements the RPC.
func (s *Server) CompareReferrals(ctx context.Context, r *referralv1.CompareReferralsRequest) (*referralv1.CompareReferralsResponse, error) {
	return s.app.CompareReferrals(ctx, r)
}

// GetRecovery implements the RPC.
func (s *Server) GetRecovery(ctx context.Context, r *referralv1.GetRecoveryRequest) (*referralv1.Recovery, error) {
	return s.app.GetRecovery(ctx, r.GetName())
}

// ExcusePeer implements the RPC.
func (s *Server) ExcusePeer(ctx context.Context, r *referralv1.ExcusePeerRequest) (*referralv1.Recovery, error) {
	return s.app.ExcusePeer(ctx, r, actor(ctx))
}
