package e2e

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/post/posttest"
)

// The files of Lahore's referral service are put back to a copy some referrals old, and nobody says so. The other nodes' letters show it;
// the service begins a new life, asks all what it lost, and has it again: every referral is there at both ends, no bed is promised twice,
// and the next child is handed on as ever.
func TestRolledBackUnannounced(t *testing.T) {
	putBackUnannounced(t, network.Referral, 6, func(context.Context, *country) {})
}

// The files of Lahore's shelter service are put back to a copy in which beds are free that are taken, and nobody says so. The referral service has
// read more of it: the shelter begins a new life, promises no bed before it has compared them, and heads are counted.
func TestShelterRolledBackUnannounced(t *testing.T) {
	const all = 5 // and no bed more
	putBackUnannounced(t, network.Shelter, all, func(ctx context.Context, c *country) {
		more, err := c.stage.CountHeads(ctx, all)
		must(t, err)
		if more != 0 {
			t.Errorf("%d more girls are in the beds than the stays say", more)
		}
	})
}

// putBackUnannounced hands so many children on to Lahore, and puts a service there back before the last, to a copy of when two had come.
func putBackUnannounced(t *testing.T, service string, all int, then func(ctx context.Context, c *country)) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	c := startCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	must(t, c.stage.Furnish(ctx, int32(all)))
	old := older{part: network.Part{Node: "punjab", Name: service}, copied: filepath.Join(t.TempDir(), "old")}
	const kept = 2
	var names []string
	before := uint64(0)
	for number := range all {
		switch number {
		case kept:
			old.keep(t, c)
		case all - 1:
			before = old.life(ctx, t, c)
			old.putBack(t, c)
		}
		name, err := c.stage.Handover(ctx, number+1)
		must(t, err)
		names = append(names, name)
	}
	if after := old.life(ctx, t, c); after <= before {
		t.Errorf("the store was put back, and lives on as %d after %d", after, before)
	}
	then(ctx, c)
	result, err := c.stage.Examine(ctx, names)
	must(t, err)
	if !result.Kept() || result.Referrals != all {
		t.Errorf("a promise broke: %+v", result)
	}
	t.Logf("the %s service's store was put back once, from life %d to before %d of %d referrals", service, before, all-1-kept, all)
	c.whole(ctx, t)
	c.stop()
	c.sound(t)
}

// Hub's referral service is rolled back to before a child was referred whose offer had not left, since the hub was away: nobody holds that
// referral. Once the service has heard the others, the case worker's service asks for it again: it is one referral, the case names it, and
// the child is handed on as ever.
func TestAReferralNobodyHoldsAnyMore(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	c := startCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	must(t, c.stage.Furnish(ctx, 2))
	old := older{part: network.Part{Node: "balochistan", Name: "referral"}, copied: filepath.Join(t.TempDir(), "old")}
	old.keep(t, c)
	first, err := c.stage.Handover(ctx, 1) // by which the others know that the service was rolled back
	must(t, err)
	hub := network.Part{Node: network.FederalNode, Name: network.Hub}
	c.supervisor.Hold(hub)
	asked, err := c.stage.Refer(ctx, 2)
	must(t, err)
	old.putBack(t, c)
	c.supervisor.Release(hub)

	second := ""
	posttest.Wait(t, "the referral is asked for again", func() bool {
		now, err := c.stage.Case(ctx, asked.GetName())
		must(t, err)
		second = now.GetReferral()
		return second != asked.GetReferral()
	})
	must(t, c.stage.HandOn(ctx, second))
	result, err := c.stage.Examine(ctx, []string{first, second})
	must(t, err)
	if !result.Kept() || result.Referrals != 2 {
		t.Errorf("a promise broke: %+v", result)
	}
	t.Logf("a store was put back once, to before a referral of which nobody else had heard; %d were handed on", result.Referrals)
	c.whole(ctx, t)
	c.stop()
	c.sound(t)
}

// older is a copy of a service's files.
type older struct {
	part   network.Part
	copied string
}

// life is the service's incarnation.
func (o older) life(ctx context.Context, t *testing.T, c *country) (incarnation uint64) {
	t.Helper()
	all, err := c.layout.Status(ctx, o.part.Node)
	must(t, err)
	for _, s := range all {
		if s.Service == o.part.Name {
			incarnation = s.Told.GetIncarnation()
		}
	}
	return incarnation
}

// keep copies the files while the service is down.
func (o older) keep(t *testing.T, c *country) {
	t.Helper()
	c.supervisor.Hold(o.part)
	defer c.supervisor.Release(o.part)
	must(t, os.CopyFS(o.copied, os.DirFS(o.folder(c))))
}

// putBack puts the copy in the place of what is there now.
func (o older) putBack(t *testing.T, c *country) {
	t.Helper()
	c.supervisor.Hold(o.part)
	defer c.supervisor.Release(o.part)
	must(t, os.RemoveAll(o.folder(c)))
	must(t, os.CopyFS(o.folder(c), os.DirFS(o.copied)))
}

func (o older) folder(c *country) string {
	return filepath.Join(c.layout.Root, o.part.Node, o.part.Name)
}

// The federal cell's files are put back to a copy, and nobody says so. The provinces' letters show it: the cell begins a new life, gets back all that
// it lost, and publishes no month that may be out already until an analyst has said which are.
func TestFederalCellRolledBack(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	c := startCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	must(t, c.stage.Furnish(ctx, 6))
	play := func(numbers ...int) {
		t.Helper()
		for _, number := range numbers {
			_, err := c.stage.Handover(ctx, number)
			must(t, err)
		}
		c.whole(ctx, t)
	}
	old := older{part: network.Part{Node: network.FederalNode, Name: network.Federal}, copied: filepath.Join(t.TempDir(), "old")}

	play(1, 2)
	old.keep(t, c)
	play(3, 4)
	before, err := c.layout.Figures(ctx, "all")
	must(t, err)
	old.putBack(t, c)

	posttest.Wait(t, "the cell has what it lost, in a new life", func() bool {
		status, err := c.layout.Status(ctx, network.FederalNode)
		must(t, err)
		figures, err := c.layout.Figures(ctx, "all")
		return err == nil && status[0].Told.GetPublicationsWithheld() && proto.Equal(figures.GetTotal(), before.GetTotal())
	})
	play(5)
	if out, err := exec.CommandContext(ctx, c.amanat, "status", "--data", c.layout.Root, network.FederalNode).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "publications:resume") {
		t.Errorf("amanat status: %v: %s", err, out)
	}
	p := newPeople(t, c.layout)
	post := func(path, body, want string, code int) {
		t.Helper()
		answer, got, err := p.fetch(ctx, network.FederalNode, http.MethodPost, path, []byte(body))
		if err != nil || got != code || !strings.Contains(string(answer), want) {
			t.Errorf("%s answers %d, %v: %s", path, got, err, answer)
		}
	}
	revision := `{"reason":"REVISION_REASON_LATE_LETTERS","request_id":"revision-1"}`
	post("/v1/publications:revise", revision, "publications:resume", http.StatusBadRequest)
	post("/v1/publications:resume", `{"lost":["publications/2020-01-e1"]}`, "2020-01", http.StatusOK)
	post("/v1/publications:revise", revision, "{", http.StatusOK)
	t.Logf("the federal cell was put back once, and had again what was told of %d persons", before.GetTotal().GetIdentified())
	c.stop()
	c.sound(t)
}
