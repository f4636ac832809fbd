package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/mutant"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/store"
)

// Gate is closed while the store is one that was restored and not compared with the list of live offers: it may know beds as free
// that are promised, and promise them twice. Meanwhile nothing is promised; who stands at the door is let in, and what people see and count is
// put down.
type Gate struct {
	mu     sync.Mutex
	closed bool
	fence  uint64 // of the comparison under way
	until  string // how far it has come; empty: not begun
}

// OpenGate says for a store whether it was restored, from the incarnation that was compared last.
func OpenGate(ctx context.Context, db *kitstore.DB, now time.Time) (*Gate, error) {
	g := &Gate{}
	err := db.Update(ctx, func(tx *kitstore.Tx) error {
		last, err := store.Fences.Get(tx, store.ReconciledKey)
		switch {
		case err == nil:
			g.closed = last.GetValue() != db.Incarnation() && !mutant.Off("rec")
			if last.GetValue() == db.Incarnation() {
				return nil
			}
			return store.NoteRestored(tx, db.Incarnation(), now)
		case !errors.Is(err, kitstore.ErrNotFound):
			return err
		}
		if _, err := store.HoldsByOffer.First(tx, kitstore.Range{}); !errors.Is(err, kitstore.ErrNotFound) {
			g.closed = err == nil // of a time before this was noted: better ask once too often
			return err
		}
		return store.Fences.Put(tx, store.ReconciledKey, wrapperspb.UInt64(db.Incarnation()))
	})
	return g, err
}

// Closed is the reason why nothing is answered; nil when the gate is open.
func (g *Gate) Closed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		return nil
	}
	return fault.New(fault.Unavailable, "The shelter service was restored from a backup and compares its beds with the referrals first: it promises none until all nodes have said what it lost, or were excused. Who stands at the door can be admitted (admitWalkIn).")
}

// compared says whether this store had its whole list, as a transaction sees it: the gate opens after the commit, and another of the same batch may have
// judged the holds of offers already.
func (a *App) compared(r kitstore.Reader) (bool, error) {
	if a.Gate.Closed() == nil {
		return true, nil
	}
	last, err := store.Fences.Get(r, store.ReconciledKey)
	if errors.Is(err, kitstore.ErrNotFound) {
		return false, nil
	}
	return last.GetValue() == a.DB.Incarnation(), err
}

// covers notes that a page was compared, and says whether the list is whole with it: pages of one comparison that follow each
// other from the first name to the last.
func (g *Gate) covers(fence *custodyv1.Fence, after, until string) (whole bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	follows := after == "" || g.fence == fence.GetNumber() && g.until == after
	if !follows {
		g.until = ""
		return false
	}
	g.fence, g.until = fence.GetNumber(), until
	return until == ""
}

func (g *Gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}
