package store

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Table is a bucket of messages under keys. M is a pointer to a generated message.
type Table[M proto.Message] struct{ def *tableDef }

// Row is one row of a table.
type Row[M proto.Message] struct {
	Key     Key
	Value   M
	Version uint64 // 1 when the row is inserted, one more with every Put: the service's etag
}

// NewTable declares a table of the schema, at package level. The name is also the bucket's.
func NewTable[M proto.Message](s *Schema, name string) *Table[M] {
	s.claim(name)
	var none M
	kind := none.ProtoReflect().Type()
	def := &tableDef{name: name, schema: s, decode: func(payload []byte) (proto.Message, error) {
		m := kind.New().Interface()
		if err := proto.Unmarshal(payload, m); err != nil {
			// The checksum was right, so these bytes were written: by something that is not this table's message.
			return nil, damaged("a row of %s is not a %s", name, kind.Descriptor().FullName())
		}
		return m, nil
	}}
	s.tables = append(s.tables, def)
	return &Table[M]{def: def}
}

// Name is the table's, as in Change.Table.
func (t *Table[M]) Name() string { return t.def.name }

// Decode unmarshals what a Change carries; nil gives the zero M.
func (t *Table[M]) Decode(payload []byte) (M, error) {
	var none M
	if payload == nil {
		return none, nil
	}
	m, err := t.def.decode(payload)
	if err != nil {
		return none, err
	}
	return m.(M), nil
}

// Get returns the message of a key, or an error wrapping ErrNotFound.
func (t *Table[M]) Get(r Reader, key Key) (M, error) {
	row, err := t.Row(r, key)
	return row.Value, err
}

// Row returns a row with its version, or an error wrapping ErrNotFound.
func (t *Table[M]) Row(r Reader, key Key) (Row[M], error) {
	found, err := t.def.mustFind(r, key)
	if err != nil {
		return Row[M]{}, err
	}
	return t.row(r, key, found)
}

// Version returns the version of a row, or an error wrapping ErrNotFound.
func (t *Table[M]) Version(r Reader, key Key) (uint64, error) {
	found, err := t.def.mustFind(r, key)
	if err != nil {
		return 0, err
	}
	return found.version, nil
}

// Has says whether there is a row.
func (t *Table[M]) Has(r Reader, key Key) (bool, error) {
	found, err := t.def.find(r, key)
	return found != nil, err
}

// Count is the number of rows.
func (t *Table[M]) Count(r Reader) (uint64, error) {
	if err := t.def.belongs(r); err != nil {
		return 0, err
	}
	s, err := r.stat(t.def.name)
	return s.count, judge(r, err)
}

// Put writes a row, new or not. A unique index that another row's key already holds gives an error wrapping ErrExists, and
// nothing is written.
func (t *Table[M]) Put(tx *Tx, key Key, m M) error {
	current, err := t.def.find(tx, key)
	if err != nil {
		return err
	}
	return t.def.put(tx, key, current, m)
}

// Insert is Put for a row that must not be there yet; else an error wrapping ErrExists.
func (t *Table[M]) Insert(tx *Tx, key Key, m M) error {
	current, err := t.def.find(tx, key)
	if err != nil {
		return err
	}
	if current != nil {
		return fmt.Errorf("%s: %w", t.def.name, ErrExists)
	}
	return t.def.put(tx, key, nil, m)
}

// Delete removes a row; an error wrapping ErrNotFound when there is none. A row put there later begins at version 1 again.
func (t *Table[M]) Delete(tx *Tx, key Key) error {
	current, err := t.def.mustFind(tx, key)
	if err != nil {
		return err
	}
	old, err := t.def.decode(current.payload)
	if err != nil {
		return judge(tx, err)
	}
	if err := t.def.reindex(tx, key, old, nil); err != nil {
		return err
	}
	tx.write(t.def.name, key, current, nil)
	return nil
}

// Scan calls fn for the rows of a range in order, until fn returns an error; Stop ends it without one. In an Update, fn may
// change and delete rows, and those ahead appear as they then are; rows that fn inserts may not be seen.
func (t *Table[M]) Scan(r Reader, rg Range, fn func(key Key, m M) error) error {
	return t.scan(r, rg, func(row Row[M]) error { return fn(row.Key, row.Value) })
}

// Page returns up to limit rows of a range. next is nil at the end, else what to set as Range.After for the next page.
func (t *Table[M]) Page(r Reader, rg Range, limit int) (rows []Row[M], next Key, err error) {
	return page(limit, func(fn func(Key, Row[M]) error) error {
		return t.scan(r, rg, func(row Row[M]) error { return fn(row.Key, row) })
	})
}

func (t *Table[M]) scan(r Reader, rg Range, fn func(Row[M]) error) error {
	if err := t.def.belongs(r); err != nil {
		return err
	}
	return scanRows(r, t.def.name, rg, func(key []byte, found *row) error {
		row, err := t.row(r, key, found)
		if err != nil {
			return err
		}
		return fn(row)
	})
}

func (t *Table[M]) row(r Reader, key Key, found *row) (Row[M], error) {
	m, err := t.def.decode(found.payload)
	if err != nil {
		return Row[M]{}, judge(r, err)
	}
	return Row[M]{Key: key, Value: m.(M), Version: found.version}, nil
}

// judge makes damage met by a reader fatal to its store. ErrTxDone is the caller's mistake.
func judge(r Reader, err error) error {
	if err == nil || errors.Is(err, ErrTxDone) {
		return err
	}
	return r.store().fail(err)
}

// Damaged says that rows which are whole contradict each other as only damage can explain: rows are missing. It is fatal to the store, as
// damage is that the store finds by itself.
func Damaged(r Reader, what string) error { return judge(r, damaged("%s", what)) }

func (t *tableDef) belongs(r Reader) error {
	if s := r.store().schema; s != t.schema {
		return fmt.Errorf("table %s is declared by schema %s and not by %s: %w", t.name, t.schema.name, s.name, ErrWrongStore)
	}
	return nil
}

func (t *tableDef) find(r Reader, key Key) (*row, error) {
	if err := t.belongs(r); err != nil {
		return nil, err
	}
	if len(key) == 0 || len(key) > MaxKeySize {
		return nil, fmt.Errorf("%s: %w", t.name, ErrKeySize)
	}
	found, err := r.row(t.name, key)
	return found, judge(r, err)
}

func (t *tableDef) mustFind(r Reader, key Key) (*row, error) {
	found, err := t.find(r, key)
	if err == nil && found == nil {
		err = fmt.Errorf("%s: %w", t.name, ErrNotFound)
	}
	return found, err
}

func (t *tableDef) put(tx *Tx, key Key, current *row, m proto.Message) error {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("%s: the message cannot be marshalled: %w", t.name, err)
	}
	var old proto.Message
	version := uint64(1)
	if current != nil {
		version = current.version + 1
		if len(t.indexes) > 0 {
			if old, err = t.decode(current.payload); err != nil {
				return judge(tx, err)
			}
		}
	}
	if err := t.reindex(tx, key, old, m); err != nil {
		return err
	}
	tx.write(t.name, key, current, sealRow(t.name, key, tx.db.schema.version, version, payload))
	return nil
}
