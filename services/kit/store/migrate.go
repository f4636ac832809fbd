package store

import (
	"context"
	"errors"
	"fmt"
)

// migrate brings the file to the schema's version, one commit per step, and then the buckets to those declared.
func (db *DB) migrate(ctx context.Context) error {
	older := db.meta.schema < db.schema.version
	if err := db.addBuckets(); err != nil {
		return err
	}
	for older && db.meta.schema < db.schema.version {
		from := db.meta.schema
		step, ok := db.schema.steps[from]
		if !ok {
			return fmt.Errorf("the file has version %d, and no migration leads from there to %d", from, from+1)
		}
		last := from+1 == db.schema.version
		err := db.alone(ctx, func(tx *Tx) error {
			if err := step.run(ctx, tx); err != nil {
				return err
			}
			if last {
				if err := db.settleBuckets(tx); err != nil {
					return err
				}
			}
			m := tx.fileMeta()
			m.schema = from + 1
			tx.meta = &m
			return nil
		})
		if err != nil {
			return fmt.Errorf("migrate from version %d to %d (%s): %w", from, from+1, step.why, err)
		}
	}
	if older {
		return nil
	}
	return db.alone(ctx, db.settleBuckets)
}

// alone runs fn as an Update before the committer is there.
func (db *DB) alone(ctx context.Context, fn func(tx *Tx) error) error {
	c := &call{ctx: ctx, fn: fn, done: make(chan struct{})}
	db.commit(c, nil)
	if c.panic != nil {
		return c.panic
	}
	return c.err
}

func (tx *Tx) fileMeta() fileMeta {
	switch {
	case tx.meta != nil:
		return *tx.meta
	case tx.baseMeta != nil:
		return *tx.baseMeta
	}
	tx.db.mu.Lock()
	defer tx.db.mu.Unlock()
	return tx.db.meta
}

// addBuckets begins the count of every declared bucket that the file does not have. New indexes are noted as not built, and
// nothing is written of them before settleBuckets has built them.
func (db *DB) addBuckets() error {
	db.unbuilt = make(map[string]bool)
	declared := db.schema.declared()
	for _, name := range sortedNames(declared) {
		have, ok := db.stats[name]
		switch {
		case !ok:
			db.stats[name] = stat{kind: declared[name]}
			db.unbuilt[name] = true
		case have.kind != declared[name]:
			return fmt.Errorf("%s was a table or an index and is declared as the other: give it a new name", name)
		}
	}
	return nil
}

// settleBuckets makes the file's buckets those that are declared: it builds new indexes and drops old ones.
func (db *DB) settleBuckets(tx *Tx) error {
	if len(db.unbuilt) > 0 {
		m := tx.fileMeta()
		tx.meta = &m // has every count written, also those of empty buckets
	}
	for _, t := range db.schema.tables {
		for _, x := range t.indexes {
			if db.unbuilt[x.name] {
				if err := x.build(tx); err != nil {
					return err
				}
			}
		}
	}
	declared := db.schema.declared()
	for _, name := range sortedNames(db.stats) {
		if _, ok := declared[name]; ok {
			continue
		}
		s, err := tx.stat(name)
		switch {
		case err != nil:
			return err
		case db.meta.schema == db.schema.version:
			return fmt.Errorf("the file has %s, which this program does not declare at the same version %d: %w", name, db.schema.version, ErrNewer)
		case s.kind == tableBucket && s.count > 0:
			return fmt.Errorf("table %s holds %d rows and is no longer declared: declare it, and empty it in a migration", name, s.count)
		}
		// Straight to the engine: migrations run alone, so an error takes the whole transaction back.
		if err := errors.Join(tx.tx.Drop(name), tx.tx.Delete(metaBucket, statKey(name))); err != nil {
			return err
		}
		delete(tx.base, name)
	}
	db.unbuilt = nil
	return nil
}

// build writes the entries of all rows of the table.
func (x *indexDef) build(tx *Tx) error {
	return scanRows(tx, x.table.name, Range{}, func(key []byte, found *row) error {
		m, err := x.table.decode(found.payload)
		if err != nil {
			return err
		}
		positions, err := x.positions(m, key)
		if err != nil {
			return err
		}
		for _, p := range positions {
			c := entryChange{index: x, position: p, add: true}
			if err := c.prepare(tx, key); err != nil {
				return err
			}
			tx.write(x.name, p, nil, sealRow(x.name, p, tx.db.schema.version, 1, key))
		}
		return nil
	})
}
