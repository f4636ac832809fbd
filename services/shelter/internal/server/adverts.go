package server

import (
	"context"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/shelter/internal/app"
)

// Adverts is a shelterv1.AdvertServiceServer.
type Adverts struct {
	shelterv1.UnsafeAdvertServiceServer
	app *app.App
}

var _ shelterv1.AdvertServiceServer = (*Adverts)(nil)

// NewAdverts serves what other nodes say is free.
func NewAdverts(a *app.App) *Adverts { return &Adverts{app: a} }

// ListAdverts implements the RPC.
func (s *Adverts) ListAdverts(ctx context.Context, r *shelterv1.ListAdvertsRequest) (*shelterv1.ListAdvertsResponse, error) {
	return s.app.ListAdverts(ctx, r)
}
