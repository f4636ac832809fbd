package scenario

import (
	"encoding/csv"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"amanat.example/services/kit/codes"
)

// Every row of the data says where it is from and of what year; a number of beds without a figure says what was assumed.
func TestEveryRowSaysItsSource(t *testing.T) {
	for _, name := range []string{"figures.csv", "institutions.csv", "districts.csv"} {
		raw, err := os.Open("data/" + name)
		if err != nil {
			t.Fatal(err)
		}
		reader := csv.NewReader(raw)
		reader.Comment = '#'
		rows, err := reader.ReadAll()
		if err != nil || len(rows) < 20 {
			t.Fatalf("%s: %d rows, %v", name, len(rows), err)
		}
		column := func(row []string, name string) string {
			if i := slices.Index(rows[0], name); i >= 0 {
				return row[i]
			}
			return ""
		}
		for i, row := range rows[1:] {
			if year := column(row, "year"); column(row, "source") == "" || year < "2014" || year > "2025" {
				t.Errorf("%s, row %d: no source, or no year", name, i+1)
			}
			if column(row, "source") == "-" && column(row, "note") == "" && column(row, "figure") != "of" {
				t.Errorf("%s, row %d: neither a source nor a reason", name, i+1)
			}
			if len(column(row, "source")) > 200 {
				t.Errorf("%s, row %d: the source does not fit where a capacity says it", name, i+1)
			}
		}
	}
}

func TestDataIsWhole(t *testing.T) {
	d, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if n := d.of("taken-in", children, "", "") - d.of("taken-in", children, "PK-SD", "") - d.of("taken-in", children, "PK-BA", ""); n != 10140 {
		t.Errorf("the nine cities make %d children, and not 10140", n)
	}
	beds, units := 0, map[string]int{}
	for _, i := range d.institutions {
		if codes.CheckOn(codes.District, i.district, time.Now()) != nil || nodeOf(provinceOf(i.node)) != i.node || d.byCode[i.district].node != i.node {
			t.Errorf("%s: no district of %s", i.id, i.node)
		}
		switch {
		case i.unit:
			units[i.node]++
		case i.node == "punjab" && i.takes == children && i.id != "kasur-children" && i.id != "rajanpur-children":
			beds += i.beds
		}
		if !i.unit && i.beds < 2 {
			t.Errorf("%s has %d beds", i.id, i.beds)
		}
	}
	if beds < 990 || beds > 1010 || units["sindh"] != 30 || units["punjab"] != 12 || units["balochistan"] != 6 {
		t.Errorf("%d beds for the children of Punjab, of which 1000 are published; units %v", beds, units)
	}
	for name, k := range kinds {
		for _, c := range k.codes {
			if err := codes.Check(codes.Exploitation, c.code); err != nil {
				t.Errorf("kind %s: %v", name, err)
			}
		}
		if sum := k.risk[0] + k.risk[1] + k.risk[2]; sum < 0.999 || sum > 1.001 || strings.TrimSpace(k.tell[sindhi]) == "" {
			t.Errorf("kind %s: risks make %v, or nothing is told", name, sum)
		}
	}
	for _, f := range d.figures {
		if _, known := kinds[f.kind]; f.name == "kind" && !known {
			t.Errorf("figure of the unknown kind %q", f.kind)
		}
	}
}

// Shares are whole, and less than one off.
func TestApportion(t *testing.T) {
	for whole := range 200 {
		weights := []float64{2962, 1295, 1345, 1219, 890, 798, 1023, 390, 218, 0}
		sum := 0
		for i, n := range apportion(whole, weights) {
			exact := float64(whole) * weights[i] / 10140
			if sum += n; float64(n) <= exact-1 || float64(n) >= exact+1 {
				t.Errorf("%d of %d for %v", n, whole, exact)
			}
		}
		if sum != whole {
			t.Errorf("%d were shared out as %d", whole, sum)
		}
	}
	if got := apportion(5, []float64{0, 0}); !slices.Equal(got, []int{0, 0}) {
		t.Errorf("nothing to share by: %v", got)
	}
}
