package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
)

// draft is a referral that is composed and not stored yet.
type draft struct {
	request *referralv1.SubmitReferralRequest
	name    string
	work    *work
	annex   *custodyv1.AnnexLetter
}

// SubmitReferrals begins the referrals of people who are not parted, and asks one unit for all, in one transaction. The same keys with
// the same bodies answer with the referrals that they began, for ever.
func (a *App) SubmitReferrals(ctx context.Context, request *referralv1.SubmitReferralsRequest) (*referralv1.SubmitReferralsResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	drafts, refused := a.draft(ctx, request)
	var response *referralv1.SubmitReferralsResponse
	err := a.DB.Update(ctx, func(tx *kitstore.Tx) (err error) {
		if response, err = a.submittedTogether(tx, request); response != nil || err != nil {
			return err
		}
		for _, r := range request.GetRequests() {
			if err := a.checkCase(tx, r); err != nil {
				return err
			}
		}
		if refused != nil {
			return refused
		}
		response = &referralv1.SubmitReferralsResponse{}
		for _, d := range drafts {
			d.work.tx, d.work.group = tx, []*work{d.work}
			shown, err := d.work.submit(d.request, d.annex)
			if err != nil {
				return err
			}
			response.Referrals = append(response.Referrals, shown)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// draft composes the referrals of a group, before the transaction. Of a group that is refused no key is left.
func (a *App) draft(ctx context.Context, request *referralv1.SubmitReferralsRequest) ([]*draft, error) {
	for i, r := range request.GetRequests() { // else a bad one is blamed on the other, which differs from it
		if agency := r.GetExternal(); agency != nil {
			if err := codes.CheckAgency("external", agency); err != nil {
				return nil, ofRequest(i, err)
			}
		}
	}
	if err := rules.CheckTogether(request); err != nil {
		return nil, err
	}
	var drafts []*draft
	var names []string
	for _, r := range request.GetRequests() {
		id, err := a.NewID()
		if err != nil {
			return nil, fmt.Errorf("make an id: %w", err)
		}
		drafts = append(drafts, &draft{request: r, name: a.parent() + "/referrals/" + id})
		names = append(names, drafts[len(drafts)-1].name)
	}
	asking, err := a.newAsking(request.GetRequests()[0].GetExternal()) // one for all of them
	if err != nil {
		return nil, err
	}
	for i, d := range drafts {
		if d.annex, err = a.newAnnex(d.name, &custodyv1.AnnexContent{Note: d.request.GetNote()}); err != nil {
			return nil, err
		}
		together := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == d.name })
		if d.work, err = a.compose(ctx, d.request, d.name, together, asking, d.annex); err != nil {
			return nil, ofRequest(i, err)
		}
	}
	for _, d := range drafts {
		if d.annex != nil || d.work.asked.annex != nil {
			if err := a.Annexes.Prepare(ctx, d.name); err != nil {
				return nil, err
			}
		}
	}
	return drafts, nil
}

// submittedTogether are the referrals that these keys began before, together; nil when they are new.
func (a *App) submittedTogether(tx *kitstore.Tx, request *referralv1.SubmitReferralsRequest) (*referralv1.SubmitReferralsResponse, error) {
	response := &referralv1.SubmitReferralsResponse{}
	var keys []string
	for i, r := range request.GetRequests() {
		shown, err := a.submitted(tx, r)
		if err != nil {
			return nil, ofRequest(i, err)
		}
		if shown != nil {
			response.Referrals, keys = append(response.Referrals, shown), append(keys, r.GetRequestId())
		}
	}
	known := response.GetReferrals()
	if len(known) == 0 {
		return nil, nil
	}
	for i, v := range known {
		if len(known) != len(request.GetRequests()) || len(v.GetTogether()) != len(known)-1 || v != known[0] && !slices.Contains(v.GetTogether(), known[0].GetName()) {
			return nil, fault.New(fault.IdempotencyMismatch, "Some of these request_ids began other referrals. Use new ones for a new group.",
				"referral", v.GetName(), "begun_by", keys[i], "request_id", keys[i])
		}
	}
	return response, nil
}

// ofRequest says in which of several requests a fault lies.
func ofRequest(i int, err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || len(f.Fields()) == 0 {
		return err
	}
	var fields []fault.Violation
	for _, v := range f.Fields() {
		fields = append(fields, fault.Violation{Field: fmt.Sprintf("requests[%d].%s", i, v.Field), Sentence: v.Sentence})
	}
	return fault.New(f.Reason(), f.Sentence()).Wrap(err).WithFields(fields...)
}
