package app

import (
	"errors"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// recordReply takes a reply into the chain, as its owner. A reply that the chain holds is a no-op; one that comes too late is
// answered with what made it so; one that reaches a former owner is answered with the chain, and what must not wait for its writer
// to ask again is passed on.
func (a *App) recordReply(tx *kitstore.Tx, from string, letter *custodyv1.ReplyLetter) error {
	reply, err := custody.OpenReply(a.Roster, letter.GetReply())
	if err != nil {
		return refuse(reasonReply)
	}
	w, err := a.begin(tx, reply.GetReferral())
	if fault.ReasonOf(err) == fault.Missing {
		return a.replyLost(tx, from, reply)
	}
	if err != nil {
		return err
	}
	if still, err := w.still(); err != nil {
		return err
	} else if still {
		return &standsStill{referral: reply.GetReferral()}
	}
	s := w.chain.State()
	if reply.GetNode() != from && !s.Owned(from) { // a former owner passes on what others said
		return refuse(reasonSender)
	}
	if lost, err := w.offerLost(reply); lost || err != nil {
		return err
	}
	if err := w.knows(reply, letter.GetReply()); err != nil {
		return err
	}
	switch {
	case reply.GetRefused() != nil:
		return w.handoverRefused(reply, letter)
	case reply.GetNode() != from && w.chain.Recorded(letter.GetReply()):
		return nil // its writer was answered when it was recorded; who passes it on waits for nothing
	case s.Owner != a.Node:
		return w.passOn(reply, letter)
	case w.chain.Holds(letter.GetReply()):
		return w.answerRepeated(reply)
	}
	illegal, err := w.record(reply, letter.GetReply())
	if illegal {
		answered, err := w.answeredBefore(reply)
		if err != nil {
			return err
		}
		if !answered {
			return w.answerLate(reply)
		}
		if illegal, err = w.record(reply, letter.GetReply()); illegal { // nothing of this is stored
			return refuse(reasonReply)
		}
		if err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if err := w.consequences(reply); err != nil {
		return err
	}
	row, err := getReferral(tx, s.Referral)
	if err != nil {
		return err
	}
	_, err = w.end(row.Value)
	return err
}

// replyLost answers a reply about a referral that is not here. Where a restore of this node took it away, an offer of it is void.
func (a *App) replyLost(tx *kitstore.Tx, from string, r *custodyv1.Reply) error {
	switch err := a.unknown(tx, r.GetReferral()); {
	case err != nil:
		return err
	case !custody.AboutOffer(r): // what is said of the person, a person must read
		return refuse(reasonUnknown)
	case r.GetNode() != from: // who passes it on has made the offer, and alone can say that it is void
		return nil
	}
	return a.voidTo(tx, r.GetNode(), r.GetReferral(), r.GetOffer())
}

// unknown refuses what is about a referral that this node does not hold. While it asks the others what it lost, the referral may come back, so
// that waits; and when all have answered, what is about one that nobody has any more means nothing, wherever it began: then it is nil.
func (a *App) unknown(tx *kitstore.Tx, referral string) error {
	if custody.CreatedAt(referral) == "" { // nothing waits under such a name
		return refuse(reasonUnknown)
	}
	if record, err := a.recovery(tx); err != nil {
		return err
	} else if record != nil && record.GetThawTime() == nil {
		return &standsStill{referral: referral}
	}
	restored, err := a.wasRestored(tx)
	if err == nil && !restored {
		err = refuse(reasonUnknown)
	}
	if err == nil {
		a.Log.Warn("what is said in a referral that nobody holds any more is let go", logging.Referral(referral))
	}
	return err
}

// wasRestored says that this store was restored once. One that never lost anything knows whom it asked.
func (a *App) wasRestored(r kitstore.Reader) (bool, error) {
	record, err := optional(store.Recovery.Get(r, store.RecoveryKey))
	return record.GetBeginTime() != nil, err
}

// offerLost answers a reply to an offer that is gone with what a restore of this node took away: it is void. The word may have been on its
// way when that was said. The refusal of a handover that is gone needs no answer: nobody was handed over.
func (w *work) offerLost(r *custodyv1.Reply) (bool, error) {
	refused := r.GetRefused().GetDispatched()
	switch {
	case refused != nil && (len(refused) != len(custody.Hash{}) || w.chain.Has(custody.Hash(refused))):
		return false, nil
	case refused == nil && (!custody.AboutOffer(r) || w.chain.State().Offer(r.GetOffer()) != nil):
		return false, nil
	}
	if restored, err := w.wasRestored(w.tx); err != nil || !restored || refused != nil {
		return restored, err
	}
	return true, w.voidTo(w.tx, r.GetNode(), r.GetReferral(), r.GetOffer())
}

// knows refuses a reply of somebody whom nobody asked. An arrival can be asserted by whoever has the person. Nobody fills the chain
// with what they say.
func (w *work) knows(r *custodyv1.Reply, signed *custodyv1.SignedReply) error {
	s := w.chain.State()
	switch {
	case w.saidTooMuch(r, signed):
		return refuse(reasonReply)
	case custody.AboutOffer(r):
		if o := s.Offer(r.GetOffer()); o == nil || o.Offered.GetToNode() != r.GetNode() {
			return refuse(reasonSender)
		}
	case r.GetArrivalAsserted() == nil && !s.Owned(r.GetNode()) && !s.Asked(r.GetNode()):
		return refuse(reasonSender)
	}
	return nil
}

// record writes a reply into the chain; illegal where it cannot be said now.
func (w *work) record(r *custodyv1.Reply, signed *custodyv1.SignedReply) (illegal bool, err error) {
	_, err = w.append(w.self(), r.GetAnnexCommitment(), &custodyv1.Event{
		Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: signed}},
	})
	if _, illegal = errors.AsType[*custody.Illegal](err); illegal {
		return true, nil
	}
	return false, err
}

// answeredBefore writes that a question was answered, where its unit goes on to what it can say only after that: this node, which was restored
// since it asked that unit, has lost its answer, and the unit alone knows of it. false where that is not so.
func (w *work) answeredBefore(r *custodyv1.Reply) (bool, error) {
	o := w.chain.State().Offer(r.GetOffer())
	if o == nil || o.State != custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED {
		return false, nil
	}
	record, err := optional(store.Recovery.Get(w.tx, store.RecoveryKey))
	since := !o.Time.After(record.GetBeginTime().AsTime())
	if _, could := custody.Answer(custodyv1.OfferState_OFFER_STATE_RECEIVED, r); !could || record.GetBeginTime() == nil || !since || err != nil {
		return false, err
	}
	_, err = w.append(w.self(), nil, &custodyv1.Event{Body: &custodyv1.Event_Answered{
		Answered: &custodyv1.Answered{Offer: o.Hash.Bytes(), Question: o.Asked},
	}})
	return err == nil, err
}

// answerRepeated: who asserts an arrival again has not seen what became of it.
func (w *work) answerRepeated(r *custodyv1.Reply) error {
	if r.GetArrivalAsserted() == nil {
		return nil
	}
	return w.sendChain(w.lane(), r.GetNode())
}

// passOn answers with the chain, so that the writer finds the owner, and passes on to that owner what is about the person. It never
// judges an assertion (DESIGN section 3). The chain goes ahead on the same lane, since that node may be a former owner too and not know
// it yet. Where two chains contradict each other a person decides who the owner is; two nodes that hold one each would pass it on for ever.
func (w *work) passOn(r *custodyv1.Reply, letter *custodyv1.ReplyLetter) error {
	s := w.chain.State()
	forks, _, err := store.Forks.Page(w.tx, kitstore.Range{Prefix: kitstore.K(s.Referral)}, 1)
	if err != nil {
		return err
	}
	if !custody.AboutOffer(r) && r.GetNode() != s.Owner && len(forks) == 0 && !mutant.Off("fwd") {
		lane := laneOfReply(r, w.lane())
		if err := w.sendChain(lane, s.Owner); err != nil {
			return err
		}
		err := w.mail(w.tx, post.Outgoing{
			To: referralAt(s.Owner), Lane: lane, Kind: kindReply, Subject: s.Referral, Body: letter,
		})
		if err != nil {
			return err
		}
	}
	if !s.Party(r.GetNode()) {
		return nil
	}
	return w.sendChain(w.lane(), r.GetNode())
}

// answerLate tells the writer of a reply that is not possible any more why: what ended its offer, or the chain.
func (w *work) answerLate(r *custodyv1.Reply) error {
	s := w.chain.State()
	if !custody.AboutOffer(r) {
		if !s.Party(r.GetNode()) {
			return refuse(reasonReply)
		}
		return w.sendChain(w.lane(), r.GetNode())
	}
	o := s.Offer(r.GetOffer())
	switch {
	case s.Party(r.GetNode()):
		return w.sendChain(w.lane(), r.GetNode())
	case o.Live() && w.Recovering(): // it may have overtaken what was said before it, which this node has lost, and which is said again
		return &standsStill{referral: s.Referral, once: true}
	case o.Live():
		return refuse(reasonReply)
	}
	for _, l := range w.chain.Links() {
		if l.Event.GetOwner() != w.Node || string(custody.OfferOf(l.Event)) != string(o.Hash.Bytes()) || l.Event.GetAnswered() != nil {
			continue
		}
		w.alone = append(w.alone, l)
	}
	return w.send()
}

// consequences are what a reply brings about by itself.
func (w *work) consequences(r *custodyv1.Reply) error {
	switch {
	case r.GetAccepted() != nil:
		return w.accepted(r.GetOffer())
	case r.GetArrivalAsserted() != nil:
		return w.followPerson(r.GetNode())
	case r.GetConsentWithdrawn() != nil:
		return w.consentWithdrawn()
	}
	return nil
}

// consentWithdrawn writes, once, that consent has ended, so that all who hold the chain hear of it.
func (w *work) consentWithdrawn() error {
	for _, l := range w.chain.Links() {
		if l.Event.GetConsentEnded() != nil {
			return nil
		}
	}
	_, err := w.append(w.self(), nil, &custodyv1.Event{Body: &custodyv1.Event_ConsentEnded{ConsentEnded: &custodyv1.ConsentEnded{}}})
	return err
}

// accepted chooses an acceptance when it is the only one there can be, the node's policy leaves it to the service, and nothing speaks
// against it: else a person chooses. The acceptance stands in the chain either way.
func (w *work) accepted(offer []byte) error {
	s := w.chain.State()
	chosen := s.Offer(offer)
	if !w.AutoConfirm || !chosen.External() && !w.takesPart(rules.UnitNode(chosen.Offered.GetToUnit())) {
		return nil
	}
	group, err := w.bound()
	if err != nil {
		return err
	}
	for _, one := range group { // of those who go together, each has this one acceptance
		live := one.chain.State().LiveOffers()
		if len(live) != 1 || live[0].State != custodyv1.OfferState_OFFER_STATE_ACCEPTED || live[0].Place() != chosen.Place() {
			return nil
		}
	}
	return w.confirmAll(w.self(), chosen)
}

// followPerson hands the referral over to the node that has the person: in an emergency nobody needs our leave to move a child,
// and the record follows. Whoever else was asked is not needed any more.
func (w *work) followPerson(node string) error {
	recorded := w.chain.State().Head
	note, err := w.submittedNote() // a node that was not asked has not read it
	if err != nil {
		return err
	}
	if err := w.withdrawOthers(w.self(), nil, codes.WithdrawalPersonElsewhere); err != nil {
		return err
	}
	_, err = w.append(w.self(), nil, &custodyv1.Event{Body: &custodyv1.Event_Dispatched{
		Dispatched: &custodyv1.Dispatched{ToNode: node, Arrival: recorded.Bytes()},
	}})
	if err != nil {
		return err
	}
	return w.attach(note, w.lane(), node)
}
