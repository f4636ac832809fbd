package app

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// sweep bounds how many rows one transaction reads of what is due.
const sweep = 64

// FireDeadlines fires the deadlines that have passed, once each, and says when the next one is
// due; zero when there is none. One that cannot be fired whole keeps no other waiting.
func (a *App) FireDeadlines(ctx context.Context) (next time.Time, err error) {
	if err := a.astray().BringBack(ctx); err != nil {
		return time.Time{}, err
	}
	for {
		if next, err = a.nextDue(ctx); err != nil || next.IsZero() || next.After(a.Now()) {
			return next, err
		}
		if err = a.fireDue(ctx); err != nil {
			return time.Time{}, err
		}
	}
}

func (a *App) nextDue(ctx context.Context) (next time.Time, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := store.DeadlinesByTime.First(r, kitstore.Range{})
		if errors.Is(err, kitstore.ErrNotFound) {
			return nil
		}
		next = store.DueTime(row.Value)
		return err
	})
	return next, err
}

// astray brings back the deadlines that lie too far ahead.
func (a *App) astray() *late.Astray[*referralv1.DeadlineRecord] {
	return &late.Astray[*referralv1.DeadlineRecord]{
		DB: a.DB, Table: store.Deadlines, Now: a.Now, Missed: store.LateDeadlines, Most: a.Limits.ToldAgain(),
		First: func(d *referralv1.DeadlineRecord) time.Time { return d.GetFirstDueTime().AsTime() },
		Due:   func(d *referralv1.DeadlineRecord, at time.Time) { d.Deadline.DueTime = timestamppb.New(at) },
	}
}

func (a *App) fireDue(ctx context.Context) error {
	now := a.Now()
	var rows []kitstore.Row[*referralv1.DeadlineRecord]
	err := a.DB.View(ctx, func(r kitstore.Reader) (err error) {
		rows, _, err = store.DeadlinesByTime.Page(r, kitstore.Range{}, sweep)
		return err
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		if now.Before(store.DueTime(row.Value)) {
			break
		}
		err := a.DB.Update(ctx, func(tx *kitstore.Tx) error { return a.fire(tx, row.Key, now, true) })
		if err != nil && !stops(ctx, err) {
			a.Log.Error("a deadline cannot be fired whole; what it sends or ends is tried again later",
				logging.Referral(row.Value.GetDeadline().GetReferral()), logging.Err(err))
			err = a.DB.Update(ctx, func(tx *kitstore.Tx) error { return a.fire(tx, row.Key, now, false) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fire tells that a deadline was missed and moves it to its next step, or lets end what ends by itself by now. Whoever is not the
// owner also asks the owner for the chain, and says again what is not answered, or may not have been sent. When that has failed, whole is
// false: a person is told where one was to be, and the rest is tried again at the next step, or where something was to end after askSeldom.
func (a *App) fire(tx *kitstore.Tx, key kitstore.Key, now time.Time, whole bool) error {
	// One that fires may end another: an offer made to this node itself, or for those who go together.
	record, err := optional(store.Deadlines.Get(tx, key))
	if err != nil || record == nil || now.Before(store.DueTime(record)) {
		return err
	}
	d := record.GetDeadline()
	if at := record.GetExpireTime(); at != nil && !now.Before(at.AsTime()) {
		again := now.Add(askAgain) // what ends by itself ends when the referral goes on
		if !whole {
			again = now.Add(askSeldom)
		} else if ended, err := a.endByItself(tx, d.GetReferral()); ended || err != nil {
			return err
		}
		record.ExpireTime = timestamppb.New(again)
		return store.Deadlines.Put(tx, key, record)
	}
	if err := a.miss(tx, key, record, now); err != nil || !whole {
		return err
	}
	switch {
	case d.GetKind() == referralv1.Deadline_KIND_FOLLOW_PERSON:
		return a.assertAgain(tx, d.GetReferral())
	case d.GetOffer() == "":
		return a.askHead(tx, d.GetReferral())
	}
	return a.repeatReplies(tx, d.GetOffer())
}

// endByItself lets end what ends by itself by now; false where the referral stands still.
func (a *App) endByItself(tx *kitstore.Tx, referral string) (bool, error) {
	w, err := a.begin(tx, referral)
	if err != nil {
		return false, err
	}
	if still, err := w.still(); still || err != nil {
		return false, err
	}
	return true, w.expire()
}

// miss tells that a deadline was missed, and moves it to its next step.
func (a *App) miss(tx *kitstore.Tx, key kitstore.Key, record *referralv1.DeadlineRecord, now time.Time) error {
	d := record.GetDeadline()
	subject := d.GetReferral()
	if d.GetOffer() != "" {
		subject = d.GetOffer()
	}
	fired := proto.CloneOf(d)
	rules.Miss(record, now, a.Limits)
	fired.Missed = d.GetMissed() // who is told this time
	err := a.Events.Append(tx, "referral.deadline.missed.v1", subject, now, &referralv1.DeadlineMissed{
		Deadline: fired, FirstDueTime: record.GetFirstDueTime(), Urgency: record.GetUrgency(), Reference: record.GetReference(),
	})
	if err != nil {
		return err
	}
	tx.AfterCommit(a.Wake) // the federal cell is told that something is late
	return store.Deadlines.Put(tx, key, record)
}

// askHead asks the owner of a referral for its chain, where that is another node, shows its own, and says again what that does not hold. The
// chain goes ahead, once, in the lane of all that names it: the owner may not have been reached by the handover yet, and would not know what
// it is asked for.
func (a *App) askHead(tx *kitstore.Tx, referral string) error {
	w, err := a.begin(tx, referral)
	if err != nil || w.chain.State().Owner == a.Node {
		return err
	}
	words, annexes, lane, err := w.unrecorded()
	if err != nil {
		return err
	}
	owner := w.chain.State().Owner
	if err := w.sendChain(lane, owner); err != nil {
		return err
	}
	if err := w.repeatReturn(lane); err != nil {
		return err
	}
	for _, signed := range words {
		if err := w.sendAlone(lane, signed); err != nil {
			return err
		}
	}
	if err := w.sendAnnexes(tx, w.mail, lane, owner, referral, annexes); err != nil {
		return err
	}
	return a.mail(tx, post.Outgoing{
		To: referralAt(owner), Lane: lane, Kind: kindHead, Subject: referral, Body: &custodyv1.HeadQuery{Referral: referral},
	})
}

// unrecorded is what this node said of the referral as a whole and the chain does not hold, with the annexes beside it and the lane for all of
// it: the owner may have taken no part in the network then, and nothing was sent.
func (w *work) unrecorded() (words []*custodyv1.SignedReply, annexes [][]byte, lane postv1.Lane, err error) {
	lane = w.lane()
	said, err := repliesTo(w.tx, w.chain.State().Referral)
	if err != nil {
		return nil, nil, lane, err
	}
	for _, signed := range said {
		r := &custodyv1.Reply{}
		if err := proto.Unmarshal(signed.GetReply(), r); err != nil {
			return nil, nil, lane, err
		}
		if custody.AboutOffer(r) || r.GetReturnRequested() != nil || w.chain.Holds(signed) { // see repeatReturn
			continue
		}
		words, annexes, lane = append(words, signed), append(annexes, r.GetAnnexCommitment()), laneOfReply(r, lane)
	}
	return words, annexes, lane, nil
}

// repeatReplies says again what this node said to an offer and the chain does not hold. Who was only asked does not see the chain, and says all again.
func (a *App) repeatReplies(tx *kitstore.Tx, offer string) error {
	o, _, err := a.getReceived(tx, offer)
	if err != nil {
		return err
	}
	owner, referral := o.event.GetOwner(), o.event.GetReferral()
	if still, err := o.still(); still || err != nil || owner == a.Node {
		return err
	}
	chain, err := chainOf(tx, referral)
	if err != nil {
		return err
	}
	said, err := repliesTo(tx, offer)
	if err != nil {
		return err
	}
	var annexes [][]byte
	for _, signed := range said {
		if chain != nil && chain.Holds(signed) {
			continue
		}
		r := &custodyv1.Reply{}
		if err := proto.Unmarshal(signed.GetReply(), r); err != nil {
			return err
		}
		if err := o.send(signed); err != nil {
			return err
		}
		annexes = append(annexes, r.GetAnnexCommitment())
	}
	return a.sendAnnexes(tx, a.mail, lane(o.event.GetOffered().GetUrgency()), owner, referral, annexes)
}

// ListDeadlines lists what is due at this node, the most overdue first.
func (a *App) ListDeadlines(ctx context.Context, request *referralv1.ListDeadlinesRequest) (*referralv1.ListDeadlinesResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	after, err := a.Tokens.Read("deadlines", request.GetFilter(), request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	response := &referralv1.ListDeadlinesResponse{}
	matches := func(d *referralv1.Deadline) bool {
		f := request.GetFilter()
		return (f.GetUnit() == "" || f.GetUnit() == d.GetUnit()) && (!f.GetMissed() || d.GetMissed() > 0)
	}
	next, err := a.page(ctx, after, paging.Size(request.GetPageSize(), 50), func(r kitstore.Reader, after kitstore.Key, limit int) (int, kitstore.Key, error) {
		rows, next, err := store.DeadlinesByTime.Page(r, kitstore.Range{After: after}, limit)
		found := 0
		for _, row := range rows {
			if matches(row.Value.GetDeadline()) {
				response.Deadlines = append(response.Deadlines, row.Value.GetDeadline())
				found++
			}
		}
		return found, next, err
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("deadlines", request.GetFilter(), next)
	return response, err
}

// page collects a page of rows that match a filter, a transaction for each run of rows, so that
// a narrow filter holds no transaction open.
func (a *App) page(ctx context.Context, after kitstore.Key, limit int, collect func(r kitstore.Reader, after kitstore.Key, limit int) (found int, next kitstore.Key, err error)) (kitstore.Key, error) {
	for limit > 0 {
		err := a.DB.View(ctx, func(r kitstore.Reader) error {
			found, next, err := collect(r, after, limit)
			limit, after = limit-found, next
			return err
		})
		if err != nil || after == nil {
			return nil, err
		}
	}
	return after, nil
}
