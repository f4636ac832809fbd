package privacy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"

	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/store"
)

const (
	keysFile     = "keys.db"
	wrappingFile = "wrapping.key"
	// cachedKeys is how many opened data keys are kept in memory, about a megabyte.
	cachedKeys = 8192
	// turnOverBatch is how many rows one transaction of a turnover rewraps.
	turnOverBatch = 512
)

var (
	// ErrErased says that the person's key was erased: nothing sealed under it can be read again.
	ErrErased = errors.New("this person's data was erased")
	// ErrNotPrepared says that no key has this name yet: call Prepare before the transaction.
	ErrNotPrepared = errors.New("there is no key of this name: Prepare it before the transaction that seals")
	// ErrUnreadable says that a key or a record does not open though its key was not erased: the
	// key file, the wrapping key and the data file are not from one time, or one was changed.
	ErrUnreadable = errors.New("sealed data does not open: restore the data file, the key file and the wrapping key that belong together")
)

var (
	keysSchema = store.NewSchema("keys", 1)
	dataKeys   = store.NewTable[*privacyv1.DataKey](keysSchema, "data_key")
	indexRow   = store.K("index") // the key for blind indexes
)

// CheckKeys is store.CheckFile for the closed key file in a folder.
func CheckKeys(ctx context.Context, dir string) (store.Report, error) {
	return store.CheckFile(ctx, filepath.Join(dir, keysFile), keysSchema)
}

func personRow(name string) store.Key { return store.K("person", name) }

// Options say where a keyring is kept.
type Options struct {
	// Dir holds keys.db and wrapping.key; both are made when absent.
	Dir string
	// Engine in place of keys.db, for simulations; wrapping.key stays in Dir.
	Engine store.Engine
	// Inline is store.Options.Inline.
	Inline bool
	// OnFatal is store.Options.OnFatal for keys.db.
	OnFatal func(error)
	// Clock dates wrapping keys. Default time.Now.
	Clock func() time.Time
	// Rand makes keys and nonces. Default crypto/rand.
	Rand io.Reader
}

// Keyring keeps one data key per person, each wrapped under the wrapping key. It is safe for
// concurrent use.
type Keyring struct {
	db      *store.DB
	path    string // of the wrapping key
	clock   func() time.Time
	random  io.Reader
	index   []byte
	turning sync.Mutex // one turnover at a time

	mu       sync.Mutex
	wrapping []wrappingKey     // the last is current
	cache    map[string][]byte // by name
	erasures uint64            // counts them, so that no reader puts an erased key back into cache
}

// OpenKeyring opens the keyring in o.Dir and makes it when neither file is there. It fails with
// ErrUnreadable where the wrapping key is not that of the key file.
func OpenKeyring(ctx context.Context, o Options) (*Keyring, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	db, err := store.Open(ctx, store.Options{
		Path: filepath.Join(o.Dir, keysFile), Engine: o.Engine, Schema: keysSchema,
		Inline: o.Inline, OnFatal: o.OnFatal, Clock: o.Clock, Rand: o.Rand,
	})
	if err != nil {
		return nil, fmt.Errorf("open the keyring: %w", err)
	}
	k := &Keyring{
		db: db, path: filepath.Join(o.Dir, wrappingFile), clock: o.Clock, random: o.Rand,
		cache: map[string][]byte{},
	}
	if err := k.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the keyring: %w", err), db.Close())
	}
	return k, nil
}

func (k *Keyring) start(ctx context.Context) (err error) {
	// Opening the key file has synced its folder: the name of a wrapping key that is found there is sure before anything is
	// wrapped under that key.
	if k.wrapping, err = readWrappingKeys(k.path); err != nil {
		return err
	}
	if len(k.wrapping) == 0 {
		if err := k.makeWrappingKey(ctx); err != nil {
			return err
		}
	}
	err = k.db.Update(ctx, func(tx *store.Tx) error { return k.makeDataKey(tx, indexRow) })
	if err != nil {
		return err
	}
	return k.db.View(ctx, func(r store.Reader) error {
		k.index, err = k.read(r, indexRow)
		return err
	})
}

func (k *Keyring) makeWrappingKey(ctx context.Context) error {
	var rows uint64
	err := k.db.View(ctx, func(r store.Reader) (err error) {
		rows, err = dataKeys.Count(r)
		return err
	})
	if err != nil {
		return err
	}
	if rows > 0 {
		return fmt.Errorf("%s is gone and %d keys are wrapped under it: %w", k.path, rows, ErrUnreadable)
	}
	first, err := newWrappingKey(k.random, 1, k.clock())
	if err != nil {
		return err
	}
	k.wrapping = []wrappingKey{first}
	return durable.Create(k.path, encodeWrappingKeys(k.wrapping))
}

// Close closes the key file.
func (k *Keyring) Close() error { return k.db.Close() }

// Store is the key file, for backup, check and scrub.
func (k *Keyring) Store() *store.DB { return k.db }

// Prepare sees to it that each name has a key, durably. It must have returned before the
// transaction that seals under the name begins: a record is never written before its key is on
// disk. A key without records is harmless, so a transaction that then fails needs no undoing. It
// is cheap where the keys are there. ErrErased for a name whose key was erased.
func (k *Keyring) Prepare(ctx context.Context, names ...string) error {
	var missing []string
	for _, name := range names {
		switch _, err := k.dataKey(ctx, name); {
		case errors.Is(err, ErrNotPrepared):
			missing = append(missing, name)
		case err != nil:
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return k.db.Update(ctx, func(tx *store.Tx) error {
		for _, name := range missing {
			if err := k.makeDataKey(tx, personRow(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeDataKey makes the key of a row unless it is there.
func (k *Keyring) makeDataKey(tx *store.Tx, row store.Key) error {
	if _, err := k.read(tx, row); !errors.Is(err, ErrNotPrepared) {
		return err
	}
	key := make([]byte, chacha20poly1305.KeySize)
	if _, err := io.ReadFull(k.random, key); err != nil {
		return fmt.Errorf("make a data key: %w", err)
	}
	return k.wrap(tx, row, key)
}

// wrap writes a data key under the current wrapping key. Which that is, is asked inside the
// transaction, so that every transaction after the beginning of a turnover uses the new one.
func (k *Keyring) wrap(tx *store.Tx, row store.Key, key []byte) error {
	current := k.current()
	wrapped, err := seal(k.random, current.key, current.aad(row), key)
	if err != nil {
		return err
	}
	return dataKeys.Put(tx, row, &privacyv1.DataKey{Wrapped: wrapped, WrappingKey: current.id})
}

// read answers the data key of a row; ErrNotPrepared, ErrErased or ErrUnreadable without one.
func (k *Keyring) read(r store.Reader, row store.Key) ([]byte, error) {
	found, err := dataKeys.Get(r, row)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNotPrepared
	}
	if err != nil {
		return nil, err
	}
	return k.unwrap(row, found)
}

func (k *Keyring) unwrap(row store.Key, found *privacyv1.DataKey) ([]byte, error) {
	if isErased(found) {
		return nil, ErrErased
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.wrapping {
		if w.id != found.GetWrappingKey() {
			continue
		}
		if key, err := open(w.key, w.aad(row), found.GetWrapped()); err == nil {
			return key, nil
		}
	}
	return nil, ErrUnreadable
}

func isErased(row *privacyv1.DataKey) bool { return len(row.GetWrapped()) == 0 }

func (k *Keyring) current() wrappingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wrapping[len(k.wrapping)-1]
}

// oldest is the id of the oldest wrapping key in use: it changes when a turnover destroys one.
func (k *Keyring) oldest() uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wrapping[0].id
}

// dataKey answers the key of a person, from memory if it was used lately.
func (k *Keyring) dataKey(ctx context.Context, name string) (key []byte, err error) {
	if name == "" {
		return nil, errors.New("a data key needs a name")
	}
	k.mu.Lock()
	key, known := k.cache[name]
	erasures := k.erasures
	k.mu.Unlock()
	if known {
		return key, nil
	}
	for again := true; again; {
		oldest := k.oldest()
		err = k.db.View(ctx, func(r store.Reader) error {
			key, err = k.read(r, personRow(name))
			return err
		})
		// The row may be of before a turnover that destroyed its wrapping key since: what stands there now opens.
		again = errors.Is(err, ErrUnreadable) && k.oldest() != oldest
	}
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.erasures == erasures { // else this may be the very key that was erased meanwhile
		for other := range k.cache {
			if len(k.cache) < cachedKeys {
				break
			}
			delete(k.cache, other)
		}
		k.cache[name] = key
	}
	return key, nil
}

// Erase deletes the key of a name for ever: what was sealed under it reads ErrErased, and the name
// can have no key again. The bytes of the deleted row may last in the key file's free pages, still
// wrapped; the next TurnOver makes them unreadable. Erasing twice is a no-op.
func (k *Keyring) Erase(ctx context.Context, name string) error {
	if name == "" {
		return errors.New("a data key needs a name")
	}
	err := k.db.Update(ctx, func(tx *store.Tx) error {
		return dataKeys.Put(tx, personRow(name), &privacyv1.DataKey{})
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.erasures++
	delete(k.cache, name)
	return err
}

// BlindIndex is HMAC-SHA256 of a token under the keyring's index key, 32 bytes: equal tokens of
// one purpose give equal bytes, and nobody without the keyring can try out names. It stays the
// same through turnovers.
func (k *Keyring) BlindIndex(purpose string, token []byte) []byte {
	mac := hmac.New(sha256.New, k.index)
	mac.Write(joined("amanat.blind-index.v1", purpose, string(token)))
	return mac.Sum(nil)
}

// LastTurnOver is when the oldest wrapping key still in use was made. Erasure holds against old
// copies of the key file from the first turnover after it, so services turn over when this is
// more than 6 days ago, to be within 7.
func (k *Keyring) LastTurnOver() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wrapping[0].made
}

// TurnOver makes a new wrapping key, wraps every data key under it and destroys the old one: a
// copy of the key file made before opens nothing any more with what is here. Other calls go on
// meanwhile. If it is cut short, by ctx or a crash, both wrapping keys stay in use and the next
// TurnOver completes it.
func (k *Keyring) TurnOver(ctx context.Context) error {
	k.turning.Lock()
	defer k.turning.Unlock()
	old := k.current()
	next, err := newWrappingKey(k.random, old.id+1, k.clock())
	if err != nil {
		return fmt.Errorf("turn the wrapping key over: %w", err)
	}
	if err := k.replaceWrapping(append(slices.Clone(k.wrapping), next)); err != nil {
		return fmt.Errorf("turn the wrapping key over: %w", err)
	}
	var after store.Key
	for {
		err := k.db.Update(ctx, func(tx *store.Tx) (err error) {
			after, err = k.rewrap(tx, after, next.id)
			return err
		})
		if err != nil {
			return fmt.Errorf("turn the wrapping key over: %w", err)
		}
		if after == nil {
			break
		}
	}
	if err := k.replaceWrapping([]wrappingKey{next}); err != nil {
		return fmt.Errorf("destroy the old wrapping key: %w", err)
	}
	return nil
}

func (k *Keyring) rewrap(tx *store.Tx, after store.Key, current uint32) (next store.Key, err error) {
	rows, next, err := dataKeys.Page(tx, store.Range{After: after}, turnOverBatch)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if isErased(row.Value) || row.Value.GetWrappingKey() == current {
			continue
		}
		key, err := k.unwrap(row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		if err := k.wrap(tx, row.Key, key); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func (k *Keyring) replaceWrapping(keys []wrappingKey) error {
	if err := replaceWrappingKeys(k.path, keys); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wrapping = keys
	return nil
}
