package app

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// FollowReferral takes in an event of this node's referral service, in the transaction that moves
// the mark. An event may come twice.
func (a *App) FollowReferral(tx *kitstore.Tx, event *eventsv1.Event) error {
	if event.GetType() == "referral.deadline.missed.v1" {
		return a.missedReferral(tx, event)
	}
	switch event.GetType() {
	case "referral.referral.forked.v1": // a fork is for people to judge; it moves no case
		return nil
	case "referral.offer.withdrawn.v1", "referral.offer.expired.v1", "referral.offer.declined.v1", "referral.offer.acceptance-withdrawn.v1":
		e := &referralv1.OfferChanged{}
		if err := event.GetData().UnmarshalTo(e); err != nil {
			return fmt.Errorf("event %s: %w", event.GetId(), err)
		}
		return a.followOffer(tx, e)
	case "referral.handover.refused.v1":
		e := &referralv1.HandoverRefused{}
		if err := event.GetData().UnmarshalTo(e); err != nil {
			return fmt.Errorf("event %s: %w", event.GetId(), err)
		}
		return a.followRefusal(tx, e)
	}
	if !strings.HasPrefix(event.GetType(), "referral.referral.") {
		return nil
	}
	e := &referralv1.ReferralChanged{}
	if err := event.GetData().UnmarshalTo(e); err != nil {
		return fmt.Errorf("event %s: %w", event.GetId(), err)
	}
	if rules.Began(e, a.Node) {
		if err := a.followBegun(tx, e); err != nil {
			return err
		}
	}
	if err := a.followReceived(tx, e); err != nil {
		return err
	}
	return a.sendOwed(tx, e)
}

// followRefusal takes in that a handover was refused: what came here ends, and to a node that refuses nothing is owed.
func (a *App) followRefusal(tx *kitstore.Tx, e *referralv1.HandoverRefused) error {
	if e.GetNode() == a.Node {
		d, err := a.received(tx, e.GetReferral())
		if err != nil || rules.Past(e, d.GetReferralSequence()) {
			return err
		}
		return a.endOffer(tx, e.GetReferral(), "", codes.DossierClosingOfferEnded)
	}
	for _, source := range []protectionv1.Case_Source{protectionv1.Case_SOURCE_INTAKE, protectionv1.Case_SOURCE_REFERRAL} {
		row, err := a.caseOf(tx, e.GetReferral(), source)
		if err != nil {
			return err
		}
		if row.Value == nil || row.Erased || row.Value.GetHolderNode() != e.GetNode() || rules.Past(e, row.Value.GetReferralSequence()) {
			continue
		}
		row.Value.HolderNode, row.Value.HolderOffer = "", ""
		if _, err := a.putCase(tx, row.Value, "", a.Now()); err != nil {
			return err
		}
	}
	return nil
}

// followBegun moves the case that was taken in here. While it is not known which that is, the event is kept.
func (a *App) followBegun(tx *kitstore.Tx, e *referralv1.ReferralChanged) error {
	row, err := a.caseOf(tx, e.GetReferral(), protectionv1.Case_SOURCE_INTAKE)
	switch {
	case err != nil || row.Erased:
		return err
	case row.Value == nil:
		return a.followUnknown(tx, e)
	}
	return a.advance(tx, row.Value, e)
}

// followUnknown takes in an event of a referral that no case names. Its key says whose it is: of a case that has forgotten it, since the
// store was restored, or of one that waits for the answer, for which the event is kept. A case that is not here any more was lost.
func (a *App) followUnknown(tx *kitstore.Tx, e *referralv1.ReferralChanged) error {
	if caseInID.FindString(e.GetRequestId()) == "" {
		return a.hear(tx, e)
	}
	row, err := store.Cases.Row(tx, a.Keys, kitstore.K(a.caseIn(e.GetRequestId())))
	switch {
	case errors.Is(err, kitstore.ErrNotFound):
		return a.caseLost(tx, e)
	case err != nil || row.Erased:
		return err
	case !rules.Forgotten(row.Value, e):
		return a.hear(tx, e)
	}
	record := row.Value
	rules.Refers(record, e.GetReferral(), e.GetKind(), e.GetState(), e.GetSequence())
	record.SubmittedAs, record.GetCase().ReferFailure = e.GetRequestId(), ""
	if err := a.tellWithdrawn(tx, record, ""); err != nil {
		return err
	}
	if _, err := a.putCase(tx, record, "referred", a.Now()); err != nil {
		return err
	}
	return a.advance(tx, record, e)
}

// caseLost has a person look for whom a referral is that goes on here, once, and keeps what is heard of it.
func (a *App) caseLost(tx *kitstore.Tx, e *referralv1.ReferralChanged) error {
	heard, err := store.Heard.Has(tx, kitstore.K(e.GetReferral()))
	if err != nil {
		return err
	}
	if !heard && !rules.Ended(e.GetState()) {
		err := a.missed(tx, missing{
			kind: protectionv1.Notice_KIND_REFERRAL, subject: e.GetReferral(), step: rules.StepCaseLost, due: a.Now(), missed: 1, unit: e.GetUnit(),
			urgency: custodyv1.Urgency_URGENCY_HIGH, // that of the case is not known
		})
		if err != nil {
			return err
		}
	}
	return a.hear(tx, e)
}

// caseOf is the last case of a referral and a source; without a value when there is none.
func (a *App) caseOf(r kitstore.Reader, referral string, source protectionv1.Case_Source) (privacy.Row[*protectionv1.CaseRecord], error) {
	row, err := store.CasesByReferral.First(r, a.Keys, kitstore.Range{Prefix: kitstore.K(referral, uint32(source)), Reverse: true})
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

// advance moves a case as its referral went.
func (a *App) advance(tx *kitstore.Tx, record *protectionv1.CaseRecord, e *referralv1.ReferralChanged) error {
	now, was := a.Now(), record.GetCase().GetState()
	changed, closed := rules.Follow(record, e)
	if !changed {
		return nil
	}
	if e.GetConsentEnded() {
		rules.EndConsent(record, now)
	}
	word := ""
	if closed {
		word = "closed"
	}
	record.GetCase().UpdateTime = timestamppb.New(now)
	if was == protectionv1.Case_STATE_CLOSED_REFERRED && record.GetCase().GetState() == protectionv1.Case_STATE_ACTIVE { // the person is back
		if err := a.resumeDeadlines(tx, record.GetCase(), now); err != nil {
			return err
		}
	}
	_, err := a.putCase(tx, record, word, now)
	return err
}
