package rules_test

import (
	"fmt"
	"testing"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/kit/facts"
)

// figures are those of one table as they are published: by what they are of, a number or c.
func figures(m *federalv1.FrozenMonth, table string) map[string]string {
	p := &federalv1.Publication{}
	rules.Published.Tell(m, p)
	all := map[string]string{}
	for _, t := range p.GetTables() {
		for _, c := range t.GetCells() {
			if t.GetTable() == table {
				value := "c"
				if !c.GetHidden() {
					value = fmt.Sprint(c.GetValue())
				}
				all[c.GetOrigin()+">"+c.GetDestination()+" "+c.GetCode()] = value
			}
		}
	}
	return all
}

// took are leaves of n flows from Punjab that were accepted after 1 hour and a half, 2 hours and a half and so on.
func took(n int) (leaves []rules.Leaf) {
	for i := range n {
		d := time.Duration(i+1)*time.Hour + 30*time.Minute
		leaves = append(leaves, rules.Leaf{Table: rules.TableTimeToAccept, Path: []string{"PK-PB", rules.Bucket(d)}, Value: 1})
	}
	return leaves
}

func accepted(n int64) []rules.Leaf {
	return []rules.Leaf{
		{Table: rules.TableAccepted, Path: []string{"PK-PB", "PK-SD"}, Value: n}, {Table: rules.TableAccepted, Path: []string{"PK-SD", "PK-PB"}, Value: 90},
	}
}

// A time is told only where K flows took shorter and K longer, and the count of the flows is told too.
func TestTimesAreToldOfManyAlone(t *testing.T) {
	for _, c := range []struct {
		count     int64
		took      int
		half, ten string
	}{
		{21, 21, "c", "c"}, {22, 22, "12", "c"}, {109, 109, "55", "c"}, {110, 110, "55", "101"}, // the 55th took 55 hours and a half: near enough
		{500, 21, "c", "c"}, // of the others it is not known when they began
		{10, 200, "c", "c"},
	} {
		m := rules.Published.FirstEdition([]string{"PK-PB", "PK-SD"}, append(accepted(c.count), took(c.took)...))
		got := figures(m, rules.TableTimeToAccept)
		if got["PK-PB> P50"] != c.half || got["PK-PB> P90"] != c.ten {
			t.Errorf("%d accepted, %d times: P50 %s, P90 %s, want %s, %s", c.count, c.took, got["PK-PB> P50"], got["PK-PB> P90"], c.half, c.ten)
		}
		if got["PK-SD> P50"] != "c" {
			t.Errorf("Sindh, of which no times are known: %s", got["PK-SD> P50"])
		}
	}
}

// Nor is it told where the count is hidden since another is small.
func TestTimesAreToldOnlyWithTheirCount(t *testing.T) {
	leaves := append(took(200), rules.Leaf{Table: rules.TableAccepted, Path: []string{"PK-PB", "PK-SD"}, Value: 200})
	m := rules.Published.FirstEdition([]string{"PK-PB", "PK-SD"}, append(leaves, rules.Leaf{Table: rules.TableAccepted, Path: []string{"PK-SD", "PK-SD"}, Value: 1}))
	if count, half := figures(m, rules.TableAccepted)["PK-PB> "], figures(m, rules.TableTimeToAccept)["PK-PB> P50"]; count != "c" || half != "c" {
		t.Errorf("count %s, P50 %s", count, half)
	}
}

// In a later edition a time stays what it is until K more flows are known, or K fewer.
func TestTimesMoveByManyAlone(t *testing.T) {
	provinces := []string{"PK-PB", "PK-SD"}
	long := func(n int64) []rules.Leaf {
		bucket := rules.Bucket(1000 * time.Hour)
		return append(append(accepted(40+n), took(40)...), rules.Leaf{Table: rules.TableTimeToAccept, Path: []string{"PK-PB", bucket}, Value: n})
	}
	m := rules.Published.FirstEdition(provinces, long(0))
	first := figures(m, rules.TableTimeToAccept)["PK-PB> P50"]
	if rules.Published.NextEdition(m, long(10)); figures(m, rules.TableTimeToAccept)["PK-PB> P50"] != first {
		t.Error("ten more flows have moved it")
	}
	if rules.Published.NextEdition(m, long(11)); figures(m, rules.TableTimeToAccept)["PK-PB> P50"] == first {
		t.Error("eleven more flows have not moved it")
	}
}

// What is in no list counts as something that is, and what can be nowhere does not count.
func TestWhereALeafCounts(t *testing.T) {
	provinces := []string{"PK-PB", "PK-SD"}
	m := rules.Published.FirstEdition(provinces, []rules.Leaf{
		{Table: rules.TableReferred, Path: []string{"PK-PB", "PK-KP"}, Value: 20}, // Khyber Pakhtunkhwa has no node
		{Table: rules.TableReferred, Path: []string{"PK-PB", "PK-PB"}, Value: 21},
		{Table: rules.TableReferred, Path: []string{"PK-PB", "PK-SD"}, Value: 22},
		{Table: rules.TableReferred, Path: []string{"PK-KP", "PK-SD"}, Value: 1000},
		{Table: rules.TableReferred, Path: []string{"PK-SD", "PK-SD"}, Value: 200},
		{Table: rules.TableReferred, Path: []string{"PK-PB"}, Value: 1000}, // nowhere
		{Table: rules.TableDeclines, Path: []string{"TOMORROWS_CODE"}, Value: 30},
		{Table: rules.TableDeclines, Path: []string{"OTHER"}, Value: 31},
		{Table: rules.TableDeclines, Path: []string{facts.Unanswered}, Value: 500},
		{Table: "tomorrows_table", Path: []string{"PK-PB"}, Value: 500},
	})
	for where, want := range map[string]string{
		"PK> ": "263", "PK-PB> ": "63", "PK-PB>OUTSIDE ": "20", "PK-PB>PK-PB ": "21", "PK-PB>PK-SD ": "22", "PK-SD> ": "200",
	} {
		if got := figures(m, rules.TableReferred)[where]; got != want {
			t.Errorf("referred %s: %s, want %s", where, got, want)
		}
	}
	for where, want := range map[string]string{"PK> ": "561", "PK> OTHER": "c", "PK> UNANSWERED": "500", "PK> NO_CAPACITY": "c"} {
		if got := figures(m, rules.TableDeclines)[where]; got != want {
			t.Errorf("declines %s: %s, want %s", where, got, want)
		}
	}
}

// What a count adds to which table.
func TestLeavesOfCounts(t *testing.T) {
	province := func(node string) string {
		return map[string]string{"lahore": "PK-PB", "karachi": "PK-SD"}[node]
	}
	for _, c := range []struct{ figure, detail, to, want string }{
		{rules.FigureStage, facts.Identified, "", "identified [PK-PB]"},
		{rules.FigureStage, facts.Referred, "karachi", "referred [PK-PB PK-SD]"},
		{rules.FigureStage, facts.Accepted, "", "accepted [PK-PB OUTSIDE]"},
		{rules.FigureStage, facts.Arrived, "a-node-that-left", "arrived [PK-PB OUTSIDE]"},
		{rules.FigureStage, facts.Completed, "lahore", "completed [PK-PB PK-PB]"},
		{rules.FigureStage, facts.Dispatched, "karachi", ""},
		{rules.FigureDecline, "TOO_FAR", "karachi", "declines [TOO_FAR]"},
		{rules.FigureOutcome, "REUNIFIED", "karachi", "outcomes [REUNIFIED]"},
		{rules.FigureService, "LEGAL", "karachi", "services [LEGAL]"},
		{"took/REFERRED/ACCEPTED", "0123", "karachi", "time_to_accept [PK-PB 0123]"},
		{"took/REFERRED/ARRIVED", "0123", "karachi", "time_to_arrive [PK-PB 0123]"},
		{"took/ACCEPTED/ARRIVED", "0123", "karachi", ""},
		{rules.FigureEnded, facts.NoShow, "karachi", ""},
	} {
		leaf, ok := rules.LeafOf(&federalv1.Count{Figure: c.figure, Detail: c.detail, FromNode: "lahore", ToNode: c.to, Value: 7}, province)
		got := ""
		if ok {
			got = fmt.Sprint(leaf.Table, " ", leaf.Path)
		}
		if got != c.want || ok && leaf.Value != 7 {
			t.Errorf("%s %s: %q %d, want %q", c.figure, c.detail, got, leaf.Value, c.want)
		}
	}
}
