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
	for _, node := range []string{drilled, network.FederalNode} {
		must(t, os.WriteFile(backup.RecipientsPath(d.layout.Root, node), []byte(secret.Recipient().String()+"\n"), 0o600))
	}
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

func (d *drill) parts(node string) (all []network.Part) {
	for _, p := range d.layout.Parts() {
		if p.Node == node {
			all = append(all, p)
		}
	}
	return all
}

// destroy ends every process of a node at once, and removes all its files.
func (d *drill) destroy(t *testing.T, node string) {
	t.Helper()
	for _, p := range d.parts(node) {
		d.supervisor.Hold(p)
	}
	must(t, os.RemoveAll(filepath.Join(d.layout.Root, node)))
}

func (d *drill) release(node string) {
	for _, p := range d.parts(node) {
		d.supervisor.Release(p)
	}
}

// play hands children on, all at once, to the end.
func (d *drill) play(ctx context.Context, t *testing.T, from, to int) []string {
	t.Helper()
	names, err := d.begin(ctx, from, to)()
	must(t, err)
	return names
}

// begin is play that waits for the end only when it is asked for.
func (d *drill) begin(ctx context.Context, from, to int) (end func() ([]string, error)) {
	all := make([]string, to-from)
	group, ctx := errgroup.WithContext(ctx)
	for number := from; number < to; number++ {
		group.Go(func() (err error) {
			all[number-from], err = d.stage.Handover(ctx, number)
			return err
		})
	}
	return func() ([]string, error) { return all, group.Wait() }
}

// send has children set out, one after the other.
func (d *drill) send(ctx context.Context, t *testing.T, from, to int) (names []string) {
	t.Helper()
	for number := from; number < to; number++ {
		name, err := d.stage.Send(ctx, number)
		must(t, err)
		names = append(names, name)
	}
	return names
}

// receive has children who are on the way arrive, all at once; it waits for the end only when it is asked for.
func (d *drill) receive(ctx context.Context, names []string) (end func() error) {
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		group.Go(func() error { return d.stage.Receive(ctx, name) })
	}
	return group.Wait
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

// backUp has the operator back a node up, and answers how many files of data and of keys that were.
func (d *drill) backUp(ctx context.Context, t *testing.T, node string) []int {
	t.Helper()
	var told struct{ Data, Keys []struct{ Bytes int } }
	must(t, json.Unmarshal([]byte(d.operate(ctx, t, "backup", "--json", "--node", node, "--to", d.data, "--keys-to", d.keys)), &told))
	return []int{len(told.Data), len(told.Keys)}
}

func (d *drill) holdings(ctx context.Context, t *testing.T, names []string) story.Holdings {
	t.Helper()
	h, err := d.stage.Holdings(ctx, names)
	must(t, err)
	return h
}

// A province and the federal cell, with the hub, are backed up while children are on the way and others are handed on, go on, and are lost with all their files while two
// girls are on the way. Restored, each is the node it was in a new life. While one node has not answered what was lost, the province takes children
// in, refers them, and lets in who stands at the door; its beds are promised to nobody, since none may be promised twice. At the end it has
// every referral that it shared, the same as the other end, a case and a bed for each; it has forked nothing, and the federal figures are whole. Its
// managers are asked to count heads, and when they have, and an analyst has said what was published, amanat status has nothing to say.
func TestRestoreDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
	t.Parallel()
	d := newDrill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const known, road, load, since, way, next = 2, 2, 2, 4, 2, 2
	back := d.route(t, story.Route{From: story.Lahore, To: story.Hub})
	must(t, back.Furnish(ctx, next))
	must(t, d.stage.Furnish(ctx, known+road+load+since+way+next+1))
	names := d.play(ctx, t, 0, known)
	names = append(names, d.send(ctx, t, len(names), known+road)...)
	loading := d.begin(ctx, len(names), len(names)+load)
	files := append(d.backUp(ctx, t, drilled), d.backUp(ctx, t, network.FederalNode)...)
	must(t, d.receive(ctx, names[known:])())
	loaded, err := loading()
	must(t, err)
	names = append(names, loaded...)
	names = append(names, d.play(ctx, t, len(names), len(names)+since)...)
	d.whole(ctx, t)
	lives, over := d.recovered(ctx, t), d.holdings(ctx, t, names)
	sent := d.send(ctx, t, len(names), len(names)+way)

	silent := network.Part{Node: "sindh", Name: network.Referral}
	d.supervisor.Hold(silent)
	for _, node := range []string{drilled, network.FederalNode} {
		d.destroy(t, node)
		t.Log(d.operate(ctx, t, "restore", "--node", node, "--from", d.data, "--keys-from", d.keys, "--identity", d.identity))
		d.release(node)
	}
	restored := d.holdings(ctx, t, names)
	arriving := d.receive(ctx, sent)

	if waits := d.awaited(ctx, t); !slices.Equal(waits, []string{silent.Node}) {
		t.Errorf("the node waits for %v", waits)
	}
	var local []string
	for number := range next {
		name, err := back.Handover(ctx, number)
		must(t, err)
		local = append(local, name)
	}
	stay, err := d.stage.AtTheDoor(ctx)
	must(t, err)
	if waits := d.awaited(ctx, t); !slices.Equal(waits, []string{silent.Node}) {
		t.Errorf("new children had to wait for the answer of %s: %v", silent.Node, waits)
	}
	d.supervisor.Release(silent)
	for service, life := range d.recovered(ctx, t) {
		if service != network.Gateway && life <= lives[service] {
			t.Errorf("%s goes on in its old life", service)
		}
	}
	posttest.Wait(t, "the node has every referral again that it shared", func() bool { return d.holdings(ctx, t, names).Same == over.Same })
	must(t, arriving())
	names = append(names, sent...)

	names = append(names, d.play(ctx, t, len(names), len(names)+next)...)
	d.settled(ctx, t, "punjab/shelter: it was restored, and in 1 shelters nobody has counted", "federal/federal: it was restored, and publishes nothing")
	more, err := d.stage.CountHeads(ctx, len(names)+1)
	must(t, err)
	if more != 0 {
		t.Errorf("%d more girls are in the beds than the stays say", more)
	}
	must(t, d.stage.Leave(ctx, stay))
	result, err := d.stage.Examine(ctx, names)
	must(t, err)
	have := d.holdings(ctx, t, names)
	if all := len(names); !result.Kept() || have != (story.Holdings{Same: all, Sent: all, Received: all}) {
		t.Errorf("a promise broke: %+v, of %d referrals there are %+v", *result, all, have)
	}
	told, err := back.Examine(ctx, local)
	must(t, err)
	if !told.Kept() {
		t.Errorf("a promise broke: %+v", *told)
	}
	d.whole(ctx, t)
	d.settled(ctx, t, "federal/federal: it was restored, and publishes nothing")
	d.stop()
	d.sound(t)
	t.Logf("%d files were written while %d girls were on the way and %d were being handed on. Before the loss %d referrals were over, right after the restore %d of them were known; "+
		"%d more girls were on the way. "+
		"While %s was silent %d new ones were referred from here to their end, and one was let in. At the end %d of %d are the same at both ends, with a case and a bed for each.",
		files, road, load, over.Same, restored.Same, way, silent.Node, len(local), have.Same, len(names))
}

// settled waits until no letter waits for a receipt, and all that amanat status wants of a person is what is given.
func (d *drill) settled(ctx context.Context, t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	for {
		wants, waiting := d.status(ctx, t)
		if len(waiting) == 0 && slices.EqualFunc(wants, want, strings.HasPrefix) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("it never settled: amanat status wants %q, want %q; letters wait: %q", wants, want, waiting)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// status is what amanat status wants of a person, sorted, and on which links letters wait.
func (d *drill) status(ctx context.Context, t *testing.T) (wants, waiting []string) {
	t.Helper()
	var told struct {
		Nodes []struct {
			Node        string
			NeedsPerson []string `json:"needs_person"`
			Services    []struct {
				Service string
				Links   []struct {
					Node, Service, Lane string
					Queued              int `json:"queued_letters"`
				}
			}
		}
	}
	out, _ := exec.CommandContext(ctx, d.amanat, "status", "--json", "--data", d.layout.Root).Output() // it fails where a person is needed
	if ctx.Err() == nil {
		must(t, json.Unmarshal(out, &told))
	}
	for _, n := range told.Nodes {
		wants = append(wants, n.NeedsPerson...)
		for _, s := range n.Services {
			for _, l := range s.Links {
				if l.Queued > 0 {
					waiting = append(waiting, strings.Join([]string{n.Node, s.Service, "to", l.Node, l.Service, l.Lane}, " "))
				}
			}
		}
	}
	slices.Sort(wants)
	return wants, waiting
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
