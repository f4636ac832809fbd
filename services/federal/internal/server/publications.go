package server

import (
	"context"

	"google.golang.org/genproto/googleapis/api/httpbody"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/kit/rpc"
)

// Publications is a federalv1.PublicationServiceServer.
type Publications struct {
	federalv1.UnsafePublicationServiceServer
	app *app.App
}

var _ federalv1.PublicationServiceServer = (*Publications)(nil)

// NewPublications serves the use cases of a.
func NewPublications(a *app.App) *Publications { return &Publications{app: a} }

// ListPublications implements the RPC.
func (s *Publications) ListPublications(ctx context.Context, r *federalv1.ListPublicationsRequest) (*federalv1.ListPublicationsResponse, error) {
	return s.app.ListPublications(ctx, r)
}

// GetPublication implements the RPC.
func (s *Publications) GetPublication(ctx context.Context, r *federalv1.GetPublicationRequest) (*federalv1.Publication, error) {
	return s.app.GetPublication(ctx, r.GetName())
}

// ExportPublication implements the RPC.
func (s *Publications) ExportPublication(ctx context.Context, r *federalv1.ExportPublicationRequest) (*httpbody.HttpBody, error) {
	return s.app.ExportPublication(ctx, r)
}

// RevisePublications implements the RPC.
func (s *Publications) RevisePublications(ctx context.Context, r *federalv1.RevisePublicationsRequest) (*federalv1.RevisePublicationsResponse, error) {
	return s.app.RevisePublications(ctx, r, rpc.Person(ctx).GetPerson())
}

// ResumePublications implements the RPC.
func (s *Publications) ResumePublications(ctx context.Context, r *federalv1.ResumePublicationsRequest) (*federalv1.ResumePublicationsResponse, error) {
	return s.app.ResumePublications(ctx, r, rpc.Person(ctx).GetPerson())
}
