package custody_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// toAgency is an offer of a kind to an agency outside the network.
func toAgency(kind custodyv1.ReferralKind) *custodyv1.Event {
	return &custodyv1.Event{Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{
		External: &custodyv1.ExternalAgency{Kind: "NGO", Asking: make([]byte, 16)}, Kind: kind, Needs: needs, AnswerBy: timestamppb.New(now.Add(time.Hour)),
	}}}
}

// outside is a chain with an offer to an agency, and what was done since; an entry by its name, or what the owner does.
func outside(t *testing.T, kind custodyv1.ReferralKind, done ...string) *custody.Chain {
	t.Helper()
	c := &custody.Chain{}
	first := submitted()
	first.GetSubmitted().Kind = kind
	for _, e := range []*custodyv1.Event{first, toAgency(kind)} {
		if _, err := c.Append(plainSigner{}, "balochistan", at(e)); err != nil {
			t.Fatal(err)
		}
	}
	for _, what := range done {
		if _, err := c.Append(plainSigner{}, "balochistan", at(doing(c, what))); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	return c
}

func doing(c *custody.Chain, what string) *custodyv1.Event {
	offer := offerHash(c)
	switch what {
	case "confirm":
		return &custodyv1.Event{Body: &custodyv1.Event_Confirmed{Confirmed: &custodyv1.Confirmed{Offer: offer}}}
	case "dispatch":
		return &custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{Offer: offer, ToNode: "balochistan", ExpectTime: timestamppb.New(now)}}}
	case "no-show":
		return &custodyv1.Event{Body: &custodyv1.Event_NoShow{NoShow: &custodyv1.NoShow{}}}
	}
	b := entries(now)[what]
	b.Offer = offer
	return &custodyv1.Event{Body: &custodyv1.Event_ExternalAnswered{ExternalAnswered: b}}
}

// Every entry after every step of a placement and of a service: what may follow, and nothing else.
func TestEveryEntryAfterEveryStep(t *testing.T) {
	placement, service := custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	chosen := []string{"accepted", "confirm", "ready"}
	for _, step := range []struct {
		kind  custodyv1.ReferralKind
		done  []string
		legal string
	}{
		{placement, nil, "received waitlist accepted declined"},
		{placement, []string{"received"}, "waitlist accepted declined"},
		{placement, []string{"waitlist"}, "waitlist accepted declined"},
		{placement, []string{"declined"}, ""},
		{placement, []string{"accepted"}, "withdrawn"},
		{placement, []string{"accepted", "confirm"}, "withdrawn ready"},
		{placement, chosen, "withdrawn"},
		{placement, append(slices.Clone(chosen), "withdrawn"), ""},
		{placement, append(slices.Clone(chosen), "dispatch"), "came"},
		{placement, append(slices.Clone(chosen), "dispatch", "no-show"), "came"},
		{placement, append(slices.Clone(chosen), "dispatch", "came"), "service"},
		{placement, append(slices.Clone(chosen), "dispatch", "came", "service"), "service outcome"},
		{placement, append(slices.Clone(chosen), "dispatch", "came", "service", "outcome"), ""},
		{service, chosen, "withdrawn service"},
		{service, append(slices.Clone(chosen), "service"), "service outcome"},
		{service, append(slices.Clone(chosen), "service", "outcome"), ""},
	} {
		for what := range entries(now) {
			c := outside(t, step.kind, step.done...)
			before := c.State().Head
			_, err := c.Append(plainSigner{}, "balochistan", at(doing(c, what)))
			if want := slices.Contains(strings.Fields(step.legal), what); want != (err == nil) {
				t.Errorf("%v after %v: %s: %v", step.kind, step.done, what, err)
			}
			if s := c.State(); s.Owner != "balochistan" || s.Care != "balochistan" || err != nil && s.Head != before {
				t.Errorf("%v after %v: %s: owned by %s, in the care of %s", step.kind, step.done, what, s.Owner, s.Care)
			}
		}
	}
}

// What is no entry, or no offer to an agency, is refused and changes nothing.
func TestMalformedEntriesAndOffers(t *testing.T) {
	placement := custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
	entry := func(change func(b *custodyv1.ExternalAnswered)) func(*custody.Chain) *custodyv1.Event {
		return func(c *custody.Chain) *custodyv1.Event {
			e := doing(c, "received")
			change(e.GetExternalAnswered())
			return e
		}
	}
	offer := func(change func(b *custodyv1.Offered)) func(*custody.Chain) *custodyv1.Event {
		return func(*custody.Chain) *custodyv1.Event {
			e := toAgency(placement)
			change(e.GetOffered())
			return e
		}
	}
	for name, e := range map[string]func(*custody.Chain) *custodyv1.Event{
		"not when":          entry(func(b *custodyv1.ExternalAnswered) { b.SayTime = nil }),
		"not how":           entry(func(b *custodyv1.ExternalAnswered) { b.Means = "" }),
		"not what":          entry(func(b *custodyv1.ExternalAnswered) { b.Body = nil }),
		"to no offer":       entry(func(b *custodyv1.ExternalAnswered) { b.Offer = make([]byte, 32) }),
		"of no kind":        offer(func(b *custodyv1.Offered) { b.External.Kind = "" }),
		"without an asking": offer(func(b *custodyv1.Offered) { b.External.Asking = []byte{1} }),
		"to a node besides": offer(func(b *custodyv1.Offered) { b.ToNode, b.ToUnit = "punjab", "nodes/punjab/units/lahore" }),
		"to a unit besides": offer(func(b *custodyv1.Offered) { b.ToUnit = "nodes/punjab/units/lahore" }),
		"to nobody at all":  offer(func(b *custodyv1.Offered) { b.External = nil }),
		"sent to another":   func(c *custody.Chain) *custodyv1.Event { return dispatchTo(c, "punjab") },
		"sent to no node":   func(c *custody.Chain) *custodyv1.Event { return dispatchTo(c, "") },
		"started as if here": func(*custody.Chain) *custodyv1.Event {
			return &custodyv1.Event{Body: &custodyv1.Event_ServiceStarted{ServiceStarted: &custodyv1.ServiceStarted{}}}
		},
		"returned from a service": func(*custody.Chain) *custodyv1.Event {
			return &custodyv1.Event{Body: &custodyv1.Event_Returned{Returned: &custodyv1.Returned{}}}
		},
		"completed as if off": func(*custody.Chain) *custodyv1.Event {
			return &custodyv1.Event{Body: &custodyv1.Event_Completed{Completed: &custodyv1.Completed{}}}
		},
	} {
		var done []string
		kind := placement
		switch {
		case strings.HasPrefix(name, "sent"):
			done = []string{"accepted", "confirm", "ready"}
		case strings.HasPrefix(name, "started"):
			done = []string{"accepted", "confirm", "ready", "dispatch", "came"}
		case strings.HasPrefix(name, "completed"):
			done = []string{"accepted", "confirm", "ready", "dispatch", "came", "service"}
		case strings.HasPrefix(name, "returned"):
			kind, done = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, []string{"accepted", "confirm", "ready", "service"}
		}
		c := outside(t, kind, done...)
		before := c.State().Head
		if _, err := c.Append(plainSigner{}, "balochistan", at(e(c))); err == nil || c.State().Head != before {
			t.Errorf("%s: taken (%v)", name, err)
		}
	}
}

func dispatchTo(c *custody.Chain, node string) *custodyv1.Event {
	e := doing(c, "dispatch")
	e.GetDispatched().ToNode = node
	return e
}

// Who verifies sees what was entered and by whom. Nobody is told of it but, of an arrival, those who had the person before.
func TestEntriesAreMarked(t *testing.T) {
	c := outside(t, custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, "accepted", "confirm", "ready", "dispatch", "came")
	var said []string
	for _, l := range c.Links()[2:] {
		what, by := custody.Said(l)
		if said = append(said, what); by != "" {
			t.Errorf("%s is said to be a reply of %s", what, by)
		}
	}
	const mark = `entry of %q for an agency outside the network`
	want := []string{fmt.Sprintf(mark, "accepted"), "confirm", fmt.Sprintf(mark, "ready"), "dispatch", fmt.Sprintf(mark, "arrived")}
	if !slices.Equal(said, want) {
		t.Errorf("said: %v", said)
	}
	for n, before := range c.Prefixes() {
		if hears := before.Hears(); len(hears.Chain) > 0 || hears.Alone != "" {
			t.Errorf("event %d is heard by %v", n+1, hears)
		}
	}
}

// An arrival that was entered is corrected as one that its owner wrote; the last one stands, whoever said it.
func TestAnEnteredArrivalIsCorrected(t *testing.T) {
	c := outside(t, custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, "accepted", "confirm", "ready", "dispatch", "came")
	entered := c.State().Head
	right := &custodyv1.Arrived{Identification: []string{"OWN_STATEMENT"}}
	correct := func() {
		t.Helper()
		if _, err := c.Append(plainSigner{}, c.State().Owner, at(&custodyv1.Event{Body: &custodyv1.Event_Corrected{Corrected: &custodyv1.Corrected{
			Supersedes: entered.Bytes(), Body: &custodyv1.Corrected_Arrived{Arrived: right},
		}}})); err != nil {
			t.Fatal(err)
		}
		entered = c.State().Head // a correction is corrected next
	}
	correct()
	if !proto.Equal(c.State().Arrived, right) || !c.State().Outside {
		t.Errorf("corrected: %v", c.State().Arrived)
	}
	asserted := recorded(c, "", "sindh", &custodyv1.Reply{Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{Ordinal: 1}}}).event
	hash, err := c.Append(plainSigner{}, "balochistan", asserted)
	if err != nil {
		t.Fatal(err)
	}
	last := &custodyv1.Arrived{Identification: []string{"REFERRAL_SLIP"}}
	follow := &custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{ToNode: "sindh", Arrival: hash.Hash.Bytes()}}}
	if _, err := c.Append(plainSigner{}, "balochistan", at(follow)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Append(plainSigner{}, "sindh", at(&custodyv1.Event{Body: &custodyv1.Event_Arrived{Arrived: last}})); err != nil {
		t.Fatal(err)
	}
	right = &custodyv1.Arrived{Identification: []string{"ESCORT_STATEMENT"}}
	correct()
	if s := c.State(); !proto.Equal(s.Arrived, last) || s.Outside || s.Care != "sindh" {
		t.Errorf("after a later arrival: %v", s.Arrived)
	}
}

// A province that was to take the person over from an agency refuses the handover: the person is at the agency still, whose word is entered on.
func TestAHandoverFromAnAgencyIsRefused(t *testing.T) {
	c := outside(t, custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, "accepted", "confirm", "ready", "dispatch", "came")
	agency := offerHash(c)
	write := func(e *custodyv1.Event) custody.Hash {
		t.Helper()
		l, err := c.Append(plainSigner{}, "balochistan", at(e))
		if err != nil {
			t.Fatal(err)
		}
		return l.Hash
	}
	asked := toAgency(custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT)
	asked.GetOffered().External, asked.GetOffered().ToNode, asked.GetOffered().ToUnit = nil, "punjab", "nodes/punjab/units/lahore"
	offer := write(asked).Bytes()
	for _, r := range []*custodyv1.Reply{
		{Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}},
		{Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{}}},
		nil,
		{Body: &custodyv1.Reply_Ready{Ready: &custodyv1.Ready{}}},
	} {
		if r == nil {
			write(&custodyv1.Event{Body: &custodyv1.Event_Confirmed{Confirmed: &custodyv1.Confirmed{Offer: offer}}})
			continue
		}
		r.Offer = offer
		write(recorded(c, "", "punjab", r).event)
	}
	given := write(&custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{Offer: offer, ToNode: "punjab", ExpectTime: timestamppb.New(now)}}})
	if s := c.State(); s.Outside || s.Owner != "punjab" {
		t.Errorf("on the road: outside %t, owned by %s", s.Outside, s.Owner)
	}
	write(&custodyv1.Event{Body: &custodyv1.Event_HandoverRefused{HandoverRefused: &custodyv1.HandoverRefused{
		Refusal: signedReply("punjab", &custodyv1.Reply{Body: &custodyv1.Reply_Refused{Refused: &custodyv1.Refused{Dispatched: given.Bytes()}}}),
	}}})
	if s := c.State(); !s.Outside || s.Owner != "balochistan" || s.State != custodyv1.ReferralState_REFERRAL_STATE_ARRIVED {
		t.Errorf("after the refusal: outside %t, %v, owned by %s", s.Outside, s.State, s.Owner)
	}
	visit := entries(now)["service"]
	visit.Offer = agency
	write(&custodyv1.Event{Body: &custodyv1.Event_ExternalAnswered{ExternalAnswered: visit}})
}

// Who goes on from one agency to another is with the other: what the first says of the person now is not taken, nor its outcome for the other's.
func TestFromOneAgencyToAnother(t *testing.T) {
	c := outside(t, custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, "accepted", "confirm", "ready", "dispatch", "came", "service")
	write := func(e *custodyv1.Event) error {
		_, err := c.Append(plainSigner{}, "balochistan", at(e))
		return err
	}
	first := offerHash(c)
	second := toAgency(custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT)
	second.GetOffered().External.Asking[0] = 1
	if err := write(second); err != nil {
		t.Fatal(err)
	}
	offer := c.State().Head.Bytes()
	says := func(offer []byte, what string) error {
		e := doing(c, what)
		switch {
		case e.GetExternalAnswered() != nil:
			e.GetExternalAnswered().Offer = offer
		case e.GetConfirmed() != nil:
			e.GetConfirmed().Offer = offer
		default:
			e.GetDispatched().Offer = offer
		}
		return write(e)
	}
	for _, what := range []string{"accepted", "confirm", "ready", "dispatch", "came", "service", "outcome"} {
		for _, wrong := range []string{"came", "service", "outcome"} {
			// until another is chosen the first goes on
			if chosen := what != "accepted" && what != "confirm"; chosen && says(first, wrong) == nil {
				t.Errorf("before %q of the second agency the first said %q", what, wrong)
			}
		}
		if err := says(offer, what); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if err := write(&custodyv1.Event{Body: &custodyv1.Event_Completed{Completed: &custodyv1.Completed{}}}); err != nil {
		t.Error(err)
	}
}
