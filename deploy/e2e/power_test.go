package e2e

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/disktest"
	"amanat.example/deploy/network"
	"amanat.example/services/kit/post/posttest"
)

// onDisk gives a part that does not run yet a disk of its own for all its files.
func (c *country) onDisk(t *testing.T, p network.Part) *disktest.Disk {
	t.Helper()
	d := disktest.New(t)
	folder := filepath.Join(c.layout.Root, p.Node, p.Name)
	must(t, os.CopyFS(d.Folder(), os.DirFS(folder)))
	must(t, filepath.WalkDir(d.Folder(), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	}))
	must(t, os.RemoveAll(folder))
	must(t, os.Symlink(d.Folder(), folder))
	return d
}

// The disk of a real referral service loses power in the middle of children's ways, and the process dies with it; then the disk is
// full, and fails a sync. Each time the service comes back with all it had said: every child arrives, once.
func TestPowerIsCutUnderAService(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	c := newCountry(t)
	part := network.Part{Node: "punjab", Name: network.Referral}
	d := c.onDisk(t, part)
	c.runWithout(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const cuts, faults = 6, 2
	must(t, c.stage.Furnish(ctx, cuts+faults+1))
	var names []string
	// during hands a child on while something happens to the disk.
	during := func(number int, happens func(done func() bool)) {
		t.Helper()
		var way errgroup.Group
		ended := make(chan struct{})
		way.Go(func() error {
			defer close(ended)
			name, err := c.stage.Handover(ctx, number)
			names = append(names, name)
			return err
		})
		happens(func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		must(t, way.Wait())
	}
	random := rand.New(rand.NewPCG(1, 4))
	midway := 0
	for n := range cuts {
		during(n, func(done func() bool) {
			d.Plan(disktest.Plan{CutAt: 1 + random.IntN(60), CutAfter: n%2 == 1})
			posttest.Wait(t, "the power goes", func() bool { return done() || d.Counts().PowerLost })
			if !done() {
				midway++
			}
			d.Cut()
			c.supervisor.Hold(part)
			d.Restore(uint64(n))
			c.supervisor.Release(part)
		})
	}
	for n, fault := range []struct {
		plan disktest.Plan
		says string
	}{
		{disktest.Plan{Full: true}, "no space left on device"},
		{disktest.Plan{FailSync: 3}, "input/output error"},
	} {
		during(cuts+n, func(func() bool) {
			before := c.supervisor.Restarts(part)
			d.Plan(fault.plan)
			posttest.Wait(t, "the service stops", func() bool { return c.supervisor.Restarts(part) > before })
			d.Plan(disktest.Plan{})
			log, err := os.ReadFile(filepath.Join(c.layout.Root, "log", part.Node+"-"+part.Name+".log"))
			must(t, err)
			if !strings.Contains(string(log), fault.says) {
				t.Errorf("the service did not say %q", fault.says)
			}
		})
	}
	if midway == 0 {
		t.Error("no child was under way when the power went: the test tries nothing")
	}
	c.examine(ctx, t, names)
	t.Logf("%d cuts, %d with a child under way; %d restarts", cuts, midway, c.supervisor.Restarts(part))
	c.stop()
	c.sound(t)
}
