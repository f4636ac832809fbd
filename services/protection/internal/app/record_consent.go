package app

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
)

// RecordConsent records consent, or its refusal, in place of what was recorded before. A refusal ends the consent that a referral goes
// by: all who hold something of the person hear of it through the chain.
func (a *App) RecordConsent(ctx context.Context, request *protectionv1.RecordConsentRequest, actor *custodyv1.Actor) (shown *protectionv1.Case, err error) {
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
		if err := a.tellWithdrawn(tx, row.Value, actor.GetPerson()); err != nil {
			return err
		}
		shown, err = a.putCase(tx, row.Value, "consented", now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

// tellWithdrawn says to the referral of a case, once, that its consent was withdrawn. The caller stores the case.
func (a *App) tellWithdrawn(tx *kitstore.Tx, record *protectionv1.CaseRecord, person string) error {
	if !rules.Withdraws(record) {
		return nil
	}
	record.ConsentEndedReferral = record.GetCase().GetReferral()
	return a.queueWithdrawn(tx, record.GetCase(), person)
}

func (a *App) queueWithdrawn(tx *kitstore.Tx, c *protectionv1.Case, person string) error {
	return a.Commands.Queue(tx, outbox.Command{
		ID:     "end-consent-" + c.GetReferral()[strings.LastIndex(c.GetReferral(), "/")+1:],
		Method: referralv1.ReferralService_ReportConsentEnded_FullMethodName, Subject: c.GetReferral(), OnBehalfOf: person,
		Request: &referralv1.ReportConsentEndedRequest{
			Name: c.GetReferral(), WithdrawTime: c.GetConsent().GetRecordTime(),
			Actor: &custodyv1.Actor{Person: person, Unit: c.GetUnit(), Service: "protection"},
		},
	})
}
