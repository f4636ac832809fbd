package app_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

func note(t testing.TB, referral string) *custodyv1.AnnexLetter {
	t.Helper()
	content, err := proto.Marshal(&custodyv1.AnnexContent{Note: theNote})
	must(t, err)
	return &custodyv1.AnnexLetter{Referral: referral, Annex: &custodyv1.Annex{Salt: make([]byte, 32), Content: content}}
}

// A node fills no other's file with annexes: one that has no part in the referral is refused, what cannot be read too, and of one that was
// only asked nothing is kept that the chain does not name.
func TestAnnexesOfNobody(t *testing.T) {
	for _, state := range []custodyv1.ReferralState{submitted, inTransit, hasCome} {
		net := newNetwork(t)
		name := net.walk(state).GetName()
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		for _, at := range []*node{origin, punjab} {
			net.unmoved(at, "custody.annex.v1: sender-not-allowed", func() { net.brings("sindh", at.Node, "custody.annex.v1", note(t, name)) })
			garbled := note(t, name)
			garbled.Annex.Content = []byte{0xff}
			net.unmoved(at, "custody.annex.v1: annex-not-valid", func() { net.brings("balochistan", at.Node, "custody.annex.v1", garbled) })
		}
	}
	net := newNetwork(t)
	v := net.walk(submitted)
	origin := net.nodes["balochistan"]
	before := origin.dump()
	net.brings("punjab", "balochistan", "custody.annex.v1", note(t, v.GetName()))
	if string(before) != string(origin.dump()) || len(net.refused)+len(net.sent) > 0 {
		t.Errorf("an annex of nothing was kept or refused: %v", net.refused)
	}
}

// What a node keeps of another it can send on sealed, to whoever is to read it: what the proto forbids is refused, and what the commitment does
// not cover is left away.
func TestAnnexesThatCannotBeSentOn(t *testing.T) {
	net := newNetwork(t)
	name := net.walk(hasCome).GetName()
	punjab := net.nodes["punjab"]
	withContent := func(size int) *custodyv1.AnnexLetter {
		letter := note(t, name)
		raw, err := proto.Marshal(&custodyv1.AnnexContent{Note: strings.Repeat("x", size-4)}) // a tag and a length
		must(t, err)
		letter.Annex.Content = raw
		return letter
	}
	net.unmoved(punjab, "custody.annex.v1: annex-not-valid", func() { net.brings("balochistan", "punjab", "custody.annex.v1", withContent(131073)) })
	longest := withContent(131072)
	padded := proto.CloneOf(longest)
	padding := protowire.AppendBytes(protowire.AppendTag(nil, 999, protowire.BytesType), make([]byte, post.MaxBody-140000))
	padded.ProtoReflect().SetUnknown(padding)
	net.brings("balochistan", "punjab", "custody.annex.v1", padded)
	must(t, punjab.DB.View(background, func(r kitstore.Reader) error {
		kept, err := punjab.Annexes.Get(r, name, custody.Commit(longest.GetAnnex()).String())
		if !proto.Equal(kept, longest) {
			t.Errorf("of the longest annex %d bytes are kept", proto.Size(kept))
		}
		return err
	}))
	if len(net.refused) > 0 {
		t.Errorf("refused %v", net.refused)
	}
}

// A unit that was asked in vain tells the origin something of the person, who has moved on since: the word and what was written
// beside it reach the owner through the former one.
func TestAnAnnexFollowsItsWord(t *testing.T) {
	for _, later := range []bool{false, true} {
		net := newNetwork(t)
		net.later = later
		punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
		v := net.walk(submitted)
		name := v.GetName()
		_, err := punjab.DeclineOffer(background, &referralv1.DeclineOfferRequest{Name: v.GetOffers()[0].GetName(), Reason: "TOO_FAR"}, actor)
		must(t, err)
		net.settle()
		_, err = sindh.assert(name)
		must(t, err)
		net.settle()
		for _, l := range net.chain(sindh, name).Links()[:1] { // who has the person reads why consent was overridden, and what they need
			if !slices.Contains(sindh.annexes(name), custody.Hash(l.Event.GetAnnexCommitment()).String()) {
				t.Error("the node that has the person has not the note of the submission")
			}
		}
		_, err = punjab.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: name, Code: "THREAT", Note: theNote}, actor)
		must(t, err)
		net.settle()
		links := net.chain(sindh, name).Links()
		last := links[len(links)-1].Event
		if what, by := custody.Said(links[len(links)-1]); what != "safety information" || by != "punjab" {
			t.Fatalf("the last that the owner wrote is %s by %s", what, by)
		}
		if !slices.Contains(sindh.annexes(name), custody.Hash(last.GetAnnexCommitment()).String()) {
			t.Error("the owner has the word, and not what was written beside it")
		}
		if len(net.refused) > 0 {
			t.Errorf("refused %v", net.refused)
		}
	}
}

// An annex that an older version took in and that is too long goes nowhere, and nothing waits for it.
func TestATooLongAnnexInTheFileIsNotSent(t *testing.T) {
	net := newNetwork(t)
	origin := net.nodes["balochistan"]
	request := submitRequest()
	request.Note = strings.Repeat("x", 200<<10)
	v, err := origin.SubmitReferral(background, request)
	must(t, err)
	net.settle()
	before := net.count("custody.annex.v1")
	_, err = origin.ask(v.GetName(), karachi)
	must(t, err)
	net.settle()
	if sent := net.count("custody.annex.v1") - before; sent != 0 || len(origin.get(v.GetName()).GetOffers()) != 2 {
		t.Errorf("%d annexes are sent", sent)
	}
}
