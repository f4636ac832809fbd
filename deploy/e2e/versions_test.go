package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
)

const (
	// released is the last commit that was released. A release moves it on.
	released = "1a8ffb7"
	// beforeFacts is the last commit whose federal cell knew nothing of facts (federal.facts.v1), nor of what came with them.
	beforeFacts = "de9afe8"
)

// version builds the operator's command of an earlier commit, once on this machine: it lies with the other tools. Where the history of
// this clone does not reach so far back the test is skipped, and says so.
func version(t *testing.T, commit string) (path string) {
	t.Helper()
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	top, err := git("rev-parse", "--show-toplevel")
	if err == nil {
		_, err = git("rev-parse", "--quiet", "--verify", commit+"^{commit}")
	}
	if err != nil {
		t.Skipf("there is no commit %s here, of which the older version would be built; a whole clone has it (git fetch --unshallow): %v", commit, err)
	}
	path = filepath.Join(top, "bin", "tmp", "amanat-"+commit)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	// Always in the same place, so that Go's cache knows its packages from clone to clone; elsewhere while another clone has it.
	source := filepath.Join(os.TempDir(), "amanat-"+commit)
	if err := os.Mkdir(source, 0o700); err != nil {
		source = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(source) })
	archive := filepath.Join(source, "source.tar")
	out, err := git("-C", top, "archive", "--output", archive, commit)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	for _, command := range []*exec.Cmd{
		exec.CommandContext(t.Context(), "tar", "-x", "-f", archive),
		exec.CommandContext(t.Context(), "go", "build", "-o", path+".new", "./deploy/amanat"),
	} {
		command.Dir = source
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", command, err, out)
		}
	}
	must(t, os.Rename(path+".new", path))
	return path
}

// versions are what the nodes of a country run.
type versions struct {
	*country
	mu sync.Mutex
	of map[string]string // by node; this tree's where there is none
}

// startVersions runs a network some of whose nodes are of another version.
func startVersions(t *testing.T, of map[string]string) *versions {
	t.Helper()
	v := &versions{country: newCountry(t), of: of}
	v.open(t, func(p network.Part) []string {
		v.mu.Lock()
		defer v.mu.Unlock()
		program := v.of[p.Node]
		if program == "" {
			program = v.amanat
		}
		return []string{program, "part", "--data", v.layout.Root, p.Node, p.Name}
	})
	return v
}

// upgrade has a node go on with this tree's version, one process after the other, as an operator does it.
func (v *versions) upgrade(node string) {
	v.mu.Lock()
	delete(v.of, node)
	v.mu.Unlock()
	for _, p := range v.layout.Parts() {
		if p.Node == node {
			v.supervisor.Hold(p)
			v.supervisor.Release(p)
		}
	}
}

// A province of the last release and a federal cell older than that work with nodes of this version: children are handed on both ways, also
// while each older node is upgraded in place. Facts are letters of a kind that the older federal cell does not know: they wait in its
// quarantine, and count once it is upgraded.
func TestTwoVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	v := startVersions(t, map[string]string{there: version(t, released), network.FederalNode: version(t, beforeFacts)})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	back, err := story.OpenRoute(story.Route{From: story.Lahore, To: story.Hub}, v.layout)
	must(t, err)
	t.Cleanup(func() { must(t, back.Close()) })
	ways := []*country{v.country, {amanat: v.amanat, layout: v.layout, stage: back}}
	names := make([][]string, len(ways))
	play := func(number int) {
		t.Helper()
		for i, way := range ways {
			name, err := way.stage.Handover(ctx, number)
			must(t, err)
			names[i] = append(names[i], name)
		}
	}
	const ready = "%s confirms; %s promises the place: ready"
	var goOn []func() []string
	for _, way := range ways {
		must(t, way.stage.Furnish(ctx, 3))
		goOn = append(goOn, park(ctx, t, way, ready))
	}
	play(1)
	v.upgrade(there)
	for i := range ways {
		names[i] = append(names[i], goOn[i]()...)
	}
	eventually(t, "letters of a kind that the federal cell does not know wait there", func() bool { return v.quarantined(ctx, t) > 0 })
	waited := v.quarantined(ctx, t)
	v.upgrade(network.FederalNode)
	play(2)
	for i, way := range ways {
		way.stage.Beside(names[1-i])
		way.examine(ctx, t, names[i])
	}
	eventually(t, "nothing waits at the federal cell", func() bool { return v.quarantined(ctx, t) == 0 })
	t.Logf("2 nodes of older versions, %d referrals each way, %d letters waited for the upgrade", len(names[0]), waited)
	v.stop()
	v.sound(t)
}

// quarantined are the letters that the federal cell cannot read.
func (v *versions) quarantined(ctx context.Context, t *testing.T) (letters uint64) {
	t.Helper()
	all, err := v.layout.Status(ctx, network.FederalNode)
	must(t, err)
	for _, service := range all {
		for _, l := range service.Told.GetLinks() {
			letters += l.GetQuarantinedLetters()
		}
	}
	return letters
}
