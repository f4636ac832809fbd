package privacy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"

	"amanat.example/services/kit/store"
)

// SealedTable is a store table of messages with marked fields. What is not marked lies in the
// clear; what is marked lies sealed under the key of the person it belongs to, and opens only in
// its own table, row and company. It is declared at package level beside the service's other
// tables, and is given the keyring where it seals or opens.
//
// Writing goes in two steps:
//
//	err := keys.Prepare(ctx, "cases/0192…") // the key is on disk …
//	err = db.Update(ctx, func(tx *store.Tx) error {
//		return cases.Insert(tx, keys, store.K("0192…"), c) // … before what it seals
//	})
type SealedTable[M proto.Message] struct {
	inner   *store.Table[*privacyv1.SealedRecord]
	keyName func(M) string
}

// Row is one row of a sealed table.
type Row[M proto.Message] struct {
	Key     store.Key
	Value   M      // without its marked fields if Erased, or if it was read without keys
	Version uint64 // as store.Row's
	Erased  bool   // the person's key was erased
}

// NewSealedTable declares a sealed table of the schema, at package level. keyName answers whose
// key seals a row, such as `cases/0192…`; it is given the message without its marked fields, and
// the name lies in the clear.
func NewSealedTable[M proto.Message](s *store.Schema, name string, keyName func(M) string) *SealedTable[M] {
	return &SealedTable[M]{inner: store.NewTable[*privacyv1.SealedRecord](s, name), keyName: keyName}
}

// Name is the table's, as in store.Change.Table.
func (t *SealedTable[M]) Name() string { return t.inner.Name() }

// Put writes a row, new or not, as store.Table.Put. ErrNotPrepared or ErrErased where its key is
// not there.
func (t *SealedTable[M]) Put(tx *store.Tx, keys *Keyring, key store.Key, m M) error {
	record, err := t.seal(keys, key, m)
	if err != nil {
		return err
	}
	return t.inner.Put(tx, key, record)
}

// Insert is Put for a row that must not be there yet; else an error wrapping store.ErrExists.
func (t *SealedTable[M]) Insert(tx *store.Tx, keys *Keyring, key store.Key, m M) error {
	record, err := t.seal(keys, key, m)
	if err != nil {
		return err
	}
	return t.inner.Insert(tx, key, record)
}

// Has is store.Table.Has.
func (t *SealedTable[M]) Has(r store.Reader, key store.Key) (bool, error) { return t.inner.Has(r, key) }

// Count is store.Table.Count.
func (t *SealedTable[M]) Count(r store.Reader) (uint64, error) { return t.inner.Count(r) }

// Get answers the whole message of a key, or an error wrapping store.ErrNotFound. Of a person
// whose key was erased it answers what is not marked, together with ErrErased.
func (t *SealedTable[M]) Get(r store.Reader, keys *Keyring, key store.Key) (M, error) {
	row, err := t.Row(r, keys, key)
	if err == nil && row.Erased {
		err = fmt.Errorf("%s: %w", t.Name(), ErrErased)
	}
	return row.Value, err
}

// Row answers a row with its version, or an error wrapping store.ErrNotFound. A person whose key
// was erased is no error here.
func (t *SealedTable[M]) Row(r store.Reader, keys *Keyring, key store.Key) (Row[M], error) {
	sealed, err := t.inner.Row(r, key)
	if err != nil {
		return Row[M]{}, err
	}
	return t.open(keys, sealed)
}

// GetPublic answers what is not marked in the message of a key; it needs no person's key.
func (t *SealedTable[M]) GetPublic(r store.Reader, key store.Key) (M, error) {
	row, err := t.Row(r, nil, key)
	return row.Value, err
}

// DecodePublic answers what is not marked in a row that a store.Change carries.
func (t *SealedTable[M]) DecodePublic(payload []byte) (M, error) {
	record, err := t.inner.Decode(payload)
	if err != nil {
		var none M
		return none, err
	}
	row, err := t.open(nil, store.Row[*privacyv1.SealedRecord]{Value: record})
	return row.Value, err
}

// Scan is store.Table.Scan over opened rows; their Version is 0.
func (t *SealedTable[M]) Scan(r store.Reader, keys *Keyring, rg store.Range, fn func(Row[M]) error) error {
	return t.inner.Scan(r, rg, func(key store.Key, record *privacyv1.SealedRecord) error {
		row, err := t.open(keys, store.Row[*privacyv1.SealedRecord]{Key: key, Value: record})
		if err != nil {
			return err
		}
		return fn(row)
	})
}

// ScanPublic is Scan without the marked fields.
func (t *SealedTable[M]) ScanPublic(r store.Reader, rg store.Range, fn func(Row[M]) error) error {
	return t.Scan(r, nil, rg, fn)
}

// Page is store.Table.Page over opened rows.
func (t *SealedTable[M]) Page(r store.Reader, keys *Keyring, rg store.Range, limit int) (rows []Row[M], next store.Key, err error) {
	sealed, next, err := t.inner.Page(r, rg, limit)
	if err != nil {
		return nil, nil, err
	}
	rows, err = t.openAll(keys, sealed)
	return rows, next, err
}

// PagePublic is Page without the marked fields.
func (t *SealedTable[M]) PagePublic(r store.Reader, rg store.Range, limit int) ([]Row[M], store.Key, error) {
	return t.Page(r, nil, rg, limit)
}

func (t *SealedTable[M]) seal(keys *Keyring, key store.Key, m M) (*privacyv1.SealedRecord, error) {
	public, marked := Split(m)
	name := t.keyName(public)
	// The context bounds a wait in Update alone; reading the key waits for nothing.
	dataKey, err := keys.dataKey(context.Background(), name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name(), err)
	}
	record := &privacyv1.SealedRecord{KeyName: name}
	marshal := proto.MarshalOptions{Deterministic: true}
	if record.Public, err = marshal.Marshal(public); err != nil {
		return nil, fmt.Errorf("%s: the message cannot be marshalled: %w", t.Name(), err)
	}
	plain, err := marshal.Marshal(marked)
	if err != nil {
		return nil, fmt.Errorf("%s: the message cannot be marshalled: %w", t.Name(), err)
	}
	// Sealed also when empty: so that nobody can take the sealed part away unseen.
	record.Sealed, err = seal(keys.random, dataKey, t.aad(key, record), plain)
	return record, err
}

func (t *SealedTable[M]) aad(key store.Key, record *privacyv1.SealedRecord) []byte {
	digest := sha256.Sum256(record.GetPublic())
	return joined("amanat.sealed-record.v1", t.Name(), string(key), string(digest[:]))
}

// open answers a row whole, or without its marked fields if keys is nil.
func (t *SealedTable[M]) open(keys *Keyring, sealed store.Row[*privacyv1.SealedRecord]) (Row[M], error) {
	record := sealed.Value
	public, err := unmarshal[M](record.GetPublic())
	if err != nil {
		return Row[M]{}, fmt.Errorf("%s: %w", t.Name(), err)
	}
	row := Row[M]{Key: sealed.Key, Version: sealed.Version}
	var marked M
	if keys != nil {
		marked, err = t.openMarked(keys, sealed.Key, record)
	}
	switch {
	case errors.Is(err, ErrErased):
		row.Erased = true
	case err != nil:
		return Row[M]{}, fmt.Errorf("%s: %w", t.Name(), err)
	case keys != nil:
		row.Value = public
		return row, Merge(public, marked)
	}
	// A field marked since the row was written still lies in the public part.
	row.Value = Redact(public)
	return row, nil
}

func (t *SealedTable[M]) openMarked(keys *Keyring, key store.Key, record *privacyv1.SealedRecord) (marked M, err error) {
	dataKey, err := keys.dataKey(context.Background(), record.GetKeyName())
	if errors.Is(err, ErrNotPrepared) {
		err = ErrUnreadable // the record is here, so its key was: the key file is an older one
	}
	if err != nil {
		return marked, err
	}
	plain, err := open(dataKey, t.aad(key, record), record.GetSealed())
	if err != nil {
		return marked, ErrUnreadable
	}
	return unmarshal[M](plain)
}

func (t *SealedTable[M]) openAll(keys *Keyring, sealed []store.Row[*privacyv1.SealedRecord]) ([]Row[M], error) {
	rows := make([]Row[M], len(sealed))
	for i := range sealed {
		var err error
		if rows[i], err = t.open(keys, sealed[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func unmarshal[M proto.Message](data []byte) (M, error) {
	var none M
	m := none.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(data, m); err != nil {
		return none, fmt.Errorf("a record is not a %s: %w", m.ProtoReflect().Descriptor().FullName(), ErrUnreadable)
	}
	return m, nil
}
