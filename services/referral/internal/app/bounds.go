package app

import (
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
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
	// leftOfSaid is how much of that a unit's visits leave, in bytes, to what must still be said: of the person's safety, of consent, and
	// that a promise cannot be kept.
	leftOfSaid = 8 << 10
	// aroundReply is what an event takes besides the reply that it records, at most, in bytes.
	aroundReply = 320
	// maxAnnex is the longest content of an annex that is taken from another node, in bytes, as custody.proto has it (Annex.content). A longer one
	// might come here, and not go on: sealed for its next reader it would be no letter any more.
	maxAnnex = 128 << 10
)

// saidTooMuch says that a reply is too long, or that its node has said enough. What can be said but once, as that a person has come, can
// always be said, and what the chain holds can be said again.
func (w *work) saidTooMuch(r *custodyv1.Reply, signed *custodyv1.SignedReply) bool {
	size := len(signed.GetReply())
	switch {
	case w.chain.Recorded(signed):
		return false
	case size > maxReply || custody.SaidOnce(r):
		return size > maxReply
	}
	return size+recordedBy(w.chain, r.GetNode()) > maxSaid
}

// recordedBy is how much of a chain a node's replies take, in bytes.
func recordedBy(chain *custody.Chain, node string) (size int) {
	for _, l := range chain.Links() {
		if custody.Recorded(l.Event).GetNode() == node {
			size += len(l.Signed.GetEvent())
		}
	}
	return size
}

// checkSaid refuses a reply that this node has just kept where not so much is left of what the owner takes: an honest node says nothing that
// is refused there, for all it says later would wait behind it.
func (a *App) checkSaid(tx *kitstore.Tx, r *custodyv1.Reply, left int) error {
	if custody.SaidOnce(r) {
		return nil
	}
	size, err := a.said(tx, r.GetReferral())
	if err != nil || size+left <= maxSaid {
		return err
	}
	return fault.New(fault.WrongState,
		"This node has said as much of the referral as its record takes. Report the outcome where one is due, and tell the owner anything else directly.",
		"referral", r.GetReferral())
}

// said is how much of a chain this node's replies take when all are recorded, in bytes: never less than the owner counts.
func (a *App) said(r kitstore.Reader, referral string) (size int, err error) {
	chain, err := chainOf(r, referral)
	if err != nil {
		return 0, err
	}
	if chain != nil {
		size = recordedBy(chain, a.Node)
	}
	offers, err := offersOf(r, referral)
	if err != nil {
		return 0, err
	}
	names := []string{referral}
	for _, o := range offers {
		names = append(names, store.OfferName(referral, custody.HashOf(o.GetOffered().GetEvent()).String()))
	}
	for _, name := range names {
		replies, err := repliesTo(r, name)
		if err != nil {
			return 0, err
		}
		for _, signed := range replies {
			if chain == nil || !chain.Recorded(signed) {
				size += len(signed.GetReply()) + aroundReply
			}
		}
	}
	return size, nil
}
