package post

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

// A letter in quarantine can become good: the receiver runs a later version, or its roster was behind. It is tried again at the start and
// once a day, but only after asking its sender (DESIGN section 4): who was restored since may have said something else in its place.

const (
	kindStandQuery  = "post.stand_query.v1"
	kindStandAnswer = "post.stand_answer.v1"

	reasonStand = "question-about-quarantine-malformed"

	// askStandEvery is how often the senders of what lies in quarantine are asked.
	askStandEvery = 24 * time.Hour
	// mostStandAsked bounds the letters of one question, as its message does, and mostStandQueries the questions of one round: who fills a
	// quarantine fills no outbox. The next round goes on from there, so that what stays bad keeps nothing else from being asked for.
	mostStandAsked, mostStandQueries = 64, 64
)

// secondTry asks the senders of letters in quarantine when its time has come, and applies those that they stand by.
func (p *Post) secondTry(ctx context.Context, now time.Time) error {
	p.mu.Lock()
	ask, try := !now.Before(p.askStandAt), p.standing
	if ask {
		p.askStandAt = now.Add(askStandEvery)
	}
	p.standing = false
	p.mu.Unlock()
	if !ask && !try {
		return nil
	}
	var lie uint64
	err := p.db.View(ctx, func(r store.Reader) (err error) {
		lie, err = p.tables.quarantine.Count(r)
		return err
	})
	if lie == 0 || err != nil {
		return err
	}
	if try {
		if err := p.tryStanding(ctx, now); err != nil {
			return err
		}
	}
	if !ask {
		return nil
	}
	if err := p.db.Update(ctx, p.askStand); err != nil {
		return fmt.Errorf("ask the senders of what lies in quarantine: %w", err)
	}
	return nil
}

// Park puts a letter that its handler took, to do what it says later, into quarantine, since it turned out that this can never be done. Its
// writer, in the given incarnation, was told that it is taken, and is asked as for all that lies there. What comes of the letter's subject from
// now on waits behind it. Its body is as SealBody gives it.
func (p *Post) Park(tx *store.Tx, from *postv1.Address, incarnation uint64, l *postv1.Letter, reason string) error {
	link := &postv1.Link{From: from, To: p.self, Lane: postv1.Lane_LANE_URGENT} // it is shown there: by which it came is not known any more
	behind, err := p.firstOf(tx, endOf(from, link.GetLane()), l.GetSubject())
	if err != nil {
		return err
	}
	if behind != nil {
		reason = reasonBehind
	}
	now := p.clock()
	signed, err := p.refuse(link, l, reason, behind, now)
	if err != nil {
		return err
	}
	tx.AfterCommit(func() { p.counts.letters(0, 1) })
	for l = proto.CloneOf(l); ; {
		l.Sequence++ // its place among those that were parked so, in front of what comes by a lane
		err := p.tables.quarantine.Insert(tx, quarantineKey(from, postv1.Lane_LANE_UNSPECIFIED, incarnation, l), &postv1.QuarantinedLetter{
			Link: link, Letter: l, Refusal: signed, Time: timestamppb.New(now), SenderIncarnation: incarnation,
		})
		if !errors.Is(err, store.ErrExists) {
			return err
		}
	}
}

// Parked says that something of a sender about a subject lies in quarantine, behind which what comes after it has to wait.
func (p *Post) Parked(r store.Reader, from *postv1.Address, subject string) (bool, error) {
	first, err := p.firstOf(r, endOf(from, 0), subject)
	return first != nil, err
}

// askStand queues questions for each sender and subject in quarantine, from where the last round ended.
func (p *Post) askStand(tx *store.Tx) error {
	type question struct {
		from *postv1.Address
		*postv1.StandQuery
	}
	var round []question
	var last, next store.Key // asked for; after which the next round goes on, nil when all was
	err := p.tables.quarantine.Scan(tx, store.Range{After: p.askStandAfter}, func(key store.Key, q *postv1.QuarantinedLetter) error {
		from, l := q.GetLink().GetFrom(), q.GetLetter()
		if l.GetKind() == kindChunk { // a file is asked for in its own way
			return nil
		}
		n := len(round)
		if n == 0 || !sameAddress(round[n-1].from, from) || round[n-1].GetSubject() != l.GetSubject() || len(round[n-1].GetLetters()) == mostStandAsked {
			if n == mostStandQueries {
				next = last
				return store.Stop
			}
			round = append(round, question{from, &postv1.StandQuery{Subject: l.GetSubject()}})
			n++
		}
		round[n-1].Letters = append(round[n-1].Letters, &postv1.AskedLetter{LetterId: l.GetLetterId(), SenderIncarnation: q.GetSenderIncarnation()})
		last = key
		return nil
	})
	if err != nil {
		return err
	}
	for _, q := range round {
		if !p.keys.Active(q.from.GetNode(), q.from.GetService()) {
			continue
		}
		err := p.Queue(tx, Outgoing{To: q.from, Lane: postv1.Lane_LANE_URGENT, Kind: kindStandQuery, Body: q.StandQuery})
		if err != nil && !errors.Is(err, ErrAbsent) { // it may have become so since it was looked at
			return err
		}
	}
	tx.AfterCommit(func() { p.askStandAfter = next })
	return nil
}

// takeStandQuery answers as the sender: it stands by what it wrote in this life, and by what its outbox still holds of an earlier one.
func (p *Post) takeStandQuery(tx *store.Tx, from *postv1.Address, l *postv1.Letter) error {
	q := &postv1.StandQuery{}
	if proto.Unmarshal(l.GetBody(), q) != nil || protovalidate.Validate(q) != nil {
		return Refuse(reasonStand)
	}
	kept, err := p.keptIDs(tx, from, q)
	if err != nil {
		return err
	}
	a := &postv1.StandAnswer{Subject: q.GetSubject()}
	for _, asked := range q.GetLetters() {
		if id := asked.GetLetterId(); asked.GetSenderIncarnation() == p.incarnation || kept[string(id)] {
			a.StandingLetterIds = append(a.StandingLetterIds, id)
		} else {
			a.FallenLetterIds = append(a.FallenLetterIds, id)
		}
	}
	return p.Queue(tx, Outgoing{To: from, Lane: postv1.Lane_LANE_URGENT, Kind: kindStandAnswer, Body: a})
}

// keptIDs are the letters to a service that the outbox holds, where the question is about an earlier life.
func (p *Post) keptIDs(tx *store.Tx, to *postv1.Address, q *postv1.StandQuery) (map[string]bool, error) {
	kept := map[string]bool{}
	if !slices.ContainsFunc(q.GetLetters(), func(l *postv1.AskedLetter) bool { return l.GetSenderIncarnation() != p.incarnation }) {
		return kept, nil
	}
	err := p.tables.outbox.Scan(tx, store.Range{Prefix: store.K(to.GetNode(), to.GetService())}, func(_ store.Key, l *postv1.Letter) error {
		kept[string(l.GetLetterId())] = true
		return nil
	})
	return kept, err
}

// takeStandAnswer marks what is to be tried again, and lets go of what its sender does not stand by.
func (p *Post) takeStandAnswer(tx *store.Tx, from *postv1.Address, l *postv1.Letter) error {
	a := &postv1.StandAnswer{}
	if proto.Unmarshal(l.GetBody(), a) != nil || protovalidate.Validate(a) != nil {
		return Refuse(reasonStand)
	}
	type row struct {
		key store.Key
		q   *postv1.QuarantinedLetter
	}
	var rows []row
	err := p.tables.quarantine.Scan(tx, store.Range{Prefix: endOf(from, 0).subject(a.GetSubject())}, func(key store.Key, q *postv1.QuarantinedLetter) error {
		rows = append(rows, row{key, q})
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		is := func(id []byte) bool { return bytes.Equal(id, r.q.GetLetter().GetLetterId()) }
		switch {
		case slices.ContainsFunc(a.GetFallenLetterIds(), is):
			p.log.Warn("a letter in quarantine is let go: its sender was restored, and does not stand by it", logging.Peer(from.GetNode(), from.GetService()))
			err = p.tables.quarantine.Delete(tx, r.key)
		case slices.ContainsFunc(a.GetStandingLetterIds(), is):
			r.q.Stands = true
			err = p.tables.quarantine.Put(tx, r.key, r.q)
		}
		if err != nil {
			return err
		}
	}
	tx.AfterCommit(p.tryAgain)
	return nil
}

// tryAgain has the letters that stand tried.
func (p *Post) tryAgain() {
	p.mu.Lock()
	p.standing = true
	p.mu.Unlock()
	wake(p.wakeTend)
}

// tryStanding applies the letters that their senders stand by, in order; behind one that is refused again those of its subject wait on.
// When some are applied, those that came behind them meanwhile are asked for at once.
func (p *Post) tryStanding(ctx context.Context, now time.Time) error {
	var rows []store.Row[*postv1.QuarantinedLetter]
	err := p.db.View(ctx, func(r store.Reader) error {
		return p.tables.quarantine.Scan(r, store.Range{}, func(key store.Key, q *postv1.QuarantinedLetter) error {
			if q.GetStands() {
				rows = append(rows, store.Row[*postv1.QuarantinedLetter]{Key: key, Value: q})
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		applied, err := p.tryOne(ctx, row, now)
		switch {
		case err != nil:
			return err
		case applied:
			p.counts.letters(1, 0)
			p.mu.Lock()
			p.askStandAt = time.Time{}
			p.mu.Unlock()
		}
	}
	return nil
}

// tryOne applies a letter where nothing of its subject lies before it.
func (p *Post) tryOne(ctx context.Context, row store.Row[*postv1.QuarantinedLetter], now time.Time) (applied bool, err error) {
	q := row.Value
	from := endOf(q.GetLink().GetFrom(), q.GetLink().GetLane())
	in := &parcelIn{from: from, header: &postv1.ParcelHeader{Link: q.GetLink()}, letters: []*postv1.Letter{q.GetLetter()}}
	if err := p.openBodies(in); err != nil {
		return false, err
	}
	a := &attempt{parcelIn: in, now: now}
	err = p.db.Update(ctx, func(tx *store.Tx) error {
		applied = false
		if stands, err := p.stillStands(tx, row.Key); !stands || err != nil {
			return err
		}
		first, err := p.firstOf(tx, from, q.GetLetter().GetSubject())
		if err != nil || q.GetLetter().GetSubject() != "" && !unopened(q) && !bytes.Equal(first, q.GetLetter().GetLetterId()) {
			return err
		}
		if failed := p.handle(tx, a, 0, q.GetLetter()); failed != nil {
			return failed
		}
		applied = true
		return errors.Join(p.tables.quarantine.Delete(tx, row.Key), p.tables.known.Put(tx, from.letter(q.GetLetter().GetLetterId()), &postv1.KnownLetter{}))
	})
	var failed *failedLetter
	if !errors.As(err, &failed) {
		return applied, err
	}
	if failed.reason == "" {
		p.log.Warn("a letter in quarantine cannot be applied now", logging.Peer(from.node, from.service), logging.Err(failed.cause))
		return false, nil
	}
	p.log.Warn("a letter in quarantine is refused again", logging.Peer(from.node, from.service), logging.ID("letter", fmt.Sprintf("%x", q.GetLetter().GetLetterId())))
	q.Stands = false
	// For what it is refused now: it may have waited behind another before.
	if q.Refusal, err = p.refuse(q.GetLink(), q.GetLetter(), failed.reason, nil, now); err != nil {
		return false, err
	}
	return false, p.db.Update(ctx, func(tx *store.Tx) error {
		if stands, err := p.stillStands(tx, row.Key); !stands || err != nil {
			return err
		}
		return p.tables.quarantine.Put(tx, row.Key, q)
	})
}

// stillStands says that a letter is in quarantine and may be applied: its writer may have said otherwise since it was looked at.
func (p *Post) stillStands(r store.Reader, key store.Key) (bool, error) {
	q, err := p.tables.quarantine.Get(r, key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return q.GetStands(), err
}
