package post

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/post/internal/protocol"
	"amanat.example/services/kit/store"
)

const parcelIDSize = 16

// next asks the flights, urgent links first, for a parcel to send. self chooses between the links to the
// own service and those to others. wake is when to ask again; zero for not before something happens.
func (p *Post) next(self bool, now time.Time) (to end, first uint64, wake time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, to := range p.order {
		if p.isSelf(to) != self {
			continue
		}
		f := p.flights[to]
		moved, out := f.Step(protocol.Tick{}, now)
		*f = moved
		if out.Pack > 0 {
			return to, out.Pack, time.Time{}
		}
		if !out.Wake.IsZero() && (wake.IsZero() || out.Wake.Before(wake)) {
			wake = out.Wake
		}
	}
	return end{}, 0, wake
}

// relayOnce sends one parcel if there is one to send.
func (p *Post) relayOnce(ctx context.Context, self bool, now time.Time) (did bool, wake time.Time, err error) {
	to, first, wake := p.next(self, now)
	if first == 0 {
		return false, wake, nil
	}
	header, letters, err := p.pack(ctx, to, first)
	if file, ok := errors.AsType[*fileError](err); ok {
		p.move(to, protocol.Packed{First: first, Last: first}, now)
		p.move(to, protocol.NotTaken{First: first}, now)
		p.counts.add("parcel-out", "not-sent")
		p.log.Warn("a parcel could not be packed; it will be tried again", logging.Peer(to.node, to.service), logging.Err(file))
		return true, time.Time{}, nil
	}
	if err != nil {
		return false, time.Time{}, fmt.Errorf("pack a parcel: %w", err)
	}
	p.move(to, protocol.Packed{First: first, Last: header.GetLastSequence()}, now)
	if self {
		err = p.deliverSelf(ctx, to, header, letters, now)
	} else {
		err = p.send(ctx, to, header, letters)
	}
	if err != nil {
		p.move(to, protocol.NotTaken{First: first}, now)
		if p.db.Err() != nil || ctx.Err() != nil {
			return false, time.Time{}, err
		}
		p.counts.add("parcel-out", "not-sent")
		p.log.Warn("a parcel could not be sent; it will be tried again", logging.Peer(to.node, to.service), logging.Err(err))
	} else if !self && mutant.Off("receipt") { // what the broker has is taken for received
		_, err = p.count(ctx, to, &postv1.Receipt{
			SenderIncarnation: header.GetSenderIncarnation(), ReceiverIncarnation: header.GetReceiverIncarnation(), Mark: header.GetLastSequence(),
		}, now)
		return true, time.Time{}, err
	}
	return true, time.Time{}, nil
}

func (p *Post) move(to end, in protocol.Input, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.flight(to, 0, 0)
	next, _ := f.Step(in, now)
	*f = next
}

// pack reads a run of letters from the outbox.
func (p *Post) pack(ctx context.Context, to end, first uint64) (*postv1.ParcelHeader, []*postv1.Letter, error) {
	var state *postv1.SendingState
	var letters []*postv1.Letter
	err := p.db.View(ctx, func(r store.Reader) (err error) {
		if state, err = p.sendingState(r, to); err != nil {
			return err
		}
		size := 0
		in := store.Range{Prefix: to.key(), After: to.row(first - 1)}
		return p.tables.outbox.Scan(r, in, func(_ store.Key, l *postv1.Letter) error {
			if err := p.fill(to.address(), l); err != nil {
				if len(letters) > 0 {
					return store.Stop // it is met again when its turn comes
				}
				return err
			}
			size += proto.Size(l) + 4 // and its tag and length
			if len(letters) > 0 && (size > MaxParcel || len(letters) == MaxLetters) {
				return store.Stop
			}
			if l.GetSequence() != first+uint64(len(letters)) {
				return fmt.Errorf("the outbox holds letter %d where %d should be", l.GetSequence(), first+uint64(len(letters)))
			}
			letters = append(letters, l)
			return nil
		})
	})
	if err == nil && len(letters) == 0 {
		err = fmt.Errorf("the outbox lacks letter %d", first)
	}
	if err != nil {
		return nil, nil, err
	}
	header, err := p.header(ctx, state, first, uint64(len(letters)))
	return header, letters, err
}

// header writes the header of a parcel of n letters.
func (p *Post) header(ctx context.Context, state *postv1.SendingState, first, n uint64) (*postv1.ParcelHeader, error) {
	header := &postv1.ParcelHeader{
		Link:                state.GetLink(),
		SenderIncarnation:   p.incarnation,
		ReceiverIncarnation: state.GetPeerIncarnation(),
		FirstSequence:       first,
		LastSequence:        first + n - 1,
		ParcelId:            make([]byte, parcelIDSize),
		// The floor may rise and the receipts fall back while parcels are under way.
		ReceiptedSequence: min(state.GetReceiptedSequence(), first+n-1),
		FloorSequence:     min(state.GetFloorSequence(), first),
	}
	header.FloorSequence = min(header.GetFloorSequence(), header.GetReceiptedSequence()+1)
	err := p.db.View(ctx, func(r store.Reader) error {
		for _, lane := range lanes {
			back, err := p.receivingState(r, endOf(state.GetLink().GetTo(), lane))
			if err != nil {
				return err
			}
			putTaken(header, &postv1.TakenMark{Lane: lane, Sequence: back.GetMark(), Incarnation: back.GetPeerIncarnation(), LetterId: back.GetMarkLetterId()})
		}
		return nil
	})
	return header, errors.Join(err, p.random(header.GetParcelId()))
}

// send seals, signs and publishes a parcel.
func (p *Post) send(ctx context.Context, to end, header *postv1.ParcelHeader, letters []*postv1.Letter) error {
	data, err := p.parcelMail(to, header, letters)
	if err != nil {
		return err
	}
	p.transport.Publish(ctx, mailSubject(to.address(), to.lane, p.self), data, func(err error) {
		if err != nil {
			p.counts.add("parcel-out", "not-taken")
			p.note(to, protocol.NotTaken{First: header.GetFirstSequence()})
			return
		}
		p.counts.add("parcel-out", "taken")
	})
	return nil
}

// parcelMail seals and signs a parcel.
func (p *Post) parcelMail(to end, header *postv1.ParcelHeader, letters []*postv1.Letter) ([]byte, error) {
	plain, err := proto.Marshal(&postv1.Letters{Letters: letters})
	if err != nil {
		return nil, err
	}
	parcel := &postv1.Parcel{}
	if parcel.Header, err = proto.Marshal(header); err != nil {
		return nil, err
	}
	if parcel.Sealed, err = p.keys.Seal(to.node, to.service, parcelDomain, parcel.GetHeader(), plain); err != nil {
		return nil, err
	}
	parcel.Signature = p.keys.Sign(parcelDomain, digest(parcel.GetHeader(), parcel.GetSealed()))
	return proto.Marshal(&postv1.Mail{Content: &postv1.Mail_Parcel{Parcel: parcel}})
}

// receiptMail signs a receipt.
func (p *Post) receiptMail(receipt *postv1.Receipt) ([]byte, error) {
	data, err := proto.Marshal(receipt)
	if err != nil {
		return nil, err
	}
	signed := &postv1.SignedReceipt{Receipt: data, Signature: p.keys.Sign(receiptDomain, data)}
	return proto.Marshal(&postv1.Mail{Content: &postv1.Mail_Receipt{Receipt: signed}})
}

// deliverSelf applies letters to the own service by the same code, without seal, signature and hub.
func (p *Post) deliverSelf(ctx context.Context, to end, header *postv1.ParcelHeader, letters []*postv1.Letter, now time.Time) error {
	applied, err := p.apply(ctx, &parcelIn{from: to, header: header, letters: letters}, now)
	if applied.state != nil {
		receipt := protocol.Receipt(applied.state, p.incarnation, applied.resend, now)
		if _, err := p.count(ctx, to, receipt, now); err != nil {
			return err
		}
	}
	return err
}

// sendReceipts writes every receipt that is owed. One that is lost is written again when the sender
// repeats its parcel.
func (p *Post) sendReceipts(ctx context.Context, now time.Time) (did bool, err error) {
	p.mu.Lock()
	if len(p.owed) == 0 {
		p.mu.Unlock()
		return false, nil
	}
	due := p.owed
	p.owed = map[end]owed{}
	p.mu.Unlock()
	for _, from := range slices.SortedFunc(maps.Keys(due), end.compare) { // urgent lanes first
		o := due[from]
		data, err := p.receiptMail(protocol.Receipt(o.state, p.incarnation, o.resend, now))
		if err != nil {
			return true, err
		}
		p.transport.Publish(ctx, mailSubject(from.address(), from.lane, p.self), data, func(err error) {
			if err != nil {
				p.counts.add("receipt-out", "not-taken")
				return
			}
			p.counts.add("receipt-out", "taken")
		})
	}
	return true, nil
}
