package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// boltReserve is how much address space is mapped beyond the file, so that the file can grow that much before a commit has
// to wait for open readers to map it again. It costs no memory.
const boltReserve = 1 << 30

// boltEngine keeps a store in one bbolt file.
type boltEngine struct {
	db     *bolt.DB
	file   *os.File // bbolt's own handle, to free the file when bbolt itself cannot be trusted any more
	fresh  bool     // being filled in key order: pages can be packed
	broken bool     // bbolt panicked in a writable transaction, and may hold its locks for ever

	mu      sync.Mutex
	ended   *sync.Cond // a commit has
	durable int        // the last transaction that is on disk
	failed  error      // why a later one may not be
}

// boltOptions say how openBolt opens a file.
type boltOptions struct {
	lockWait time.Duration // 0: not at all
	reserve  int           // bytes of address space to map at least
	fresh    bool          // the file is new and empty, and will be filled in the order of its keys
	oneHead  bool          // one readable head page is enough
}

// openBolt opens the file, which must exist, and locks it. Its pages are verified before bbolt sees them: bbolt trusts what it
// reads, and a damaged page can send it round in circles or to rows that were replaced long ago.
func openBolt(path string, o boltOptions) (*boltEngine, error) {
	e := &boltEngine{fresh: o.fresh}
	e.ended = sync.NewCond(&e.mu)
	opts := &bolt.Options{
		Timeout:         o.lockWait,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: o.reserve,
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			if f, err = openLocked(name, flag&^os.O_CREATE, mode, o.lockWait); err != nil {
				return nil, err
			}
			if e.file = f; o.fresh {
				return f, nil
			}
			info, err := f.Stat()
			if err != nil {
				return f, err
			}
			return f, verifyPages(f, info.Size(), o.oneHead)
		},
	}
	err := guard(func() (err error) {
		if e.db, err = bolt.Open(path, 0o600, opts); err != nil {
			return err
		}
		return e.db.View(func(tx *bolt.Tx) error {
			e.durable = tx.ID()
			return nil
		})
	})
	if err == nil {
		return e, nil
	}
	if e.file != nil {
		e.file.Close() // may be closed already; the reason to give up is err
	}
	return nil, fmt.Errorf("open %s: %w", path, err)
}

// openLocked opens and locks the file that stands under this name. Restore, Compact and Recover put another file there while
// they hold the old one's lock; who waited for that has locked a file without a name, in which all that it writes would be lost
// with the last handle, and tries again.
func openLocked(name string, flag int, mode os.FileMode, wait time.Duration) (*os.File, error) {
	for end := time.Now().Add(wait); ; {
		f, err := os.OpenFile(name, flag, mode)
		if err != nil {
			return nil, err
		}
		err = lockFile(f, max(0, time.Until(end)))
		if err == nil {
			var current bool
			if current, err = stands(f, name); current {
				return f, nil
			}
		}
		if closed := f.Close(); err != nil {
			return nil, errors.Join(err, closed)
		}
	}
}

// stands says whether the name still leads to the open file.
func stands(f *os.File, name string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, there), nil
}

// lockFile takes the lock that bbolt takes, which is then a no-op, before the pages are verified.
func lockFile(f *os.File, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock: %w", err)
		case time.Now().After(end):
			return fmt.Errorf("%w (waited %v)", ErrLocked, wait)
		}
	}
}

// guard runs fn, which reads pages through bbolt, and turns bbolt's panics and faults of the memory map into errors.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = damaged("bbolt cannot follow its pages (%v)", r)
		}
	}()
	return fn()
}

func (e *boltEngine) Begin(writable bool) (EngineTx, error) {
	t := &boltTx{engine: e, writable: writable}
	err := guard(func() (err error) {
		t.tx, err = e.db.Begin(writable)
		return err
	})
	if err != nil {
		if writable {
			e.notePanic(err)
		}
		return nil, err
	}
	if !writable {
		if err := e.await(t.tx.ID()); err != nil {
			return nil, errors.Join(err, t.Rollback())
		}
	}
	return t, nil
}

// await waits until the commit that a reader sees is on disk, since bbolt shows one while it is being synced: what is read is told on, to
// other nodes too.
func (e *boltEngine) await(commit int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.durable < commit {
		if e.failed != nil {
			return e.failed
		}
		e.ended.Wait()
	}
	return nil
}

// committed notes how a commit ended.
func (e *boltEngine) committed(commit int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed = err; err == nil {
		e.durable = commit
	}
	e.ended.Broadcast()
}

func (e *boltEngine) Close() error {
	if e.broken {
		// The memory map stays, and would keep the lock with it.
		return errors.Join(syscall.Flock(int(e.file.Fd()), syscall.LOCK_UN), e.file.Close())
	}
	return guard(e.db.Close)
}

type boltTx struct {
	engine   *boltEngine
	tx       *bolt.Tx
	writable bool
	done     bool
	buckets  map[string]*bolt.Bucket
}

// bucket returns nil for a bucket that is not there. Call it under guard.
func (t *boltTx) bucket(name string) *bolt.Bucket {
	if b := t.buckets[name]; b != nil {
		return b
	}
	b := t.tx.Bucket([]byte(name))
	if b != nil {
		if t.buckets == nil {
			t.buckets = make(map[string]*bolt.Bucket)
		}
		if t.engine.fresh {
			b.FillPercent = 0.9
		}
		t.buckets[name] = b
	}
	return b
}

func (t *boltTx) Get(bucket string, key []byte) (value []byte, err error) {
	err = guard(func() error {
		if b := t.bucket(bucket); b != nil {
			// Copied here, so that a fault of the memory map cannot happen outside guard.
			value = bytes.Clone(b.Get(key))
		}
		return nil
	})
	return value, err
}

func (t *boltTx) Put(bucket string, key, value []byte) error {
	return t.write(func() error {
		b := t.bucket(bucket)
		if b == nil {
			if _, err := t.tx.CreateBucket([]byte(bucket)); err != nil {
				return err
			}
			b = t.bucket(bucket)
		}
		return b.Put(key, value)
	})
}

func (t *boltTx) Delete(bucket string, key []byte) error {
	return t.write(func() error {
		if b := t.bucket(bucket); b != nil {
			return b.Delete(key)
		}
		return nil
	})
}

func (t *boltTx) Drop(bucket string) error {
	return t.write(func() error {
		if t.bucket(bucket) == nil {
			return nil
		}
		delete(t.buckets, bucket)
		return t.tx.DeleteBucket([]byte(bucket))
	})
}

func (t *boltTx) Commit() error {
	t.done = true
	commit := t.tx.ID()
	err := t.write(t.tx.Commit)
	t.engine.committed(commit, err)
	return err
}

func (t *boltTx) Rollback() error {
	if t.done {
		return nil
	}
	t.done = true
	if !t.writable {
		return guard(t.tx.Rollback)
	}
	return t.write(t.tx.Rollback)
}

// write is guard for what a writable transaction does.
func (t *boltTx) write(fn func() error) error {
	err := guard(fn)
	t.engine.notePanic(err)
	return err
}

func (e *boltEngine) notePanic(err error) {
	if errors.Is(err, ErrDamaged) {
		e.broken = true
	}
}

func (t *boltTx) Iterate(bucket string, lower, upper []byte, reverse bool) EngineIterator {
	return &boltIterator{tx: t, bucket: bucket, lower: lower, upper: upper, reverse: reverse}
}

type boltIterator struct {
	tx           *boltTx
	bucket       string
	lower, upper []byte
	reverse      bool
	cursor       *bolt.Cursor
	first, at    []byte // of a scan in reverse: the bucket's first key, and that under the cursor
	done         bool
}

func (it *boltIterator) Next() (key, value []byte, err error) {
	if it.done {
		return nil, nil, nil
	}
	err = guard(func() error {
		k, v := it.step()
		if k != nil && it.inside(k) {
			key, value = bytes.Clone(k), append([]byte{}, v...)
		}
		return nil
	})
	it.done = key == nil
	return key, value, err
}

func (it *boltIterator) inside(k []byte) bool {
	if it.reverse {
		return bytes.Compare(k, it.lower) >= 0
	}
	return it.upper == nil || bytes.Compare(k, it.upper) < 0
}

// step moves bbolt's cursor, placing it at the start of the range first.
func (it *boltIterator) step() (key, value []byte) {
	switch {
	case it.cursor != nil && it.reverse:
		return it.back()
	case it.cursor != nil:
		return it.cursor.Next()
	}
	b := it.tx.bucket(it.bucket)
	if b == nil {
		return nil, nil
	}
	it.cursor = b.Cursor()
	switch {
	case !it.reverse && it.lower == nil:
		return it.cursor.First()
	case !it.reverse:
		return it.cursor.Seek(it.lower)
	}
	// Where this transaction has removed every row of more than one page, bbolt looks for the last row for ever.
	if it.first, _ = it.cursor.First(); it.first == nil {
		return nil, nil
	}
	if it.upper != nil {
		if it.at, _ = it.cursor.Seek(it.upper); it.at != nil {
			return it.back()
		}
	}
	it.at, value = it.cursor.Last()
	return it.at, value
}

// back moves to the row before. A page that this transaction has emptied looks to bbolt like the beginning; so it goes on until the
// first row was met.
func (it *boltIterator) back() (key, value []byte) {
	for bytes.Compare(it.at, it.first) > 0 {
		if key, value = it.cursor.Prev(); key != nil {
			it.at = key
			return key, value
		}
	}
	return nil, nil
}
