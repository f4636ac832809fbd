package simulation

import (
	"context"
	"time"

	"amanat.example/services/kit/store"
)

// strike has something break.
func (c *country) strike(m mishap) {
	if c.calm {
		return
	}
	switch m.kind {
	case "crash":
		for _, h := range c.housesOf(m) {
			if !h.down() {
				h.crash(m.keeps, m.long)
			}
		}
	case "commit": // one of the next commits is written, and power is lost before it is synced: also between two that follow from one cause
		for _, h := range c.housesOf(m) {
			h.engine.FailCommitAfter(m.pick%6, errLost)
		}
	case "cut":
		c.cut(m, cutOut|cutIn)
	case "cut out":
		c.cut(m, cutOut)
	case "cut in":
		c.cut(m, cutIn)
	case "slow":
		c.did["slow links"]++
		c.hub.slow[m.node] = c.now.Add(m.long)
	case "wipe hub":
		c.did["hub wipes"]++
		c.hub.life, c.hub.last = c.hub.life+1, 0
		c.tell("the hub is wiped")
		c.reconnectAll()
	case "roll hub back":
		c.rollHubBack(m.long)
	case "copy":
		for _, h := range c.housesOf(m) {
			if h.copies = append(h.copies, h.engine.Clone()); len(h.copies) > 4 {
				h.copies = h.copies[1:]
			}
		}
	case "restore":
		c.skew[m.node] = 0 // who restores sets the clock first
		for _, h := range c.housesOf(m) {
			h.restore(m)
		}
	case "roll back":
		if m.service == "" {
			c.did["rollbacks of whole nodes"]++
		}
		for _, h := range c.housesOf(m) {
			h.rollBack(m)
		}
	case "clock forward":
		c.jump(m, m.long)
	case "clock back":
		c.jump(m, -min(m.long, 12*time.Hour))
	default:
		c.t.Fatalf("nobody knows how to %q", m.kind)
	}
}

// housesOf are those that a mishap is about.
func (c *country) housesOf(m mishap) []*house {
	if m.service != "" {
		return []*house{c.house(m.node, m.service)}
	}
	all := []*house{c.house(m.node, "shelter"), c.house(m.node, "referral")}
	if c.plan.cases {
		all = append(all, c.house(m.node, "protection"))
	}
	return all
}

func (c *country) cut(m mishap, ways int) {
	if c.hub.cut[m.node] != 0 {
		return
	}
	c.hub.cut[m.node] = ways
	c.did[m.kind+"s"]++
	c.tell("the link of %s: %s", m.node, m.kind)
	c.after(m.long, func() {
		c.hub.cut[m.node] = 0
		c.tell("the link of %s is mended", m.node)
		c.reconnect(m.node)
	})
}

// jump puts a node's clocks forward or back for a while.
func (c *country) jump(m mishap, by time.Duration) {
	c.did["clock jumps"]++
	set := func(by time.Duration) {
		c.skew[m.node] = by
		c.tell("the clocks of %s are off by %v", m.node, by)
		for _, h := range c.housesOf(m) {
			h.looksAgain()
		}
	}
	set(by)
	c.after(m.long/2+time.Hour, func() {
		if c.skew[m.node] == by {
			set(0)
		}
	})
}

// looksAgain is what a service does when its clock has jumped: all that may be due is looked at.
func (h *house) looksAgain() {
	h.next, h.due = time.Time{}, h.now()
	switch { // commands wait by a clock that nobody sets: by this one they may wait for days, or not at all
	case h.referral != nil:
		h.recover, h.compared, h.matched, h.tells = h.now(), h.now(), h.now(), h.now()
		h.commands = h.now()
		h.referral.Commands.Hurry("shelter")
	case h.protection != nil:
		h.tells, h.compared, h.follow = h.now(), time.Time{}, time.Time{}
		h.commands = h.now()
		h.protection.Commands.Hurry("referral")
	}
	h.work()
}

// reconnect tells a node's post that the hub is there again.
func (c *country) reconnect(node string) {
	for _, h := range c.houses {
		if h.node != node || h.service == "shelter" || h.down() {
			continue
		}
		select {
		case h.line.reconnected <- struct{}{}:
		default:
		}
		h.work()
	}
}

func (c *country) reconnectAll() {
	for _, node := range append(c.nodes[:len(c.nodes):len(c.nodes)], Federal) {
		if c.hub.cut[node] == 0 {
			c.reconnect(node)
		}
	}
}

// rollHubBack has the hub be as it was a while ago: what came since is gone, and what it brought since it brings again.
func (c *country) rollHubBack(by time.Duration) {
	by = min(by, remembers-10*time.Minute)
	c.hub.life, c.hub.last = c.hub.life+1, 0
	c.did["hub rollbacks"]++
	c.tell("the hub is rolled back by %v", by)
	then := c.now.Add(-by)
	for _, old := range c.hub.taken {
		if old.at.Before(then) && then.Sub(old.at) < 10*time.Minute {
			c.hub.last++
			c.bring(time.Second, c.hub.life, c.hub.last, old.subject, old.data)
		}
	}
	c.reconnectAll()
}

// old is a copy to put a service back to; nil for none. Those made later are of a life that is lost, and are thrown away.
func (h *house) old(m mishap) *store.Memory {
	if len(h.copies) == 0 {
		return nil
	}
	h.copies = h.copies[:m.pick%len(h.copies)+1]
	return h.copies[len(h.copies)-1].Clone()
}

// begins forgets what was promised in a life that is lost.
func (h *house) begins() {
	h.life++
	h.promised, h.applied, h.unsure = nil, nil, false
}

// restore puts an older copy of a service's store in its place, as an operator does from a backup.
func (h *house) restore(m mishap) {
	old := h.old(m)
	if old == nil {
		return
	}
	h.c.did["restores"]++
	h.c.did["restores of "+h.service]++
	h.c.tell("%s is restored", h)
	into := store.NewMemory()
	h.close()
	h.line = newLine(h)
	h.lot = &lot{seed: mark("restore", h.name, h.c.now.Format(time.RFC3339Nano))}
	err := h.start(old)
	switch {
	case err != nil:
	case h.referral != nil:
		err = h.referral.RestoreTo(context.Background(), into, h.now)
	case h.protection != nil:
		err = h.protection.RestoreTo(context.Background(), into, h.now)
	default:
		err = h.shelter.RestoreTo(context.Background(), into, h.now)
	}
	if err != nil {
		h.c.breaks("RESTORE: %s: %v", h, err)
		return
	}
	h.close()
	h.engine = into
	h.begins()
	h.open()
}

// rollBack puts an older copy in its place and tells nobody. Until a peer or a service that follows it does, nobody works there. Its link is up: who does not
// hear its peers can write what contradicts its lost life, and nobody can know (DESIGN I2: a person decides).
func (h *house) rollBack(m mishap) {
	if h.c.hub.cut[h.node] != 0 || h.c.now.Before(h.c.hub.slow[h.node]) || h.down() {
		return
	}
	old := h.old(m)
	if old == nil {
		return
	}
	h.c.did["rollbacks"]++
	h.c.did["rollbacks of "+h.service]++
	h.c.tell("%s is rolled back", h)
	h.close()
	h.engine = old
	h.begins()
	h.unsure = true
	h.open()
	h.c.after(3*time.Hour, func() { h.unsure = false })
}

// calmDown mends all that is broken, and lets nothing break any more.
func (c *country) calmDown() {
	c.calm = true
	c.tell("it is calm")
	for _, node := range append(c.nodes[:len(c.nodes):len(c.nodes)], Federal) {
		c.hub.cut[node], c.hub.slow[node], c.skew[node] = 0, time.Time{}, 0
	}
	for _, h := range c.houses {
		h.engine.FailNextCommit(nil)
		h.looksAgain()
		if h.down() {
			h.open()
		}
	}
	c.reconnectAll()
}
