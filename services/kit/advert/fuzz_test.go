package advert_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/fuzztest"
	"amanat.example/services/kit/hub"
)

// Whatever a hub delivers, an advert is believed only if the node it names signed it, of a shelter of its own, and can be reckoned with:
// also of what a node with good keys signs.
func FuzzAdvert(f *testing.F) {
	n := newNetwork(f)
	good := sign(f, n.sindh, offer())
	said, err := proto.Marshal(offer())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Subject, good.Data, said, []byte{})
	f.Add("amanat.capacity.sindh", good.Data[:9], said[:30], []byte{1})
	f.Add("amanat.capacity.balochistan.quetta", []byte{}, []byte{}, []byte{0, 9, 3, 3, 0, 20, 1, 5})
	f.Fuzz(func(t *testing.T, subject string, data, said, choices []byte) {
		// The keys are of this process: nobody else has signed.
		if _, verdict := n.reader.Read(hub.Message{Subject: subject, Data: data}); verdict == advert.Good && !slices.Equal(data, good.Data) {
			t.Error("nobody signed it, and it is believed")
		}
		if len(choices) > 0 {
			changed := offer()
			fuzztest.Mutate(changed, fuzztest.NewChoices(choices))
			said, _ = proto.Marshal(changed)
		}
		signed, err := proto.Marshal(&shelterv1.SignedAdvert{Advert: said, Signature: n.sindh.Sign("amanat.capacity.advert.v1", said)})
		if err != nil {
			t.Fatal(err)
		}
		for _, on := range []string{subject, good.Subject} {
			heard, verdict := n.reader.Read(hub.Message{Subject: on, Data: signed})
			if (verdict == advert.Good) != (heard != nil) {
				t.Fatalf("%s, and %v", verdict, heard)
			}
			if verdict != advert.Good {
				continue
			}
			a := heard.Advert
			if on != "amanat.capacity.sindh."+a.GetShelter()[len("nodes/sindh/shelters/"):] || a.GetNode() != "sindh" ||
				!a.GetPublishTime().IsValid() || a.GetPublishTime().AsTime().Year() > 2200 {
				t.Errorf("on %s is believed: %v", on, a)
			}
			if again, err := proto.Marshal(heard.Signed); err != nil || !slices.Equal(again, signed) {
				t.Errorf("what is kept is not what came: %v", err)
			}
		}
	})
}
