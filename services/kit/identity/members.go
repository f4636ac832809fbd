package identity

import identityv1 "amanat.example/proto/amanat/identity/v1"

// Members answer from the roster that is installed at the moment of the question, so a node that
// joins is known to a service that runs.
type Members struct{ service *Service }

// Members of the network.
func (s *Service) Members() Members { return Members{s} }

// Node is Roster.Node.
func (m Members) Node(name string) (*identityv1.RosterNode, bool) {
	return m.service.Roster().Node(name)
}

// Nodes is Roster.Nodes.
func (m Members) Nodes() []*identityv1.RosterNode { return m.service.Roster().Nodes() }

// Verify is Roster.Verify.
func (m Members) Verify(node, service, domain string, message, signature []byte) error {
	return m.service.Roster().Verify(node, service, domain, message, signature)
}

// VerifyCurrent is Roster.VerifyCurrent.
func (m Members) VerifyCurrent(node, service, domain string, message, signature []byte) error {
	return m.service.Roster().VerifyCurrent(node, service, domain, message, signature)
}

// Seal is Roster.Seal.
func (m Members) Seal(node, service, info string, aad, plaintext []byte) ([]byte, error) {
	return m.service.Roster().Seal(node, service, info, aad, plaintext)
}

// Member says whether a node takes part.
func (m Members) Member(node string) bool {
	n, ok := m.Node(node)
	return ok && n.GetState() == identityv1.RosterNode_STATE_ACTIVE
}

// Active says whether a node takes part and has the service.
func (m Members) Active(node, service string) bool {
	n, _ := m.Node(node)
	if !m.Member(node) {
		return false
	}
	for _, s := range n.GetServices() {
		if s.GetService() == service {
			return true
		}
	}
	return false
}

// Keys are a service's own keys and what the roster has of all others.
type Keys struct {
	*Service
	Members
}

// Keys of the service, to sign and open with, and of the others, to verify and seal with.
func (s *Service) Keys() Keys { return Keys{s, s.Members()} }
