package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	"amanat.example/services/kit/backup"
	"amanat.example/services/kit/post/posttest"
)

// drill is a country whose Lahore is backed up, destroyed and brought back with the operator's commands.
type drill struct {
	*country
	data, keys, identity string
}

const drilled = "punjab"

func newDrill(t *testing.T) *drill {
	t.Helper()
	d := &drill{country: startCountry(t), data: filepath.Join(t.TempDir(), "data"), keys: filepath.Join(t.TempDir(), "keys"), identity: filepath.Join(t.TempDir(), "age.txt")}
	secret, err := age.GenerateHybridIdentity()
	must(t, err)
	must(t, os.WriteFile(d.identity, []byte(secret.String()+"\n"), 0o600))
	must(t, os.WriteFile(backup.RecipientsPath(d.layout.Root, drilled), []byte(secret.Recipient().String()+"\n"), 0o600))
	return d
}

// operate runs the operator's command, and answers what it printed.
func (d *drill) operate(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, d.amanat, append(args, "--data", d.layout.Root)...).CombinedOutput()
	if err != nil {
		t.Fatalf("amanat %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (d *drill) parts() (all []network.Part) {
	for _, p := range d.layout.Parts() {
		if p.Node == drilled {
			all = append(all, p)
		}
	}
	return all
}

// destroy ends every process of the node at once, and removes all its files but those named.
func (d *drill) destroy(t *testing.T, but ...string) {
	t.Helper()
	for _, p := range d.parts() {
		d.supervisor.Hold(p)
	}
	folder := filepath.Join(d.layout.Root, drilled)
	if len(but) == 0 {
		must(t, os.RemoveAll(folder))
		return
	}
	for _, pattern := range but {
		paths, err := filepath.Glob(filepath.Join(folder, pattern))
		must(t, err)
		if len(paths) == 0 {
			t.Fatalf("there is no %s", pattern)
		}
		for _, path := range paths {
			must(t, os.RemoveAll(path))
		}
	}
}

func (d *drill) release() {
	for _, p := range d.parts() {
		d.supervisor.Release(p)
	}
}

// play hands children on, four at a time, to the end; begun is called as each begins.
func (d *drill) play(ctx context.Context, t *testing.T, from, to int, begun func(number int)) []string {
	t.Helper()
	names, err := d.begin(ctx, from, to, begun)()
	must(t, err)
	return names
}

// begin is play that waits for the end only when it is asked for.
func (d *drill) begin(ctx context.Context, from, to int, begun func(number int)) (end func() ([]string, error)) {
	all := make([]string, to-from)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	begunAll := make(chan struct{})
	go func() {
		defer close(begunAll)
		for number := from; number < to; number++ {
			group.Go(func() (err error) {
				begun(number)
				all[number-from], err = d.stage.Handover(ctx, number)
				return err
			})
		}
	}()
	return func() ([]string, error) {
		<-begunAll
		return all, group.Wait()
	}
}

// recovered waits until no service of the node waits for another's answer.
func (d *drill) recovered(ctx context.Context, t *testing.T) map[string]uint64 {
	t.Helper()
	lives := map[string]uint64{}
	posttest.Wait(t, "every service of the node has its answers", func() bool {
		all, err := d.layout.Status(ctx, drilled)
		must(t, err)
		for _, s := range all {
			if s.Down != "" || s.NotReady != "" || len(s.Told.GetAwaitedNodes()) > 0 {
				return false
			}
			lives[s.Service] = s.Told.GetIncarnation()
		}
		return true
	})
	return lives
}

// backUp has the operator back the node up, and answers how many files of data and of keys that were.
func (d *drill) backUp(ctx context.Context, t *testing.T) (data, keys int) {
	t.Helper()
	var told struct{ Data, Keys []struct{ Bytes int } }
	must(t, json.Unmarshal([]byte(d.operate(ctx, t, "backup", "--json", "--node", drilled, "--to", d.data, "--keys-to", d.keys)), &told))
	return len(told.Data), len(told.Keys)
}

func (d *drill) holdings(ctx context.Context, t *testing.T, names []string) story.Holdings {
	t.Helper()
	h, err := d.stage.Holdings(ctx, names)
	must(t, err)
	return h
}

// A node is backed up while children are handed on to it, goes on, and is lost with all its files while others are under way. Restored, it is
// the node it was in a new life. While one node has not answered what was lost, it takes children in and refers them; its beds wait, since
// none may be promised twice. At the end it has every
// referral that it shared, the same as the other end, and every case; it has forked nothing, and the federal figures are whole. What no other
// node was ever told is gone with the files: in which bed those lie whose referral was over. People bring that back, by a headcount.
func TestRestoreDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
	d := newDrill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	const known, load, since, way, next = 4, 4, 4, 4, 2
	back := d.route(t, story.Route{From: story.Lahore, To: story.Hub})
	must(t, back.Furnish(ctx, next))
	must(t, d.stage.Furnish(ctx, known+load+since+way+next))
	names := d.play(ctx, t, 0, known, func(int) {})
	var data, keys int
	names = append(names, d.play(ctx, t, known, known+load, func(number int) {
		if number == known+load/2 { // the others are handed on meanwhile
			data, keys = d.backUp(ctx, t)
		}
	})...)
	names = append(names, d.play(ctx, t, known+load, known+load+since, func(int) {})...)
	d.whole(ctx, t)
	lives, over := d.recovered(ctx, t), d.holdings(ctx, t, names)

	silent := network.Part{Node: "sindh", Name: network.Referral}
	d.supervisor.Hold(silent)
	underway := d.begin(ctx, len(names), len(names)+way, func(int) {})
	must(t, d.stage.AwaitSubmitted(ctx, len(names)+way))
	d.destroy(t)
	t.Log(d.operate(ctx, t, "restore", "--from", d.data, "--keys-from", d.keys, "--identity", d.identity))
	d.release()
	restored := d.holdings(ctx, t, names)

	if waits := d.awaited(ctx, t); !slices.Equal(waits, []string{silent.Node}) {
		t.Errorf("the node waits for %v", waits)
	}
	var local []string
	for number := range next {
		name, err := back.Handover(ctx, number)
		must(t, err)
		local = append(local, name)
	}
	if waits := d.awaited(ctx, t); !slices.Equal(waits, []string{silent.Node}) {
		t.Errorf("new children had to wait for the answer of %s: %v", silent.Node, waits)
	}
	d.supervisor.Release(silent)
	there, err := underway()
	must(t, err)
	names = append(names, there...)
	for service, life := range d.recovered(ctx, t) {
		if service != network.Gateway && life <= lives[service] {
			t.Errorf("%s goes on in its old life", service)
		}
	}

	names = append(names, d.play(ctx, t, len(names), len(names)+next, func(int) {})...)
	occupied, err := d.stage.Occupied(ctx)
	must(t, err)
	gone := len(names) - occupied
	if gone < since || gone > load+since {
		t.Errorf("%d beds were known to nobody else, want those of the %d referrals that were over since the backup, and of some under way at it", gone, since)
	}
	result, err := d.stage.Examine(ctx, names)
	must(t, err)
	have := d.holdings(ctx, t, names)
	if all := len(names); have != (story.Holdings{Same: all, Sent: all, Received: all}) {
		t.Errorf("of %d referrals there are %+v", all, have)
	}
	// At each node the cases of the other story count as asked for twice, and no more may.
	if result.Lost != gone || result.Doubled != len(local) || result.OverbookedBeds != 0 || !result.FederalMatches || result.States["COMPLETED"] != len(names) {
		t.Errorf("a promise broke: %+v", *result)
	}
	told, err := back.Examine(ctx, local)
	must(t, err)
	if told.Lost != 0 || told.Doubled != len(names) || told.OverbookedBeds != 0 || !told.FederalMatches || told.States["COMPLETED"] != len(local) {
		t.Errorf("a promise broke: %+v", *told)
	}
	d.whole(ctx, t)
	d.stop()
	d.sound(t)
	t.Logf("%d files of data and %d of keys were written under load. Before the loss %d referrals were over, right after the restore %d of them were known; %d were under way. "+
		"While %s was silent %d new ones were referred from here to their end. At the end %d of %d are the same at both ends, with a case at each. %d beds of children whose referral was over were known to nobody else.",
		data, keys, over.Same, restored.Same, way, silent.Node, len(local), have.Same, len(names), gone)
}

// awaited are the nodes whose answers the node's referral service waits for, once it has been answered by the others.
func (d *drill) awaited(ctx context.Context, t *testing.T) (nodes []string) {
	t.Helper()
	posttest.Wait(t, "who could answer has", func() bool {
		all, err := d.layout.Status(ctx, drilled)
		must(t, err)
		for _, s := range all {
			if s.Service == network.Referral && s.Told != nil {
				nodes = s.Told.GetAwaitedNodes()
				return len(nodes) <= 1
			}
		}
		return false
	})
	return nodes
}

// route is another story in the same country.
func (d *drill) route(t *testing.T, r story.Route) *story.Stage {
	t.Helper()
	stage, err := story.OpenRoute(r, d.layout)
	must(t, err)
	t.Cleanup(func() { must(t, stage.Close()) })
	return stage
}
