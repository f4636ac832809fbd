package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// A store that was restored from an older copy has forgotten events it wrote as owner. Would it go on from what it has, two different
// events would stand at one position. So it asks every node of the roster what it holds (RecoveryQuery), takes in what they answer, and
// until all have answered, or were excused, what it knew before stands still (DESIGN section 4, "Restore"): arrivals are asserted,
// deadlines are told, new referrals go on; letters that would need an answer wait in store.Waiting.

const (
	// referenceGap is how many references may have been given in the time that a restore took away: they are not given again.
	referenceGap = 1000
	// askAgain is when a node is asked again whose answer contradicts another's. Each answer tells all that it holds, and it cannot answer
	// otherwise while a third, restored too, does not reach it: so the wait grows with the time that has passed, up to askSeldom. What a rule refused is
	// tried again as seldom.
	askAgain, askSeldom = 10 * time.Second, 10 * time.Minute
)

// BeginRecovery looks whether the store was restored since it last ran, and if so begins to ask the others. Call it before anything
// else of the service runs.
func (a *App) BeginRecovery(ctx context.Context) error {
	recovering := false
	err := a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		record, err := optional(store.Recovery.Get(tx, store.RecoveryKey))
		if err != nil {
			return err
		}
		switch own := a.DB.Incarnation(); {
		case record == nil: // a new store has lost nothing
			return store.Recovery.Put(tx, store.RecoveryKey, &referralv1.RecoveryRecord{Incarnation: own})
		case record.GetIncarnation() == own:
			recovering = record.GetBeginTime() != nil && record.GetEndTime() == nil
			return nil
		default:
			recovering = true
			return a.restored(tx, own)
		}
	})
	a.recovering.Store(recovering)
	a.told.Store(false)
	return err
}

// restored begins the recovery of a store that runs in a new incarnation.
func (a *App) restored(tx *kitstore.Tx, own uint64) error {
	now := timestamppb.New(a.Now())
	record := &referralv1.RecoveryRecord{Incarnation: own, BeginTime: now}
	a.addPeers(record)
	a.Log.Warn("the store was restored from an older copy: the other nodes are asked what it lost", logging.Count("nodes", len(record.GetPeers())))
	last, err := optional(store.Counters.Get(tx, store.ReferenceKey))
	if err != nil {
		return err
	}
	if err := store.Counters.Put(tx, store.ReferenceKey, wrapperspb.UInt64(last.GetValue()+referenceGap)); err != nil {
		return err
	}
	return a.keepAnswers(tx, record)
}

// addPeers has those asked whom the newest roster names and who are not asked yet: the roster in use may have been put back with the
// store, and name nodes that have joined since only when the newer one is installed.
func (a *App) addPeers(record *referralv1.RecoveryRecord) {
	for _, node := range a.Roster.Nodes() {
		asked := slices.ContainsFunc(record.GetPeers(), func(p *referralv1.PeerRecord) bool { return p.GetPeer().GetNode() == node.GetNode() })
		if !asked && node.GetNode() != a.Node && !mutant.Off("roster") && node.GetState() != identityv1.RosterNode_STATE_RETIRED && refers(node) {
			record.Peers = append(record.Peers, &referralv1.PeerRecord{Peer: &referralv1.RecoveryPeer{Node: node.GetNode()}, AskTime: timestamppb.New(a.Now())})
		}
	}
}

// refers says that a node has people to refer: the federal one, without a province, has keys for every service and none.
func refers(node *identityv1.RosterNode) bool {
	return node.GetProvince() != "" && slices.ContainsFunc(node.GetServices(), func(s *identityv1.RosterService) bool { return s.GetService() == "referral" })
}

// recovery is the record while the recovery goes on; nil else.
func (a *App) recovery(r kitstore.Reader) (*referralv1.RecoveryRecord, error) {
	if !a.recovering.Load() {
		return nil, nil
	}
	return store.Recovery.Get(r, store.RecoveryKey)
}

// Recovering says that referrals of before a restore stand still, or that what waited is not all done.
func (a *App) Recovering() bool { return a.recovering.Load() }

// Told says that nothing is awaited of what a restore took away: all have answered, and what waited for that is done, but for what cannot be.
func (a *App) Told() bool { return !a.recovering.Load() || a.told.Load() }

// still says that a referral which came to this store before its recovery stands still; newIn is the incarnation noted with what came
// since. When all have answered it goes on once what was put off is done (goOn), so that nothing overtakes an answer that is owed.
func (a *App) still(r kitstore.Reader, referral string, newIn uint64) (bool, error) {
	record, err := a.recovery(r)
	if record == nil || err != nil {
		return false, err
	}
	if record.GetThawTime() == nil {
		return newIn != record.GetIncarnation(), nil
	}
	return store.Waiting.Has(r, waitingFor(a.Node, referral))
}

// still says that the referral stands still.
func (w *work) still() (bool, error) {
	if w.tx == nil || !w.recovering.Load() {
		return false, nil
	}
	record, err := optional(store.Referrals.Get(w.tx, kitstore.K(w.chain.State().Referral)))
	if err != nil || record == nil && !w.recalled {
		return false, err // it begins in this transaction
	}
	return w.App.still(w.tx, w.chain.State().Referral, record.GetNewIn())
}

func (o *received) still() (bool, error) {
	return o.App.still(o.tx, o.event.GetReferral(), o.record.GetNewIn())
}

// moving refuses what a referral that stands still cannot do.
func moving(still bool, err error) error {
	if still {
		return fault.New(fault.Recovering,
			"The node was restored from a backup and still asks the other nodes what it lost. Until they have answered this referral stands still; an arrival can be asserted. See who has not answered (getRecovery).")
	}
	return err
}

// unheard says that a node has not answered at all yet, and that nobody excused it: nothing of it is applied.
func unheard(record *referralv1.RecoveryRecord, node string) bool {
	return slices.ContainsFunc(record.GetPeers(), func(p *referralv1.PeerRecord) bool {
		return p.GetPeer().GetNode() == node && p.GetPeer().GetAnswerTime() == nil && p.GetPeer().GetExcusedBy() == nil
	})
}

// newIn is what a record that begins now notes.
func (a *App) newIn() uint64 {
	if !a.recovering.Load() {
		return 0
	}
	return a.DB.Incarnation()
}

// known are the incarnations of all referral services as this node knows them.
func (a *App) known(r kitstore.Reader) (map[string]uint64, error) {
	known, err := a.Post.Incarnations(r, "referral")
	if known != nil {
		known[a.Node] = a.DB.Incarnation()
	}
	return known, err
}

// askPeers asks the nodes whose time has come; next is when another is to be asked. One that the roster has not active, or without such a service, is asked later.
func (a *App) askPeers(tx *kitstore.Tx, record *referralv1.RecoveryRecord) (next time.Time, err error) {
	now := a.Now()
	for _, p := range record.GetPeers() {
		if p.GetAnswered() || p.GetAskTime() == nil || p.GetPeer().GetExcusedBy() != nil {
			continue
		}
		switch due := p.GetAskTime().AsTime(); {
		case now.Before(due):
		case a.takesPart(p.GetPeer().GetNode()):
			err := a.Post.Queue(tx, toRestored(p.GetPeer().GetNode(), kindQuery, "", &custodyv1.RecoveryQuery{}))
			if err == nil {
				p.AskTime = nil
				continue
			}
			if !errors.Is(err, post.ErrAbsent) { // it may have become so since it was looked at
				return next, err
			}
			p.AskTime = timestamppb.New(now.Add(askAgain))
		default:
			p.AskTime = timestamppb.New(now.Add(askAgain))
		}
		if due := p.GetAskTime().AsTime(); next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next, nil
}

// toRestored addresses what recovery sends: all of it on one lane, so that it stays in order.
func toRestored(node, kind, subject string, body proto.Message) post.Outgoing {
	return post.Outgoing{To: referralAt(node), Lane: postv1.Lane_LANE_URGENT, Kind: kind, Subject: subject, Body: body}
}

// receiveAnswer takes in that a node has told all. An answer to an earlier life of this store does not count.
func (a *App) receiveAnswer(tx *kitstore.Tx, from string, answer *custodyv1.RecoveryAnswer) error {
	record, err := a.recovery(tx)
	if err != nil || record == nil || record.GetThawTime() != nil || incarnationOf(answer.GetKnown(), a.Node) != record.GetIncarnation() {
		return err
	}
	for _, p := range record.GetPeers() {
		if p.GetPeer().GetNode() != from {
			continue
		}
		p.Answered, p.AskTime, p.Known, p.Restored = true, nil, answer.GetKnown(), answer.GetRestored()
		p.Peer.AnswerTime = timestamppb.New(a.Now())
	}
	return a.keepAnswers(tx, record)
}

// keepAnswers keeps what has changed of the answers, and does what follows.
func (a *App) keepAnswers(tx *kitstore.Tx, record *referralv1.RecoveryRecord) error {
	if err := a.judgeAnswers(tx, record); err != nil {
		return err
	}
	if _, err := a.askPeers(tx, record); err != nil {
		return err
	}
	tx.AfterCommit(a.WakeRecovery)
	return store.Recovery.Put(tx, store.RecoveryKey, record)
}

// judgeAnswers ends the standing still when every node has answered or was excused and all answers name the same incarnations. Where
// they do not, somebody may still take in what an earlier life of a third node wrote, so that node is asked again. A service that has just
// started listens first: its store may be an older copy, in which the answers to a recovery that is long over stand.
func (a *App) judgeAnswers(tx *kitstore.Tx, record *referralv1.RecoveryRecord) error {
	a.addPeers(record)
	if !a.Listened() {
		return nil
	}
	known, err := a.known(tx)
	if err != nil {
		return err
	}
	restored := map[string]bool{}
	for _, p := range record.GetPeers() {
		asked, err := store.Debts.Has(tx, kitstore.K(p.GetPeer().GetNode()))
		if err != nil {
			return err
		}
		restored[p.GetPeer().GetNode()] = asked || p.GetRestored()
	}
	now := a.Now()
	if waiting, disagree := rules.JudgeAnswers(record, known, restored); len(waiting) == 0 && len(disagree) == 0 {
		record.ThawTime = timestamppb.New(now)
		a.Log.Info("all nodes have answered what this one lost; referrals go on")
	} else if len(waiting) == 0 {
		wait := min(max(askAgain, now.Sub(record.GetBeginTime().AsTime())/10), askSeldom)
		for _, p := range disagree {
			p.Answered, p.AskTime = false, timestamppb.New(now.Add(wait))
		}
	}
	return nil
}

func incarnationOf(list []*custodyv1.Incarnation, node string) uint64 {
	for _, k := range list {
		if k.GetNode() == node {
			return k.GetIncarnation()
		}
	}
	return 0
}
