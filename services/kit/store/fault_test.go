package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/typepb"

	"amanat.example/services/kit/store"
)

// breakSync puts /dev/null under the store's file handle: writes succeed and reach nothing, and fdatasync fails.
func breakSync(t *testing.T, db *store.DB) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := syscall.Dup3(int(null.Fd()), int(db.File().Fd()), 0); err != nil {
		t.Fatal(err)
	}
}

// TestAFailedSyncIsFatal: nothing is answered any more, OnFatal is told once, and what was committed before is all there.
func TestAFailedSyncIsFatal(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		o := d.options()
		fatal := 0
		o.OnFatal = func(err error) {
			fatal++
			mustFail(t, err, store.ErrFatal)
		}
		db := open(t, o)
		putBeds(t, db, 3)
		hooked := false
		if disk, ok := d.(memoryDisk); ok {
			disk.FailNextCommit(syscall.EIO)
		} else {
			breakSync(t, db)
		}
		err := db.Update(context.Background(), func(tx *store.Tx) error {
			tx.AfterCommit(func() { hooked = true })
			return putOne(4)(tx)
		})
		mustFail(t, err, store.ErrFatal)
		mustFail(t, db.Update(context.Background(), putOne(5)), store.ErrFatal)
		mustFail(t, db.View(context.Background(), func(store.Reader) error { return nil }), store.ErrFatal)
		mustFail(t, db.Err(), store.ErrFatal)
		if fatal != 1 || hooked {
			t.Errorf("OnFatal ran %d times, AfterCommit ran: %v", fatal, hooked)
		}
		db.Close() // must not wait for anything
		if disk, ok := d.(memoryDisk); ok {
			disk.Crash(false)
		}
		again := openChecked(t, d.options())
		if got := numbers(t, again); !slices.Equal(got, []int32{1, 2, 3}) {
			t.Errorf("after the failure the store has %v", got)
		}
	})
}

func TestACrashDropsWhatWasNotSynced(t *testing.T) {
	for _, keep := range []bool{false, true} {
		m := store.NewMemory()
		db := open(t, memoryDisk{m}.options())
		putBeds(t, db, 1)
		m.LieAboutSync(true)
		update(t, db, putOne(2))
		m.LieAboutSync(false)
		if old := numbers(t, openChecked(t, memoryDisk{m.Clone()}.options())); !slices.Equal(old, []int32{1}) {
			t.Errorf("a clone has %v, which was not synced", old)
		}
		m.Crash(keep)
		db.Close()
		want := []int32{1}
		if keep {
			want = []int32{1, 2}
		}
		if got := numbers(t, openChecked(t, memoryDisk{m}.options())); !slices.Equal(got, want) {
			t.Errorf("after a crash that keeps unsynced writes (%v) the store has %v", keep, got)
		}
	}
}

func TestATruncatedFileIsFatalAndNotACrash(t *testing.T) {
	o := fileDisk{filepath.Join(t.TempDir(), "beds.db")}.options()
	db := open(t, o)
	defer db.Close()
	putBeds(t, db, 2000)
	if err := os.Truncate(o.Path, 8192); err != nil {
		t.Fatal(err)
	}
	err := db.View(context.Background(), func(r store.Reader) error {
		return bed.Scan(r, store.Range{}, func(store.Key, *typepb.Field) error { return nil })
	})
	mustFail(t, err, store.ErrFatal)
	mustFail(t, err, store.ErrDamaged)
	mustFail(t, db.Update(context.Background(), putOne(9999)), store.ErrFatal)
}

func TestAFunctionThatEndsItsGoroutineLeavesNobodyWaiting(t *testing.T) {
	db := open(t, memoryDisk{store.NewMemory()}.options())
	defer db.Close()
	errs := inOneBatch(t, db, putOne(1), func(*store.Tx) error { runtime.Goexit(); return nil }, putOne(2))
	for _, err := range errs {
		mustFail(t, err, store.ErrFatal)
	}
	mustFail(t, db.Update(context.Background(), putOne(3)), store.ErrFatal)
}

func TestAPanickingHookIsFatal(t *testing.T) {
	db := open(t, memoryDisk{store.NewMemory()}.options())
	defer db.Close()
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		tx.AfterCommit(func() { panic("broken view") })
		return putOne(1)(tx)
	})
	mustFail(t, err, store.ErrFatal)
}

// Rows that contradict each other are damage, whoever finds it.
func TestMissingRowsAreFatal(t *testing.T) {
	db := open(t, memoryDisk{store.NewMemory()}.options())
	defer db.Close()
	update(t, db, putOne(1))
	err := db.View(context.Background(), func(r store.Reader) error { return store.Damaged(r, "a house has lost its beds") })
	mustFail(t, err, store.ErrDamaged)
	mustFail(t, db.Update(context.Background(), putOne(2)), store.ErrFatal)
}

func TestTheFileIsOneProcess(t *testing.T) {
	o := fileDisk{filepath.Join(t.TempDir(), "beds.db")}.options()
	o.LockWait = time.Millisecond
	openChecked(t, o)
	_, err := store.Open(context.Background(), o)
	mustFail(t, err, store.ErrLocked)
	if !strings.Contains(err.Error(), o.Path) {
		t.Errorf("the error does not name the file: %v", err)
	}
	mustFail(t, store.Restore(context.Background(), strings.NewReader(""), o, true), store.ErrLocked)
}

func TestTheFileIsPrivateAndNothingIsLeftBesideIt(t *testing.T) {
	dir := t.TempDir()
	o := fileDisk{filepath.Join(dir, "beds.db")}.options()
	if err := os.WriteFile(o.Path+".new", []byte("left by a crash"), 0o644); err != nil {
		t.Fatal(err)
	}
	openChecked(t, o)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("the folder has %v, %v", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

func TestAnEmptyOrForeignFileIsRefusedAndKept(t *testing.T) {
	for _, content := range []string{"", "not a store", strings.Repeat("not a store", 10000)} {
		o := fileDisk{filepath.Join(t.TempDir(), "beds.db")}.options()
		if err := os.WriteFile(o.Path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(context.Background(), o)
		mustFail(t, err, store.ErrDamaged)
		if kept, err := os.ReadFile(o.Path); err != nil || string(kept) != content {
			t.Errorf("the file was changed: %v", err)
		}
	}
}

// damages are things a file can suffer that leave every row with a good checksum or no row at all. Check and Scrub find each.
var damages = map[string]func(t *testing.T, m *store.Memory){
	"a lost row":         func(t *testing.T, m *store.Memory) { tamper(t, m, "bed", 3, nil) },
	"a lost last row":    func(t *testing.T, m *store.Memory) { tamper(t, m, "bed", -1, nil) },
	"a lost entry":       func(t *testing.T, m *store.Memory) { tamper(t, m, "bed_by_house", 5, nil) },
	"a lost unique":      func(t *testing.T, m *store.Memory) { tamper(t, m, "bed_by_number", 0, nil) },
	"a wrong byte":       func(t *testing.T, m *store.Memory) { tamper(t, m, "bed", 3, flip) },
	"a wrong entry":      func(t *testing.T, m *store.Memory) { tamper(t, m, "bed_by_house", 3, flip) },
	"a wrong count":      func(t *testing.T, m *store.Memory) { tamper(t, m, "_store", 1, flip) },
	"an old row":         func(t *testing.T, m *store.Memory) { bringBack(t, m, "bed") },
	"an old entry":       func(t *testing.T, m *store.Memory) { bringBack(t, m, "bed_by_number") },
	"a row of elsewhere": func(t *testing.T, m *store.Memory) { moveRow(t, m) },
}

func flip(raw []byte) []byte {
	raw = slices.Clone(raw)
	raw[len(raw)-1] ^= 4
	return raw
}

// tamper changes or removes the n-th row of a bucket, counting from the end when n is negative.
func tamper(t *testing.T, m *store.Memory, bucket string, n int, change func([]byte) []byte) {
	t.Helper()
	engine(t, m, func(tx store.EngineTx) {
		it := tx.Iterate(bucket, nil, nil, n < 0)
		if n < 0 {
			n = -n - 1
		}
		var key, raw []byte
		for range n + 1 {
			key, raw, _ = it.Next()
		}
		if key == nil {
			t.Fatal("no such row")
		}
		if change == nil {
			tx.Delete(bucket, key)
		} else {
			tx.Put(bucket, key, change(raw))
		}
	})
}

func engine(t *testing.T, m *store.Memory, fn func(tx store.EngineTx)) {
	t.Helper()
	tx, err := m.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	fn(tx)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// bringBack undoes the last change of a bucket's rows, as a stale page would.
func bringBack(t *testing.T, m *store.Memory, bucket string) {
	t.Helper()
	old, err := m.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, memoryDisk{m}.options())
	update(t, db, func(tx *store.Tx) error { return bed.Put(tx, store.K(uint32(7)), newBed(77, "new")) })
	db.Close()
	engine(t, m, func(tx store.EngineTx) {
		tx.Drop(bucket)
		for it := old.Iterate(bucket, nil, nil, false); ; {
			key, raw, _ := it.Next()
			if key == nil {
				return
			}
			tx.Put(bucket, key, raw)
		}
	})
}

func moveRow(t *testing.T, m *store.Memory) {
	t.Helper()
	engine(t, m, func(tx store.EngineTx) {
		raw, _ := tx.Get("bed", store.K(uint32(3)))
		tx.Put("bed", store.K(uint32(4)), raw)
	})
}

func TestCheckAndScrubFindEveryDamage(t *testing.T) {
	finders := map[string]func(db *store.DB) error{
		"check": func(db *store.DB) error {
			report, err := db.Check(context.Background())
			return errors.Join(err, report.Err())
		},
		"scrub": func(db *store.DB) error {
			for {
				if done, err := db.Scrub(context.Background(), 4); done || err != nil {
					return err
				}
			}
		},
		"backup": func(db *store.DB) error {
			_, err := backupOf(db)
			return err
		},
	}
	for damage, inflict := range damages {
		for finder, find := range finders {
			t.Run(damage+"/"+finder, func(t *testing.T) {
				m := store.NewMemory()
				db := open(t, memoryDisk{m}.options())
				putBeds(t, db, 20)
				if err := find(db); err != nil {
					t.Fatalf("before the damage: %v", err)
				}
				db.Close()
				inflict(t, m)
				db, err := store.Open(context.Background(), memoryDisk{m}.options())
				if err == nil {
					defer db.Close()
					if err = find(db); err != nil {
						mustFail(t, db.Err(), store.ErrFatal)
					}
				}
				mustFail(t, err, store.ErrDamaged)
			})
		}
	}
}

// TestScrubBesideWriters lets rows come, change and go before, at and behind the place where the scrub is.
func TestScrubBesideWriters(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		putBeds(t, db, 40)
		rounds := 0
		for i := 0; rounds < 3; i++ {
			done, err := db.Scrub(context.Background(), 7)
			if err != nil {
				t.Fatal(err)
			}
			if done {
				rounds++
			}
			update(t, db, func(tx *store.Tx) error {
				key := store.K(uint32(i*17%60 + 1))
				if has, _ := bed.Has(tx, key); has && i%2 == 0 {
					return bed.Delete(tx, key)
				}
				return bed.Put(tx, key, newBed(int32(100+i), "new", houseOf(i)))
			})
		}
	})
}
