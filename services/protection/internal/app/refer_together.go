package app

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
)

// referTogether asks the referral service, by one command, to begin a referral for each of those who go together, each on its own
// consent or legal basis: for all of them or for none. The answer is the case that was named first.
func (a *App) referTogether(ctx context.Context, request *protectionv1.ReferCaseRequest, actor *custodyv1.Actor) (*protectionv1.Case, error) {
	if err := a.checkNode("name", request.GetName()); err != nil {
		return nil, err
	}
	for i, other := range request.GetOthers() {
		if err := a.checkNode(fmt.Sprintf("others[%d].name", i), other.GetName()); err != nil {
			return nil, err
		}
	}
	digest, err := a.digest("ask-refer", request)
	if err != nil {
		return nil, err
	}
	id := a.commandID("refer", request.GetName(), request.GetEtag())
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error { return a.queueTogether(tx, request, actor, id, digest) })
	if err != nil {
		return nil, err
	}
	if err := a.wait(ctx, id); err != nil {
		return nil, err
	}
	return a.answer(ctx, request.GetName(), id)
}

func (a *App) queueTogether(tx *kitstore.Tx, request *protectionv1.ReferCaseRequest, actor *custodyv1.Actor, id string, digest []byte) error {
	lead, err := a.openCase(tx, request.GetName())
	if err != nil {
		return err
	}
	if asked := lead.Value.GetAsked(); asked.GetId() == id && bytes.Equal(asked.GetDigest(), digest) {
		return nil // asked before
	}
	now := a.Now()
	parts, err := rules.Together(request, now)
	if err != nil {
		return err
	}
	submit := &referralv1.SubmitReferralsRequest{Parent: a.parent()}
	var records []*protectionv1.CaseRecord
	for i, part := range parts {
		row, err := a.openCase(tx, part.GetName())
		if err == nil {
			err = mayAsk(row, part.GetEtag())
		}
		if err == nil {
			err = rules.CheckRefer(row.Value.GetCase(), part.GetOverride(), now)
		}
		if err == nil && row.Value.GetCase().GetUnit() != lead.Value.GetCase().GetUnit() {
			err = fault.InvalidField("name", "must be a case of the same unit, which answers for all of them")
		}
		if err != nil {
			return rules.OfOther(i, err)
		}
		records = append(records, row.Value)
		submit.Requests = append(submit.Requests, a.submission(part, row.Value, a.commandID("refer", part.GetName(), part.GetEtag()), actor))
	}
	for _, one := range submit.GetRequests() { // the highest risk is that of all
		submit.Requests[0].Urgency = min(submit.GetRequests()[0].GetUrgency(), one.GetUrgency())
	}
	for _, one := range submit.GetRequests() {
		one.Urgency = submit.GetRequests()[0].GetUrgency()
	}
	err = a.Commands.Queue(tx, outbox.Command{
		ID: id, Method: referralv1.ReferralService_SubmitReferrals_FullMethodName, Subject: request.GetName(), Request: submit, OnBehalfOf: actor.GetPerson(),
	})
	if err != nil {
		return err
	}
	var keys []string
	for _, one := range submit.GetRequests() {
		keys = append(keys, one.GetRequestId())
	}
	for i, record := range records {
		record.Submission = &protectionv1.Submission{Request: submit.GetRequests()[i], Together: keys, Before: record.GetSubmittedAs()}
		record.SubmittedAs = keys[i]
		if err := a.putAsked(tx, record, id, digest); err != nil {
			return err
		}
	}
	return nil
}

// TakeReferredTogether takes in what the referral service answered for those who go together, for each of them.
func (a *App) TakeReferredTogether(tx *kitstore.Tx, result outbox.Result) error {
	asked, ok := result.Command.Request.(*referralv1.SubmitReferralsRequest)
	if !ok {
		return fmt.Errorf("the request of %s is a %T", result.Command.Method, result.Command.Request)
	}
	begun, ok := result.Reply.(*referralv1.SubmitReferralsResponse)
	if result.Fault == nil && (!ok || len(begun.GetReferrals()) != len(asked.GetRequests())) {
		return fmt.Errorf("the reply to %s is a %T for %d of %d", result.Command.Method, result.Reply, len(begun.GetReferrals()), len(asked.GetRequests()))
	}
	if result.Fault != nil {
		result.Fault = ofOthers(result.Fault)
	}
	for i, one := range asked.GetRequests() {
		var referral *referralv1.Referral
		if result.Fault == nil {
			referral = begun.GetReferrals()[i]
		}
		if err := a.takeReferred(tx, a.caseIn(one.GetRequestId()), referral, result); err != nil {
			return err
		}
	}
	return nil
}

// caseIn is the name of the case that a command is about, by the command's id; of none where the id is not ours.
func (a *App) caseIn(id string) string { return a.parent() + "/cases/" + caseInID.FindString(id) }

// caseInID is the case in a command's id (see commandID), the last part of its name.
var caseInID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

var fieldOfRequest = regexp.MustCompile(`^requests\[([0-9]+)\]\.(.*)$`)

// ofOthers says where in the call of a person a fault lies that the referral service found in one of its requests.
func ofOthers(f *fault.Error) *fault.Error {
	var fields []fault.Violation
	for _, v := range f.Fields() {
		if parts := fieldOfRequest.FindStringSubmatch(v.Field); parts != nil {
			v.Field = parts[2]
			if n, err := strconv.Atoi(parts[1]); err == nil && n > 0 {
				v.Field = fmt.Sprintf("others[%d].%s", n-1, parts[2])
			}
		}
		fields = append(fields, v)
	}
	if len(fields) == 0 {
		return f
	}
	return fault.New(f.Reason(), f.Sentence()).Wrap(f).WithFields(fields...)
}
