package codes

import (
	"slices"
	"sync"
)

// grounds are, by district, the districts that have or had ground in common with it.
var grounds = sync.OnceValue(func() map[string][]string {
	after := map[string][]string{} // what was carved out of a district, or came in its place
	for _, d := range All(District) {
		if d.Predecessor != "" {
			after[d.Predecessor] = append(after[d.Predecessor], d.Code)
		}
		after[d.Code] = append(after[d.Code], d.Successors...)
	}
	before := map[string][]string{}
	for from, all := range after {
		for _, to := range all {
			before[to] = append(before[to], from)
		}
	}
	grounds := map[string][]string{}
	for _, d := range All(District) {
		all := reach(before, d.Code, reach(after, d.Code, nil))
		slices.Sort(all)
		grounds[d.Code] = slices.Compact(all)
	}
	return grounds
})

// reach adds a district and all that lies in one direction of it.
func reach(next map[string][]string, from string, all []string) []string {
	all = append(all, from)
	for _, to := range next[from] {
		if !slices.Contains(all, to) {
			all = reach(next, to, all)
		}
	}
	return all
}

// Ground answers the districts that have or had ground in common with this one, itself included: those carved out of it, those
// that came in its place, those it was carved from or came in place of, and theirs in turn. Who wrote Lasbela may have meant its old
// border, with Hub in it; and who wrote Hub, where Lasbela now ends. Two parts of one old district have no ground in common.
// A code that is no district answers itself. The caller must not change the answer.
func Ground(district string) []string {
	if all, ok := grounds()[district]; ok {
		return all
	}
	return []string{district}
}
