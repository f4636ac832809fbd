package post

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// A parcel that its sender signed holds what its header claims, or it is thrown away.
func TestParcelsThatContradictThemselves(t *testing.T) {
	whole := func() (*postv1.ParcelHeader, []*postv1.Letter) {
		return &postv1.ParcelHeader{FirstSequence: 4, LastSequence: 5, ReceiptedSequence: 3, FloorSequence: 2}, []*postv1.Letter{
			{Sequence: 4, LetterId: make([]byte, letterIDSize)}, {Sequence: 5, LetterId: make([]byte, letterIDSize)},
		}
	}
	if h, letters := whole(); checkLetters(h, letters) != nil || checkLetters(&postv1.ParcelHeader{FirstSequence: 1}, nil) != nil {
		t.Fatal("a parcel as it should be is refused")
	}
	for name, spoil := range map[string]func(*postv1.ParcelHeader, []*postv1.Letter){
		"fewer letters than it claims":          func(h *postv1.ParcelHeader, _ []*postv1.Letter) { h.LastSequence = 6 },
		"letters from nowhere":                  func(h *postv1.ParcelHeader, _ []*postv1.Letter) { h.FirstSequence, h.LastSequence = 0, 1 },
		"receipted beyond its letters":          func(h *postv1.ParcelHeader, _ []*postv1.Letter) { h.ReceiptedSequence = 6 },
		"a floor above what is receipted":       func(h *postv1.ParcelHeader, _ []*postv1.Letter) { h.ReceiptedSequence = 2; h.FloorSequence = 4 },
		"a floor above its letters":             func(h *postv1.ParcelHeader, _ []*postv1.Letter) { h.ReceiptedSequence = 5; h.FloorSequence = 5 },
		"a letter under another sequence":       func(_ *postv1.ParcelHeader, l []*postv1.Letter) { l[1].Sequence = 4 },
		"a letter with half an id":              func(_ *postv1.ParcelHeader, l []*postv1.Letter) { l[0].LetterId = make([]byte, letterIDSize/2) },
		"a letter that is longer than any":      func(_ *postv1.ParcelHeader, l []*postv1.Letter) { l[0].Body = make([]byte, MaxBody+1) },
		"a letter about more than can be named": func(_ *postv1.ParcelHeader, l []*postv1.Letter) { l[0].Subject = string(make([]byte, maxSubject+1)) },
	} {
		h, letters := whole()
		if spoil(h, letters); checkLetters(h, letters) == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// believing are keys under which a signature is the signer's name.
type believing struct{ Keys }

func (believing) Verify(node, service, _ string, _, signature []byte) error {
	if string(signature) != service+" at "+node {
		return errors.New("a bad signature")
	}
	return nil
}

// A refusal is evidence by itself: signed by who refuses, of this link, and of the very letter it names.
func TestRefusalsStandByThemselves(t *testing.T) {
	sindh, punjab := &postv1.Address{Node: "sindh", Service: "referral"}, &postv1.Address{Node: "punjab", Service: "referral"}
	letter := &postv1.Letter{LetterId: []byte("an id of a letter"), Kind: "test.note.v1", Subject: "x", Body: []byte("body")}
	signed := func(change func(*postv1.Refusal)) *postv1.SignedRefusal {
		r := &postv1.Refusal{Link: &postv1.Link{From: sindh, To: punjab}, LetterId: letter.GetLetterId(), LetterHash: letterHash(letter), Reason: "x"}
		change(r)
		raw, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return &postv1.SignedRefusal{Refusal: raw, Signature: []byte("referral at punjab")}
	}
	check := func(s *postv1.SignedRefusal) error {
		return checkRefusals(believing{}, &postv1.Receipt{
			Link: &postv1.Link{From: sindh, To: punjab}, Refusals: []*postv1.OpenRefusal{{Sequence: 1, Refusal: s}},
		})
	}
	whole := signed(func(*postv1.Refusal) {})
	if err := check(whole); err != nil || !refuses(whole, letter) {
		t.Fatalf("a refusal as it should be does not count: %v", err)
	}
	forged := signed(func(*postv1.Refusal) {})
	forged.Signature = []byte("referral at sindh")
	for name, s := range map[string]*postv1.SignedRefusal{
		"signed by another":   forged,
		"of another sender":   signed(func(r *postv1.Refusal) { r.Link.From = &postv1.Address{Node: "sindh", Service: "shelter"} }),
		"by another receiver": signed(func(r *postv1.Refusal) { r.Link.To = sindh }),
		"that is none":        {Refusal: []byte{0xff}, Signature: []byte("referral at punjab")},
	} {
		if check(s) == nil {
			t.Errorf("a refusal %s: the receipt counts", name)
		}
	}
	for name, change := range map[string]func(*postv1.Refusal){
		"id":   func(r *postv1.Refusal) { r.LetterId = bytes.Repeat([]byte("x"), letterIDSize) },
		"hash": func(r *postv1.Refusal) { r.LetterHash = digest([]byte("another letter")) },
	} {
		if refuses(signed(change), letter) {
			t.Errorf("a refusal that names another %s: the letter is taken for refused", name)
		}
	}
}
