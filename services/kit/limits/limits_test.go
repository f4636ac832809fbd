package limits_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/limits"
)

const (
	header = "id,province,district,event,step,limit,law,section,source\n"
	byRisk = "risk,acknowledge,answer,seen,follow_up,law,source\n"
)

func parse(t *testing.T, laws string) *limits.Table {
	t.Helper()
	table, err := limits.Parse("", nil, "laws.csv", []byte(header+laws))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// The embedded tables hold what the field's page says.
func TestDefault(t *testing.T) {
	table := limits.Default()
	high := table.ByRisk(custodyv1.Urgency_URGENCY_HIGH, limits.Place{Province: "PK-BA"})
	if high != (limits.Limit{Acknowledge: time.Hour, Answer: 3 * time.Hour, Seen: 24 * time.Hour, FollowUp: 7 * 24 * time.Hour}) {
		t.Errorf("high risk: %+v", high)
	}
	if unknown := table.ByRisk(99, limits.Place{}); unknown != high {
		t.Errorf("a risk nobody knows is not high: %+v", unknown)
	}
	for name, c := range map[string]struct {
		event string
		at    limits.Place
		want  map[string]time.Duration
	}{
		"Lahore, intake":       {limits.EventIntake, limits.Place{Province: "PK-PB", District: "PK617"}, map[string]time.Duration{"COURT_PRODUCTION": 24 * time.Hour}},
		"Islamabad, intake":    {limits.EventIntake, limits.Place{Province: "PK-IS"}, map[string]time.Duration{"ASSESSMENT": 30 * 24 * time.Hour}},
		"Quetta, intake":       {limits.EventIntake, limits.Place{Province: "PK-BA", District: "PK226"}, map[string]time.Duration{"MOVE_ON": 72 * time.Hour}},
		"Hub, intake":          {limits.EventIntake, limits.Place{Province: "PK-BA", District: "PK-BA-HUB"}, map[string]time.Duration{}},
		"Sindh, missing":       {limits.EventMissing, limits.Place{Province: "PK-SD"}, map[string]time.Duration{"FIR": 2 * time.Hour, "ALERT": 2 * time.Hour}},
		"Sindh, safe house":    {limits.EventSafeHouse, limits.Place{Province: "PK-SD"}, map[string]time.Duration{"MOVE_ON": 48 * time.Hour, "COURT_ORDER": 24 * time.Hour}},
		"Punjab, Dar-ul-Aman":  {limits.EventDarUlAman, limits.Place{Province: "PK-PB"}, map[string]time.Duration{"MEDICAL_AND_PSYCHOSOCIAL": 14 * 24 * time.Hour}},
		"Sindh, the risk step": {limits.EventStep, limits.Place{Province: "PK-SD"}, map[string]time.Duration{}},
	} {
		got := table.From(c.event, c.at)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v", name, got)
		}
		for _, l := range got {
			if c.want[l.Step] != l.Limit {
				t.Errorf("%s: %s is %v, want %v", name, l.Step, l.Limit, c.want[l.Step])
			}
		}
	}
}

// Of a law and a limit by risk for one step the stricter applies, whichever it is.
func TestTheStricterApplies(t *testing.T) {
	table := parse(t, "sooner,PK-SD,,step,ANSWER,1h,A law,s. 1,S\nlater,PK-SD,,step,SERVE,9d,A law,s. 2,S\n")
	got := table.ByRisk(custodyv1.Urgency_URGENCY_HIGH, limits.Place{Province: "PK-SD"})
	if got.Answer != time.Hour || got.Seen != 24*time.Hour {
		t.Errorf("in Sindh: %+v", got)
	}
	if elsewhere := table.ByRisk(custodyv1.Urgency_URGENCY_HIGH, limits.Place{Province: "PK-PB"}); elsewhere.Answer != 3*time.Hour {
		t.Errorf("in Punjab: %+v", elsewhere)
	}
	if own := limits.Default().ByRisk(custodyv1.Urgency_URGENCY_HIGH, limits.Place{Province: "PK-SD"}); own.Answer != 3*time.Hour {
		t.Errorf("asking changed the table: %+v", own)
	}
}

func TestRefused(t *testing.T) {
	const good = "a-rule,PK-PB,,intake,FIR,4h,A law,s. 1,S\n"
	laws := map[string]struct{ content, want string }{
		"no source":         {header + "a-rule,PK-PB,,intake,FIR,4h,A law,s. 1,\n", "laws.csv:2:40: source"},
		"an unknown source": {header + "a-rule,PK-PB,,intake,FIR,4h,A law,s. 1,hearsay\n", "laws.csv:2:40: source"},
		"no law":            {header + "# why\n" + good + "b-rule,PK-PB,,intake,FIR,4h, ,,S\n", "laws.csv:4:29: law"},
		"no limit":          {header + "a-rule,PK-PB,,intake,FIR,,A law,,S\n", "laws.csv:2:26: limit"},
		"a limit of zero":   {header + "a-rule,PK-PB,,intake,FIR,0h,A law,,S\n", "laws.csv:2:26: limit"},
		"a limit of years":  {header + "a-rule,PK-PB,,intake,FIR,367d,A law,,S\n", "laws.csv:2:26: limit"},
		"a limit of words":  {header + "a-rule,PK-PB,,intake,FIR,soon,A law,,S\n", "laws.csv:2:26: limit"},
		"too large a limit": {header + "a-rule,PK-PB,,intake,FIR,99999999999999999999d,A law,,S\n", "laws.csv:2:26: limit"},
		"no province":       {header + "a-rule,PK-XX,,intake,FIR,4h,A law,,S\n", "laws.csv:2:8: province"},
		"another's place":   {header + "a-rule,PK-PB,PK226,intake,FIR,4h,A law,,S\n", "laws.csv:2:14: district"},
		"no event":          {header + "a-rule,PK-PB,,birth,FIR,4h,A law,,S\n", "laws.csv:2:15: event"},
		"no step":           {header + "a-rule,PK-PB,,intake,DANCE,4h,A law,,S\n", "laws.csv:2:22: step"},
		"no step of risk":   {header + "a-rule,PK-PB,,step,FIR,4h,A law,,S\n", "laws.csv:2:20: step"},
		"no id":             {header + ",PK-PB,,intake,FIR,4h,A law,,S\n", "laws.csv:2:1: id"},
		"an id twice":       {header + good + good, "laws.csv:3:1: id"},
		"a column short":    {header + "a-rule,PK-PB,,intake,FIR,4h,A law,s. 1\n", "laws.csv:2:1: must have 9 columns"},
		"an open quote":     {header + "a-rule,\"PK-PB,,intake\n", "laws.csv:2:"},
		"other columns":     {"id,limit\na,4h\n", "laws.csv:1:1: the first line"},
		"nothing":           {"", "laws.csv:1:1: the first line"},
		"no text":           {header + "a-rule,\xff", "laws.csv: must be UTF-8"},
	}
	for name, c := range laws {
		_, err := limits.Parse("", nil, "laws.csv", []byte(c.content))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s…", name, err, c.want)
		}
	}
	for name, c := range map[string]struct{ content, want string }{
		"a risk twice":   {byRisk + "high,1h,3h,24h,7d,We,P\nhigh,1h,3h,24h,7d,We,P\n", "risk.csv:3:1: risk"},
		"no risk":        {byRisk + "huge,1h,3h,24h,7d,We,P\n", "risk.csv:2:1: risk"},
		"a risk missing": {byRisk + "high,1h,3h,24h,7d,We,P\n", "risk.csv: must have a row for each"},
		"no source":      {byRisk + "high,1h,3h,24h,7d,We,\n", "risk.csv:2:22: source"},
		"no limit":       {byRisk + "high,1h,3h,24h,,We,P\n", "risk.csv:2:16: follow_up"},
	} {
		_, err := limits.Parse("risk.csv", []byte(c.content), "", nil)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s…", name, err, c.want)
		}
	}
}

// Whatever the rows, a place gets one limit for a step, and none that holds there is stricter.
func TestStrictest(t *testing.T) {
	provinces, steps := codes.All(codes.Province), codes.All(codes.Deadline)
	rapid.Check(t, func(r *rapid.T) {
		table := &limits.Table{Risks: limits.Default().Risks}
		for i := range rapid.IntRange(0, 20).Draw(r, "rows") {
			table.Laws = append(table.Laws, limits.Legal{
				ID: string(rune('a' + i)), Event: limits.EventIntake, Limit: time.Duration(rapid.IntRange(1, 9).Draw(r, "hours")) * time.Hour,
				Province: rapid.SampledFrom([]string{"", "PK-PB", "PK-SD"}).Draw(r, "province"), Step: steps[rapid.IntRange(0, 3).Draw(r, "step")].Code,
			})
		}
		at := limits.Place{Province: provinces[rapid.IntRange(0, len(provinces)-1).Draw(r, "at")].Code}
		seen := map[string]time.Duration{}
		for _, l := range table.From(limits.EventIntake, at) {
			if _, twice := seen[l.Step]; twice {
				r.Fatalf("two limits for %s", l.Step)
			}
			seen[l.Step] = l.Limit
		}
		for _, l := range table.Laws {
			if (l.Province == "" || l.Province == at.Province) && (seen[l.Step] == 0 || seen[l.Step] > l.Limit) {
				r.Fatalf("%s has %v, and %v holds there", l.Step, seen[l.Step], l.Limit)
			}
		}
	})
}

// No content, however broken, does more than be refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(header + "a-rule,PK-PB,,intake,FIR,4h,A law,s. 1,S\n"))
	f.Add([]byte(byRisk))
	f.Fuzz(func(t *testing.T, content []byte) {
		if table, err := limits.Parse("r.csv", nil, "l.csv", content); err == nil {
			for _, l := range table.Laws {
				if l.Limit <= 0 || l.Law == "" || l.Source == "" {
					t.Fatalf("taken: %+v", l)
				}
			}
		}
		_, _ = limits.Parse("r.csv", content, "l.csv", nil)
	})
}
