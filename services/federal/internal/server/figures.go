package server

import (
	"context"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/app"
)

// Figures is a federalv1.FiguresServiceServer.
type Figures struct {
	federalv1.UnsafeFiguresServiceServer
	app *app.App
}

var _ federalv1.FiguresServiceServer = (*Figures)(nil)

// NewFigures serves the use cases of a.
func NewFigures(a *app.App) *Figures { return &Figures{app: a} }

// GetFigures implements the RPC.
func (s *Figures) GetFigures(ctx context.Context, r *federalv1.GetFiguresRequest) (*federalv1.Figures, error) {
	return s.app.GetFigures(ctx, r)
}

// ListDays implements the RPC.
func (s *Figures) ListDays(ctx context.Context, r *federalv1.ListDaysRequest) (*federalv1.ListDaysResponse, error) {
	return s.app.ListDays(ctx, r)
}

// ListLinks implements the RPC.
func (s *Figures) ListLinks(ctx context.Context, r *federalv1.ListLinksRequest) (*federalv1.ListLinksResponse, error) {
	return s.app.ListLinks(ctx, r)
}
