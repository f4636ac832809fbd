package custody_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// signed is an event as its owner signs it, whatever it says.
func (r ring) signed(t testing.TB, e *custodyv1.Event) *custodyv1.SignedEvent {
	t.Helper()
	raw, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return &custodyv1.SignedEvent{Event: raw, Signature: r.as(e.GetOwner()).Sign(custody.DomainEvent, raw)}
}

// An event stands behind the one it names, in the epoch and by the owner that the chain says, or the chain is refused, though whoever
// wrote it has good keys (I1, I2).
func TestAnEventStandsInOnePlace(t *testing.T) {
	r := newRing(t, nodes...)
	whole := path(t, r, 10).Message().GetEvents()
	for n := 1; n < len(whole); n++ {
		for name, spoil := range map[string]func(*custodyv1.Event){
			"as it was":            nil,
			"of another referral":  func(e *custodyv1.Event) { e.Referral += "1" },
			"of no referral":       func(e *custodyv1.Event) { e.Referral = "" },
			"later":                func(e *custodyv1.Event) { e.Sequence++ },
			"earlier":              func(e *custodyv1.Event) { e.Sequence-- },
			"behind another event": func(e *custodyv1.Event) { e.PreviousHash = custody.HashOf([]byte("another")).Bytes() },
			"behind none":          func(e *custodyv1.Event) { e.PreviousHash = nil },
			"of a later epoch":     func(e *custodyv1.Event) { e.Epoch++ },
			"of an earlier epoch":  func(e *custodyv1.Event) { e.Epoch-- },
			"by who never had it":  func(e *custodyv1.Event) { e.Owner = "sindh" },
			"by who has it not": func(e *custodyv1.Event) {
				e.Owner = map[string]string{"balochistan": "punjab", "punjab": "balochistan"}[e.GetOwner()]
			},
			"without a time":            func(e *custodyv1.Event) { e.Time = nil },
			"at a time that is none":    func(e *custodyv1.Event) { e.Time = &timestamppb.Timestamp{Nanos: -1} },
			"of a kind that none knows": func(e *custodyv1.Event) { e.Body = nil },
		} {
			e := &custodyv1.Event{}
			if err := proto.Unmarshal(whole[n].GetEvent(), e); err != nil {
				t.Fatal(err)
			}
			if spoil != nil {
				spoil(e)
			}
			_, err := custody.Verify(r, append(whole[:n:n], r.signed(t, e)), nil)
			if (err == nil) != (spoil == nil) {
				t.Errorf("event %d %s: %v", n+1, name, err)
			}
		}
	}
}

// A handover is taken back with the refusal of that very handover, by the node to which it went, and by its writer alone.
func TestWhatTakesAHandoverBack(t *testing.T) {
	r := newRing(t, nodes...)
	c := path(t, r, 7)
	handover := c.State().Head
	if c.State().Handover == nil || c.State().Owner != "punjab" {
		t.Fatalf("the path is no handover: %+v", c.State())
	}
	for name, test := range map[string]struct {
		by, writer string
		spoil      func(*custodyv1.Reply)
		taken      bool
	}{
		"as it should be":           {by: "punjab", writer: "balochistan", taken: true},
		"refused by another":        {by: "sindh", writer: "balochistan"},
		"refused by its own writer": {by: "balochistan", writer: "balochistan"},
		"written by who refuses":    {by: "punjab", writer: "punjab"},
		"written by another":        {by: "punjab", writer: "sindh"},
		"another handover": {by: "punjab", writer: "balochistan", spoil: func(reply *custodyv1.Reply) {
			reply.GetRefused().Dispatched = c.Links()[2].Hash.Bytes()
		}},
		"another referral": {by: "punjab", writer: "balochistan", spoil: func(reply *custodyv1.Reply) { reply.Referral += "1" }},
		"no refusal": {by: "punjab", writer: "balochistan", spoil: func(reply *custodyv1.Reply) {
			reply.Body = &custodyv1.Reply_DossierClosed{DossierClosed: &custodyv1.DossierClosed{}}
		}},
	} {
		reply := &custodyv1.Reply{
			Referral: referral, Node: test.by, Time: timestamppb.New(now),
			Body: &custodyv1.Reply_Refused{Refused: &custodyv1.Refused{Dispatched: handover.Bytes()}},
		}
		if test.spoil != nil {
			test.spoil(reply)
		}
		refusal, err := custody.SignReply(r.as(test.by), reply)
		if err != nil {
			t.Fatal(err)
		}
		e := at(&custodyv1.Event{
			Referral: referral, Epoch: 3, Sequence: c.State().Sequence + 1, PreviousHash: handover.Bytes(), Owner: test.writer,
			Body: &custodyv1.Event_HandoverRefused{HandoverRefused: &custodyv1.HandoverRefused{Refusal: refusal}},
		})
		came, err := custody.Verify(r, append(c.Message().GetEvents(), r.signed(t, e)), c)
		if (err == nil) != test.taken {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (came.State().Owner != "balochistan" || len(came.State().Former) > 0) {
			t.Errorf("%s: it is owned by %s, and was by %v", name, came.State().Owner, came.State().Former)
		}
	}
}

// An arrival counts once: a node's next one alone is taken in, so that an old word of it moves nobody.
func TestArrivalsAreCounted(t *testing.T) {
	r := newRing(t, nodes...)
	for ordinal, taken := range map[uint32]bool{0: false, 1: true, 2: false} {
		c := path(t, r, 1)
		reply := &custodyv1.Reply{
			Referral: referral, Node: "sindh", Time: timestamppb.New(now),
			Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{Ordinal: ordinal}},
		}
		signed, err := custody.SignReply(r.as("sindh"), reply)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Append(r.as("balochistan"), "balochistan", at(&custodyv1.Event{
			Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: signed}},
		}))
		if (err == nil) != taken {
			t.Errorf("arrival %d of a node that had none: %v", ordinal, err)
		}
	}
}

// Who was neither asked nor ever had the person has no word in the chain, but for an arrival.
func TestWordsOfStrangers(t *testing.T) {
	r := newRing(t, nodes...)
	for name, reply := range map[string]*custodyv1.Reply{
		"safety":           {Body: &custodyv1.Reply_SafetyInformation{SafetyInformation: &custodyv1.SafetyInformation{}}},
		"consent":          {Body: &custodyv1.Reply_ConsentWithdrawn{ConsentWithdrawn: &custodyv1.ConsentWithdrawn{}}},
		"a closed file":    {Body: &custodyv1.Reply_DossierClosed{DossierClosed: &custodyv1.DossierClosed{}}},
		"a wish to return": {Body: &custodyv1.Reply_ReturnRequested{ReturnRequested: &custodyv1.ReturnRequested{Epoch: 2, Unit: "nodes/sindh/units/karachi"}}},
	} {
		c := path(t, r, 8) // she is in Lahore
		reply.Referral, reply.Node, reply.Time = referral, "sindh", timestamppb.New(now)
		signed, err := custody.SignReply(r.as("sindh"), reply)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Append(r.as("punjab"), "punjab", at(&custodyv1.Event{
			Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: signed}},
		})); err == nil {
			t.Errorf("%s: it stands in the chain", name)
		}
	}
}
