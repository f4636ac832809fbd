package post

import "amanat.example/services/kit/identity"

// IdentityKeys are the keys of a service's identity, and the members of the network.
func IdentityKeys(s *identity.Service) Keys { return identityKeys{s, s.Members()} }

type identityKeys struct {
	*identity.Service
	identity.Members
}
