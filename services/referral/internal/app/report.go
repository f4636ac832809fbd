package app

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
)

// ReportDossierClosed says in the chain that reading has ended at this node. Where another node owns the referral it is told to that
// node; this node writes its own words into a chain of its own. The same words again are a no-op, for ever.
func (a *App) ReportDossierClosed(ctx context.Context, request *referralv1.ReportDossierClosedRequest) (told *referralv1.Told, err error) {
	if err := codes.CheckField("reason", codes.DossierClosing, request.GetReason()); err != nil {
		return nil, err
	}
	at := rules.ReportTime(request.GetCloseTime(), a.Now())
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		told, err = a.report(tx, &custodyv1.Reply{
			Referral: request.GetName(), Actor: a.self(), Time: timestamppb.New(at),
			Body: &custodyv1.Reply_DossierClosed{DossierClosed: &custodyv1.DossierClosed{Reason: request.GetReason()}},
		})
		return err
	})
	return told, err
}

// ReportConsentEnded says in the chain that consent was withdrawn at this node, so that reading ends wherever no duty stands in its
// way. A chain that says so already is left as it is.
func (a *App) ReportConsentEnded(ctx context.Context, request *referralv1.ReportConsentEndedRequest) (told *referralv1.Told, err error) {
	at := rules.ReportTime(request.GetWithdrawTime(), a.Now())
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		told, err = a.report(tx, &custodyv1.Reply{
			Referral: request.GetName(), Actor: request.GetActor(), Time: timestamppb.New(at),
			Body: &custodyv1.Reply_ConsentWithdrawn{ConsentWithdrawn: &custodyv1.ConsentWithdrawn{WithdrawTime: timestamppb.New(at)}},
		})
		return err
	})
	return told, err
}

// report signs what this node's protection service says of a referral. The caller fills all but the node; the time is that of what is
// said, not of the call, so that a repeated call says the same bytes.
func (a *App) report(tx *kitstore.Tx, r *custodyv1.Reply) (*referralv1.Told, error) {
	r.Node = a.Node
	signed, err := custody.SignReply(a.Signer, r)
	if err != nil {
		return nil, err
	}
	told := &referralv1.Told{Referral: r.GetReferral(), Reply: custody.ReplyHash(signed).Bytes(), ToldNode: a.Node}
	w, err := a.begin(tx, r.GetReferral())
	switch {
	case fault.ReasonOf(err) == fault.Missing:
	case err != nil:
		return nil, err
	case w.chain.Holds(signed), r.GetConsentWithdrawn() != nil && w.chain.State().ConsentEnded:
		told.ToldNode = w.chain.State().Owner
		return told, nil
	case w.chain.State().Owner == a.Node:
		return told, w.writeOwn(r, signed)
	}
	if told.ToldNode, err = a.ownerOf(tx, r.GetReferral(), r); err != nil {
		if fault.ReasonOf(err) == fault.Missing && a.Recovering() { // others may give it back
			err = moving(true, nil)
		}
		return nil, err
	}
	number, err := keepReply(tx, r.GetReferral(), signed)
	if number == 0 || err != nil { // said before, or not written
		return told, err
	}
	return told, a.sendWord(tx, told.GetToldNode(), signed, r)
}

// writeOwn writes what this node says into the chain that it owns: of consent, that it has ended.
func (w *work) writeOwn(r *custodyv1.Reply, signed *custodyv1.SignedReply) error {
	if r.GetConsentWithdrawn() == nil {
		return w.writeWord(w.tx, signed, r, nil)
	}
	_, err := w.append(r.GetActor(), nil, &custodyv1.Event{Body: &custodyv1.Event_ConsentEnded{ConsentEnded: &custodyv1.ConsentEnded{}}})
	if err != nil {
		return legal(err)
	}
	return w.close()
}
