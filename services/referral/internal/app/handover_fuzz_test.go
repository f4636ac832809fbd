package app_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fuzztest"
	kitstore "amanat.example/services/kit/store"
)

// Whatever somebody who knows the chain puts into a handover file, and seals to the node with its real key, what is kept is what the chain names,
// under the referral it is of; a file that is refused has changed nothing, and the error repeats none of it.
func FuzzHandover(f *testing.F) {
	net := newNetwork(f)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY).GetName()
	_, err := origin.DispatchReferral(context.Background(), net.dispatchRequest(name), actor)
	must(f, err)
	net.sent = nil // the file comes before the letters
	real := &referralv1.HandoverFile{}
	must(f, custody.DecodeFile(origin.export(name), real))
	chain, err := custody.Verify(origin.Roster, real.GetChain().GetEvents(), nil)
	must(f, err)
	committed := map[string]bool{}
	for _, l := range chain.Links() {
		committed[fmt.Sprintf("%x", l.Event.GetAnnexCommitment())] = true
	}
	letters := []*custodyv1.AnnexLetter{}
	for _, box := range real.GetSealedAnnexes() {
		plain, err := punjab.Opener.Open("amanat.custody.handover.v1", []byte(name), box)
		must(f, err)
		letter := &custodyv1.AnnexLetter{}
		must(f, proto.Unmarshal(plain, letter))
		letters = append(letters, letter)
	}
	kept, sum := punjab.engine.Clone(), sumOf(punjab.engine)
	f.Add([]byte{}, []byte{}, []byte{}, "")
	f.Add([]byte{}, []byte{}, []byte("no message"), "")
	f.Add([]byte{}, []byte{}, []byte{}, "nodes/balochistan/referrals/"+fuzztest.Canary)
	for place := range byte(12) { // one field changed, of a letter or of the file
		f.Add([]byte{0, place, 1, 1}, []byte{}, []byte{}, "")
		f.Add([]byte{0, place, 2, 4, 1}, []byte{}, []byte{}, "")
		f.Add([]byte{}, []byte{0, place, 1, 1}, []byte{}, "")
		f.Add([]byte{}, []byte{0, place, 2, 0, 3}, []byte{}, "")
	}
	f.Fuzz(func(t *testing.T, inner, outer, raw []byte, sealedFor string) {
		net.t, punjab.t = t, t
		defer func() { net.t, punjab.t = f, f }()
		file, choices := proto.CloneOf(real), fuzztest.NewChoices(inner)
		file.SealedAnnexes = nil
		for _, letter := range letters {
			changed := proto.CloneOf(letter)
			fuzztest.Mutate(changed, choices)
			plain, err := proto.Marshal(changed)
			must(t, err)
			if len(raw) > 0 {
				plain = raw
			}
			if sealedFor == "" {
				sealedFor = name
			}
			box, err := origin.Roster.Seal("punjab", "referral", "amanat.custody.handover.v1", []byte(sealedFor), plain)
			must(t, err)
			file.SealedAnnexes = append(file.SealedAnnexes, box)
		}
		fuzztest.Mutate(file, fuzztest.NewChoices(outer))
		encoded, err := custody.EncodeFile(file)
		must(t, err)
		_, err = punjab.imports(encoded)
		changed := !bytes.Equal(sumOf(punjab.engine), sum)
		if err != nil {
			if reason := fault.ReasonOf(err); reason != fault.Field && reason != fault.WrongState || strings.Contains(err.Error(), fuzztest.Canary) {
				t.Errorf("refused with %v", err)
			}
			if reason := fault.ReasonOf(err); changed && reason != fault.WrongState { // a chain that contradicts is told on
				t.Errorf("refused with %v, and something has changed", err)
			}
		}
		report, err := punjab.DB.Check(context.Background())
		must(t, err)
		must(t, report.Err())
		if !changed {
			return
		}
		must(t, punjab.DB.View(context.Background(), func(r kitstore.Reader) error {
			for _, kept := range punjab.annexes(name) {
				letter, err := punjab.Annexes.Get(r, name, kept)
				if err != nil || letter.GetReferral() != name || !committed[custody.Commit(letter.GetAnnex()).String()] {
					t.Errorf("kept under %s: %v, %v", kept, letter, err)
				}
			}
			return nil
		}))
		for _, sentence := range punjab.broken() {
			t.Error(sentence)
		}
		net.sent, punjab.queue, punjab.events = nil, nil, nil
		must(t, punjab.DB.Close())
		punjab.engine = kept.Clone()
		punjab.open()
	})
}
