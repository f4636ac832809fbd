package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// Referrals says what the node's referral service holds.
type Referrals interface {
	CompareReferrals(ctx context.Context, in *referralv1.CompareReferralsRequest, opts ...grpc.CallOption) (*referralv1.CompareReferralsResponse, error)
}

// comparePage is how many cases one call compares.
const comparePage = 200

// CompareReferrals compares all cases that are referred with what the node's referral service holds, once for each life of either store. A
// referral service that was restored may have lost a referral of which no other node had heard: nobody would hold it, and its case would
// wait for ever. Such a referral is asked for again under the same key, so that it is one, and a person is told. It goes by what both hold
// and not by what was heard, so it does not matter when it is called. whole is false where it must be called again: what the service
// lost may still come back from other nodes, or an answer is awaited.
func (a *App) CompareReferrals(ctx context.Context, service Referrals) (whole bool, err error) {
	stands, err := service.CompareReferrals(ctx, &referralv1.CompareReferralsRequest{Parent: a.parent()})
	if err != nil {
		return false, fmt.Errorf("ask in which life the referral service is: %w", err)
	}
	lives := &protectionv1.ComparedRecord{Incarnation: a.DB.Incarnation(), ReferralIncarnation: stands.GetIncarnation()}
	if same, err := a.comparedIn(ctx, lives); same || err != nil || stands.GetRecovering() {
		return same, err
	}
	lost, err := a.notHeld(ctx, service, lives)
	if err != nil || lost == nil {
		return false, err
	}
	if err := a.DB.Update(ctx, func(tx *kitstore.Tx) error { return a.withdrawAgain(tx, lives) }); err != nil {
		return false, err
	}
	whole = true
	for _, referral := range slices.Sorted(maps.Keys(lost)) {
		err := a.DB.Update(ctx, func(tx *kitstore.Tx) error {
			done, err := a.repeat(tx, lost[referral], referral, lost, lives)
			whole = whole && done
			return err
		})
		if errors.Is(err, privacy.ErrUnreadable) { // the key file is an older one: its case is compared when its key is here again
			a.Log.Warn("a case does not open; its referral is compared when it does", logging.Referral(referral), logging.Err(err))
			whole = false
			continue
		}
		if err != nil {
			return false, err
		}
	}
	if !whole {
		return false, nil
	}
	return true, a.DB.Update(ctx, func(tx *kitstore.Tx) error { return store.Compared.Put(tx, store.ComparedKey, lives) })
}

// withdrawAgain says, once in each life, of every referral that goes on and whose consent was withdrawn here, that it was: the referral service may have
// lost that before any other node heard of it. Where the chain says so it changes nothing.
func (a *App) withdrawAgain(tx *kitstore.Tx, lives *protectionv1.ComparedRecord) error {
	said, err := optional(store.Compared.Get(tx, store.WithdrawnKey))
	if err != nil || said.GetIncarnation() == lives.GetIncarnation() && said.GetReferralIncarnation() == lives.GetReferralIncarnation() {
		return err
	}
	var after kitstore.Key
	for {
		rows, next, err := store.WithdrawnCases.PagePublic(tx, kitstore.Range{After: after}, comparePage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			c := row.Value.GetCase()
			if row.Erased || !rules.GoesOn(c.GetReferralState()) {
				continue
			}
			if err := a.queueWithdrawn(tx, c, ""); err != nil && !errors.Is(err, kitstore.ErrExists) {
				return err
			}
		}
		if after = next; next == nil {
			return store.Compared.Put(tx, store.WithdrawnKey, lives)
		}
	}
}

func (a *App) comparedIn(ctx context.Context, lives *protectionv1.ComparedRecord) (same bool, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		known, err := optional(store.Compared.Get(r, store.ComparedKey))
		same = mutant.Off("lost") || known.GetIncarnation() == lives.GetIncarnation() && known.GetReferralIncarnation() == lives.GetReferralIncarnation()
		return err
	})
	return same, err
}

// notHeld are the referrals that cases name and the referral service does not hold, with their cases; nil where it began another life
// meanwhile.
func (a *App) notHeld(ctx context.Context, service Referrals, lives *protectionv1.ComparedRecord) (map[string]string, error) {
	lost := map[string]string{}
	var after kitstore.Key
	for {
		cases := map[string]string{}
		err := a.DB.View(ctx, func(r kitstore.Reader) error {
			rows, next, err := store.ReferredCases.PagePublic(r, kitstore.Range{After: after}, comparePage)
			for _, row := range rows {
				cases[row.Value.GetCase().GetReferral()] = row.Value.GetCase().GetName()
			}
			after = next
			return err
		})
		if err != nil {
			return nil, err
		}
		answer, err := service.CompareReferrals(ctx, &referralv1.CompareReferralsRequest{Parent: a.parent(), Referrals: slices.Sorted(maps.Keys(cases))})
		if err != nil {
			return nil, fmt.Errorf("ask which referrals the referral service holds: %w", err)
		}
		if answer.GetRecovering() || answer.GetIncarnation() != lives.GetReferralIncarnation() {
			return nil, nil
		}
		for _, referral := range answer.GetMissing() {
			lost[referral] = cases[referral]
		}
		if after == nil {
			return lost, nil
		}
	}
}

// repeat asks for a referral again that nobody holds, with all who go together, or takes it from its case where a person has to decide;
// done is false while an answer is awaited about the case. lost are all that nobody holds.
func (a *App) repeat(tx *kitstore.Tx, name, referral string, lost map[string]string, lives *protectionv1.ComparedRecord) (done bool, err error) {
	row, err := store.Cases.Row(tx, a.Keys, kitstore.K(name))
	switch {
	case errors.Is(err, kitstore.ErrNotFound):
		return true, nil
	case err != nil:
		return false, err
	case row.Erased || row.Value.GetCase().GetReferral() != referral:
		return true, nil
	case row.Value.GetAsked().GetPending():
		return false, nil
	}
	record := row.Value
	a.Log.Warn("the referral service, restored, does not hold the referral of a case, and no other node does", logging.Referral(referral))
	if rules.Left(record.GetCase().GetReferralState()) { // who has the person asserts the arrival; the case waits for that
		began := time.Unix(0, int64(lives.GetReferralIncarnation())) // the life that has lost it: it is told of once, however often they are compared
		return true, a.lookAfter(tx, record.GetCase(), rules.StepReferralLost, began)
	}
	records, request, err := a.repetition(tx, record, lost)
	if err != nil {
		return false, err
	}
	if request == nil {
		if err := a.referralLost(tx, record); err != nil {
			return false, err
		}
		_, err := a.putCase(tx, record, "", a.Now())
		return true, err
	}
	if err := a.Commands.Queue(tx, *request); err != nil {
		return false, err
	}
	for _, one := range records {
		if err := a.lookAfter(tx, one.GetCase(), rules.StepReferralRepeated, a.Now()); err != nil {
			return false, err
		}
		var digest []byte // with which the call is known again that asked for it first
		if one.GetAsked().GetId() == request.ID {
			digest = one.GetAsked().GetDigest()
		}
		if err := a.putAsked(tx, one, request.ID, digest); err != nil {
			return false, err
		}
	}
	return true, nil
}

// repetition is the command that asks again for the referral of a case, and of all who go together with it, and their records; nil where a
// person has to decide: then one of those who go together came back from another node, or cannot be referred any more.
func (a *App) repetition(tx *kitstore.Tx, lead *protectionv1.CaseRecord, lost map[string]string) ([]*protectionv1.CaseRecord, *outbox.Command, error) {
	now, keys := a.Now(), lead.GetSubmission().GetTogether()
	if len(keys) == 0 {
		one := rules.Repeat(lead, now)
		if one == nil {
			return nil, nil, nil
		}
		return []*protectionv1.CaseRecord{lead}, &outbox.Command{
			ID: one.GetRequestId(), Method: referralv1.ReferralService_SubmitReferral_FullMethodName, Subject: lead.GetCase().GetName(), Request: one,
			OnBehalfOf: one.GetActor().GetPerson(),
		}, nil
	}
	all := &referralv1.SubmitReferralsRequest{Parent: a.parent()}
	var records []*protectionv1.CaseRecord
	for _, key := range keys {
		row, err := store.Cases.Row(tx, a.Keys, kitstore.K(a.caseIn(key)))
		if errors.Is(err, kitstore.ErrNotFound) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if row.Erased || lost[row.Value.GetCase().GetReferral()] == "" || row.Value.GetSubmittedAs() != key || row.Value.GetAsked().GetPending() {
			return nil, nil, nil
		}
		one := rules.Repeat(row.Value, now)
		if one == nil {
			return nil, nil, nil
		}
		all.Requests, records = append(all.Requests, one), append(records, row.Value)
	}
	return records, &outbox.Command{
		ID: keys[0], Method: referralv1.ReferralService_SubmitReferrals_FullMethodName, Subject: a.caseIn(keys[0]), Request: all,
		OnBehalfOf: all.GetRequests()[0].GetActor().GetPerson(),
	}, nil
}

// referralLost takes a referral that nobody holds from its case, and has a person refer it again. The caller stores the case.
func (a *App) referralLost(tx *kitstore.Tx, record *protectionv1.CaseRecord) error {
	rules.Forget(record)
	return a.lookAfter(tx, record.GetCase(), rules.StepReferralLost, a.Now())
}

// lookAfter tells who answers for a case what they have to look at, and since when: once for each such time.
func (a *App) lookAfter(tx *kitstore.Tx, c *protectionv1.Case, step string, since time.Time) error {
	return a.missed(tx, missing{
		kind: protectionv1.Notice_KIND_CASE, subject: c.GetName(), step: step, due: since, missed: 1, unit: c.GetUnit(), reference: c.GetReference(),
		urgency: c.GetUrgency(),
	})
}
