package store

import (
	"os"

	bolt "go.etcd.io/bbolt"
)

// Waiting is how many Updates the committer has not taken yet.
func (db *DB) Waiting() int { return len(db.queue) }

// RaiseIn is what RaiseIncarnation runs in its Update, at the beginning of time.
func RaiseIn(above uint64) func(*Tx) error { return raise(above, 0) }

// OnSync has fn told of each file and folder that creation syncs, until the function it answers is called.
func OnSync(fn func(name string)) (undo func()) {
	really := syncFile
	syncFile = func(f *os.File) error {
		fn(f.Name())
		return really(f)
	}
	return func() { syncFile = really }
}

// File is the handle the store's file is written through, for tests that break it.
func (db *DB) File() *os.File { return db.engine.(*boltEngine).file }

// MakeWithPages makes an empty store of pages of another size.
func MakeWithPages(o Options, pageSize int) error {
	o = o.withDefaults()
	raw, err := bolt.Open(o.Path, 0o600, &bolt.Options{PageSize: pageSize})
	if err != nil {
		return err
	}
	if err := raw.Close(); err != nil {
		return err
	}
	e, err := openBolt(o.Path, boltOptions{lockWait: o.LockWait})
	if err != nil {
		return err
	}
	if err := initialise(e, o); err != nil {
		return err
	}
	return e.Close()
}
