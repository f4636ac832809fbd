package app

import (
	"errors"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
)

// recordReply takes a reply into the chain, as its owner. Another owner's referral is answered
// with the chain as it is known here; a reply that the chain holds is a no-op.
func (a *App) recordReply(tx *kitstore.Tx, from string, letter *custodyv1.ReplyLetter) error {
	reply, err := custody.OpenReply(a.Roster, letter.GetReply())
	if err != nil {
		return refuse(reasonReply)
	}
	if reply.GetNode() != from {
		return refuse(reasonSender)
	}
	w, err := a.begin(tx, reply.GetReferral())
	if fault.ReasonOf(err) == fault.Missing {
		return refuse(reasonUnknown)
	}
	if err != nil {
		return err
	}
	s := w.chain.State()
	offer := s.Offer(reply.GetOffer())
	switch {
	case offer == nil || offer.Offered.GetToNode() != from:
		return refuse(reasonSender)
	case s.Owner != a.Node:
		return w.sendChain(w.lane(), from)
	case w.chain.Holds(letter.GetReply()):
		return nil
	}
	_, err = w.append(a.self(), reply.GetAnnexCommitment(), &custodyv1.Event{
		Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: letter.GetReply()}},
	})
	if _, illegal := errors.AsType[*custody.Illegal](err); illegal {
		return refuse(reasonReply)
	}
	if err != nil {
		return err
	}
	if reply.GetAccepted() != nil {
		if err := w.accepted(reply.GetOffer()); err != nil {
			return err
		}
	}
	row, err := getReferral(tx, s.Referral)
	if err != nil {
		return err
	}
	_, err = w.end(row.Value)
	return err
}

// accepted counts an acceptance, and chooses it when it is the only one there can be and the
// node's policy leaves it to the service.
func (w *work) accepted(offer []byte) error {
	s := w.chain.State()
	chosen := s.Offer(offer)
	if err := w.sendFlow(federalv1.Stage_STAGE_ACCEPTED, chosen.Offered.GetToNode()); err != nil {
		return err
	}
	if !w.AutoConfirm || sole(s) != chosen {
		return nil
	}
	return w.confirm(w.self(), chosen)
}
