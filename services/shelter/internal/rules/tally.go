package rules

import (
	"cmp"
	"slices"

	"amanat.example/services/kit/codes"
)

// tally counts the rows of a kind by what time cannot change.
type tally struct {
	rows, suspended int32
	open            []counted // those neither suspended nor declared full
}

// counted is how many rows have these groups open.
type counted struct {
	open uint64
	rows int32
}

// count adds a row, or takes it away.
func (t *tally) count(r *row, sign int32) {
	t.rows += sign
	switch {
	case r.suspended:
		t.suspended += sign
		return
	case r.full != 0:
		return
	}
	i := slices.IndexFunc(t.open, func(c counted) bool { return c.open == r.open })
	if i < 0 {
		t.open = append(t.open, counted{r.open, sign})
		return
	}
	if t.open[i].rows += sign; t.open[i].rows == 0 {
		last := len(t.open) - 1
		t.open[i] = t.open[last]
		t.open = t.open[:last]
	}
}

// ward is the kind's ward in a district, nil for none; -1 is no district.
func (k *kind) ward(district int32) *ward {
	if uint32(district) < uint32(len(k.in)) {
		return k.in[district]
	}
	return nil
}

// add puts a row into its ward.
func (k *kind) add(district int32, r row) {
	w := k.ward(district)
	if w == nil {
		w = &ward{district: district, at: len(k.wards)}
		if n := int(district) + 1; n > len(k.in) {
			k.in = slices.Grow(k.in, n-len(k.in))[:n]
		}
		k.in[district], k.wards = w, append(k.wards, w)
	}
	r.site.ward, r.site.at = w, len(w.rows)
	w.rows = append(w.rows, r)
	w.freshest, k.freshest = max(w.freshest, r.vouched), max(k.freshest, r.vouched)
	k.tally.count(&r, 1)
	if r.full != 0 && !r.suspended {
		k.declared = append(k.declared, r.site)
	}
	if !r.site.own {
		k.heard = slices.Insert(k.heard, k.heardBefore(r.heard+1), r.site)
	}
}

// heardBefore is how many shelters of other nodes were last heard of before a time.
func (k *kind) heardBefore(at int64) int {
	n, _ := slices.BinarySearchFunc(k.heard, at, func(s *site, at int64) int { return cmp.Compare(s.row().heard, at) })
	return n
}

// remove takes a shelter out of its ward.
func (k *kind) remove(s *site) {
	w, gone := s.ward, *s.row()
	if !s.own {
		at := k.heardBefore(gone.heard)
		at += slices.Index(k.heard[at:], s)
		k.heard = slices.Delete(k.heard, at, at+1)
	}
	k.tally.count(&gone, -1)
	k.declared = slices.DeleteFunc(k.declared, func(d *site) bool { return d == s })
	last := len(w.rows) - 1
	moved := w.rows[last]
	w.rows[s.at], moved.site.at = moved, s.at
	w.rows[last] = row{}
	if w.rows = w.rows[:last]; last == 0 {
		k.in[w.district] = nil
		end := k.wards[len(k.wards)-1]
		k.wards[w.at], end.at = end, w.at
		k.wards = slices.Delete(k.wards, len(k.wards)-1, len(k.wards))
	}
	if gone.vouched == w.freshest {
		w.freshest = 0
		for i := range w.rows {
			w.freshest = max(w.freshest, w.rows[i].vouched)
		}
	}
	if gone.vouched == k.freshest {
		k.freshest = 0
		for _, w := range k.wards {
			k.freshest = max(k.freshest, w.freshest)
		}
	}
}

// districts are those in which shelters are or were, numbered in order of first sight, and how they lie to all there are.
type districts struct {
	numbers map[string]int32
	rows    []int              // by number: shelters
	from    map[string]outlook // by district asked for
	nowhere outlook            // for none asked for
	ground  map[string][]int32 // by excluded district: those to keep away from, as keepsAway has them
}

// outlook is how far away districts are.
type outlook struct {
	tens  []int32 // by number: tens of kilometres
	order []int32 // numbers, the nearest first
}

func newDistricts() districts {
	return districts{numbers: map[string]int32{}, from: map[string]outlook{}, ground: map[string][]int32{}}
}

func (d *districts) number(district string) int32 {
	n, ok := d.numbers[district]
	if ok {
		return n
	}
	n = int32(len(d.numbers))
	d.numbers[district], d.rows = n, append(d.rows, 0)
	d.nowhere.add(n, unknown)
	for _, from := range codes.All(codes.District) {
		tens := int32(unknown)
		if km, known := codes.Distance(from.Code, district); known {
			tens = min((km+5)/10, unknown-1)
		}
		o := d.from[from.Code]
		o.add(n, tens)
		d.from[from.Code] = o
	}
	for _, excluded := range codes.Ground(district) { // what has ground in common with a district has it the other way round
		d.ground[excluded] = append(d.ground[excluded], n)
	}
	return n
}

// add enters a district that is so far away.
func (o *outlook) add(district, tens int32) {
	o.tens = append(o.tens, tens)
	at, _ := slices.BinarySearchFunc(o.order, tens+1, func(n, tens int32) int { return int(o.tens[n] - tens) })
	o.order = slices.Insert(o.order, at, district)
}

// outlook is how far the districts are from one.
func (d *districts) outlook(district string) outlook {
	if o, ok := d.from[district]; ok {
		return o
	}
	return d.nowhere
}
