package app

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// RequestReturn asks the owner for the person back, as the first owner. It is said again, by its deadline, until the owner's chain
// holds it. It names the ownership it was asked in: when the owner hands the person on meanwhile it has lapsed, and a person decides
// whether to ask the new owner. Asking again while it is not answered is a no-op; after the owner has refused it can be asked anew.
func (a *App) RequestReturn(ctx context.Context, request *referralv1.RequestReturnRequest, actor *custodyv1.Actor) (shown *referralv1.Referral, err error) {
	if err := rules.CheckReason(codes.Return, request.GetReason(), codes.ReturnOther, request.GetNote()); err != nil {
		return nil, err
	}
	if a.checkNode("unit", request.GetUnit()) != nil {
		return nil, fault.InvalidField("unit", "must be a unit of this node, which takes the person back")
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		w, err := a.begin(tx, request.GetName())
		if err != nil {
			return err
		}
		row, err := getReferral(tx, request.GetName())
		if err != nil {
			return err
		}
		again, err := rules.AskBack(w.chain.State(), a.Node, row.Value.GetReturnRequest() != nil)
		if again {
			shown, err = a.show(tx, row)
			return err
		}
		switch {
		case err != nil:
			return err
		case request.GetEtag() != "" && request.GetEtag() != etag(row.Version):
			return fault.StaleEtag()
		}
		row.Value.ReturnRequest, err = w.say(row.Value, &custodyv1.Reply{
			Actor: actor, AnnexCommitment: commitment(annex), Body: &custodyv1.Reply_ReturnRequested{ReturnRequested: &custodyv1.ReturnRequested{
				Epoch: w.chain.State().Epoch, Ordinal: w.chain.State().Returns, Reason: request.GetReason(), Unit: request.GetUnit(),
			}},
		})
		if err != nil {
			return err
		}
		if err := w.attach(annex, w.lane(), w.chain.State().Owner); err != nil {
			return err
		}
		shown, err = w.end(row.Value)
		return err
	})
	return shown, err
}

// say signs what this node says of a referral it does not own, keeps it and sends it to the owner. The caller fills actor, annex
// commitment and body, and the offer where it answers one, and stores the record.
func (w *work) say(record *referralv1.ReferralRecord, r *custodyv1.Reply) (*custodyv1.SignedReply, error) {
	if err := moving(w.still()); err != nil {
		return nil, err
	}
	s := w.chain.State()
	r.Referral, r.Node, r.Time = s.Referral, w.Node, timestamppb.New(w.now)
	signed, err := custody.SignReply(w.Signer, r)
	if err != nil {
		return nil, err
	}
	record.Replies++
	if _, err := keepReply(w.tx, s.Referral, signed); err != nil {
		return nil, err
	}
	return signed, w.sendReply(signed, r)
}

func (w *work) sendReply(signed *custodyv1.SignedReply, r *custodyv1.Reply) error {
	s := w.chain.State()
	if !custody.AboutOffer(r) { // as sendWord does
		if err := w.sendChain(laneOfReply(r, w.lane()), s.Owner); err != nil {
			return err
		}
	}
	return w.sendAlone(laneOfReply(r, w.lane()), signed)
}

// sendAlone sends a reply to the owner, whom the chain reaches in the same lane ahead of it where the reply names what is in it.
func (w *work) sendAlone(lane postv1.Lane, signed *custodyv1.SignedReply) error {
	s := w.chain.State()
	return w.mail(w.tx, post.Outgoing{
		To: referralAt(s.Owner), Lane: lane, Kind: kindReply, Subject: s.Referral, Body: &custodyv1.ReplyLetter{Reply: signed},
	})
}

// answered forgets a request for return that the chain answers: it is recorded there, or it says nothing any more.
func (w *work) answered(record *referralv1.ReferralRecord) error {
	request := record.GetReturnRequest()
	if request == nil {
		return nil
	}
	s := w.chain.State()
	recorded := w.chain.Holds(request)
	if !recorded && s.Owner != w.Node && !s.Terminal() && rules.SameEpoch(request, s) {
		return nil
	}
	record.ReturnRequest = nil
	if recorded {
		return nil
	}
	return w.tellChanged("return-lapsed", w.chain.Links()[len(w.chain.Links())-1], s.State)
}

// promiseReturn answers READY by itself where the owner's chain has newly chosen this node's request for return: who asks a person
// back has a place.
func (w *work) promiseReturn(record *referralv1.ReferralRecord) error {
	links := w.chain.Links()
	if w.stored == len(links) {
		return nil
	}
	for _, l := range links[w.stored:] {
		chosen := w.chain.State().Chosen()
		if chosen == nil || l.Event.GetConfirmed() == nil || string(l.Event.GetConfirmed().GetOffer()) != string(chosen.Hash.Bytes()) {
			continue
		}
		return w.sayReady(record)
	}
	return nil
}

// sayReady promises the place that a chosen request for return asks for; nothing where there is none of this node's.
func (w *work) sayReady(record *referralv1.ReferralRecord) error {
	if still, err := w.still(); still || err != nil {
		return errors.Join(err, w.wait())
	}
	chosen := w.chain.State().Chosen()
	if chosen == nil || !chosen.Return || chosen.State != custodyv1.OfferState_OFFER_STATE_CONFIRMED || chosen.Offered.GetToNode() != w.Node {
		return nil
	}
	_, err := w.say(record, &custodyv1.Reply{
		Actor: w.self(), Offer: chosen.Hash.Bytes(), Body: &custodyv1.Reply_Ready{Ready: &custodyv1.Ready{}},
	})
	return err
}

// repeatReturn says again what the owner has not answered: the request for return, or the promise of the place. The chain has gone ahead in
// the lane.
func (w *work) repeatReturn(lane postv1.Lane) error {
	row, err := getReferral(w.tx, w.chain.State().Referral)
	if err != nil {
		return err
	}
	if signed := row.Value.GetReturnRequest(); signed != nil {
		return w.sendAlone(lane, signed)
	}
	before := row.Value.GetReplies()
	if err := w.sayReady(row.Value); err != nil || row.Value.GetReplies() == before {
		return err
	}
	return store.Referrals.Put(w.tx, row.Key, row.Value)
}
