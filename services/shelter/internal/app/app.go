// Package app holds the shelter service's use cases, one a file. Each opens one store
// transaction, applies the rules, and appends the events of what it did.
package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

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

// Rules are those of a resource's proto. field is where it stands in the request; except are fields kept elsewhere.
type Rules interface {
	Check(field string, resource proto.Message, except ...string) error
}

// App has the use cases. All fields are needed.
type App struct {
	// DB is the service's store, with store.Schema.
	DB *kitstore.DB
	// Node is this node's name.
	Node string
	// Now is the clock.
	Now func() time.Time
	// After is time.After, or a test's.
	After func(time.Duration) <-chan time.Time
	// NewID makes the last part of a name: a UUID, version 7.
	NewID func() (string, error)
	// Keys seal addresses.
	Keys *privacy.Keyring
	// Events is the event log.
	Events Events
	// Tokens makes page tokens.
	Tokens *paging.Tokens
	// Watchers are told of changes.
	Watchers *Watchers
	// Rules judge a shelter or a group as it would be stored.
	Rules Rules
	// Gate says whether a restored store was compared with the live offers.
	Gate *Gate
	// Directory is what searches read, of the same store.
	Directory *Directory
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
	h.Etag = etagOf(row.Version)
	return h
}

func getHold(r kitstore.Reader, name string) (kitstore.Row[*shelterv1.HoldRecord], error) {
	row, err := store.Holds.Row(r, kitstore.K(name))
	return row, found(err, "hold")
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
	if h.GetState() == shelterv1.Hold_STATE_HELD && h.GetRenewTime() != nil {
		kind = "renewed"
	}
	err := a.Events.Append(tx, "shelter.hold."+kind+".v1", h.GetName(), now, &shelterv1.HoldChanged{
		Hold: h.GetName(), Group: h.GetGroup(), Offer: h.GetOffer(), State: h.GetState(), ReleaseReason: h.GetReleaseReason(),
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
		row, err := a.endIfRunOut(tx, name, now)
		if err != nil {
			return err
		}
		if err := compare(etag, row.Version); err != nil {
			return err
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

// endIfRunOut reads a hold, and ends it first where it has run out: after a standstill more may have run out than expireDue ends at once.
func (a *App) endIfRunOut(tx *kitstore.Tx, name string, now time.Time) (kitstore.Row[*shelterv1.HoldRecord], error) {
	row, err := getHold(tx, name)
	if err != nil || !rules.RunOut(row.Value.GetHold(), now) {
		return row, err
	}
	rules.Expire(row.Value.GetHold(), now)
	if _, err := a.put(tx, row.Value, now); err != nil {
		return row, err
	}
	return getHold(tx, name)
}

// expireDue ends the tentative holds and outages whose time has come, and notes which waitlist entries nobody has looked at.
// Every use case that counts beds calls it first, so no bed waits for a timer.
func (a *App) expireDue(tx *kitstore.Tx, now time.Time) error {
	if a.Gate.Closed() != nil {
		return a.expireLocal(tx, now)
	}
	until := dueAt(now)
	holds, _, err := store.ExpiringHolds.Page(tx, until, sweep)
	if err != nil {
		return err
	}
	for _, row := range holds {
		rules.Expire(row.Value.GetHold(), now)
		if _, err := a.put(tx, row.Value, now); err != nil {
			return err
		}
	}
	if _, err := a.endOutages(tx, now); err != nil {
		return err
	}
	waiting, _, err := store.DueReviews.Page(tx, until, sweep)
	if err != nil {
		return err
	}
	for _, row := range waiting {
		row.Value.Overdue = true
		if err := a.putEntry(tx, row.Value, "review-due", now); err != nil {
			return err
		}
	}
	return nil
}

// expireLocal is expireDue for a restored store that was not compared yet. A hold that serves an offer is not ended before the list of live offers has
// said what became of it. A local one and an outage stand on no list: past their end they would only keep a bed from a person, or from a promise.
func (a *App) expireLocal(tx *kitstore.Tx, now time.Time) error {
	var local []*shelterv1.HoldRecord
	err := store.ExpiringHolds.Scan(tx, dueAt(now), func(_ kitstore.Key, r *shelterv1.HoldRecord) error {
		if r.GetHold().GetOffer() == "" {
			local = append(local, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range local {
		rules.Expire(r.GetHold(), now)
		if _, err := a.put(tx, r, now); err != nil {
			return err
		}
	}
	for n := sweep; n == sweep && err == nil; {
		n, err = a.endOutages(tx, now)
	}
	return err
}

// endOutages ends outages whose time has come, at most sweep of them, and says how many.
func (a *App) endOutages(tx *kitstore.Tx, now time.Time) (int, error) {
	ending, _, err := store.EndingOutages.Page(tx, dueAt(now), sweep)
	if err != nil {
		return 0, err
	}
	for _, row := range ending {
		row.Value.EndTime = timestamppb.New(now)
		if err := a.putOutage(tx, row.Value, "ended", now); err != nil {
			return 0, err
		}
	}
	return len(ending), nil
}

// dueAt is what is due at now in an index that begins with a time, so that what is not due is not even read.
func dueAt(now time.Time) kitstore.Range { return kitstore.Range{Before: kitstore.K(now.Add(1))} }

// pager collects a page of rows that a filter lets pass, and answers where the next one begins.
func pager[M proto.Message](limit int, after kitstore.Key, page func(after kitstore.Key, limit int) ([]kitstore.Row[M], kitstore.Key, error), take func(kitstore.Row[M]) (bool, error)) (next kitstore.Key, err error) {
	for taken := 0; taken < limit; {
		rows, n, err := page(after, limit-taken)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			took, err := take(row)
			if err != nil {
				return nil, err
			}
			if took {
				taken++
			}
		}
		if after = n; n == nil {
			return nil, nil
		}
	}
	return after, nil
}

// count says from the rows' indexes how much of a group is taken.
func count(r kitstore.Reader, group string) (c rules.Count, err error) {
	beds := kitstore.Range{Prefix: kitstore.K(group)}
	n := func(index interface {
		Count(kitstore.Reader, kitstore.Range) (int, error)
	},
	) (counted int) {
		if err == nil {
			counted, err = index.Count(r, beds)
		}
		return counted
	}
	c.Held, c.Occupied, c.Out = int32(n(store.HeldBeds)), int32(n(store.OccupiedBeds)), int32(n(store.OutBeds))
	return c, err
}

// etagOf is a row's version as callers see it.
func etagOf(version uint64) string { return strconv.FormatUint(version, 10) }

// compare refuses a caller who has not seen the latest version of a row; an empty etag is not compared.
func compare(etag string, version uint64) error {
	if etag != "" && etag != etagOf(version) {
		return fault.StaleEtag()
	}
	return nil
}

// found turns "no such row" into an error that says what kind of thing is not there.
func found(err error, kind string) error {
	if errors.Is(err, kitstore.ErrNotFound) {
		return fault.NotFound(kind)
	}
	return err
}

// making is the frame of what makes a thing: the same key with the same body answers with what it made before, else do makes it
// with the id and says its name.
func making[M proto.Message](ctx context.Context, a *App, key string, request proto.Message, get func(kitstore.Reader, string) (M, error),
	do func(tx *kitstore.Tx, id string, now time.Time) (name string, err error),
) (made M, err error) {
	id, err := a.NewID()
	if err != nil {
		return made, fmt.Errorf("make an id: %w", err)
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return made, err
	}
	digest := sha256.Sum256(body)
	var shown M
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		record, err := store.Requests.Get(tx, kitstore.K(key))
		switch {
		case errors.Is(err, kitstore.ErrNotFound):
			name, err := do(tx, id, a.Now())
			if err != nil {
				return err
			}
			record = &shelterv1.RequestRecord{Digest: digest[:], Name: name}
			if err := store.Requests.Insert(tx, kitstore.K(key), record); err != nil {
				return err
			}
		case err != nil:
			return err
		case !bytes.Equal(record.GetDigest(), digest[:]):
			return fault.New(fault.IdempotencyMismatch, "This request_id was used for something else. Use a new one.", "made", record.GetName())
		}
		shown, err = get(tx, record.GetName())
		return err
	})
	if err != nil {
		return made, err
	}
	return shown, nil
}

// kind is a thing that is changed under its etag.
type kind[M proto.Message] struct {
	row func(r kitstore.Reader, name string) (kitstore.Row[M], error)
	get func(r kitstore.Reader, name string) (M, error)
	put func(a *App, tx *kitstore.Tx, m M, event string, now time.Time) error
}

// changing is the frame of what changes a thing: find it, compare the etag, let decide change it, and store it with the event that
// decide names; with none, nothing has changed.
func changing[M proto.Message](ctx context.Context, a *App, k kind[M], name, etag string, decide func(tx *kitstore.Tx, m M, now time.Time) (event string, err error)) (changed M, err error) {
	if err := a.checkNode("name", name); err != nil {
		return changed, err
	}
	var shown M
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		now := a.Now()
		row, err := k.row(tx, name)
		if err != nil {
			return err
		}
		if err := compare(etag, row.Version); err != nil {
			return err
		}
		event, err := decide(tx, row.Value, now)
		if err != nil {
			return err
		}
		if event != "" {
			if err := k.put(a, tx, row.Value, event, now); err != nil {
				return err
			}
		}
		shown, err = k.get(tx, name)
		return err
	})
	if err != nil {
		return changed, err
	}
	return shown, nil
}
