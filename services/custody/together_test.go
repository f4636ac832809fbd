package custody_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// child is a chain of somebody who is asked for at two units of punjab, the second of which has accepted.
func child(t *testing.T) *custody.Chain {
	t.Helper()
	c := &custody.Chain{}
	write := func(e *custodyv1.Event) {
		t.Helper()
		if _, err := c.Append(plainSigner{}, "balochistan", at(e)); err != nil {
			t.Fatal(err)
		}
	}
	write(submitted())
	for _, unit := range []string{"one", "two"} {
		write(&custodyv1.Event{Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{
			ToNode: "punjab", ToUnit: "nodes/punjab/units/" + unit, Needs: needs, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT,
			AnswerBy: timestamppb.New(now.Add(time.Hour)),
		}}})
	}
	answered(t, c, 1, "received")
	answered(t, c, 1, "accepted")
	return c
}

// answered records an answer to an offer of punjab.
func answered(t *testing.T, c *custody.Chain, offer int, what string) {
	t.Helper()
	r := answers(now)[what]
	r.Offer = c.State().Offers[offer].Hash.Bytes()
	if _, err := c.Append(plainSigner{}, "balochistan", recorded(c, "", "punjab", r).event); err != nil {
		t.Fatal(err)
	}
}

func TestThoseWhoGoTogether(t *testing.T) {
	const one, two = "nodes/punjab/units/one", "nodes/punjab/units/two"
	both := custody.Together{child(t), child(t)}
	if _, err := both.Confirmable(one); err == nil {
		t.Error("a unit that has not accepted can be chosen")
	}
	offers, err := both.Confirmable(two)
	if err != nil || len(offers) != 2 || offers[0] != both[0].State().Offers[1] {
		t.Fatalf("%v, %v", offers, err)
	}
	for i, c := range both {
		if _, err := both.Ready(); err == nil {
			t.Errorf("they can go with %d promises", i)
		}
		for _, e := range []*custodyv1.Event{
			{Body: &custodyv1.Event_OfferWithdrawn{OfferWithdrawn: &custodyv1.OfferWithdrawn{Offer: c.State().Offers[0].Hash.Bytes()}}},
			{Body: &custodyv1.Event_Confirmed{Confirmed: &custodyv1.Confirmed{Offer: offers[i].Hash.Bytes()}}},
		} {
			if _, err := c.Append(plainSigner{}, "balochistan", at(e)); err != nil {
				t.Fatal(err)
			}
		}
		answered(t, c, 1, "ready")
	}
	if ready, err := both.Ready(); err != nil || len(ready) != 2 {
		t.Errorf("all are promised a place: %v", err)
	}
}

func TestFallen(t *testing.T) {
	for what, want := range map[string][]string{
		"withdrawn": {"nodes/punjab/units/two"}, "question": nil,
	} {
		c := child(t)
		offer := 1
		if what == "question" {
			answered(t, c, 0, "received")
			offer = 0
		}
		before := len(c.Links())
		answered(t, c, offer, what)
		if got := custody.Fallen(c, before); !slices.Equal(got, want) {
			t.Errorf("%s: %v fell out", what, got)
		}
		if got := custody.Fallen(c, len(c.Links())); got != nil {
			t.Errorf("%s: in no events %v fell out", what, got)
		}
	}
}
