package app

import (
	"context"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	kitstore "amanat.example/services/kit/store"
)

// CompareReferrals says which of the referrals that cases of this node name it does not hold. While it asks other nodes what it lost
// nothing is missing: it may still come back.
func (a *App) CompareReferrals(ctx context.Context, request *referralv1.CompareReferralsRequest) (*referralv1.CompareReferralsResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	response := &referralv1.CompareReferralsResponse{Incarnation: a.DB.Incarnation(), Recovering: a.Recovering()}
	if response.GetRecovering() {
		return response, nil
	}
	err := a.DB.View(ctx, func(r kitstore.Reader) error {
		response.Missing = nil
		for _, name := range request.GetReferrals() {
			held, err := a.holds(r, name)
			if err != nil {
				return err
			}
			if !held {
				response.Missing = append(response.Missing, name)
			}
		}
		return nil
	})
	return response, err
}
