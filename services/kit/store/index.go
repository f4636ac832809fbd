package store

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Index finds rows of a table by keys computed from the message. It is kept in the transactions that write the table.
//
// Its positions, which ranges and page ends speak of, are the index key followed, unless the index is unique, by the row's key.
type Index[M proto.Message] struct {
	table *Table[M]
	def   *indexDef
}

// IndexOption changes how an index is kept.
type IndexOption func(*indexDef)

// Unique lets at most one row have an index key; another one's Put gives an error wrapping ErrExists that names the index.
func Unique(x *indexDef) { x.unique = true }

// NewIndex declares an index of the table, at package level. keys returns the row's index keys, none to many, and must
// depend on nothing but the message. When it changes, the index needs a new name, and the schema a new version.
func NewIndex[M proto.Message](t *Table[M], name string, keys func(M) []Key, opts ...IndexOption) *Index[M] {
	t.def.schema.claim(name)
	def := &indexDef{name: name, table: t.def, keys: func(m proto.Message) []Key { return keys(m.(M)) }}
	for _, opt := range opts {
		opt(def)
	}
	t.def.indexes = append(t.def.indexes, def)
	return &Index[M]{table: t, def: def}
}

// Scan calls fn for the rows of a range of positions, in the index's order, with each row's own key. A row with several index
// keys in the range comes once for each. Else as Table.Scan.
func (x *Index[M]) Scan(r Reader, rg Range, fn func(key Key, m M) error) error {
	return x.scan(r, rg, func(_ Key, row Row[M]) error { return fn(row.Key, row.Value) })
}

// Page is Table.Page in the index's order. next is a position of the index.
func (x *Index[M]) Page(r Reader, rg Range, limit int) (rows []Row[M], next Key, err error) {
	return page(limit, func(fn func(Key, Row[M]) error) error { return x.scan(r, rg, fn) })
}

// First returns the first row of a range, or an error wrapping ErrNotFound that names the index.
func (x *Index[M]) First(r Reader, rg Range) (Row[M], error) {
	var first *Row[M]
	err := x.scan(r, rg, func(_ Key, row Row[M]) error {
		first = &row
		return Stop
	})
	if err != nil {
		return Row[M]{}, err
	}
	if first == nil {
		return Row[M]{}, fmt.Errorf("%s: %w", x.def.name, ErrNotFound)
	}
	return *first, nil
}

func (x *Index[M]) scan(r Reader, rg Range, fn func(position Key, row Row[M]) error) error {
	if err := x.table.def.belongs(r); err != nil {
		return err
	}
	return scanRows(r, x.def.name, rg, func(position []byte, entry *row) error {
		key := Key(entry.payload)
		found, err := x.table.def.find(r, key)
		if err != nil {
			return err
		}
		if found == nil {
			return judge(r, damaged("an entry of %s points to no row of %s", x.def.name, x.table.def.name))
		}
		row, err := x.table.row(r, key, found)
		if err != nil {
			return err
		}
		return fn(position, row)
	})
}

// position is where the entry of an index key stands.
func (x *indexDef) position(indexKey, key Key) []byte {
	if x.unique {
		return indexKey
	}
	return append(indexKey[:len(indexKey):len(indexKey)], key...)
}

// positions are those of all entries of a message, each once.
func (x *indexDef) positions(m proto.Message, key Key) ([][]byte, error) {
	if m == nil {
		return nil, nil
	}
	var all [][]byte
	for _, indexKey := range x.keys(m) {
		p := x.position(indexKey, key)
		if len(p) == 0 || len(p) > MaxKeySize {
			return nil, fmt.Errorf("%s: %w", x.name, ErrKeySize)
		}
		if !contains(all, p) {
			all = append(all, p)
		}
	}
	return all, nil
}

func contains(all [][]byte, one []byte) bool {
	for _, p := range all {
		if bytes.Equal(p, one) {
			return true
		}
	}
	return false
}

// entryChange is one entry to add or remove.
type entryChange struct {
	index    *indexDef
	position []byte
	current  *row
	add      bool
}

// reindex moves the entries of a row from the old message to the new one; nil is no message. It finds all that could fail
// before it writes anything.
func (t *tableDef) reindex(tx *Tx, key Key, old, new proto.Message) error {
	var changes []entryChange
	for _, x := range t.indexes {
		if tx.unbuilt[x.name] {
			continue
		}
		before, err := x.positions(old, key)
		if err != nil {
			return err
		}
		after, err := x.positions(new, key)
		if err != nil {
			return err
		}
		for _, p := range before {
			if !contains(after, p) {
				changes = append(changes, entryChange{index: x, position: p})
			}
		}
		for _, p := range after {
			if !contains(before, p) {
				changes = append(changes, entryChange{index: x, position: p, add: true})
			}
		}
	}
	for i := range changes {
		if err := changes[i].prepare(tx, key); err != nil {
			return err
		}
	}
	for _, c := range changes {
		var next *row
		if c.add {
			next = sealRow(c.index.name, c.position, tx.db.schema.version, 1, key)
		}
		tx.write(c.index.name, c.position, c.current, next)
	}
	return nil
}

// prepare reads what stands at the position and judges it.
func (c *entryChange) prepare(tx *Tx, key Key) error {
	current, err := tx.row(c.index.name, c.position)
	if err != nil {
		return judge(tx, err)
	}
	c.current = current
	switch {
	case !c.add && (current == nil || !bytes.Equal(current.payload, key)):
		return judge(tx, damaged("%s has no entry for a row of %s", c.index.name, c.index.table.name))
	case c.add && current != nil && bytes.Equal(current.payload, key):
		return judge(tx, damaged("%s has an entry too many for a row of %s", c.index.name, c.index.table.name))
	case c.add && current != nil:
		return fmt.Errorf("%s: %w", c.index.name, ErrExists)
	}
	return nil
}
