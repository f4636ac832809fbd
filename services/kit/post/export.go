package post

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post/internal/protocol"
	"amanat.example/services/kit/store"
)

// Export writes, for a person to carry, every letter to the services of a node that no receipt covers, sealed
// and signed as for the hub, urgent ones first, and the receipts owed to them. A link of which all is
// receipted is asked for its mark by a parcel without letters. Nothing changes here. One parcel is
// held in memory at a time.
func (p *Post) Export(ctx context.Context, node string, out io.Writer) (*postv1.CarriedCount, error) {
	if node == p.self.GetNode() {
		return nil, fault.InvalidField("to_node", "must be another node than the one that exports")
	}
	if !p.keys.Member(node) {
		return nil, fault.New(fault.UnknownNode, "Field to_node: the newest roster at this node names no such node that takes part.").
			WithFields(fault.Violation{Field: "to_node", Sentence: "must be a node of the roster that takes part"})
	}
	sending, receiving, err := p.linksWith(ctx, node)
	if err != nil {
		return nil, err
	}
	w := &carriedWriter{out: out}
	if err := w.begin(&postv1.CarriedBegin{From: p.self, ToNode: node, WriteTime: timestamppb.New(p.clock())}); err != nil {
		return nil, err
	}
	count := &postv1.CarriedCount{}
	for _, state := range sending {
		if err := p.exportLink(ctx, w, state, count); err != nil {
			return nil, err
		}
	}
	for _, state := range receiving {
		from := endOf(state.GetLink().GetFrom(), state.GetLink().GetLane())
		mail, err := p.receiptMail(protocol.Receipt(state, p.incarnation, false, p.clock()))
		if err != nil {
			return nil, err
		}
		if err := w.put(mailSubject(from.address(), from.lane, p.self), mail); err != nil {
			return nil, err
		}
		count.Receipts++
	}
	return count, w.end()
}

// linksWith are the ends of links with the services of a node, urgent ones first.
func (p *Post) linksWith(ctx context.Context, node string) (sending []*postv1.SendingState, receiving []*postv1.ReceivingState, err error) {
	err = p.db.View(ctx, func(r store.Reader) error {
		err := p.tables.sending.Scan(r, store.Range{Prefix: store.K(node)}, func(_ store.Key, s *postv1.SendingState) error {
			if p.keys.Active(node, s.GetLink().GetTo().GetService()) { // else nothing can be sealed to it
				sending = append(sending, s)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return p.tables.receiving.Scan(r, store.Range{Prefix: store.K(node)}, func(_ store.Key, s *postv1.ReceivingState) error {
			receiving = append(receiving, s)
			return nil
		})
	})
	slices.SortStableFunc(sending, func(a, b *postv1.SendingState) int { return int(a.GetLink().GetLane() - b.GetLink().GetLane()) })
	slices.SortStableFunc(receiving, func(a, b *postv1.ReceivingState) int { return int(a.GetLink().GetLane() - b.GetLink().GetLane()) })
	return sending, receiving, err
}

// exportLink writes what the outbox held of a link when the export began.
func (p *Post) exportLink(ctx context.Context, w *carriedWriter, state *postv1.SendingState, count *postv1.CarriedCount) error {
	to := endOf(state.GetLink().GetTo(), state.GetLink().GetLane())
	subject := mailSubject(to.address(), to.lane, p.self)
	last := state.GetNextSequence() - 1
	for first := state.GetReceiptedSequence() + 1; ; {
		var header *postv1.ParcelHeader
		var letters []*postv1.Letter
		var err error
		if first > last {
			header, err = p.header(ctx, state, first, 0)
		} else {
			header, letters, err = p.pack(ctx, to, first)
		}
		if file, ok := errors.AsType[*fileError](err); ok {
			return fault.New(fault.Unavailable, "A file of an attachment cannot be read now: look at this node's disk, then export again.").Wrap(file)
		}
		if err != nil {
			return fmt.Errorf("pack a parcel: %w", err)
		}
		mail, err := p.parcelMail(to, header, letters)
		if err != nil {
			return err
		}
		if err := w.put(subject, mail); err != nil {
			return err
		}
		count.Parcels++
		count.Letters += uint64(len(letters))
		if first = header.GetLastSequence() + 1; first > last {
			return nil
		}
	}
}
