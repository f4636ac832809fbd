package app

import (
	"context"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// ListReferrals lists the referrals this node takes part in, newest first.
func (a *App) ListReferrals(ctx context.Context, request *referralv1.ListReferralsRequest) (*referralv1.ListReferralsResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	f := request.GetFilter()
	after, err := a.Tokens.Read("referrals", f, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	index, rg := store.ReferralsByTime, kitstore.Range{Reverse: true}
	if f.GetReference() != "" {
		index, rg = store.ReferralsByReference, kitstore.Range{Prefix: kitstore.K(f.GetReference())}
	}
	response := &referralv1.ListReferralsResponse{}
	next, err := a.page(ctx, after, paging.Size(request.GetPageSize(), 50), func(r kitstore.Reader, after kitstore.Key, limit int) (int, kitstore.Key, error) {
		rg.After = after
		rows, next, err := index.Page(r, rg, limit)
		if err != nil {
			return 0, nil, err
		}
		found := 0
		for _, row := range rows {
			if !matchesReferral(f, row.Value.GetReferral()) {
				continue
			}
			shown, err := a.show(r, row)
			if err != nil {
				return 0, nil, err
			}
			response.Referrals = append(response.Referrals, shown)
			found++
		}
		return found, next, nil
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("referrals", f, next)
	return response, err
}

func matchesReferral(f *referralv1.ListReferralsRequest_Filter, v *referralv1.Referral) bool {
	return (f.GetState() == 0 || f.GetState() == v.GetState()) &&
		(f.GetOwnerNode() == "" || f.GetOwnerNode() == v.GetOwnerNode()) &&
		(f.GetOriginNode() == "" || f.GetOriginNode() == v.GetOriginNode()) &&
		(f.GetReference() == "" || f.GetReference() == v.GetReference())
}

// ListOffers lists the offers made to this node's units, oldest first.
func (a *App) ListOffers(ctx context.Context, request *referralv1.ListOffersRequest) (*referralv1.ListOffersResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	f := request.GetFilter()
	after, err := a.Tokens.Read("offers", f, request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	response := &referralv1.ListOffersResponse{}
	next, err := a.page(ctx, after, paging.Size(request.GetPageSize(), 50), func(r kitstore.Reader, after kitstore.Key, limit int) (int, kitstore.Key, error) {
		rows, next, err := store.OffersByTime.Page(r, kitstore.Range{After: after}, limit)
		if err != nil {
			return 0, nil, err
		}
		found := 0
		for _, row := range rows {
			shown, err := showReceived(row)
			if err != nil {
				return 0, nil, err
			}
			if matchesOffer(f, shown) {
				response.Offers = append(response.Offers, shown)
				found++
			}
		}
		return found, next, nil
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("offers", f, next)
	return response, err
}

func matchesOffer(f *referralv1.ListOffersRequest_Filter, o *referralv1.Offer) bool {
	return (f.GetState() == 0 || f.GetState() == o.GetState()) &&
		(f.GetToUnit() == "" || f.GetToUnit() == o.GetToUnit()) &&
		(f.GetReference() == "" || f.GetReference() == o.GetReference())
}
