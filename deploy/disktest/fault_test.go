package disktest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"amanat.example/deploy/disktest"
	"amanat.example/services/kit/soaktest"
	"amanat.example/services/kit/store"
)

// writeUntilFatal has one writer, and sees that the first update which fails is the last answer of the store. It answers with
// that failure, or with what kept the store from being opened; nil where nothing failed.
func (b *book) writeUntilFatal(updates int) (failure, wrong error) {
	db, err := b.open()
	if err != nil {
		return err, nil
	}
	for range updates {
		if failure = b.writers[0].update(db); failure != nil {
			break
		}
	}
	if failure != nil {
		ctx := context.Background()
		for what, err := range map[string]error{
			"the update": failure,
			"a view":     db.View(ctx, func(store.Reader) error { return nil }),
			"an update":  db.Update(ctx, func(*store.Tx) error { return nil }),
			"Err":        db.Err(),
		} {
			if !errors.Is(err, store.ErrFatal) {
				wrong = errors.Join(wrong, fmt.Errorf("after a failure %s gave %w", what, err))
			}
		}
	}
	db.Close() // what it failed by is known
	return failure, wrong
}

// A disk that is full, or fails a write or a sync, whichever it is: the store stops and answers nothing any more, and says why. Opened
// again on the disk as it was left, and again after a loss of power, it has all it acknowledged.
func TestADiskThatFailsStopsAStore(t *testing.T) {
	const updates = 12
	d := disktest.New(t)
	b := newBook(d)
	d.Plan(disktest.Plan{})
	if failure, wrong := b.writeUntilFatal(updates); failure != nil || wrong != nil {
		t.Fatal(failure, wrong)
	}
	all := d.Counts()
	stopped, opened := map[error]int{}, 0
	try := func(p disktest.Plan, want error) {
		t.Helper()
		b := newBook(d)
		d.Plan(p)
		failure, wrong := b.writeUntilFatal(updates)
		if d.Counts().Failed == 0 {
			t.Errorf("%+v: nothing failed", p)
		}
		switch {
		case wrong != nil:
			t.Errorf("%+v: %v", p, wrong)
		case failure != nil && strings.Contains(failure.Error(), want.Error()): // bbolt does not wrap each
			stopped[want]++
		case failure != nil:
			t.Errorf("%+v: the reason is not told: %v", p, failure)
		default:
			t.Errorf("%+v: the store did not notice", p)
		}
		d.Plan(disktest.Plan{}) // there is room again
		if b.id == "" {
			opened++ // it failed while it was made
		}
		if err := errors.Join(b.writeAlone(1), b.look()); err != nil {
			t.Errorf("%+v: once the disk is well: %v", p, err)
		}
		if err := b.restore(uint64(stopped[want])); err != nil {
			t.Errorf("%+v: after a loss of power: %v", p, err)
		}
	}
	stride := soaktest.Alone(1, 3)
	for n := 1; n <= all.Writes; n += stride {
		try(disktest.Plan{FailWrite: n}, syscall.EIO)
	}
	for n := 1; n <= len(all.Syncs); n += stride {
		try(disktest.Plan{FailSync: n}, syscall.EIO)
	}
	for room := int64(0); room < all.Bytes; room += 2500 * int64(stride) { // also within a page
		try(disktest.Plan{Full: true, Room: room}, syscall.ENOSPC)
	}
	t.Logf("%d failed writes and syncs, %d full disks; %d while the store was made", stopped[syscall.EIO], stopped[syscall.ENOSPC], opened)
}
