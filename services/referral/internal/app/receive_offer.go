package app

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// receiveOffer takes in an offer made to a unit of this node, and what its owner says of it later.
func (a *App) receiveOffer(tx *kitstore.Tx, from string, letter *custodyv1.OfferLetter) error {
	link, err := custody.VerifyAlone(a.Roster, letter.GetOffered())
	if err != nil {
		return refuse(reasonOffer)
	}
	if hash := custody.OfferOf(link.Event); hash != nil {
		return a.hear(tx, from, link.Event, custody.Hash(hash))
	}
	return a.storeOffer(tx, from, letter, link)
}

// hear moves an offer made to this node as its owner says, and gives the bed back when it is over.
func (a *App) hear(tx *kitstore.Tx, from string, e *custodyv1.Event, hash custody.Hash) error {
	o, _, err := a.getReceived(tx, store.OfferName(e.GetReferral(), hash.String()))
	if fault.ReasonOf(err) == fault.Missing {
		return refuse(reasonUnknown)
	}
	if err != nil {
		return err
	}
	if o.event.GetOwner() != from || e.GetOwner() != from {
		return refuse(reasonSender)
	}
	return o.hear(e)
}

// hear takes in what the owner did with this offer. An answer that comes again is none to a question, or a request, that was put since. By its
// position none but a refusal to let go is known again: an owner that was restored writes what it does at positions that this node has heard of.
func (o *received) hear(e *custodyv1.Event) error {
	if answers, err := o.answers(e.GetAnswered()); !answers || err != nil {
		return err
	}
	state := rules.Hear(o.record.GetState(), e)
	refused := e.GetReleaseRefused() != nil && o.record.GetReleaseRequested() && e.GetSequence() > o.record.GetHeardSequence()
	if state == o.record.GetState() && !refused {
		return nil
	}
	if e.GetOfferWithdrawn() != nil {
		o.record.DeclineReason = e.GetOfferWithdrawn().GetReason()
	}
	if refused {
		o.record.HeardSequence = e.GetSequence()
		o.record.ReleaseRequested, o.record.ReleaseReason = false, ""
	}
	if e.GetAnswered() != nil {
		o.record.QuestionTopic = ""
	}
	if o.event.GetOwner() != o.Node { // else the owner's chain has told it
		err := o.tellHeard(o.tx, o.Now(), e, o.changed(0))
		if err != nil {
			return err
		}
	}
	if refused {
		return o.put()
	}
	return o.follow(state)
}

// answers says that an answer, if it is one, is to what this node asked last. An owner that was restored answers anew what it had answered before.
func (o *received) answers(a *custodyv1.Answered) (bool, error) {
	if a == nil {
		return true, nil
	}
	said, err := repliesTo(o.tx, o.name)
	for _, signed := range slices.Backward(said) {
		r := &custodyv1.Reply{}
		if err := proto.Unmarshal(signed.GetReply(), r); err != nil {
			return false, err
		}
		if r.GetQuestion() != nil {
			return bytes.Equal(custody.ReplyHash(signed).Bytes(), a.GetQuestion()), nil
		}
	}
	return false, err
}

// storeOffer stores an offer, and answers that it is stored.
func (a *App) storeOffer(tx *kitstore.Tx, from string, letter *custodyv1.OfferLetter, link custody.Link) error {
	switch offered := link.Event.GetOffered(); {
	case link.Event.GetOwner() != from:
		return refuse(reasonSender)
	case offered.GetToNode() != a.Node:
		return refuse(reasonReceiver)
	case !link.Event.GetTime().IsValid():
		return refuse(reasonOffer)
	}
	name := store.OfferName(link.Event.GetReferral(), link.Hash.String())
	if known, err := store.Offers.Has(tx, store.OfferKey(name)); known || err != nil {
		return err
	}
	o, err := a.openReceived(tx, name, &referralv1.OfferRecord{
		Offered: letter.GetOffered(), State: custodyv1.OfferState_OFFER_STATE_RECEIVED,
		ReceiveTime: timestamppb.New(a.Now()), NewIn: a.newIn(),
	})
	if err != nil {
		return err
	}
	err = o.reply(&custodyv1.Reply{Actor: a.self(), Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}})
	if err != nil {
		return err
	}
	return o.put()
}
