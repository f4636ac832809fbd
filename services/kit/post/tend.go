package post

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post/internal/protocol"
	"amanat.example/services/kit/store"
)

// housekeepEvery is how often letters kept long enough are let go.
const housekeepEvery = 10 * time.Minute

// reconnect begins every link again at its first unreceipted letter and compares marks.
func (p *Post) reconnect(ctx context.Context, now time.Time) error {
	p.mu.Lock()
	for _, f := range p.flights {
		next, _ := f.Step(protocol.Reconnected{}, now)
		*f = next
	}
	p.compareAt, p.compared = time.Time{}, 0
	p.mu.Unlock()
	wake(p.wakeRelay)
	if p.onReconnect != nil {
		p.onReconnect()
	}
	return p.compare(ctx, now)
}

// compare makes the two ends of every link tell their marks when its time has come: at the start, after a
// reconnection, and again after waits that grow to four times those of a parcel (an hour). The
// receiving end writes its receipt; the sending end, if nothing is under way, asks with a parcel
// without letters. So a receiver that was restored is noticed even if nobody writes and mail is lost,
// and a receiver that no longer knows the link learns of it.
func (p *Post) compare(ctx context.Context, now time.Time) error {
	p.mu.Lock()
	due := !now.Before(p.compareAt)
	p.mu.Unlock()
	if !due {
		return nil
	}
	var idle []*postv1.SendingState
	err := p.db.View(ctx, func(r store.Reader) error {
		err := p.tables.sending.Scan(r, store.Range{}, func(_ store.Key, s *postv1.SendingState) error {
			if s.GetReceiptedSequence()+1 == s.GetNextSequence() && !sameAddress(s.GetLink().GetTo(), p.self) {
				idle = append(idle, s)
			}
			return nil
		})
		return errors.Join(err, p.oweAll(r))
	})
	if err != nil {
		return fmt.Errorf("compare marks: %w", err)
	}
	for _, s := range idle {
		to := endOf(s.GetLink().GetTo(), s.GetLink().GetLane())
		header, err := p.header(ctx, s, s.GetNextSequence(), 0)
		if err == nil {
			err = p.send(ctx, to, header, nil)
		}
		if err != nil {
			p.log.Warn("a link could not be compared", logging.Peer(to.node, to.service), logging.Err(err))
		}
	}
	return p.compareLater(now)
}

// oweAll marks every receipt as owed. Those owed already are at least as new.
func (p *Post) oweAll(r store.Reader) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer wake(p.wakeReceipts)
	return p.tables.receiving.Scan(r, store.Range{}, func(_ store.Key, s *postv1.ReceivingState) error {
		from := endOf(s.GetLink().GetFrom(), s.GetLink().GetLane())
		if _, already := p.owed[from]; !already && !p.isSelf(from) {
			p.owed[from] = owed{state: s}
		}
		return nil
	})
}

func (p *Post) compareLater(now time.Time) error {
	var chance [8]byte
	if err := p.random(chance[:]); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.compared++
	p.compareAt = now.Add(backoff.Range{Min: p.resend.Min, Max: 4 * p.resend.Max}.Delay(p.compared, func() float64 {
		return float64(binary.BigEndian.Uint64(chance[:])>>11) / (1 << 53)
	}))
	return nil
}

// tend compares marks, tries again what lies in quarantine and keeps house when their times have come, and says when to come again.
func (p *Post) tend(ctx context.Context, now time.Time) (next time.Time, err error) {
	if err := p.compare(ctx, now); err != nil {
		return next, err
	}
	if err := p.secondTry(ctx, now); err != nil {
		return next, err
	}
	if now.Sub(p.keptAt) >= housekeepEvery {
		p.keptAt = now
		for did := true; did && err == nil; {
			did, err = p.housekeep(ctx, now)
		}
		if err == nil {
			err = p.giveUpFiles(ctx, now)
		}
	}
	next = p.nextComparison()
	if kept := p.keptAt.Add(housekeepEvery); kept.Before(next) {
		next = kept
	}
	return next, err
}

// nextComparison is when marks are compared next.
func (p *Post) nextComparison() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.compareAt
}

// housekeep lets go of letters that were kept long enough, a batch of each link at a time.
func (p *Post) housekeep(ctx context.Context, now time.Time) (did bool, err error) {
	const batch = 512
	kept := func(to end) time.Duration {
		if p.isSelf(to) {
			return 0 // both ends are restored together
		}
		return p.keep
	}
	var links []end // with something to do: most have nothing, each minute
	err = p.db.View(ctx, func(r store.Reader) error {
		return p.tables.sending.Scan(r, store.Range{}, func(_ store.Key, s *postv1.SendingState) error {
			to := endOf(s.GetLink().GetTo(), s.GetLink().GetLane())
			if _, changed := protocol.Keep(s, kept(to), batch, now); changed {
				links = append(links, to)
			}
			return nil
		})
	})
	if err != nil {
		return false, fmt.Errorf("let go of receipted letters: %w", err)
	}
	for _, to := range links {
		keep := kept(to)
		var dropped uint64
		err := p.db.Update(ctx, func(tx *store.Tx) error {
			state, err := p.sendingState(tx, to)
			if err != nil {
				return err
			}
			next, changed := protocol.Keep(state, keep, batch, now)
			if !changed {
				return nil
			}
			for seq := state.GetFloorSequence(); seq < next.GetFloorSequence(); seq++ {
				if err := p.letGo(tx, to, seq); err != nil {
					return err
				}
				dropped++
			}
			return p.tables.sending.Put(tx, to.key(), next)
		})
		if err != nil {
			return did, fmt.Errorf("let go of receipted letters: %w", err)
		}
		did = did || dropped > 0
	}
	return did, nil
}

// letGo removes a letter from the outbox, and the file it is the last piece of.
func (p *Post) letGo(tx *store.Tx, to end, sequence uint64) error {
	if p.attachments != nil {
		letter, err := p.tables.outbox.Get(tx, to.row(sequence))
		if err == nil {
			err = p.chunkLetGo(tx, to, letter)
		}
		if err != nil {
			return err
		}
	}
	return p.tables.outbox.Delete(tx, to.row(sequence))
}
