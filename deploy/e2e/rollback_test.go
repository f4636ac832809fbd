package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"amanat.example/deploy/network"
)

// The files of Lahore's referral service are put back to a copy some referrals old, and nobody says so. The other nodes' letters show it;
// the service begins a new life, asks all what it lost, and has it again: every referral is there at both ends, no bed is promised twice,
// and the next child is handed on as ever.
func TestRolledBackUnannounced(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	c := startCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	must(t, c.stage.Furnish(ctx, 6))
	var names []string
	play := func(numbers ...int) {
		t.Helper()
		for _, number := range numbers {
			name, err := c.stage.Handover(ctx, number)
			must(t, err)
			names = append(names, name)
		}
	}
	part := network.Part{Node: "punjab", Name: "referral"}
	folder := filepath.Join(c.layout.Root, part.Node, part.Name)
	old := filepath.Join(t.TempDir(), "old")

	play(1, 2)
	c.supervisor.Hold(part)
	must(t, os.CopyFS(old, os.DirFS(folder)))
	c.supervisor.Release(part)
	play(3, 4, 5)
	c.supervisor.Hold(part)
	must(t, os.RemoveAll(folder))
	must(t, os.CopyFS(folder, os.DirFS(old)))
	c.supervisor.Release(part)

	play(6)
	result, err := c.stage.Examine(ctx, names)
	must(t, err)
	if !result.Kept() || result.Referrals != 6 {
		t.Errorf("a promise broke: %+v", result)
	}
	c.stop()
	c.sound(t)
}
