package app

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// GetHold reads a hold. One that has run out is shown as it stands in the store until the next
// change or [App.ExpireHolds] ends it.
//
// tell says whether the caller may learn where a promised place is.
func (a *App) GetHold(ctx context.Context, name string, tell bool) (shown *shelterv1.Hold, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := getHold(r, name)
		if err != nil {
			return err
		}
		shown = hold(row)
		if !tell {
			return nil
		}
		return a.locate(r, shown)
	})
	return shown, err
}

// locate says where to bring the person, once the place is promised and as long as anybody of it is there: a shelter may have moved
// since then, and who has left need not know where to.
func (a *App) locate(r kitstore.Reader, h *shelterv1.Hold) error {
	switch h.GetState() {
	case shelterv1.Hold_STATE_CONFIRMED:
	case shelterv1.Hold_STATE_OCCUPIED:
		if there, err := anybodyStays(r, h); err != nil || !there {
			return err
		}
	default:
		return nil
	}
	s, err := store.Shelters.Get(r, a.Keys, kitstore.K(store.ShelterOf(h.GetGroup())))
	if err != nil {
		return err
	}
	if s.GetAddress() != "" || s.GetPhone() != "" {
		h.Location = &shelterv1.Location{Address: s.GetAddress(), Phone: s.GetPhone()}
	}
	return nil
}

// anybodyStays says whether somebody who came on a hold has not left.
func anybodyStays(r kitstore.Reader, h *shelterv1.Hold) (bool, error) {
	first, err := store.Stays.Get(r, kitstore.K(h.GetStay()))
	if err != nil || store.Current(first) {
		return err == nil, err
	}
	for _, name := range first.GetCompanions() {
		if s, err := store.Stays.Get(r, kitstore.K(name)); err != nil || store.Current(s) {
			return err == nil, err
		}
	}
	return false, nil
}

// ListHolds lists holds in order of placing, without the location.
func (a *App) ListHolds(ctx context.Context, request *shelterv1.ListHoldsRequest) (*shelterv1.ListHoldsResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	after, err := a.Tokens.Read("holds", request.GetFilter(), request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	response, shelter := &shelterv1.ListHoldsResponse{}, request.GetFilter().GetShelter()
	err = a.DB.View(ctx, func(r kitstore.Reader) (err error) {
		page := func(after kitstore.Key, limit int) ([]kitstore.Row[*shelterv1.HoldRecord], kitstore.Key, error) {
			if shelter != "" && request.GetFilter().GetLive() {
				return store.LiveHolds.Page(r, kitstore.Range{Prefix: kitstore.K(shelter), After: after}, limit)
			}
			return store.Holds.Page(r, kitstore.Range{After: after}, limit)
		}
		after, err = pager(paging.Size(request.GetPageSize(), 50), after, page, func(row kitstore.Row[*shelterv1.HoldRecord]) (bool, error) {
			h := row.Value.GetHold()
			if shelter != "" && store.ShelterOf(h.GetGroup()) != shelter || request.GetFilter().GetLive() && !store.Live(h) {
				return false, nil
			}
			response.Holds = append(response.Holds, hold(row))
			return true, nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("holds", request.GetFilter(), after)
	return response, err
}

// RenewHold lets a tentative hold last longer, once.
func (a *App) RenewHold(ctx context.Context, request *shelterv1.RenewHoldRequest) (*shelterv1.Hold, error) {
	return a.change(ctx, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, h *shelterv1.Hold, now time.Time) (bool, error) {
		return true, rules.Renew(h, request.GetExpireTime(), now)
	})
}

// ConfirmHold turns a live tentative hold into a promise without expiry, and says where the place is.
func (a *App) ConfirmHold(ctx context.Context, request *shelterv1.ConfirmHoldRequest) (*shelterv1.Hold, error) {
	h, err := a.change(ctx, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, h *shelterv1.Hold, now time.Time) (bool, error) {
		return rules.Confirm(h, request.GetFence(), now)
	})
	if err != nil {
		return nil, err
	}
	return h, a.DB.View(ctx, func(r kitstore.Reader) error { return a.locate(r, h) })
}

// ReleaseHold gives the beds of a live hold back.
func (a *App) ReleaseHold(ctx context.Context, request *shelterv1.ReleaseHoldRequest) (*shelterv1.Hold, error) {
	return a.change(ctx, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, h *shelterv1.Hold, now time.Time) (bool, error) {
		return true, rules.Release(h, rules.ByHolder, now)
	})
}

// AdmitHold makes a stay of each part of a confirmed hold, and answers with the first, or with that of the offer whose person has come. Repeating it
// answers with the same stay; one that had ended before its person came is refused: nobody comes to a bed that is kept no longer.
func (a *App) AdmitHold(ctx context.Context, request *shelterv1.AdmitHoldRequest) (stay *shelterv1.Stay, err error) {
	names := make([]string, maxParts)
	for i := range names {
		if names[i], err = a.newName("stays"); err != nil {
			return nil, err
		}
	}
	_, err = a.change(ctx, request.GetName(), request.GetEtag(), func(tx *kitstore.Tx, h *shelterv1.Hold, now time.Time) (bool, error) {
		if h.GetState() == shelterv1.Hold_STATE_OCCUPIED {
			stay, err = comes(tx, h, request.GetOffer())
			return false, err
		}
		s, err := store.Shelters.GetPublic(tx, kitstore.K(store.ShelterOf(h.GetGroup())))
		if err != nil {
			return false, err
		}
		stays, err := rules.Admit(h, store.Parts(h), names, s.GetLongestStayDays(), now)
		if err != nil {
			return false, err
		}
		rules.Await(stays, request.GetOffer())
		for _, one := range stays {
			if err := a.putStay(tx, one, "admitted", now); err != nil {
				return false, err
			}
		}
		stay, err = comes(tx, h, request.GetOffer())
		return true, err
	})
	if err != nil {
		return nil, err
	}
	return stay, nil
}

// comes is the stay of who comes on an offer by a hold that is occupied: the first of the hold where no stay names the offer.
func comes(tx *kitstore.Tx, h *shelterv1.Hold, offer string) (*shelterv1.Stay, error) {
	first, err := getStay(tx, h.GetStay())
	if err != nil || offer == "" {
		return first, err
	}
	for _, name := range append([]string{h.GetStay()}, first.GetCompanions()...) {
		s, err := getStay(tx, name)
		if err != nil {
			return nil, err
		}
		if s.GetOffer() != offer {
			continue
		}
		changed, err := rules.Come(s)
		if err != nil || !changed {
			return s, err
		}
		s.Etag = ""
		if err := store.Stays.Put(tx, kitstore.K(name), s); err != nil {
			return nil, err
		}
		return getStay(tx, name)
	}
	return first, nil
}

// maxParts is how many parts a hold has at most: the first and ten besides.
const maxParts = 11

// FireDue ends the tentative holds and outages whose time has come, and says which waitlist entries are due for review. It
// answers when the next one is; zero when there is none.
func (a *App) FireDue(ctx context.Context) (next time.Time, err error) {
	if a.Gate.Closed() != nil {
		return a.Now().Add(time.Second), nil // a hold of a restored store is not ended before it is known what became of it
	}
	for {
		if next, err = a.nextDue(ctx); err != nil || next.IsZero() || next.After(a.Now()) {
			return next, err
		}
		if err = a.DB.Update(ctx, func(tx *kitstore.Tx) error { return a.expireDue(tx, a.Now()) }); err != nil {
			return time.Time{}, err
		}
	}
}

func (a *App) nextDue(ctx context.Context) (next time.Time, err error) {
	sooner := func(at *timestamppb.Timestamp) {
		if t := at.AsTime(); next.IsZero() || t.Before(next) {
			next = t
		}
	}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		if row, err := store.ExpiringHolds.First(r, kitstore.Range{}); err == nil {
			sooner(row.Value.GetHold().GetExpireTime())
		} else if !errors.Is(err, kitstore.ErrNotFound) {
			return err
		}
		if row, err := store.EndingOutages.First(r, kitstore.Range{}); err == nil {
			sooner(row.Value.GetUntilTime())
		} else if !errors.Is(err, kitstore.ErrNotFound) {
			return err
		}
		if row, err := store.DueReviews.First(r, kitstore.Range{}); err == nil {
			sooner(row.Value.GetReviewTime())
		} else if !errors.Is(err, kitstore.ErrNotFound) {
			return err
		}
		return nil
	})
	return next, err
}
