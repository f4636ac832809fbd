package e2e

import (
	"context"
	"testing"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/post/posttest"
)

// A node loses every store, and there is no backup: its identity alone is left. Its next letters, or those of others, show that it was somebody;
// it begins a new life, asks, and has every referral that it had shared, the same as the other ends. What it had to itself is gone: its
// shelters and units are entered anew, and then it is handed the next child.
func TestLostWithoutBackup(t *testing.T) {
	if testing.Short() {
		t.Skip("needs minutes of real processes; run without -short")
	}
	d := newDrill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	const over, next = 4, 1
	must(t, d.stage.Furnish(ctx, over))
	names := d.play(ctx, t, 0, over)
	lives := d.recovered(ctx, t)

	d.destroy(t, drilled, "*/*.db", "*/wrapping.key", "bus/jetstream")
	d.release(drilled)
	posttest.Wait(t, "the node has its referrals again", func() bool {
		h, err := d.stage.Holdings(ctx, names)
		return err == nil && h.Same == over
	})
	must(t, d.stage.Furnish(ctx, next))
	names = append(names, d.play(ctx, t, over, over+next)...)
	for service, life := range d.recovered(ctx, t) {
		if service != network.Gateway && life <= lives[service] {
			t.Errorf("%s goes on in its old life", service)
		}
	}
	h := d.holdings(ctx, t, names)
	if h.Same != over+next || h.Sent != over+next {
		t.Errorf("of %d referrals there are %+v", over+next, h)
	}
	d.whole(ctx, t)
	d.settled(ctx, t)
	d.stop()
	d.sound(t)
	t.Logf("of %d referrals whose every trace at %s was lost, %d are the same at both ends again; cases there: %d", over, drilled, h.Same-next, h.Received-next)
}
