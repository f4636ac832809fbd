package sheets_test

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/app/sheets"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/soaktest"
)

// country is a random country in a month: its true counts, as they become known.
type country struct {
	random    *rand.Rand
	provinces []string
	leaves    []rules.Leaf
}

var allProvinces = []string{"PK-BA", "PK-GB", "PK-IS", "PK-JK", "PK-KP", "PK-PB", "PK-SD"}

// newCountry has some provinces of very different size: some have a case in two months, others hundreds in one. Balochistan had 69 in a year.
func newCountry(random *rand.Rand, provinces []string) *country {
	c := &country{random: random, provinces: provinces}
	size := map[string]float64{rules.Outside: 1}
	for _, p := range provinces {
		size[p] = math.Exp(random.Float64()*6 - 0.7) // 0.5 to 200
	}
	if _, ok := size["PK-BA"]; ok && random.IntN(2) == 0 {
		size["PK-BA"] = 69.0 / 12
	}
	for _, from := range provinces {
		c.add(rules.TableIdentified, size[from], from)
		beds := c.poisson(size[from])
		c.leaves = append(c.leaves, rules.Leaf{Table: rules.TableBeds, Path: []string{from}, Value: c.part(beds), Beds: beds})
		for _, to := range append(provinces[:len(provinces):len(provinces)], rules.Outside) {
			rate := size[from] * random.Float64() * random.Float64()
			for _, table := range []string{rules.TableReferred, rules.TableAccepted, rules.TableArrived, rules.TableCompleted} {
				c.add(table, rate, from, to)
				rate *= 0.5 + random.Float64()/2
			}
		}
	}
	if random.IntN(5) > 0 {
		return c
	}
	for table, list := range map[string]codes.List{rules.TableDeclines: codes.Decline, rules.TableOutcomes: codes.Outcome, rules.TableServices: codes.Service} {
		for _, entry := range codes.All(list) {
			c.add(table, math.Exp(random.Float64()*6-2), entry.Code)
		}
	}
	return c
}

func (c *country) add(table string, rate float64, path ...string) {
	c.leaves = append(c.leaves, rules.Leaf{Table: table, Path: path, Value: c.poisson(rate)})
}

func (c *country) poisson(rate float64) (n int64) {
	for left := rate; ; n++ {
		if left += math.Log(1 - c.random.Float64()); left < 0 {
			return n
		}
	}
}

// part is some of n, seldom all.
func (c *country) part(n int64) int64 { return c.random.Int64N(n + 1) }

// learn is what comes to be known later: letters that were late, of a province that was cut off for days much of it, and corrections.
func (c *country) learn() {
	cut := c.provinces[c.random.IntN(len(c.provinces))]
	for i := range c.leaves {
		l := &c.leaves[i]
		switch chance := c.random.IntN(20); {
		case l.Path[0] == cut && chance < 8:
			l.Value += c.poisson(30)
		case chance < 5:
			l.Value += c.poisson(3)
		case chance < 7:
			l.Value -= c.part(min(l.Value, 3))
		case chance < 9:
			l.Value -= c.part(l.Value)
		case chance == 9:
			l.Value = 0
		}
		if l.Table == rules.TableBeds {
			l.Value = min(l.Value, l.Beds)
		}
	}
}

// published are all editions of some months, as files, and what has moved in them.
type published struct {
	files [][]byte
	moved map[string]int64 // since the first edition, by edition, month and table, and cell
	began map[string]int64 // in the first edition
}

func (p *published) publish(t testing.TB, s rules.Suppression, month string, m *federalv1.FrozenMonth, edition int) {
	m = proto.CloneOf(m)
	m.Edition = int32(edition)
	out := &federalv1.Publication{Month: month, PublishTime: timestamppb.New(time.Unix(1_797_000_000, 0))}
	s.Tell(m, out)
	file, err := sheets.CSV(out)
	if err != nil {
		t.Fatal(err)
	}
	p.files = append(p.files, file)
	if p.moved == nil {
		p.moved, p.began = map[string]int64{}, map[string]int64{}
	}
	for _, table := range m.GetTables() {
		var walk func(c *federalv1.FrozenCell, name string)
		walk = func(c *federalv1.FrozenCell, name string) {
			at := month + " " + table.GetTable() + " " + name
			if edition == 1 {
				p.began[at] = c.GetValue()
			}
			p.moved[strconv.Itoa(edition)+" "+at] = c.GetValue() - p.began[at]
			for _, part := range c.GetParts() {
				below := part.GetCode()
				if name != rules.Country {
					below = name + ">" + below
				}
				walk(part, below)
			}
		}
		walk(table.GetCountry(), rules.Country)
	}
}

func (p *published) judge(t testing.TB, v *verdict, k int64) {
	t.Helper()
	err := v.judge(k, p.files, func(table, cell string, edition int) int64 { return p.moved[strconv.Itoa(edition)+" "+table+" "+cell] })
	if err != nil {
		t.Fatal(err)
	}
}

// history publishes two months of a country and two revisions of both.
func history(t testing.TB, s rules.Suppression, october, november *country) *published {
	p := &published{}
	one, two := s.FirstEdition(october.provinces, october.leaves), s.FirstEdition(november.provinces, november.leaves)
	for e := 1; e <= 3; e++ {
		p.publish(t, s, "2026-10", one, e)
		p.publish(t, s, "2026-11", two, e)
		october.learn()
		november.learn()
		s.NextEdition(one, october.leaves)
		s.NextEdition(two, november.leaves)
	}
	return p
}

func countries(n, long int) int {
	if m, err := strconv.Atoi(os.Getenv("SOAK_MINUTES")); err == nil {
		return long * m
	}
	if testing.Short() {
		return n / 10
	}
	return n
}

// Of no hidden figure can be known more than a range of K: random countries, most of them small, each with three editions of two months, in which late
// letters and corrections are taken in, all read together.
func TestNothingNarrowerThanKCanBeWorkedOut(t *testing.T) {
	v := &verdict{narrowest: math.Inf(1)}
	n := countries(soaktest.Alone(400, 40), 1000)
	for seed := range n {
		random := rand.New(rand.NewPCG(uint64(seed), 5))
		provinces := allProvinces[:1+random.IntN(3)]
		if random.IntN(10) == 0 {
			provinces = allProvinces[:4+random.IntN(4)]
		}
		history(t, rules.Published, newCountry(random, provinces), newCountry(random, provinces)).judge(t, v, rules.SmallestCount)
		if len(v.faults) > 0 {
			t.Fatalf("country %d: %s", seed, strings.Join(v.faults, "\n"))
		}
	}
	t.Logf("%d countries, %d figures, %d hidden cells, %d of them of tables of which nothing is told; narrowest range %.0f", n, v.cells, v.hidden, v.untold, v.narrowest)
	if v.hidden == v.untold {
		t.Error("nothing was hidden in a table that is told")
	}
}

// The reader does find what is told too much: so the test above can fail.
func TestTheReaderFindsWhatIsToldTooMuch(t *testing.T) {
	const month = "2026-11"
	const narrow, shown, moved = ": from ", "is shown in edition", "moves by"
	found := func(t *testing.T, what string, make func(c *country) (*published, int64)) {
		v := &verdict{narrowest: math.Inf(1)}
		for seed := range 20 {
			p, k := make(newCountry(rand.New(rand.NewPCG(uint64(seed), 5)), allProvinces[:4]))
			p.judge(t, v, k)
		}
		i := slices.IndexFunc(v.faults, func(fault string) bool { return strings.Contains(fault, what) })
		if i < 0 {
			t.Fatalf("the reader has not found it, but %q", v.faults)
		}
		t.Logf("such as %s", v.faults[i])
	}
	t.Run("nothing is hidden beside small counts", func(t *testing.T) {
		s := rules.Suppression{K: rules.SmallestCount, Alone: true}
		found(t, narrow, func(c *country) (*published, int64) {
			p := &published{}
			p.publish(t, s, month, s.FirstEdition(c.provinces, c.leaves), 1)
			return p, s.K
		})
	})
	t.Run("small counts are shown", func(t *testing.T) {
		s := rules.Suppression{K: rules.SmallestCount - 1}
		found(t, shown, func(c *country) (*published, int64) {
			return history(t, s, c, newCountry(c.random, c.provinces)), rules.SmallestCount
		})
	})
	t.Run("each edition hides as if it were the first", func(t *testing.T) {
		s := rules.Published
		found(t, narrow, func(c *country) (*published, int64) {
			p := &published{}
			p.publish(t, s, month, s.FirstEdition(c.provinces, c.leaves), 1)
			c.learn()
			p.publish(t, s, month, s.FirstEdition(c.provinces, c.leaves), 2)
			return p, s.K
		})
	})
	t.Run("every late letter is taken in", func(t *testing.T) {
		s := rules.Published
		found(t, moved, func(c *country) (*published, int64) {
			p, m := &published{}, s.FirstEdition(c.provinces, c.leaves)
			p.publish(t, s, month, m, 1)
			c.learn()
			rules.Suppression{K: 1}.NextEdition(m, c.leaves)
			p.publish(t, s, month, m, 2)
			return p, s.K
		})
	})
	t.Run("what was least is not looked at", func(t *testing.T) {
		s := rules.Published
		found(t, narrow, func(c *country) (*published, int64) {
			p, m := &published{}, s.FirstEdition(c.provinces, c.leaves)
			p.publish(t, s, month, m, 1)
			for e := 2; e < 5; e++ {
				c.learn()
				rules.Suppression{K: rules.SmallestCount, Alone: true}.NextEdition(m, c.leaves)
				p.publish(t, s, month, m, e)
			}
			return p, s.K
		})
	})
}
