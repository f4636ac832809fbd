package app

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// waitFor puts off what cannot be done while referrals stand still, behind what waits of the same node and referral.
func (a *App) waitFor(tx *kitstore.Tx, w *referralv1.WaitingRecord) error {
	if w.GetKind() != "" {
		known, err := a.known(tx)
		if err != nil {
			return err
		}
		w.Incarnation = known[w.GetFromNode()]
	}
	last := uint64(0)
	waits := kitstore.Range{Prefix: kitstore.K(w.GetFromNode(), w.GetReferral())}
	err := store.Waiting.Scan(tx, waits, func(key kitstore.Key, _ *referralv1.WaitingRecord) error {
		last = binary.BigEndian.Uint64(key[len(key)-8:]) // not how many there are: those before it may be done
		return nil
	})
	if err != nil {
		return err
	}
	return store.Waiting.Insert(tx, kitstore.K(w.GetFromNode(), w.GetReferral(), last+1), w)
}

// standsStill says that the referral which a letter is about stands still until other nodes have answered; once, that the letter is to be tried
// once more behind what waits, and let go if that changes nothing.
type standsStill struct {
	referral string
	once     bool
}

func (s *standsStill) Error() string { return "the referral stands still" }

// orWait puts a letter off whose referral stands still.
func (a *App) orWait(tx *kitstore.Tx, err error, from *postv1.Address, l *postv1.Letter) error {
	if s, ok := errors.AsType[*standsStill](err); ok {
		return a.waitLetter(tx, from, s, l)
	}
	return a.neverAJam(err, l)
}

func (a *App) waitLetter(tx *kitstore.Tx, from *postv1.Address, s *standsStill, l *postv1.Letter) error {
	w := &referralv1.WaitingRecord{
		FromNode: from.GetNode(), Referral: s.referral, Kind: l.GetKind(), Body: l.GetBody(), LetterId: l.GetLetterId(), Sealed: l.GetSealed(),
		PutBehind: s.once,
	}
	if s.once {
		tx.AfterCommit(a.WakeRecovery)
	}
	var err error
	if w.Body, err = a.Post.SealBody(from, letterOf(w)); err != nil {
		return err
	}
	return a.waitFor(tx, w)
}

// waitingFor is the key of a referral that is to be looked at when all have answered.
func waitingFor(node, referral string) kitstore.Key { return kitstore.K(node, referral, uint64(1)) }

// wait has the referral looked at again when all have answered.
func (a *App) wait(tx *kitstore.Tx, referral string) error {
	key := waitingFor(a.Node, referral)
	if has, err := store.Waiting.Has(tx, key); has || err != nil {
		return err
	}
	return store.Waiting.Insert(tx, key, &referralv1.WaitingRecord{FromNode: a.Node, Referral: referral})
}

func (w *work) wait() error { return w.App.wait(w.tx, w.chain.State().Referral) }

func (o *received) wait() error { return o.App.wait(o.tx, o.event.GetReferral()) }

// waits says that a letter must wait: its sender has not answered yet, so nothing of it is applied, or an earlier one of the same sender
// and referral waits. What recovery itself sends never waits.
func (a *App) waits(tx *kitstore.Tx, from, kind, referral string) (bool, error) {
	record, err := a.recovery(tx)
	if err != nil || record == nil || mutant.Off("hold") || kind == kindQuery || kind == kindPart || kind == kindAnswer || kind == kindVoid {
		return false, err
	}
	if unheard(record, from) {
		return true, nil
	}
	found := false
	err = store.Waiting.Scan(tx, kitstore.Range{Prefix: kitstore.K(from, referral)}, func(kitstore.Key, *referralv1.WaitingRecord) error {
		found = true
		return kitstore.Stop
	})
	return found, err
}

// Recover does what is to be done for restored nodes, this one included: it tells, asks, and does what waited. next is when a node is to
// be asked again; zero for not before something happens.
func (a *App) Recover(ctx context.Context) (next time.Time, err error) {
	later, err := a.payDebts(ctx)
	if err != nil || !a.Recovering() {
		return later, err
	}
	next, err = a.recover(ctx)
	if next.IsZero() || !later.IsZero() && later.Before(next) {
		next = later
	}
	return next, err
}

// recover does what is to be done for this node.
func (a *App) recover(ctx context.Context) (next time.Time, err error) {
	listened := a.Listened() // asked before anything is judged: nothing wakes this when it has
	var record *referralv1.RecoveryRecord
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		if record, err = a.recovery(tx); err != nil || record.GetThawTime() != nil {
			return err
		}
		if err := a.judgeAnswers(tx, record); err != nil {
			return err
		}
		if next, err = a.askPeers(tx, record); err != nil {
			return err
		}
		return store.Recovery.Put(tx, store.RecoveryKey, record)
	})
	if err != nil || record == nil {
		return next, err
	}
	if !listened {
		return a.Now().Add(time.Second), nil
	}
	blocked := map[group]bool{}
	if record.GetThawTime() == nil {
		failed, err := a.doWaiting(ctx, kitstore.Range{}, false, blocked)
		if seldom := a.Now().Add(askSeldom); failed && (next.IsZero() || seldom.Before(next)) {
			next = seldom
		}
		return next, err
	}
	parted, err := a.joinOffers(ctx, blocked)
	if err != nil {
		return next, err
	}
	// What this node owes goes first: before that the referral stands still for the others' letters too.
	own, err := a.doWaiting(ctx, kitstore.Range{Prefix: kitstore.K(a.Node)}, true, blocked)
	if err != nil {
		return next, err
	}
	others, err := a.doWaiting(ctx, kitstore.Range{}, true, blocked)
	if err != nil {
		return next, err
	}
	if parted || own || others {
		a.told.Store(true)
		return a.Now().Add(askSeldom), nil
	}
	return time.Time{}, a.endRecovery(ctx)
}

// group is what waits in order: of one node about one referral; without a node, all about one referral.
type group struct{ node, referral string }

// doWaiting does what waited, in order for each node and referral. Before the thaw only what nothing stands in the way of. What a rule refuses,
// where none should, or what cannot be done for another reason, waits on, and what is behind it: a service that stopped by it would stop at every
// start. failed says that there is such.
func (a *App) doWaiting(ctx context.Context, whose kitstore.Range, thawed bool, blocked map[group]bool) (failed bool, err error) {
	for {
		var rows []kitstore.Row[*referralv1.WaitingRecord]
		var next kitstore.Key
		err := a.DB.View(ctx, func(r kitstore.Reader) (err error) {
			rows, next, err = store.Waiting.Page(r, whose, sweep)
			return err
		})
		if err != nil {
			return failed, err
		}
		for _, row := range rows {
			of := group{row.Value.GetFromNode(), row.Value.GetReferral()}
			if blocked[of] || blocked[group{referral: of.referral}] {
				continue
			}
			done, err := a.doOne(ctx, row, thawed)
			switch {
			case err == nil:
			case stops(ctx, err):
				return failed, err
			default:
				a.Log.Error("what waited for the recovery cannot be done, which is a fault of this service; it waits on, and is tried again",
					logging.Referral(of.referral), logging.Err(err))
				done, failed = false, true
			}
			blocked[of] = !done
		}
		if next == nil {
			return failed, nil
		}
		whose.After = next
	}
}

// doOne does one thing that waited; false when it still has to wait. A letter that is refused now was told to its sender as taken: it goes to
// quarantine all the same, and so do those behind it.
func (a *App) doOne(ctx context.Context, row kitstore.Row[*referralv1.WaitingRecord], thawed bool) (done bool, err error) {
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		done = false
		if !thawed {
			may, err := a.mayGo(tx, row.Value)
			if !may || err != nil {
				return err
			}
		}
		done = true
		if err := store.Waiting.Delete(tx, row.Key); err != nil {
			return err
		}
		if lost, err := a.ofEarlierLife(tx, row.Value); lost || err != nil {
			return err
		}
		return a.doWaited(tx, row.Value)
	})
	if _, ok := errors.AsType[*standsStill](err); ok {
		return false, nil
	}
	refused, ok := errors.AsType[*Refused](err)
	if !ok {
		return done, err
	}
	a.Log.Error("a letter that waited can never be applied: it goes to quarantine", logging.Referral(row.Value.GetReferral()), logging.Err(err))
	return true, a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		return errors.Join(store.Waiting.Delete(tx, row.Key), a.park(tx, row.Value, refused.Reason))
	})
}

// park puts a letter that waited into quarantine. Rows of before they had the letter's id have one that says nothing else.
func (a *App) park(tx *kitstore.Tx, w *referralv1.WaitingRecord, reason string) error {
	l := letterOf(w)
	if len(l.GetLetterId()) == 0 {
		hash := sha256.Sum256(l.GetBody())
		l.LetterId = hash[:16]
	}
	return a.Post.Park(tx, referralAt(w.GetFromNode()), w.GetIncarnation(), l, reason)
}

func letterOf(w *referralv1.WaitingRecord) *postv1.Letter {
	return &postv1.Letter{LetterId: w.GetLetterId(), Kind: w.GetKind(), Subject: w.GetReferral(), Body: w.GetBody(), Sealed: w.GetSealed()}
}

// ofEarlierLife says that a letter's writer was restored after it wrote it. What this node told the writer, in this life or one that it
// has lost itself, is all that the writer will hear of that life: what is applied later would contradict what it writes since. An annex contradicts
// nothing, where there is still something to which it belongs.
func (a *App) ofEarlierLife(tx *kitstore.Tx, w *referralv1.WaitingRecord) (bool, error) {
	if w.GetKind() == "" || mutant.Off("earlier life") {
		return false, nil
	}
	known, err := a.known(tx)
	if err != nil || w.GetIncarnation() >= known[w.GetFromNode()] {
		return false, err
	}
	if w.GetKind() == kindAnnex {
		if has, err := a.has(tx, w.GetReferral()); has || err != nil {
			return false, err
		}
	}
	a.Log.Warn("a letter that waited is of a life that its writer has lost", logging.Referral(w.GetReferral()), logging.Peer(w.GetFromNode(), "referral"))
	return true, nil
}

// mayGo says that a letter need not wait for all: its sender has answered, and it asks nothing of a referral that stands still.
func (a *App) mayGo(tx *kitstore.Tx, w *referralv1.WaitingRecord) (bool, error) {
	if w.GetKind() == "" || w.GetFromNode() == a.Node {
		return false, nil
	}
	record, err := a.recovery(tx)
	if err != nil || unheard(record, w.GetFromNode()) {
		return false, err
	}
	if w.GetKind() != kindReply && w.GetKind() != kindAnnex {
		return true, nil
	}
	if w.GetKind() == kindAnnex { // it is kept where its referral is known
		return a.has(tx, w.GetReferral())
	}
	held, err := optional(store.Referrals.Get(tx, kitstore.K(w.GetReferral())))
	if err != nil {
		return false, err
	}
	still, err := a.still(tx, w.GetReferral(), held.GetNewIn())
	return !still, err
}

func (a *App) doWaited(tx *kitstore.Tx, w *referralv1.WaitingRecord) error {
	switch {
	case w.GetShelterEvent() != nil:
		return a.FollowShelter(tx, w.GetShelterEvent())
	case w.GetOffered() != nil:
		return a.voidOffer(tx, w)
	case w.GetKind() != "":
		if parked, err := a.Post.Parked(tx, referralAt(w.GetFromNode()), w.GetReferral()); err != nil {
			return err
		} else if parked {
			return a.park(tx, w, reasonState)
		}
		return a.applyWaited(tx, w)
	}
	return a.goOn(tx, w.GetReferral())
}

// applyWaited applies a letter that waited, as the post would have: one that nobody applies, or that makes its handler panic, is refused. It
// would stop the service at every start.
func (a *App) applyWaited(tx *kitstore.Tx, w *referralv1.WaitingRecord) (err error) {
	apply := a.kinds()[w.GetKind()]
	if apply == nil {
		return refuse(reasonKind)
	}
	defer func() {
		if recover() != nil {
			a.Log.Error("a handler panicked; its letter is refused", logging.Err(fmt.Errorf("the handler of %s: %s", w.GetKind(), debug.Stack())))
			err = refuse(reasonPanic)
		}
	}()
	from, letter := referralAt(w.GetFromNode()), letterOf(w)
	if letter.Body, err = a.Post.OpenBody(from, letter); err != nil {
		return refuse(post.ReasonSeal)
	}
	err = apply(tx, from, letter)
	switch s, ok := errors.AsType[*standsStill](err); {
	case ok && !s.once:
		return err // it keeps its place
	case ok && w.GetPutBehind():
		a.Log.Warn("an answer to an offer is let go: nothing came that it follows", logging.Referral(s.referral), logging.Peer(w.GetFromNode(), "referral"))
		return nil
	}
	return a.orWait(tx, err, from, letter)
}

// goOn does for a referral what was put off while it stood still.
func (a *App) goOn(tx *kitstore.Tx, referral string) error {
	offers, err := offersOf(tx, referral)
	if err != nil {
		return err
	}
	for _, record := range offers {
		o, err := a.openRecord(tx, referral, record)
		if err != nil {
			return err
		}
		if err := o.goOn(); err != nil {
			return err
		}
	}
	if held, err := a.holds(tx, referral); !held || err != nil {
		return err
	}
	w, err := a.begin(tx, referral)
	if err != nil {
		return err
	}
	if err := w.takeOwn(); err != nil {
		return err
	}
	if err := w.fallAgain(); err != nil {
		return err
	}
	row, err := getReferral(tx, referral)
	if err != nil {
		return err
	}
	if err := w.sayReady(row.Value); err != nil {
		return err
	}
	_, err = w.end(row.Value)
	return err
}

// goOn answers what an offer waits for: that it was received, the promise, or that its bed is gone.
func (o *received) goOn() error {
	gone, err := o.bedGone()
	if err != nil {
		return err
	}
	switch {
	case gone:
		return o.loseBed()
	case o.record.GetReplies() == 0 && rules.Open(o.record.GetState()):
		if err := o.reply(&custodyv1.Reply{Actor: o.self(), Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}}); err != nil {
			return err
		}
	case o.record.GetState() == custodyv1.OfferState_OFFER_STATE_CONFIRMED:
		if err := o.promise(); err != nil {
			return err
		}
	default:
		return nil
	}
	return o.put()
}

// joinOffers writes offers of this node's own, which others hold, behind the chains they follow, until none follows any more. Where one cannot be
// written its referral stands still as a whole: the offer is not lost, and another event would stand at its position.
func (a *App) joinOffers(ctx context.Context, blocked map[group]bool) (failed bool, err error) {
	for joined := true; joined; {
		joined = false
		var rows []kitstore.Row[*referralv1.WaitingRecord]
		err := a.DB.View(ctx, func(r kitstore.Reader) error {
			return store.Waiting.Scan(r, kitstore.Range{}, func(key kitstore.Key, w *referralv1.WaitingRecord) error {
				if w.GetOffered() != nil {
					rows = append(rows, kitstore.Row[*referralv1.WaitingRecord]{Key: slices.Clone(key), Value: w})
				}
				return nil
			})
		})
		if err != nil {
			return failed, err
		}
		for _, row := range rows {
			whole := group{referral: row.Value.GetReferral()}
			if blocked[whole] {
				continue
			}
			done, err := a.joinOffer(ctx, row)
			switch {
			case err == nil:
				joined = joined || done
			case stops(ctx, err):
				return failed, err
			default:
				a.Log.Error("an offer that came back from another node cannot be written now; its referral stands still, and it is tried again",
					logging.Referral(whole.referral), logging.Err(err))
				blocked[whole], failed = true, true
			}
		}
	}
	return failed, nil
}

// joinOffer writes one of them; false where it does not follow.
func (a *App) joinOffer(ctx context.Context, row kitstore.Row[*referralv1.WaitingRecord]) (done bool, err error) {
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		held, err := chainOf(tx, row.Value.GetReferral())
		if err != nil {
			return err
		}
		if done, err = a.continueWith(tx, held, row.Value.GetOffered()); !done || err != nil {
			return err
		}
		return store.Waiting.Delete(tx, row.Key)
	})
	return done && err == nil, err
}

// voidOffer tells a node that this one's chain does not hold an offer made to it: all who knew what went before it have lost that.
func (a *App) voidOffer(tx *kitstore.Tx, w *referralv1.WaitingRecord) error {
	held, err := chainOf(tx, w.GetReferral())
	if err != nil {
		return err
	}
	hash := custody.HashOf(w.GetOffered().GetEvent())
	if held != nil && held.State().Offer(hash.Bytes()) != nil {
		return nil
	}
	a.Log.Warn("another node holds an offer of which this one has lost the referral", logging.Referral(w.GetReferral()), logging.Peer(w.GetFromNode(), "referral"))
	return a.voidTo(tx, w.GetFromNode(), w.GetReferral(), hash.Bytes())
}

func (a *App) voidTo(tx *kitstore.Tx, node, referral string, offer []byte) error {
	return a.mail(tx, toRestored(node, kindVoid, referral, &custodyv1.OfferVoid{Referral: referral, Offer: offer}))
}

// receiveVoid ends an offer that its owner's chain does not hold any more.
func (a *App) receiveVoid(tx *kitstore.Tx, from string, void *custodyv1.OfferVoid) error {
	if len(void.GetOffer()) != len(custody.Hash{}) || custody.CreatedAt(void.GetReferral()) == "" {
		return refuse(reasonBody)
	}
	record, err := optional(store.Offers.Get(tx, kitstore.K(void.GetReferral(), custody.Hash(void.GetOffer()).String())))
	if err != nil || record == nil {
		return err
	}
	o, err := a.openReceived(tx, store.OfferName(void.GetReferral(), custody.Hash(void.GetOffer()).String()), record)
	if err != nil {
		return err
	}
	if o.event.GetOwner() != from {
		return refuse(reasonSender)
	}
	if !rules.Open(record.GetState()) {
		return nil
	}
	e := &custodyv1.Event{Body: &custodyv1.Event_OfferWithdrawn{OfferWithdrawn: &custodyv1.OfferWithdrawn{
		Offer: void.GetOffer(), Reason: codes.WithdrawalRecordLost,
	}}}
	return o.hear(e)
}

// endRecovery ends it when nothing waits any more. What began to wait while the rest was done is looked at again: nothing else would.
func (a *App) endRecovery(ctx context.Context) error {
	ended := false
	err := a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		n, err := store.Waiting.Count(tx)
		if err != nil || n > 0 {
			return err
		}
		record, err := store.Recovery.Get(tx, store.RecoveryKey)
		if err != nil {
			return err
		}
		record.EndTime, ended = timestamppb.New(a.Now()), true
		return store.Recovery.Put(tx, store.RecoveryKey, record)
	})
	switch {
	case err != nil:
	case !ended:
		a.WakeRecovery()
	default:
		a.recovering.Store(false)
		a.Log.Info("the recovery is over")
		a.Wake()
	}
	return err
}

// waitShelter puts an event of the shelter off that is about a bed of an offer which stands still, or of one whose bed is in the same hold.
func (o *received) waitShelter(event *eventsv1.Event) (bool, error) {
	stands := ""
	look := func(one *received) error {
		still, err := one.still()
		if still && stands == "" {
			stands = one.event.GetReferral()
		}
		return err
	}
	if err := look(o); err != nil {
		return false, err
	}
	if err := o.eachWith(look); err != nil || stands == "" {
		return false, err
	}
	return true, o.waitFor(o.tx, &referralv1.WaitingRecord{FromNode: o.Node, Referral: stands + "#shelter", ShelterEvent: event})
}
