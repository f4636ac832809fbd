package app

import (
	"context"
	"errors"
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

const (
	// batch bounds how many adverts one transaction takes in.
	batch = 256
	// MostShelters bounds how many shelters of one node are listened to.
	MostShelters = 5000
	// hearAgain is how soon the broker repeats what could not be stored.
	hearAgain = time.Second
	// lookEvery is how often the roster is asked whether a node has left.
	lookEvery = 10 * time.Second
)

// hear takes in what the hub delivers, and drops what a node said that has left the network.
func (a *Adverts) hear(ctx context.Context) error {
	for look := a.App.After(lookEvery); ; {
		var messages []hub.Message
		select {
		case <-ctx.Done():
			return nil
		case <-look:
			look = a.App.After(lookEvery)
			if err := a.App.DropAdverts(ctx, a.Keys); err != nil {
				return ended(ctx, err)
			}
			continue
		case m := <-a.Transport.Adverts():
			messages = append(messages, m)
		}
	more:
		for len(messages) < batch {
			select {
			case m := <-a.Transport.Adverts():
				messages = append(messages, m)
			default:
				break more
			}
		}
		if err := a.take(ctx, messages); err != nil {
			return ended(ctx, err)
		}
	}
}

// take stores what is good of some messages and then, never before, tells the broker.
func (a *Adverts) take(ctx context.Context, messages []hub.Message) error {
	var heard []*advert.Heard
	for _, m := range messages {
		one, verdict := a.reader.Read(m)
		if verdict != advert.Good {
			a.Counts.In(verdict, 1)
			continue
		}
		heard = append(heard, one)
	}
	verdicts, err := a.App.HearAdverts(ctx, heard)
	if err != nil {
		for _, m := range messages {
			m.Nak(hearAgain)
		}
		if ctx.Err() != nil || a.App.DB.Err() != nil {
			return err
		}
		a.Counts.In(advert.PutOff, len(heard))
		a.Log.Warn("adverts could not be stored; they will be asked for again", logging.Err(err))
		return nil
	}
	for verdict, n := range verdicts {
		a.Counts.In(verdict, n)
	}
	for _, m := range messages {
		m.Ack()
	}
	return nil
}

// HearAdverts stores what supersedes what was heard before, and says how many fared how.
func (a *App) HearAdverts(ctx context.Context, heard []*advert.Heard) (verdicts map[advert.Verdict]int, err error) {
	if len(heard) == 0 {
		return nil, nil
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		verdicts = map[advert.Verdict]int{}
		for _, one := range heard {
			verdict, err := a.hearAdvert(tx, one, a.Now())
			if err != nil {
				return err
			}
			verdicts[verdict]++
		}
		return nil
	})
	return verdicts, err
}

func (a *App) hearAdvert(tx *kitstore.Tx, heard *advert.Heard, now time.Time) (advert.Verdict, error) {
	name := heard.Advert.GetShelter()
	before, err := store.Adverts.Get(tx, kitstore.K(name))
	switch {
	case errors.Is(err, kitstore.ErrNotFound):
		before = nil
		known, err := store.AdvertsByNode.Count(tx, kitstore.Range{Prefix: kitstore.K(heard.Advert.GetNode())})
		if err != nil {
			return "", err
		}
		if known >= MostShelters {
			return advert.TooMany, nil
		}
	case err != nil:
		return "", err
	}
	kept := store.Advert(before)
	if !rules.Supersedes(heard.Advert, kept, before, now) {
		return advert.Superseded, nil
	}
	if err := store.Adverts.Put(tx, kitstore.K(name), rules.Record(heard.Advert, heard.Signed, kept, before, now)); err != nil {
		return "", err
	}
	if rules.SameOffer(heard.Advert, kept) {
		return advert.Kept, nil
	}
	return advert.Kept, a.Events.Append(tx, "shelter.advert.changed.v1", name, now, &shelterv1.AdvertChanged{
		Shelter: name, Suspended: heard.Advert.GetSuspended(),
	})
}

// Roster says who takes part in the network.
type Roster interface {
	// Active says whether a node takes part and has the service.
	Active(node, service string) bool
}

// DropAdverts drops what nodes said that are no longer active: nobody answers for their beds.
func (a *App) DropAdverts(ctx context.Context, roster Roster) error {
	gone, err := a.goneNodes(ctx, roster)
	if err != nil {
		return err
	}
	for _, node := range gone {
		for more := true; more; {
			err := a.DB.Update(ctx, func(tx *kitstore.Tx) error {
				rows, next, err := store.AdvertsByNode.Page(tx, kitstore.Range{Prefix: kitstore.K(node)}, batch)
				if err != nil {
					return err
				}
				for _, row := range rows {
					if err := store.Adverts.Delete(tx, row.Key); err != nil {
						return err
					}
				}
				more = next != nil
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// goneNodes are the nodes whose adverts are kept and that are not active. It reads one advert of each node.
func (a *App) goneNodes(ctx context.Context, roster Roster) (gone []string, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		for last := kitstore.Key(nil); ; { // backwards, since a node's own key sorts before all that begin with it
			row, err := store.AdvertsByNode.First(r, kitstore.Range{Reverse: true, After: last})
			if errors.Is(err, kitstore.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			node := store.Advert(row.Value).GetNode()
			if last = kitstore.K(node); !roster.Active(node, advert.Service) {
				gone = append(gone, node)
			}
		}
	})
	return gone, err
}
