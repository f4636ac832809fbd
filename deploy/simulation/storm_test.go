package simulation

import (
	"context"
	"time"

	"amanat.example/services/kit/store"
)

// storm has things break, all along, until it is calm: services crash, links are cut, the hub is wiped, old copies are restored.
func (c *country) storm() {
	again := func(mean time.Duration, do func()) {
		var next func()
		next = func() {
			if !c.calm {
				do()
				c.after(c.about(mean), next)
			}
		}
		c.after(c.about(mean), next)
	}
	any := func() *house { return c.houses[c.chance.IntN(len(c.houses))] }
	again(3*time.Hour, func() {
		if h := any(); !h.down() {
			h.crash()
		}
	})
	again(6*time.Hour, func() { // the next commit is written, and power is lost before it is synced
		if h := any(); !h.down() {
			h.engine.FailNextCommit(errLost)
			c.did["commits that failed"]++
		}
	})
	again(8*time.Hour, func() {
		node := c.nodes[c.chance.IntN(len(c.nodes))]
		if c.hub.cut[node] {
			return
		}
		c.hub.cut[node] = true
		c.did["cuts"]++
		c.tell("the link of %s is cut", node)
		c.after(c.about(4*time.Hour), func() {
			c.hub.cut[node] = false
			c.tell("the link of %s is mended", node)
			c.reconnect(node)
		})
	})
	again(4*24*time.Hour, c.wipeHub)
	again(8*time.Hour, func() {
		h := any()
		h.older = h.engine.Clone()
	})
	again(4*24*time.Hour, func() {
		if h := any(); !h.down() && h.older != nil {
			h.restore()
		}
	})
}

// reconnect tells a node's post that the hub is there again.
func (c *country) reconnect(node string) {
	h := c.house(node, "referral")
	if h.down() {
		return
	}
	select {
	case h.line.reconnected <- struct{}{}:
	default:
	}
	h.work()
}

// wipeHub has the hub forget all that it has.
func (c *country) wipeHub() {
	c.hub.life++
	c.did["hub wipes"]++
	c.tell("the hub is wiped")
	for _, node := range c.nodes {
		if !c.hub.cut[node] {
			c.reconnect(node)
		}
	}
}

// restore puts an older copy of a service's store in its place, as an operator does from a backup.
func (h *house) restore() {
	h.c.did["restores"]++
	h.c.tell("%s is restored", h)
	was, into := h.engine, store.NewMemory()
	h.engine, h.referral, h.shelter = h.older, nil, nil
	h.older = nil
	h.open()
	if h.down() {
		return
	}
	clock := func() time.Time { return h.c.now }
	var err error
	if h.referral != nil {
		err = h.referral.RestoreTo(context.Background(), into, clock)
	} else {
		err = h.shelter.RestoreTo(context.Background(), into, clock)
	}
	if err != nil {
		h.c.breaks("RESTORE: %s: %v", h, err)
		return
	}
	_ = was
	h.engine, h.referral, h.shelter = into, nil, nil
	h.open()
}

// calmDown mends all that is broken, and lets nothing break any more.
func (c *country) calmDown() {
	c.calm = true
	c.tell("it is calm")
	for _, node := range c.nodes {
		c.hub.cut[node] = false
		c.reconnect(node)
	}
}
