package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

const (
	// repeatEvery is how often every shelter is advertised though nothing changed, so that what a hub lost or a node did not
	// hear heals by itself, and its age stays small.
	repeatEvery = 5 * time.Minute
	// coalesce is how long changes are gathered after a round of adverts.
	coalesce = time.Second
	// retryAfter is how soon what the broker did not take is sent again.
	retryAfter = 5 * time.Second
	// inFlight bounds how many adverts are on their way to the broker.
	inFlight = 128
)

// publish advertises every shelter at start, when the hub is there again and every five minutes, and one that has changed within about a
// second. What waits is a set of names, no larger than the directory however long the hub is away, and it is worked out here: a commit does no
// more than leave what it changed to the directory, as it does for searches.
func (a *Adverts) publish(ctx context.Context) error {
	waiting := map[string]bool{}
	all, wait := true, time.Duration(0)
	for repeat := a.App.After(repeatEvery); ; {
		if all {
			names, err := a.App.shelterNames(ctx, "")
			if err != nil {
				return ended(ctx, err)
			}
			for _, name := range names {
				waiting[name] = true
			}
			repeat, all = a.App.After(repeatEvery), false
		}
		for _, name := range a.App.Directory.takeTouched() {
			waiting[name] = true
		}
		switch {
		case len(waiting) == 0 || !a.Transport.Connected(): // Reconnected tells when
		case a.App.Gate.Closed() != nil: // what a restored store takes for free may be promised
			wait = coalesce
		default:
			failed, err := a.round(ctx, waiting)
			if err != nil {
				return ended(ctx, err)
			}
			if wait = coalesce; failed {
				wait = retryAfter
			}
		}
		// A round that is due soon is waited for without listening to changes: they are gathered meanwhile.
		var wake <-chan struct{}
		var again <-chan time.Time
		if wait > 0 {
			again, wait = a.App.After(wait), 0
		} else {
			wake = a.App.Directory.changed
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.Transport.Reconnected():
			all = true
		case <-repeat:
			all = true
		case <-wake:
		case <-again:
		}
	}
}

// ended is nil where a loop ends because it was told to.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// round advertises what waits, and leaves in it what the broker did not take.
func (a *Adverts) round(ctx context.Context, waiting map[string]bool) (failed bool, err error) {
	var why error
	for names := range slices.Chunk(slices.Sorted(maps.Keys(waiting)), inFlight) {
		if why != nil && !a.Transport.Connected() {
			break
		}
		adverts, err := a.adverts(ctx, names)
		if err != nil {
			return false, err
		}
		for _, name := range names {
			delete(waiting, name)
		}
		left, err := a.send(ctx, adverts)
		for _, name := range left {
			waiting[name] = true
		}
		if err != nil {
			why = err
		}
	}
	if why != nil && !a.failing && ctx.Err() == nil { // told once, however long it lasts
		a.Log.Warn("the hub does not take every advert; they are sent again", logging.Err(why))
	}
	a.failing = why != nil
	return a.failing, nil
}

// adverts are what shelters offer at one moment of the store. Each is later than any made before.
func (a *Adverts) adverts(ctx context.Context, shelters []string) (all []*shelterv1.Advert, err error) {
	err = a.App.DB.View(ctx, func(r kitstore.Reader) error {
		for _, name := range shelters {
			row, err := store.Shelters.GetPublic(r, kitstore.K(name))
			if errors.Is(err, kitstore.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			s, err := a.App.complete(r, row, 0)
			if err != nil {
				return err
			}
			if now := a.App.Now(); now.After(a.published) {
				a.published = now
			} else {
				a.published = a.published.Add(time.Microsecond) // a clock that was set back
			}
			all = append(all, rules.AdvertOf(a.App.Node, a.App.DB.Incarnation(), s, a.published))
		}
		return nil
	})
	return all, err
}

// send hands adverts to the broker, waits for its word on each, and says which shelters it did not take.
func (a *Adverts) send(ctx context.Context, adverts []*shelterv1.Advert) (left []string, err error) {
	type word struct {
		shelter string
		err     error
	}
	words, sent := make(chan word, len(adverts)), 0
	for _, one := range adverts {
		subject, data, err := advert.Sign(a.Keys, one)
		if err != nil { // sending it again would not help
			a.Log.Error("a shelter cannot be advertised", logging.Resource("shelter", one.GetShelter()), logging.Err(err))
			continue
		}
		sent++
		a.Transport.Publish(ctx, subject, data, func(err error) { words <- word{one.GetShelter(), err} })
	}
	for range sent {
		if w := <-words; w.err != nil {
			left, err = append(left, w.shelter), w.err
		}
	}
	a.Counts.Out(advert.Taken, sent-len(left))
	a.Counts.Out(advert.NotTaken, len(left))
	return left, err
}
