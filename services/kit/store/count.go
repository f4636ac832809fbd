package store

// Count is the number of entries of a range, without reading the rows they point to. A row has
// as many entries as its index function gives it keys.
func (x *Index[M]) Count(r Reader, rg Range) (n int, err error) {
	if err := x.table.def.belongs(r); err != nil {
		return 0, err
	}
	err = scanRows(r, x.def.name, rg, func([]byte, *row) error {
		n++
		return nil
	})
	return n, err
}
