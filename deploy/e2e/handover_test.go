package e2e

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
)

// country is a network of real processes under a supervisor, and people who use it.
type country struct {
	layout     *network.Layout
	supervisor *network.Supervisor
	stage      *story.Stage
}

// startCountry builds the operator's command and runs the demo network with it on free ports.
func startCountry(t *testing.T) *country {
	t.Helper()
	root := t.TempDir()
	amanat := filepath.Join(root, "amanat")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", amanat, "amanat.example/deploy/amanat").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l, err := network.Free(filepath.Join(root, "data"))
	must(t, err)
	must(t, l.Init())
	c := &country{layout: l}
	c.supervisor = network.NewSupervisor(l, func(p network.Part) []string {
		return []string{amanat, "part", "--data", l.Root, p.Node, p.Name}
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.supervisor.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	c.stage, err = story.Open(l)
	must(t, err)
	t.Cleanup(func() { must(t, c.stage.Close()) })
	return c
}

// play hands children on, some at a time; each reports as it begins.
func (c *country) play(ctx context.Context, t *testing.T, referrals int, begun func(number int)) []string {
	t.Helper()
	must(t, c.stage.Furnish(ctx, 1000))
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
}

// Every process of the network is killed once while children are handed on: nobody is lost,
// nobody doubled, no bed promised twice, and the federal cell counts the same.
func TestEveryProcessKilledOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
	c := startCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	parts := c.layout.Parts()
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
	leaks(t, c.layout.Root)
}

// The hub is away for the first half: all is done here that can be done here, and the rest when
// the hub comes.
func TestHubAwayForTheFirstHalf(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
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
}

// leaks looks for what people wrote of persons in every file of the network: stores, the hub's
// and the buses' streams, logs. Nothing of it may lie anywhere in the clear.
func leaks(t *testing.T, root string) {
	t.Helper()
	files, bytesRead := 0, 0
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a broker's file that it has just dropped
		}
		if err != nil {
			return err
		}
		files, bytesRead = files+1, bytesRead+len(content)
		for _, text := range story.Personal() {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%q lies in the clear in %s", text, path)
			}
		}
		return nil
	}))
	t.Logf("%d files with %d bytes hold nothing of a person in the clear", files, bytesRead)
	if files < 50 {
		t.Errorf("only %d files were searched", files)
	}
}
