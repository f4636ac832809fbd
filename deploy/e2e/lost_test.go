package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post/posttest"
)

// reissue makes the node's identity anew, which it has lost, and lets it in again: the members sign that its keys are replaced.
func (d *drill) reissue(ctx context.Context, t *testing.T) {
	t.Helper()
	path := filepath.Join(d.layout.Root, "network.json")
	addresses, err := os.ReadFile(path)
	must(t, err)
	d.operate(ctx, t, "node", "init", drilled, "--province", "PK-PB", "--display-name", "Punjab Child Protection & Welfare Bureau",
		"--hub", d.layout.Address(network.FederalNode, network.Hub))
	must(t, os.WriteFile(path, addresses, 0o600)) // its ports are free ones, as before
	file := filepath.Join(t.TempDir(), "replaced.pem")
	d.operate(ctx, t, "roster", "draft", "--replace", "--node", network.FederalNode, "--out", file, identity.RequestPath(d.layout.Root, drilled))
	others := []string{network.FederalNode, "sindh", "balochistan"}
	for _, member := range others {
		d.operate(ctx, t, "roster", "sign", "--yes", "--node", member, file)
	}
	for _, member := range others {
		d.operate(ctx, t, "roster", "publish", "--node", member, file)
	}
	var told struct{ Network string }
	must(t, json.Unmarshal([]byte(d.operate(ctx, t, "roster", "show", "--json", "--node", "sindh")), &told))
	d.operate(ctx, t, "join", file, "--node", drilled, "--network", told.Network)
}

// A node loses every file, its keys too, and there is no backup. The members sign that it has new keys, and it joins again. Its next letters, or
// those of others, show that it was somebody; it begins a new life, asks, and has every referral that it had shared, the same as the other
// ends; who was on the way to it arrives there, and a case is made of the dossier, sealed anew. What it had to itself is gone, the cases of those who
// had come among it: its shelters and units are entered anew, and then it is handed the next child.
func TestLostWithoutBackup(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
	t.Parallel()
	d := newDrill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const over, way, next = 4, 2, 1
	must(t, d.stage.Furnish(ctx, over+way))
	names := d.play(ctx, t, 0, over)
	names = append(names, d.send(ctx, t, over, over+way)...)
	lives := d.recovered(ctx, t)

	d.destroy(t, drilled)
	d.reissue(ctx, t)
	d.stage = d.route(t, story.Route{From: story.Hub, To: story.Lahore}) // its people have certificates of its new authority
	d.release(drilled)
	posttest.Wait(t, "the node has its referrals again", func() bool {
		h, err := d.stage.Holdings(ctx, names)
		return err == nil && h.Same == over+way
	})
	must(t, d.stage.Furnish(ctx, way+next))
	must(t, d.receive(ctx, names[over:])())
	posttest.Wait(t, "each who was on the way has a case there", func() bool {
		h, err := d.stage.Holdings(ctx, names)
		return err == nil && h.Received == way
	})
	names = append(names, d.play(ctx, t, len(names), len(names)+next)...)
	for service, life := range d.recovered(ctx, t) {
		if service != network.Gateway && life <= lives[service] {
			t.Errorf("%s goes on in its old life", service)
		}
	}
	raw, err := os.ReadFile(filepath.Join(d.layout.Root, "log", drilled+"-"+network.Referral+".log"))
	must(t, err)
	if !bytes.Contains(raw, []byte("the other nodes are asked what it lost")) || bytes.Contains(raw, []byte("a handover on a promise this node never gave is refused")) {
		t.Error("it took for new what it had lost")
	}
	h, all := d.holdings(ctx, t, names), over+way+next
	if h.Same != all || h.Sent != all || h.Received != way+next {
		t.Errorf("of %d referrals there are %+v", all, h)
	}
	d.whole(ctx, t)
	// What was sealed to the keys that are lost opens no more; the rest did not wait for it.
	d.settled(ctx, t, "punjab/protection: balochistan/protection, urgent: 6 letters that came lie in quarantine",
		"punjab/referral: balochistan/referral, urgent: 6 letters that came lie in quarantine")
	d.stop()
	d.sound(t)
	t.Logf("of %d referrals whose every trace at %s was lost, %d are the same at both ends again; %d girls were on the way, each has a case there, and has arrived", over+way, drilled, h.Same-next, way)
}
