package services_test

import (
	"slices"
	"strings"
	"testing"
)

// One import that each rule must find, and one beside it that it must leave alone.
func TestEveryImportRuleBites(t *testing.T) {
	const referral = services + "referral"
	cases := map[string]struct{ from, bad, good string }{
		"services do not import each other":                                               {referral, services + "shelter", referral + "/internal/app"},
		"the root of a service imports its rooms, kit and contracts":                      {referral, custody, kit + "store"},
		"rules import contracts, custody, faults, codes, facts, limits and the time zone": {referral + "/internal/rules", kit + "store", custody},
		"app imports rules, store, kit, custody and contracts":                            {referral + "/internal/app", kit + "rpc", referral + "/internal/store"},
		"store imports contracts, and of kit what keeps rows":                             {referral + "/internal/store", referral + "/internal/rules", kit + "store"},
		"server imports app, contracts, and of kit no store and no post":                  {referral + "/internal/server", referral + "/internal/store", kit + "rpc"},
		"pure code does no input or output and knows no engine":                           {custody, "net/http", "crypto/ed25519"},
		"custody imports contracts alone":                                                 {custody, kit + "store", contract + "custody/v1"},
		"kit imports contracts and kit":                                                   {kit + "post", custody, kit + "store"},
		"a service's command imports its service and kit":                                 {services + "cmd/referrald", services + "shelter", referral},
		"only kit/store imports the engine":                                               {referral + "/internal/store", "go.etcd.io/bbolt", kit + "store"},
		"transport does not import the engine":                                            {kit + "post", "go.etcd.io/bbolt", kit + "store"},
		"only kit and deploy speak NATS":                                                  {referral + "/internal/app", "github.com/nats-io/nats.go", kit + "post"},
		"only deploy imports nats-server":                                                 {kit + "post", "github.com/nats-io/nats-server/v2/server", "github.com/nats-io/nats.go"},
		"only deploy imports go-fuse":                                                     {kit + "store", "github.com/hanwen/go-fuse/v2/fs", "go.etcd.io/bbolt"},
		"gateway imports contracts and kit":                                               {ours + "gateway/rest", referral, kit + "identity"},
		"contracts import contracts":                                                      {contract + "custody/v1", kit + "codes", contract + "privacy/v1"},
		"nobody imports deploy":                                                           {ours + "gateway/rest", ours + "deploy/network", kit + "rpc"},
		"production code does not import testing":                                         {kit + "post", "testing", "time"},
	}
	for _, r := range importRules() {
		c, ok := cases[r.name]
		if !ok {
			t.Errorf("%s: has no case here", r.name)
			continue
		}
		if got := r.faults([]listed{{ImportPath: c.from, Imports: []string{c.bad}}}); len(got) != 1 {
			t.Errorf("%s: does not find %s in %s", r.name, c.bad, c.from)
		}
		if got := r.faults([]listed{{ImportPath: c.from, Imports: []string{c.good}}}); len(got) != 0 {
			t.Errorf("%s: finds fault with %s in %s", r.name, c.good, c.from)
		}
		inTest := r.faults([]listed{{ImportPath: c.from, XTestImports: []string{c.bad}}})
		if (len(inTest) == 1) != r.tests {
			t.Errorf("%s: test files: found %v, rule speaks of them: %v", r.name, inTest, r.tests)
		}
		through := r.faults([]listed{{ImportPath: c.from, Deps: []string{c.bad}}})
		if (len(through) == 1) != r.deps {
			t.Errorf("%s: through others: found %v, rule speaks of them: %v", r.name, through, r.deps)
		}
	}
}

func TestClockCallsAreFound(t *testing.T) {
	for src, want := range map[string]string{
		"package p\nimport \"time\"\nvar t = time.Now()":                       "time.Now",
		"package p\nimport clock \"time\"\nvar f = clock.Since":                "time.Since",
		"package p\nimport . \"time\"\nvar t = Now()":                          "hides",
		"package p\nimport \"time\"\nfunc f(now time.Time) { _ = now.Add(1) }": "",
		"package p\nvar time struct{ Now func() }\nfunc f() { time.Now() }":    "",
	} {
		faults, err := clockCalls("p.go", src)
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, want) })
		if found != (want != "") {
			t.Errorf("%q: found %v, want %q", src, faults, want)
		}
	}
}

func TestPureAndTimelessRooms(t *testing.T) {
	for path, want := range map[string][2]bool{
		custody:                                {true, true},
		services + "shelter/internal/rules":    {true, true},
		services + "shelter/internal/app":      {false, true},
		services + "shelter/internal/server":   {false, false},
		services + "shelter":                   {false, false},
		kit + "post/internal/protocol":         {true, true},
		kit + "post":                           {false, false},
		services + "custodyarchive/internal/x": {false, false},
	} {
		if got := [2]bool{isPure(path), isTimeless(path)}; got != want {
			t.Errorf("%s: pure, timeless = %v, want %v", path, got, want)
		}
	}
}
