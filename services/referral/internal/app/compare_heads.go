package app

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// maxHeads is how many heads stand in one list.
const maxHeads = 1000

// CompareHeads sends every other node a digest of what both should know of open referrals (DESIGN section 4), so that a chain that was
// lost on the way, by whatever fault, is noticed without a deadline. It goes behind all that is queued, so what is merely under way is
// there before it.
func (a *App) CompareHeads(ctx context.Context) error {
	digests := map[string]*custodyv1.HeadDigest{}
	for _, node := range a.Roster.Nodes() {
		if node.GetNode() != a.Node && node.GetState() == identityv1.RosterNode_STATE_ACTIVE && refers(node) {
			digests[node.GetNode()] = &custodyv1.HeadDigest{Digest: make([]byte, sha256.Size)}
		}
	}
	err := a.openChains(ctx, func(chain *custody.Chain) {
		for node, d := range digests {
			addHead(d, chain, a.Node, node)
		}
	})
	if err != nil {
		return err
	}
	return a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		for _, node := range slices.Sorted(maps.Keys(digests)) {
			err := a.mail(tx, post.Outgoing{To: referralAt(node), Lane: postv1.Lane_LANE_BULK, Kind: kindDigest, Body: digests[node]})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func addHead(d *custodyv1.HeadDigest, chain *custody.Chain, own, node string) {
	event, open := chain.Shared(own, node)
	if !open {
		return
	}
	d.Count++
	sum := sha256.Sum256(append([]byte(chain.State().Referral), event[:]...))
	for i := range sum {
		d.Digest[i] ^= sum[i]
	}
}

// openChains gives every chain whose referral is not over, a page in each transaction.
func (a *App) openChains(ctx context.Context, do func(*custody.Chain)) error {
	var after kitstore.Key
	for {
		err := a.DB.View(ctx, func(r kitstore.Reader) (err error) {
			after, err = openPage(r, after, do)
			return err
		})
		if err != nil || after == nil {
			return err
		}
	}
}

func openPage(r kitstore.Reader, after kitstore.Key, do func(*custody.Chain)) (next kitstore.Key, err error) {
	rows, next, err := store.OpenReferrals.Page(r, kitstore.Range{After: after}, livePage)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		chain, err := chainOf(r, row.Value.GetReferral().GetName())
		if err != nil {
			return nil, err
		}
		do(chain)
	}
	return next, nil
}

// receiveDigest compares what another node knows together with this one, and answers with a list where they do not agree.
func (a *App) receiveDigest(tx *kitstore.Tx, from string, came *custodyv1.HeadDigest) error {
	own := &custodyv1.HeadDigest{Digest: make([]byte, sha256.Size)}
	list := &custodyv1.HeadList{}
	var lists []*custodyv1.HeadList
	var after kitstore.Key
	for done := false; !done; done = after == nil {
		next, err := openPage(tx, after, func(chain *custody.Chain) {
			addHead(own, chain, a.Node, from)
			event, open := chain.Shared(a.Node, from)
			if !open {
				return
			}
			if len(list.GetHeads()) == maxHeads {
				list.Until = list.GetHeads()[maxHeads-1].GetReferral()
				lists, list = append(lists, list), &custodyv1.HeadList{After: list.GetUntil()}
			}
			list.Heads = append(list.Heads, &custodyv1.SharedHead{Referral: chain.State().Referral, Event: event.Bytes()})
		})
		if err != nil {
			return err
		}
		after = next
	}
	if own.GetCount() == came.GetCount() && string(own.GetDigest()) == string(came.GetDigest()) {
		return nil
	}
	for _, l := range append(lists, list) {
		if err := a.mail(tx, post.Outgoing{To: referralAt(from), Lane: postv1.Lane_LANE_BULK, Kind: kindHeads, Body: l}); err != nil {
			return err
		}
	}
	return nil
}

// receiveHeads sends chains that the other node lacks or has shorter, and asks for those that this one lacks.
func (a *App) receiveHeads(tx *kitstore.Tx, from string, list *custodyv1.HeadList) error {
	named := map[string]bool{}
	for _, h := range list.GetHeads() {
		named[h.GetReferral()] = true
		if len(h.GetEvent()) != len(custody.Hash{}) || custody.CreatedAt(h.GetReferral()) == "" {
			return refuse(reasonBody)
		}
		if err := a.compareHead(tx, from, h); err != nil {
			return err
		}
	}
	between := kitstore.Range{}
	if list.GetAfter() != "" {
		between.After = kitstore.K(list.GetAfter())
	}
	return store.OpenReferrals.Scan(tx, between, func(_ kitstore.Key, record *referralv1.ReferralRecord) error {
		name := record.GetReferral().GetName()
		switch {
		case list.GetUntil() != "" && name > list.GetUntil():
			return kitstore.Stop
		case named[name]:
			return nil
		}
		w, err := a.begin(tx, name)
		if err != nil {
			return err
		}
		if _, open := w.chain.Shared(a.Node, from); !open {
			return nil
		}
		return w.sendChain(postv1.Lane_LANE_BULK, from)
	})
}

// compareHead compares one referral with what the other node should know of it.
func (a *App) compareHead(tx *kitstore.Tx, from string, h *custodyv1.SharedHead) error {
	chain, err := chainOf(tx, h.GetReferral())
	if err != nil {
		return err
	}
	event := custody.Hash(h.GetEvent())
	if chain == nil || !chain.Has(event) {
		return a.mail(tx, post.Outgoing{
			To: referralAt(from), Lane: postv1.Lane_LANE_BULK, Kind: kindHead, Subject: h.GetReferral(), Body: &custodyv1.HeadQuery{Referral: h.GetReferral()},
		})
	}
	shared, _ := chain.Shared(a.Node, from)
	if shared == event || !chain.State().Party(from) {
		return nil
	}
	w := &work{App: a, tx: tx, now: a.Now(), chain: chain, stored: len(chain.Links())}
	return w.sendChain(postv1.Lane_LANE_BULK, from)
}
