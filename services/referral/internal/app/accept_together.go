package app

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// also are the offers accepted with this one: exactly those of all who go together with it, each with the bed group asked for.
func (o *received) also(request *referralv1.AcceptOfferRequest) (all []*received, err error) {
	together := slices.Clone(o.event.GetOffered().GetTogether())
	for i, one := range request.GetAlso() {
		field := fmt.Sprintf("also[%d].offer", i)
		referral, _ := store.SplitOffer(one.GetOffer())
		at := slices.Index(together, referral)
		if at < 0 {
			return nil, fault.InvalidField(field, "must be an offer for somebody who goes together with this one, named once")
		}
		together = slices.Delete(together, at, at+1)
		if o.checkNode("group", one.GetGroup()) != nil {
			return nil, fault.InvalidField(fmt.Sprintf("also[%d].group", i), "must be a bed group of this node")
		}
		other, _, err := o.getReceived(o.tx, one.GetOffer())
		if fault.ReasonOf(err) == fault.Missing {
			return nil, fault.InvalidField(field, "must be an offer that this node has received")
		}
		if err != nil {
			return nil, err
		}
		if offered := other.event.GetOffered(); other.event.GetOwner() != o.event.GetOwner() || !slices.Contains(offered.GetTogether(), o.event.GetReferral()) || !other.placement() {
			return nil, fault.InvalidField(field, "must be an offer of the same owner, for a placement together with this one")
		}
		again, err := rules.Accept(other.record.GetState())
		switch {
		case err != nil:
			return nil, err
		case again || other.event.GetOffered().GetToUnit() != o.event.GetOffered().GetToUnit():
			return nil, fault.InvalidField(field, "must be an offer to the same unit that is not accepted yet")
		}
		other.record.Group = one.GetGroup()
		all = append(all, other)
	}
	if len(together) > 0 {
		return nil, fault.InvalidField("also", "must name the offers of all who go together with this one, each with its bed group; see the offer's together")
	}
	return all, nil
}

// acceptWith makes the acceptances of those who go together pending, and answers what their hold must hold besides.
func (o *received) acceptWith(ctx context.Context, actor *custodyv1.Actor, annex *custodyv1.AnnexLetter, also []*received) (parts []*shelterv1.Part, err error) {
	o.record.HoldOf, o.record.HoldsFor = "", nil
	for _, other := range also {
		copied, err := o.copyAnnex(ctx, other.event.GetReferral(), annex)
		if err != nil {
			return nil, err
		}
		if err := o.Annexes.Put(o.tx, copied); err != nil {
			return nil, err
		}
		r := other.record
		r.State, r.AcceptFailure, r.Actor, r.AnnexCommitment = custodyv1.OfferState_OFFER_STATE_ACCEPTING, "", actor, commitment(copied)
		r.HoldOf, r.HoldsFor, r.Hold, r.Fence, r.HoldOver = o.name, nil, "", nil, false
		if err := other.put(); err != nil {
			return nil, err
		}
		o.record.HoldsFor = append(o.record.HoldsFor, other.name)
		parts = append(parts, &shelterv1.Part{Group: r.GetGroup(), Quantity: 1, Needs: other.event.GetOffered().GetNeeds(), Offer: other.name})
	}
	return parts, nil
}

// copyAnnex is what people wrote about one of those who go together, for another's referral.
func (a *App) copyAnnex(ctx context.Context, referral string, annex *custodyv1.AnnexLetter) (*custodyv1.AnnexLetter, error) {
	content := &custodyv1.AnnexContent{}
	if err := proto.Unmarshal(annex.GetAnnex().GetContent(), content); err != nil {
		return nil, fmt.Errorf("the annex's content: %w", err)
	}
	if err := a.Annexes.Prepare(ctx, referral); err != nil {
		return nil, err
	}
	return a.newAnnex(referral, content)
}

// heldForAll takes in what became of a hold for an acceptance, and for those accepted with it. Where the acceptance is over by then, the beds are
// for whoever of them has come, and then for all of them; else they are given back: nobody else does.
func (a *App) heldForAll(tx *kitstore.Tx, r outbox.Result) error {
	if err := a.held(tx, r); err != nil {
		return err
	}
	lead, _, err := a.getReceived(tx, r.Command.Subject)
	if err != nil {
		return err
	}
	hold, _ := r.Reply.(*shelterv1.Hold)
	placed := hold.GetState() == shelterv1.Hold_STATE_HELD && lead.record.GetHold() == hold.GetName()
	used := store.WantsBed(lead.record) || lead.record.GetAdmitted() || lead.record.GetState() == custodyv1.OfferState_OFFER_STATE_FULFILLED
	err = lead.eachWith(func(other *received) error {
		came, err := other.came()
		used = used || placed && came
		return err
	})
	if err != nil {
		return err
	}
	err = lead.eachWith(func(other *received) error {
		switch accepting := other.record.GetState() == custodyv1.OfferState_OFFER_STATE_ACCEPTING; {
		case accepting && used && r.Fault == nil && lead.record.GetHold() == hold.GetName():
			return other.heldWith(lead, hold)
		case accepting:
			other.record.HoldOf = ""
			return other.notHeld(r.Fault)
		case placed:
			_, err := other.giveBed()
			return err
		case lead.record.GetHold() == "":
			return other.askedInVain()
		}
		return nil
	})
	if err != nil || used || !placed {
		return err
	}
	if err := lead.release(); err != nil {
		return err
	}
	return lead.put()
}

// heldWith answers that this offer is accepted: its bed is in the hold of another.
func (o *received) heldWith(lead *received, hold *shelterv1.Hold) error {
	o.record.State, o.record.Fence = custodyv1.OfferState_OFFER_STATE_ACCEPTED, lead.record.GetFence()
	err := o.reply(&custodyv1.Reply{
		Actor: o.record.GetActor(), AnnexCommitment: o.record.GetAnnexCommitment(),
		Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{Hold: hold.GetName(), HoldExpireTime: hold.GetExpireTime()}},
	})
	if err != nil {
		return err
	}
	annex, err := o.annexBeside(o.tx, o.event.GetReferral(), o.record.GetAnnexCommitment())
	if err != nil {
		return err
	}
	if err := o.sendAnnex(o.tx, lane(o.event.GetOffered().GetUrgency()), annex, o.event.GetOwner()); err != nil {
		return err
	}
	return o.putHeld()
}

// lead is the offer in whose name the bed of this one is held: another's for those who go together, else itself.
func (o *received) lead() (*received, error) {
	if o.record.GetHoldOf() == "" {
		return o, nil
	}
	lead, _, err := o.getReceived(o.tx, o.record.GetHoldOf())
	return lead, err
}

// eachWith does something for each offer whose bed this one's hold holds too.
func (o *received) eachWith(do func(other *received) error) error {
	for _, name := range o.record.GetHoldsFor() {
		other, _, err := o.getReceived(o.tx, name)
		if err != nil {
			return err
		}
		if other.record.GetHoldOf() != o.name { // it was accepted anew since
			continue
		}
		if err := do(other); err != nil {
			return err
		}
	}
	return nil
}

// usedBut says that the beds of this one's hold are for somebody besides one offer.
func (o *received) usedBut(but *received) (used bool, err error) {
	if len(o.record.GetHoldsFor()) == 0 {
		return false, nil
	}
	look := func(r *received) error {
		if r.name == but.name {
			return nil
		}
		stage, err := r.stage(r.tx, r.record, r.event.GetReferral(), false)
		used = used || stage != shelterv1.LiveOffer_STAGE_UNSPECIFIED
		return err
	}
	if err := look(o); err != nil {
		return false, err
	}
	err = o.eachWith(look)
	return used, err
}
