package disktest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/typepb"

	"amanat.example/deploy/disktest"
	"amanat.example/services/kit/soaktest"
	"amanat.example/services/kit/store"
)

var (
	schema = store.NewSchema("power", 1)
	rows   = store.NewTable[*typepb.Field](schema, "entry") // by writer and number; number 0 counts the writer's updates
	_      = store.NewIndex(rows, "entry_by_name", func(f *typepb.Field) []store.Key { return []store.Key{store.K(f.GetName())} })
)

// writer makes one update after the other. What its rows must be follows from how many there were.
type writer struct {
	id           uint32
	acked, tried int
	seen         int // how many updates a reader has found, and may have told others
	told         int // updates acknowledged in all, whatever came of them
}

const keysOfWriter = 12

// change is what update n does: a row, of several pages now and then, that comes, changes or goes.
func (w *writer) change(n int) (key uint32, value *typepb.Field) {
	random := rand.New(rand.NewPCG(uint64(n), uint64(w.id)))
	if key = 1 + random.Uint32N(keysOfWriter); n%5 == 0 {
		return key, nil
	}
	size := 20
	if n%7 == 0 {
		size = 9000
	}
	return key, &typepb.Field{Number: int32(n), Name: fmt.Sprint("name ", n%4), JsonName: strings.Repeat("x", size)}
}

// update makes the next update: the row and the count go together.
func (w *writer) update(db *store.DB) error {
	w.tried = w.acked + 1
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		key, value := w.change(w.tried)
		err := rows.Put(tx, store.K(w.id, uint32(0)), &typepb.Field{Number: int32(w.tried)})
		switch {
		case err != nil:
			return err
		case value != nil:
			return rows.Put(tx, store.K(w.id, key), value)
		}
		if err := rows.Delete(tx, store.K(w.id, key)); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	})
	if err == nil {
		w.acked = w.tried
		w.told++
	}
	return err
}

// verify holds the rows against what was acknowledged, and goes on from what is there.
func (w *writer) verify(r store.Reader) error {
	count := 0
	found := map[string]*typepb.Field{}
	err := rows.Scan(r, store.Range{Prefix: store.K(w.id)}, func(key store.Key, f *typepb.Field) error {
		if bytes.Equal(key, store.K(w.id, uint32(0))) {
			count = int(f.GetNumber())
		} else {
			found[string(key)] = f
		}
		return nil
	})
	if err != nil {
		return err
	}
	if count < max(w.acked, w.seen) || count > w.tried {
		return fmt.Errorf("writer %d: of %d acknowledged updates, %d read and %d tried, %d are there", w.id, w.acked, w.seen, w.tried, count)
	}
	want := map[string]*typepb.Field{}
	for n := 1; n <= count; n++ {
		if key, value := w.change(n); value != nil {
			want[string(store.K(w.id, key))] = value
		} else {
			delete(want, string(store.K(w.id, key)))
		}
	}
	for key, value := range want {
		if got := found[key]; got.GetNumber() != value.GetNumber() || got.GetName() != value.GetName() || got.GetJsonName() != value.GetJsonName() {
			return fmt.Errorf("writer %d: after update %d a row is not what was written", w.id, count)
		}
	}
	if len(found) != len(want) {
		return fmt.Errorf("writer %d: after update %d there are %d rows and not %d", w.id, count, len(found), len(want))
	}
	w.acked, w.tried, w.seen = count, count, count
	return nil
}

// see notes how many updates are there.
func (w *writer) see(r store.Reader) error {
	count, err := rows.Get(r, store.K(w.id, uint32(0)))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		w.seen = max(w.seen, int(count.GetNumber()))
	}
	return err
}

// book is a store on a disk, and what it has promised.
type book struct {
	disk        *disktest.Disk
	path        string
	writers     []*writer
	id          string // once the store was opened
	incarnation uint64

	forgetFiles, forgetFolders bool // mutants
}

func newBook(d *disktest.Disk) *book {
	d.Erase()
	return &book{disk: d, path: filepath.Join(d.Folder(), "power.db"), writers: []*writer{{id: 1}, {id: 2}, {id: 3}}}
}

func (b *book) open() (*store.DB, error) {
	db, err := store.Open(context.Background(), store.Options{Path: b.path, Schema: schema})
	if err != nil {
		return nil, err
	}
	defer func() { b.id, b.incarnation = db.ID(), db.Incarnation() }()
	switch {
	case b.id != "" && b.id != db.ID():
		err = errors.New("the store was made anew")
	case db.Incarnation() < b.incarnation:
		err = errors.New("the store has an earlier incarnation")
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// write lets every writer make so many updates, all at once, until the first error.
func (b *book) write(updates int) error {
	db, err := b.open()
	if err != nil {
		return err
	}
	errs := make([]error, len(b.writers))
	b.readBeside(db, func() {
		var wait sync.WaitGroup
		for i, w := range b.writers {
			wait.Go(func() {
				for range updates {
					if errs[i] = w.update(db); errs[i] != nil {
						return
					}
				}
			})
		}
		wait.Wait()
	})
	return errors.Join(append(errs, db.Close())...)
}

// readBeside reads while the writers write, until the power goes.
func (b *book) readBeside(db *store.DB, write func()) {
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			err := db.View(context.Background(), func(r store.Reader) error {
				var errs []error
				for _, w := range b.writers {
					errs = append(errs, w.see(r))
				}
				return errors.Join(errs...)
			})
			if err != nil {
				return
			}
		}
	})
	write()
	close(done)
	reader.Wait()
}

// restore brings the power back and says whether everything promised is there.
func (b *book) restore(seed uint64) error {
	b.disk.Restore(seed)
	report, err := store.CheckFile(context.Background(), b.path, schema)
	if errors.Is(err, fs.ErrNotExist) && b.id == "" {
		return nil // the power went before there was a store
	}
	if err := errors.Join(err, report.Err()); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return b.look()
}

// look reads the store whole; what it finds must be there from now on.
func (b *book) look() error {
	db, err := b.open()
	if err != nil {
		return err
	}
	err = db.View(context.Background(), func(r store.Reader) error {
		var errs []error
		for _, w := range b.writers {
			errs = append(errs, w.verify(r))
		}
		return errors.Join(errs...)
	})
	return errors.Join(err, db.Close())
}

// cut makes a plan, runs the work under it, takes the power at the latest when the work is done, and looks at what is left.
func (b *book) cut(p disktest.Plan, seed uint64, work func() error) error {
	p.ForgetFiles, p.ForgetFolders = b.forgetFiles, b.forgetFolders
	b.disk.Plan(p)
	err := work()
	if lost := b.disk.Counts().PowerLost; err != nil && !lost {
		return fmt.Errorf("with power: %w", err)
	}
	b.disk.Cut()
	return b.restore(seed)
}

// round cuts the power at a random moment in the life of a store that was cut before, or is new.
func (b *book) round(seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 2))
	plan := disktest.Plan{CutAt: 1 + random.IntN(80), CutAfter: random.IntN(2) == 0}
	if err := b.cut(plan, seed, func() error { return b.write(1 + random.IntN(12)) }); err != nil {
		return fmt.Errorf("cut %d, %+v: %w", seed, plan, err)
	}
	return nil
}

// A store under three writers loses power again and again: nothing acknowledged is missing, nothing is half there, check is clean,
// and it goes on from there.
func TestPowerIsCutUnderAStore(t *testing.T) {
	b := newBook(disktest.New(t))
	cuts, acked := 0, 0
	for n := range soaktest.Rounds(t, 50, 2000) {
		if n%10 == 0 { // also while a store is made
			b = newBook(b.disk)
		}
		before := b.told()
		if err := b.round(uint64(n)); err != nil {
			t.Fatal(err)
		}
		cuts++
		acked += b.told() - before
	}
	if acked == 0 {
		t.Error("nothing was acknowledged before the power went: the test tries nothing")
	}
	t.Logf("%d cuts; %d updates were acknowledged before them", cuts, acked)
}

func (b *book) told() (n int) {
	for _, w := range b.writers {
		n += w.told
	}
	return n
}

// wholeLife makes a store, writes, compacts it, restores a backup in its place, and writes again.
func (b *book) wholeLife() error {
	ctx := context.Background()
	if err := b.writeAlone(8); err != nil {
		return err
	}
	if err := store.Compact(ctx, b.path); err != nil {
		return err
	}
	db, err := b.open()
	if err != nil {
		return err
	}
	var copied bytes.Buffer
	if err := errors.Join(db.Backup(ctx, &copied), db.Close()); err != nil {
		return err
	}
	if err := store.Restore(ctx, &copied, store.Options{Path: b.path, Schema: schema}, true); err != nil {
		return err
	}
	b.incarnation++ // a restored store has a later one
	return b.writeAlone(4)
}

// writeAlone has one writer, so that every run takes the same steps.
func (b *book) writeAlone(updates int) error {
	db, err := b.open()
	if err != nil {
		return err
	}
	b.readBeside(db, func() {
		for range updates {
			if err = b.writers[0].update(db); err != nil {
				return
			}
		}
	})
	return errors.Join(err, db.Close())
}

// A process dies at every step of a store's life, and the next one goes on with what it finds written, whether synced or not. Then the
// power is cut: what the second process was told, or has read and may have told others, is there.
func TestPowerIsCutAfterADeath(t *testing.T) {
	d := disktest.New(t)
	b := newBook(d)
	d.Plan(disktest.Plan{})
	if err := b.wholeLife(); err != nil {
		t.Fatal(err)
	}
	steps := d.Counts().Steps
	cuts := 0
	for step := 1; step <= steps; step += soaktest.Alone(1, 3) {
		for n := range 2 {
			if !soaktest.Soak() && n != step%2 {
				continue
			}
			b := newBook(d)
			d.Plan(disktest.Plan{DieAt: step})
			if err := b.wholeLife(); err == nil {
				t.Fatalf("the process outlived its death at step %d", step)
			}
			again := func() error { return errors.Join(b.look(), b.writeAlone(n*3)) }
			if err := b.cut(disktest.Plan{}, disktest.KeepNothing, again); err != nil {
				t.Errorf("death at step %d, cut %d: %v", step, cuts, err)
			}
			cuts++
		}
	}
	t.Logf("%d deaths and cuts, at %d steps", cuts, steps)
}

// The power is cut at every step of a store's life, each sync among them, just before and just after it.
func TestPowerIsCutAtEveryStepOfAStore(t *testing.T) {
	d := disktest.New(t)
	b := newBook(d)
	d.Plan(disktest.Plan{})
	if err := b.wholeLife(); err != nil {
		t.Fatal(err)
	}
	all := d.Counts()
	if all.Unsynced {
		t.Error("something is not synced in the end")
	}
	cuts := 0
	for step := 1; step <= all.Steps; step += soaktest.Alone(1, 3) {
		for _, after := range []bool{false, true} {
			b := newBook(d)
			plan := disktest.Plan{CutAt: step, CutAfter: after}
			if err := b.cut(plan, uint64(cuts), b.wholeLife); err != nil {
				t.Fatalf("%+v: %v", plan, err)
			}
			cuts++
		}
	}
	t.Logf("%d cuts, at %d steps of which %d were syncs", cuts, all.Steps, len(all.Syncs))
}
