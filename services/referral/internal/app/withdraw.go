package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// WithdrawOffer takes an offer back, whatever its answer was; the unit hears of it and gives the bed back. Where it was chosen the
// referral falls back. Taking it back again for the same reason is a no-op.
func (a *App) WithdrawOffer(ctx context.Context, request *referralv1.WithdrawOfferRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if err := rules.CheckReason(codes.Withdrawal, request.GetReason(), codes.WithdrawalOther, request.GetNote()); err != nil {
		return nil, err
	}
	return a.withdrawOffer(ctx, request.GetName(), request.GetEtag(), request.GetReason(), request.GetNote(), actor, func(*custody.Offer) error { return nil })
}

// GrantRelease lets a unit go that promised a place and asked to be released. Letting it go again is a no-op.
func (a *App) GrantRelease(ctx context.Context, request *referralv1.GrantReleaseRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	return a.withdrawOffer(ctx, request.GetName(), request.GetEtag(), codes.WithdrawalReleased, request.GetNote(), actor, releaseAsked)
}

func releaseAsked(o *custody.Offer) error {
	if o.ReleaseRequested == nil {
		return fault.New(fault.WrongState, "The unit has not asked to be released, or has its answer. Read the referral again to see what can be done.",
			"state", custody.OfferStateName(o.State))
	}
	return nil
}

func (a *App) withdrawOffer(ctx context.Context, name, tag, reason, note string, actor *custodyv1.Actor, check func(*custody.Offer) error) (*referralv1.Referral, error) {
	again := func(o *custody.Offer) bool {
		return o.State == custodyv1.OfferState_OFFER_STATE_WITHDRAWN && o.Reason == reason
	}
	return a.onOffer(ctx, name, tag, note, again, func(w *work, o *custody.Offer, annex []byte) error {
		if err := check(o); err != nil {
			return err
		}
		return w.withdraw(actor, o, annex, reason)
	})
}

// onOffer is the frame of what an owner does with an offer: what people wrote goes to the unit asked, behind the event.
func (a *App) onOffer(ctx context.Context, name, tag, note string, again func(*custody.Offer) bool,
	do func(w *work, o *custody.Offer, annex []byte) error,
) (*referralv1.Referral, error) {
	referral, hex := store.SplitOffer(name)
	hash, err := custody.ParseHash(hex)
	if err != nil {
		return nil, fault.NotFound("offer")
	}
	annex, err := a.prepareAnnex(ctx, referral, &custodyv1.AnnexContent{Note: note})
	if err != nil {
		return nil, err
	}
	done := func(s *custody.State) bool {
		o := s.Offer(hash.Bytes())
		return o != nil && s.Owner == a.Node && again(o)
	}
	return a.step(ctx, referral, tag, done, func(w *work) error {
		o := w.chain.State().Offer(hash.Bytes())
		if o == nil {
			return fault.NotFound("offer")
		}
		if err := w.owned(); err != nil {
			return err
		}
		if err := do(w, o, commitment(annex)); err != nil {
			return err
		}
		return w.attach(annex, w.lane(), o.Offered.GetToNode())
	})
}

// owned refuses where another node owns the referral.
func (w *work) owned() error {
	if w.chain.State().Owner == w.Node {
		return nil
	}
	return fault.New(fault.NotOwner, "Another node owns the referral now. Ask that node.")
}

func neverOffer(*custody.Offer) bool { return false }
