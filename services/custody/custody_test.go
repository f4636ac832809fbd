package custody_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// ring holds real Ed25519 keys for some nodes.
type ring map[string]ed25519.PrivateKey

type signer struct{ key ed25519.PrivateKey }

func (s signer) Sign(domain string, message []byte) []byte {
	return ed25519.Sign(s.key, append([]byte(domain+"\x00"), message...))
}

func (r ring) as(node string) signer { return signer{r[node]} }

func (r ring) Verify(node, service, domain string, message, signature []byte) error {
	key, ok := r[node]
	if !ok || service != "referral" {
		return errors.New("unknown signer")
	}
	if !ed25519.Verify(key.Public().(ed25519.PublicKey), append([]byte(domain+"\x00"), message...), signature) {
		return errors.New("bad signature")
	}
	return nil
}

func newRing(t testing.TB, nodes ...string) ring {
	t.Helper()
	r := ring{}
	for _, n := range nodes {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		r[n] = key
	}
	return r
}

const referral = "nodes/balochistan/referrals/01920000-0000-7000-8000-000000000001"

var (
	now   = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	nodes = []string{"balochistan", "punjab", "sindh"}
	needs = &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9}
)

// step is one thing that can be tried on a chain. Each is built for the first offer.
type step struct {
	name  string
	node  string
	event func(t testing.TB, r ring, c *custody.Chain) *custodyv1.Event
}

func offerHash(c *custody.Chain) []byte {
	if offers := c.State().Offers; len(offers) > 0 {
		return offers[0].Hash.Bytes()
	}
	return make([]byte, 32)
}

func at(e *custodyv1.Event) *custodyv1.Event {
	e.Time = timestamppb.New(now)
	e.Actor = &custodyv1.Actor{Service: "referral"}
	return e
}

func replied(t testing.TB, r ring, c *custody.Chain, node string, reply *custodyv1.Reply) *custodyv1.Event {
	t.Helper()
	reply.Referral, reply.Offer, reply.Node, reply.Time = referral, offerHash(c), node, timestamppb.New(now)
	signed, err := custody.SignReply(r.as(node), reply)
	if err != nil {
		t.Fatal(err)
	}
	return at(&custodyv1.Event{Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: signed}}})
}

func reply(name string, body func() *custodyv1.Reply) step {
	return step{name, "balochistan", func(t testing.TB, r ring, c *custody.Chain) *custodyv1.Event {
		return replied(t, r, c, "punjab", body())
	}}
}

func submitted() *custodyv1.Event {
	return at(&custodyv1.Event{Referral: referral, Body: &custodyv1.Event_Submitted{Submitted: &custodyv1.Submitted{
		Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "shelter",
		Urgency: custodyv1.Urgency_URGENCY_HIGH, Needs: needs,
		Ground: &custodyv1.Submitted_Consent{Consent: &custodyv1.ConsentReceipt{}},
		FlowId: make([]byte, 16), Unit: "nodes/balochistan/units/hub",
	}}})
}

var steps = []step{
	{"submit", "balochistan", func(testing.TB, ring, *custody.Chain) *custodyv1.Event { return submitted() }},
	{"offer", "balochistan", func(testing.TB, ring, *custody.Chain) *custodyv1.Event {
		return at(&custodyv1.Event{Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{
			ToNode: "punjab", ToUnit: "nodes/punjab/units/lahore", Needs: needs, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, AnswerBy: timestamppb.New(now.Add(3 * time.Hour)),
		}}})
	}},
	reply("received", func() *custodyv1.Reply {
		return &custodyv1.Reply{Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}}
	}),
	reply("accepted", func() *custodyv1.Reply {
		return &custodyv1.Reply{Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{Hold: "h"}}}
	}),
	{"confirm", "balochistan", func(_ testing.TB, _ ring, c *custody.Chain) *custodyv1.Event {
		return at(&custodyv1.Event{Body: &custodyv1.Event_Confirmed{Confirmed: &custodyv1.Confirmed{Offer: offerHash(c)}}})
	}},
	reply("ready", func() *custodyv1.Reply {
		return &custodyv1.Reply{Body: &custodyv1.Reply_Ready{Ready: &custodyv1.Ready{Hold: "h"}}}
	}),
	{"dispatch", "balochistan", func(_ testing.TB, _ ring, c *custody.Chain) *custodyv1.Event {
		return at(&custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{
			Offer: offerHash(c), ToNode: "punjab", ExpectTime: timestamppb.New(now.Add(24 * time.Hour)),
		}}})
	}},
	{"arrive", "punjab", func(testing.TB, ring, *custody.Chain) *custodyv1.Event {
		return at(&custodyv1.Event{Body: &custodyv1.Event_Arrived{Arrived: &custodyv1.Arrived{}}})
	}},
	{"serve", "punjab", func(testing.TB, ring, *custody.Chain) *custodyv1.Event {
		return at(&custodyv1.Event{Body: &custodyv1.Event_ServiceStarted{ServiceStarted: &custodyv1.ServiceStarted{}}})
	}},
	{"complete", "punjab", func(testing.TB, ring, *custody.Chain) *custodyv1.Event {
		return at(&custodyv1.Event{Body: &custodyv1.Event_Completed{Completed: &custodyv1.Completed{Outcome: "reunified"}}})
	}},
	reply("declined", func() *custodyv1.Reply {
		return &custodyv1.Reply{Body: &custodyv1.Reply_Declined{Declined: &custodyv1.Declined{Reason: "NO_CAPACITY"}}}
	}),
	reply("withdrawn", func() *custodyv1.Reply {
		return &custodyv1.Reply{Body: &custodyv1.Reply_AcceptanceWithdrawn{AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{Reason: "NO_CAPACITY"}}}
	}),
}

// path is the placement path: the first ten steps in order.
func path(t testing.TB, r ring, n int) *custody.Chain {
	t.Helper()
	c := &custody.Chain{}
	for _, s := range steps[:n] {
		if _, err := c.Append(r.as(s.node), s.node, s.event(t, r, c)); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	return c
}

func TestPlacementPath(t *testing.T) {
	r := newRing(t, nodes...)
	c := path(t, r, 10)
	s := c.State()
	if s.State != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED || !s.Terminal() {
		t.Fatalf("the path ends %v", s.State)
	}
	if s.Owner != "punjab" || s.Origin != "balochistan" || s.Epoch != 2 || len(s.Former) != 1 || s.Former[0] != "balochistan" {
		t.Fatalf("owner %s, origin %s, epoch %d, former %v", s.Owner, s.Origin, s.Epoch, s.Former)
	}
	if s.Unit() != "nodes/punjab/units/lahore" {
		t.Fatalf("the responsible unit is %s", s.Unit())
	}
	again, err := custody.Verify(r, c.Message().GetEvents(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.State().Head != s.Head || custody.Compare(c, again) != custody.Same {
		t.Fatal("the verified chain is another one")
	}
}

// What may follow what: every state of the path, reached with its prefix, against every step by
// every node. legal lists the pairs (length of the path so far, step) that may succeed.
func TestEveryStateEveryStep(t *testing.T) {
	r := newRing(t, nodes...)
	legal := map[string]bool{
		"0 submit": true, "1 offer": true, "2 offer": true, "2 received": true,
		"3 offer": true, "3 accepted": true, "3 declined": true, "3 withdrawn": true,
		"4 offer": true, "4 confirm": true, "4 withdrawn": true,
		"5 ready": true, "5 withdrawn": true, "6 dispatch": true,
		"7 arrive": true, "8 serve": true, "8 offer": true, "9 complete": true, "9 offer": true,
	}
	tried := 0
	for n := range 11 {
		for _, s := range steps {
			for _, node := range nodes {
				c := path(t, r, n)
				before := c.State().Head
				event := s.event(t, r, c)
				if node != "balochistan" && s.name == "submit" {
					continue // any node may begin a referral of its own
				}
				_, err := c.Append(r.as(node), node, event)
				want := legal[fmt.Sprintf("%d %s", n, s.name)] && node == ownerAfter(n)
				if (err == nil) != want {
					t.Errorf("after %d events, %s by %s: %v", n, s.name, node, err)
				}
				if err != nil && c.State().Head != before {
					t.Errorf("after %d events, %s by %s was refused and changed the chain", n, s.name, node)
				}
				tried++
			}
		}
	}
	t.Logf("%d attempts", tried)
}

func ownerAfter(n int) string {
	if n >= 7 {
		return "punjab"
	}
	return "balochistan"
}

func TestWithdrawnConfirmationGoesBackToSubmitted(t *testing.T) {
	r := newRing(t, nodes...)
	c := path(t, r, 5)
	event := replied(t, r, c, "punjab", &custodyv1.Reply{Body: &custodyv1.Reply_AcceptanceWithdrawn{AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{Reason: "NO_CAPACITY"}}})
	if _, err := c.Append(r.as("balochistan"), "balochistan", event); err != nil {
		t.Fatal(err)
	}
	s := c.State()
	if s.State != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED || s.Chosen() != nil {
		t.Fatalf("the referral is %v with %v chosen", s.State, s.Chosen())
	}
}

func TestReplyOfAnotherNodeIsRefused(t *testing.T) {
	r := newRing(t, nodes...)
	c := path(t, r, 2)
	event := replied(t, r, c, "sindh", &custodyv1.Reply{Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}})
	if _, err := c.Append(r.as("balochistan"), "balochistan", event); err == nil {
		t.Fatal("a reply of a node that was not asked was taken")
	}
}

func TestHoldsKnowsARepeatedReply(t *testing.T) {
	r := newRing(t, nodes...)
	c := path(t, r, 3)
	repeated := &custodyv1.Reply{
		Referral: referral, Offer: offerHash(c), Node: "punjab", Time: timestamppb.New(now.Add(time.Hour)),
		Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}},
	}
	holds := func() bool {
		signed, err := custody.SignReply(r.as("punjab"), repeated)
		if err != nil {
			t.Fatal(err)
		}
		return c.Holds(signed)
	}
	if !holds() {
		t.Fatal("a repeated reply is not known")
	}
	repeated.Body = &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{}}
	if holds() {
		t.Fatal("a new reply is taken for a repeated one")
	}
}

// Any single changed byte of a whole chain, in events or signatures, is refused.
func TestAnyChangedByteIsRefused(t *testing.T) {
	r := newRing(t, nodes...)
	message := path(t, r, 10).Message()
	for i := range message.GetEvents() {
		for _, field := range []string{"event", "signature"} {
			size := len(message.GetEvents()[i].GetEvent())
			if field == "signature" {
				size = len(message.GetEvents()[i].GetSignature())
			}
			for at := range size {
				if at%7 != i%7 { // every seventh byte, another phase in each event
					continue
				}
				changed := proto.CloneOf(message)
				if field == "event" {
					changed.GetEvents()[i].GetEvent()[at] ^= 0x10
				} else {
					changed.GetEvents()[i].GetSignature()[at] ^= 0x10
				}
				if _, err := custody.Verify(r, changed.GetEvents(), nil); err == nil {
					t.Fatalf("event %d, %s byte %d: a changed chain was taken", i, field, at)
				}
			}
		}
	}
}

func TestVerifyTrustsOnlyTheSameBytesItHolds(t *testing.T) {
	r := newRing(t, nodes...)
	c := path(t, r, 6)
	forged := proto.CloneOf(c.Message())
	forged.GetEvents()[2].Signature = bytes.Repeat([]byte{1}, 64)
	if _, err := custody.Verify(r, forged.GetEvents(), c); err == nil {
		t.Fatal("a forged signature passed because the event was known")
	}
	if _, err := custody.Verify(ring{}, c.Message().GetEvents(), c); err != nil {
		t.Fatalf("known links were verified again: %v", err)
	}
}

func TestCompare(t *testing.T) {
	r := newRing(t, nodes...)
	long := path(t, r, 6)
	short, err := custody.Load(long.Message().GetEvents()[:4]...)
	if err != nil {
		t.Fatal(err)
	}
	other := path(t, r, 3)
	declined := steps[10]
	if _, err := other.Append(r.as(declined.node), declined.node, declined.event(t, r, other)); err != nil {
		t.Fatal(err)
	}
	forked, err := custody.Load(append(long.Message().GetEvents()[:3:3], long.Message().GetEvents()[3])...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		held, came *custody.Chain
		want       custody.Relation
	}{
		{"nothing held", nil, short, custody.Ahead},
		{"ahead", short, long, custody.Ahead},
		{"behind", long, short, custody.Behind},
		{"same", short, forked, custody.Same},
		{"forked", other, long, custody.Forked},
	} {
		if got := custody.Compare(c.held, c.came); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestOfferStandsAlone(t *testing.T) {
	r := newRing(t, nodes...)
	c := path(t, r, 2)
	offered := c.Links()[1].Signed
	l, err := custody.VerifyAlone(r, offered)
	if err != nil {
		t.Fatal(err)
	}
	if l.Hash != c.State().Offers[0].Hash {
		t.Fatal("the offer has another name alone than in its chain")
	}
	if _, err := custody.VerifyAlone(r, c.Links()[0].Signed); err == nil {
		t.Fatal("another event passed as an offer")
	}
	forged := proto.CloneOf(offered)
	forged.Signature[0] ^= 1
	if _, err := custody.VerifyAlone(r, forged); err == nil {
		t.Fatal("a forged offer was taken")
	}
	for name, change := range map[string]func(e *custodyv1.Event){
		"a name in another's place":   func(e *custodyv1.Event) { e.Referral += "/offers/x" },
		"no name":                     func(e *custodyv1.Event) { e.Referral = "" },
		"a name longer than any key":  func(e *custodyv1.Event) { e.Referral += strings.Repeat("0", 1<<16) },
		"another node's unit":         func(e *custodyv1.Event) { e.GetOffered().ToUnit = "nodes/sindh/units/lahore" },
		"a unit that is none":         func(e *custodyv1.Event) { e.GetOffered().ToUnit = "nodes/punjab/units/" },
		"no kind":                     func(e *custodyv1.Event) { e.GetOffered().Kind = 0 },
		"a time that is none":         func(e *custodyv1.Event) { e.GetOffered().AnswerBy.Nanos = -1 },
		"an answer time that is none": func(e *custodyv1.Event) { e.GetOffered().AnswerBy = nil },
		"a unit without its node":     func(e *custodyv1.Event) { e.GetOffered().ToNode = "" },
		"nothing of what is needed":   func(e *custodyv1.Event) { e.GetOffered().Needs = nil },
		"a withdrawal of no referral's": func(e *custodyv1.Event) {
			e.Referral = "x"
			e.Body = &custodyv1.Event_OfferWithdrawn{OfferWithdrawn: &custodyv1.OfferWithdrawn{Offer: make([]byte, 32)}}
		},
	} {
		e := proto.CloneOf(l.Event)
		change(e)
		raw, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := custody.VerifyAlone(r, &custodyv1.SignedEvent{Event: raw, Signature: r.as("balochistan").Sign(custody.DomainEvent, raw)}); err == nil {
			t.Errorf("an offer with %s was taken", name)
		}
	}
}

// A node begins no chain under a name that another node gives, and so takes no referral's place in others' files.
func TestAReferralIsNamedByItsCreator(t *testing.T) {
	r := newRing(t, nodes...)
	for _, name := range []string{"", "x", "nodes/sindh/referrals/01920000-0000-7000-8000-000000000001", referral + "/offers/x", referral + strings.Repeat("0", 1<<16)} {
		e := submitted()
		e.Referral = name
		if _, err := (&custody.Chain{}).Append(r.as("balochistan"), "balochistan", e); err == nil {
			t.Errorf("balochistan began a chain named %.60q", name)
		}
	}
}

// A referral is found by its reference in every node's file: none is taken from outside that is longer than a key may be. What an older version took
// in is still read.
func TestAReferenceIsShort(t *testing.T) {
	r := newRing(t, nodes...)
	for size, wanted := range map[int]bool{100: true, 101: false} {
		e := submitted()
		e.GetSubmitted().Reference = strings.Repeat("1", size)
		c := &custody.Chain{}
		if _, err := c.Append(r.as("balochistan"), "balochistan", e); err != nil {
			t.Fatal(err)
		}
		if _, err := custody.Verify(r, c.Message().GetEvents(), nil); (err == nil) != wanted {
			t.Errorf("of %d bytes: %v", size, err)
		}
		if _, err := custody.Load(c.Message().GetEvents()...); err != nil {
			t.Errorf("of %d bytes, in this node's file: %v", size, err)
		}
	}
}

func TestAnnexCommitment(t *testing.T) {
	annex := &custodyv1.Annex{Salt: bytes.Repeat([]byte{7}, 32), Content: []byte("synthetic")}
	commitment := custody.Commit(annex)
	if err := custody.CheckAnnex(annex, commitment.Bytes()); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]*custodyv1.Annex{
		"content": {Salt: annex.Salt, Content: []byte("another")},
		"salt":    {Salt: bytes.Repeat([]byte{8}, 32), Content: annex.Content},
		"short":   {Salt: annex.Salt[:16], Content: annex.Content},
	} {
		if err := custody.CheckAnnex(bad, commitment.Bytes()); err == nil {
			t.Errorf("another %s passes", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	r := newRing(f, nodes...)
	for _, n := range []int{1, 2, 7, 10} {
		raw, err := proto.Marshal(path(f, r, n).Message())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m custodyv1.Chain
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		c, err := custody.Verify(r, m.GetEvents(), nil)
		if err == nil && len(c.Links()) != len(m.GetEvents()) {
			t.Fatal("a verified chain lost events")
		}
	})
}

// An arrival that another followed is corrected, and a no-show that the person's arrival overtook: the state goes by what came last.
func TestACorrectionOfThePastChangesNothingNow(t *testing.T) {
	c := &custody.Chain{}
	write := func(node string, e *custodyv1.Event) []byte {
		t.Helper()
		l, err := c.Append(plainSigner{}, node, at(e))
		if err != nil {
			t.Fatal(err)
		}
		return l.Hash.Bytes()
	}
	arrived := func(how string) *custodyv1.Arrived { return &custodyv1.Arrived{Identification: []string{how}} }
	assert := func(owner, node string) {
		m := recorded(c, "", node, &custodyv1.Reply{Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{Ordinal: 1}}})
		hash := write(owner, m.event)
		write(owner, &custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{ToNode: node, Arrival: hash}}})
	}
	write("balochistan", submitted())
	assert("balochistan", "punjab")
	missed := write("punjab", &custodyv1.Event{Body: &custodyv1.Event_NoShow{NoShow: &custodyv1.NoShow{}}})
	first := write("punjab", &custodyv1.Event{Body: &custodyv1.Event_Arrived{Arrived: arrived("first")}})
	assert("punjab", "sindh")
	second := write("sindh", &custodyv1.Event{Body: &custodyv1.Event_Arrived{Arrived: arrived("second")}})
	correct := func(hash []byte, how string) []byte {
		return write("sindh", &custodyv1.Event{Body: &custodyv1.Event_Corrected{Corrected: &custodyv1.Corrected{
			Supersedes: hash, Body: &custodyv1.Corrected_Arrived{Arrived: arrived(how)},
		}}})
	}
	again := correct(first, "corrected first")
	correct(again, "corrected first again")
	write("sindh", &custodyv1.Event{Body: &custodyv1.Event_Corrected{Corrected: &custodyv1.Corrected{
		Supersedes: missed, Body: &custodyv1.Corrected_NoShow{NoShow: &custodyv1.NoShow{LastContactTime: timestamppb.New(now)}},
	}}})
	if s := c.State(); s.Arrived.GetIdentification()[0] != "second" || s.NoShow != nil {
		t.Errorf("the person came %v, and did not come: %v", s.Arrived, s.NoShow)
	}
	correct(correct(second, "wrong again"), "right")
	if s := c.State(); s.Arrived.GetIdentification()[0] != "right" {
		t.Errorf("the last arrival says %v", s.Arrived)
	}
}
