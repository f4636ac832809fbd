package simulation

import (
	"context"
	"strings"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
)

// steady says that all referral services run and know what they knew: then what they say together is the whole truth.
func (c *country) steady() bool {
	for _, h := range c.houses {
		if h.service == "referral" && (h.down() || h.referral.Recovering()) {
			return false
		}
	}
	return true
}

// chain is a referral's chain at a node, nil where it has none.
func (c *country) chain(node, name string) *chainFacts {
	all, err := c.client(node, "gateway").GetCustodyChain(context.Background(), &referralv1.GetCustodyChainRequest{Name: name})
	if err != nil {
		return nil
	}
	return c.chains.of(all.GetEvents())
}

// judge holds what must be so of one referral at any moment.
func (c *country) judge(n *child) {
	if n.referral == "" || !c.steady() {
		return
	}
	var writers, carers []string
	var longest []custody.Link
	for _, node := range c.nodes {
		f := c.chain(node, n.referral)
		if f == nil {
			continue
		}
		if f.wrong != "" {
			c.breaks("CHAIN: of child %d at %s %s", n.number, node, f.wrong)
			return
		}
		if f.state.Owner == node {
			writers = append(writers, node)
		}
		if f.state.Care == node {
			carers = append(carers, node)
		}
		if !f.promised {
			c.breaks("READY (sent): child %d was sent to a place that did not promise", n.number)
			return
		}
		links := f.chain.Links()
		for i := range min(len(links), len(longest)) {
			if links[i].Hash != longest[i].Hash {
				c.breaks("FORK: of child %d two different events stand at position %d (%s)", n.number, i+1, node)
				return
			}
		}
		if len(links) > len(longest) {
			longest = links
		}
	}
	if len(writers) > 1 {
		c.breaks("I1 (one writer): %s may write of child %d", strings.Join(writers, " and "), n.number)
	}
	if len(carers) == 0 && !c.asserted(n.referral) {
		c.breaks("I6 (care): nobody has the duty of care of child %d", n.number)
	}
}

// asserted says that a node says it has the person, and waits for the referral.
func (c *country) asserted(name string) bool {
	for _, node := range c.nodes {
		due, err := c.client(node, "gateway").ListDeadlines(context.Background(), &referralv1.ListDeadlinesRequest{Parent: "nodes/" + node, PageSize: 1000})
		if err != nil {
			return true
		}
		for _, d := range due.GetDeadlines() {
			if d.GetKind() == referralv1.Deadline_KIND_FOLLOW_PERSON && d.GetReferral() == name {
				return true
			}
		}
	}
	return false
}

// judgeBeds holds that no bed is promised or taken twice.
func (c *country) judgeBeds(beds int32) {
	for _, node := range c.nodes {
		h := c.house(node, "shelter")
		if h.down() {
			continue
		}
		client := shelterv1.NewShelterServiceClient(h.shelter.Server.From("gateway", h.token()))
		var taken int32
		for token := ""; ; {
			page, err := client.ListHolds(context.Background(), &shelterv1.ListHoldsRequest{Parent: "nodes/" + node, PageSize: 1000, PageToken: token})
			if err != nil {
				return // it was restored, and compares first
			}
			for _, one := range page.GetHolds() {
				if held(one) {
					taken += one.GetQuantity()
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		for token := ""; ; {
			page, err := client.ListStays(context.Background(), &shelterv1.ListStaysRequest{Parent: "nodes/" + node, PageSize: 1000, PageToken: token})
			if err != nil {
				return
			}
			for _, one := range page.GetStays() {
				if one.GetState() != shelterv1.Stay_STATE_DISCHARGED {
					taken += one.GetQuantity()
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		if taken > beds {
			c.breaks("CAPACITY: %s has %d beds and %d are taken", node, beds, taken)
		}
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

var _ = custodyv1.ReferralState_REFERRAL_STATE_UNSPECIFIED
