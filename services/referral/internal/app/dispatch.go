package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/referral/internal/rules"
)

// DispatchReferral sends the person on the way, and hands ownership over with the same event; to an agency outside the network it hands nothing over. Those who go together leave at once.
func (a *App) DispatchReferral(ctx context.Context, request *referralv1.DispatchReferralRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if request.GetEscort() == nil {
		return nil, fault.InvalidField("escort", "must say who brings the person, and where they meet")
	}
	if err := rules.CheckDispatch(request, a.Now()); err != nil {
		return nil, err
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote(), Escort: request.GetEscort()})
	if err != nil {
		return nil, err
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), never, func(w *work) error {
		group, err := w.bound()
		if err != nil {
			return err
		}
		if mutant.Off("all ready") {
			group = group[:1]
		}
		if len(group) > 1 { // they travel together, or nobody does
			if _, err := chainsOf(group).Ready(); err != nil {
				return err
			}
		}
		for _, one := range group {
			if one != w {
				if annex, err = a.copyAnnex(ctx, one.chain.State().Referral, annex); err != nil {
					return err
				}
			}
			if err := one.dispatch(request, actor, annex); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *work) dispatch(request *referralv1.DispatchReferralRequest, actor *custodyv1.Actor, annex *custodyv1.AnnexLetter) error {
	body := &custodyv1.Dispatched{Documents: request.GetDocuments(), ExpectTime: request.GetExpectTime()}
	if chosen := w.chain.State().Chosen(); chosen != nil {
		body.Offer, body.ToNode = chosen.Hash.Bytes(), chosen.Offered.GetToNode()
		if chosen.External() {
			body.ToNode = w.Node
		} else if err := w.checkTakesPart("name", chosen.Offered.GetToUnit()); err != nil {
			return err
		}
	}
	_, err := w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: body}})
	if err != nil {
		return err
	}
	return w.attach(annex, w.lane(), body.GetToNode())
}
