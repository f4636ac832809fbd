package app

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// GetReferral reads a referral this node takes part in.
func (a *App) GetReferral(ctx context.Context, name string) (shown *referralv1.Referral, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := getReferral(r, name)
		if err != nil {
			return err
		}
		shown, err = a.show(r, row)
		return err
	})
	return shown, err
}

// GetCustodyChain reads the signed events of a referral.
func (a *App) GetCustodyChain(ctx context.Context, name string) (chain *custodyv1.Chain, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		c, err := chainOf(r, name)
		if err != nil {
			return err
		}
		if c == nil {
			return fault.NotFound("referral")
		}
		chain = c.Message()
		return nil
	})
	return chain, err
}

// GetOffer reads an offer this node received, or else one that stands in a chain it holds.
func (a *App) GetOffer(ctx context.Context, name string) (shown *referralv1.Offer, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := store.Offers.Row(r, store.OfferKey(name))
		if err == nil {
			shown, err = showReceived(row)
			return err
		}
		if !errors.Is(err, kitstore.ErrNotFound) {
			return err
		}
		shown, err = a.sent(r, name)
		return err
	})
	return shown, err
}

func showReceived(row kitstore.Row[*referralv1.OfferRecord]) (*referralv1.Offer, error) {
	event := &custodyv1.Event{}
	if err := proto.Unmarshal(row.Value.GetOffered().GetEvent(), event); err != nil {
		return nil, fmt.Errorf("a stored offer: %w", err)
	}
	shown := rules.Received(row.Value, event)
	shown.Etag = etag(row.Version)
	return shown, nil
}

// sent finds an offer in the referral's view.
func (a *App) sent(r kitstore.Reader, name string) (*referralv1.Offer, error) {
	referral, _ := store.SplitOffer(name)
	row, err := getReferral(r, referral)
	if err != nil {
		if fault.ReasonOf(err) == fault.Missing {
			return nil, fault.NotFound("offer")
		}
		return nil, err
	}
	v, err := a.show(r, row)
	if err != nil {
		return nil, err
	}
	for _, o := range v.GetOffers() {
		if o.GetName() == name {
			return o, nil
		}
	}
	return nil, fault.NotFound("offer")
}

// GetAnnex reads what people wrote beside an event or a reply.
func (a *App) GetAnnex(ctx context.Context, name string) (content *custodyv1.AnnexContent, err error) {
	referral, commitment := store.SplitAnnex(name)
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		content, err = a.annexContent(r, referral, commitment)
		return err
	})
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, fault.NotFound("annex")
	}
	return content, err
}

func (a *App) annexContent(r kitstore.Reader, referral, commitment string) (*custodyv1.AnnexContent, error) {
	letter, err := a.Annexes.Get(r, referral, commitment)
	if err != nil {
		return nil, err
	}
	content := &custodyv1.AnnexContent{}
	if err := proto.Unmarshal(letter.GetAnnex().GetContent(), content); err != nil {
		return nil, fmt.Errorf("the annex's content: %w", err)
	}
	return content, nil
}

// holds says whether this node holds a referral's chain.
func (a *App) holds(r kitstore.Reader, referral string) (bool, error) {
	return store.Referrals.Has(r, kitstore.K(referral))
}

// has says that this node holds a referral, or an offer made to it there.
func (a *App) has(r kitstore.Reader, referral string) (bool, error) {
	if held, err := a.holds(r, referral); held || err != nil {
		return held, err
	}
	offers, err := offersOf(r, referral)
	return len(offers) > 0, err
}

// offersOf are the offers made to this node in one referral.
func offersOf(r kitstore.Reader, referral string) (offers []*referralv1.OfferRecord, err error) {
	err = store.Offers.Scan(r, kitstore.Range{Prefix: kitstore.K(referral)}, func(_ kitstore.Key, o *referralv1.OfferRecord) error {
		offers = append(offers, o)
		return nil
	})
	return offers, err
}

// keepAnnex seals and stores an annex that came by letter, or that the service makes itself. Its key is written first, to the key
// file, which may be an older copy that lacks it: a key without an annex is harmless.
func (a *App) keepAnnex(tx *kitstore.Tx, letter *custodyv1.AnnexLetter) error {
	if err := a.Annexes.Prepare(context.Background(), letter.GetReferral()); err != nil {
		return err
	}
	return a.Annexes.Put(tx, letter)
}
