package app

import (
	"context"
	"errors"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/events"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// NewFeed tells what happens to referrals and offers, from the events of a store.
func NewFeed(db *kitstore.DB) *events.Feed[*referralv1.ReferralNews] {
	return events.NewFeed(events.FeedConfig[*referralv1.ReferralNews]{
		DB: db, Log: store.Events, Tell: news,
		Anew: func(id string) *referralv1.ReferralNews {
			return &referralv1.ReferralNews{Position: id, ReadAnew: true}
		},
	})
}

// WatchReferrals tells what happens to referrals and offers here until ctx ends or send fails.
func (a *App) WatchReferrals(ctx context.Context, request *referralv1.WatchReferralsRequest, send func(*referralv1.ReferralNews) error) error {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return err
	}
	return a.Feed.Follow(ctx, request.GetAfter(), send)
}

// news is what is told of an event: each of them has a referral or an offer as its subject.
func news(r kitstore.Reader, e *eventsv1.Event) (*referralv1.ReferralNews, bool, error) {
	referral, hash := store.SplitOffer(e.GetSubject())
	told := &referralv1.ReferralNews{Position: e.GetId(), EventTime: e.GetTime(), EventType: e.GetType(), Referral: referral}
	row, err := store.Referrals.Row(r, kitstore.K(referral))
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return nil, false, err
	}
	if err == nil {
		told.ReferralState, told.ReferralEtag = row.Value.GetReferral().GetState(), etag(row.Version)
	}
	if hash == "" {
		return told, true, nil
	}
	told.Offer = e.GetSubject()
	offer, err := store.Offers.Row(r, store.OfferKey(told.GetOffer()))
	if err == nil { // made to this node
		told.OfferState, told.OfferEtag = offer.Value.GetState(), etag(offer.Version)
		return told, true, nil
	}
	for _, o := range row.Value.GetReferral().GetOffers() {
		if o.GetName() == told.GetOffer() {
			told.OfferState, told.OfferEtag = o.GetState(), told.GetReferralEtag()
		}
	}
	if errors.Is(err, kitstore.ErrNotFound) {
		err = nil
	}
	return told, true, err
}
