package app_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// export makes a node's handover file.
func (n *node) export(name string) []byte {
	n.t.Helper()
	file, err := n.ExportHandover(context.Background(), name)
	must(n.t, err)
	return file
}

func (n *node) imports(file []byte) (*referralv1.Referral, error) {
	return n.ImportHandover(context.Background(), &referralv1.ImportHandoverRequest{Parent: "nodes/" + n.Node, File: file})
}

// The file goes with the escort and the letters do not come: the receiver takes the file in, records the arrival, and when the
// letters come after all they change nothing.
func TestHandoverByFile(t *testing.T) {
	net := newNetworkOnFiles(t)
	origin, to := net.nodes["balochistan"], net.nodes["punjab"]
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY).GetName()
	_, err := origin.DispatchReferral(context.Background(), net.dispatchRequest(name), actor)
	must(t, err)
	late := net.sent
	net.sent = nil // the link is cut

	file := origin.export(name)
	if bytes.Contains(file, []byte("Bibi")) || bytes.Contains(file, []byte(net.dispatchRequest(name).GetEscort().GetDisplayName())) {
		t.Error("the file says in the clear who travels")
	}
	if _, err := origin.imports(file); err != nil { // what is sealed to another is left as it is
		t.Errorf("the giver, which holds it all, cannot read its own file: %v", err)
	}
	v, err := to.imports(file)
	must(t, err)
	if v.GetOwnerNode() != "punjab" || v.GetState() != custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT {
		t.Fatalf("after the import: %v owned by %s", v.GetState(), v.GetOwnerNode())
	}
	escort := false
	for _, annex := range v.GetAnnexes() {
		content, err := to.GetAnnex(context.Background(), annex)
		must(t, err)
		escort = escort || content.GetEscort().GetDisplayName() == net.dispatchRequest(name).GetEscort().GetDisplayName()
	}
	if !escort {
		t.Error("the receiver cannot read who brings the person")
	}
	before := to.file()
	if _, err := to.imports(file); err != nil {
		t.Errorf("the same file again: %v", err)
	}
	if !bytes.Equal(before, to.file()) {
		t.Error("the same file again has changed something")
	}
	_, err = to.RecordArrival(context.Background(), &referralv1.RecordArrivalRequest{Name: name, Identification: []string{"REFERRAL_SLIP"}}, actor)
	must(t, err)
	net.sent = append(late, net.sent...)
	net.settle()
	if head := origin.get(name); head.GetState() != custodyv1.ReferralState_REFERRAL_STATE_ARRIVED || !bytes.Equal(head.GetHead(), to.head(name)) {
		t.Errorf("the origin holds %v", head.GetState())
	}
	for _, n := range []*node{origin, to} {
		r, err := n.VerifyReferral(context.Background(), name)
		must(t, err)
		last := r.GetSteps()[len(r.GetSteps())-1]
		if !r.GetSound() || r.GetProblem() != "" || r.GetCareNode() != "punjab" || last.GetWhat() != "arrival" || last.GetNode() != "punjab" || !bytes.Equal(last.GetHash(), r.GetHead()) {
			t.Errorf("%s verifies %v", n.Node, r)
		}
	}
}

// What is no such file, is cut, changed or for somebody else is refused, with what to do, and changes nothing.
func TestHandoverFilesThatAreRefused(t *testing.T) {
	net := newNetworkOnFiles(t)
	origin, to, third := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY).GetName()
	_, err := origin.DispatchReferral(context.Background(), net.dispatchRequest(name), actor)
	must(t, err)
	net.sent = nil
	whole := origin.export(name)
	f := &referralv1.HandoverFile{}
	must(t, custody.DecodeFile(whole, f))
	changed := func(change func(*referralv1.HandoverFile)) []byte {
		c := proto.CloneOf(f)
		change(c)
		raw, err := custody.EncodeFile(c)
		must(t, err)
		return raw
	}
	// Sealed to the same node, and of the same chain, but not what it names.
	invented, err := proto.Marshal(&custodyv1.AnnexLetter{Referral: name, Annex: &custodyv1.Annex{Salt: make([]byte, 32), Content: []byte("invented")}})
	must(t, err)
	box, err := origin.Roster.Seal("punjab", "referral", "amanat.custody.handover.v1", []byte(name), invented)
	must(t, err)
	const other = "nodes/balochistan/referrals/01920000-0000-7000-8000-0000000000ff"
	// One that the chain names, and that would be kept as another referral's.
	plain, err := to.Opener.Open("amanat.custody.handover.v1", []byte(name), f.GetSealedAnnexes()[0])
	must(t, err)
	moved := &custodyv1.AnnexLetter{}
	must(t, proto.Unmarshal(plain, moved))
	moved.Referral = other
	plain, err = proto.Marshal(moved)
	must(t, err)
	elsewhere, err := origin.Roster.Seal("punjab", "referral", "amanat.custody.handover.v1", []byte(name), plain)
	must(t, err)
	for what, c := range map[string]struct {
		at   *node
		file []byte
		says string
	}{
		"another kind of file":       {to, []byte("%PDF-1.7 something else entirely, of some length or other"), "no handover file"},
		"an empty copy":              {to, []byte("amanat handover 1\n"), "copy it again"},
		"a copy that was cut":        {to, whole[:len(whole)-7], "copy it again"},
		"a changed byte":             {to, append(append([]byte{}, whole[:200]...), append([]byte{whole[200] ^ 1}, whole[201:]...)...), "copy it again"},
		"a node without part":        {third, whole, "another node"},
		"an event left out":          {to, changed(func(c *referralv1.HandoverFile) { c.Chain.Events = append(c.Chain.Events[:1], c.Chain.Events[2:]...) }), "not sound"},
		"a forged signature":         {to, changed(func(c *referralv1.HandoverFile) { c.Chain.Events[2].Signature = make([]byte, 64) }), "not sound"},
		"another referral's name":    {to, changed(func(c *referralv1.HandoverFile) { c.Referral = other }), "not sound"},
		"an empty chain":             {to, changed(func(c *referralv1.HandoverFile) { c.Chain = nil }), "not sound"},
		"an annex that was invented": {to, changed(func(c *referralv1.HandoverFile) { c.SealedAnnexes = [][]byte{box} }), "does not name"},
		"an annex of another":        {to, changed(func(c *referralv1.HandoverFile) { c.SealedAnnexes = [][]byte{elsewhere} }), "does not name"},
		"an annex that was changed":  {to, changed(func(c *referralv1.HandoverFile) { c.SealedAnnexes[0][40] ^= 1 }), "does not name"},
	} {
		t.Run(what, func(t *testing.T) {
			before := c.at.file()
			_, err := c.at.imports(c.file)
			if fault.ReasonOf(err) != fault.Field || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "file") {
				t.Errorf("%v", err)
			}
			if !bytes.Equal(before, c.at.file()) {
				t.Error("something has changed")
			}
		})
	}
}

// What was written beside does not open, because the key file is an older copy: the escort gets the file without it.
func TestAHandoverFileWithoutWhatDoesNotOpen(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY).GetName()
	must(t, origin.dispatch(name))
	net.sent = nil
	origin.loseKeys()
	_, err := punjab.imports(origin.export(name))
	must(t, err)
	net.checkState(name, inTransit, "punjab")
}

// A giver that means harm seals an annex that its receiver could not send on to the next place.
func TestAHandoverFileWithALongAnnex(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	request := submitRequest()
	request.Note = strings.Repeat("x", 131072)
	v, err := origin.SubmitReferral(background, request)
	must(t, err)
	net.settle()
	punjab.accept(v.GetOffers()[0].GetName())
	net.settle()
	must(t, origin.dispatch(v.GetName()))
	net.sent = nil
	f := &referralv1.HandoverFile{}
	must(t, custody.DecodeFile(origin.export(v.GetName()), f))
	var long *custodyv1.AnnexLetter
	must(t, origin.DB.View(background, func(r kitstore.Reader) (err error) {
		written := custody.Hash(net.chain(origin, v.GetName()).Links()[0].Event.GetAnnexCommitment()).String()
		long, err = origin.Annexes.Get(r, v.GetName(), written)
		return err
	}))
	plain, err := proto.Marshal(long)
	must(t, err)
	box, err := origin.Roster.Seal("punjab", "referral", "amanat.custody.handover.v1", []byte(v.GetName()), plain)
	must(t, err)
	f.SealedAnnexes = append(f.SealedAnnexes, box)
	file, err := custody.EncodeFile(f)
	must(t, err)
	before := punjab.dump()
	_, err = punjab.imports(file)
	wrong(t, err, fault.Field, "too long")
	if !bytes.Equal(before, punjab.dump()) {
		t.Error("something has changed")
	}
}

// Who verifies sees how far the chain is sound, and what is wrong behind that.
func TestVerifyFindsTheFault(t *testing.T) {
	net := newNetwork(t)
	origin := net.nodes["balochistan"]
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY).GetName()
	r, err := origin.VerifyReferral(context.Background(), name)
	must(t, err)
	whole := len(r.GetSteps())
	if !r.GetSound() || r.GetSteps()[whole-1].GetWhat() != "ready" || r.GetSteps()[whole-1].GetReplyNode() != "punjab" {
		t.Fatalf("%v", r)
	}
	origin.spoilt = true
	must(t, origin.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		return eachLink(tx, name, true, func(key kitstore.Key, signed *custodyv1.SignedEvent) error {
			signed.Signature[0] ^= 1
			return store.Links.Put(tx, key, signed)
		})
	}))
	r, err = origin.VerifyReferral(context.Background(), name)
	must(t, err)
	if r.GetSound() || !strings.Contains(r.GetProblem(), "signature of balochistan") || len(r.GetSteps()) != whole-1 {
		t.Errorf("%v", r)
	}
	if _, err := origin.VerifyReferral(context.Background(), "nodes/balochistan/referrals/01920000-0000-7000-8000-0000000000ff"); fault.ReasonOf(err) != fault.Missing {
		t.Errorf("no such referral: %v", err)
	}
}

// Who refers on hands the next place a file with all it needs, before the person leaves and on the road; how the person came here once
// is not for it. After a refused handover nothing is for the refuser any more.
func TestAHandoverFileIsForTheNextPlace(t *testing.T) {
	net, _, punjab, sindh := newOwnerNetwork(t)
	name := net.walk(hasCome).GetName()
	_, err := punjab.ask(name, karachi)
	must(t, err)
	net.settle()
	sindh.accept(punjab.lastOffer(name).GetName())
	net.settle()
	for _, step := range []string{"promised", "on the road"} {
		f := &referralv1.HandoverFile{}
		must(t, custody.DecodeFile(punjab.export(name), f))
		want := 1 // the note of the submission
		if step == "on the road" {
			want = 2 // and the escort
		}
		if f.GetToNode() != "sindh" || len(f.GetSealedAnnexes()) != want {
			t.Errorf("%s: the file is for %q with %d annexes", step, f.GetToNode(), len(f.GetSealedAnnexes()))
		}
		if step == "promised" {
			must(t, punjab.dispatch(name))
			net.settle()
		}
	}
	net = newNetwork(t)
	referral, _ := net.refusing(custodyv1.OfferState_OFFER_STATE_DECLINED)
	net.settle()
	f := &referralv1.HandoverFile{}
	must(t, custody.DecodeFile(net.nodes["balochistan"].export(referral), f))
	if f.GetToNode() != "" || len(f.GetSealedAnnexes()) > 0 {
		t.Errorf("after the refusal the file is for %q with %d annexes", f.GetToNode(), len(f.GetSealedAnnexes()))
	}
}

// A file that hands over what was never promised is refused as a letter would be: nothing of the person is kept, and it is said why.
func TestAHandoverFileThatWasNeverPromised(t *testing.T) {
	net := newNetwork(t)
	referral, _ := net.refusing(custodyv1.OfferState_OFFER_STATE_DECLINED)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	file, before := origin.export(referral), punjab.annexes(referral)
	net.sent = nil
	_, err := punjab.imports(file)
	wrong(t, err, fault.WrongState, "assert the arrival")
	if after := punjab.annexes(referral); !slices.Equal(before, after) {
		t.Errorf("%d annexes were kept", len(after)-len(before))
	}
	net.settle()
	net.checkState(referral, submitted, "balochistan")
}
