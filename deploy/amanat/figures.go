package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"amanat.example/deploy/network"
	federalv1 "amanat.example/proto/amanat/federal/v1"
)

// figures shows what the federal cell counts.
func figures() *cobra.Command {
	var data string
	var asJSON bool
	c := &cobra.Command{
		Use:   "figures [MONTHS]",
		Short: "Say what became of those identified, as the federal cell counts it",
		Long: "Ask the federal service, which must run, for its operational figures: of those identified how many were referred, accepted, arrived and\n" +
			"have an outcome, by node and month; corridors; how long it took; who declined and why; who stands where, and for how long; beds.\n" +
			"MONTHS is one month, such as 2026-03, or a span, such as 2026-01..2026-06; all there are without it.\n" +
			"Exit code 1: a service of a province has told something else than is counted, so the figures are not whole.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := network.Load(data)
			if err != nil {
				return err
			}
			months := "all"
			if len(args) > 0 {
				months = args[0]
			}
			f, err := l.Figures(cmd.Context(), months)
			var days []*federalv1.DayRecord
			if err == nil {
				days, err = l.Days(cmd.Context())
			}
			if err != nil {
				return fmt.Errorf("the federal service at %s does not say: %w", l.Address(network.FederalNode, network.Federal), err)
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), f)
			} else {
				err = errors.Join(showFigures(cmd.OutOrStdout(), f), showDays(cmd.OutOrStdout(), days))
			}
			return errors.Join(err, differing(days))
		},
	}
	dataFlag(c, &data)
	c.Flags().BoolVar(&asJSON, "json", false, "print the figures as one JSON object")
	return c
}

// differing says which days are not whole, and what to do about it.
func differing(days []*federalv1.DayRecord) (err error) {
	for _, d := range days {
		if d.GetDifferTime() != nil {
			err = errors.Join(err, fmt.Errorf("%s of %s told %d facts of %s, and %d are counted: it was asked again %d times, and is until both are the same; "+
				"if that lasts, look at its links with amanat status", d.GetService(), d.GetNode(), d.GetTold().GetFacts(), d.GetKept().GetDay(), d.GetKept().GetFacts(), d.GetAsked()))
		}
	}
	return err
}

// printJSON prints on one line. protojson changes its spaces from one program to the next.
func printJSON(out io.Writer, f *federalv1.Figures) error {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(f)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(json.RawMessage(raw))
}

// showFigures prints one table below the other, for people.
func showFigures(out io.Writer, f *federalv1.Figures) error {
	var err error
	show := func(head []string, rows func(row func(cells ...any))) {
		t := &table{}
		t.row(false, head...)
		rows(func(cells ...any) {
			var texts []string
			for _, c := range cells {
				texts = append(texts, fmt.Sprint(c))
			}
			t.row(false, texts...)
		})
		if len(t.lines) > 1 {
			t.row(false, "")
			err = errors.Join(err, t.print(out))
		}
	}
	funnel := func(row func(cells ...any), what string, r *federalv1.FunnelRow) {
		row(what, r.GetIdentified(), share(r.GetReferred(), r.GetIdentified()), share(r.GetAccepted(), r.GetIdentified()),
			share(r.GetArrived(), r.GetIdentified()), share(r.GetCompleted(), r.GetIdentified()))
	}
	stages := []string{"identified", "referred", "accepted", "arrived", "outcome"}
	show(append([]string{"persons identified at"}, stages...), func(row func(cells ...any)) {
		for _, r := range f.GetFunnel() {
			funnel(row, r.GetNode(), r)
		}
		funnel(row, "all", f.GetTotal())
	})
	show(append([]string{"in"}, stages...), func(row func(cells ...any)) {
		for _, r := range byMonth(f.GetTrend()) {
			funnel(row, r.GetMonth(), r)
		}
	})
	show([]string{"from", "to", "referred", "accepted", "sent", "arrived", "outcome"}, func(row func(cells ...any)) {
		for _, r := range f.GetCorridors() {
			row(r.GetFromNode(), cmp.Or(r.GetToNode(), "-"), r.GetReferred(), r.GetAccepted(), r.GetDispatched(), r.GetArrived(), r.GetCompleted())
		}
	})
	show([]string{"from", "to", "how many", "half within", "nine of ten within"}, func(row func(cells ...any)) {
		for _, r := range f.GetTimes() {
			if r.GetFromNode() == "" {
				row(stageName(r.GetFromStage()), stageName(r.GetToStage()), r.GetFlows(), span(r.GetP50().AsDuration()), span(r.GetP90().AsDuration()))
			}
		}
	})
	show([]string{"declined by", "reason", "how often"}, func(row func(cells ...any)) {
		for _, r := range merged(f.GetDeclines(), (*federalv1.CodeRow).GetToNode) {
			row(cmp.Or(r.GetToNode(), "agencies outside"), r.GetCode(), r.GetFlows())
		}
	})
	none := func(*federalv1.CodeRow) string { return "" }
	for _, codes := range []struct {
		what string
		rows []*federalv1.CodeRow
	}{{"outcome", f.GetOutcomes()}, {"service given", f.GetServices()}, {"no outcome, or did not come", f.GetEnded()}} {
		show([]string{codes.what, "how many"}, func(row func(cells ...any)) {
			for _, r := range merged(codes.rows, none) {
				row(r.GetCode(), r.GetFlows())
			}
		})
	}
	show([]string{"stand now at", "since", "how many"}, func(row func(cells ...any)) {
		for _, r := range standing(f.GetStanding()) {
			row(stageName(r.GetStage()), ageNames[r.GetAge()], r.GetFlows())
		}
	})
	show([]string{"beds now at", "all", "out of service", "occupied", "held", "free"}, func(row func(cells ...any)) {
		for _, r := range f.GetShelters() {
			d := r.GetDay()
			row(r.GetNode(), d.GetTotal(), d.GetOutOfService(), d.GetOccupied(), d.GetHeld(), r.GetFree())
		}
	})
	show([]string{"not counted: of flows never handed to", "facts"}, func(row func(cells ...any)) {
		for _, r := range f.GetStrays() {
			row(r.GetNode(), r.GetFacts())
		}
	})
	return err
}

// showDays says how much of it is known to be whole. Facts that came since their day was told last are not compared yet.
func showDays(out io.Writer, days []*federalv1.DayRecord) error {
	var kept, whole int64
	for _, d := range days {
		kept += d.GetKept().GetFacts()
		if network.Whole(d) {
			whole += d.GetKept().GetFacts()
		}
	}
	_, err := fmt.Fprintf(out, "%d facts; %d of them compared with what the provinces say they told, to the last one\n", kept, whole)
	return err
}

// share is a number and which part of all it is.
func share(n, of int64) string {
	if of == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d (%d %%)", n, (100*n+of/2)/of)
}

func stageName(s federalv1.Stage) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STAGE_"))
}

var ageNames = map[federalv1.LateAge]string{
	federalv1.LateAge_LATE_AGE_UNDER_A_DAY: "less than a day", federalv1.LateAge_LATE_AGE_UNDER_THREE_DAYS: "one day to three",
	federalv1.LateAge_LATE_AGE_UNDER_A_WEEK: "three days to a week", federalv1.LateAge_LATE_AGE_A_WEEK_OR_MORE: "a week or more",
}

// span says how long something took, roughly.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}

// byMonth adds up all nodes of a month. Rows come in order of month.
func byMonth(rows []*federalv1.FunnelRow) (all []*federalv1.FunnelRow) {
	for _, r := range rows {
		if len(all) == 0 || all[len(all)-1].GetMonth() != r.GetMonth() {
			all = append(all, &federalv1.FunnelRow{Month: r.GetMonth()})
		}
		sum := all[len(all)-1]
		sum.Identified, sum.Referred, sum.Accepted = sum.GetIdentified()+r.GetIdentified(), sum.GetReferred()+r.GetReferred(), sum.GetAccepted()+r.GetAccepted()
		sum.Arrived, sum.Completed = sum.GetArrived()+r.GetArrived(), sum.GetCompleted()+r.GetCompleted()
	}
	return all
}

// merged adds up rows of one node, as of says, and code, in the order in which they come first.
func merged(rows []*federalv1.CodeRow, of func(*federalv1.CodeRow) string) (all []*federalv1.CodeRow) {
	at := map[[2]string]*federalv1.CodeRow{}
	for _, r := range rows {
		k := [2]string{of(r), r.GetCode()}
		if at[k] == nil {
			at[k] = &federalv1.CodeRow{ToNode: k[0], Code: k[1]}
			all = append(all, at[k])
		}
		at[k].Flows += r.GetFlows()
	}
	return all
}

// standing adds up all corridors.
func standing(rows []*federalv1.StandingRow) (all []*federalv1.StandingRow) {
	for stage := federalv1.Stage_STAGE_IDENTIFIED; stage <= federalv1.Stage_STAGE_COMPLETED; stage++ {
		for age := federalv1.LateAge_LATE_AGE_UNDER_A_DAY; age <= federalv1.LateAge_LATE_AGE_A_WEEK_OR_MORE; age++ {
			sum := &federalv1.StandingRow{Stage: stage, Age: age}
			for _, r := range rows {
				if r.GetStage() == stage && r.GetAge() == age {
					sum.Flows += r.GetFlows()
				}
			}
			if sum.GetFlows() > 0 {
				all = append(all, sum)
			}
		}
	}
	return all
}
