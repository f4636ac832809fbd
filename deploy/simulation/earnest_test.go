package simulation

import (
	"testing"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/custody"
	"amanat.example/services/federal"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post"
)

// party is what a service signs and seals with, and whom it knows.
type party struct {
	crypto post.Keys
	roster interface {
		custody.Verifier
		federal.Roster
		Member(node string) bool
		Node(name string) (*identityv1.RosterNode, bool)
		Nodes() []*identityv1.RosterNode
		Seal(node, service, info string, aad, plaintext []byte) ([]byte, error)
	}
}

// party is the house's own.
func (h *house) party() party {
	if real, ok := h.c.real[h.name]; ok {
		return real
	}
	own := fellow{cheap{h.node, h.service}, h.c.nodes, h.c.servicesOf()}
	return party{own, own}
}

// inEarnest are the product's own keys, of a network that was made as an operator makes it.
func inEarnest(t testing.TB, nodes, services []string) map[string]party {
	root, all := t.TempDir(), map[string]party{}
	options := []identity.Options{{Root: root, Node: Federal, Services: []string{Federal}}}
	for _, node := range nodes {
		options = append(options, identity.Options{Root: root, Node: node, Province: "PK-PB", Services: services})
	}
	if err := identity.InitNetwork(options...); err != nil {
		t.Fatal(err)
	}
	for _, o := range options {
		for _, service := range o.Services {
			own, err := identity.Load(root, o.Node, service)
			if err != nil {
				t.Fatal(err)
			}
			all[o.Node+"/"+service] = party{own.Keys(), own.Members()}
		}
	}
	return all
}
