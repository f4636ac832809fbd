package app

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// ExcusePeer goes on without a node's answer. What only that node knew of referrals of before is lost then, and should it come back with
// it, two events may contradict each other: so a person answers for it, in the audit log. Excusing twice is a no-op.
func (a *App) ExcusePeer(ctx context.Context, request *referralv1.ExcusePeerRequest, actor *custodyv1.Actor) (shown *referralv1.Recovery, err error) {
	if err := a.checkNode("name", request.GetName()); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		row, err := store.Recovery.Row(tx, store.RecoveryKey)
		if err != nil {
			return err
		}
		record := row.Value
		i := slices.IndexFunc(record.GetPeers(), func(p *referralv1.PeerRecord) bool { return p.GetPeer().GetNode() == request.GetNode() })
		if i < 0 {
			return fault.InvalidField("node", "must be one of the nodes asked; getRecovery lists them")
		}
		if request.GetEtag() != "" && request.GetEtag() != etag(row.Version) {
			return fault.StaleEtag()
		}
		if err := a.excuse(tx, record, record.GetPeers()[i], request.GetReason(), actor); err != nil {
			return err
		}
		shown, err = a.showRecovery(tx)
		return err
	})
	return shown, err
}

func (a *App) excuse(tx *kitstore.Tx, record *referralv1.RecoveryRecord, p *referralv1.PeerRecord, reason referralv1.ExcuseReason, actor *custodyv1.Actor) error {
	switch {
	case p.GetPeer().GetExcusedBy() != nil:
		return nil
	case record.GetThawTime() != nil:
		return fault.New(fault.WrongState, "The node waits for nobody's answer, so nobody need be excused. Read the recovery again (getRecovery).")
	}
	p.Peer.ExcusedBy, p.Peer.ExcuseReason = actor, reason
	err := store.Audit.Append(tx, &privacyv1.AuditRow{
		Time: timestamppb.New(a.Now()), Method: referralv1.ReferralService_ExcusePeer_FullMethodName,
		Resource: "nodes/" + p.GetPeer().GetNode(), Person: actor.GetPerson(), Purpose: "recovery " + reason.String(), Caller: "gateway",
	})
	if err != nil {
		return err
	}
	return a.keepAnswers(tx, record)
}

// GetRecovery reads what the node asked of others since it was restored, and what it waits for.
func (a *App) GetRecovery(ctx context.Context, name string) (shown *referralv1.Recovery, err error) {
	if err := a.checkNode("name", name); err != nil {
		return nil, err
	}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		shown, err = a.showRecovery(r)
		return err
	})
	return shown, err
}

func (a *App) showRecovery(r kitstore.Reader) (*referralv1.Recovery, error) {
	row, err := store.Recovery.Row(r, store.RecoveryKey)
	if err != nil {
		return nil, err
	}
	record := row.Value
	waiting, err := store.Waiting.Count(r)
	shown := &referralv1.Recovery{
		Name: a.parent() + "/recovery", Active: record.GetBeginTime() != nil && record.GetEndTime() == nil,
		BeginTime: record.GetBeginTime(), EndTime: record.GetEndTime(), Waiting: waiting, Etag: etag(row.Version),
	}
	for _, p := range record.GetPeers() {
		shown.Peers = append(shown.Peers, p.GetPeer())
	}
	return shown, err
}
