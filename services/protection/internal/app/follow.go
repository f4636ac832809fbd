package app

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// kindDossier is the letter with what the receiving unit may learn of a person.
const kindDossier = "protection.dossier.v1"

// FollowReferral takes in an event of this node's referral service, in the transaction that moves
// the mark. An event may come twice.
func (a *App) FollowReferral(tx *kitstore.Tx, event *eventsv1.Event) error {
	if event.GetType() == "referral.deadline.missed.v1" {
		return a.missedReferral(tx, event)
	}
	// A fork is for people to judge; it moves no case.
	if !strings.HasPrefix(event.GetType(), "referral.referral.") || event.GetType() == "referral.referral.forked.v1" {
		return nil
	}
	e := &referralv1.ReferralChanged{}
	if err := event.GetData().UnmarshalTo(e); err != nil {
		return fmt.Errorf("event %s: %w", event.GetId(), err)
	}
	if rules.Began(e, a.Node) {
		if err := a.followAs(tx, protectionv1.Case_SOURCE_INTAKE, e, a.hear); err != nil {
			return err
		}
	}
	if rules.Arriving(e, a.Node) {
		return a.followAs(tx, protectionv1.Case_SOURCE_REFERRAL, e, a.arrive)
	}
	return nil
}

// followAs moves the case of a source that belongs to the referral; without one, otherwise is what
// is done.
func (a *App) followAs(tx *kitstore.Tx, source protectionv1.Case_Source, e *referralv1.ReferralChanged,
	otherwise func(*kitstore.Tx, *referralv1.ReferralChanged) error,
) error {
	row, err := a.caseOf(tx, e.GetReferral(), source)
	switch {
	case err != nil || row.Erased:
		return err
	case row.Value == nil:
		return otherwise(tx, e)
	}
	return a.advance(tx, row.Value, e)
}

// caseOf is the case of a referral and a source; without a value when there is none.
func (a *App) caseOf(r kitstore.Reader, referral string, source protectionv1.Case_Source) (privacy.Row[*protectionv1.CaseRecord], error) {
	row, err := store.CasesByReferral.First(r, a.Keys, kitstore.Range{Prefix: kitstore.K(referral, uint32(source))})
	if errors.Is(err, kitstore.ErrNotFound) {
		return privacy.Row[*protectionv1.CaseRecord]{}, nil
	}
	return row, err
}

// hear keeps what is heard of a referral of ours until the answer says whose it is.
func (a *App) hear(tx *kitstore.Tx, e *referralv1.ReferralChanged) error {
	known, err := store.Heard.Get(tx, kitstore.K(e.GetReferral()))
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return err
	}
	if known.GetSequence() > e.GetSequence() {
		return nil
	}
	return store.Heard.Put(tx, kitstore.K(e.GetReferral()), e)
}

// advance moves a case as its referral went, and sends the dossier when it is due.
func (a *App) advance(tx *kitstore.Tx, record *protectionv1.CaseRecord, e *referralv1.ReferralChanged) error {
	now, c := a.Now(), record.GetCase()
	changed, closed := rules.Follow(record, e)
	if changed && rules.OwesDossier(record, e, a.Node) {
		lane := postv1.Lane_LANE_BULK
		if c.GetUrgency() == custodyv1.Urgency_URGENCY_HIGH {
			lane = postv1.Lane_LANE_URGENT
		}
		err := a.Post.Queue(tx, post.Outgoing{
			To: &postv1.Address{Node: e.GetToNode(), Service: "protection"}, Lane: lane, Kind: kindDossier,
			Subject: e.GetReferral(), Body: rules.Dossier(c, e.GetReferral(), e.GetOffer(), now), Sealed: true,
		})
		if err != nil {
			return err
		}
		record.DossierOffer = e.GetOffer()
	}
	if !changed {
		return nil
	}
	word := ""
	if closed {
		word = "closed"
	}
	c.UpdateTime = timestamppb.New(now)
	_, err := a.putCase(tx, record, word, now)
	return err
}
