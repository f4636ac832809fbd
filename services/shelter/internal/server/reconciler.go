package server

import (
	"context"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/shelter/internal/app"
)

// Reconciler is a shelterv1.ReconcileServiceServer.
type Reconciler struct {
	shelterv1.UnsafeReconcileServiceServer
	app *app.App
}

var _ shelterv1.ReconcileServiceServer = (*Reconciler)(nil)

// NewReconciler serves the comparison with live offers.
func NewReconciler(a *app.App) *Reconciler { return &Reconciler{app: a} }

// BeginReconciliation implements the RPC.
func (r *Reconciler) BeginReconciliation(ctx context.Context, request *shelterv1.BeginReconciliationRequest) (*shelterv1.BeginReconciliationResponse, error) {
	return r.app.BeginReconciliation(ctx, request)
}

// ReconcileOffers implements the RPC.
func (r *Reconciler) ReconcileOffers(ctx context.Context, request *shelterv1.ReconcileOffersRequest) (*shelterv1.ReconcileOffersResponse, error) {
	return r.app.ReconcileOffers(ctx, request)
}
