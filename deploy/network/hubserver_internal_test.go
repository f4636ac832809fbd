package network

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
)

// What fails half-way is no member's doing: the hub tries the newer version again and never goes back to the older. What cannot be thrown away now
// is thrown away later, and holds up nothing.
func TestHubTriesAgain(t *testing.T) {
	l, err := Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	old, err := identity.LoadRoster(l.Root, FederalNode)
	if err != nil {
		t.Fatal(err)
	}
	file, err := identity.Propose(l.Root, FederalNode, time.Now(), identity.Draft{Suspend: []string{"balochistan"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes[:3] {
		if _, err := identity.Sign(l.Root, n.Name, file, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := identity.InstallRoster(l.Root, FederalNode, file.GetLog()); err != nil {
		t.Fatal(err)
	}
	newer, err := identity.LoadRoster(l.Root, FederalNode)
	if err != nil || newer.Version() == old.Version() {
		t.Fatal("there is no newer version", err)
	}

	var said bytes.Buffer
	log, err := logging.New(logging.Options{Node: FederalNode, Service: Hub, Output: &said})
	if err != nil {
		t.Fatal(err)
	}
	var did []string
	broken := map[string]bool{}
	named, held := old, holdings{2, 8}
	do := func(what string) func(*identity.Roster) error {
		return func(r *identity.Roster) error {
			version := "old"
			if r.Version() == newer.Version() {
				version = "newer"
			}
			did = append(did, what+" "+version)
			if broken[what] {
				return errors.New("not now")
			}
			if what == "provision" {
				held = map[string]holdings{"old": {2, 8}, "newer": {2, 6}}[version]
			}
			return nil
		}
	}
	w := &hubWatch{
		log: log, roster: func() *identity.Roster { return named }, now: old, made: held, holdings: func() holdings { return held },
		provision: do("provision"), admit: do("admit"), clear: do("clear"),
	}
	look := func(when string, want ...string) {
		t.Helper()
		did = nil
		if w.look(); !slices.Equal(did, want) {
			t.Errorf("%s it does %q, want %q", when, did, want)
		}
	}
	broken["clear"] = true
	look("at the start", "clear old")
	look("after that failed", "clear old")
	broken["clear"] = false
	look("now that it can", "clear old")
	look("with nothing to do")

	named, broken["admit"] = newer, true
	look("with a newer roster", "provision newer", "admit newer")
	look("after that failed half-way", "provision newer", "admit newer")
	held = holdings{1, 2}
	look("when a member deletes a stream meanwhile", "provision newer", "admit newer")
	broken["admit"], broken["clear"] = false, true
	look("now that it can", "provision newer", "admit newer", "clear newer")
	look("taken up, but not cleared", "clear newer")
	broken["clear"] = false
	look("now that it can", "clear newer")

	held, broken["provision"] = holdings{1, 2}, true
	look("when a member deletes a stream", "provision newer")
	broken["provision"] = false
	look("after that failed", "provision newer", "clear newer")
	look("with nothing to do")
	if n := strings.Count(said.String(), "a member that means harm"); n != 3 { // at two deletions, of which one is met twice
		t.Errorf("a member is accused %d times:\n%s", n, &said)
	}
}

// A stream is deleted between being made and being looked at: it is missed all the same, and made anew.
func TestHubMissesAStreamThatWasGoneAtOnce(t *testing.T) {
	l, err := Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	roster, err := identity.LoadRoster(l.Root, FederalNode)
	if err != nil {
		t.Fatal(err)
	}
	made, cleared := 0, 0
	w := &hubWatch{
		log: logging.Discard(), roster: func() *identity.Roster { return roster }, now: roster, // nothing is held, as when it was first looked at
		holdings:  func() holdings { return holdings{2 * made, 8 * made} },
		provision: func(*identity.Roster) error { made = 1; return nil },
		clear: func(*identity.Roster) error {
			if made == 0 {
				return fmt.Errorf("look at the hub's stream: %w", jetstream.ErrStreamNotFound)
			}
			cleared++
			return nil
		},
	}
	for range 3 {
		w.look()
	}
	if made != 1 || cleared != 1 {
		t.Errorf("made anew: %d, cleared: %d", made, cleared)
	}
}
