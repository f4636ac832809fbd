package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/typepb"

	"amanat.example/services/kit/store"
)

// inOneBatch runs the functions in one commit, in this order: the first holds the committer until all the others wait.
func inOneBatch(t *testing.T, db *store.DB, fns ...func(tx *store.Tx) error) []error {
	t.Helper()
	holding, release := make(chan struct{}), make(chan struct{})
	errs := make([]error, len(fns))
	var done sync.WaitGroup
	done.Go(func() {
		db.Update(context.Background(), func(*store.Tx) error { // fares as the batch does
			close(holding)
			<-release
			return nil
		})
	})
	<-holding
	for i, fn := range fns {
		done.Go(func() { errs[i] = updateRecovering(db, fn) })
		for db.Waiting() != i+1 {
			runtime.Gosched()
		}
	}
	close(release)
	done.Wait()
	return errs
}

func putOne(number int32) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		return bed.Insert(tx, store.K(uint32(number)), newBed(number, "made", "a"))
	}
}

func numbers(t tester, db *store.DB) (all []int32) {
	t.Helper()
	view(t, db, func(r store.Reader) error {
		return bed.Scan(r, store.Range{}, func(_ store.Key, b *typepb.Field) error {
			all = append(all, b.GetNumber())
			return nil
		})
	})
	return all
}

func TestFailingAndPanickingCallersTouchNobodyElse(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		before := db.Stats()
		var ran []int32
		after := func(number int32) func(tx *store.Tx) error {
			return func(tx *store.Tx) error {
				tx.AfterCommit(func() { ran = append(ran, number) })
				return putOne(number)(tx)
			}
		}
		errs := inOneBatch(t, db,
			after(1),
			func(tx *store.Tx) error { return errors.Join(after(2)(tx), errChangedMind) },
			after(3),
			func(tx *store.Tx) error { panic(errors.Join(after(4)(tx), errChangedMind)) },
			after(1), // meets what the batch has
			after(5),
		)
		for i, want := range []error{nil, errChangedMind, nil, errChangedMind, store.ErrExists, nil} {
			if !errors.Is(errs[i], want) {
				t.Errorf("caller %d got %v, want %v", i, errs[i], want)
			}
		}
		if got := numbers(t, db); !slices.Equal(got, []int32{1, 3, 5}) {
			t.Errorf("the store has %v", got)
		}
		if !slices.Equal(ran, []int32{1, 3, 5}) {
			t.Errorf("AfterCommit ran for %v", ran)
		}
		if s := db.Stats(); s.Commits != before.Commits+1 || s.LargestBatch != 7 {
			t.Errorf("the callers did not share one commit: %+v", s)
		}
	})
}

// A caller that fails because of what another one of the batch wrote must not hear so before that is durable.
func TestErrorsAreAnsweredAfterTheCommit(t *testing.T) {
	m := store.NewMemory()
	db := open(t, memoryDisk{m}.options())
	defer db.Close()
	m.FailNextCommit(errors.New("disk gone"))
	errs := inOneBatch(t, db, putOne(1), putOne(1))
	mustFail(t, errs[0], store.ErrFatal)
	mustFail(t, errs[1], store.ErrFatal)
}

func TestCancelledBeforeTheStartIsNotRun(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		ctx, cancel := context.WithCancel(context.Background())
		holding, release := make(chan struct{}), make(chan struct{})
		var done sync.WaitGroup
		done.Go(func() {
			update(t, db, func(*store.Tx) error {
				close(holding)
				<-release
				return nil
			})
		})
		<-holding
		done.Go(func() { mustFail(t, db.Update(ctx, putOne(1)), context.Canceled) })
		for db.Waiting() != 1 {
			runtime.Gosched()
		}
		cancel()
		mustFail(t, db.Update(ctx, putOne(2)), context.Canceled)
		mustFail(t, db.View(ctx, func(store.Reader) error { return nil }), context.Canceled)
		close(release)
		done.Wait()
		update(t, db, putOne(3))
		if got := numbers(t, db); !slices.Equal(got, []int32{3}) {
			t.Errorf("the store has %v", got)
		}
	})
}

// Whoever starts late is answered for what he did: a ctx that ends after the start changes nothing.
func TestCancelledAfterTheStartStillCommits(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		ctx, cancel := context.WithCancel(context.Background())
		err := db.Update(ctx, func(tx *store.Tx) error {
			cancel()
			return putOne(1)(tx)
		})
		if err != nil || len(numbers(t, db)) != 1 {
			t.Errorf("Update = %v, store has %v", err, numbers(t, db))
		}
	})
}

func TestConcurrentCallersAllGetTheirOwnAnswer(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		seen := make(map[string]uint64)
		db.Observe(func(set store.ChangeSet) {
			for _, c := range set.Changes {
				if c.Version != seen[string(c.Key)]+1 {
					t.Errorf("version %d of a row follows %d", c.Version, seen[string(c.Key)])
				}
				seen[string(c.Key)] = c.Version
			}
		})
		const callers, each = 16, 20
		var done sync.WaitGroup
		for caller := range callers {
			done.Go(func() {
				for i := range each {
					// Everybody raises one shared row and one of his own; every third time he changes his mind.
					err := db.Update(context.Background(), func(tx *store.Tx) error {
						for _, key := range []store.Key{store.K("shared"), store.K("own", uint32(caller))} {
							if err := note.Put(tx, key, &typepb.Option{}); err != nil {
								return err
							}
						}
						if i%3 == 0 {
							return errChangedMind
						}
						return nil
					})
					if (err != nil) != (i%3 == 0) {
						t.Errorf("Update = %v", err)
					}
				}
			})
		}
		done.Wait()
		const kept = each - (each+2)/3
		view(t, db, func(r store.Reader) error {
			shared, err := note.Version(r, store.K("shared"))
			if shared != callers*kept {
				t.Errorf("shared row has version %d, want %d", shared, callers*kept)
			}
			if n, _ := note.Count(r); n != callers+1 || len(seen) != callers+1 || seen[string(store.K("shared"))] != shared {
				t.Errorf("%d rows, observed %d", n, len(seen))
			}
			return err
		})
	})
}

func TestObserversCanRebuildTheTable(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		mirror := make(map[string]int32)
		db.Observe(func(set store.ChangeSet) {
			for _, c := range set.Changes {
				old, err := bed.Decode(c.Old)
				if err != nil || c.Table != bed.Name() || old.GetNumber() != mirror[string(c.Key)] {
					t.Errorf("change of %s from %v: %v; mirror has %d", c.Table, old, err, mirror[string(c.Key)])
				}
				if c.New == nil {
					delete(mirror, string(c.Key))
					continue
				}
				b, err := bed.Decode(c.New)
				if err != nil {
					t.Error(err)
				}
				mirror[string(c.Key)] = b.GetNumber()
			}
		})
		putBeds(t, db, 9)
		inOneBatch(t, db,
			func(tx *store.Tx) error { return bed.Delete(tx, store.K(uint32(3))) },
			func(tx *store.Tx) error { return bed.Put(tx, store.K(uint32(3)), newBed(33, "again")) },
			func(tx *store.Tx) error { return errors.Join(bed.Delete(tx, store.K(uint32(4))), errChangedMind) },
			func(tx *store.Tx) error { // no net effect, no change
				return errors.Join(putOne(50)(tx), bed.Delete(tx, store.K(uint32(50))))
			},
			func(tx *store.Tx) error { return bed.Delete(tx, store.K(uint32(5))) },
		)
		if got := slices.Sorted(maps.Values(mirror)); !slices.Equal(got, []int32{1, 2, 4, 6, 7, 8, 9, 33}) {
			t.Errorf("the mirror has %v", got)
		}
	})
}

func TestScanCallbackMayChangeRows(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		for _, reverse := range []bool{false, true} {
			db := openChecked(t, d.clone(t).options())
			putBeds(t, db, 10)
			var seen []string
			update(t, db, func(tx *store.Tx) error {
				return bedByHouse.Scan(tx, store.Range{Prefix: store.K("odd"), Reverse: reverse}, func(key store.Key, b *typepb.Field) error {
					seen = append(seen, b.GetName()+fmt.Sprint(b.GetNumber()))
					if err := bed.Delete(tx, key); err != nil {
						return err
					}
					if b.GetNumber() == 5 {
						return errors.Join(
							bed.Put(tx, store.K(uint32(3)), newBed(3, "moved", "odd")),
							bed.Put(tx, store.K(uint32(7)), newBed(7, "moved", "odd")),
							bed.Put(tx, store.K(uint32(9)), newBed(9, "moved", "even")),
							bed.Put(tx, store.K(uint32(1)), newBed(1, "moved", "even")))
					}
					return nil
				})
			})
			want := []string{"made1", "made3", "made5", "moved7"}
			if reverse {
				want = []string{"made9", "made7", "made5", "moved3"}
			}
			if !slices.Equal(seen, want) {
				t.Errorf("reverse %v: the scan saw %v, want %v", reverse, seen, want)
			}
		}
	})
}

func TestARefusedPutLeavesNothing(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		putBeds(t, db, 2)
		update(t, db, func(tx *store.Tx) error {
			err := bed.Put(tx, store.K(uint32(1)), newBed(2, "clash", "new house"))
			mustFail(t, err, store.ErrExists)
			if want := "bed_by_number: already exists"; err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
			return nil // and goes on
		})
		view(t, db, func(r store.Reader) error {
			_, err := bedByHouse.First(r, store.Range{Prefix: store.K("new house")})
			mustFail(t, err, store.ErrNotFound)
			row, err := bedByNumber.First(r, store.Range{Prefix: store.K(uint32(2))})
			if err == nil && row.Value.GetName() != "made" {
				t.Errorf("number 2 is %v", row.Value)
			}
			return err
		})
	})
}

func TestUseAfterTheFunctionIsRefused(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		var kept *store.Tx
		var reader store.Reader
		update(t, db, func(tx *store.Tx) error { kept = tx; return nil })
		view(t, db, func(r store.Reader) error { reader = r; return nil })
		mustFail(t, putOne(1)(kept), store.ErrTxDone)
		for _, r := range []store.Reader{kept, reader} {
			_, err := bed.Get(r, store.K("x"))
			mustFail(t, err, store.ErrTxDone)
			mustFail(t, bed.Scan(r, store.Range{}, nil), store.ErrTxDone)
			_, err = bed.Count(r)
			mustFail(t, err, store.ErrTxDone)
		}
		if db.Err() != nil {
			t.Errorf("a caller's mistake stopped the store: %v", db.Err())
		}
	})
}

func TestClosedStoreAnswersSo(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := open(t, d.options())
		closeChecked(t, db)
		mustFail(t, db.Update(context.Background(), putOne(1)), store.ErrClosed)
		mustFail(t, db.View(context.Background(), func(store.Reader) error { return nil }), store.ErrClosed)
		if err := db.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestInlineRefusesAnUpdateInsideAnUpdate(t *testing.T) {
	o := memoryDisk{store.NewMemory()}.options()
	o.Inline = true
	db := openChecked(t, o)
	update(t, db, func(*store.Tx) error {
		if err := db.Update(context.Background(), putOne(1)); err == nil {
			t.Error("it was not refused")
		}
		return nil
	})
}

func TestKeysAreRefusedBySize(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		long := make(store.Key, store.MaxKeySize+1)
		update(t, db, func(tx *store.Tx) error {
			mustFail(t, bed.Put(tx, nil, newBed(1, "x")), store.ErrKeySize)
			mustFail(t, bed.Put(tx, long, newBed(1, "x")), store.ErrKeySize)
			// The row's key fits, its place in an index does not.
			mustFail(t, bed.Put(tx, long[:store.MaxKeySize], newBed(1, "x", "house")), store.ErrKeySize)
			return bed.Put(tx, long[:store.MaxKeySize], newBed(1, "x"))
		})
	})
}

func TestEveryRaiseOfABatchHolds(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		db := openChecked(t, d.options())
		high, low := db.Incarnation()+1000, db.Incarnation()+10
		for _, err := range inOneBatch(t, db, store.RaiseIn(high), store.RaiseIn(low)) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := db.Incarnation(); got != high+1 {
			t.Errorf("the incarnation is %d, want %d: a later raise of the batch undid an earlier one", got, high+1)
		}
	})
}
