package app

import (
	"context"
	"errors"
	"fmt"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// Annexes keeps annexes sealed under their referral's key, each under its own commitment.
type Annexes struct {
	// Keys is the service's key file.
	Keys *privacy.Keyring
}

// Prepare makes the key of a referral's annexes durable. It is written to the key file, so that
// it may be called inside a transaction of the store too; it then costs that transaction a sync.
func (s Annexes) Prepare(ctx context.Context, referral string) error {
	return s.Keys.Prepare(ctx, store.KeyName(referral))
}

// Put stores an annex; storing it again is a no-op.
func (s Annexes) Put(tx *kitstore.Tx, letter *custodyv1.AnnexLetter) error {
	key := kitstore.K(letter.GetReferral(), custody.Commit(letter.GetAnnex()).String())
	if has, err := store.Annexes.Has(tx, key); has || err != nil {
		return err
	}
	return store.Annexes.Insert(tx, s.Keys, key, letter)
}

// Get reads an annex by its commitment in hex; an error wrapping ErrNotFound, also when it was
// erased.
func (s Annexes) Get(r kitstore.Reader, referral, commitment string) (*custodyv1.AnnexLetter, error) {
	row, err := store.Annexes.Row(r, s.Keys, kitstore.K(referral, commitment))
	if err != nil {
		return nil, err
	}
	if row.Erased {
		return nil, fmt.Errorf("the annex was erased: %w", kitstore.ErrNotFound)
	}
	return row.Value, nil
}

// List names the commitments of a referral's annexes, in hex.
func (s Annexes) List(r kitstore.Reader, referral string) (all []string, err error) {
	err = store.Annexes.ScanPublic(r, kitstore.Range{Prefix: kitstore.K(referral)}, func(row privacy.Row[*custodyv1.AnnexLetter]) error {
		commitment, err := lastPart(row.Key, referral)
		all = append(all, commitment)
		return err
	})
	return all, err
}

// annexBeside is what was written beside an event or a reply, to be sent; nil for nothing, when it was erased, never came here or does not open,
// because the key file is an older copy: what it stands beside does not wait for it.
func (a *App) annexBeside(r kitstore.Reader, referral string, commitment []byte) (*custodyv1.AnnexLetter, error) {
	if len(commitment) != len(custody.Hash{}) {
		return nil, nil
	}
	annex, err := optional(a.Annexes.Get(r, referral, custody.Hash(commitment).String()))
	if errors.Is(err, privacy.ErrUnreadable) {
		a.Log.Error("an annex does not open, and is not sent", logging.Referral(referral), logging.Err(err))
		return nil, nil
	}
	if annex == nil || err != nil {
		return nil, err
	}
	sound := soundAnnex(annex)
	if sound == nil { // an older version took it in, and nobody takes it from here
		a.Log.Error("an annex is not sound, and is not sent", logging.Referral(referral))
	}
	return sound, nil
}

// lastPart is the second part of a key (referral, text): what stands between the first part and
// the two bytes that end a text.
func lastPart(key kitstore.Key, referral string) (string, error) {
	head := len(kitstore.K(referral))
	if len(key) < head+2 {
		return "", errors.New("the key of an annex has no commitment")
	}
	return string(key[head : len(key)-2]), nil
}
