package simulation

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

// AskAgency has the first owner ask an agency outside the network.
func AskAgency(most uint8) Move {
	return each(most, balochistan, "asks an agency", owns(balochistan), func(ctx context.Context, c referralv1.ReferralServiceClient, name string, now time.Time) error {
		v, err := c.GetReferral(ctx, &referralv1.GetReferralRequest{Name: name})
		if err != nil {
			return err
		}
		_, err = c.OfferReferral(ctx, &referralv1.OfferReferralRequest{
			Name: name, External: &custodyv1.Agency{Kind: "NGO", DisplayName: "One", Phone: "+923009876543"},
			AnswerBy: timestamppb.New(now.Add(2 * time.Hour)), Etag: v.GetEtag(),
		})
		return err
	})
}

// withAgency is each offer to an agency that the first owner knows of.
func withAgency(most uint8, verb string, do func(ctx context.Context, c referralv1.ReferralServiceClient, offer string) error) Move {
	return Move{Name: verb, Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		f := w.Facts(s.At[Referral(balochistan)])
		for i, name := range w.Referrals(s) {
			if f.chains[name] == nil {
				continue
			}
			for _, o := range f.chains[name].state.Offers {
				if !o.External() {
					continue
				}
				offer := name + "/offers/" + o.Hash.String()
				to, _ := w.ask(s, balochistan, fmt.Sprintf("%s (%s, %d)", verb, offer, used), func(ctx context.Context, c referralv1.ReferralServiceClient, _ time.Time) error {
					return do(ctx, c, offer)
				})
				next(Nodes[balochistan]+" "+verb+which(w, s, i), to)
			}
		}
	}}
}

// ConfirmAgency has the owner choose an agency that accepted.
func ConfirmAgency(most uint8) Move {
	return withAgency(most, "chooses the agency", func(ctx context.Context, c referralv1.ReferralServiceClient, offer string) error {
		_, err := c.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: offer})
		return err
	})
}

// enter enters what an agency said.
func enter(most uint8, verb string, answer func() *referralv1.RecordExternalAnswerRequest) Move {
	return withAgency(most, "enters that the agency "+verb, func(ctx context.Context, c referralv1.ReferralServiceClient, offer string) error {
		request := answer()
		request.Name, request.Means = offer, "PHONE"
		_, err := c.RecordExternalAnswer(ctx, request)
		return err
	})
}

// What an agency says.
func agencyAccepts() *referralv1.RecordExternalAnswerRequest {
	return &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Accepted{Accepted: &referralv1.ExternalAcceptance{
		Worker: &identityv1.WorkerContact{DisplayName: "One", Phone: "+923009876543"},
	}}}
}

func agencyIsReady() *referralv1.RecordExternalAnswerRequest {
	return &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Ready{Ready: &referralv1.ExternalPromise{}}}
}

func agencyTakesBack() *referralv1.RecordExternalAnswerRequest {
	return &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_AcceptanceWithdrawn{
		AcceptanceWithdrawn: &referralv1.ExternalRefusal{Reason: "NO_CAPACITY"},
	}}
}

func agencyHasHer() *referralv1.RecordExternalAnswerRequest {
	return &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Arrived{
		Arrived: &referralv1.ExternalArrival{Identification: []string{"REFERRAL_SLIP"}},
	}}
}

// promisedBy is the offer whose promise an event takes in: a unit's signed word, or an agency's that was entered; nil for none.
func promisedBy(e *custodyv1.Event) []byte {
	if b := e.GetExternalAnswered(); b.GetReady() != nil {
		return b.GetOffer()
	}
	r := custody.Recorded(e) // the chain was verified
	if r.GetReady() == nil {
		return nil
	}
	return r.GetOffer()
}
