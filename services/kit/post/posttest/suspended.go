package posttest

import (
	"testing"
	"time"

	"amanat.example/services/kit/identity"
)

// suspended has a node suspended and readmitted while both work on: what it wrote meanwhile counts for nothing, though the broker
// brings it, and comes by itself afterwards. Of all that the writer learns only at the end.
func suspended(t *testing.T, w world) {
	w.exchange(t)
	decide(t, w.root, identity.Draft{Suspend: []string{"sindh"}})
	before := w.punjab.Counted("mail-in", "unknown-sender")
	w.sindh.QueueAll(w.punjab, bulk, []string{"three"})
	Wait(t, "the letter is thrown away", func() bool { return w.punjab.Counted("mail-in", "unknown-sender") > before })
	mustEqual(t, w.punjab.Received(), []string{"one", "two"})
	if w.sindh.Unreceipted() == 0 {
		t.Error("a letter that counted for nothing was receipted")
	}
	decide(t, w.root, identity.Draft{Readmit: []string{"sindh"}})
	Wait(t, "the letter is receipted", func() bool { return w.sindh.Unreceipted() == 0 })
	mustEqual(t, w.punjab.Received(), []string{"one", "two", "three"})
}

// decide makes the next version of the roster, signed by Punjab and the federal node and installed there.
func decide(tb testing.TB, root string, d identity.Draft) {
	tb.Helper()
	file, err := identity.Propose(root, "punjab", time.Now(), d)
	if err != nil {
		tb.Fatal(err)
	}
	for _, signer := range []string{"punjab", "federal"} {
		if _, err := identity.Sign(root, signer, file, false); err != nil {
			tb.Fatal(err)
		}
	}
	for _, node := range []string{"punjab", "federal"} {
		if err := identity.InstallRoster(root, node, file.GetLog()); err != nil {
			tb.Fatal(err)
		}
	}
}
