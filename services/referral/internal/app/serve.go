package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
)

// StartService says that services have begun.
func (a *App) StartService(ctx context.Context, request *referralv1.StartServiceRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if err := codes.CheckFields("services", codes.Service, request.GetServices()); err != nil {
		return nil, err
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), never, func(w *work) error {
		_, err := w.append(actor, nil, &custodyv1.Event{Body: &custodyv1.Event_ServiceStarted{
			ServiceStarted: &custodyv1.ServiceStarted{Services: request.GetServices()},
		}})
		return err
	})
}
