package server

import (
	"context"

	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// WithdrawOffer implements the RPC.
func (s *Server) WithdrawOffer(ctx context.Context, r *referralv1.WithdrawOfferRequest) (*referralv1.Referral, error) {
	return s.app.WithdrawOffer(ctx, r, actor(ctx))
}

// AnswerQuestion implements the RPC.
func (s *Server) AnswerQuestion(ctx context.Context, r *referralv1.AnswerQuestionRequest) (*referralv1.Referral, error) {
	return s.app.AnswerQuestion(ctx, r, actor(ctx))
}

// GrantRelease implements the RPC.
func (s *Server) GrantRelease(ctx context.Context, r *referralv1.GrantReleaseRequest) (*referralv1.Referral, error) {
	return s.app.GrantRelease(ctx, r, actor(ctx))
}

// RefuseRelease implements the RPC.
func (s *Server) RefuseRelease(ctx context.Context, r *referralv1.RefuseReleaseRequest) (*referralv1.Referral, error) {
	return s.app.RefuseRelease(ctx, r, actor(ctx))
}

// CancelReferral implements the RPC.
func (s *Server) CancelReferral(ctx context.Context, r *referralv1.CancelReferralRequest) (*referralv1.Referral, error) {
	return s.app.CancelReferral(ctx, r, actor(ctx))
}

// CheckIn implements the RPC.
func (s *Server) CheckIn(ctx context.Context, r *referralv1.CheckInRequest) (*referralv1.Referral, error) {
	return s.app.CheckIn(ctx, r, actor(ctx))
}

// RecordNoShow implements the RPC.
func (s *Server) RecordNoShow(ctx context.Context, r *referralv1.RecordNoShowRequest) (*referralv1.Referral, error) {
	return s.app.RecordNoShow(ctx, r, actor(ctx))
}

// RequestReturn implements the RPC.
func (s *Server) RequestReturn(ctx context.Context, r *referralv1.RequestReturnRequest) (*referralv1.Referral, error) {
	return s.app.RequestReturn(ctx, r, actor(ctx))
}

// RecordReturn implements the RPC.
func (s *Server) RecordReturn(ctx context.Context, r *referralv1.RecordReturnRequest) (*referralv1.Referral, error) {
	return s.app.RecordReturn(ctx, r, actor(ctx))
}

// CorrectReferral implements the RPC.
func (s *Server) CorrectReferral(ctx context.Context, r *referralv1.CorrectReferralRequest) (*referralv1.Referral, error) {
	return s.app.CorrectReferral(ctx, r, actor(ctx))
}

// EndConsent implements the RPC.
func (s *Server) EndConsent(ctx context.Context, r *referralv1.EndConsentRequest) (*referralv1.Referral, error) {
	return s.app.EndConsent(ctx, r, actor(ctx))
}

// SubmitReferrals implements the RPC.
func (s *Server) SubmitReferrals(ctx context.Context, r *referralv1.SubmitReferralsRequest) (*referralv1.SubmitReferralsResponse, error) {
	return s.app.SubmitReferrals(ctx, r)
}

// RecordExternalAnswer implements the RPC.
func (s *Server) RecordExternalAnswer(ctx context.Context, r *referralv1.RecordExternalAnswerRequest) (*referralv1.Referral, error) {
	return s.app.RecordExternalAnswer(ctx, r, actor(ctx))
}
