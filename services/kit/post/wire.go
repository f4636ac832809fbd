package post

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// Limits of a parcel; a letter's body has at most MaxBody bytes, sealed or not.
const (
	MaxLetters = 256
	MaxParcel  = 512 << 10
	MaxBody    = 384 << 10
)

const (
	parcelDomain  = "amanat.post.parcel.v1"
	receiptDomain = "amanat.post.receipt.v1"
	refusalDomain = "amanat.post.refusal.v1"
	letterInfo    = "amanat.post.letter.v1"

	subjectRoot = "amanat.post"
)

var laneNames = map[postv1.Lane]string{postv1.Lane_LANE_URGENT: "urgent", postv1.Lane_LANE_BULK: "bulk"}

var lanes = []postv1.Lane{postv1.Lane_LANE_URGENT, postv1.Lane_LANE_BULK}

func mailSubject(to *postv1.Address, lane postv1.Lane, from *postv1.Address) string {
	return strings.Join([]string{
		subjectRoot, to.GetNode(), to.GetService(), laneNames[lane], from.GetNode(), from.GetService(),
	}, ".")
}

// parseSubject reads what mailSubject wrote.
func parseSubject(subject string) (to *postv1.Address, lane postv1.Lane, from *postv1.Address, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 7 || parts[0]+"."+parts[1] != subjectRoot {
		return nil, 0, nil, false
	}
	for l, name := range laneNames {
		if parts[4] == name {
			lane = l
		}
	}
	to = &postv1.Address{Node: parts[2], Service: parts[3]}
	from = &postv1.Address{Node: parts[5], Service: parts[6]}
	return to, lane, from, lane != postv1.Lane_LANE_UNSPECIFIED
}

func sameAddress(a, b *postv1.Address) bool {
	return a.GetNode() == b.GetNode() && a.GetService() == b.GetService()
}

func sameLink(l *postv1.Link, from, to *postv1.Address, lane postv1.Lane) bool {
	return sameAddress(l.GetFrom(), from) && sameAddress(l.GetTo(), to) && l.GetLane() == lane
}

// digest hashes parts, each preceded by its length, so that no two lists of parts agree.
func digest(parts ...[]byte) []byte {
	h := sha256.New()
	var n [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

// letterHash is what a refusal names: the letter as it came, whatever sequence it has. A piece of a file
// is hashed without its data, of which it names the hash, so that both ends can do it at any time.
func letterHash(l *postv1.Letter) []byte {
	l = withoutData(l)
	return digest([]byte(l.GetKind()), []byte(l.GetSubject()), l.GetBody())
}

// letterAAD ties a sealed body to its letter.
func letterAAD(from, to *postv1.Address, l *postv1.Letter) []byte {
	return digest([]byte(from.GetNode()), []byte(from.GetService()), []byte(to.GetNode()), []byte(to.GetService()),
		l.GetLetterId(), []byte(l.GetKind()), []byte(l.GetSubject()))
}

// checkLetters says whether what a parcel holds is what its header claims. It may hold nothing.
func checkLetters(h *postv1.ParcelHeader, letters []*postv1.Letter) error {
	n := uint64(len(letters))
	first := h.GetFirstSequence()
	if n > MaxLetters || first == 0 || h.GetLastSequence()+1 != first+n {
		return fmt.Errorf("a parcel of %d letters claims sequences %d to %d", n, first, h.GetLastSequence())
	}
	if h.GetReceiptedSequence() >= first+n || h.GetFloorSequence() > h.GetReceiptedSequence()+1 || h.GetFloorSequence() > first {
		return fmt.Errorf("a parcel's floor %d and receipted sequence %d do not fit its letters", h.GetFloorSequence(), h.GetReceiptedSequence())
	}
	for i, l := range letters {
		if l.GetSequence() != first+uint64(i) {
			return fmt.Errorf("letter %d of a parcel has sequence %d, want %d", i, l.GetSequence(), first+uint64(i))
		}
		if len(l.GetLetterId()) != letterIDSize || len(l.GetBody()) > MaxBody || len(l.GetSubject()) > maxSubject {
			return fmt.Errorf("letter %d of a parcel has an id, subject or body of a wrong size", i)
		}
	}
	return nil
}

// putTaken writes into a header how far its sender has taken in a lane of the link the other way.
func putTaken(h *postv1.ParcelHeader, mark *postv1.TakenMark) {
	switch {
	case mark.GetLane() == h.GetLink().GetLane():
		h.TakenSequence, h.TakenIncarnation, h.TakenLetterId = mark.GetSequence(), mark.GetIncarnation(), mark.GetLetterId()
	case mark.GetSequence() > 0:
		h.TakenElsewhere = append(h.TakenElsewhere, mark)
	}
}

// taken reads what putTaken wrote. Who writes more marks than there are lanes has the others not read.
func taken(h *postv1.ParcelHeader) []*postv1.TakenMark {
	own := &postv1.TakenMark{
		Lane: h.GetLink().GetLane(), Sequence: h.GetTakenSequence(), Incarnation: h.GetTakenIncarnation(), LetterId: h.GetTakenLetterId(),
	}
	others := h.GetTakenElsewhere()
	return append([]*postv1.TakenMark{own}, others[:min(len(others), len(lanes))]...)
}

// checkRefusals says whether the receiver signed each refusal of its receipt, for this link's
// addresses.
func checkRefusals(keys Keys, receipt *postv1.Receipt) error {
	by := receipt.GetLink().GetTo()
	for _, open := range receipt.GetRefusals() {
		signed := open.GetRefusal()
		if err := keys.Verify(by.GetNode(), by.GetService(), refusalDomain, signed.GetRefusal(), signed.GetSignature()); err != nil {
			return err
		}
		var refusal postv1.Refusal
		if err := proto.Unmarshal(signed.GetRefusal(), &refusal); err != nil {
			return err
		}
		if !sameAddress(refusal.GetLink().GetFrom(), receipt.GetLink().GetFrom()) || !sameAddress(refusal.GetLink().GetTo(), by) {
			return fmt.Errorf("a receipt carries a refusal of another link")
		}
	}
	return nil
}

// refuses says whether a refusal speaks of this letter.
func refuses(signed *postv1.SignedRefusal, l *postv1.Letter) bool {
	var refusal postv1.Refusal
	return proto.Unmarshal(signed.GetRefusal(), &refusal) == nil &&
		bytes.Equal(refusal.GetLetterId(), l.GetLetterId()) && bytes.Equal(refusal.GetLetterHash(), letterHash(l))
}
