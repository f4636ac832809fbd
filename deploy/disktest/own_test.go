package disktest_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"amanat.example/deploy/disktest"
)

func TestMain(m *testing.M) {
	disktest.Serve()
	goleak.VerifyTestMain(m)
}

// put writes a whole file, and syncs it where told to.
func put(t *testing.T, path string, data []byte, sync bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, 0)
	if sync {
		err = errors.Join(err, f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func syncFolder(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, folder string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What was synced is there after every loss of power; what was not is there, or not, or in part, and each is met.
func TestOnlyWhatWasSyncedIsSure(t *testing.T) {
	d := disktest.New(t)
	old, next := bytes.Repeat([]byte("o"), 4*512), bytes.Repeat([]byte("n"), 6*512)
	met := map[string]int{}
	for seed := range uint64(60) {
		d.Erase()
		sure, folder := filepath.Join(d.Folder(), "sure"), filepath.Join(d.Folder(), "folder")
		put(t, sure, old, true)
		put(t, filepath.Join(d.Folder(), "removed"), old, true)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		syncFolder(t, d.Folder())
		put(t, sure, next, false)
		put(t, filepath.Join(folder, "nameless"), old, true) // its folder is not synced
		if err := errors.Join(os.Remove(filepath.Join(d.Folder(), "removed")), os.Rename(folder, folder+"2")); err != nil {
			t.Fatal(err)
		}
		d.Cut()
		if _, err := os.ReadDir(d.Folder()); !errors.Is(err, syscall.EIO) {
			t.Fatalf("without power: %v", err)
		}
		d.Restore(seed)
		got := read(t, sure)
		if len(got) != len(old) && len(got) != len(next) {
			t.Fatalf("%d bytes", len(got))
		}
		for from := 0; from < len(got); from += 512 {
			sector := got[from : from+512]
			if sector[0] == 0 && from < len(old) || !bytes.Equal(sector, bytes.Repeat(sector[:1], 512)) {
				t.Fatalf("sector %d is neither old nor new", from/512)
			}
		}
		switch {
		case bytes.Equal(got, old):
			met["old"]++
		case bytes.Equal(got, next):
			met["new"]++
		default:
			met["torn"]++
		}
		for _, name := range names(t, d.Folder()) {
			met[name]++
			if below, ok := map[string]bool{"folder": true, "folder2": true}[name]; ok && below {
				if len(names(t, filepath.Join(d.Folder(), name))) == 1 {
					met["nameless"]++
				}
			}
		}
	}
	for what, all := range map[string]bool{"old": false, "new": false, "torn": false, "sure": true, "removed": false, "folder": false, "folder2": false, "nameless": false} {
		if n := met[what]; n == 0 || all != (n == 60) {
			t.Errorf("%s was met %d times of 60", what, n)
		}
	}
	if met["folder"]+met["folder2"] != 60 {
		t.Errorf("a renamed folder has both names or none: %v", met)
	}
	t.Log(met)
}

// A file that is mapped shows what is written to it, at once, also behind its old end: bbolt reads so.
func TestAMapShowsWhatIsWritten(t *testing.T) {
	d := disktest.New(t)
	f, err := os.Create(filepath.Join(d.Folder(), "mapped"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 64 << 10
	mapped, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mapped)
	want := make([]byte, size)
	random := rand.New(rand.NewPCG(1, 1))
	for round := range 200 {
		if round%50 == 0 {
			if err := f.Truncate(int64(size / 4 * (round/50 + 1))); err != nil {
				t.Fatal(err)
			}
		}
		end := size / 4 * (round/50 + 1)
		from := random.IntN(end)
		data := bytes.Repeat([]byte{byte(round + 1)}, 1+random.IntN(end-from))
		if _, err := f.WriteAt(data, int64(from)); err != nil {
			t.Fatal(err)
		}
		copy(want[from:], data)
		if !bytes.Equal(mapped[:end], want[:end]) {
			t.Fatalf("round %d: the map shows something else", round)
		}
	}
	if got := read(t, f.Name()); !bytes.Equal(got, want) {
		t.Error("a read gives something else")
	}
}

func TestAPlanCutsFillsAndFails(t *testing.T) {
	d := disktest.New(t)
	path := filepath.Join(d.Folder(), "file")
	d.Plan(disktest.Plan{})
	put(t, path, []byte("first"), true)
	syncFolder(t, d.Folder())
	if c := d.Counts(); c.Steps != 4 || c.Writes != 1 || !slices.Equal(c.Syncs, []int{3, 4}) || c.Unsynced {
		t.Errorf("create, write, sync, sync were counted as %+v", c)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d.Plan(disktest.Plan{Full: true, Room: 3})
	if _, err := f.WriteAt([]byte("second"), 0); !errors.Is(err, syscall.ENOSPC) || string(read(t, path)) != "secst" {
		t.Errorf("a full disk has %q, %v", read(t, path), err)
	}
	if err := os.Mkdir(path+"2", 0o700); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk made a folder: %v", err)
	}
	d.Plan(disktest.Plan{FailWrite: 2, FailSync: 1})
	for i, want := range []error{nil, syscall.EIO, nil} {
		if _, err := f.WriteAt([]byte("third"), 0); !errors.Is(err, want) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a sync that fails: %v", err)
	}
	for _, after := range []bool{false, true} {
		want := map[bool]string{false: "third", true: "after"}[after]
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		d.Plan(disktest.Plan{CutAt: 2, CutAfter: after})
		if _, err := f.WriteAt([]byte("after"), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); !errors.Is(err, syscall.EIO) || !d.Counts().PowerLost {
			t.Errorf("a sync when power goes: %v", err)
		}
		f.Close()
		d.Restore(disktest.KeepNothing)
		if got := string(read(t, path)); got != want {
			t.Errorf("cut after the sync %v: %q", after, got)
		}
		if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	d.Flip("file", 8*2+1)
	if got := string(read(t, path)); got != "afver" {
		t.Errorf("a flipped bit: %q", got)
	}
}
