package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/identity"
)

var peshawar = story.Place{Node: "khyber", Unit: "peshawar", Name: "Peshawar", District: "PK528"}

// newcomer is a province that joins a country, on a machine of its own: a folder that shares nothing with the others.
type newcomer struct {
	*country // what it joined
	root     string
	desk     string // where the files go round
	versions int
}

// operate runs the operator's command at a node, and answers what it printed.
func (n *newcomer) operate(t *testing.T, root, node string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), n.amanat, append(args, "--data", root, "--node", node, "--json")...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("amanat %s: %v: %s", strings.Join(args, " "), err, errs.Bytes())
	}
	return out
}

// decide drafts a version at the federal node, has three of its members sign it, and installs it at the nodes named.
func (n *newcomer) decide(t *testing.T, at []string, draft ...string) (file string) {
	t.Helper()
	n.versions++
	file = filepath.Join(n.desk, strings.Repeat("x", n.versions)+".pem")
	n.operate(t, n.layout.Root, network.FederalNode, append([]string{"roster"}, append(draft, "--out", file)...)...)
	for _, member := range []string{network.FederalNode, "sindh", "punjab"} {
		n.operate(t, n.layout.Root, member, "roster", "sign", "--yes", file)
	}
	for _, node := range at {
		n.operate(t, n.layout.Root, node, "roster", "publish", file)
	}
	return file
}

var members = []string{network.FederalNode, "sindh", "punjab", "balochistan"}

// join lets Khyber Pakhtunkhwa in by files and commands, and answers the layout of what runs there.
func (n *newcomer) join(t *testing.T) *network.Layout {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), n.amanat, "node", "init", "khyber", "--data", n.root, "--province", "PK-KP",
		"--display-name", "Khyber Pakhtunkhwa Child Protection Commission", "--hub", n.layout.Address(network.FederalNode, network.Hub)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	freeAddresses(t, n.root, n.layout)
	file := n.decide(t, members, "draft", identity.RequestPath(n.root, "khyber"))
	var told struct{ Network string }
	must(t, json.Unmarshal(n.operate(t, n.layout.Root, "punjab", "roster", "show"), &told))
	n.operate(t, n.root, "khyber", "join", file, "--network", told.Network)
	l, err := network.Load(n.root)
	must(t, err)
	return l
}

// freeAddresses changes the ports that init gave the node for such as are free, as an operator may.
func freeAddresses(t *testing.T, root string, others *network.Layout) {
	t.Helper()
	path := filepath.Join(root, "network.json")
	raw, err := os.ReadFile(path)
	must(t, err)
	var addresses map[string]string
	must(t, json.Unmarshal(raw, &addresses))
	var fresh map[string]string
	for clash := true; clash; {
		free, err := network.Free(t.TempDir())
		must(t, err)
		fresh, clash = map[string]string{}, false
		for at, address := range addresses {
			if part, own := strings.CutPrefix(at, "khyber/"); own {
				address = free.Address("sindh", part)
				clash = clash || uses(others, address)
			}
			fresh[at] = address
		}
	}
	raw, err = json.Marshal(fresh)
	must(t, err)
	must(t, os.WriteFile(path, raw, 0o600))
}

// uses says whether a network has an address.
func uses(l *network.Layout, address string) bool {
	for _, p := range l.Parts() {
		if l.Address(p.Node, p.Name) == address || l.Address(p.Node, p.Name+"-admin") == address {
			return true
		}
	}
	return false
}

// A province joins a network that runs: nothing is restarted, and at once a child is handed on to it, and one from it. Suspended, it
// is heard no more; readmitted, what it wrote meanwhile arrives.
func TestProvinceJoinsARunningNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
	t.Parallel()
	n := &newcomer{country: startCountry(t), root: filepath.Join(t.TempDir(), "khyber"), desk: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	waitUntilUp(ctx, t, n.country)
	l := n.join(t)
	away := &country{amanat: n.amanat, layout: l}
	away.run(t, func(p network.Part) []string { return []string{n.amanat, "part", "--data", n.root, p.Node, p.Name} })

	to := n.route(t, story.Route{From: story.Hub, To: peshawar}, l)
	from := n.route(t, story.Route{From: peshawar, To: story.Lahore}, l)
	to.examine(ctx, t, to.play(ctx, t, 2, func(int) {}))
	names := from.play(ctx, t, 1, func(int) {})
	from.examine(ctx, t, names)

	// Suspended: at home it goes on, and nobody hears of it.
	n.decide(t, members, "suspend", "khyber")
	eventually(t, "the hub refuses the suspended node", func() bool {
		raw, err := os.ReadFile(filepath.Join(n.root, "log", "khyber-referral.log"))
		must(t, err)
		return strings.Contains(string(raw), "the hub refuses this service")
	})
	must(t, from.stage.Furnish(ctx, 1))
	late := make(chan error, 1)
	var name string
	go func() {
		var err error
		name, err = from.stage.Handover(ctx, 7)
		late <- err
	}()
	must(t, from.stage.AwaitSubmitted(ctx, 2))
	if offers := offersAt(ctx, t, n.layout, "punjab"); offers != 1 {
		t.Errorf("Punjab knows of %d offers, want the one from before", offers)
	}
	n.decide(t, members, "readmit", "khyber")
	select {
	case err := <-late:
		must(t, err)
	case <-ctx.Done():
		t.Fatal("what the node wrote while it was suspended did not arrive when it was readmitted")
	}
	from.examine(ctx, t, append(names, name))

	for _, c := range []*country{n.country, away} {
		for _, p := range c.layout.Parts() {
			if r := c.supervisor.Restarts(p); r != 0 {
				t.Errorf("%s was started again %d times", p, r)
			}
		}
	}
	away.stop()
	n.stop()
	n.sound(t)
	n.soundUnder(t, n.root, 2*3)
}

// waitUntilUp lets the network come up before anything changes.
func waitUntilUp(ctx context.Context, t *testing.T, c *country) {
	t.Helper()
	must(t, c.stage.Furnish(ctx, 1))
}

// route is the country with another story in it: its children come from and go to other places.
func (n *newcomer) route(t *testing.T, r story.Route, l *network.Layout) *country {
	t.Helper()
	stage, err := story.OpenRoute(r, n.layout, l)
	must(t, err)
	t.Cleanup(func() { must(t, stage.Close()) })
	return &country{amanat: n.amanat, layout: n.layout, stage: stage}
}

// offersAt counts the offers that a node has received.
func offersAt(ctx context.Context, t *testing.T, l *network.Layout, node string) int {
	t.Helper()
	request := &referralv1.ListOffersRequest{Parent: "nodes/" + node, PageSize: 500}
	reply, err := newPeople(t, l).call(ctx, node, network.Gateway, methodOf(t, request), request)
	must(t, err)
	list, ok := reply.(*referralv1.ListOffersResponse)
	if !ok {
		must(t, errors.New("another answer"))
	}
	return len(list.GetOffers())
}
