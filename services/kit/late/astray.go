package late

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"amanat.example/services/kit/store"
)

// Astray brings deadlines back that lie further ahead than any can: they were moved there while the clock was wrong, and nobody would hear of them
// until it shows that time again. All fields are needed.
type Astray[M proto.Message] struct {
	// DB is the service's store, and Table where it keeps its deadlines.
	DB    *store.DB
	Table *store.Table[M]
	// Now is the clock.
	Now func() time.Time
	// Furthest are indexes of deadlines, ordered by when they are due next, each with how far ahead that is at most.
	Furthest []Furthest[M]
	// Due moves a deadline.
	Due func(m M, at time.Time)
}

// Furthest is how far ahead the deadlines of an index lie at most.
type Furthest[M proto.Message] struct {
	Index *store.Index[M]
	Most  time.Duration
}

// sweep bounds how many rows one transaction moves.
const sweep = 64

// BringBack has those that are astray be due as late as they can be. Where none is, it reads one place of each index, and writes nothing.
func (a *Astray[M]) BringBack(ctx context.Context) error {
	for _, far := range a.Furthest {
		for {
			err := a.DB.View(ctx, func(r store.Reader) error {
				_, err := far.Index.First(r, a.beyond(far))
				return err
			})
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			if err != nil {
				return err
			}
			if err := a.DB.Update(ctx, func(tx *store.Tx) error { return a.move(tx, far) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Astray[M]) beyond(far Furthest[M]) store.Range {
	return store.Range{After: store.K(a.Now().Add(far.Most + 1))}
}

func (a *Astray[M]) move(tx *store.Tx, far Furthest[M]) error {
	rows, _, err := far.Index.Page(tx, a.beyond(far), sweep)
	for _, row := range rows {
		a.Due(row.Value, a.Now().Add(far.Most))
		err = errors.Join(err, a.Table.Put(tx, row.Key, row.Value))
	}
	return err
}
