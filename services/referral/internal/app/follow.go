package app

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// received is an offer made to this node, inside a transaction.
type received struct {
	*App
	tx     *kitstore.Tx
	name   string
	record *referralv1.OfferRecord
	event  *custodyv1.Event
}

func (a *App) openReceived(tx *kitstore.Tx, name string, record *referralv1.OfferRecord) (*received, error) {
	event := &custodyv1.Event{}
	if err := proto.Unmarshal(record.GetOffered().GetEvent(), event); err != nil {
		return nil, fmt.Errorf("the stored offer %s: %w", name, err)
	}
	return &received{App: a, tx: tx, name: name, record: record, event: event}, nil
}

// openRecord is openReceived by the record alone.
func (a *App) openRecord(tx *kitstore.Tx, referral string, record *referralv1.OfferRecord) (*received, error) {
	return a.openReceived(tx, store.OfferName(referral, custody.HashOf(record.GetOffered().GetEvent()).String()), record)
}

// put stores the offer and what is due in it.
func (o *received) put() error {
	now := o.Now()
	if err := store.Offers.Put(o.tx, store.OfferKey(o.name), o.record); err != nil {
		return err
	}
	key := kitstore.K(o.name)
	held, err := optional(store.Deadlines.Get(o.tx, key))
	if err != nil {
		return err
	}
	return o.putDeadline(o.tx, key, held, rules.NextOffer(o.name, o.event, o.record, held, now, o.Limits))
}

// send sends a signed reply to the offer's owner.
func (o *received) send(signed *custodyv1.SignedReply) error {
	return o.mail(o.tx, post.Outgoing{
		To: referralAt(o.event.GetOwner()), Lane: lane(o.event.GetOffered().GetUrgency()), Kind: kindReply,
		Subject: o.event.GetReferral(), Body: &custodyv1.ReplyLetter{Reply: signed},
	})
}

// reply signs a reply, keeps it, sends it to the owner and says so. The caller fills body, actor
// and annex commitment.
func (o *received) reply(r *custodyv1.Reply) error {
	if err := moving(o.still()); err != nil {
		return err
	}
	now := o.Now()
	r.Referral, r.Offer, r.Node = o.event.GetReferral(), custody.HashOf(o.record.GetOffered().GetEvent()).Bytes(), o.Node
	r.Time = timestamppb.New(now)
	signed, err := custody.SignReply(o.Signer, r)
	if err != nil {
		return err
	}
	number, err := keepReply(o.tx, o.name, signed)
	if err != nil {
		return err
	}
	o.record.Replies = max(o.record.GetReplies(), number)
	if err := o.send(signed); err != nil {
		return err
	}
	return o.tellOffer(o.tx, now, r, o.changed(0))
}

// changed is the data of an event of the offer.
func (o *received) changed(state custodyv1.OfferState) *referralv1.OfferChanged {
	return &referralv1.OfferChanged{
		Offer: o.name, Referral: o.event.GetReferral(), State: state, FromNode: o.event.GetOwner(),
		ToNode: o.Node, ToUnit: o.event.GetOffered().GetToUnit(),
	}
}

// hash is the offer's, in hex, as commands are keyed by it.
func (o *received) hash() string {
	_, hash := store.SplitOffer(o.name)
	return hash
}

// follow moves the offers made to this node as the chain says, and asks the shelter for what
// follows: the promise when one is chosen, the bed back when it is withdrawn or the person went
// elsewhere, and the admission when the person is there.
func (w *work) follow() error {
	s := w.chain.State()
	for _, o := range s.Offers {
		if o.Offered.GetToNode() != w.Node {
			continue
		}
		name := store.OfferName(s.Referral, o.Hash.String())
		record, err := optional(store.Offers.Get(w.tx, store.OfferKey(name)))
		if err != nil {
			return err
		}
		if record == nil {
			continue
		}
		rec, err := w.openReceived(w.tx, name, record)
		if err != nil {
			return err
		}
		if o.State == custodyv1.OfferState_OFFER_STATE_WITHDRAWN && rules.Open(record.GetState()) {
			record.DeclineReason = o.Reason
		}
		if err := rec.follow(rules.Follow(record.GetState(), o.State)); err != nil {
			return err
		}
		if err := rec.chosenAfterAll(o.State); err != nil {
			return err
		}
		if err := rec.useBed(s); err != nil {
			return err
		}
	}
	return nil
}

// chosenAfterAll answers an owner whose chain has an offer as chosen that it had taken back, and does not know so since it was restored:
// the bed is given away, and it must ask again. Who has promised, which the owner hears again too, asks to be let go.
func (o *received) chosenAfterAll(chain custodyv1.OfferState) error {
	own := o.record.GetState()
	over := own == custodyv1.OfferState_OFFER_STATE_WITHDRAWN || own == custodyv1.OfferState_OFFER_STATE_EXPIRED
	chosen := chain == custodyv1.OfferState_OFFER_STATE_CONFIRMED || chain == custodyv1.OfferState_OFFER_STATE_READY
	if !over || !chosen {
		return nil
	}
	if still, err := o.still(); err != nil || still {
		return errors.Join(err, o.wait())
	}
	answer := &custodyv1.Reply{Body: &custodyv1.Reply_AcceptanceWithdrawn{
		AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{Reason: codes.DeclineHoldEnded},
	}}
	said, err := repliesTo(o.tx, o.name)
	if err != nil {
		return err
	}
	for _, signed := range said {
		if reply, err := custody.OpenReply(o.Roster, signed); err == nil && reply.GetReady() != nil {
			answer = releaseRequested(codes.DeclineHoldEnded)
		}
	}
	if err := o.lapse(codes.DeclineHoldEnded); err != nil {
		return err
	}
	answer.Actor = o.self()
	if err := o.reply(answer); err != nil {
		return err
	}
	return o.put()
}

func (o *received) follow(state custodyv1.OfferState) error {
	if state == o.record.GetState() {
		return nil
	}
	o.record.State = state
	var err error
	switch state {
	case custodyv1.OfferState_OFFER_STATE_CONFIRMED:
		err = o.promise()
	case custodyv1.OfferState_OFFER_STATE_WITHDRAWN, custodyv1.OfferState_OFFER_STATE_EXPIRED:
		o.record.ReleaseRequested, o.record.ReleaseReason, o.record.QuestionTopic = false, "", ""
		err = o.release()
	}
	if err != nil {
		return err
	}
	return o.put()
}

// release gives the bed back, where one is held. Of those who go together the last gives back what was held for all.
func (o *received) release() error {
	lead, err := o.lead()
	if err != nil || lead.record.GetHold() == "" || lead.record.GetHoldOver() {
		return err
	}
	if used, err := lead.usedBut(o); used || err != nil {
		return err
	}
	if err := o.holdOver(); err != nil || mutant.Off("given up") {
		return err
	}
	return o.command(o.tx, outbox.Command{
		ID: "release-" + lead.hash(), Method: shelterv1.ShelterService_ReleaseHold_FullMethodName, Subject: o.name,
		Request: &shelterv1.ReleaseHoldRequest{Name: lead.record.GetHold()},
	})
}

// holdOver notes that nothing more is asked of the hold: for those who go together also with the offer in whose name it is. The caller
// stores this offer.
func (o *received) holdOver() error {
	lead, err := o.lead()
	if err != nil {
		return err
	}
	o.record.HoldOver, lead.record.HoldOver = true, true
	if lead == o {
		return nil
	}
	return lead.put()
}

// promise is what follows from being chosen: for a service the promise itself, for a placement the question to the shelter whether
// the bed is still held. A bed that is in a stay already, because one of those who go together came first, is there.
func (o *received) promise() error {
	if still, err := o.still(); err != nil || still {
		return errors.Join(err, o.wait())
	}
	ready := &custodyv1.Ready{}
	if o.placement() {
		b, err := o.bed()
		if err != nil {
			return err
		}
		if b != madeBed {
			return o.confirmHold("confirm-")
		}
		lead, err := o.lead()
		if err != nil {
			return err
		}
		ready.Hold, ready.Fence = lead.record.GetHold(), o.record.GetFence()
	}
	o.record.State = custodyv1.OfferState_OFFER_STATE_READY
	return o.reply(&custodyv1.Reply{Actor: o.self(), Body: &custodyv1.Reply_Ready{Ready: ready}})
}

func (o *received) confirmHold(command string) error {
	lead, err := o.lead()
	if err != nil {
		return err
	}
	return o.command(o.tx, outbox.Command{
		ID: command + o.hash(), Method: shelterv1.ShelterService_ConfirmHold_FullMethodName, Subject: o.name,
		Request: &shelterv1.ConfirmHoldRequest{Name: lead.record.GetHold(), Fence: lead.record.GetFence()},
	})
}

// placement says that the person moves, so that a bed is needed.
func (o *received) placement() bool {
	return o.event.GetOffered().GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
}

// useBed asks the shelter to turn the hold of a fulfilled offer into a stay once the person is here, or to take it back when the
// person went elsewhere.
func (o *received) useBed(s *custody.State) error {
	if o.record.GetState() != custodyv1.OfferState_OFFER_STATE_FULFILLED || o.record.GetAdmitted() {
		return nil
	}
	b, err := o.bed()
	if err != nil || b == noBed {
		return err
	}
	switch {
	case s.Owner == o.Node && here(s.State):
		err = o.admit()
	case b == heldBed && (s.Owner != o.Node || s.Terminal()):
		err = o.release()
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return o.put()
}

// here says that a referral's owner has the person.
func here(state custodyv1.ReferralState) bool {
	switch state {
	case custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, custodyv1.ReferralState_REFERRAL_STATE_COMPLETED:
		return true
	}
	return false
}

// bedState is what the shelter has for an offer made to this node.
type bedState int

const (
	noBed   bedState = iota
	heldBed          // a hold
	madeBed          // a stay, which began when the first of those who go together came
)

func (o *received) bed() (bedState, error) {
	lead, err := o.lead()
	switch {
	case err != nil || lead.record.GetHold() == "" || o.record.GetBedEnded():
		return noBed, err
	case !lead.record.GetHoldOver():
		return heldBed, nil
	}
	came := lead.record.GetAdmitted()
	err = lead.eachWith(func(other *received) error {
		came = came || other.record.GetAdmitted()
		return nil
	})
	if err != nil || !came {
		return noBed, err
	}
	return madeBed, nil
}

// admit asks the shelter to turn the hold into a stay; where the arrival of another has done so, whether the bed is kept still.
func (o *received) admit() error {
	b, err := o.bed()
	if err != nil || b == noBed {
		return err
	}
	o.record.HoldOver, o.record.Admitted = true, true
	lead, err := o.lead()
	if err != nil {
		return err
	}
	if b == madeBed { // the other's commands may come to the shelter behind this one's
		if err := o.confirmHold("confirm-arrival-"); err != nil {
			return err
		}
	}
	if err := o.holdOver(); err != nil {
		return err
	}
	o.record.Admitting = !mutant.Off("admitting")
	return o.command(o.tx, outbox.Command{
		ID: "admit-own-" + o.hash(), Method: shelterv1.ShelterService_AdmitHold_FullMethodName, Subject: o.name,
		Request: &shelterv1.AdmitHoldRequest{Name: lead.record.GetHold(), Offer: o.name},
	})
}

// admitted takes in whether the hold is a stay now: it is held for who is here no longer. A refusal leaves somebody without a bed in the
// shelter's books, which a person is told; that they have come stands.
func (a *App) admitted(tx *kitstore.Tx, r outbox.Result) error {
	o, _, err := a.getReceived(tx, r.Command.Subject)
	if err != nil {
		return err
	}
	o.record.Admitting = false
	if err := o.put(); err != nil || r.Fault == nil {
		return err
	}
	if err := a.noted(tx, r); err != nil {
		return err
	}
	switch {
	case !o.record.GetAdmitted(): // comparing was before it
		return nil
	case r.Fault.Reason() == fault.WrongState && r.Fault.Metadata()["state"] == "DISCHARGED": // the stay of this one alone
		o.record.BedEnded = true
		return o.hereWithoutBed()
	case r.Fault.Reason() != fault.HoldEnded: // comparing makes a stay of a hold that stands, or of one that the shelter has lost
		return o.sayBedLost()
	}
	lead, err := o.lead()
	if err != nil {
		return err
	}
	if err := lead.withoutBed(); err != nil {
		return err
	}
	return lead.eachWith((*received).withoutBed)
}

// withoutBed does what follows for one whose bed was in a hold that was to become a stay, and has ended: a person is told of whoever is here, and
// what rests on the bed of another is taken back.
func (o *received) withoutBed() error {
	if o.record.GetAdmitted() {
		return o.hereWithoutBed()
	}
	return o.loseOwn()
}

// over says that the shelter service refused a command because the hold has ended.
func over(refused *fault.Error) bool {
	return refused != nil && (refused.Reason() == fault.HoldEnded || refused.Reason() == fault.Missing)
}
