package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// AcceptOffer accepts an offer made to this node. For a placement the shelter is asked for the bed first; the
// call waits for its answer and gives the shelter's refusal, or the offer as it stands.
func (a *App) AcceptOffer(ctx context.Context, request *referralv1.AcceptOfferRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if err := a.checkAccept(request); err != nil {
		return nil, err
	}
	referral, hash := store.SplitOffer(request.GetName())
	annex, err := a.prepareAnnex(ctx, referral, &custodyv1.AnnexContent{Note: request.GetNote(), Worker: request.GetWorker()})
	if err != nil {
		return nil, err
	}
	var asked bool
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		asked = false
		o, version, err := a.getReceived(tx, request.GetName())
		if err != nil {
			return err
		}
		again, err := rules.Accept(o.record.GetState())
		if again || err != nil {
			return err
		}
		if request.GetEtag() != "" && request.GetEtag() != etag(version) {
			return fault.StaleEtag()
		}
		if !o.placement() {
			return o.accept(request, actor, annex)
		}
		until, err := rules.HoldUntil(request.GetHoldExpireTime(), a.Now())
		if err != nil {
			return err
		}
		if request.GetGroup() == "" {
			return fault.InvalidField("group", "must name the bed group to hold in; a placement needs a bed")
		}
		also, err := o.also(request)
		if err != nil {
			return err
		}
		asked = true
		return o.askHold(ctx, request.GetGroup(), until, actor, annex, also)
	})
	if err != nil {
		return nil, err
	}
	a.await(ctx, "hold-"+hash)
	return a.accepted(context.WithoutCancel(ctx), request.GetName(), asked)
}

func (a *App) checkAccept(request *referralv1.AcceptOfferRequest) error {
	switch {
	case request.GetGroup() != "" && a.checkNode("group", request.GetGroup()) != nil:
		return fault.InvalidField("group", "must be a bed group of this node")
	case request.GetWorker() == nil:
		return fault.InvalidField("worker", "must name who receives the person, with a telephone that is answered")
	}
	return nil
}

// accept accepts an offer of a referral for a service, which needs no bed.
func (o *received) accept(request *referralv1.AcceptOfferRequest, actor *custodyv1.Actor, annex *custodyv1.AnnexLetter) error {
	if request.GetGroup() != "" || request.GetHoldExpireTime() != nil {
		return fault.InvalidField("group", "must be left out: nobody moves in a referral for a service")
	}
	o.record.State = custodyv1.OfferState_OFFER_STATE_ACCEPTED
	if err := o.replyWith(&custodyv1.Reply{Actor: actor, Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{}}}, annex); err != nil {
		return err
	}
	return o.put()
}

// askHold makes the acceptance pending with the command that places the hold.
func (o *received) askHold(ctx context.Context, group string, until time.Time, actor *custodyv1.Actor, annex *custodyv1.AnnexLetter, also []*received) error {
	if err := moving(o.still()); err != nil {
		return err
	}
	parts, err := o.acceptWith(ctx, actor, annex, also)
	if err != nil {
		return err
	}
	if err := o.Annexes.Put(o.tx, annex); err != nil {
		return err
	}
	o.record.State, o.record.AcceptFailure = custodyv1.OfferState_OFFER_STATE_ACCEPTING, ""
	o.record.Hold, o.record.Fence, o.record.HoldOver = "", nil, false // it may have had another, which is over
	o.record.Actor, o.record.AnnexCommitment, o.record.Group = actor, commitment(annex), group
	id := "hold-" + o.hash()
	err = o.command(o.tx, outbox.Command{
		ID: id, Method: shelterv1.ShelterService_PlaceHold_FullMethodName, Subject: o.name,
		Request: &shelterv1.PlaceHoldRequest{
			Group: group, Quantity: 1, Offer: o.name, Needs: o.event.GetOffered().GetNeeds(),
			ExpireTime: timestamppb.New(until), RequestId: o.attempt(id), Also: parts,
		},
	})
	if err != nil {
		return err
	}
	return o.put()
}

// attempt is the key of a hold. The shelter knows it for ever, also when that hold has ended; so whoever accepts after an attempt that
// failed asks by another.
func (o *received) attempt(id string) string {
	if failed := o.record.GetUnheld(); failed > 0 {
		return fmt.Sprintf("%s-%d", id, failed+1)
	}
	return id
}

// answerMargin is how long before the caller's deadline waiting ends, so that there is time left to answer.
const answerMargin = 500 * time.Millisecond

// await waits for a command's result while the caller waits. Without the result the offer is shown as it stands.
func (a *App) await(ctx context.Context, id string) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-answerMargin))
		defer cancel()
	}
	if err := a.Commands.Wait(ctx, id); err != nil {
		return
	}
}

// accepted shows an offer after an attempt to accept it; a refusal of this attempt is the error.
func (a *App) accepted(ctx context.Context, name string, asked bool) (*referralv1.Offer, error) {
	shown, err := a.GetOffer(ctx, name)
	if err != nil {
		return nil, err
	}
	if failure := shown.GetAcceptFailure(); asked && failure != "" {
		return nil, refusedHold(eventsv1.Reason(eventsv1.Reason_value["REASON_"+failure]), name)
	}
	return shown, nil
}

// refusedHold is the shelter's refusal of the hold for an offer, as whoever accepts must read it: what
// they chose is the bed group.
func refusedHold(reason fault.Reason, offer string) error {
	if reason == fault.Missing {
		return fault.InvalidField("group", "must be a bed group that the node's shelter service has")
	}
	return fault.New(reason, "The shelter service refused the hold. Choose another bed group, ask again later, or decline.", "offer", offer).
		WithFields(fault.Violation{Field: "group", Sentence: "is a bed group that cannot be held now"})
}

// getReceived finds an offer made to this node.
func (a *App) getReceived(tx *kitstore.Tx, name string) (*received, uint64, error) {
	row, err := store.Offers.Row(tx, store.OfferKey(name))
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, 0, fault.NotFound("offer")
	}
	if err != nil {
		return nil, 0, err
	}
	o, err := a.openReceived(tx, name, row.Value)
	return o, row.Version, err
}

// Results are the handlers of results, by method.
func (a *App) Results() map[string]outbox.ResultFunc {
	return map[string]outbox.ResultFunc{
		shelterv1.ShelterService_PlaceHold_FullMethodName:   a.heldForAll,
		shelterv1.ShelterService_ConfirmHold_FullMethodName: a.promised,
		shelterv1.ShelterService_AdmitHold_FullMethodName:   a.admitted,
		shelterv1.ShelterService_AdmitWalkIn_FullMethodName: a.walkedIn,
		shelterv1.ShelterService_ReleaseHold_FullMethodName: a.noted,
	}
}

// held takes in what became of the hold for an acceptance.
func (a *App) held(tx *kitstore.Tx, r outbox.Result) error {
	o, _, err := a.getReceived(tx, r.Command.Subject)
	if err != nil {
		return err
	}
	hold, _ := r.Reply.(*shelterv1.Hold)
	if o.record.GetState() != custodyv1.OfferState_OFFER_STATE_ACCEPTING {
		switch {
		case o.record.GetHold() != "":
			return nil
		case hold.GetState() != shelterv1.Hold_STATE_HELD:
			return o.askedInVain()
		}
		o.record.Hold, o.record.Fence = hold.GetName(), hold.GetFence() // the offer ended while the shelter was asked: see heldForAll
		return o.putHeld()
	}
	if r.Fault != nil || hold.GetState() != shelterv1.Hold_STATE_HELD {
		return o.notHeld(r.Fault)
	}
	o.record.State = custodyv1.OfferState_OFFER_STATE_ACCEPTED
	o.record.Hold, o.record.Fence = hold.GetName(), hold.GetFence()
	err = o.reply(&custodyv1.Reply{
		Actor: o.record.GetActor(), AnnexCommitment: o.record.GetAnnexCommitment(),
		Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{Hold: hold.GetName(), HoldExpireTime: hold.GetExpireTime(), Fence: hold.GetFence()}},
	})
	if err != nil {
		return err
	}
	annex, err := a.annexBeside(tx, o.event.GetReferral(), o.record.GetAnnexCommitment())
	if err != nil {
		return err
	}
	if err := a.sendAnnex(tx, lane(o.event.GetOffered().GetUrgency()), annex, o.event.GetOwner()); err != nil {
		return err
	}
	return o.putHeld()
}

// putHeld stores an offer for which a bed is held now: a person who has come meanwhile is given it.
func (o *received) putHeld() error {
	if given, err := o.giveBed(); given || err != nil {
		return err
	}
	return o.put()
}

// askedInVain tells a person that there is no bed for somebody who is here, where the shelter service has refused it: who accepted may not have
// waited for that, or the acceptance may be over.
func (o *received) askedInVain() error {
	came, err := o.came()
	if !came || err != nil {
		return err
	}
	if o.record.GetGroup() != "" { // nothing is asked of the shelter any more
		o.record.Group = ""
		if err := o.put(); err != nil {
			return err
		}
	}
	return o.tellBedLost()
}

// giveBed gives the bed that is held to the person, where they are here; false where they are not.
func (o *received) giveBed() (bool, error) {
	if o.record.GetAdmitted() { // a stay of theirs, which may be over
		return false, nil
	}
	came, err := o.came()
	if !came || err != nil {
		return false, err
	}
	b, err := o.bed()
	if err != nil || b == noBed {
		return false, err
	}
	if err := noteBed(o.tx, o.event.GetReferral(), true); err != nil {
		return false, err
	}
	return true, o.admitAtOnce(b)
}

// noteBed notes with a person's arrival whether a bed is asked for for them.
func noteBed(tx *kitstore.Tx, referral string, asked bool) error {
	arrival, err := optional(store.Arrivals.Get(tx, kitstore.K(referral)))
	if err != nil || arrival == nil || arrival.GetBedAsked() == asked {
		return err
	}
	arrival.BedAsked = asked
	return store.Arrivals.Put(tx, kitstore.K(referral), arrival)
}

// came says that the person is here and has no bed yet: this node has said that they came, and nobody has followed, or it owns the referral since.
func (o *received) came() (bool, error) {
	arrival, err := optional(store.Arrivals.Get(o.tx, kitstore.K(o.event.GetReferral())))
	if err != nil || arrival == nil || arrival.GetBedAsked() {
		return false, err
	}
	if !arrival.GetTaken() {
		return true, nil
	}
	chain, err := chainOf(o.tx, o.event.GetReferral())
	if err != nil || chain == nil {
		return false, err
	}
	return chain.State().Owner == o.Node && here(chain.State().State), nil
}

// notHeld ends an acceptance for which there is no bed: the shelter refused it, or nil, the hold had ended when its answer came.
func (o *received) notHeld(refused *fault.Error) error {
	reason := fault.HoldEnded
	if refused != nil {
		reason = refused.Reason()
	}
	o.record.State = rules.Unheld(o.record)
	o.record.Unheld++
	o.record.AcceptFailure = strings.TrimPrefix(reason.String(), "REASON_")
	o.record.Actor, o.record.AnnexCommitment, o.record.Group = nil, nil, ""
	if err := o.put(); err != nil {
		return err
	}
	return o.askedInVain()
}

// promised takes in whether the hold of the chosen offer is confirmed: then the place is
// promised, else the acceptance is taken back.
func (a *App) promised(tx *kitstore.Tx, r outbox.Result) error {
	o, _, err := a.getReceived(tx, r.Command.Subject)
	if err != nil {
		return err
	}
	if o.record.GetState() != custodyv1.OfferState_OFFER_STATE_CONFIRMED {
		return nil
	}
	b, err := o.bed() // it may have ended while the answer was on its way
	if err != nil {
		return err
	}
	if b == madeBed && r.Fault != nil && !over(r.Fault) { // somebody came meanwhile, and comparing made it a stay: a hold no longer, and there all the same
		return errors.Join(o.promise(), o.put())
	}
	lead, err := o.lead()
	if err != nil {
		return err
	}
	hold, _ := r.Reply.(*shelterv1.Hold)
	reply := &custodyv1.Reply{Actor: a.self()}
	var annex *custodyv1.AnnexLetter
	if r.Fault == nil && b != noBed && proto.Equal(hold.GetFence(), lead.record.GetFence()) { // one that came back knows not its own of it
		o.record.State = custodyv1.OfferState_OFFER_STATE_READY
		reply.Body = &custodyv1.Reply_Ready{Ready: &custodyv1.Ready{Hold: hold.GetName(), Fence: hold.GetFence()}}
		if at := hold.GetLocation(); at != nil {
			annex, err = a.newAnnex(o.event.GetReferral(), &custodyv1.AnnexContent{Destination: &custodyv1.Destination{Address: at.GetAddress(), Phone: at.GetPhone()}})
			if err != nil {
				return err
			}
			reply.AnnexCommitment = commitment(annex)
		}
	} else {
		reply.Body = &custodyv1.Reply_AcceptanceWithdrawn{AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{Reason: codes.DeclineHoldEnded}}
		// What the shelter has not ended itself is given back, also what was confirmed in another life of its store.
		if over(r.Fault) {
			if err := o.holdOver(); err != nil {
				return err
			}
		}
		if err := o.lapse(codes.DeclineHoldEnded); err != nil {
			return err
		}
	}
	if err := o.reply(reply); err != nil {
		return err
	}
	if err := a.sendAnnex(tx, lane(o.event.GetOffered().GetUrgency()), annex, o.event.GetOwner()); err != nil {
		return err
	}
	return o.put()
}
