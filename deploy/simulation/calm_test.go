package simulation

import (
	"context"
	"slices"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/custody"
)

// agree holds what must be so when all has been calm for long: all know the same, and nothing waits.
func (c *country) agree() {
	for _, n := range c.people {
		if wrong := c.settled(n); wrong != "" && c.broken == "" {
			for _, node := range c.nodes {
				if f := c.chain(node, n.referral); f != nil {
					var names []string
					for _, l := range f.chain.Links() {
						names = append(names, custody.Name(l.Event)+"@"+l.Event.GetOwner())
					}
					c.tell("%s has %v: %s (child %d)", node, names, knows(f), n.number)
				}
			}
			c.breaks("HEAL %s (child %d, %s)", wrong, n.number, n.referral)
		}
	}
	for _, h := range c.houses {
		if c.broken != "" {
			return
		}
		if h.referral != nil || h.protection != nil {
			c.atRest(h)
		}
	}
	if c.plan.cases {
		c.agreeCases()
	}
	c.reconcile()
}

// atRest: nothing waits at a service.
func (c *country) atRest(h *house) {
	links, err := h.post().Status(context.Background())
	if err != nil {
		c.breaks("HEAL (letters): %v", err)
		return
	}
	for _, l := range links {
		if l.Outgoing && l.Gap > 0 && c.now.Sub(l.Oldest) > time.Hour { // those just written are under way: services go on comparing, and asking
			c.breaks("HEAL (letters): %s has %d letters to %s without receipt", h, l.Gap, l.Link.GetTo().GetNode())
		}
	}
	if waiting, err := h.waiting(); err != nil || waiting {
		c.breaks("HEAL (commands): %s has commands without result (%v)", h, err)
	}
}

// reconcile: of every day the federal cell has as many facts as were told, and the same.
func (c *country) reconcile() {
	h := c.house(Federal, Federal)
	if h.down() || c.broken != "" {
		return
	}
	client := federalv1.NewFiguresServiceClient(h.federal.Server.From("operator", h.token()))
	facts := uint64(0)
	for token := ""; ; {
		page, err := client.ListDays(context.Background(), &federalv1.ListDaysRequest{PageSize: 500, PageToken: token})
		if err != nil {
			c.breaks("FEDERAL (days): %v", err)
			return
		}
		for _, d := range page.GetDays() {
			facts += uint64(d.GetKept().GetFacts())
			if d.GetDifferTime() != nil {
				c.breaks("FEDERAL (days): of %s the cell has %d facts of %s and was told of %d", d.GetNode(), d.GetKept().GetFacts(), d.GetKept().GetDay(), d.GetTold().GetFacts())
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	c.did["facts reconciled"] = int(facts)
	submitted := slices.ContainsFunc(c.people, func(n *child) bool { return n.referral != "" })
	if submitted && facts == 0 {
		c.breaks("FEDERAL (days): nobody has told anything")
	}
}

// settled says what of a child is not as it must be when all has calmed down; empty for nothing.
func (c *country) settled(n *child) string {
	if n.referral == "" {
		return "SUBMITTED: the referral was never made"
	}
	var writer *chainFacts
	for _, node := range c.nodes {
		if f := c.chain(node, n.referral); f != nil && f.state.Owner == node {
			writer = f
		}
	}
	if writer == nil {
		if n.over && n.where == n.origin && c.house(n.origin, "referral").life > 0 {
			c.did["lost after they had ended"]++ // with the only copy; nobody else ever had the chain
			return ""
		}
		return "OWNER: nobody owns the referral"
	}
	if writer.state.Care != n.where {
		return "CARE: " + writer.state.Care + " has the duty of care, and the child is at " + n.where + " (" + custody.StateName(writer.state.State) + ")"
	}
	for _, node := range c.nodes {
		f := c.chain(node, n.referral)
		switch {
		case f == nil && writer.state.Owned(node):
			return "CHAIN: " + node + " is party to the referral and holds no chain"
		case f != nil && writer.state.Party(node) && knows(f) != knows(writer):
			return "CHAIN: " + node + " believes " + knows(f) + " where the owner knows " + knows(writer)
		}
	}
	return ""
}
