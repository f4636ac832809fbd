package app

import (
	"bytes"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// step is an event that stands alone, or a reply of this node.
type step struct {
	event *custodyv1.SignedEvent
	reply *custodyv1.SignedReply
	rules.Said
}

func (s step) message() *custodyv1.RecoveryStep {
	if s.reply != nil {
		return &custodyv1.RecoveryStep{Step: &custodyv1.RecoveryStep_Reply{Reply: s.reply}}
	}
	return &custodyv1.RecoveryStep{Step: &custodyv1.RecoveryStep_Event{Event: s.event}}
}

// offer is the hash of the offer it is about.
func (s step) offer() []byte {
	switch {
	case s.reply != nil:
		return s.Reply.GetOffer()
	case s.Event.GetOffered() != nil:
		return custody.HashOf(s.event.GetEvent()).Bytes()
	case s.Event.GetConfirmed() != nil:
		return s.Event.GetConfirmed().GetOffer()
	}
	return custody.OfferOf(s.Event)
}

// stepsOf are what a chain holds of offers made to a node: what it was told, and what it replied.
func stepsOf(chain *custody.Chain, node string) (steps []step) {
	s := chain.State()
	for _, l := range chain.Links() {
		one := step{event: l.Signed, Said: rules.Said{Event: l.Event}}
		if recorded := l.Event.GetReplyRecorded().GetReply(); recorded != nil {
			reply := &custodyv1.Reply{}
			if proto.Unmarshal(recorded.GetReply(), reply) != nil || reply.GetNode() != node || !custody.AboutOffer(reply) {
				continue
			}
			one = step{reply: recorded, Said: rules.Said{Reply: reply}}
		}
		if o := s.Offer(one.offer()); o != nil && !o.Return && o.Offered.GetToNode() == node {
			steps = append(steps, one)
		}
	}
	return steps
}

// refusalsOf are the handovers that a node refused.
func refusalsOf(chain *custody.Chain, node string) (all []*custodyv1.RefusedHandover) {
	links := chain.Links()
	for i, l := range links {
		if _, by := custody.Said(l); l.Event.GetHandoverRefused() != nil && by == node {
			all = append(all, &custodyv1.RefusedHandover{
				Dispatched: links[i-1].Signed, Refusal: l.Event.GetHandoverRefused().GetRefusal(), TakenBack: l.Signed,
			})
		}
	}
	return all
}

// receivePart takes in what another node still knows of a referral. It only adds: what this store knows it keeps.
func (a *App) receivePart(tx *kitstore.Tx, from string, part *custodyv1.RecoveryPart) error {
	record, err := a.recovery(tx)
	if err != nil || record == nil {
		return err // it was told again, and is known by now
	}
	if part.GetChain() != nil {
		return a.takeChain(tx, from, &custodyv1.ChainLetter{Referral: part.GetReferral(), Chain: part.GetChain()}, true)
	}
	steps, err := a.openSteps(part)
	if err != nil {
		return refuse(reasonChain)
	}
	for i, s := range steps {
		offered := s.Event.GetOffered()
		switch {
		case offered == nil:
		case s.Event.GetOwner() == a.Node:
			err = a.recallMade(tx, from, s.event)
		case offered.GetToNode() == a.Node && s.Event.GetTime().IsValid(): // its owner signed it, whoever tells it
			err = a.recallOffer(tx, s, steps[i:])
		default:
			return refuse(reasonSender)
		}
		if err != nil {
			return err
		}
	}
	for _, m := range part.GetSteps() {
		if m.GetRefused() == nil {
			continue
		}
		if err := a.recallRefusal(tx, part.GetReferral(), m.GetRefused()); err != nil {
			return err
		}
		if err := a.takenBack(tx, part.GetReferral(), m.GetRefused()); err != nil {
			return err
		}
	}
	return nil
}

// takenBack writes behind a handover that this node refused that its writer took it back, where a node that had not heard so told the chain
// before. Else two would own the referral: nobody sends the chain to who refused, and is no party to it.
func (a *App) takenBack(tx *kitstore.Tx, referral string, h *custodyv1.RefusedHandover) error {
	held, err := chainOf(tx, referral)
	if err != nil || held == nil || h.GetTakenBack() == nil || held.State().Head != custody.HashOf(h.GetDispatched().GetEvent()) {
		return err
	}
	done, err := a.continueWith(tx, held, h.GetTakenBack())
	if !done && err == nil {
		return refuse(reasonChain)
	}
	return err
}

// recallRefusal writes down again that this node refused a handover, which its writer has acted on: it stays refused, and the offer on which it
// was made is over. Whoever tells it, this node has signed which handover that was.
func (a *App) recallRefusal(tx *kitstore.Tx, referral string, h *custodyv1.RefusedHandover) error {
	reply, err := custody.OpenReply(a.Roster, h.GetRefusal())
	handover, hash := &custodyv1.Event{}, custody.HashOf(h.GetDispatched().GetEvent())
	if err != nil || reply.GetNode() != a.Node || reply.GetReferral() != referral || !bytes.Equal(reply.GetRefused().GetDispatched(), hash.Bytes()) ||
		proto.Unmarshal(h.GetDispatched().GetEvent(), handover) != nil || len(handover.GetDispatched().GetOffer()) != len(custody.Hash{}) {
		return refuse(reasonChain)
	}
	key := refusalKey(referral, hash)
	if known, err := store.Refusals.Has(tx, key); known || err != nil {
		return err
	}
	if err := store.Refusals.Insert(tx, key, h.GetRefusal()); err != nil {
		return err
	}
	reason, name := reply.GetRefused().GetReason(), store.OfferName(referral, custody.Hash(handover.GetDispatched().GetOffer()).String())
	record, err := optional(store.Offers.Get(tx, store.OfferKey(name)))
	if err != nil || record == nil {
		return err
	}
	o, err := a.openReceived(tx, name, record)
	if err != nil {
		return err
	}
	if err := a.tellRefused(tx, &referralv1.HandoverRefused{
		Referral: referral, FromNode: handover.GetOwner(), Node: a.Node, Reason: reason, Unit: o.event.GetOffered().GetToUnit(), Sequence: handover.GetSequence(),
	}); err != nil || !rules.Open(record.GetState()) {
		return err
	}
	if err := o.lapse(reason); err != nil {
		return err
	}
	return o.put()
}

// openSteps verifies what stands alone: each event by its owner, each reply by this node.
func (a *App) openSteps(part *custodyv1.RecoveryPart) (steps []step, err error) {
	for _, m := range part.GetSteps() {
		switch {
		case m.GetEvent() != nil:
			l, err := custody.VerifyAlone(a.Roster, m.GetEvent())
			if err != nil || l.Event.GetReferral() != part.GetReferral() {
				return nil, errors.Join(err, errors.New("an event is of another referral"))
			}
			steps = append(steps, step{event: m.GetEvent(), Said: rules.Said{Event: l.Event}})
		case m.GetReply() != nil:
			r, err := custody.OpenReply(a.Roster, m.GetReply())
			if err != nil || r.GetReferral() != part.GetReferral() || r.GetNode() != a.Node {
				return nil, errors.Join(err, errors.New("a reply is not of this node"))
			}
			steps = append(steps, step{reply: m.GetReply(), Said: rules.Said{Reply: r}})
		}
	}
	return steps, nil
}

// recall stores a chain that continues the one held, in a recovery, whatever it says. Offers made to this node, its replies to them and its
// requests are written down again from what the chain holds.
func (w *work) recall(held *custody.Chain) error {
	steps := stepsOf(w.chain, w.Node)
	for i, s := range steps {
		if s.Event.GetOffered() == nil {
			continue
		}
		if err := w.recallOffer(w.tx, s, steps[i:]); err != nil {
			return err
		}
	}
	for _, refused := range refusalsOf(w.chain, w.Node) {
		if err := w.recallRefusal(w.tx, w.chain.State().Referral, refused); err != nil {
			return err
		}
	}
	if err := w.recallWords(); err != nil {
		return err
	}
	return w.take(held)
}

// recallWords writes down again what this node said of the referral as a whole.
func (w *work) recallWords() error {
	referral := w.chain.State().Referral
	for _, l := range w.chain.Links() {
		recorded := l.Event.GetReplyRecorded().GetReply()
		reply := &custodyv1.Reply{}
		if recorded == nil || proto.Unmarshal(recorded.GetReply(), reply) != nil || reply.GetNode() != w.Node || custody.AboutOffer(reply) {
			continue
		}
		if _, err := keepReply(w.tx, referral, recorded); err != nil {
			return err
		}
	}
	return nil
}

// recallOffer writes an offer made to this node down again, with its replies and what they did. Where this store knows every reply
// that is told, it knows at least as much as who tells.
func (a *App) recallOffer(tx *kitstore.Tx, offered step, steps []step) error {
	name := store.OfferName(offered.Event.GetReferral(), custody.HashOf(offered.event.GetEvent()).String())
	record, err := optional(store.Offers.Get(tx, store.OfferKey(name)))
	if err != nil {
		return err
	}
	isNew := record == nil
	if isNew {
		record = &referralv1.OfferRecord{
			Offered: offered.event, State: custodyv1.OfferState_OFFER_STATE_RECEIVED, ReceiveTime: timestamppb.New(a.Now()),
		}
	}
	o, err := a.openReceived(tx, name, record)
	if err != nil {
		return err
	}
	var said []rules.Said
	lost := false
	for _, s := range steps {
		if !bytes.Equal(s.offer(), custody.HashOf(offered.event.GetEvent()).Bytes()) {
			continue
		}
		said = append(said, s.Said)
		if s.reply == nil {
			continue
		}
		number, err := keepReply(tx, name, s.reply)
		if err != nil {
			return err
		}
		if number > 0 {
			record.Replies, lost = number, true
		}
	}
	if isNew || lost && rules.Recallable(record.GetState()) {
		before := record.GetState()
		rules.Recall(record, said)
		for _, s := range said {
			if s.Event.GetOfferWithdrawn() == nil && s.Event.GetOfferExpired() == nil || s.Event.GetOwner() == a.Node {
				continue
			}
			if err := a.tellHeard(tx, a.Now(), s.Event, o.changed(0)); err != nil { // who follows this service may have lost it too
				return err
			}
		}
		return o.recalled(before)
	}
	for _, s := range said {
		if s.Event != nil && s.Event.GetOwner() != a.Node {
			if err := o.hear(s.Event); err != nil {
				return err
			}
		}
	}
	if !lost {
		return nil
	}
	return o.put() // its replies count those that came back
}

// recalled stores what was recalled of an offer. A bed that nobody needs any more is given back, and what waits for an answer of this node
// is looked at when all have answered.
func (o *received) recalled(before custodyv1.OfferState) error {
	if state := o.record.GetState(); state != before && !rules.Open(state) && state != custodyv1.OfferState_OFFER_STATE_FULFILLED {
		if err := o.release(); err != nil {
			return err
		}
	}
	if err := o.shareHold(); err != nil {
		return err
	}
	if err := o.wait(); err != nil {
		return err
	}
	return o.put()
}

// shareHold finds, for those who go together, the offer in whose name their one hold is: it was accepted with the same hold.
func (o *received) shareHold() error {
	if o.record.GetHold() == "" || o.record.GetHoldOf() != "" || len(o.record.GetHoldsFor()) > 0 {
		return nil
	}
	for _, referral := range o.event.GetOffered().GetTogether() {
		offers, err := offersOf(o.tx, referral)
		if err != nil {
			return err
		}
		for _, other := range offers {
			if other.GetHold() != o.record.GetHold() || other.GetHoldOf() != "" {
				continue
			}
			lead, err := o.openRecord(o.tx, referral, other)
			if err != nil {
				return err
			}
			o.record.HoldOf, o.record.Hold = lead.name, ""
			lead.record.HoldsFor = append(lead.record.GetHoldsFor(), o.name)
			return lead.put()
		}
	}
	return nil
}

// keepReply writes a reply of this node down where it is not yet, and answers its number; 0 where it is known.
func keepReply(tx *kitstore.Tx, name string, signed *custodyv1.SignedReply) (uint32, error) {
	said, err := repliesTo(tx, name)
	if err != nil {
		return 0, err
	}
	for _, one := range said {
		if bytes.Equal(one.GetReply(), signed.GetReply()) {
			return 0, nil
		}
	}
	number := uint32(len(said)) + 1
	return number, store.Replies.Insert(tx, kitstore.K(name, number), signed)
}

// recallMade takes in an offer of this node's own that another holds. Where it continues the chain it is written there again; else it
// waits until what goes before it has come, or is lost.
func (a *App) recallMade(tx *kitstore.Tx, from string, offered *custodyv1.SignedEvent) error {
	event := &custodyv1.Event{}
	if err := proto.Unmarshal(offered.GetEvent(), event); err != nil {
		return err
	}
	held, err := chainOf(tx, event.GetReferral())
	if err != nil {
		return err
	}
	hash := custody.HashOf(offered.GetEvent())
	if held != nil && held.State().Offer(hash.Bytes()) != nil {
		return nil
	}
	if done, err := a.continueWith(tx, held, offered); done || err != nil {
		return err
	}
	return a.waitFor(tx, &referralv1.WaitingRecord{FromNode: from, Referral: event.GetReferral(), Offered: offered})
}

// continueWith writes an event that came back from another node behind the chain it follows; false where it does not follow.
func (a *App) continueWith(tx *kitstore.Tx, held *custody.Chain, signed *custodyv1.SignedEvent) (bool, error) {
	if held == nil {
		return false, nil
	}
	came, err := custody.Verify(a.Roster, append(held.Message().GetEvents(), signed), held)
	if err != nil {
		return false, nil
	}
	a.Log.Info("an event came back from another node", logging.Referral(came.State().Referral))
	w := &work{App: a, tx: tx, now: a.Now(), chain: came, recalled: true}
	return true, w.recall(held)
}
