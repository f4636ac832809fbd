package server

import (
	"context"

	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// ReportDossierClosed implements the RPC.
func (s *Server) ReportDossierClosed(ctx context.Context, r *referralv1.ReportDossierClosedRequest) (*referralv1.Told, error) {
	return s.app.ReportDossierClosed(ctx, r)
}

// ReportConsentEnded implements the RPC.
func (s *Server) ReportConsentEnded(ctx context.Context, r *referralv1.ReportConsentEndedRequest) (*referralv1.Told, error) {
	return s.app.ReportConsentEnded(ctx, r)
}
