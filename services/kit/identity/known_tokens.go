package identity

import (
	"crypto/sha256"
	"sync"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

// mostKnown bounds each of the two generations of known tokens; a node has some hundreds of workers.
const mostKnown = 1024

// knownTokens remembers the tokens whose signature verified under a roster. The gateway sends the same token with each of a
// person's calls for minutes, and to verify an Ed25519 signature costs more than most calls. It keeps digests, not what would let
// somebody act for a person. Zero is ready to use.
type knownTokens struct {
	mu         sync.Mutex
	roster     *Roster
	young, old map[[sha256.Size]byte]knownToken
}

// knownToken is what a token's bytes say, and the service that signed them.
type knownToken struct {
	token  *identityv1.PersonToken
	issuer string
}

// find answers what is known of a token under a roster; what another roster said of it is forgotten.
func (k *knownTokens) find(roster *Roster, digest [sha256.Size]byte) (knownToken, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.roster != roster {
		k.roster, k.young, k.old = roster, nil, nil
		return knownToken{}, false
	}
	known, ok := k.young[digest]
	if !ok {
		known, ok = k.old[digest]
	}
	return known, ok
}

// keep remembers a token that verified under a roster. Those longest unseen give way.
func (k *knownTokens) keep(roster *Roster, digest [sha256.Size]byte, known knownToken) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.roster != roster {
		return
	}
	if len(k.young) >= mostKnown {
		k.young, k.old = nil, k.young
	}
	if k.young == nil {
		k.young = map[[sha256.Size]byte]knownToken{}
	}
	k.young[digest] = known
}
