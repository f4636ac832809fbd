package store

import (
	"bytes"
	"errors"
	"hash/fnv"
	"maps"
	"sync"
)

// Memory is an Engine without a disk, for simulations. It keeps apart what was written and what was synced, so that a crash
// can take away the difference. It outlives the stores opened on it, as a disk does; there is one at a time.
type Memory struct {
	mu      sync.Mutex
	written memState
	synced  memState
	life    int // grows with every crash; transactions of an earlier life are void
	commits int
	failing error
	spared  int // commits before the one that fails
	lying   bool
}

// memState is a tree per bucket. The trees are never changed, only replaced, so a copy of the map is a snapshot.
type memState map[string]*memNode

var errCrashed = errors.New("the memory engine has crashed since")

// NewMemory makes an empty one.
func NewMemory() *Memory { return &Memory{} }

// FailNextCommit has the next commit write but fail to sync with this error. Whether its changes outlive a crash is then
// Crash's to say, as on a disk.
func (m *Memory) FailNextCommit(err error) { m.FailCommitAfter(0, err) }

// FailCommitAfter is FailNextCommit of the commit that comes after so many others.
func (m *Memory) FailCommitAfter(spared int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing, m.spared = err, spared
}

// LieAboutSync makes commits report success without syncing, as a disk with a bad cache does, until told otherwise.
func (m *Memory) LieAboutSync(lie bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lying = lie
}

// Crash is the loss of power. What was not synced is lost, or kept if keepUnsynced: both happen to disks. The store opened on
// it must not be used any more; closing it writes nothing.
func (m *Memory) Crash(keepUnsynced bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if keepUnsynced {
		m.synced = m.written
	}
	m.written, m.failing = m.synced, nil
	m.life++
}

// Clone copies what is synced: an old copy to restore from.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{written: m.synced, synced: m.synced}
}

// Commits counts those since it was made or cloned.
func (m *Memory) Commits() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commits
}

// Each goes through all rows that are synced, in order of bucket and key, the file row with the incarnation among them, the counts
// of rows not. payload is the row without its head, so that two stores that came to the same rows by different ways show the same.
// The error wraps ErrDamaged.
func (m *Memory) Each(fn func(bucket string, key, payload []byte)) error {
	m.mu.Lock()
	state := m.synced
	m.mu.Unlock()
	for _, bucket := range sortedNames(state) {
		if err := state.each(bucket, fn); err != nil {
			return err
		}
	}
	return nil
}

// In is Each of one bucket.
func (m *Memory) In(bucket string, fn func(key, payload []byte)) error {
	m.mu.Lock()
	state := m.synced
	m.mu.Unlock()
	return state.each(bucket, func(_ string, key, payload []byte) { fn(key, payload) })
}

// Has says whether a row is synced.
func (m *Memory) Has(bucket string, key []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced[bucket].find(key) != nil
}

func (s memState) each(bucket string, fn func(bucket string, key, payload []byte)) error {
	it := &memIterator{root: s[bucket]}
	for {
		key, raw, _ := it.Next() // which never fails
		if key == nil {
			return nil
		}
		if bucket == metaBucket && !bytes.Equal(key, fileKey) {
			continue
		}
		r, err := openRow(bucket, key, raw)
		if err != nil {
			return err
		}
		fn(bucket, key, r.payload)
	}
}

// Begin implements Engine.
func (m *Memory) Begin(writable bool) (EngineTx, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &memTx{engine: m, state: m.written, life: m.life}
	if writable {
		t.state = maps.Clone(m.written)
		if t.state == nil {
			t.state = make(memState)
		}
	}
	return t, nil
}

// Close implements Engine. The content stays for the next Open.
func (m *Memory) Close() error { return nil }

type memTx struct {
	engine *Memory
	state  memState
	life   int
}

func (t *memTx) Get(bucket string, key []byte) ([]byte, error) {
	if n := t.state[bucket].find(key); n != nil {
		return n.value, nil
	}
	return nil, nil
}

func (t *memTx) Put(bucket string, key, value []byte) error {
	t.state[bucket] = t.state[bucket].with(&memNode{key: bytes.Clone(key), value: value, weight: weigh(key)})
	return nil
}

func (t *memTx) Delete(bucket string, key []byte) error {
	if t.state[bucket].find(key) != nil {
		t.state[bucket] = t.state[bucket].without(key)
	}
	return nil
}

func (t *memTx) Drop(bucket string) error {
	delete(t.state, bucket)
	return nil
}

func (t *memTx) Commit() error {
	m := t.engine
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.life != m.life {
		return errCrashed
	}
	m.written = t.state
	m.commits++
	if err := m.failing; err != nil && m.spared > 0 {
		m.spared--
	} else if err != nil {
		m.failing = nil
		return err
	}
	if !m.lying {
		m.synced = m.written
	}
	return nil
}

func (t *memTx) Rollback() error { return nil }

func (t *memTx) Iterate(bucket string, lower, upper []byte, reverse bool) EngineIterator {
	return &memIterator{root: t.state[bucket], lower: lower, upper: upper, reverse: reverse}
}

type memIterator struct {
	root         *memNode
	lower, upper []byte
	reverse      bool
}

// Next narrows the range to what is behind the key it gives.
func (it *memIterator) Next() (key, value []byte, err error) {
	var n *memNode
	if it.reverse {
		n = it.root.below(it.upper)
	} else {
		n = it.root.from(it.lower)
	}
	if n == nil || bytes.Compare(n.key, it.lower) < 0 || it.upper != nil && bytes.Compare(n.key, it.upper) >= 0 {
		return nil, nil, nil
	}
	if it.reverse {
		it.upper = n.key
	} else {
		it.lower = append(bytes.Clone(n.key), 0)
	}
	return n.key, n.value, nil
}

// memNode is a node of a treap: a search tree by key and a heap by weight. The weight is a hash of the key, so the shape
// depends on nothing but the keys, and runs of a simulation repeat. Nodes are never changed.
type memNode struct {
	key, value  []byte
	weight      uint64
	left, right *memNode
}

func weigh(key []byte) uint64 {
	h := fnv.New64a()
	h.Write(key)
	w := h.Sum64() * 0x9e3779b97f4a7c15 // FNV alone leaves the high bits of short keys alike
	return w ^ w>>32
}

func (n *memNode) find(key []byte) *memNode {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c == 0:
			return n
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

// from is the first node with a key ≥ key.
func (n *memNode) from(key []byte) (best *memNode) {
	for n != nil {
		if bytes.Compare(n.key, key) >= 0 {
			best, n = n, n.left
		} else {
			n = n.right
		}
	}
	return best
}

// below is the last node with a key < key; nil key is no bound.
func (n *memNode) below(key []byte) (best *memNode) {
	for n != nil {
		if key == nil || bytes.Compare(n.key, key) < 0 {
			best, n = n, n.right
		} else {
			n = n.left
		}
	}
	return best
}

func (n *memNode) with(add *memNode) *memNode {
	if n == nil {
		return add
	}
	c := bytes.Compare(add.key, n.key)
	if c != 0 && add.weight > n.weight {
		add.left, add.right = n.split(add.key)
		return add
	}
	same := *n
	switch {
	case c == 0:
		same.value = add.value
	case c < 0:
		same.left = n.left.with(add)
	default:
		same.right = n.right.with(add)
	}
	return &same
}

// split parts a tree without key into what is less and what is greater.
func (n *memNode) split(key []byte) (less, greater *memNode) {
	if n == nil {
		return nil, nil
	}
	same := *n
	if bytes.Compare(n.key, key) < 0 {
		same.right, greater = n.right.split(key)
		return &same, greater
	}
	less, same.left = n.left.split(key)
	return less, &same
}

func (n *memNode) without(key []byte) *memNode {
	c := bytes.Compare(key, n.key)
	if c == 0 {
		return joinNodes(n.left, n.right)
	}
	same := *n
	if c < 0 {
		same.left = n.left.without(key)
	} else {
		same.right = n.right.without(key)
	}
	return &same
}

// joinNodes makes one tree of two, all keys of less being less than those of greater.
func joinNodes(less, greater *memNode) *memNode {
	switch {
	case less == nil:
		return greater
	case greater == nil:
		return less
	case less.weight > greater.weight:
		same := *less
		same.right = joinNodes(less.right, greater)
		return &same
	}
	same := *greater
	same.left = joinNodes(less, greater.left)
	return &same
}
