package app

import (
	"context"
	"slices"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

// EndConsent notes that consent has ended. Whoever holds the chain hears of it at once, so that reading ends there too. Ending it again
// is a no-op.
func (a *App) EndConsent(ctx context.Context, request *referralv1.EndConsentRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	again := func(s *custody.State) bool { return s.ConsentEnded && s.Owner == a.Node }
	return a.step(ctx, request.GetName(), request.GetEtag(), again, func(w *work) error {
		_, err := w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_ConsentEnded{ConsentEnded: &custodyv1.ConsentEnded{}}})
		if err != nil {
			return err
		}
		return w.attach(annex, postv1.Lane_LANE_URGENT, w.parties()...)
	})
}

// parties are the nodes that hold the chain by right: others, and the destination that is chosen.
func (w *work) parties() []string {
	nodes := w.others()
	if chosen := w.chain.State().Chosen(); chosen != nil && chosen.Offered.GetToNode() != w.Node && !slices.Contains(nodes, chosen.Offered.GetToNode()) {
		nodes = append(nodes, chosen.Offered.GetToNode())
	}
	return nodes
}
