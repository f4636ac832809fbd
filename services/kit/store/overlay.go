package store

import (
	"bytes"
	"slices"
	"sort"
)

// overlay is what one transaction has written to one bucket. Single keys go through a map; the order is made only when
// something scans.
type overlay struct {
	byKey  map[string]*write
	sorted []*write // nil: to be made anew
}

// write is the net effect of a transaction on one key.
type write struct {
	bucket string
	key    []byte
	old    *row // below the transaction; nil: no row
	new    *row // nil: deleted
}

func (o *overlay) get(key []byte) *write {
	if o == nil {
		return nil
	}
	return o.byKey[string(key)]
}

func (o *overlay) insert(w *write) {
	o.byKey[string(w.key)] = w
	o.sorted = nil
}

// within returns the writes with lower ≤ key < upper, in order.
func (o *overlay) within(lower, upper []byte) []*write {
	if o == nil {
		return nil
	}
	if o.sorted == nil {
		o.sorted = make([]*write, 0, len(o.byKey))
		for _, w := range o.byKey {
			o.sorted = append(o.sorted, w)
		}
		slices.SortFunc(o.sorted, func(a, b *write) int { return bytes.Compare(a.key, b.key) })
	}
	at := func(bound []byte) int {
		return sort.Search(len(o.sorted), func(i int) bool { return bytes.Compare(o.sorted[i].key, bound) >= 0 })
	}
	from, to := at(lower), len(o.sorted)
	if upper != nil {
		to = max(from, at(upper))
	}
	return o.sorted[from:to]
}

// rowIterator gives verified rows in order; a nil row ends it.
type rowIterator interface {
	next() (key []byte, r *row, err error)
}

// engineRows verifies what an engine gives and that keys come in order, which damage can break.
type engineRows struct {
	bucket  string
	it      EngineIterator
	reverse bool
	last    []byte
}

func (e *engineRows) next() ([]byte, *row, error) {
	key, raw, err := e.it.Next()
	if err != nil || key == nil {
		return nil, nil, err
	}
	if e.last != nil && (bytes.Compare(key, e.last) > 0) == e.reverse {
		return nil, nil, damaged("the keys of %s are out of order", e.bucket)
	}
	e.last = key
	r, err := openRow(e.bucket, key, raw)
	return key, r, err
}

// mergedRows lays a transaction's overlay over the rows below it. It began with the writes of that moment, and looks up
// the others as it meets their keys, so the scan's callback may change and delete rows: those ahead appear as they are now.
// A row that the callback inserts is not seen.
type mergedRows struct {
	base    rowIterator
	over    *overlay
	writes  []*write // still to come
	reverse bool

	baseKey  []byte
	baseRow  *row
	baseRead bool
}

func (m *mergedRows) next() ([]byte, *row, error) {
	for {
		if !m.baseRead {
			var err error
			if m.baseKey, m.baseRow, err = m.base.next(); err != nil {
				return nil, nil, err
			}
			m.baseRead = true
		}
		w := m.peek()
		if w == nil && m.baseRow == nil {
			return nil, nil, nil
		}
		order := 0
		switch {
		case w == nil:
			order = -1
		case m.baseRow == nil:
			order = 1
		default:
			order = bytes.Compare(m.baseKey, w.key)
			if m.reverse {
				order = -order
			}
		}
		key, r := m.baseKey, m.baseRow
		if order >= 0 {
			m.pop()
			key, r = w.key, w.new
		} else if late := m.over.get(key); late != nil {
			r = late.new
		}
		if order <= 0 {
			m.baseRead = false
		}
		if r != nil {
			return key, r, nil
		}
	}
}

func (m *mergedRows) peek() *write {
	switch {
	case len(m.writes) == 0:
		return nil
	case m.reverse:
		return m.writes[len(m.writes)-1]
	}
	return m.writes[0]
}

func (m *mergedRows) pop() {
	if m.reverse {
		m.writes = m.writes[:len(m.writes)-1]
	} else {
		m.writes = m.writes[1:]
	}
}
