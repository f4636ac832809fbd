package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"amanat.example/services/kit/store"
)

func TestBackupAndRestore(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		o := d.options()
		o.Clock = at(1000)
		db := openChecked(t, o)
		putBeds(t, db, 50)
		saved := backup(t, db)
		update(t, db, putOne(60)) // not in the backup

		to := d.clone(t).options()
		to.Clock = at(2000)
		if err := store.Restore(context.Background(), bytes.NewReader(saved), to, false); err != nil {
			t.Fatal(err)
		}
		mustFail(t, store.Restore(context.Background(), bytes.NewReader(saved), to, false), store.ErrExists)
		restored := openChecked(t, to)
		if got := numbers(t, restored); len(got) != 50 {
			t.Errorf("restored %d rows", len(got))
		}
		if restored.ID() != db.ID() || restored.Incarnation() != 2000 || !restored.Created().Equal(time.Unix(0, 1000)) {
			t.Errorf("restored %s/%d of %v", restored.ID(), restored.Incarnation(), restored.Created())
		}
	})
}

func TestIncarnationsOnlyGrow(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		o := d.options()
		o.Clock = at(1000)
		db := open(t, o)
		if err := db.RaiseIncarnation(context.Background(), 5000); err != nil || db.Incarnation() != 5001 {
			t.Fatalf("raised to %d, %v", db.Incarnation(), err)
		}
		if err := db.RaiseIncarnation(context.Background(), 4000); err != nil || db.Incarnation() != 5001 {
			t.Fatalf("raised to %d, %v", db.Incarnation(), err)
		}
		if err := db.RaiseIncarnation(context.Background(), 1<<64-1); err == nil {
			t.Error("there is no greater one")
		}
		saved := backup(t, db)
		closeChecked(t, db)
		db = openChecked(t, o)
		if db.Incarnation() != 5001 {
			t.Errorf("opened with %d", db.Incarnation())
		}
		to := d.clone(t).options()
		to.Clock = at(3000) // a clock that was set back
		if err := store.Restore(context.Background(), bytes.NewReader(saved), to, false); err != nil {
			t.Fatal(err)
		}
		if restored := openChecked(t, to); restored.Incarnation() != 5002 {
			t.Errorf("restored with %d", restored.Incarnation())
		}
	})
}

// Who tells that a copy was put back may know no more than the life of the copy: the one that began with it before must not come again.
func TestACopyThatIsPutBackTwiceBeginsTwoLives(t *testing.T) {
	engine := store.NewMemory()
	o := memoryDisk{engine}.options()
	o.Clock = at(1000)
	closeChecked(t, open(t, o))
	for _, now := range []int64{2000, 3000} {
		o := memoryDisk{engine.Clone()}.options()
		o.Clock = at(now)
		db := openChecked(t, o)
		if err := db.RaiseIncarnation(context.Background(), db.Incarnation()); err != nil || db.Incarnation() != uint64(now) {
			t.Errorf("put back at %d it lives in %d, %v", now, db.Incarnation(), err)
		}
	}
}

// TestBackupUnderLoad takes backups while rows are written two by two, and finds no half pair in any.
func TestBackupUnderLoad(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		stop := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for i := int32(1); ; i += 2 {
				select {
				case <-stop:
					return
				default:
					update(t, db, func(tx *store.Tx) error { return errors.Join(putOne(i)(tx), putOne(i+1)(tx)) })
				}
			}
		})
		for range 5 {
			to := d.clone(t).options()
			if err := store.Restore(context.Background(), bytes.NewReader(backup(t, db)), to, false); err != nil {
				t.Fatal(err)
			}
			if got := numbers(t, openChecked(t, to)); len(got)%2 != 0 {
				t.Errorf("a backup has %d rows", len(got))
			}
		}
		close(stop)
		writer.Wait()
	})
}

func TestRestoreRefusesADamagedBackupAndKeepsTheFile(t *testing.T) {
	source := openChecked(t, memoryDisk{store.NewMemory()}.options())
	putBeds(t, source, 2)
	saved := backup(t, source)
	o := fileDisk{filepath.Join(t.TempDir(), "beds.db")}.options()
	closeChecked(t, open(t, o))
	before, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, backup []byte) {
		err := store.Restore(context.Background(), bytes.NewReader(backup), o, true)
		if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrWrongStore) {
			t.Errorf("%s: Restore = %v", what, err)
		}
	}
	// Each byte, one bit of it, and each length; a stride keeps the run short, and the sum at the end covers all alike.
	for i := 0; i < len(saved); i += 3 {
		broken := slices.Clone(saved)
		broken[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("byte %d flipped", i), broken)
	}
	for n := 0; n < len(saved); n += 7 {
		refused(fmt.Sprintf("cut to %d bytes", n), saved[:n])
	}
	if after, err := os.ReadFile(o.Path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed: %v", err)
	}
	if err := store.Restore(context.Background(), bytes.NewReader(saved), o, true); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, openChecked(t, o)); len(got) != 2 {
		t.Errorf("restored %v", got)
	}
}

func TestRestoreRefusesAnotherStoreAndANewerOne(t *testing.T) {
	saved := backup(t, openChecked(t, memoryDisk{store.NewMemory()}.options()))
	o := store.Options{Engine: store.NewMemory(), Schema: store.NewSchema("cases", 1)}
	mustFail(t, store.Restore(context.Background(), bytes.NewReader(saved), o, false), store.ErrWrongStore)

	newer := store.Options{Engine: store.NewMemory(), Schema: store.NewSchema("beds", 2)}
	saved = backup(t, openChecked(t, newer))
	o = memoryDisk{store.NewMemory()}.options()
	mustFail(t, store.Restore(context.Background(), bytes.NewReader(saved), o, false), store.ErrNewer)
}

func TestCompact(t *testing.T) {
	o := fileDisk{filepath.Join(t.TempDir(), "beds.db")}.options()
	db := open(t, o)
	putBeds(t, db, 3000)
	update(t, db, func(tx *store.Tx) error {
		for i := uint32(10); i <= 3000; i++ {
			if err := bed.Delete(tx, store.K(i)); err != nil {
				return err
			}
		}
		return nil
	})
	want, incarnation := numbers(t, db), db.Incarnation()
	mustFail(t, store.Compact(context.Background(), o.Path), store.ErrLocked)
	closeChecked(t, db)
	before, _ := os.Stat(o.Path)
	if err := store.Compact(context.Background(), o.Path); err != nil {
		t.Fatal(err)
	}
	after, _ := os.Stat(o.Path)
	if after.Size() >= before.Size() || after.Mode() != 0o600 {
		t.Errorf("from %d to %d bytes, mode %v", before.Size(), after.Size(), after.Mode())
	}
	if report, err := store.CheckFile(context.Background(), o.Path, beds); err != nil || report.Err() != nil {
		t.Errorf("check: %v %v", err, report.Problems)
	}
	db = openChecked(t, o)
	if got := numbers(t, db); !slices.Equal(got, want) || db.Incarnation() != incarnation {
		t.Errorf("compaction made %v of %v", got, want)
	}
}

// TestRecover spoils either head page. Open refuses the file; Recover brings back the last commit or the one before, under a new
// incarnation.
func TestRecover(t *testing.T) {
	for head := range 2 {
		o := fileDisk{filepath.Join(t.TempDir(), "beds.db")}.options()
		o.Clock = at(1000)
		db := open(t, o)
		putBeds(t, db, 5)
		update(t, db, putOne(6))
		closeChecked(t, db)
		spoil(t, o.Path, int64(head*os.Getpagesize()+20))
		_, err := store.Open(context.Background(), o)
		mustFail(t, err, store.ErrDamaged)
		if err := store.Recover(context.Background(), o.Path, at(2000)); err != nil {
			t.Fatal(err)
		}
		db = openChecked(t, o)
		if got := len(numbers(t, db)); got < 5 || got > 6 || db.Incarnation() != 2000 {
			t.Errorf("recovered %d rows, incarnation %d", got, db.Incarnation())
		}
	}
}

func spoil(t *testing.T, path string, offset int64) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[offset] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFileReadsWholeFiles(t *testing.T) {
	o := fileDisk{filepath.Join(t.TempDir(), "beds.db")}.options()
	db := open(t, o)
	putBeds(t, db, 500)
	_, err := store.CheckFile(context.Background(), o.Path, beds)
	mustFail(t, err, store.ErrLocked)
	closeChecked(t, db)
	report, err := store.CheckFile(context.Background(), o.Path, beds)
	if err != nil || report.Err() != nil {
		t.Fatal(err, report.Problems)
	}
	var got []string
	for _, b := range report.Buckets {
		got = append(got, fmt.Sprintf("%s %v %d", b.Name, b.Index, b.Rows))
	}
	if want := "bed false 500, bed_by_house true 500, bed_by_number true 500, note false 0"; strings.Join(got, ", ") != want {
		t.Errorf("checked %v, want %s", got, want)
	}
}

// A service that starts while its file is being replaced waits for the old file's lock. It must then open the new one: what is
// written to the old one is gone with its last handle.
func TestOpenWaitsForTheFileThatReplacesThisOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beds.db")
	o := store.Options{Path: path, Schema: beds, LockWait: time.Minute}
	db := open(t, o)
	update(t, db, putOne(1))
	var copied bytes.Buffer
	if err := db.Backup(context.Background(), &copied); err != nil {
		t.Fatal(err)
	}
	other := store.Options{Path: path + ".other", Schema: beds}
	if err := store.Restore(context.Background(), &copied, other, false); err != nil {
		t.Fatal(err)
	}

	opened := make(chan *store.DB)
	go func() {
		late, err := store.Open(context.Background(), o)
		if err != nil {
			t.Error(err)
		}
		opened <- late
	}()
	for handles(t, path) < 2 { // ours and that of the late one
		runtime.Gosched()
	}
	if err := os.Rename(other.Path, path); err != nil { // as Restore does, under the lock that db holds
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	late := <-opened
	if late == nil {
		return
	}
	update(t, late, putOne(2))
	if err := late.Close(); err != nil {
		t.Fatal(err)
	}
	again := openChecked(t, o)
	err := again.View(context.Background(), func(r store.Reader) error {
		n, err := bed.Count(r)
		if n != 2 {
			t.Errorf("%d rows, want 2: what was written after the replacement is lost", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// handles is how many open files of this process stand under a path.
func handles(t *testing.T, path string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == path { // a handle may be closed meanwhile
			n++
		}
	}
	return n
}

// A file is synced before it gets its name, and the folder after. One that is found is synced with its name before it is used: the
// process that left it may have died between a write and its sync.
func TestOpeningSyncsFileThenFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beds.db")
	var synced []string
	defer store.OnSync(func(name string) {
		_, err := os.Lstat(path)
		synced = append(synced, fmt.Sprintf("%s named %t", filepath.Base(name), err == nil))
	})()
	folder := filepath.Base(filepath.Dir(path)) + " named true"
	closeChecked(t, open(t, store.Options{Path: path, Schema: beds}))
	if want := []string{"beds.db.new named false", folder, "beds.db named true", folder}; !slices.Equal(synced, want) {
		t.Errorf("synced %v, want %v", synced, want)
	}
	synced = nil
	openChecked(t, store.Options{Path: path, Schema: beds})
	if want := []string{"beds.db named true", folder}; !slices.Equal(synced, want) {
		t.Errorf("a file that was found: synced %v, want %v", synced, want)
	}
}
