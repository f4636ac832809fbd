package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Compact writes the file of a closed store anew without its free pages, and with everything verified; on any error the old
// file stays. Nothing else changes, the incarnation included.
func Compact(ctx context.Context, path string) error {
	return rewrite(ctx, path, boltOptions{}, 0)
}

// Recover is for a file of which one of the two head pages is damaged, which Open refuses because the last commit may be
// lost with it. It writes the file anew from the other head page, as of that commit or the one before, with everything
// verified and with a new incarnation: to its peers the store is one restored from an older copy. On any other damage it
// fails and the file stays; then a backup is what is left.
func Recover(ctx context.Context, path string, clock func() time.Time) error {
	return rewrite(ctx, path, boltOptions{oneHead: true}, incarnationAt(clock()))
}

func rewrite(ctx context.Context, path string, o boltOptions, incarnation uint64) (err error) {
	old, err := openBolt(path, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	tx, err := old.Begin(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	err = writeFile(path, true, func(e Engine) error {
		w := &rowWriter{engine: e, incarnation: incarnation}
		if err := exportRows(ctx, tx, w); err != nil {
			return errors.Join(err, w.abandon())
		}
		return w.finish()
	})
	if err != nil {
		return fmt.Errorf("rewrite %s: %w", path, err)
	}
	return nil
}
