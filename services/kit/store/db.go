package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLockWait is how long Open waits for another process to let go of the file.
const DefaultLockWait = 2 * time.Second

// Options say what to open.
type Options struct {
	// Path of the file; made when absent, in a folder that exists. Not used with Engine.
	Path string
	// Schema of the service. Required.
	Schema *Schema
	// Engine to use in place of a bbolt file: a *Memory, in simulations. The store closes it.
	Engine Engine
	// Inline runs every Update in its caller's goroutine, one commit each and no goroutine of the store's own, for
	// single-threaded simulation.
	Inline bool
	// OnFatal is called once, when the store has failed: the process should say why and stop. It runs where the failure was
	// met, possibly inside Update or View, and must not call the store. Optional; without it the callers' errors tell.
	OnFatal func(error)
	// Clock is read where an incarnation begins or is judged. Default time.Now.
	Clock func() time.Time
	// Rand gives the store's id when it is made. Default crypto/rand.
	Rand io.Reader
	// LockWait is how long to wait for another process to let go of the file. Default DefaultLockWait.
	LockWait time.Duration
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.LockWait <= 0 {
		o.LockWait = DefaultLockWait
	}
	return o
}

// DB is an open store. Its methods may be called by any number of goroutines, unless it is inline.
type DB struct {
	schema  *Schema
	engine  Engine
	path    string
	inline  bool
	onFatal func(error)
	clock   func() time.Time

	queue    chan *call
	stop     chan struct{}
	stopped  chan struct{} // closed when the committer has ended
	inlineMu sync.Mutex

	stats   map[string]stat // as committed; the committer's
	unbuilt map[string]bool // buckets the file does not have yet; set while Open migrates
	round   *scrub          // the committer's; nil: none under way
	counted counts          // the committer's

	mu        sync.Mutex
	observers []func(ChangeSet)
	meta      fileMeta
	counts    Stats
	closed    bool

	fatal     atomic.Pointer[error]
	fatalOnce sync.Once
}

// Open opens the store, makes it when absent, and brings an older file to the schema's version. Errors: ErrLocked, ErrNewer,
// ErrWrongStore, ErrDamaged, what a migration returned, and those of the file system.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Schema == nil {
		return nil, errors.New("store.Open: Options.Schema is required")
	}
	o = o.withDefaults()
	engine := o.Engine
	if engine == nil {
		var err error
		if engine, err = openFile(o); err != nil {
			return nil, err
		}
	}
	db := &DB{
		schema: o.Schema, engine: engine, path: o.Path, inline: o.Inline, onFatal: o.OnFatal, clock: o.Clock,
		queue: make(chan *call, maxBatch), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := db.prepare(ctx, o); err != nil {
		engine.Close() // the reason to give up is err
		return nil, fmt.Errorf("open store %s: %w", o.Schema.name, err)
	}
	if db.inline {
		close(db.stopped)
	} else {
		go db.committer()
	}
	return db, nil
}

// prepare reads the store's own rows, migrates, and sees that every declared bucket is there.
func (db *DB) prepare(ctx context.Context, o Options) error {
	found, err := db.load()
	if err != nil {
		return err
	}
	if !found {
		if o.Engine == nil {
			return damaged("the file row is missing")
		}
		if err := initialise(db.engine, o); err != nil {
			return err
		}
		if _, err := db.load(); err != nil {
			return err
		}
	}
	switch {
	case db.meta.name != db.schema.name:
		return fmt.Errorf("the file belongs to %s: %w", db.meta.name, ErrWrongStore)
	case db.meta.schema > db.schema.version:
		return fmt.Errorf("the file has version %d and this program knows up to %d: %w", db.meta.schema, db.schema.version, ErrNewer)
	}
	if err := db.migrate(ctx); err != nil {
		return err
	}
	return db.checkFirstRows()
}

func (db *DB) load() (found bool, err error) {
	tx, err := db.engine.Begin(false)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	db.meta, db.stats, found, err = readMeta(tx)
	return found, err
}

// checkFirstRows finds a bucket lost whole, which a damaged root page can do.
func (db *DB) checkFirstRows() error {
	return db.View(context.Background(), func(r Reader) error {
		for _, name := range sortedNames(db.stats) {
			it, err := r.rows(name, nil, nil, false)
			if err != nil {
				return err
			}
			_, first, err := it.next()
			if err != nil {
				return err
			}
			if (first != nil) != (db.stats[name].count > 0) {
				return damaged("%s should have %d rows", name, db.stats[name].count)
			}
		}
		return nil
	})
}

// View runs fn on a consistent snapshot: what was committed when it began. fn must be short, for the file cannot reuse pages
// meanwhile: whoever serves a slow client reads page by page, a View each. View returns fn's error.
func (db *DB) View(ctx context.Context, fn func(r Reader) error) error {
	if err := db.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tx, err := db.engine.Begin(false)
	if err != nil {
		if db.isClosed() {
			return ErrClosed
		}
		return db.fail(fmt.Errorf("begin a view: %w", err))
	}
	v := &view{db: db, tx: tx}
	defer func() {
		v.done = true
		if err := tx.Rollback(); err != nil {
			db.fail(fmt.Errorf("end a view: %w", err))
		}
	}()
	return fn(v)
}

// usable is nil until the store has failed or was closed.
func (db *DB) usable() error {
	if err := db.fatal.Load(); err != nil {
		return *err
	}
	if db.isClosed() {
		return ErrClosed
	}
	return nil
}

func (db *DB) isClosed() bool {
	select {
	case <-db.stop:
		return true
	default:
		return false
	}
}

// closedError is the answer to a call that the committer did not live to take.
func (db *DB) closedError() error {
	if err := db.fatal.Load(); err != nil {
		return *err
	}
	return ErrClosed
}

// fail makes the store answer nothing any more, and returns the error that says so: the first one there was.
func (db *DB) fail(err error) error {
	db.fatalOnce.Do(func() {
		err := fmt.Errorf("%w: %w", ErrFatal, err)
		db.fatal.Store(&err)
		if db.onFatal != nil {
			db.onFatal(err)
		}
	})
	if first := db.fatal.Load(); first != nil {
		return *first
	}
	return fmt.Errorf("%w: %w", ErrFatal, err)
}

// Err is nil while the store works, and the error that stopped it once it has failed.
func (db *DB) Err() error {
	if err := db.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

// Close waits for the Update that is running and for open Views, then frees the file. Updates still queued get ErrClosed.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	close(db.stop)
	db.mu.Unlock()
	<-db.stopped
	return db.engine.Close()
}

// ID is the store's own, made with it; a restored copy keeps it. 32 hexadecimal digits.
func (db *DB) ID() string {
	db.mu.Lock()
	defer db.mu.Unlock()
	return hex.EncodeToString(db.meta.id[:])
}

// Created is when the store was made.
func (db *DB) Created() time.Time {
	db.mu.Lock()
	defer db.mu.Unlock()
	return time.Unix(0, db.meta.created).UTC()
}

// FirstLife says that the store runs in the life in which it was made; it may have been made in place of one that was lost.
func (db *DB) FirstLife() bool { return db.Incarnation() == incarnationAt(db.Created()) }

// Age is how long the life has gone on, by the store's own clock.
func (db *DB) Age() time.Duration { return db.clock().Sub(time.Unix(0, int64(db.Incarnation()))) }

// Incarnation tells the lives of a store apart: the unix nanoseconds of its making, of its last Restore, or of when it was last raised, and
// more where a greater one was known. It only grows.
func (db *DB) Incarnation() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.meta.incarnation
}

// maxAhead bounds how far what is said of an incarnation may lie in the future: incarnations are times, and a hostile caller must not use
// them up.
const maxAhead = 24 * time.Hour

// MayHaveLived says that the store may have lived in an incarnation that it does not know: it is no more than 24 h ahead of the clock.
func (db *DB) MayHaveLived(incarnation uint64) bool {
	return incarnation <= incarnationAt(db.clock().Add(maxAhead))
}

// RaiseIncarnation makes the incarnation greater than above, durably, if it is not already: a peer has seen that one. It takes the clock's
// where that is greater still: the lives that began with the same copy before may not be known to who has told of above.
func (db *DB) RaiseIncarnation(ctx context.Context, above uint64) error {
	if above == 1<<64-1 {
		return errors.New("no incarnation is greater than this one")
	}
	return db.Update(ctx, raise(above, incarnationAt(db.clock())))
}

// incarnationAt is the one that begins at a time.
func incarnationAt(now time.Time) uint64 { return uint64(now.UnixNano()) }

func raise(above, now uint64) func(*Tx) error {
	return func(tx *Tx) error {
		m := tx.fileMeta()
		if m.incarnation <= above {
			m.incarnation = max(above+1, now)
			tx.meta = &m
		}
		return nil
	}
}

func (db *DB) setMeta(m fileMeta) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.meta = m
}
