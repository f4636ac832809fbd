package late

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"amanat.example/services/kit/store"
)

// Astray brings missed deadlines back that lie further ahead than any can: they were told of while the clock was ahead, and nobody would hear of them
// until it shows that time again. Where the clock is behind now, it moves none: one cannot have been missed before it was due. All fields are needed.
type Astray[M proto.Message] struct {
	// DB is the service's store, and Table where it keeps its deadlines.
	DB    *store.DB
	Table *store.Table[M]
	// Now is the clock.
	Now func() time.Time
	// Missed are the deadlines that were missed, by when each is due again.
	Missed *store.Index[M]
	// Most is how far ahead that is at most.
	Most time.Duration
	// First is when one was due at first.
	First func(m M) time.Time
	// Due moves one.
	Due func(m M, at time.Time)
}

// sweep bounds how many rows one transaction moves.
const sweep = 64

// BringBack has those that are astray be due as late as they can be. Where none is, it reads one place of the index, and writes nothing.
func (a *Astray[M]) BringBack(ctx context.Context) error {
	var keys []store.Key
	err := a.DB.View(ctx, func(r store.Reader) error {
		keys = nil
		now := a.Now()
		return a.Missed.Scan(r, store.Range{After: store.K(now.Add(a.Most + 1))}, func(key store.Key, m M) error {
			if !a.First(m).After(now) {
				keys = append(keys, key)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(keys, sweep) {
		if err := a.DB.Update(ctx, func(tx *store.Tx) error { return a.move(tx, some) }); err != nil {
			return err
		}
	}
	return nil
}

func (a *Astray[M]) move(tx *store.Tx, keys []store.Key) error {
	for _, key := range keys {
		m, err := a.Table.Get(tx, key)
		if errors.Is(err, store.ErrNotFound) { // it was met meanwhile
			continue
		}
		if err != nil {
			return err
		}
		a.Due(m, a.Now().Add(a.Most))
		if err := a.Table.Put(tx, key, m); err != nil {
			return err
		}
	}
	return nil
}
