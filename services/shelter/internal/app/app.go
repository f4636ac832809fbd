// Package app holds the shelter service's use cases, one a file. Each opens one store
// transaction, applies the rules, and appends the events of what it did.
package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// Events takes what happened into the log, in the transaction in which it happened.
type Events interface {
	Append(tx *kitstore.Tx, kind, subject string, now time.Time, data proto.Message) error
}

// App has the use cases. All fields are needed.
type App struct {
	// DB is the service's store, with store.Schema.
	DB *kitstore.DB
	// Node is this node's name.
	Node string
	// Now is the clock.
	Now func() time.Time
	// NewID makes the last part of a name: a UUID, version 7.
	NewID func() (string, error)
	// Keys seal addresses.
	Keys *privacy.Keyring
	// Events is the event log.
	Events Events
	// Tokens makes page tokens.
	Tokens *paging.Tokens
	// Wake is called after a commit that changes when the next hold runs out; it must not block.
	Wake func()
}

// sweep bounds how many holds one transaction expires, so that none grows without limit.
const sweep = 256

func (a *App) parent() string { return "nodes/" + a.Node }

// checkNode refuses names of other nodes' things: they are not here.
func (a *App) checkNode(field, name string) error {
	if name != a.parent() && !strings.HasPrefix(name, a.parent()+"/") {
		return fault.New(fault.Missing, "This node does not hold it; ask the node it names.", "field", field)
	}
	return nil
}

func (a *App) newName(collection string) (string, error) {
	id, err := a.NewID()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return a.parent() + "/" + collection + "/" + id, nil
}

// hold is a stored hold as it is shown: with the row's version as etag.
func hold(row kitstore.Row[*shelterv1.HoldRecord]) *shelterv1.Hold {
	h := row.Value.GetHold()
	h.Etag = strconv.FormatUint(row.Version, 10)
	return h
}

func getHold(r kitstore.Reader, name string) (kitstore.Row[*shelterv1.HoldRecord], error) {
	row, err := store.Holds.Row(r, kitstore.K(name))
	if errors.Is(err, kitstore.ErrNotFound) {
		return row, fault.NotFound("hold")
	}
	return row, err
}

// put stores a changed hold, says so, and shows it.
func (a *App) put(tx *kitstore.Tx, record *shelterv1.HoldRecord, now time.Time) (*shelterv1.Hold, error) {
	h := record.GetHold()
	h.Etag = ""
	key := kitstore.K(h.GetName())
	if err := store.Holds.Put(tx, key, record); err != nil {
		return nil, err
	}
	kind := map[shelterv1.Hold_State]string{
		shelterv1.Hold_STATE_HELD: "placed", shelterv1.Hold_STATE_CONFIRMED: "confirmed",
		shelterv1.Hold_STATE_OCCUPIED: "occupied", shelterv1.Hold_STATE_RELEASED: "released",
		shelterv1.Hold_STATE_EXPIRED: "expired",
	}[h.GetState()]
	err := a.Events.Append(tx, "shelter.hold."+kind+".v1", h.GetName(), now, &shelterv1.HoldChanged{
		Hold: h.GetName(), Group: h.GetGroup(), Offer: h.GetOffer(), State: h.GetState(),
	})
	if err != nil {
		return nil, err
	}
	tx.AfterCommit(a.Wake)
	version, err := store.Holds.Version(tx, key)
	if err != nil {
		return nil, err
	}
	return hold(kitstore.Row[*shelterv1.HoldRecord]{Value: record, Version: version}), nil
}

// change is the frame of confirm, release and admit: expire what is due, find the hold, compare
// the etag, let decide change it, and store it unless nothing changed. What expired stays
// expired, also when decide refuses: time has passed whether or not the caller is right.
func (a *App) change(ctx context.Context, name, etag string, decide func(tx *kitstore.Tx, h *shelterv1.Hold, now time.Time) (changed bool, err error)) (shown *shelterv1.Hold, err error) {
	if err := a.checkNode("name", name); err != nil {
		return nil, err
	}
	var refused error
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		shown, refused = nil, nil
		now := a.Now()
		if err := a.expireDue(tx, now); err != nil {
			return err
		}
		row, err := getHold(tx, name)
		if err != nil {
			return err
		}
		if etag != "" && etag != strconv.FormatUint(row.Version, 10) {
			return fault.StaleEtag()
		}
		changed, err := decide(tx, row.Value.GetHold(), now)
		if err != nil {
			refused = err
			return nil
		}
		if !changed {
			shown = hold(row)
			return nil
		}
		shown, err = a.put(tx, row.Value, now)
		return err
	})
	if err == nil {
		err = refused
	}
	return shown, err
}

// expireDue ends the tentative holds that have run out.
func (a *App) expireDue(tx *kitstore.Tx, now time.Time) error {
	var due []*shelterv1.HoldRecord
	until := kitstore.Range{Before: kitstore.K(now.Add(1))} // so that a hold that is not due is not even read
	err := store.ExpiringHolds.Scan(tx, until, func(_ kitstore.Key, r *shelterv1.HoldRecord) error {
		if !rules.Expired(r.GetHold(), now) || len(due) == sweep {
			return kitstore.Stop
		}
		due = append(due, r)
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range due {
		rules.Expire(r.GetHold(), now)
		if _, err := a.put(tx, r, now); err != nil {
			return err
		}
	}
	return nil
}

// count says from the rows' indexes how much of a group is taken.
func count(r kitstore.Reader, group string) (rules.Count, error) {
	beds := kitstore.Range{Prefix: kitstore.K(group)}
	held, err := store.HeldBeds.Count(r, beds)
	if err != nil {
		return rules.Count{}, err
	}
	occupied, err := store.OccupiedBeds.Count(r, beds)
	return rules.Count{Held: int32(held), Occupied: int32(occupied)}, err
}
