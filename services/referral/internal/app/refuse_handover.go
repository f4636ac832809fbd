package app

import (
	"bytes"
	"cmp"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// refuseHandover refuses a handover on an offer that this node never promised, or took back before it promised; the chain is then
// not taken in. What was refused stays refused, with the same words, for its writer may act on them: also when the person stands at
// the door meanwhile. But a person who was here first outranks the refusal.
func (w *work) refuseHandover() (bool, error) {
	if !w.handedOnHere() {
		return false, nil
	}
	s := w.chain.State()
	g, err := w.waiting()
	if err != nil {
		return false, err
	}
	key := refusalKey(s.Referral, s.Handover.Event)
	kept, err := optional(store.Refusals.Get(w.tx, key))
	if err != nil {
		return false, err
	}
	if kept == nil {
		if g != nil {
			return false, nil
		}
		if kept, err = w.newRefusal(key); kept == nil || err != nil {
			return false, err
		}
	}
	reply, err := custody.OpenReply(w.Roster, kept)
	if err != nil {
		return false, err
	}
	if err := w.sendWord(w.tx, s.Handover.By, kept, reply); err != nil {
		return false, err
	}
	if g != nil { // its writer owns the referral again once it has read the refusal, and then follows the person
		return true, w.sendWord(w.tx, s.Handover.By, g.record.GetReply(), g.reply)
	}
	return true, nil
}

// refusedBefore says that this node has refused the handover with which a chain ends.
func (w *work) refusedBefore() (bool, error) {
	if !w.handedOnHere() {
		return false, nil
	}
	s := w.chain.State()
	return store.Refusals.Has(w.tx, refusalKey(s.Referral, s.Handover.Event))
}

// handedOnHere says that a chain ends with a handover of another node to this one.
func (w *work) handedOnHere() bool {
	s := w.chain.State()
	return s.Handover != nil && s.Owner == w.Node && s.Handover.By != w.Node
}

func refusalKey(referral string, dispatched custody.Hash) kitstore.Key {
	return kitstore.K(referral, dispatched.String())
}

// newRefusal signs a refusal and keeps it; nil where the handover is one that this node has promised to take.
func (w *work) newRefusal(key kitstore.Key) (*custodyv1.SignedReply, error) {
	s := w.chain.State()
	offer := s.Offer(s.Dispatched.GetOffer())
	if offer == nil || offer.Return { // it follows an arrival asserted here, or a return asked for here
		return nil, nil
	}
	name := store.OfferName(s.Referral, offer.Hash.String())
	record, err := optional(store.Offers.Get(w.tx, store.OfferKey(name)))
	if err != nil || rules.Promised(record.GetState()) {
		return nil, err
	}
	reason := cmp.Or(record.GetDeclineReason(), codes.DeclineHoldEnded)
	signed, err := custody.SignReply(w.Signer, &custodyv1.Reply{
		Referral: s.Referral, Node: w.Node, Actor: w.self(), Time: timestamppb.New(w.now),
		Body: &custodyv1.Reply_Refused{Refused: &custodyv1.Refused{Dispatched: s.Handover.Event.Bytes(), Reason: reason}},
	})
	if err != nil {
		return nil, err
	}
	if record != nil && rules.Open(record.GetState()) { // what is refused counts as declined
		o, err := w.openReceived(w.tx, name, record)
		if err != nil {
			return nil, err
		}
		if err := o.lapse(reason); err != nil {
			return nil, err
		}
		if err := o.put(); err != nil {
			return nil, err
		}
	}
	if err := store.Refusals.Insert(w.tx, key, signed); err != nil {
		return nil, err
	}
	w.Log.Error("a handover on a promise this node never gave is refused", logging.Referral(s.Referral))
	return signed, w.tellRefused(s.Handover.By, w.Node, reason, offer.Offered.GetToUnit())
}

// handoverRefused takes a handover back, as the one who wrote it: this node owns the referral again, and asks elsewhere. A refusal
// that the chain holds, or that comes after the handover was taken, changes nothing. Who never owned the referral was handed nothing,
// and is not shown the chain.
func (w *work) handoverRefused(r *custodyv1.Reply, letter *custodyv1.ReplyLetter) error {
	s := w.chain.State()
	h := s.Handover
	switch {
	case w.chain.Holds(letter.GetReply()), mutant.Off("back"):
		return nil
	case !s.Owned(r.GetNode()):
		return refuse(reasonSender)
	case h == nil || h.By != w.Node || r.GetNode() != s.Owner || !bytes.Equal(h.Event.Bytes(), r.GetRefused().GetDispatched()):
		return w.sendChain(w.lane(), r.GetNode())
	}
	_, err := w.append(w.self(), r.GetAnnexCommitment(), &custodyv1.Event{Body: &custodyv1.Event_HandoverRefused{
		HandoverRefused: &custodyv1.HandoverRefused{Refusal: letter.GetReply()},
	}})
	if err != nil {
		return err
	}
	if err := w.tellRefused(w.Node, r.GetNode(), r.GetRefused().GetReason(), s.UnitAt(w.Node)); err != nil {
		return err
	}
	row, err := getReferral(w.tx, s.Referral)
	if err != nil {
		return err
	}
	_, err = w.end(row.Value)
	return err
}

func (w *work) tellRefused(from, by, reason, unit string) error {
	s := w.chain.State()
	return w.App.tellRefused(w.tx, &referralv1.HandoverRefused{
		Referral: s.Referral, FromNode: from, Node: by, Reason: reason, Unit: unit, Sequence: s.Sequence,
	})
}

func (a *App) tellRefused(tx *kitstore.Tx, e *referralv1.HandoverRefused) error {
	return a.Events.Append(tx, "referral.handover.refused.v1", e.GetReferral(), a.Now(), e)
}
