package post

import (
	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/identity"
)

// IdentityKeys are the keys of a service's identity, and the newest roster it has installed.
func IdentityKeys(s *identity.Service) Keys { return identityKeys{s} }

type identityKeys struct{ *identity.Service }

func (k identityKeys) Verify(node, service, domain string, message, signature []byte) error {
	return k.Roster().Verify(node, service, domain, message, signature)
}

func (k identityKeys) Seal(node, service, info string, aad, plaintext []byte) ([]byte, error) {
	return k.Roster().Seal(node, service, info, aad, plaintext)
}

func (k identityKeys) Active(node, service string) bool {
	n, ok := k.Roster().Node(node)
	if !ok || n.GetState() != identityv1.RosterNode_STATE_ACTIVE {
		return false
	}
	for _, s := range n.GetServices() {
		if s.GetService() == service {
			return true
		}
	}
	return false
}
