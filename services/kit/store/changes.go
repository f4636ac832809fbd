package store

// Change is the net effect of one Update on one row of a table. Indexes follow from the tables and are not in it.
type Change struct {
	Table   string
	Key     Key
	Version uint64 // of the new row; of the old one when it was deleted
	Old     []byte // the message before, marshalled; nil when there was no row
	New     []byte // the message after, marshalled; nil when the row was deleted
}

// ChangeSet is what one commit has changed: every Update of the batch, in the order they ran. The same key may come more
// than once. It must not be modified.
type ChangeSet struct {
	Changes []Change
}

// Observe has fn called with every change set once it is durable, in commit order and before the Updates return. It runs in
// the committer: it must be quick and must not call Update or View. A panic in it is fatal to the store. Views kept in
// memory register first and then read the tables, before anything is served; changes seen twice that way are harmless when
// they are applied by key and version.
func (db *DB) Observe(fn func(ChangeSet)) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.observers = append(db.observers[:len(db.observers):len(db.observers)], fn)
}

func (db *DB) observed() []func(ChangeSet) {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.observers
}

func (s *ChangeSet) append(w *write) {
	c := Change{Table: w.bucket, Key: w.key}
	if w.old != nil {
		c.Version, c.Old = w.old.version, w.old.payload
	}
	if w.new != nil {
		c.Version, c.New = w.new.version, w.new.payload
	}
	s.Changes = append(s.Changes, c)
}
