package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// maxBatch is how many Updates one commit takes at most. It bounds how long the first of them waits for the others.
const maxBatch = 1024

// call is one Update on its way through the committer.
type call struct {
	ctx   context.Context
	fn    func(tx *Tx) error
	state atomic.Int32
	done  chan struct{}
	err   error
	panic *PanicError
	tx    *Tx
}

const (
	callWaits = iota
	callRuns
	callGivenUp
)

// Update runs fn and makes what it wrote durable, together with the Updates that wait at the same moment. It returns nil only
// once the changes are on disk. When fn returns an error nothing of it stays, the others of the batch are untouched, and
// Update returns that error; when fn panics likewise, and Update panics with a *PanicError in the caller's goroutine. Even an
// error is returned only after the commit, since fn may have judged by what others of the batch wrote.
//
// fn runs once, alone, in the committer: it must not wait for anything, nor call Update. A ctx that is done before fn starts
// keeps it from running; later it changes nothing.
func (db *DB) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if err := db.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{ctx: ctx, fn: fn, done: make(chan struct{})}
	if db.inline {
		if !db.inlineMu.TryLock() {
			return errors.New("Update was called inside an Update, or by two goroutines of an inline store")
		}
		db.commit(c, nil)
		db.inlineMu.Unlock()
	} else if err := db.enqueue(c); err != nil {
		return err
	}
	if c.panic != nil {
		panic(c.panic)
	}
	return c.err
}

// enqueue hands the call to the committer and waits for its answer.
func (db *DB) enqueue(c *call) error {
	select {
	case db.queue <- c:
	case <-c.ctx.Done():
		return c.ctx.Err()
	case <-db.stopped:
		return db.closedError()
	}
	select {
	case <-c.done:
		return nil
	case <-c.ctx.Done():
		if c.state.CompareAndSwap(callWaits, callGivenUp) {
			return c.ctx.Err()
		}
	case <-db.stopped:
	}
	select {
	case <-c.done:
		return nil
	case <-db.stopped:
	}
	select {
	case <-c.done: // answered just before the committer stopped
		return nil
	default:
		return db.closedError()
	}
}

// committer is the one goroutine that writes.
func (db *DB) committer() {
	defer close(db.stopped)
	for {
		select {
		case c := <-db.queue:
			// The callers that the last commit released come back at once if they are let run; without this they would
			// share every other commit instead of every one.
			runtime.Gosched()
			db.commit(c, db.queue)
		case <-db.stop:
			return
		}
	}
}

// batch is one commit in the making.
type batch struct {
	db    *DB
	tx    EngineTx
	stats map[string]stat // of every bucket, with this batch
	calls []*call         // that have run
	wrote bool
	meta  *fileMeta
	set   ChangeSet
}

// commit runs first and whatever waits in more, commits once, and answers them all.
func (db *DB) commit(first *call, more <-chan *call) {
	b := &batch{db: db, stats: maps.Clone(db.stats)}
	finished := false
	defer func() {
		if !finished {
			// Nothing else gets here: a function ended this goroutine, as t.FailNow does.
			b.fail(errors.New("a function given to Update ended the committer's goroutine"))
		}
		for _, c := range b.calls {
			close(c.done)
		}
	}()
	err := db.usable()
	if err == nil {
		b.tx, err = db.engine.Begin(true)
	}
	if err != nil {
		b.calls = append(b.calls, first)
		b.fail(err)
		finished = true
		return
	}
	b.run(first)
	for more != nil && len(b.calls) < maxBatch && db.usable() == nil {
		select {
		case c := <-more:
			b.run(c)
			continue
		default:
		}
		break
	}
	b.finish()
	finished = true
}

// run runs one call and, when it succeeds, moves its writes into the engine's transaction.
func (b *batch) run(c *call) {
	if !c.state.CompareAndSwap(callWaits, callRuns) {
		return // its caller has left
	}
	b.calls = append(b.calls, c)
	if c.err = c.ctx.Err(); c.err != nil {
		return
	}
	c.tx = &Tx{db: b.db, tx: b.tx, base: b.stats, baseMeta: b.meta, unbuilt: b.db.unbuilt}
	func() {
		defer func() {
			c.tx.done = true
			if v := recover(); v != nil {
				c.panic = &PanicError{Value: v, Stack: debug.Stack()}
			}
		}()
		c.err = c.fn(c.tx)
	}()
	if c.err != nil || c.panic != nil || b.db.usable() != nil {
		c.tx.after = nil
		return
	}
	if err := b.merge(c.tx); err != nil {
		b.db.fail(fmt.Errorf("write: %w", err))
	}
}

func (b *batch) merge(tx *Tx) error {
	for _, w := range tx.order {
		var err error
		switch {
		case w.new != nil:
			err = b.tx.Put(w.bucket, w.key, w.new.raw)
		case w.old != nil:
			err = b.tx.Delete(w.bucket, w.key)
		default:
			continue
		}
		if err != nil {
			return err
		}
		s := b.stats[w.bucket].plus(w.old, w.new)
		b.stats[w.bucket], b.wrote = s, true
		if s.kind == tableBucket {
			b.set.append(w)
		}
		b.db.counted.note(w)
		if round := b.db.round; round != nil {
			round.note(w)
		}
	}
	if tx.meta != nil {
		b.wrote, b.meta = true, tx.meta
		return putMeta(b.tx, *tx.meta)
	}
	return nil
}

// finish makes the batch durable, then tells the observers.
func (b *batch) finish() {
	db := b.db
	if err := db.usable(); err != nil {
		b.fail(err)
		b.tx.Rollback() // the store has failed already; a second failure says nothing new
		return
	}
	if !b.wrote {
		if err := b.tx.Rollback(); err != nil {
			b.fail(fmt.Errorf("end a transaction: %w", err))
			return
		}
	} else if err := b.persist(); err != nil {
		b.fail(fmt.Errorf("commit: %w", err))
		return
	}
	defer func() {
		if v := recover(); v != nil {
			b.fail(fmt.Errorf("panic in an observer or AfterCommit: %v\n%s", v, debug.Stack()))
		}
	}()
	if len(b.set.Changes) > 0 {
		for _, fn := range db.observed() {
			fn(b.set)
		}
	}
	for _, c := range b.calls {
		if c.tx != nil {
			for _, fn := range c.tx.after {
				fn()
			}
		}
	}
}

func (b *batch) persist() error {
	db := b.db
	for _, name := range sortedNames(b.stats) {
		if db.unbuilt[name] && b.stats[name].kind == indexBucket {
			continue // must not look built before it is
		}
		if s := b.stats[name]; b.meta != nil || s != db.stats[name] {
			if err := putStat(b.tx, db.schema.version, name, s); err != nil {
				return err
			}
		}
	}
	start := time.Now()
	if err := b.tx.Commit(); err != nil {
		return err
	}
	db.took(len(b.calls), time.Since(start))
	db.stats = b.stats
	if b.meta != nil {
		db.setMeta(*b.meta)
	}
	return nil
}

// fail stops the store and answers every call of the batch with the reason.
func (b *batch) fail(err error) {
	err = b.db.fail(err)
	for _, c := range b.calls {
		c.err = err
	}
}
