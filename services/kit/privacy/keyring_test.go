package privacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"

	"amanat.example/services/kit/store"
)

func openKeyring(t *testing.T, o Options) *Keyring {
	t.Helper()
	k, err := OpenKeyring(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := k.Store().Check(context.Background())
		if errors.Is(err, store.ErrClosed) {
			return
		}
		if err := errors.Join(append(report.Problems, err, k.Close())...); err != nil {
			t.Error(err)
		}
	})
	return k
}

func keyOf(t *testing.T, k *Keyring, name string) []byte {
	t.Helper()
	key, err := k.dataKey(t.Context(), name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return key
}

func reopenKeyring(t *testing.T, k *Keyring, o Options) *Keyring {
	t.Helper()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	return openKeyring(t, o)
}

func TestTurnOverKeepsKeysAndVoidsTheOldOne(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	o := Options{Dir: t.TempDir(), Clock: func() time.Time { return now }}
	k := openKeyring(t, o)
	const people = turnOverBatch + 88
	keys := map[string][]byte{}
	var names []string
	for i := range people {
		names = append(names, fmt.Sprintf("cases/%d", i))
	}
	if err := k.Prepare(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		keys[name] = keyOf(t, k, name)
	}
	if err := k.Erase(t.Context(), "cases/7"); err != nil {
		t.Fatal(err)
	}
	delete(keys, "cases/7")
	blind := k.BlindIndex("father", []byte("akram"))
	old := k.current()
	oldFile, err := os.ReadFile(k.path)
	if err != nil {
		t.Fatal(err)
	}
	watching, err := os.Open(k.path) // the old file's bytes, after it was replaced
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Close()

	now = now.AddDate(0, 0, 6)
	if err := k.TurnOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := k.LastTurnOver(); !got.Equal(now) {
		t.Errorf("turned over at %s", got)
	}
	for range 2 {
		for name, want := range keys {
			if got := keyOf(t, k, name); !bytes.Equal(got, want) {
				t.Fatalf("the key of %s changed", name)
			}
		}
		if _, err := k.dataKey(t.Context(), "cases/7"); !errors.Is(err, ErrErased) {
			t.Errorf("the erased key: %v", err)
		}
		if !bytes.Equal(k.BlindIndex("father", []byte("akram")), blind) {
			t.Error("the blind index changed")
		}
		k = reopenKeyring(t, k, o)
	}
	err = k.db.View(t.Context(), func(r store.Reader) error {
		return dataKeys.Scan(r, store.Range{}, func(row store.Key, found *privacyv1.DataKey) error {
			if _, err := open(old.key, old.aad(row), found.GetWrapped()); err == nil {
				t.Error("the old wrapping key opens a row")
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	left := make([]byte, len(oldFile))
	if _, err := watching.ReadAt(left, 0); err != nil || bytes.Contains(left, oldFile[:20]) {
		t.Errorf("the old wrapping key's file was not overwritten (%v)", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.path, oldFile, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyring(t.Context(), o); !errors.Is(err, ErrUnreadable) {
		t.Errorf("opened with the old wrapping key: %v", err)
	}
}

// TestTurnOverCutShort stops a turnover after each of its transactions and completes it later.
func TestTurnOverCutShort(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	k := openKeyring(t, o)
	var names []string
	for i := range 2*turnOverBatch + 5 {
		names = append(names, fmt.Sprintf("cases/%d", i))
	}
	if err := k.Prepare(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	want := keyOf(t, k, "cases/1000")
	for stopAfter := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		if stopAfter == 0 {
			cancel()
		}
		commits := 0
		k.db.Observe(func(store.ChangeSet) {
			if commits++; commits == stopAfter {
				cancel()
			}
		})
		if err := k.TurnOver(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped after %d: %v", stopAfter, err)
		}
		cancel()
		if len(k.wrapping) != stopAfter+2 {
			t.Errorf("%d wrapping keys after a turnover cut short", len(k.wrapping))
		}
		k = reopenKeyring(t, k, o)
		for _, name := range names {
			keyOf(t, k, name)
		}
	}
	if err := k.TurnOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	k = reopenKeyring(t, k, o)
	if got := keyOf(t, k, "cases/1000"); len(k.wrapping) != 1 || !bytes.Equal(got, want) {
		t.Errorf("%d wrapping keys, key changed: %v", len(k.wrapping), !bytes.Equal(got, want))
	}
}

// lateReader does something once between the moment whose state a reader sees and what it reads.
type lateReader struct {
	*store.Memory
	meanwhile func()
}

func (e *lateReader) Begin(writable bool) (store.EngineTx, error) {
	tx, err := e.Memory.Begin(writable)
	if do := e.meanwhile; do != nil && !writable {
		e.meanwhile = nil
		do()
	}
	return tx, err
}

// Who read a row just before a turnover, and opens it just after, gets the key all the same: it is not lost.
func TestReadWhileTheWrappingKeyTurnsOver(t *testing.T) {
	engine := &lateReader{Memory: store.NewMemory()}
	k := openKeyring(t, Options{Dir: t.TempDir(), Engine: engine, Inline: true})
	if err := k.Prepare(t.Context(), "cases/1", "cases/2"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		want error
	}{{"cases/1", nil}, {"cases/2", ErrErased}, {"cases/3", ErrNotPrepared}} {
		engine.meanwhile = func() {
			err := k.TurnOver(t.Context())
			if c.want == ErrErased {
				err = errors.Join(k.Erase(t.Context(), c.name), err)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := k.dataKey(t.Context(), c.name); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestEverythingAtOnce prepares, reads and erases while the wrapping key turns over: afterwards
// every key is as its first reader saw it, or erased.
func TestEverythingAtOnce(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	k := openKeyring(t, o)
	const people, workers = 60, 8
	name := func(i int) string { return fmt.Sprintf("cases/%d", i) }
	var seen sync.Map
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range people {
				err := k.Prepare(t.Context(), name(i))
				if err != nil && !errors.Is(err, ErrErased) {
					t.Error(err)
				}
				key, err := k.dataKey(t.Context(), name(i))
				if err != nil && !errors.Is(err, ErrErased) {
					t.Error(err)
				}
				if first, loaded := seen.LoadOrStore(name(i), key); err == nil && loaded && first.([]byte) != nil && !bytes.Equal(first.([]byte), key) {
					t.Errorf("%s has two keys", name(i))
				}
				if i%10 == w { // w < 8: eight of ten are erased, each by one worker
					if err := k.Erase(t.Context(), name(i)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 5 {
		if err := k.TurnOver(t.Context()); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
	for range 2 {
		for i := range people {
			key, err := k.dataKey(t.Context(), name(i))
			first, _ := seen.Load(name(i))
			switch isErased := i%10 < workers; {
			case isErased && !errors.Is(err, ErrErased):
				t.Errorf("%s was erased and answers %v", name(i), err)
			case !isErased && (err != nil || !bytes.Equal(first.([]byte), key)):
				t.Errorf("%s: %v", name(i), err)
			}
		}
		k = reopenKeyring(t, k, o)
	}
}

func TestLostFilesAreNotMadeAnew(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	k := openKeyring(t, o)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Dir, wrappingFile)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyring(t.Context(), o); !errors.Is(err, ErrUnreadable) {
		t.Errorf("without the wrapping key: %v", err)
	}
	for _, bad := range []string{"", "one two three\n", "1 2 ff\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKeyring(t.Context(), o); err == nil {
			t.Errorf("opened with %q", bad)
		}
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	openKeyring(t, o)
}

func TestCacheIsBounded(t *testing.T) {
	k := openKeyring(t, Options{Dir: t.TempDir(), Engine: store.NewMemory()})
	var names []string
	for i := range cachedKeys + 10 {
		names = append(names, fmt.Sprintf("cases/%d", i))
	}
	if err := k.Prepare(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		keyOf(t, k, name)
	}
	if len(k.cache) != cachedKeys {
		t.Errorf("%d keys are cached", len(k.cache))
	}
}

func TestBlindIndexTellsPurposesAndKeyringsApart(t *testing.T) {
	a, b := openKeyring(t, Options{Dir: t.TempDir()}), openKeyring(t, Options{Dir: t.TempDir()})
	one := a.BlindIndex("father", []byte("akram"))
	if len(one) != 32 || !bytes.Equal(one, a.BlindIndex("father", []byte("akram"))) {
		t.Error("equal tokens differ")
	}
	for _, other := range [][]byte{
		a.BlindIndex("father", []byte("akbar")), a.BlindIndex("mother", []byte("akram")),
		a.BlindIndex("fathera", []byte("kram")), b.BlindIndex("father", []byte("akram")),
	} {
		if bytes.Equal(one, other) {
			t.Error("different tokens are equal")
		}
	}
}
