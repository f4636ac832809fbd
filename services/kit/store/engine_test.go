package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// onEngines runs a test on an empty engine of each kind.
func onEngines(t *testing.T, test func(t *testing.T, e Engine)) {
	t.Run("bbolt", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "rows.db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := openBolt(path, boltOptions{fresh: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, e)
	})
	t.Run("memory", func(t *testing.T) { test(t, NewMemory()) })
}

const (
	engineBucket = "rows"
	engineRow    = 400 // bytes, so that a page of the file has few rows
	engineRowsN  = 300
)

func engineKey(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// fill commits rows over many pages.
func fill(t *testing.T, e Engine) {
	t.Helper()
	tx, err := e.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	for n := range engineRowsN {
		if err := tx.Put(engineBucket, engineKey(n), make([]byte, engineRow)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// bbolt shows a commit to readers before it has synced it: they wait until it is on disk, and fail with it.
func TestReadersWaitForTheSync(t *testing.T) {
	for _, fails := range []error{nil, errors.New("the disk is full")} {
		path := filepath.Join(t.TempDir(), "rows.db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			e, err := openBolt(path, boltOptions{fresh: true})
			if err != nil {
				t.Fatal(err)
			}
			fill(t, e)
			tx, err := e.Begin(true)
			if err == nil {
				err = tx.Put(engineBucket, engineKey(engineRowsN), []byte("one more"))
			}
			commit := tx.(*boltTx).tx.ID()
			if err = errors.Join(err, tx.(*boltTx).tx.Commit()); err != nil { // readers see it, and nobody says yet that it is on disk
				t.Fatal(err)
			}
			var answered error
			read := false
			go func() {
				reader, err := e.Begin(false)
				if err == nil {
					err = reader.Rollback()
				}
				answered, read = err, true
			}()
			synctest.Wait()
			if read {
				t.Error("a reader sees what may not be on disk")
			}
			e.committed(commit, fails)
			synctest.Wait()
			if !read || !errors.Is(answered, fails) {
				t.Errorf("the commit ends with %v; it is read: %t, with %v", fails, read, answered)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever a transaction has removed, also whole pages and all of them, its scans in either direction find what is left.
func TestScansWithinATransactionThatRemoves(t *testing.T) {
	onEngines(t, func(t *testing.T, e Engine) {
		fill(t, e)
		rapid.Check(t, func(t *rapid.T) {
			tx, err := e.Begin(true)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := tx.Rollback(); err != nil {
					t.Fatal(err)
				}
			}()
			there := map[int]bool{}
			for n := range engineRowsN {
				there[n] = true
			}
			number := rapid.IntRange(0, engineRowsN)
			for range rapid.IntRange(1, 4).Draw(t, "removals") {
				from, to := number.Draw(t, "from"), number.Draw(t, "to")
				for n := from; n < to; n++ {
					if err := tx.Delete(engineBucket, engineKey(n)); err != nil {
						t.Fatal(err)
					}
					delete(there, n)
				}
			}
			for range rapid.IntRange(0, 3).Draw(t, "additions") {
				n := number.Draw(t, "added")
				if err := tx.Put(engineBucket, engineKey(n), make([]byte, engineRow)); err != nil {
					t.Fatal(err)
				}
				there[n] = true
			}
			bound := rapid.Custom(func(t *rapid.T) []byte {
				if rapid.Bool().Draw(t, "no bound") {
					return nil
				}
				return engineKey(number.Draw(t, "bound"))
			})
			lower, upper := bound.Draw(t, "lower"), bound.Draw(t, "upper")
			for _, reverse := range []bool{false, true} {
				if got, want := scanned(t, tx, lower, upper, reverse), left(there, lower, upper, reverse); !slices.Equal(got, want) {
					t.Fatalf("from %x to %x, reverse %t: found %d rows, want %d: %v", lower, upper, reverse, len(got), len(want), differ(got, want))
				}
			}
		})
	})
}

// Where a transaction has removed every row of many pages, a scan from the end ends.
func TestScanOfNothingLeft(t *testing.T) {
	onEngines(t, func(t *testing.T, e Engine) {
		fill(t, e)
		tx, err := e.Begin(true)
		if err != nil {
			t.Fatal(err)
		}
		for n := range engineRowsN {
			if err := tx.Delete(engineBucket, engineKey(n)); err != nil {
				t.Fatal(err)
			}
		}
		for _, upper := range [][]byte{nil, engineKey(engineRowsN / 2)} {
			if got := scanned(t, tx, nil, upper, true); len(got) > 0 {
				t.Errorf("found %v", got)
			}
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	})
}

func scanned(t interface{ Fatal(...any) }, tx EngineTx, lower, upper []byte, reverse bool) (found []int) {
	it := tx.Iterate(engineBucket, lower, upper, reverse)
	for {
		key, _, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		if key == nil {
			return found
		}
		found = append(found, int(binary.BigEndian.Uint32(key)))
	}
}

func left(there map[int]bool, lower, upper []byte, reverse bool) (want []int) {
	for n := range engineRowsN + 1 {
		key := engineKey(n)
		if there[n] && bytes.Compare(key, lower) >= 0 && (upper == nil || bytes.Compare(key, upper) < 0) {
			want = append(want, n)
		}
	}
	if reverse {
		slices.Reverse(want)
	}
	return want
}

// differ are the rows that only one of the two has.
func differ(a, b []int) (all []int) {
	for _, n := range slices.Concat(a, b) {
		if slices.Contains(a, n) != slices.Contains(b, n) {
			all = append(all, n)
		}
	}
	return all
}
