package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Report is what a check has found.
type Report struct {
	Buckets  []BucketReport
	Problems []error // each wraps ErrDamaged or ErrBroken; at most 100
}

// BucketReport is one table or index that was read.
type BucketReport struct {
	Name  string
	Index bool
	Rows  uint64
}

// Err is nil when no problem was found, else the first one and how many there are.
func (r Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w (%d problems)", r.Problems[0], len(r.Problems))
}

func (r *Report) problem(err error) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, err)
	}
}

// Check verifies one consistent state of the open store whole: its pages, every checksum, every count and digest, and that
// indexes and tables agree both ways. The report tells what is wrong, and then the store has failed; the error is only of
// the check itself. It holds a View all along; a busy store is better verified by Scrub.
func (db *DB) Check(ctx context.Context) (Report, error) {
	var report Report
	err := db.View(ctx, func(r Reader) error {
		tx := r.(*view).tx
		if t, ok := tx.(*boltTx); ok {
			for _, problem := range t.walk() {
				report.problem(problem)
			}
		}
		if len(report.Problems) > 0 {
			return nil
		}
		return report.rows(ctx, tx, db.schema)
	})
	if problem := report.Err(); problem != nil {
		db.fail(problem)
	}
	return report, err
}

// walk verifies the pages of an open transaction. The list of free pages changes with every commit and is left out.
func (t *boltTx) walk() []error {
	pageSize := uint64(t.engine.db.Info().PageSize)
	limit := uint64(t.tx.Size()) / pageSize
	w := &pageWalk{file: t.engine.file, pageSize: pageSize, limit: limit, deep: true, seen: newBitmap(limit), free: newBitmap(limit)}
	w.tree(uint64(t.tx.Cursor().Bucket().Root()), true, nil, nil)
	return w.problems
}

// Rule is what must hold of a file's rows beside what every store promises of itself. It reports each break in a sentence that may
// name things and repeats nothing else of what the rows hold; its error is of the check itself.
type Rule func(ctx context.Context, r Reader, report func(sentence string)) error

// ErrBroken is wrapped by the problems that rules report.
var ErrBroken = errors.New("a rule is broken")

// CheckFile is Check for the file of a closed store, with all its pages accounted for and bbolt's own check besides. An older
// file is checked as it is. The rules are tried where all else is well and the file has the schema's version. The error is of
// opening the file, ErrLocked among them; damage is in the report.
func CheckFile(ctx context.Context, path string, schema *Schema, rules ...Rule) (report Report, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return report, err
	}
	if err := lockFile(f, 0); err != nil {
		return report, errors.Join(fmt.Errorf("check %s: %w", path, err), f.Close())
	}
	info, err := f.Stat()
	if err == nil {
		report.Problems = walkFile(f, info.Size(), true, false)
	}
	if err = errors.Join(err, f.Close()); err != nil || len(report.Problems) > 0 {
		return report, err
	}
	e, err := openBolt(path, boltOptions{})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	tx, err := e.Begin(false)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	if b, ok := tx.(*boltTx); ok {
		// Safe now: its goroutine, where a fault could not be caught, follows only pages that were verified above.
		for problem := range b.tx.Check(bolt.WithKVStringer(noKeys{})) {
			report.problem(damaged("bbolt's check: %v", problem))
		}
	}
	if err := report.rows(ctx, tx, schema); err != nil {
		return report, err
	}
	return report, report.judge(ctx, tx, schema, rules)
}

// judge tries the rules on rows that are sound.
func (r *Report) judge(ctx context.Context, tx EngineTx, schema *Schema, rules []Rule) error {
	if len(r.Problems) > 0 {
		return nil
	}
	if meta, _, _, err := readMeta(tx); err != nil || meta.schema != schema.version {
		return err
	}
	v := &view{db: &DB{schema: schema}, tx: tx}
	defer func() { v.done = true }()
	for _, rule := range rules {
		err := rule(ctx, v, func(sentence string) { r.problem(fmt.Errorf("%w: %s", ErrBroken, sentence)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// noKeys keeps keys out of bbolt's messages.
type noKeys struct{}

func (noKeys) KeyToString([]byte) string   { return "…" }
func (noKeys) ValueToString([]byte) string { return "…" }

// rows verifies every row of every bucket.
func (r *Report) rows(ctx context.Context, tx EngineTx, schema *Schema) error {
	meta, stats, found, err := readMeta(tx)
	switch {
	case err != nil:
		r.problem(err)
		return nil
	case !found:
		r.problem(damaged("the file row is missing"))
		return nil
	case meta.name != schema.name:
		return fmt.Errorf("the file belongs to %s: %w", meta.name, ErrWrongStore)
	case meta.schema > schema.version:
		return fmt.Errorf("the file has version %d and this program knows up to %d: %w", meta.schema, schema.version, ErrNewer)
	}
	v := &verifier{schema: schema, stats: stats, read: func(bucket string, key []byte) (*row, error) { return readRow(tx, bucket, key) }}
	for _, bucket := range sortedNames(stats) {
		have := stat{kind: stats[bucket].kind}
		rows := &engineRows{bucket: bucket, it: tx.Iterate(bucket, nil, nil, false)}
		for {
			key, found, err := rows.next()
			if err == nil && key == nil {
				break
			}
			if err == nil {
				have = have.plus(nil, found)
				err = v.row(bucket, key, found)
			}
			if err != nil {
				r.problem(err)
			}
			if key == nil {
				break // the bucket cannot be read on
			}
			if have.count%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if have != stats[bucket] {
			r.problem(damaged("%s has %d sound rows, which are not the %d that were written", bucket, have.count, stats[bucket].count))
		}
		r.Buckets = append(r.Buckets, BucketReport{Name: bucket, Index: have.kind == indexBucket, Rows: have.count})
	}
	return nil
}

// verifier holds one row against the others.
type verifier struct {
	schema *Schema
	stats  map[string]stat // buckets the file has; an index that is declared and not there yet is left out
	read   func(bucket string, key []byte) (*row, error)
}

func (v *verifier) row(bucket string, key []byte, found *row) error {
	for _, t := range v.schema.tables {
		if t.name == bucket {
			return v.tableRow(t, key, found)
		}
		for _, x := range t.indexes {
			if x.name == bucket {
				return v.entry(x, key, found)
			}
		}
	}
	return nil // of an older version
}

// tableRow sees that each index has the row's entries.
func (v *verifier) tableRow(t *tableDef, key []byte, found *row) error {
	m, err := t.decode(found.payload)
	if err != nil {
		return err
	}
	for _, x := range t.indexes {
		if _, built := v.stats[x.name]; !built {
			continue
		}
		positions, err := x.positions(m, key)
		if err != nil {
			return damaged("a row of %s has an impossible key in %s", t.name, x.name)
		}
		for _, p := range positions {
			entry, err := v.read(x.name, p)
			if err != nil {
				return err
			}
			if entry == nil || !bytes.Equal(entry.payload, key) {
				return damaged("%s has no entry for a row of %s", x.name, t.name)
			}
		}
	}
	return nil
}

// entry sees that an entry's row is there and belongs at this position.
func (v *verifier) entry(x *indexDef, position []byte, entry *row) error {
	found, err := v.read(x.table.name, entry.payload)
	if err != nil {
		return err
	}
	if found == nil {
		return damaged("an entry of %s points to no row of %s", x.name, x.table.name)
	}
	m, err := x.table.decode(found.payload)
	if err != nil {
		return err
	}
	positions, err := x.positions(m, entry.payload)
	if err != nil || !contains(positions, position) {
		return damaged("an entry of %s does not belong to its row of %s", x.name, x.table.name)
	}
	return nil
}

// InUse gives ErrLocked where a process has the file of a store open; nil also where there is none.
func InUse(path string) error {
	f, err := openLocked(path, os.O_RDWR, 0, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}
