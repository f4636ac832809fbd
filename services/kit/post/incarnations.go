package post

import (
	"context"
	"errors"
	"maps"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/store"
)

// Incarnations are the lives of a service of other nodes as far as this post has heard, by node: nothing of a lower one is
// applied or believed any more. A node that was never heard is not there.
func (p *Post) Incarnations(r store.Reader, service string) (map[string]uint64, error) {
	heard := map[string]uint64{}
	note := func(a *postv1.Address, incarnation uint64) {
		if a.GetService() == service && !sameAddress(a, p.self) && incarnation > heard[a.GetNode()] {
			heard[a.GetNode()] = incarnation
		}
	}
	err := p.tables.receiving.Scan(r, store.Range{}, func(_ store.Key, s *postv1.ReceivingState) error {
		note(s.GetLink().GetFrom(), s.GetPeerIncarnation())
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = p.tables.sending.Scan(r, store.Range{}, func(_ store.Key, s *postv1.SendingState) error {
		note(s.GetLink().GetTo(), s.GetPeerIncarnation())
		return nil
	})
	return heard, err
}

// raise makes a sender's new incarnation known on its other lanes too: what an earlier life of it wrote counts on none any more,
// whichever lane tells first. Without a lane all are meant.
func (p *Post) raise(tx *store.Tx, from end, incarnation uint64) error {
	for _, lane := range lanes {
		if lane == from.lane {
			continue
		}
		other := from
		other.lane = lane
		state, err := p.receivingState(tx, other)
		if err != nil {
			return err
		}
		if state.GetPeerIncarnation() >= incarnation {
			continue
		}
		state.PeerIncarnation, state.Mark, state.MarkLetterId, state.OpenRefusals = incarnation, 0, nil, nil
		if err := p.tables.receiving.Put(tx, other.key(), state); err != nil {
			return err
		}
	}
	return nil
}

func (p *Post) receivingState(r store.Reader, from end) (*postv1.ReceivingState, error) {
	state, err := p.tables.receiving.Get(r, from.key())
	if errors.Is(err, store.ErrNotFound) {
		return &postv1.ReceivingState{Link: &postv1.Link{From: from.address(), To: p.self, Lane: from.lane}}, nil
	}
	return state, err
}

// AllHeard says that every active service of another node with which there is a link was heard since this post was opened, that each to which
// it writes has said what it has, and that none of them knows more of this store than it does itself. While one is silent, this store may be
// an older copy, and nobody has said so. It does not wait for whom it met in a life that is lost, nor for each lane of who writes to it.
func (p *Post) AllHeard(ctx context.Context) (all bool, err error) {
	all = true
	p.mu.Lock() // and not while the store is read: others read it and then lock
	heardAt, answeredAt, ahead := maps.Clone(p.heard), maps.Clone(p.answered), maps.Clone(p.ahead)
	p.mu.Unlock()
	other := func(peer *postv1.Address) bool {
		return !sameAddress(peer, p.self) && p.keys.Active(peer.GetNode(), peer.GetService())
	}
	err = p.db.View(ctx, func(r store.Reader) error {
		err := p.tables.receiving.Scan(r, store.Range{}, func(_ store.Key, s *postv1.ReceivingState) error {
			heard := !other(s.GetLink().GetFrom())
			for _, lane := range lanes {
				from := endOf(s.GetLink().GetFrom(), lane)
				heard = heard || !heardAt[from].IsZero() || !answeredAt[from].IsZero()
				all = all && !ahead[from]
			}
			all = all && heard
			return nil
		})
		return errors.Join(err, p.tables.sending.Scan(r, store.Range{}, func(_ store.Key, s *postv1.SendingState) error {
			answered := !answeredAt[endOf(s.GetLink().GetTo(), s.GetLink().GetLane())].IsZero()
			all = all && !s.GetOvertaken() && (answered || !other(s.GetLink().GetTo()))
			return nil
		}))
	})
	return all, err
}

// overtaken is called when a peer knows more of this store than it does itself, up to an incarnation.
func (p *Post) overtaken(by end, above uint64) {
	peer := logging.Peer(by.node, by.service)
	if above > p.incarnation && !p.db.MayHaveLived(above) {
		p.log.Error("a peer names an incarnation of this store that lies days ahead of this clock; it is not believed, and its mail does not count: set the clock, or ask that node", peer)
		return
	}
	p.log.Error("a peer knows more of this store than it does itself: it was rolled back, or lost", peer)
	if p.onRolled != nil && !mutant.Off("ahead") {
		p.onRolled(above)
	}
}
