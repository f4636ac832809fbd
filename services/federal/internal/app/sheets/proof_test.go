package sheets_test

import (
	"encoding/csv"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"

	"amanat.example/services/federal/internal/app/sheets"
)

// The reader of this file has every CSV file that was ever published, and knows by what rules they are made. Of each hidden figure he works out by
// linear programming the least and the most that it can be. He knows nothing of how it was decided what to hide: package rules is not
// asked for anything here.
//
// He is given more than anyone can have: by how much each cell has moved from the first edition to each later one. So
// whatever can be known or guessed of late letters and corrections he knows. Unknown is one number for each cell, its count in the first edition.

// cell is one figure of one month in all editions.
type cell struct {
	name       string
	parts      []int         // of it, by index
	parent     int           // -1 for the country
	shown      map[int]int64 // by edition
	beds       map[int]int64
	moved      map[int]int64 // since the first edition; filled in for the reader
	low, high  float64       // of its count in the first edition
	unit       string
	everHidden bool
}

// reading is a table of one month, of which no cell stands in any equation with those of another.
type reading struct {
	cells    []*cell
	index    map[string]int
	editions []int
}

// read reads all files there are, of all months and editions, and groups what is in them by month and table: no published figure is a sum over
// several of these, so there is no equation between them.
func read(files [][]byte) (map[string]*reading, error) {
	tables := map[string]*reading{}
	for _, file := range files {
		rows, err := csv.NewReader(strings.NewReader(string(file))).ReadAll()
		if err != nil {
			return nil, err
		}
		for _, row := range rows[1:] {
			at := func(column string) string { return row[position[column]] }
			if at("unit") == "hours" { // no counts
				continue
			}
			edition, err := strconv.Atoi(at("edition"))
			if err != nil {
				return nil, err
			}
			t := tables[at("month")+" "+at("table")]
			if t == nil {
				t = &reading{index: map[string]int{}}
				tables[at("month")+" "+at("table")] = t
			}
			if !slices.Contains(t.editions, edition) {
				t.editions = append(t.editions, edition)
				slices.Sort(t.editions)
			}
			c := t.cell(at("origin"), at("destination"), at("code"))
			c.unit = at("unit")
			switch value, mark := at("value"), at("mark"); {
			case mark == sheets.Hidden && value == "":
				c.everHidden = true
			case mark == "":
				if c.shown[edition], err = strconv.ParseInt(value, 10, 64); err != nil {
					return nil, err
				}
			default:
				return nil, fmt.Errorf("%s: value %q, mark %q", c.name, value, mark)
			}
			if beds := at("beds"); beds != "" {
				if c.beds[edition], err = strconv.ParseInt(beds, 10, 64); err != nil {
					return nil, err
				}
			}
		}
	}
	return tables, nil
}

var position = func() map[string]int {
	at := map[string]int{}
	for i, c := range sheets.Columns {
		at[c] = i
	}
	return at
}()

// cell finds or makes a cell and those above it.
func (r *reading) cell(origin, destination, code string) *cell {
	name, above := origin, ""
	switch {
	case destination != "":
		name, above = origin+">"+destination, origin
	case code != "":
		name, above = code, "PK"
	case origin != "PK":
		above = "PK"
	}
	if i, ok := r.index[name]; ok {
		return r.cells[i]
	}
	c := &cell{name: name, parent: -1, shown: map[int]int64{}, beds: map[int]int64{}, moved: map[int]int64{}}
	if above != "" {
		r.cell(above, "", "")
		c.parent = r.index[above]
	}
	r.index[name] = len(r.cells)
	r.cells = append(r.cells, c)
	if c.parent >= 0 {
		parent := r.cells[c.parent]
		parent.parts = append(parent.parts, r.index[name])
	}
	return c
}

// program is a linear program over the cells that are never shown: x ≥ 0, rows of sums.
type program struct {
	variable []int // of a cell; -1 where its count is known
	offset   []float64
	rows     [][]float64
	right    []float64
	columns  int
	sums     *mat.Dense // the rows
	start    []int      // columns of a corner, once one is known
}

// bound works out the least and the most of every cell.
func (r *reading) bound(k int64) error {
	p := r.program(k)
	if r.untold() {
		// Not one figure: no program, since there is no sum to go by. What is in none is 0 at least, and as all together at most.
		for _, c := range r.cells {
			c.high = float64(k - 1)
			if beds, ok := c.beds[1]; ok {
				c.high = float64(beds)
			}
		}
		return nil
	}
	if len(p.right) > 0 {
		p.sums = mat.NewDense(len(p.rows), p.columns, nil)
		for i, row := range p.rows {
			p.sums.SetRow(i, row)
		}
	}
	for i, c := range r.cells {
		at := p.variable[i]
		if at < 0 {
			c.low, c.high = p.offset[i], p.offset[i]
			continue
		}
		least, err := p.solve(at, 1)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		most, err := p.solve(at, -1)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		c.low, c.high = least+p.offset[i], p.offset[i]-most
	}
	return nil
}

// untold says that not one figure of the table was ever told, and none has moved.
func (r *reading) untold() bool {
	return !slices.ContainsFunc(r.cells, func(c *cell) bool {
		return len(c.shown) > 0 || slices.ContainsFunc(r.editions, func(e int) bool { return c.moved[e] != 0 })
	})
}

// program is what the reader knows, in standard form.
func (r *reading) program(k int64) *program {
	p := &program{variable: make([]int, len(r.cells)), offset: make([]float64, len(r.cells))}
	caps := map[int]float64{}
	for i, c := range r.cells {
		p.variable[i] = -1
		known := false
		var least int64
		most := int64(math.MaxInt32)
		for _, e := range r.editions {
			if v, ok := c.shown[e]; ok {
				p.offset[i], known = float64(v-c.moved[e]), true
			}
			least = max(least, -c.moved[e]) // no count is below zero in any edition
			if beds, ok := c.beds[e]; ok && c.parent >= 0 {
				most = min(most, beds-c.moved[e])
			}
		}
		if known {
			continue
		}
		p.variable[i], p.offset[i] = p.columns, float64(least)
		p.columns++
		if c.parent < 0 && len(c.beds) == 0 {
			most = min(most, k-1) // a country is hidden for that alone; that of the beds also where its parts would be known too well
		} else if next, ok := r.smallestShown(c.parent); ok {
			most = min(most, next-1) // what is hidden is smaller than what is shown beside it
		}
		if most < math.MaxInt32 {
			caps[i] = float64(most - least)
		}
	}
	for i, c := range r.cells {
		p.sum(i, c)
	}
	slack := p.columns
	p.columns += len(caps)
	for i := range p.rows {
		p.rows[i] = append(p.rows[i], make([]float64, p.columns-len(p.rows[i]))...)
	}
	for i := range r.cells {
		if most, ok := caps[i]; ok {
			row := make([]float64, p.columns)
			row[p.variable[i]], row[slack] = 1, 1
			p.rows, p.right = append(p.rows, row), append(p.right, most)
			slack++
		}
	}
	return p
}

// smallestShown is the smallest part shown in the first edition.
func (r *reading) smallestShown(parent int) (smallest int64, ok bool) {
	if parent < 0 {
		return 0, false
	}
	for _, i := range r.cells[parent].parts {
		if v, shown := r.cells[i].shown[1]; shown && (!ok || v < smallest) {
			smallest, ok = v, true
		}
	}
	return smallest, ok
}

// sum says that a cell is the sum of its parts, where not all of them are known.
func (p *program) sum(i int, c *cell) {
	row, right, any := make([]float64, p.columns), 0.0, false
	add := func(i int, sign float64) {
		right -= sign * p.offset[i]
		if v := p.variable[i]; v >= 0 {
			row[v], any = sign, true
		}
	}
	for _, part := range c.parts {
		add(part, 1)
	}
	if add(i, -1); any && len(c.parts) > 0 {
		p.rows, p.right = append(p.rows, row), append(p.right, right)
	}
}

// solve is the least of sign × a variable.
func (p *program) solve(variable int, sign float64) (float64, error) {
	goal := make([]float64, p.columns)
	goal[variable] = sign
	least, at, err := lp.Simplex(goal, p.sums, append([]float64(nil), p.right...), 1e-9, p.start)
	if p.start == nil && err == nil {
		p.start = p.basis(at)
	}
	return least, err
}

// basis are the columns of a corner: those that are not zero there, and as many others as there are rows, none of them a sum of others. With it the
// solver need not look for a first corner again.
func (p *program) basis(corner []float64) (columns []int) {
	var reduced [][]float64
	var pivots []int
	try := func(column int) {
		rest := make([]float64, len(p.rows))
		for i, row := range p.rows {
			rest[i] = row[column]
		}
		for i, r := range reduced {
			factor := rest[pivots[i]] / r[pivots[i]]
			for j := range rest {
				rest[j] -= factor * r[j]
			}
		}
		pivot := 0
		for j := range rest {
			if math.Abs(rest[j]) > math.Abs(rest[pivot]) {
				pivot = j
			}
		}
		if math.Abs(rest[pivot]) > 1e-9 {
			columns, reduced, pivots = append(columns, column), append(reduced, rest), append(pivots, pivot)
		}
	}
	for _, zero := range []bool{false, true} {
		for column, x := range corner {
			if (math.Abs(x) < 1e-9) == zero && len(columns) < len(p.rows) {
				try(column)
			}
		}
	}
	return columns
}

// verdict is what the reader found.
type verdict struct {
	cells, hidden, untold int
	narrowest             float64
	faults                []string
}

func (v *verdict) fault(format string, args ...any) {
	if len(v.faults) < 1000 {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// judge reads all files, and says of which hidden figures too much can be known. moved is given to the reader: by how much each cell has
// moved since the first edition of the month.
func (v *verdict) judge(k int64, files [][]byte, moved func(table, cell string, edition int) int64) error {
	tables, err := read(files)
	if err != nil {
		return err
	}
	for table, r := range tables {
		for _, c := range r.cells {
			for _, e := range r.editions {
				c.moved[e] = moved(table, c.name, e)
			}
		}
		v.rules(table, r, k)
		if err := r.bound(k); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
		for _, c := range r.cells {
			v.cells += len(r.editions)
			if c.everHidden {
				v.width(table, r, c, k)
			}
		}
	}
	return nil
}

// width compares the range of a hidden cell with K, or with what everybody knows.
func (v *verdict) width(table string, r *reading, c *cell, k int64) {
	v.hidden++
	width := math.Round(c.high - c.low) // counts are whole
	need := float64(k)
	if beds, ok := c.beds[1]; ok {
		need = min(need, float64(beds))
	}
	if country := r.cells[0]; country.everHidden {
		v.untold++
		if len(c.beds) == 0 {
			width++ // nothing is told of the table, but that all together are fewer than K: 0 to K-1
		}
		if width < need {
			v.fault("%s %s: one of %.0f to %.0f, and nothing is told", table, c.name, c.low, c.high)
		}
		return
	}
	v.narrowest = min(v.narrowest, width+float64(k)-need)
	if width < need {
		v.fault("%s %s: from %.0f to %.0f", table, c.name, c.low, c.high)
	}
}

// rules are those that need no program to be seen.
func (v *verdict) rules(table string, r *reading, k int64) {
	for _, c := range r.cells {
		for i, e := range r.editions {
			value, shown := c.shown[e]
			if shown && value < k {
				v.fault("%s %s: %d is shown in edition %d", table, c.name, value, e)
			}
			if i == 0 || len(c.parts) > 0 {
				continue
			}
			before := r.editions[i-1]
			if away := c.moved[e] - c.moved[before]; away != 0 && max(away, -away) < k {
				v.fault("%s %s: moves by %d in edition %d", table, c.name, away, e)
			}
			if old, was := c.shown[before]; was && shown && value-old != c.moved[e]-c.moved[before] {
				v.fault("%s %s: is said to have moved otherwise", table, c.name)
			}
		}
	}
}
