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

// badDisk is a country in which one service has a disk that goes wrong while children are on their way.
type badDisk struct {
	*country
	ctx    context.Context
	part   network.Part
	disk   *disktest.Disk
	random *rand.Rand
	names  []string // of the referrals
}

// during hands the next child on while something happens to the disk. done says that the child has come through.
func (b *badDisk) during(t *testing.T, happens func(done func() bool)) {
	t.Helper()
	// Else a start after what happened before would be taken for one after what happens now. Who is thawed is there.
	posttest.Wait(t, "the service runs", func() bool { return b.supervisor.Thaw(b.part) })
	var way errgroup.Group
	ended := make(chan struct{})
	number := len(b.names)
	way.Go(func() error {
		defer close(ended)
		name, err := b.stage.Handover(b.ctx, number)
		b.names = append(b.names, name)
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

// logged is what the service has logged so far.
func (b *badDisk) logged(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(b.layout.Root, "log", b.part.Node+"-"+b.part.Name+".log"))
	must(t, err)
	return string(log)
}

// cut takes the power at so many random moments, and the process dies with it.
func (b *badDisk) cut(t *testing.T, cuts int) {
	t.Helper()
	midway := 0
	for n := range cuts {
		b.during(t, func(done func() bool) {
			b.disk.Plan(disktest.Plan{CutAt: 1 + b.random.IntN(60), CutAfter: n%2 == 1})
			posttest.Wait(t, "the power goes", func() bool { return done() || b.disk.Counts().PowerLost })
			if !done() {
				midway++
			}
			b.disk.Cut()
			b.supervisor.Hold(b.part)
			b.disk.Restore(uint64(n))
			b.supervisor.Release(b.part)
		})
	}
	if midway == 0 {
		t.Error("no child was under way when the power went: the test tries nothing")
	}
	t.Logf("%d cuts, %d with a child under way", cuts, midway)
}

// fault is how a disk fails, and what a service says that stops for it.
type fault struct {
	plan disktest.Plan
	says string
}

// diskFaults are a full disk, and an I/O error on a write and on a sync of the store's file.
var diskFaults = []fault{
	{disktest.Plan{Full: true}, "no space left on device"},
	{disktest.Plan{FailWrite: 2}, ".db: input/output error"},
	{disktest.Plan{FailSync: 3}, "commit: input/output error"},
}

// fail lets the disk fail in each way, and sees that the service stops and says why.
func (b *badDisk) fail(t *testing.T) {
	t.Helper()
	failed := 0
	for _, f := range diskFaults {
		b.during(t, func(func() bool) {
			before, told := b.supervisor.Restarts(b.part), len(b.logged(t))
			b.disk.Plan(f.plan)
			posttest.Wait(t, "the service stops", func() bool { return b.supervisor.Restarts(b.part) > before })
			if b.disk.Counts().Failed == 0 {
				t.Errorf("%+v: nothing failed, and the service stopped", f.plan)
			}
			failed += b.disk.Counts().Failed
			b.disk.Plan(disktest.Plan{})
			if said := b.logged(t)[told:]; !strings.Contains(said, f.says) {
				t.Errorf("%+v: the service did not say %q but %s", f.plan, f.says, said)
			}
		})
	}
	t.Logf("%d faults, by which %d calls failed: a full disk, a write, a sync", len(diskFaults), failed)
}

// The disk of a real referral service loses power in the middle of children's ways, and the process dies with it; then the disk is
// full, fails a write, and a sync; then bits turn around under the running service. Each time the service comes back with all it had said:
// every child arrives, once. In the end bits turn around in the files of that node, which does not run, and check finds each that can be read.
func TestPowerIsCutUnderAService(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	b := &badDisk{country: newCountry(t), ctx: ctx, part: network.Part{Node: there, Name: network.Referral}, random: rand.New(rand.NewPCG(1, 4))}
	b.disk = b.onDisk(t, b.part)
	b.runWithout(t)
	const cuts, anywhere, inRows = 6, 4, 3
	must(t, b.stage.Furnish(ctx, int32(cuts+len(diskFaults)+anywhere+inRows+1)))
	b.cut(t, cuts)
	b.fail(t)
	b.rot(t, anywhere, inRows)
	b.examine(ctx, t, b.names)
	t.Logf("%d restarts", b.supervisor.Restarts(b.part))
	b.stop()
	b.sound(t)
	b.rotAtRest(t)
}
