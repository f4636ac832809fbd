package privacy

import (
	"google.golang.org/protobuf/proto"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"

	"amanat.example/services/kit/store"
)

// SealedIndex finds rows of a sealed table by what is not marked.
type SealedIndex[M proto.Message] struct {
	table *SealedTable[M]
	inner *store.Index[*privacyv1.SealedRecord]
}

// NewSealedIndex declares an index of the table, at package level, as store.NewIndex. keys is
// given the message without its marked fields, so an index cannot bring them into the clear; to
// find persons by a name there is Keyring.BlindIndex.
func NewSealedIndex[M proto.Message](t *SealedTable[M], name string, keys func(M) []store.Key, opts ...store.IndexOption) *SealedIndex[M] {
	inner := store.NewIndex(t.inner, name, func(record *privacyv1.SealedRecord) []store.Key {
		public, err := unmarshal[M](record.GetPublic())
		if err != nil {
			return nil // such a row has no public fields to be found by; reading it tells
		}
		return keys(Redact(public))
	}, opts...)
	return &SealedIndex[M]{table: t, inner: inner}
}

// Page is store.Index.Page over opened rows.
func (x *SealedIndex[M]) Page(r store.Reader, keys *Keyring, rg store.Range, limit int) (rows []Row[M], next store.Key, err error) {
	sealed, next, err := x.inner.Page(r, rg, limit)
	if err != nil {
		return nil, nil, err
	}
	rows, err = x.table.openAll(keys, sealed)
	return rows, next, err
}

// PagePublic is Page without the marked fields.
func (x *SealedIndex[M]) PagePublic(r store.Reader, rg store.Range, limit int) ([]Row[M], store.Key, error) {
	return x.Page(r, nil, rg, limit)
}

// First is store.Index.First with an opened row.
func (x *SealedIndex[M]) First(r store.Reader, keys *Keyring, rg store.Range) (Row[M], error) {
	sealed, err := x.inner.First(r, rg)
	if err != nil {
		return Row[M]{}, err
	}
	return x.table.open(keys, sealed)
}

// FirstPublic is First without the marked fields.
func (x *SealedIndex[M]) FirstPublic(r store.Reader, rg store.Range) (Row[M], error) {
	return x.First(r, nil, rg)
}
