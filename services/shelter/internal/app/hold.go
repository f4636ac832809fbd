package app

import (
	"context"
	"errors"
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// GetHold reads a hold. One that has run out is shown as it stands in the store until the next
// change or [App.ExpireHolds] ends it.
func (a *App) GetHold(ctx context.Context, name string) (shown *shelterv1.Hold, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := getHold(r, name)
		if err != nil {
			return err
		}
		shown = hold(row)
		return nil
	})
	return shown, err
}

// ConfirmHold turns a live tentative hold into a promise without expiry.
func (a *App) ConfirmHold(ctx context.Context, request *shelterv1.ConfirmHoldRequest) (*shelterv1.Hold, error) {
	return a.change(ctx, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, h *shelterv1.Hold, now time.Time) (bool, error) {
		return rules.Confirm(h, request.GetFence(), now)
	})
}

// ReleaseHold gives the beds of a live hold back.
func (a *App) ReleaseHold(ctx context.Context, request *shelterv1.ReleaseHoldRequest) (*shelterv1.Hold, error) {
	return a.change(ctx, request.GetName(), request.GetEtag(), func(_ *kitstore.Tx, h *shelterv1.Hold, now time.Time) (bool, error) {
		return true, rules.Release(h, now)
	})
}

// AdmitHold makes a stay of a confirmed hold. Repeating it answers with the same stay.
func (a *App) AdmitHold(ctx context.Context, request *shelterv1.AdmitHoldRequest) (stay *shelterv1.Stay, err error) {
	name, err := a.newName("stays")
	if err != nil {
		return nil, err
	}
	_, err = a.change(ctx, request.GetName(), request.GetEtag(), func(tx *kitstore.Tx, h *shelterv1.Hold, now time.Time) (bool, error) {
		if h.GetState() == shelterv1.Hold_STATE_OCCUPIED {
			stay, err = store.Stays.Get(tx, kitstore.K(h.GetStay()))
			return false, err
		}
		if stay, err = rules.Admit(h, name, now); err != nil {
			return false, err
		}
		return true, store.Stays.Insert(tx, kitstore.K(name), stay)
	})
	if err != nil {
		return nil, err
	}
	return stay, nil
}

// ExpireHolds ends the tentative holds that have run out, and says when the next one does; zero
// when there is none.
func (a *App) ExpireHolds(ctx context.Context) (next time.Time, err error) {
	for {
		if next, err = a.nextExpiry(ctx); err != nil || next.IsZero() || next.After(a.Now()) {
			return next, err
		}
		if err = a.DB.Update(ctx, func(tx *kitstore.Tx) error { return a.expireDue(tx, a.Now()) }); err != nil {
			return time.Time{}, err
		}
	}
}

func (a *App) nextExpiry(ctx context.Context) (next time.Time, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := store.ExpiringHolds.First(r, kitstore.Range{})
		if errors.Is(err, kitstore.ErrNotFound) {
			return nil
		}
		if err == nil {
			next = row.Value.GetHold().GetExpireTime().AsTime()
		}
		return err
	})
	return next, err
}
