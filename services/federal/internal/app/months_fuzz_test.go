package app_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fuzztest"
)

// within says what a name that the contract lets through means, by the calendar: whether a month is in its span, and whether it ends before it
// begins.
func within(t *testing.T, name string) (holds func(month string) bool, backward bool) {
	calendar := func(month string) time.Time {
		at, err := time.Parse("2006-01", month)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return at
	}
	months := strings.Split(name[len("figures/"):], "..")
	if months[0] == "all" {
		return func(string) bool { return true }, false
	}
	from, to := calendar(months[0]), calendar(months[len(months)-1])
	return func(month string) bool { return !calendar(month).Before(from) && !calendar(month).After(to) }, to.Before(from)
}

// Whatever stands where the months of figures are named, what the contract lets through counts the months of its span, those alone and each as it
// is counted in all; a span that ends before it begins is refused, and no refusal repeats the name. What the contract holds back does no harm either.
func FuzzMonths(f *testing.F) {
	b := newBench(f)
	b.tell(year()...)
	for n, month := range []int{1, 9, 10, 13, 25} { // from March 2026 on, over the ends of two years
		b.tell(fact(10+n, facts.Identified, "", month*31*24*60))
	}
	all := b.figures("all")
	if len(all.GetTrend()) != 6 {
		f.Fatalf("six months are counted: %v", all.GetTrend())
	}
	for _, name := range []string{
		"figures/all", "figures/2026-03", "figures/2026-01..2026-12", "figures/2026-12..2027-01", "figures/2027-01..2026-12", "figures/2026-03..2026-03",
		"figures/0000-01..9999-12", "figures/2026-00", "figures/2026-03..", "figures/..2026-03", "figures/all..all", "figures/2026-03..2026-04..2026-05",
		"2026-03", "figures/figures/2026-03", "figures/", "", "figures/\xff..\x00", "figures/" + fuzztest.Canary + "..2",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		request := &federalv1.GetFiguresRequest{Name: name}
		got, err := b.GetFigures(t.Context(), request)
		if err != nil && strings.Contains(err.Error(), fuzztest.Canary) {
			t.Errorf("%q is repeated: %v", name, err)
		}
		if protovalidate.Validate(request) != nil {
			return
		}
		holds, backward := within(t, name)
		if backward {
			if fault.ReasonOf(err) != fault.Field {
				t.Errorf("%s ends before it begins: %v", name, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var identified int64
		want := slices.DeleteFunc(slices.Clone(all.GetTrend()), func(row *federalv1.FunnelRow) bool { return !holds(row.GetMonth()) })
		for _, row := range want {
			identified += row.GetIdentified()
		}
		if !slices.EqualFunc(got.GetTrend(), want, func(a, b *federalv1.FunnelRow) bool { return proto.Equal(a, b) }) || got.GetTotal().GetIdentified() != identified {
			t.Errorf("%s: %v of %v, want %d of %v", name, got.GetTotal(), got.GetTrend(), identified, want)
		}
	})
}
