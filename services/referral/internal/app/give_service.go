package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
)

// GiveService says that services were given in a referral for a service. It is said again for every visit, some 110 times: then it
// is refused, and the outcome is to be reported.
func (a *App) GiveService(ctx context.Context, request *referralv1.GiveServiceRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if err := codes.CheckFields("services", codes.Service, request.GetServices()); err != nil {
		return nil, err
	}
	return a.say(ctx, actor, answer{
		name: request.GetName(), etag: request.GetEtag(), what: "served",
		reply:   &custodyv1.Reply{Body: &custodyv1.Reply_ServiceGiven{ServiceGiven: &custodyv1.ServiceGiven{Services: request.GetServices()}}},
		content: &custodyv1.AnnexContent{Note: request.GetNote()},
		again: func(o *received) (bool, error) {
			if o.record.GetOutcome() != "" {
				return false, fault.New(fault.WrongState, "The outcome was reported already, so nothing follows.", "state", "fulfilled")
			}
			return false, o.checkService()
		},
		keep: func(*received, []byte) error { return nil },
	})
}

// checkService refuses an offer of a placement.
func (o *received) checkService() error {
	if o.placement() {
		return fault.New(fault.WrongState, "The referral is for a placement. Record what follows on the referral once the person is here.")
	}
	return nil
}
