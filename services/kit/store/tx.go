package store

import "bytes"

// Reader reads a consistent state of the store: the snapshot of a View, or an Update's own state. It belongs to the
// goroutine and the function it was given to, and answers ErrTxDone once that function has returned.
type Reader interface {
	store() *DB
	// row returns nil when there is none.
	row(bucket string, key []byte) (*row, error)
	rows(bucket string, lower, upper []byte, reverse bool) (rowIterator, error)
	stat(bucket string) (stat, error)
}

// view is the Reader of View.
type view struct {
	db   *DB
	tx   EngineTx
	done bool
}

func (v *view) store() *DB { return v.db }

func (v *view) row(bucket string, key []byte) (*row, error) {
	if v.done {
		return nil, ErrTxDone
	}
	return readRow(v.tx, bucket, key)
}

func readRow(tx EngineTx, bucket string, key []byte) (*row, error) {
	raw, err := tx.Get(bucket, key)
	if err != nil || raw == nil {
		return nil, err
	}
	return openRow(bucket, key, raw)
}

func (v *view) rows(bucket string, lower, upper []byte, reverse bool) (rowIterator, error) {
	if v.done {
		return nil, ErrTxDone
	}
	return &viewRows{view: v, engineRows: engineRows{bucket: bucket, it: v.tx.Iterate(bucket, lower, upper, reverse), reverse: reverse}}, nil
}

type viewRows struct {
	engineRows
	view *view
}

func (v *viewRows) next() ([]byte, *row, error) {
	if v.view.done {
		return nil, nil, ErrTxDone
	}
	return v.engineRows.next()
}

func (v *view) stat(bucket string) (stat, error) {
	if v.done {
		return stat{}, ErrTxDone
	}
	r, err := readRow(v.tx, metaBucket, statKey(bucket))
	if err != nil {
		return stat{}, err
	}
	if r == nil {
		return stat{}, damaged("the count row of %s is missing", bucket)
	}
	return decodeStat(bucket, r.payload)
}

// Tx is the state inside an Update: what the batch has so far, with this function's own writes over it. Until the function
// returns nil nobody else sees them.
type Tx struct {
	db      *DB
	tx      EngineTx
	base    map[string]stat // the batch's, without this transaction's writes
	overs   map[string]*overlay
	order   []*write // in order of each key's first write
	after   []func()
	unbuilt map[string]bool // indexes that Open builds after the migrations
	meta    *fileMeta       // set: the file row to write
	// baseMeta is the file row as an earlier Update of the batch has it; nil: as committed.
	baseMeta *fileMeta
	done     bool
}

// AfterCommit runs fn once the changes are durable, in commit order and before Update returns; not at all when the function
// fails. It runs in the committer: it must be quick and must not call Update or View. A panic in it is fatal to the store.
func (tx *Tx) AfterCommit(fn func()) { tx.after = append(tx.after, fn) }

func (tx *Tx) store() *DB { return tx.db }

func (tx *Tx) row(bucket string, key []byte) (*row, error) {
	if tx.done {
		return nil, ErrTxDone
	}
	if w := tx.overs[bucket].get(key); w != nil {
		return w.new, nil
	}
	return readRow(tx.tx, bucket, key)
}

func (tx *Tx) rows(bucket string, lower, upper []byte, reverse bool) (rowIterator, error) {
	if tx.done {
		return nil, ErrTxDone
	}
	over := tx.over(bucket) // made now, so that the scan sees writes of its callback
	return &mergedRows{
		base:    &engineRows{bucket: bucket, it: tx.tx.Iterate(bucket, lower, upper, reverse), reverse: reverse},
		over:    over,
		writes:  over.within(lower, upper),
		reverse: reverse,
	}, nil
}

func (tx *Tx) stat(bucket string) (stat, error) {
	if tx.done {
		return stat{}, ErrTxDone
	}
	s := tx.base[bucket]
	if o := tx.overs[bucket]; o != nil {
		for _, w := range o.byKey {
			s = s.plus(w.old, w.new)
		}
	}
	return s, nil
}

func (tx *Tx) over(bucket string) *overlay {
	o := tx.overs[bucket]
	if o == nil {
		o = &overlay{byKey: make(map[string]*write)}
		if tx.overs == nil {
			tx.overs = make(map[string]*overlay)
		}
		tx.overs[bucket] = o
	}
	return o
}

// write replaces the row of a key; nil deletes it. current is the row as tx.row has just returned it.
func (tx *Tx) write(bucket string, key []byte, current, next *row) {
	o := tx.over(bucket)
	if w := o.get(key); w != nil {
		w.new = next
		return
	}
	w := &write{bucket: bucket, key: bytes.Clone(key), old: current, new: next}
	o.insert(w)
	tx.order = append(tx.order, w)
}
