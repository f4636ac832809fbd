package privacy

import "context"

// Seal seals bytes under a person's key, for one purpose: [Keyring.Open] with another name or
// purpose fails. The key must have been prepared.
func (k *Keyring) Seal(name, purpose string, plaintext []byte) ([]byte, error) {
	key, err := k.dataKey(context.Background(), name)
	if err != nil {
		return nil, err
	}
	return seal(k.random, key, joined("amanat.sealed-bytes.v1", name, purpose), plaintext)
}

// Open opens what Seal sealed. ErrErased when the person's key was erased, ErrUnreadable when the
// bytes were sealed under another name or purpose, or were changed.
func (k *Keyring) Open(name, purpose string, sealed []byte) ([]byte, error) {
	key, err := k.dataKey(context.Background(), name)
	if err != nil {
		return nil, err
	}
	plaintext, err := open(key, joined("amanat.sealed-bytes.v1", name, purpose), sealed)
	if err != nil {
		return nil, ErrUnreadable
	}
	return plaintext, nil
}
