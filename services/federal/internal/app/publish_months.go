package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	kitstore "amanat.example/services/kit/store"
)

const (
	// settle is how long after its end a month is published: links are cut for days, seldom for more than five, and letters follow then. What is
	// not there by now counts in a later edition only where it is much (rules.Suppression).
	settle = 10 * 24 * time.Hour
	// quiet is for how long nothing may come to a month before it is published, since what is hidden then stays so: a province that has just joined, or
	// a link that is just back, is waited for.
	quiet = 24 * time.Hour
	// patience is how long a month waits for quiet at most.
	patience = 20 * 24 * time.Hour
	// lookAgain is when to look whether there is a new month, at the latest.
	lookAgain = time.Hour
)

// PublishMonths publishes the first edition of every month that is over and has settled, and answers when it is to be called again.
func (a *App) PublishMonths(ctx context.Context) (next time.Time, err error) {
	now := a.Now()
	next = now.Add(lookAgain)
	// A store that was put back to an older copy, and nobody said so, learns it from its peers when it hears them: only then does it know that months
	// are to stand still.
	if now.Before(a.Opened.Add(lookAgain)) {
		return a.Opened.Add(lookAgain), nil
	}
	months, err := a.unpublished(ctx)
	if err != nil {
		return time.Time{}, err
	}
	for _, month := range months {
		at, err := settled(month)
		if err != nil {
			return time.Time{}, err
		}
		if !at.After(now) {
			if at, err = a.await(ctx, month, now); err != nil {
				return time.Time{}, err
			}
		}
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	return next, nil
}

// unpublished are the months that may have their first edition, in order.
func (a *App) unpublished(ctx context.Context) (months []string, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		all, err := editable(r)
		for _, month := range all {
			there, failed := store.Frozen.Has(r, kitstore.K(month))
			if err = errors.Join(err, failed); !there {
				months = append(months, month)
			}
		}
		return err
	})
	return months, err
}

// await looks whether anything has come to a month since it was looked at last, and publishes it if not. It answers when to look again; zero when
// it is published.
func (a *App) await(ctx context.Context, month string, now time.Time) (again time.Time, err error) {
	key := kitstore.K(month)
	var awaited *federalv1.AwaitedMonth
	err = a.DB.View(ctx, func(r kitstore.Reader) (err error) {
		awaited, err = store.Awaited.Get(r, key)
		return err
	})
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return time.Time{}, err
	}
	// What is put off further than a day was looked at by a clock that had run ahead; the waiting begins anew.
	if awaited.GetLookTime().AsTime().After(now.Add(quiet)) {
		awaited = nil
	}
	if now.Before(awaited.GetLookTime().AsTime()) {
		return awaited.GetLookTime().AsTime(), nil
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		if there, err := store.Frozen.Has(tx, key); err != nil || there { // a revision was faster
			return err
		}
		leaves, err := a.leaves(tx, month)
		if err != nil {
			return err
		}
		digest := sha256.New()
		for _, l := range leaves {
			_, _ = fmt.Fprintf(digest, "%q\n", fmt.Sprint(l))
		}
		sum := digest.Sum(nil)
		since := awaited.GetSinceTime()
		if awaited == nil {
			since = timestamppb.New(now)
		}
		if !bytes.Equal(sum, awaited.GetDigest()) && now.Sub(since.AsTime()) < patience {
			again = now.Add(quiet)
			return store.Awaited.Put(tx, key, &federalv1.AwaitedMonth{Digest: sum, SinceTime: since, LookTime: timestamppb.New(again)})
		}
		_, err = a.firstEdition(tx, month, leaves, now)
		return err
	})
	return again, err
}

// firstEdition publishes a month for the first time.
func (a *App) firstEdition(tx *kitstore.Tx, month string, leaves []rules.Leaf, now time.Time) (*federalv1.Publication, error) {
	if there, err := store.Awaited.Has(tx, kitstore.K(month)); err != nil {
		return nil, err
	} else if there {
		if err := store.Awaited.Delete(tx, kitstore.K(month)); err != nil {
			return nil, err
		}
	}
	frozen := rules.Published.FirstEdition(a.joined(leaves), leaves)
	return publish(tx, month, frozen, federalv1.RevisionReason_REVISION_REASON_UNSPECIFIED, now)
}

// publish keeps an edition and what stands behind it.
func publish(tx *kitstore.Tx, month string, frozen *federalv1.FrozenMonth, reason federalv1.RevisionReason, now time.Time) (*federalv1.Publication, error) {
	p := &federalv1.Publication{
		Name:  fmt.Sprintf("publications/%s-e%d", month, frozen.GetEdition()),
		Month: month, PublishTime: timestamppb.New(now), Reason: reason, Etag: "1", // its row is never changed
	}
	rules.Published.Tell(frozen, p)
	frozen.Publication = p.GetName()
	if err := store.Publications.Insert(tx, store.PublicationKey(month, p.GetEdition()), p); err != nil {
		return nil, err
	}
	return p, store.Frozen.Put(tx, kitstore.K(month), frozen)
}

// listed is a publication without its tables.
func listed(p *federalv1.Publication) *federalv1.Publication {
	p = proto.CloneOf(p)
	p.Tables, p.Codes = nil, nil
	return p
}
