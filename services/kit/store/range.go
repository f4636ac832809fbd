package store

import (
	"bytes"
	"errors"
)

// Range selects keys of a table, or positions of an index. The zero Range is everything.
type Range struct {
	// Prefix that the keys begin with.
	Prefix Key
	// After: only what comes strictly after this key in the direction of the scan. A key K(parts…) sorts before every longer
	// key that begins with the same parts.
	After Key
	// Before: only what comes strictly before this key in the direction of the scan.
	Before Key
	// Reverse scans from the greatest key down.
	Reverse bool
}

// bounds returns lower ≤ key < upper; nil upper is none. empty says that nothing can be inside.
func (r Range) bounds() (lower, upper []byte, empty bool) {
	lower, upper = r.Prefix, successor(r.Prefix)
	first, last := r.After, r.Before // in ascending order
	if r.Reverse {
		first, last = r.Before, r.After
	}
	if first != nil {
		// The next key there can be is the same with a zero byte behind it.
		if next := append(bytes.Clone(first), 0); bytes.Compare(next, lower) > 0 {
			lower = next
		}
	}
	if last != nil && (upper == nil || bytes.Compare(last, upper) < 0) {
		upper = last
	}
	return lower, upper, upper != nil && bytes.Compare(lower, upper) >= 0
}

func scanRows(r Reader, bucket string, rg Range, fn func(key []byte, found *row) error) error {
	lower, upper, empty := rg.bounds()
	if empty {
		return nil
	}
	it, err := r.rows(bucket, lower, upper, rg.Reverse)
	if err != nil {
		return judge(r, err)
	}
	for {
		key, found, err := it.next()
		if err != nil {
			return judge(r, err)
		}
		if found == nil {
			return nil
		}
		if err := fn(key, found); err != nil {
			if errors.Is(err, Stop) {
				return nil
			}
			return err
		}
	}
}

// page collects up to limit rows from a scan that also tells each row's position.
func page[R any](limit int, scan func(func(Key, R) error) error) (rows []R, next Key, err error) {
	if limit <= 0 {
		return nil, nil, errors.New("a page has at least one row")
	}
	var last Key
	err = scan(func(position Key, row R) error {
		if len(rows) == limit {
			next = last
			return Stop
		}
		rows, last = append(rows, row), position
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return rows, next, nil
}
