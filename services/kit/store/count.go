package store

// Count is the number of entries of a range, without reading the rows they point to. A row has
// as many entries as its index function gives it keys. Asked again within an Update for the same
// Prefix alone, it reads nothing: how often a bed is counted must not depend on how many are taken.
func (x *Index[M]) Count(r Reader, rg Range) (n int, err error) {
	if err := x.table.def.belongs(r); err != nil {
		return 0, err
	}
	if tx, ok := r.(*Tx); ok && !tx.done && rg.After == nil && rg.Before == nil {
		return tx.count(x.def.name, rg.Prefix)
	}
	return countRows(r, x.def.name, rg)
}

func countRows(r Reader, bucket string, rg Range) (n int, err error) {
	err = scanRows(r, bucket, rg, func([]byte, *row) error {
		n++
		return nil
	})
	return n, err
}

// count adds what this transaction has changed to what the batch below it has.
func (tx *Tx) count(bucket string, prefix Key) (int, error) {
	below, err := tx.db.counted.of(bucket, prefix, func() (int, error) {
		return countRows(&Tx{db: tx.db, tx: tx.tx}, bucket, Range{Prefix: prefix})
	})
	if err != nil {
		return 0, err
	}
	for _, w := range tx.overs[bucket].within(prefix, successor(prefix)) {
		below += w.adds()
	}
	return below, nil
}

// adds is by how many rows a write changes its bucket.
func (w *write) adds() int {
	switch {
	case w.old == nil && w.new != nil:
		return 1
	case w.old != nil && w.new == nil:
		return -1
	}
	return 0
}

// maxCounts bounds how many counts are remembered, at about 100 bytes each; all are forgotten beyond it.
const maxCounts = 200_000

// counts remembers, for the committer alone, how many entries the current batch has under the prefixes that were asked for.
// A batch that cannot be made durable ends the store, so it is never taken back.
type counts struct {
	ofPrefix map[string]map[string]int // by bucket and prefix
	lengths  map[string][]int          // of the prefixes, by bucket
	size     int
}

func (c *counts) of(bucket string, prefix Key, read func() (int, error)) (int, error) {
	if n, ok := c.ofPrefix[bucket][string(prefix)]; ok {
		return n, nil
	}
	n, err := read()
	if err != nil {
		return 0, err
	}
	if c.ofPrefix == nil || c.size == maxCounts {
		*c = counts{ofPrefix: make(map[string]map[string]int), lengths: make(map[string][]int)}
	}
	if c.ofPrefix[bucket] == nil {
		c.ofPrefix[bucket] = make(map[string]int)
	}
	c.ofPrefix[bucket][string(prefix)] = n
	c.size++
	for _, length := range c.lengths[bucket] {
		if length == len(prefix) {
			return n, nil
		}
	}
	c.lengths[bucket] = append(c.lengths[bucket], len(prefix))
	return n, nil
}

// note follows a write that has entered the batch.
func (c *counts) note(w *write) {
	by := w.adds()
	if by == 0 {
		return
	}
	for _, length := range c.lengths[w.bucket] {
		if length > len(w.key) {
			continue
		}
		prefix := w.key[:length]
		if n, ok := c.ofPrefix[w.bucket][string(prefix)]; ok {
			c.ofPrefix[w.bucket][string(prefix)] = n + by
		}
	}
}
