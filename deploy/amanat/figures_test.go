package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	federalv1 "amanat.example/proto/amanat/federal/v1"
)

// Each figure stands in a table of its own, added up over what the table does not tell apart; one without rows is not there.
func TestShowFigures(t *testing.T) {
	f := &federalv1.Figures{
		Total:  &federalv1.FunnelRow{Identified: 203, Referred: 120, Accepted: 100, Arrived: 90, Completed: 40},
		Funnel: []*federalv1.FunnelRow{{Node: "punjab", Identified: 200, Referred: 120, Accepted: 100, Arrived: 90, Completed: 40}, {Node: "sindh", Identified: 3}},
		Trend: []*federalv1.FunnelRow{
			{Month: "2026-01", Node: "punjab", Identified: 150, Referred: 100}, {Month: "2026-01", Node: "sindh", Identified: 3}, {Month: "2026-02", Node: "punjab", Identified: 50, Referred: 20},
		},
		Corridors: []*federalv1.CorridorRow{{FromNode: "punjab", ToNode: "sindh", Referred: 8, Accepted: 7, Dispatched: 6, Arrived: 5, Completed: 4}, {FromNode: "punjab", Referred: 1}},
		Times: []*federalv1.TimeRow{
			{FromStage: 2, ToStage: 3, Flows: 100, P50: durationpb.New(90 * time.Minute), P90: durationpb.New(100 * time.Hour)},
			{FromNode: "punjab", FromStage: 2, ToStage: 3, Flows: 100, P50: durationpb.New(90 * time.Minute), P90: durationpb.New(100 * time.Hour)},
		},
		Declines: []*federalv1.CodeRow{{FromNode: "punjab", ToNode: "sindh", Code: "NO_CAPACITY", Flows: 2}, {FromNode: "sindh", ToNode: "sindh", Code: "NO_CAPACITY", Flows: 3}, {Code: "TOO_FAR", Flows: 1}},
		Outcomes: []*federalv1.CodeRow{{FromNode: "punjab", Code: "REUNIFIED", Flows: 30}, {FromNode: "sindh", Code: "REUNIFIED", Flows: 10}},
		Standing: []*federalv1.StandingRow{{FromNode: "sindh", Stage: 1, Age: 4, Flows: 3}, {FromNode: "punjab", ToNode: "sindh", Stage: 5, Age: 1, Flows: 50}},
		Shelters: []*federalv1.ShelterRow{{Node: "punjab", Free: 14, Day: &federalv1.ShelterDay{Total: 50, OutOfService: 1, Occupied: 30, Held: 5}}},
		Strays:   []*federalv1.StrayRow{{Node: "khyber", Facts: 3}},
	}
	var out strings.Builder
	if err := showFigures(&out, f); err != nil {
		t.Fatal(err)
	}
	want := `persons identified at  identified  referred    accepted    arrived    outcome
punjab                 200         120 (60 %)  100 (50 %)  90 (45 %)  40 (20 %)
sindh                  3           0 (0 %)     0 (0 %)     0 (0 %)    0 (0 %)
all                    203         120 (59 %)  100 (49 %)  90 (44 %)  40 (20 %)

in       identified  referred    accepted  arrived  outcome
2026-01  153         100 (65 %)  0 (0 %)   0 (0 %)  0 (0 %)
2026-02  50          20 (40 %)   0 (0 %)   0 (0 %)  0 (0 %)

from    to     referred  accepted  sent  arrived  outcome
punjab  sindh  8         7         6     5        4
punjab  -      1         0         0     0        0

from      to        how many  half within  nine of ten within
referred  accepted  100       1.5 h        4.2 days

declined by       reason       how often
sindh             NO_CAPACITY  5
agencies outside  TOO_FAR      1

outcome    how many
REUNIFIED  40

stand now at  since            how many
identified    a week or more   3
arrived       less than a day  50

beds now at  all  out of service  occupied  held  free
punjab       50   1               30        5     14

not counted: of flows never handed to  facts
khyber                                 3

`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	out.Reset()
	day := func(told, kept int64) *federalv1.DayRecord {
		return &federalv1.DayRecord{Kept: &federalv1.FlowDay{Facts: kept}, Told: &federalv1.FlowDay{Facts: told}}
	}
	if err := showDays(&out, []*federalv1.DayRecord{day(7, 7), day(2, 3)}); err != nil || !strings.HasPrefix(out.String(), "10 facts; 7 of them compared") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// Days that differ are an error that names each, and what to do; what is under way to be told is none. Figures for programs are one line, the same each time.
func TestFiguresThatAreNotWhole(t *testing.T) {
	day := func(node string, told int64, differs bool) *federalv1.DayRecord {
		d := &federalv1.DayRecord{Node: node, Service: "referral", Kept: &federalv1.FlowDay{Day: "2026-03-02", Facts: 7}, Told: &federalv1.FlowDay{Facts: told}, Asked: 3}
		if differs {
			d.DifferTime = timestamppb.Now()
		}
		return d
	}
	if err := differing([]*federalv1.DayRecord{day("sindh", 6, false), day("punjab", 7, false)}); err != nil {
		t.Error(err)
	}
	err := differing([]*federalv1.DayRecord{day("sindh", 9, true), day("punjab", 7, false), day("khyber", 8, true)})
	if err == nil || !strings.Contains(err.Error(), "referral of sindh told 9 facts of 2026-03-02, and 7 are counted: it was asked again 3 times") ||
		!strings.Contains(err.Error(), "of khyber told 8") || strings.Contains(err.Error(), "punjab") || !strings.Contains(err.Error(), "amanat status") {
		t.Error(err)
	}
	var out strings.Builder
	if err := printJSON(&out, &federalv1.Figures{Name: "figures/all", Strays: []*federalv1.StrayRow{{Node: "khyber"}}}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasSuffix(got, "}\n") || strings.Count(got, "\n") != 1 || strings.Contains(got, ": ") || !strings.Contains(got, `"strays":[{"node":"khyber","facts":"0"}]`) {
		t.Error(got)
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 s", 59 * time.Second: "59.0 s", time.Minute: "1 min", 59 * time.Minute: "59 min", time.Hour: "1.0 h", 47 * time.Hour: "47.0 h", 48 * time.Hour: "2.0 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// Who does not run is said with where it should.
func TestFiguresOfNobody(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	l, err := network.Free(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	refused(t, "the federal service at 127.0.0.1:", "figures", "--data", data)
}
