package storetest

import "amanat.example/services/kit/store"

// Tally is an engine that counts what is asked of it: a measure of work that no machine's speed changes.
type Tally struct {
	store.Engine
	// Calls so far.
	Calls int
}

// Begin implements store.Engine.
func (e *Tally) Begin(writable bool) (store.EngineTx, error) {
	tx, err := e.Engine.Begin(writable)
	return &tallyTx{tx, e}, err
}

type tallyTx struct {
	store.EngineTx
	engine *Tally
}

func (t *tallyTx) Get(bucket string, key []byte) ([]byte, error) {
	t.engine.Calls++
	return t.EngineTx.Get(bucket, key)
}

func (t *tallyTx) Put(bucket string, key, value []byte) error {
	t.engine.Calls++
	return t.EngineTx.Put(bucket, key, value)
}

func (t *tallyTx) Delete(bucket string, key []byte) error {
	t.engine.Calls++
	return t.EngineTx.Delete(bucket, key)
}

func (t *tallyTx) Iterate(bucket string, lower, upper []byte, reverse bool) store.EngineIterator {
	t.engine.Calls++
	return &tallyRows{t.EngineTx.Iterate(bucket, lower, upper, reverse), t.engine}
}

type tallyRows struct {
	store.EngineIterator
	engine *Tally
}

func (r *tallyRows) Next() (key, value []byte, err error) {
	r.engine.Calls++
	return r.EngineIterator.Next()
}
