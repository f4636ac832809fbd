package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	"amanat.example/services/kit/post/posttest"
	"amanat.example/services/kit/store"
)

// country is a network of real processes under a supervisor, and people who use it.
type country struct {
	amanat     string // the operator's command
	layout     *network.Layout
	supervisor *network.Supervisor
	stop       func() // stops every process and waits for them
	stage      *story.Stage
}

// startCountry builds the operator's command and runs the demo network with it on free ports.
func startCountry(t *testing.T) *country {
	t.Helper()
	c := newCountry(t)
	c.runWithout(t)
	return c
}

// runWithout runs the network's processes but those named.
func (c *country) runWithout(t *testing.T, never ...network.Part) {
	t.Helper()
	c.open(t, func(p network.Part) []string {
		return []string{c.amanat, "part", "--data", c.layout.Root, p.Node, p.Name}
	}, never...)
}

// open runs the network with the command given for each part, and opens the stage.
func (c *country) open(t *testing.T, command func(network.Part) []string, never ...network.Part) {
	t.Helper()
	c.run(t, command, never...)
	stage, err := story.Open(c.layout)
	must(t, err)
	t.Cleanup(func() { must(t, stage.Close()) })
	c.stage = stage
}

// newCountry makes a network on free ports that does not run yet, for the operator's command.
func newCountry(t *testing.T) *country {
	t.Helper()
	c := &country{amanat: build(t, "amanat", "amanat.example/deploy/amanat")}
	var err error
	c.layout, err = network.Free(filepath.Join(t.TempDir(), "data"))
	must(t, err)
	must(t, c.layout.Init())
	return c
}

// built are the programs that tests have built, by name, each once.
var built = struct {
	sync.Mutex
	dir   string
	paths map[string]string
}{paths: map[string]string{}}

// build builds a program once for all tests.
func build(t testing.TB, name, pkg string, flags ...string) (path string) {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if path = built.paths[name]; path != "" {
		return path
	}
	if built.dir == "" {
		var err error
		built.dir, err = os.MkdirTemp("", "amanat-e2e")
		must(t, err)
	}
	path = filepath.Join(built.dir, name)
	args := append(append([]string{"build", "-o", path}, flags...), pkg)
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	built.paths[name] = path
	return path
}

// sound checks every file of the network, which must have stopped, as an operator does: with the command.
func (c *country) sound(t *testing.T) {
	t.Helper()
	c.soundUnder(t, c.layout.Root, 2*10) // keys and rows of three services in three provinces, and of the federal one
}

func (c *country) soundUnder(t *testing.T, root string, files int) {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), c.amanat, "check", "--json", "--data", root).CombinedOutput()
	var result struct {
		Sound bool
		Files []struct{ Rows int }
	}
	if parsed := json.Unmarshal(out, &result); err != nil || parsed != nil || !result.Sound {
		t.Fatalf("amanat check: %v: %s", errors.Join(err, parsed), out)
	}
	rows := 0
	for _, f := range result.Files {
		rows += f.Rows
	}
	if len(result.Files) != files || rows == 0 {
		t.Errorf("%d files with %d rows were checked, want %d files", len(result.Files), rows, files)
	}
}

// run runs the network under a supervisor until stop is called or the test ends, but the parts that are never to be there.
func (c *country) run(t *testing.T, command func(network.Part) []string, never ...network.Part) {
	t.Helper()
	c.supervisor = network.NewSupervisor(c.layout, command)
	for _, p := range never {
		c.supervisor.Hold(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.supervisor.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(c.stop)
}

// play hands children on, some at a time; each reports as it begins.
func (c *country) play(ctx context.Context, t *testing.T, referrals int, begun func(number int)) []string {
	t.Helper()
	must(t, c.stage.Furnish(ctx, int32(referrals)))
	var mu sync.Mutex
	var names []string
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for number := range referrals {
		group.Go(func() error {
			begun(number)
			name, err := c.stage.Handover(ctx, number)
			mu.Lock()
			defer mu.Unlock()
			if name != "" {
				names = append(names, name)
			}
			return err
		})
	}
	must(t, group.Wait())
	return names
}

func (c *country) examine(ctx context.Context, t *testing.T, names []string) {
	t.Helper()
	result, err := c.stage.Examine(ctx, names)
	must(t, err)
	t.Logf("%+v", *result)
	if !result.Kept() {
		t.Fatalf("a promise broke: %+v", *result)
	}
	c.whole(ctx, t)
}

// whole waits until the federal cell has, of every day, exactly what each province's services say they told, and shows it as its operator sees it.
func (c *country) whole(ctx context.Context, t *testing.T) {
	t.Helper()
	for !c.isWhole(ctx, t) {
		select {
		case <-ctx.Done():
			t.Fatal("the federal cell never had what the provinces told")
		case <-time.After(200 * time.Millisecond):
		}
	}
	out, err := exec.CommandContext(ctx, c.amanat, "figures", "--data", c.layout.Root).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "REUNIFIED") || !strings.Contains(string(out), "to the last one") {
		t.Errorf("amanat figures: %v: %s", err, out)
	}
}

// Every process of the network is killed once while children are handed on: nobody is lost,
// nobody doubled, no bed promised twice, and the federal cell counts the same.
func TestEveryProcessKilledOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
	t.Parallel()
	c := startCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	parts := c.layout.Parts()
	must(t, c.stage.Furnish(ctx, 1)) // all is up
	c.frozen(ctx, t, network.Part{Node: there, Name: network.Referral})
	names := c.play(ctx, t, 2*len(parts), func(number int) {
		if number%2 == 1 && !c.supervisor.Kill(parts[number/2]) {
			t.Logf("%s was down already", parts[number/2])
		}
	})
	c.examine(ctx, t, names)
	for _, p := range parts {
		if c.supervisor.Restarts(p) == 0 {
			t.Errorf("%s was never started again", p)
		}
	}
	t.Logf("%d processes killed once each, %d referrals", len(parts), len(names))
	s := &searcher{}
	for _, text := range story.Personal() {
		s.seek(text, []byte(text))
	}
	s.leaks(t, c.layout.Root)
	c.stop()
	c.sound(t)
}

// frozen: a process that does nothing is not dead. Who takes it for dead and starts another finds that it does not start: never do two act.
func (c *country) frozen(ctx context.Context, t *testing.T, p network.Part) {
	t.Helper()
	if !c.supervisor.Freeze(p) {
		t.Fatalf("%s does not run", p)
	}
	out, err := exec.CommandContext(ctx, c.amanat, "part", "--data", c.layout.Root, p.Node, p.Name).CombinedOutput()
	if err == nil || !strings.Contains(string(out), store.ErrLocked.Error()) {
		t.Errorf("another %s beside one that is frozen: %v: %s", p, err, out)
	}
	if !c.supervisor.Thaw(p) || c.supervisor.Restarts(p) != 0 {
		t.Errorf("%s was started again", p)
	}
}

// The hub is away for the first half: all is done here that can be done here, and the rest when
// the hub comes.
func TestHubAwayForTheFirstHalf(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
	t.Parallel()
	c := startCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	hub := network.Part{Node: network.FederalNode, Name: network.Hub}
	c.supervisor.Hold(hub)
	var waiting errgroup.Group
	names := c.play(ctx, t, 8, func(number int) {
		if number != 3 {
			return
		}
		waiting.Go(func() error {
			defer c.supervisor.Release(hub)
			return c.stage.AwaitSubmitted(ctx, 4) // all that the four can do without the hub
		})
	})
	must(t, waiting.Wait())
	c.examine(ctx, t, names)
	t.Logf("the hub was away once, while the first 4 of %d referrals were submitted", len(names))
	c.operated(t)
	c.stop()
	c.sound(t)
}

// isWhole says whether the federal cell has what was told, by those at least who took in, referred and received.
func (c *country) isWhole(ctx context.Context, t *testing.T) bool {
	t.Helper()
	days, err := c.layout.Days(ctx)
	must(t, err)
	tellers, facts := map[string]bool{}, int64(0)
	for _, d := range days {
		if !network.Whole(d) {
			return false
		}
		tellers[d.GetNode()+"/"+d.GetService()] = true
		facts += d.GetKept().GetFacts()
	}
	if len(tellers) < 3 {
		return false
	}
	t.Logf("the federal cell has the same %d facts as %d services of provinces", facts, len(tellers))
	return true
}

// operated asks the operator's command how the nodes stand: when all is well, without the hub, and without a service.
func (c *country) operated(t *testing.T) {
	t.Helper()
	type status struct {
		Nodes []struct {
			Node        string
			NeedsPerson []string `json:"needs_person"`
			Services    []struct {
				Service    string
				Ready      bool
				HubReached *bool `json:"hub_reached"`
				Links      []struct{ Direction, Lane string }
			}
		}
	}
	ask := func(nodes ...string) (s status, well bool) {
		out, err := exec.CommandContext(t.Context(), c.amanat, append([]string{"status", "--json", "--data", c.layout.Root}, nodes...)...).Output()
		must(t, json.Unmarshal(out, &s))
		return s, err == nil
	}
	posttest.Wait(t, "all is well", func() bool { _, well := ask(); return well })
	s, _ := ask()
	links := 0
	for _, n := range s.Nodes {
		for _, service := range n.Services {
			links += len(service.Links)
			if !service.Ready || service.Service != network.Gateway && (service.HubReached == nil || !*service.HubReached) {
				t.Errorf("%s of %s: %+v", service.Service, n.Node, service)
			}
		}
	}
	if len(s.Nodes) != 4 || links < 8 {
		t.Errorf("%d nodes with %d links: %+v", len(s.Nodes), links, s)
	}

	hub, shelter := network.Part{Node: network.FederalNode, Name: network.Hub}, network.Part{Node: "punjab", Name: network.Shelter}
	c.supervisor.Hold(hub)
	posttest.Wait(t, "the hub is missed, which is no alarm yet", func() bool {
		s, well := ask("punjab")
		return well && len(s.Nodes) == 1 && !*s.Nodes[0].Services[0].HubReached
	})
	c.supervisor.Hold(shelter)
	if s, well := ask("punjab"); well || len(s.Nodes[0].NeedsPerson) != 1 || !strings.HasPrefix(s.Nodes[0].NeedsPerson[0], "punjab/shelter: it is down") {
		t.Errorf("without a shelter service: %t %+v", well, s)
	}
	c.supervisor.Release(shelter)
	c.supervisor.Release(hub)
}
