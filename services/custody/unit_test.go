package custody_test

import (
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// A former owner that got the person by an arrival it asserted has the unit that asserted it, also after the person turned up elsewhere.
func TestUnitOfAFormerOwnerThatAssertedTheArrival(t *testing.T) {
	r := newRing(t, nodes...)
	c := &custody.Chain{}
	write := func(node string, e *custodyv1.Event) custody.Link {
		t.Helper()
		l, err := c.Append(r.as(node), node, at(e))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	write("balochistan", submitted())
	owner := "balochistan"
	for _, to := range []string{"sindh", "punjab", "sindh"} {
		said, err := custody.SignReply(r.as(to), &custodyv1.Reply{
			Referral: referral, Node: to, Time: timestamppb.New(now),
			Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{Ordinal: c.State().Arrivals[to] + 1, Unit: unitOf(c, to)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		arrival := write(owner, &custodyv1.Event{Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: said}}}).Hash
		write(owner, &custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{ToNode: to, Arrival: arrival.Bytes()}}})
		write(to, &custodyv1.Event{Body: &custodyv1.Event_Arrived{Arrived: &custodyv1.Arrived{}}})
		owner = to
		for _, node := range nodes {
			want := "nodes/balochistan/units/hub"
			if node != "balochistan" {
				want = ""
				if n := c.State().Arrivals[node]; n > 0 {
					want = "nodes/" + node + "/units/" + []string{"first", "second"}[n-1]
				}
			}
			if got := c.State().UnitAt(node); got != want {
				t.Errorf("with the person at %s, %s answers by %q, want %q", to, node, got, want)
			}
		}
	}
}

// unitOf is another unit for each arrival at a node.
func unitOf(c *custody.Chain, node string) string {
	return "nodes/" + node + "/units/" + []string{"first", "second"}[c.State().Arrivals[node]]
}
