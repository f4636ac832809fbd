package rules_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
	"amanat.example/services/referral/internal/rules"
)

// told is what an event of a chain of these says, in short: what and of whom, with the code.
func told(s *custody.State, events ...*custodyv1.Event) (all []string) {
	links := make([]custody.Link, len(events))
	for i, e := range events {
		e.Sequence, e.Time = uint64(i+1), timestamppb.New(now)
		links[i].Event = e
	}
	s.Submitted, s.Origin, s.Sequence = &custodyv1.Submitted{FlowId: []byte("sixteen bytes 16")}, "sindh", uint64(len(events))
	for _, f := range rules.Facts(links[len(links)-1], links, s, nil) {
		if f.GetFromNode() != "sindh" || string(f.GetFlowId()) != "sixteen bytes 16" || !f.GetEventTime().AsTime().Equal(now) {
			return append(all, "wrong: "+f.String())
		}
		all = append(all, fmt.Sprintf("%s>%s %s", f.GetKind(), f.GetToNode(), f.GetCode()))
	}
	return all
}

func dispatched(from, to string) *custodyv1.Event {
	return &custodyv1.Event{Owner: from, Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{ToNode: to}}}
}

func replied(t *testing.T, r *custodyv1.Reply) *custodyv1.Event {
	t.Helper()
	r.Referral, r.Node, r.Offer = "nodes/sindh/referrals/a", "punjab", make([]byte, 32)
	raw, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return &custodyv1.Event{Owner: "sindh", Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: &custodyv1.SignedReply{Reply: raw}}}}
}

// What each event says of its flow, and which of them say nothing.
func TestWhatIsToldOfAFlow(t *testing.T) {
	there := func() *custody.State { return &custody.State{Dispatched: &custodyv1.Dispatched{ToNode: "punjab"}} }
	outside := func() *custody.State {
		return &custody.State{Outside: true, Dispatched: &custodyv1.Dispatched{ToNode: "sindh"}}
	}
	asked := func() *custody.State {
		return &custody.State{Offers: []*custody.Offer{{Hash: custody.Hash{1}, Offered: &custodyv1.Offered{ToNode: "punjab"}}}}
	}
	arrived := &custodyv1.Event_Arrived{Arrived: &custodyv1.Arrived{}}
	completed := &custodyv1.Event_Completed{Completed: &custodyv1.Completed{Outcome: "REUNIFIED", Services: []string{"LEGAL", "SHELTER"}}}
	expired := &custodyv1.Event_OfferExpired{OfferExpired: &custodyv1.OfferExpired{Offer: (custody.Hash{1}).Bytes()}}
	external := func(a *custodyv1.ExternalAnswered) *custodyv1.Event {
		return &custodyv1.Event{Owner: "sindh", Body: &custodyv1.Event_ExternalAnswered{ExternalAnswered: a}}
	}
	submitted := &custodyv1.Event_Submitted{Submitted: &custodyv1.Submitted{Kind: custodyv1.ReferralKind_REFERRAL_KIND_SERVICE}}
	for name, c := range map[string]struct {
		s      *custody.State
		events []*custodyv1.Event
		want   []string
	}{
		"submitted, to nobody yet": {there(), []*custodyv1.Event{{Owner: "sindh", Body: submitted}}, []string{"REFERRED> SERVICE"}},
		"accepted":                 {asked(), []*custodyv1.Event{replied(t, &custodyv1.Reply{Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{}}})}, []string{"ACCEPTED>punjab "}},
		"declined":                 {asked(), []*custodyv1.Event{replied(t, &custodyv1.Reply{Body: &custodyv1.Reply_Declined{Declined: &custodyv1.Declined{Reason: "TOO_FAR"}}})}, []string{"DECLINED>punjab TOO_FAR"}},
		"received":                 {asked(), []*custodyv1.Event{replied(t, &custodyv1.Reply{Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}})}, nil},
		"not answered":             {asked(), []*custodyv1.Event{{Owner: "sindh", Body: expired}}, []string{"UNANSWERED>punjab "}},
		"an agency accepts":        {asked(), []*custodyv1.Event{external(&custodyv1.ExternalAnswered{Body: &custodyv1.ExternalAnswered_Accepted{Accepted: &custodyv1.Accepted{}}})}, []string{"ACCEPTED> "}},
		"an agency declines":       {asked(), []*custodyv1.Event{external(&custodyv1.ExternalAnswered{Body: &custodyv1.ExternalAnswered_Declined{Declined: &custodyv1.Declined{Reason: "TOO_FAR"}}})}, []string{"DECLINED> TOO_FAR"}},
		"came to an agency":        {outside(), []*custodyv1.Event{external(&custodyv1.ExternalAnswered{Body: &custodyv1.ExternalAnswered_Arrived{Arrived: &custodyv1.Arrived{}}})}, []string{"ARRIVED> "}},
		"an agency has received":   {asked(), []*custodyv1.Event{external(&custodyv1.ExternalAnswered{Body: &custodyv1.ExternalAnswered_Received{Received: &custodyv1.Received{}}})}, nil},
		"sent":                     {there(), []*custodyv1.Event{dispatched("sindh", "punjab")}, []string{"DISPATCHED>punjab "}},
		"sent to an agency":        {outside(), []*custodyv1.Event{dispatched("sindh", "sindh")}, []string{"DISPATCHED> "}},
		"sent within one node":     {there(), []*custodyv1.Event{dispatched("sindh", "sindh")}, []string{"DISPATCHED>sindh "}},
		"sent back":                {there(), []*custodyv1.Event{dispatched("punjab", "sindh")}, nil},
		"came":                     {there(), []*custodyv1.Event{dispatched("sindh", "punjab"), {Owner: "punjab", Body: arrived}}, []string{"ARRIVED>punjab "}},
		"came back":                {there(), []*custodyv1.Event{dispatched("sindh", "punjab"), dispatched("punjab", "sindh"), {Owner: "sindh", Body: arrived}}, nil},
		"came, after they were back": {
			there(), []*custodyv1.Event{dispatched("punjab", "sindh"), dispatched("sindh", "balochistan"), {Owner: "balochistan", Body: arrived}}, []string{"ARRIVED>balochistan "},
		},
		"an outcome": {there(), []*custodyv1.Event{{Owner: "punjab", Body: completed}}, []string{"COMPLETED>punjab REUNIFIED", "SERVICE>punjab LEGAL", "SERVICE>punjab SHELTER"}},
		"an outcome where they came by themselves": {
			&custody.State{
				Dispatched: &custodyv1.Dispatched{ToNode: "balochistan"},
				Offers:     []*custody.Offer{{Offered: &custodyv1.Offered{ToNode: "punjab"}, State: custodyv1.OfferState_OFFER_STATE_FULFILLED}},
			},
			[]*custodyv1.Event{{Owner: "balochistan", Body: &custodyv1.Event_Completed{Completed: &custodyv1.Completed{Outcome: "REUNIFIED"}}}},
			[]string{"COMPLETED>balochistan REUNIFIED"},
		},
		"an outcome at an agency":    {outside(), []*custodyv1.Event{{Owner: "sindh", Body: completed}}, []string{"COMPLETED> REUNIFIED", "SERVICE> LEGAL", "SERVICE> SHELTER"}},
		"did not come":               {there(), []*custodyv1.Event{{Owner: "punjab", Body: &custodyv1.Event_NoShow{NoShow: &custodyv1.NoShow{}}}}, []string{"NO_SHOW>punjab "}},
		"cancelled":                  {there(), []*custodyv1.Event{{Owner: "sindh", Body: &custodyv1.Event_Cancelled{Cancelled: &custodyv1.Cancelled{Reason: "NOT_NEEDED"}}}}, []string{"CANCELLED> NOT_NEEDED"}},
		"nobody took it":             {there(), []*custodyv1.Event{{Owner: "sindh", Body: &custodyv1.Event_Expired{Expired: &custodyv1.Expired{}}}}, []string{"EXPIRED> "}},
		"back":                       {there(), []*custodyv1.Event{{Owner: "sindh", Body: &custodyv1.Event_Returned{Returned: &custodyv1.Returned{Reason: "FAMILY_TRACED"}}}}, []string{"RETURNED>punjab FAMILY_TRACED"}},
		"heard of on the road":       {there(), []*custodyv1.Event{{Owner: "punjab", Body: &custodyv1.Event_CheckedIn{CheckedIn: &custodyv1.CheckedIn{}}}}, nil},
		"what is not told corrected": {there(), []*custodyv1.Event{{Owner: "punjab", Body: arrived}, {Owner: "punjab", Body: &custodyv1.Event_Corrected{Corrected: &custodyv1.Corrected{Supersedes: make([]byte, 32), Body: &custodyv1.Corrected_Arrived{}}}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told(c.s, c.events...); !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}
