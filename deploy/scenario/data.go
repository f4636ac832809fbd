package scenario

import (
	"bytes"
	"embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"amanat.example/services/kit/codes"
)

//go:embed data/*.csv
var files embed.FS

// Who a figure counts.
const (
	children = "children" // below 18, without a mother
	women    = "women"    // with the small children they have with them
)

// figure is a published number, or what stands in for it.
type figure struct {
	name, who, place, kind string
	value, year            int
	source, note           string // source `-`: none is published
}

// district is where people are found and live.
type district struct {
	code, node, name string
	people           int
	languages        []string
}

// institution is a unit, or a place to stay.
type institution struct {
	unit                            bool
	node, id, name, district, takes string
	beds, stay, year                int
	source                          string
}

// part is a part of a name in roman, Urdu and Sindhi letters.
type part struct {
	written          [3]string
	where, community string
}

// published is all that lies in the data files.
type published struct {
	figures      []figure
	districts    []district
	byCode       map[string]district
	institutions []institution
	names        map[string][]part
}

// Nodes of the provinces, in the order in which figures are shown.
var provinces = []struct{ node, code, letter string }{{"sindh", "PK-SD", "s"}, {"punjab", "PK-PB", "p"}, {"balochistan", "PK-BA", "b"}}

func nodeOf(province string) string {
	for _, p := range provinces {
		if p.code == province {
			return p.node
		}
	}
	return ""
}

func provinceOf(node string) string {
	for _, p := range provinces {
		if p.node == node {
			return p.code
		}
	}
	return ""
}

// load reads the data files once.
var load = sync.OnceValues(func() (*published, error) {
	d := &published{byCode: map[string]district{}, names: map[string][]part{}}
	var fault error
	number := func(text string) int {
		if text == "" {
			return 0
		}
		n, err := strconv.Atoi(text)
		if err != nil && fault == nil {
			fault = fmt.Errorf("scenario: data: %w", err)
		}
		return n
	}
	each := func(name string, take func(row []string)) {
		raw, err := files.ReadFile("data/" + name)
		if err == nil {
			reader := csv.NewReader(bytes.NewReader(raw))
			reader.Comment = '#'
			var rows [][]string
			if rows, err = reader.ReadAll(); err == nil {
				for _, row := range rows[1:] {
					take(row)
				}
			}
		}
		if err != nil && fault == nil {
			fault = fmt.Errorf("scenario: %s: %w", name, err)
		}
	}
	each("figures.csv", func(r []string) {
		d.figures = append(d.figures, figure{r[0], r[1], r[2], r[3], number(r[4]), number(r[5]), r[6], r[7]})
	})
	each("districts.csv", func(r []string) {
		entry, ok := codes.Find(codes.District, r[0])
		if !ok {
			fault = fmt.Errorf("scenario: districts.csv: %q is not a district", r[0])
			return
		}
		one := district{r[0], nodeOf(entry.Province), entry.Labels[codes.English], number(r[1]), strings.Fields(r[2])}
		d.districts, d.byCode[one.code] = append(d.districts, one), one
	})
	each("institutions.csv", func(r []string) {
		d.institutions = append(d.institutions, institution{r[0] == "unit", r[1], r[2], r[3], r[4], r[5], number(r[6]), number(r[7]), number(r[8]), r[9]})
	})
	each("names.csv", func(r []string) {
		d.names[r[0]] = append(d.names[r[0]], part{[3]string{r[1], r[2], r[3]}, r[4], r[5]})
	})
	return d, fault
})

// of is the sum of figures; an empty kind or place stands for any.
func (d *published) of(name, who, place, kind string) (sum int) {
	for _, f := range d.figures {
		if f.name == name && f.who == who && (place == "" || f.place == place) && (kind == "" || f.kind == kind) {
			sum += f.value
		}
	}
	return sum
}

// source says where a figure is from; `-` where it stands in for one that is not published.
func (d *published) source(name, who, place string) string {
	i := slices.IndexFunc(d.figures, func(f figure) bool { return f.name == name && f.who == who && f.place == place })
	if i < 0 {
		return ""
	}
	return d.figures[i].source
}

// female is the share of women and girls of the victims of the country, of the newest year that says it.
func (d *published) female() (share float64, source string) {
	newest := figure{}
	for _, f := range d.figures {
		if f.name == "female" && f.year > newest.year {
			newest = f
		}
	}
	for _, f := range d.figures {
		if f.name == "identified" && f.year == newest.year {
			share = float64(newest.value) / float64(f.value)
		}
	}
	return share, newest.source
}

// returned is the share of the children of a province who go back to their parents.
func (d *published) returned(province string) float64 {
	return float64(d.of("returned", children, province, "")) / float64(d.of("of", children, province, ""))
}

// in are the districts of a node.
func (d *published) in(node string) (all []district) {
	for _, one := range d.districts {
		if one.node == node {
			all = append(all, one)
		}
	}
	return all
}
