package app

import (
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// A chain travels whole, in one letter of at most 384 KiB (post.MaxBody), so nobody may make another's chain so long that it cannot be
// sent any more: the person could not be handed over, nor their arrival told. An event takes some 400 bytes.
const (
	// maxChain is the longest chain that is taken from another node, in bytes; what is left is for what its next owners write.
	maxChain = 256 << 10
	// maxReply is the longest reply that is recorded, in bytes.
	maxReply = 4 << 10
	// maxSaid is how much of a chain one other node's replies may take, in bytes: some 150 visits of a service.
	maxSaid = 64 << 10
)

// saidTooMuch says that a reply is too long, or that its node has said enough. What can be said but once, as that a person has come, can
// always be said.
func (w *work) saidTooMuch(r *custodyv1.Reply, signed *custodyv1.SignedReply) bool {
	size := len(signed.GetReply())
	if size > maxReply || custody.SaidOnce(r) {
		return size > maxReply
	}
	for _, l := range w.chain.Links() {
		if custody.Recorded(l.Event).GetNode() == r.GetNode() {
			size += len(l.Signed.GetEvent())
		}
	}
	return size > maxSaid
}
