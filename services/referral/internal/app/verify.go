package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
)

// VerifyReferral verifies a chain as if it had come from outside: nothing that was verified before is believed.
func (a *App) VerifyReferral(ctx context.Context, name string) (*referralv1.VerifyReferralResponse, error) {
	var events []*custodyv1.SignedEvent
	err := a.DB.View(ctx, func(r kitstore.Reader) (err error) {
		events, err = linksOf(r, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fault.NotFound("referral")
	}
	return verified(custody.VerifyAll(a.Roster, events)), nil
}

// verified says what a chain says; err is what is wrong behind it.
func verified(c *custody.Chain, err error) *referralv1.VerifyReferralResponse {
	s := c.State()
	response := &referralv1.VerifyReferralResponse{
		Sound: err == nil, State: s.State, OwnerNode: s.Owner, CareNode: s.Care, Head: s.Head.Bytes(),
	}
	if err != nil {
		response.Problem = err.Error()
	}
	for _, l := range c.Links() {
		step := &referralv1.ChainStep{
			Sequence: l.Event.GetSequence(), Epoch: l.Event.GetEpoch(), Node: l.Event.GetOwner(), WriteTime: l.Event.GetTime(), Hash: l.Hash.Bytes(),
		}
		step.What, step.ReplyNode = custody.Said(l)
		response.Steps = append(response.Steps, step)
	}
	return response
}
