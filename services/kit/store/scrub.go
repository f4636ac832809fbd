package store

import (
	"bytes"
	"context"
	"errors"
)

// scrub is one round through all rows, in steps between which the store goes on. It belongs to the committer.
type scrub struct {
	buckets []string // still to do; the first is being read
	last    []byte   // what was read of it ends here; nil: nothing yet
	have    stat     // of what was read of it, kept current as rows change behind last
}

// Scrub verifies the next rows of the store, at most this many, as Check does, while it goes on working: services call it
// with pauses, a round a night. done says that a round has ended; the next call begins another. What it finds is fatal to the
// store. Each step holds up the committer, about a millisecond for 200 rows.
func (db *DB) Scrub(ctx context.Context, rows int) (done bool, err error) {
	if rows <= 0 {
		return false, errors.New("a step of a scrub has at least one row")
	}
	err = db.Update(ctx, func(tx *Tx) error {
		if db.round == nil {
			db.round = &scrub{buckets: sortedNames(db.stats)}
		}
		var err error
		done, err = db.round.step(tx, rows)
		if err != nil {
			return judge(tx, err)
		}
		if done {
			db.round = nil
		}
		return nil
	})
	return done, err
}

// step runs inside an Update: between it and the next one, note sees every change.
func (s *scrub) step(tx *Tx, rows int) (done bool, err error) {
	v := &verifier{schema: tx.db.schema, stats: tx.base, read: tx.row}
	for ; len(s.buckets) > 0; s.buckets = s.buckets[1:] {
		bucket := s.buckets[0]
		if s.last == nil {
			s.have = stat{kind: tx.base[bucket].kind}
		}
		lower, _, _ := Range{After: s.last}.bounds()
		it, err := tx.rows(bucket, lower, nil, false)
		if err != nil {
			return false, err
		}
		for {
			if rows == 0 {
				return false, nil
			}
			key, found, err := it.next()
			if err != nil {
				return false, err
			}
			if found == nil {
				break
			}
			if err := v.row(bucket, key, found); err != nil {
				return false, err
			}
			s.have, s.last = s.have.plus(nil, found), key
			rows--
		}
		if want := tx.base[bucket]; s.have != want {
			return false, damaged("%s has %d rows, which are not the %d that were written", bucket, s.have.count, want.count)
		}
		s.last = nil
	}
	return true, nil
}

// note keeps the sum current when a row changes that was read already.
func (s *scrub) note(w *write) {
	if len(s.buckets) > 0 && w.bucket == s.buckets[0] && s.last != nil && bytes.Compare(w.key, s.last) <= 0 {
		s.have = s.have.plus(w.old, w.new)
	}
}
