package server

import (
	"context"

	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// AskQuestion implements the RPC.
func (s *Server) AskQuestion(ctx context.Context, r *referralv1.AskQuestionRequest) (*referralv1.Offer, error) {
	return s.app.AskQuestion(ctx, r, actor(ctx))
}

// WaitlistOffer implements the RPC.
func (s *Server) WaitlistOffer(ctx context.Context, r *referralv1.WaitlistOfferRequest) (*referralv1.Offer, error) {
	return s.app.WaitlistOffer(ctx, r, actor(ctx))
}

// WithdrawAcceptance implements the RPC.
func (s *Server) WithdrawAcceptance(ctx context.Context, r *referralv1.WithdrawAcceptanceRequest) (*referralv1.Offer, error) {
	return s.app.WithdrawAcceptance(ctx, r, actor(ctx))
}

// RequestRelease implements the RPC.
func (s *Server) RequestRelease(ctx context.Context, r *referralv1.RequestReleaseRequest) (*referralv1.Offer, error) {
	return s.app.RequestRelease(ctx, r, actor(ctx))
}

// ProposeSchedule implements the RPC.
func (s *Server) ProposeSchedule(ctx context.Context, r *referralv1.ProposeScheduleRequest) (*referralv1.Offer, error) {
	return s.app.ProposeSchedule(ctx, r, actor(ctx))
}

// GiveService implements the RPC.
func (s *Server) GiveService(ctx context.Context, r *referralv1.GiveServiceRequest) (*referralv1.Offer, error) {
	return s.app.GiveService(ctx, r, actor(ctx))
}

// ReportOutcome implements the RPC.
func (s *Server) ReportOutcome(ctx context.Context, r *referralv1.ReportOutcomeRequest) (*referralv1.Offer, error) {
	return s.app.ReportOutcome(ctx, r, actor(ctx))
}

// AssertArrival implements the RPC.
func (s *Server) AssertArrival(ctx context.Context, r *referralv1.AssertArrivalRequest) (*referralv1.AssertedArrival, error) {
	return s.app.AssertArrival(ctx, r, actor(ctx))
}

// ReportSafety implements the RPC.
func (s *Server) ReportSafety(ctx context.Context, r *referralv1.ReportSafetyRequest) (*referralv1.Told, error) {
	return s.app.ReportSafety(ctx, r, actor(ctx))
}

// RequestCorrection implements the RPC.
func (s *Server) RequestCorrection(ctx context.Context, r *referralv1.RequestCorrectionRequest) (*referralv1.Told, error) {
	return s.app.RequestCorrection(ctx, r, actor(ctx))
}

// WithdrawConsent implements the RPC.
func (s *Server) WithdrawConsent(ctx context.Context, r *referralv1.WithdrawConsentRequest) (*referralv1.Told, error) {
	return s.app.WithdrawConsent(ctx, r, actor(ctx))
}
