package app

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
)

// RecordConsent records consent, or its refusal, in place of what was recorded before.
func (a *App) RecordConsent(ctx context.Context, request *protectionv1.RecordConsentRequest) (shown *protectionv1.Case, err error) {
	if err := a.checkNode("name", request.GetName()); err != nil {
		return nil, err
	}
	salt, err := a.random(rules.SaltBytes)
	if err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		now := a.Now()
		if err := rules.CheckConsent(request.GetConsent(), now); err != nil {
			return err
		}
		row, err := a.openCase(tx, request.GetName())
		if err != nil {
			return err
		}
		if request.GetEtag() != etag(row.Version) {
			return fault.StaleEtag()
		}
		c := row.Value.GetCase()
		if c.Consent, err = rules.Record(request.GetConsent(), salt, now); err != nil {
			return err
		}
		c.UpdateTime = timestamppb.New(now)
		shown, err = a.putCase(tx, row.Value, "consented", now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}
