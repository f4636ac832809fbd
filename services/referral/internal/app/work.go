package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// Kinds of letters.
const (
	kindOffer = "custody.offer.v1"
	kindReply = "custody.reply.v1"
	kindChain = "custody.chain.v1"
	kindHead  = "custody.head.v1"
	kindAnnex = "custody.annex.v1"

	kindDigest = "custody.head.digest.v1"
	kindHeads  = "custody.head.list.v1"

	kindQuery  = "custody.recovery.query.v1"
	kindPart   = "custody.recovery.part.v1"
	kindAnswer = "custody.recovery.answer.v1"
	kindVoid   = "custody.offer.void.v1"
)

// work is one transaction over one referral's chain.
type work struct {
	*App
	tx     *kitstore.Tx
	now    time.Time
	chain  *custody.Chain
	stored int    // how many of its links are in the store
	number uint64 // of its reference, when the referral is new

	request  string // key of the call that submitted it here; empty elsewhere
	recalled bool   // the chain came back from another node, after this store was restored

	group []*work // see bound; nil while it is not known

	asked asking // whom a referral that is new asks first

	alone  []custody.Link         // events for units that were asked, each by itself
	hears  map[string]postv1.Lane // nodes that get the chain as it is at the end
	beside []annexMail            // what travels behind them
}

// annexMail is an annex and who gets it.
type annexMail struct {
	annex *custodyv1.AnnexLetter
	lane  postv1.Lane
	nodes []string
}

// begin reads the chain; it must be there.
func (a *App) begin(tx *kitstore.Tx, referral string) (*work, error) {
	c, err := chainOf(tx, referral)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fault.NotFound("referral")
	}
	return &work{App: a, tx: tx, now: a.Now(), chain: c, stored: len(c.Links())}, nil
}

// step is the frame of what an owner does: find the referral, let do append events and queue
// letters, store what the chain has become, and show it. again is asked first: when it says that
// the call was made before, the referral is shown as it stands.
func (a *App) step(ctx context.Context, name, tag string, again func(s *custody.State) bool, do func(w *work) error) (*referralv1.Referral, error) {
	return a.stepIn(ctx, name, tag, func(w *work) (bool, error) { return again(w.chain.State()), nil }, do)
}

// stepIn is step where the chain's state alone does not say whether the call was made before.
func (a *App) stepIn(ctx context.Context, name, tag string, again func(w *work) (bool, error), do func(w *work) error) (shown *referralv1.Referral, err error) {
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		w, err := a.begin(tx, name)
		if err != nil {
			return err
		}
		row, err := getReferral(tx, name)
		if err != nil {
			return err
		}
		made, err := again(w)
		if err != nil {
			return err
		}
		if made {
			shown, err = a.show(tx, row)
			return err
		}
		if tag != "" && tag != etag(row.Version) {
			return fault.StaleEtag()
		}
		if err := do(w); err != nil {
			return legal(err)
		}
		shown, err = w.end(row.Value)
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

func never(*custody.State) bool { return false }

// append writes one event as the owner, and notes who hears of it.
func (w *work) append(actor *custodyv1.Actor, annex []byte, e *custodyv1.Event) (custody.Link, error) {
	if err := moving(w.still()); err != nil {
		return custody.Link{}, err
	}
	e.Actor, e.Time, e.AnnexCommitment = actor, timestamppb.New(w.now), annex
	l, err := w.chain.Append(w.Signer, w.Node, e)
	if err != nil {
		return l, err
	}
	w.hear(l, w.chain.Hears())
	return l, nil
}

// hear notes who hears of an event.
func (w *work) hear(l custody.Link, audience custody.Audience) {
	if audience.Alone != "" {
		w.alone = append(w.alone, l)
	}
	for _, node := range audience.Chain {
		if w.hears == nil {
			w.hears = map[string]postv1.Lane{}
		}
		if lane := w.laneOf(l.Event); w.hears[node] != postv1.Lane_LANE_URGENT {
			w.hears[node] = lane
		}
	}
}

// laneOf an event's letters: arrivals, people who did not come, and the end of consent never wait.
func (w *work) laneOf(e *custodyv1.Event) postv1.Lane {
	if e.GetArrived() != nil || e.GetExternalAnswered().GetArrived() != nil || e.GetConsentEnded() != nil || e.GetNoShow() != nil {
		return postv1.Lane_LANE_URGENT
	}
	return w.lane()
}

// send queues what was appended to whom it concerns.
func (w *work) send() error {
	s := w.chain.State()
	for _, l := range w.alone {
		node := l.Event.GetOffered().GetToNode()
		if node == "" {
			node = s.Offer(custody.OfferOf(l.Event)).Offered.GetToNode()
		}
		err := w.mail(w.tx, post.Outgoing{
			To: referralAt(node), Lane: w.lane(), Kind: kindOffer, Subject: s.Referral, Body: &custodyv1.OfferLetter{Offered: l.Signed},
		})
		if err != nil {
			return err
		}
	}
	for _, node := range slices.Sorted(maps.Keys(w.hears)) {
		if err := w.sendChain(w.hears[node], node); err != nil {
			return err
		}
	}
	for _, m := range w.beside { // behind what names it: nobody takes in an annex of what they do not know
		if err := w.sendAnnex(w.tx, m.lane, m.annex, m.nodes...); err != nil {
			return err
		}
	}
	return nil
}

// attach keeps an annex and sends it behind the events of this transaction; nil is none.
func (w *work) attach(annex *custodyv1.AnnexLetter, lane postv1.Lane, nodes ...string) error {
	if annex == nil {
		return nil
	}
	w.beside = append(w.beside, annexMail{annex, lane, nodes})
	return w.Annexes.Put(w.tx, annex)
}

// end stores the new links with all that follows from them: view, offers made here, deadline and
// events. record is what stands; nil for a referral that is new here.
func (w *work) end(record *referralv1.ReferralRecord) (*referralv1.Referral, error) {
	if err := w.keepTogether(); err != nil {
		return nil, err
	}
	links := w.chain.Links()[w.stored:]
	s := w.chain.State()
	if mutant.Off("one transaction") && len(links) > 0 && links[len(links)-1].Event.GetDispatched().GetToNode() == s.Owner && s.Owner != w.Node {
		return record.GetReferral(), w.send()
	}
	for _, l := range links {
		if err := store.Links.Insert(w.tx, kitstore.K(s.Referral, l.Event.GetSequence()), l.Signed); err != nil {
			return nil, err
		}
	}
	if record == nil {
		record = &referralv1.ReferralRecord{}
	}
	if w.stored == 0 && !w.recalled {
		record.NewIn = w.newIn()
	}
	record.Referral = rules.View(s, w.now)
	if err := w.answered(record); err != nil {
		return nil, err
	}
	if err := w.promiseReturn(record); err != nil {
		return nil, err
	}
	if err := w.knowAgain(record); err != nil {
		return nil, err
	}
	w.request = record.GetRequest().GetRequestId()
	key := kitstore.K(s.Referral)
	if err := store.Referrals.Put(w.tx, key, record); err != nil {
		return nil, err
	}
	if err := w.send(); err != nil {
		return nil, err
	}
	if err := w.follow(); err != nil {
		return nil, err
	}
	if err := w.setDeadline(record.GetReturnRequest() != nil); err != nil {
		return nil, err
	}
	for _, l := range links {
		if err := w.tell(l); err != nil {
			return nil, err
		}
	}
	if err := w.tellFederal(links, record.GetRequest().GetCaseFlowId()); err != nil {
		return nil, err
	}
	version, err := store.Referrals.Version(w.tx, key)
	if err != nil {
		return nil, err
	}
	return w.show(w.tx, kitstore.Row[*referralv1.ReferralRecord]{Key: key, Value: record, Version: version})
}

// close is end for what nobody waits for.
func (w *work) close() error {
	row, err := getReferral(w.tx, w.chain.State().Referral)
	if err != nil {
		return err
	}
	_, err = w.end(row.Value)
	return err
}

func (w *work) setDeadline(asked bool) error {
	s := w.chain.State()
	key := kitstore.K(s.Referral)
	held, err := store.Deadlines.Get(w.tx, key)
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return err
	}
	return w.App.putDeadline(w.tx, key, held, rules.Next(s, w.Node, asked, held, w.now, w.Limits))
}

// putDeadline replaces a deadline by the next; either may be nil.
func (a *App) putDeadline(tx *kitstore.Tx, key kitstore.Key, held, next *referralv1.DeadlineRecord) error {
	tx.AfterCommit(a.Wake)
	switch {
	case next != nil:
		return store.Deadlines.Put(tx, key, next)
	case held != nil:
		return store.Deadlines.Delete(tx, key)
	}
	return nil
}

// lane of a referral's letters.
func lane(u custodyv1.Urgency) postv1.Lane {
	if u == custodyv1.Urgency_URGENCY_HIGH {
		return postv1.Lane_LANE_URGENT
	}
	return postv1.Lane_LANE_BULK
}

// laneOfReply: what is about where the person is, and the end of consent, never waits.
func laneOfReply(r *custodyv1.Reply, usual postv1.Lane) postv1.Lane {
	if r.GetArrivalAsserted() != nil || r.GetConsentWithdrawn() != nil || r.GetSafetyInformation() != nil || r.GetRefused() != nil {
		return postv1.Lane_LANE_URGENT
	}
	return usual
}

func (w *work) lane() postv1.Lane { return lane(w.chain.State().Submitted.GetUrgency()) }

// referralAt is the address of a node's referral service.
func referralAt(node string) *postv1.Address {
	return &postv1.Address{Node: node, Service: "referral"}
}

// mail queues a letter to another referral service. A node that takes no part in the network now, or has no such service, gets none, and keeps
// nobody from writing: when it is there again its deadlines ask for what it missed, and what it says too late is answered.
func (a *App) mail(tx *kitstore.Tx, o post.Outgoing) error {
	if err := a.Post.Queue(tx, o); !errors.Is(err, post.ErrAbsent) {
		return err
	}
	return nil
}

// others are the nodes that hear of handover, arrival and end: the origin, the former owners and
// the owner, without this one.
func (w *work) others() []string {
	s := w.chain.State()
	var nodes []string
	for _, n := range append([]string{s.Origin, s.Owner}, s.Former...) {
		if n != w.Node && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// sendChain queues the whole chain to nodes. This node needs no letter: what the chain means
// here was done when it was stored.
func (w *work) sendChain(lane postv1.Lane, nodes ...string) error {
	s := w.chain.State()
	for _, n := range nodes {
		if n == w.Node {
			continue
		}
		err := w.mail(w.tx, post.Outgoing{
			To: referralAt(n), Lane: lane, Kind: kindChain, Subject: s.Referral,
			Body: &custodyv1.ChainLetter{Referral: s.Referral, Chain: w.chain.Message()},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// command queues a command to the shelter service. One that is queued under its id already asks for the same: a node that was restored may decide
// again what it had decided.
func (a *App) command(tx *kitstore.Tx, c outbox.Command) error {
	err := a.Commands.Queue(tx, c)
	if errors.Is(err, kitstore.ErrExists) {
		return nil
	}
	return err
}

// sendAnnex keeps an annex and queues it, sealed, to nodes; nil is none.
func (a *App) sendAnnex(tx *kitstore.Tx, lane postv1.Lane, annex *custodyv1.AnnexLetter, nodes ...string) error {
	if annex == nil {
		return nil
	}
	if err := a.keepAnnex(tx, annex); err != nil {
		return err
	}
	for _, n := range nodes {
		if n == a.Node {
			continue
		}
		err := a.mail(tx, post.Outgoing{
			To: referralAt(n), Lane: lane, Kind: kindAnnex, Subject: annex.GetReferral(), Body: annex, Sealed: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
