package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/referral/internal/rules"
)

// AskQuestion asks the owner something back before an offer is answered. One question waits at a time: the same topic again is a
// no-op, another is refused until the answer has come.
func (a *App) AskQuestion(ctx context.Context, request *referralv1.AskQuestionRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if err := rules.CheckCode("topic", codes.Question, request.GetTopic(), codes.QuestionOther, request.GetNote()); err != nil {
		return nil, err
	}
	return a.say(ctx, actor, answer{
		name: request.GetName(), etag: request.GetEtag(), what: "asked about",
		reply:   &custodyv1.Reply{Body: &custodyv1.Reply_Question{Question: &custodyv1.Question{Topic: request.GetTopic()}}},
		content: &custodyv1.AnnexContent{Note: request.GetNote()},
		again: func(o *received) (bool, error) {
			switch {
			case o.record.GetState() != custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED:
				return false, nil
			case o.record.GetQuestionTopic() == request.GetTopic():
				return true, nil
			}
			return false, fault.New(fault.WrongState, "Another question waits for its answer. Ask this one when the answer has come.", "state", "information requested")
		},
		keep: func(o *received, _ []byte) error {
			o.record.QuestionTopic = request.GetTopic()
			return nil
		},
	})
}
