package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc"
)

// courier carries files between nodes with the operator's command alone.
type courier struct {
	*country
	dir     string
	trips   int
	applied int
}

func (c *courier) amanatParcels(ctx context.Context, args ...string) (out []byte, err error) {
	cmd := exec.CommandContext(ctx, c.amanat, append([]string{"parcels"}, args...)...)
	out, err = cmd.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("amanat parcels %s: %w: %s", strings.Join(args, " "), err, failed.Stderr)
	}
	return out, err
}

// carry takes what one node has for another there, and says how many letters were new.
func (c *courier) carry(ctx context.Context, from, to string) (file string, applied int, err error) {
	c.trips++
	file = filepath.Join(c.dir, fmt.Sprintf("%04d-%s-%s.parcels", c.trips, from, to))
	if _, err := c.amanatParcels(ctx, "export", "--data", c.layout.Root, "--node", from, "--to", to, file); err != nil {
		return file, 0, err
	}
	out, err := c.amanatParcels(ctx, "import", "--json", "--data", c.layout.Root, "--node", to, file)
	if err != nil {
		return file, 0, err
	}
	var result struct{ Applied int }
	return file, result.Applied, json.Unmarshal(out, &result)
}

// The hub is never there: a referral goes from its first letter to its outcome by carried files alone, and the federal cell
// counts it by carried files too. The files tell nothing of whom they are about, and a second import of all of them changes nothing.
func TestReferralCarriedByHand(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	c := &courier{country: newCountry(t)}
	c.dir = filepath.Join(c.layout.Root, "stick")
	must(t, os.Mkdir(c.dir, 0o700))
	c.runWithout(t, network.Part{Node: network.FederalNode, Name: network.Hub})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	var playing errgroup.Group
	handed := make(chan struct{})
	var names []string
	playing.Go(func() error {
		defer close(handed)
		if err := c.stage.Furnish(ctx, 1); err != nil {
			return err
		}
		name, err := c.stage.Handover(ctx, 1)
		names = append(names, name)
		return err
	})
	var files [][2]string
	round := func() (applied int) {
		for _, way := range [][2]string{
			{"balochistan", "punjab"},
			{"punjab", "balochistan"},
			{"balochistan", network.FederalNode},
			{"punjab", network.FederalNode},
			{network.FederalNode, "balochistan"},
			{network.FederalNode, "punjab"},
		} {
			file, n, err := c.carry(ctx, way[0], way[1])
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, [2]string{way[1], file})
			applied += n
		}
		c.applied += applied
		return applied
	}
	c.awaitServices(ctx, t)
	for over := false; !over; {
		select {
		case <-handed:
			over = true
		default:
		}
		round()
	}
	must(t, playing.Wait())
	for round() > 0 || !c.isWhole(ctx, t) { // the last facts and receipts, and what the day they are of adds up to
	}
	c.examine(ctx, t, names)
	t.Logf("%d letters carried in %d files", c.applied, len(files))
	if c.applied == 0 {
		t.Error("nothing was carried")
	}
	s := &searcher{}
	for _, text := range story.Personal() {
		s.seek(text, []byte(text))
	}
	s.leaks(t, c.layout.Root)

	for _, f := range files {
		out, err := c.amanatParcels(ctx, "import", "--json", "--data", c.layout.Root, "--node", f[0], f[1])
		if err != nil || !strings.Contains(string(out), `"applied":0`) {
			t.Errorf("imported once more: %v %s", err, out)
		}
	}
	c.refusals(ctx, t, files[0][1])
	c.examine(ctx, t, names)
	c.stop()
	c.sound(t)
}

// refusals are what the operator is told of wrong files, each with exit code 1 and nothing changed.
func (c *courier) refusals(ctx context.Context, t *testing.T, good string) {
	t.Helper()
	whole, err := os.ReadFile(good)
	must(t, err)
	file := func(name string, content []byte) string {
		path := filepath.Join(c.dir, name)
		must(t, os.WriteFile(path, content, 0o600))
		return path
	}
	at := []string{"--data", c.layout.Root, "--node", "punjab"}
	for says, args := range map[string][]string{
		"cut off after record":         append([]string{"import", file("cut", whole[:len(whole)-20])}, at...),
		"is damaged":                   append([]string{"import", file("damaged", append(append([]byte{}, whole[:60]...), make([]byte, 200)...))}, at...),
		"no file of exported":          append([]string{"import", file("photo", []byte(strings.Repeat("JFIF", 30)))}, at...),
		"for another node than punjab": append([]string{"import", c.lastFileFor(t, "balochistan")}, at...),
		"no such file":                 append([]string{"import", filepath.Join(c.dir, "absent")}, at...),
		"is there already":             append([]string{"export", "--to", "sindh", good}, at...),
		"names no such node":           append([]string{"export", "--to", "atlantis", filepath.Join(c.dir, "x")}, at...),
		"with --node":                  {"import", good, "--data", c.layout.Root},
	} {
		if _, err := c.amanatParcels(ctx, args...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", args, err, says)
		}
	}
	for _, as := range []string{network.Gateway, network.Referral} { // no service carries for a person
		id, err := identity.Load(c.layout.Root, "punjab", as)
		must(t, err)
		conn, err := rpc.Dial(c.layout.Address("punjab", network.Protection), id.ClientTLS(network.Protection))
		must(t, err)
		_, exported := post.ExportFile(ctx, conn, "balochistan", io.Discard)
		_, imported := post.ImportFile(ctx, conn, bytes.NewReader(whole))
		if status.Code(exported) != codes.PermissionDenied || status.Code(imported) != codes.PermissionDenied {
			t.Errorf("%s may carry: %v, %v", as, exported, imported)
		}
		must(t, conn.Close())
	}
	if _, err := os.Stat(filepath.Join(c.dir, "x")); err == nil {
		t.Error("a refused export left a file")
	}
}

func (c *courier) lastFileFor(t *testing.T, node string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(c.dir, "*-"+node+".parcels"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no file for %s: %v", node, err)
	}
	return all[len(all)-1]
}

// awaitServices returns once every service with a post answers.
func (c *courier) awaitServices(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, node := range []string{"balochistan", "punjab", network.FederalNode} {
		to := "sindh"
		for {
			path := filepath.Join(c.dir, "first")
			_, err := c.amanatParcels(ctx, "export", "--data", c.layout.Root, "--node", node, "--to", to, path)
			if err == nil {
				must(t, os.Remove(path))
				break
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
}
