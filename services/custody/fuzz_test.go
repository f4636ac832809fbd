package custody_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fuzztest"
)

// Whatever a node that was asked says with its good key, it is taken into the chain once, as what follows from where the chain was, or
// refused with nothing changed; and a reply that nobody signed is not believed.
func FuzzReply(f *testing.F) {
	r := newRing(f, nodes...)
	states := []*custodyv1.Chain{}
	for _, n := range []int{2, 3, 4, 5, 7, 9} {
		states = append(states, path(f, r, n).Message())
	}
	real := &custodyv1.Reply{
		Referral: referral, Node: "punjab", Time: at(&custodyv1.Event{}).GetTime(), Actor: at(&custodyv1.Event{}).GetActor(),
		Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{Hold: "nodes/punjab/holds/1"}},
	}
	said, err := proto.Marshal(real)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(1), said, []byte{})
	f.Add(byte(2), said[:9], []byte{0, 1, 2})
	for kind := range byte(20) { // one of each kind
		f.Add(kind, []byte{}, []byte{0, 5 + kind, 1, 0, 3, kind})
	}
	f.Fuzz(func(t *testing.T, state byte, said, choices []byte) {
		c, err := custody.Verify(r, states[int(state)%len(states)].GetEvents(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := custody.OpenReply(r, &custodyv1.SignedReply{Reply: said, Signature: make([]byte, 64)}); err == nil {
			t.Fatal("nobody signed it, and it is believed")
		}
		if len(choices) > 0 {
			changed := proto.CloneOf(real)
			changed.Offer = offerHash(c)
			fuzztest.Mutate(changed, fuzztest.NewChoices(choices))
			said, _ = proto.Marshal(changed)
		}
		signed := &custodyv1.SignedReply{Reply: said, Signature: r.as("punjab").Sign(custody.DomainReply, said)}
		reply, err := custody.OpenReply(r, signed)
		if err != nil {
			return
		}
		if reply.GetNode() != "punjab" {
			t.Fatalf("punjab speaks as %s", reply.GetNode())
		}
		before, held, head := len(c.Links()), c.Holds(signed), c.State().Head
		owner := c.State().Owner
		event := at(&custodyv1.Event{Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: signed}}})
		_, err = c.Append(r.as(owner), owner, event)
		if err != nil {
			if len(c.Links()) != before || c.State().Head != head || c.Holds(signed) != held {
				t.Errorf("refused with %v, and the chain has changed", err)
			}
			return
		}
		if !c.Holds(signed) || len(c.Links()) != before+1 || c.State().Owner != owner {
			t.Errorf("taken, and the chain has %d events of %d, held %v, owner %s", len(c.Links()), before+1, c.Holds(signed), c.State().Owner)
		}
		if _, err := custody.Verify(r, c.Message().GetEvents(), nil); err != nil {
			t.Errorf("what was taken is not verified by others: %v", err)
		}
	})
}

// An annex is the one that was committed to, or none.
func FuzzAnnex(f *testing.F) {
	salt := make([]byte, 32)
	content, err := proto.Marshal(&custodyv1.AnnexContent{Note: "She likes to draw."})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(salt, content, salt, content)
	f.Add(salt, content, salt[:31], append([]byte{0}, content...))
	f.Fuzz(func(t *testing.T, salt, content, otherSalt, other []byte) {
		a, b := &custodyv1.Annex{Salt: salt, Content: content}, &custodyv1.Annex{Salt: otherSalt, Content: other}
		commitment := custody.Commit(a)
		if err := custody.CheckAnnex(a, commitment.Bytes()); (err == nil) != (len(salt) == 32) {
			t.Errorf("an annex with a salt of %d bytes: %v", len(salt), err)
		}
		same := string(salt) == string(otherSalt) && string(content) == string(other)
		if err := custody.CheckAnnex(b, commitment.Bytes()); err == nil && !same && len(salt) == 32 { // else nobody committed to an annex
			t.Error("another annex passes for it")
		}
	})
}
