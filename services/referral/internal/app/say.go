package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// answer is what a person of an asked unit says of its offer.
type answer struct {
	name, etag string
	// what is done to the offer, for the sentence that refuses it.
	what    string
	reply   *custodyv1.Reply
	content *custodyv1.AnnexContent
	// again says that it was said before; the offer is then shown as it stands. nil: it never was.
	again func(o *received) (bool, error)
	// keep notes it in the record, with the commitment of what was written beside it, or refuses it.
	keep func(o *received, annex []byte) error
}

// say is the frame of what an asked unit does: find the offer, judge the answer by its state, keep it, and send it to the owner.
func (a *App) say(ctx context.Context, actor *custodyv1.Actor, s answer) (*referralv1.Offer, error) {
	referral, _ := store.SplitOffer(s.name)
	annex, err := a.prepareAnnex(ctx, referral, s.content)
	if err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		o, version, err := a.getReceived(tx, s.name)
		if err != nil {
			return err
		}
		if s.again != nil {
			if again, err := s.again(o); again || err != nil {
				return err
			}
		}
		if s.etag != "" && s.etag != etag(version) {
			return fault.StaleEtag()
		}
		state, err := rules.Say(s.what, o.record.GetState(), s.reply)
		if err != nil {
			return err
		}
		o.record.State = state
		if err := s.keep(o, commitment(annex)); err != nil {
			return err
		}
		s.reply.Actor = actor
		if err := o.replyWith(s.reply, annex); err != nil {
			return err
		}
		left := leftOfSaid
		if s.reply.GetReleaseRequested() != nil {
			left = 0
		}
		if err := a.checkSaid(tx, s.reply, left); err != nil {
			return err
		}
		return o.put()
	})
	if err != nil {
		return nil, err
	}
	return a.GetOffer(ctx, s.name)
}

// replyWith signs a reply and sends it with its annex behind it; nil is none.
func (o *received) replyWith(r *custodyv1.Reply, annex *custodyv1.AnnexLetter) error {
	r.AnnexCommitment = commitment(annex)
	if err := o.reply(r); err != nil {
		return err
	}
	return o.sendAnnex(o.tx, lane(o.event.GetOffered().GetUrgency()), annex, o.event.GetOwner())
}

// sameText says that an annex kept holds a note. One that was erased is taken for the same.
func (o *received) sameText(commitment []byte, note string) (bool, error) {
	if len(commitment) != len(custody.Hash{}) {
		return note == "", nil
	}
	content, err := optional(o.annexContent(o.tx, o.event.GetReferral(), custody.Hash(commitment).String()))
	return content == nil || content.GetNote() == note, err
}
