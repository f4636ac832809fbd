package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
)

// ReportOutcome says what came of a referral for a service, once a service was given. The same outcome again is a no-op; a wrong
// one is corrected by the owner.
func (a *App) ReportOutcome(ctx context.Context, request *referralv1.ReportOutcomeRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if err := codes.CheckField("outcome", codes.Outcome, request.GetOutcome()); err != nil {
		return nil, err
	}
	if err := codes.CheckFields("services", codes.Service, request.GetServices()); err != nil {
		return nil, err
	}
	return a.say(ctx, actor, answer{
		name: request.GetName(), etag: request.GetEtag(), what: "closed",
		reply: &custodyv1.Reply{Body: &custodyv1.Reply_OutcomeReported{
			OutcomeReported: &custodyv1.OutcomeReported{Outcome: request.GetOutcome(), Services: request.GetServices()},
		}},
		content: &custodyv1.AnnexContent{Note: request.GetNote()},
		again: func(o *received) (bool, error) {
			if said := o.record.GetOutcome(); said != "" && said != request.GetOutcome() {
				return false, fault.New(fault.WrongState, "Another outcome was reported; it stands. Ask the owner to correct it.", "state", "fulfilled")
			}
			return o.record.GetOutcome() != "", o.checkService()
		},
		keep: func(o *received, _ []byte) error {
			o.record.Outcome = request.GetOutcome()
			return nil
		},
	})
}
