package store

// Engine keeps buckets of ordered keys and commits changes to them all at once. There are two: bbolt on a file, which Open
// makes itself, and Memory for simulations. One conformance suite holds both.
//
// An error from an engine is fatal to the store: an engine reports only damage and failed reads and writes.
type Engine interface {
	// Begin starts a transaction. There is at most one writable one at a time, which the store sees to; readers see the last
	// commit before their Begin, and any number of them run beside the writer.
	Begin(writable bool) (EngineTx, error)
	// Close waits for open readers and frees the file, also after errors.
	Close() error
}

// EngineTx is a transaction of an Engine, used by one goroutine. Keys and values it gives out are never modified by either
// side and stay valid; those given to it must not be modified any more.
type EngineTx interface {
	// Get returns the value, nil when there is none.
	Get(bucket string, key []byte) ([]byte, error)
	// Iterate goes through lower ≤ key < upper (nil: no bound), downwards when reverse. Nothing may be written before
	// the iterator has been left.
	Iterate(bucket string, lower, upper []byte, reverse bool) EngineIterator
	// Put writes a value, making the bucket if there is none.
	Put(bucket string, key, value []byte) error
	// Delete removes a key, if there.
	Delete(bucket string, key []byte) error
	// Drop removes a bucket with all it holds, if there.
	Drop(bucket string) error
	// Commit makes the changes durable, all or none. After an error it is unknown which.
	Commit() error
	// Rollback ends the transaction without a trace. After Commit it does nothing.
	Rollback() error
}

// EngineIterator gives one key after the other; a nil key ends it.
type EngineIterator interface {
	Next() (key, value []byte, err error)
}
