package privacy

import (
	"google.golang.org/protobuf/proto"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"

	"amanat.example/services/kit/store"
)

// RawRecord reads what a sealed table has stored.
func RawRecord[M proto.Message](r store.Reader, t *SealedTable[M], key store.Key) (*privacyv1.SealedRecord, error) {
	return t.inner.Get(r, key)
}

// PutRawRecord stores a record as a hand that changes the file would.
func PutRawRecord[M proto.Message](tx *store.Tx, t *SealedTable[M], key store.Key, record *privacyv1.SealedRecord) error {
	return t.inner.Put(tx, key, record)
}
