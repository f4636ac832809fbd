package posttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/fuzztest"
	"amanat.example/services/kit/store"
)

// attacked is punjab's office after letters have gone both ways with sindh, whose keys the attacker has.
type attacked struct {
	punjab, sindh *Office
	kept          *store.Memory
	parcel        *postv1.ParcelHeader // as the next one would be
	receipt       *postv1.Receipt
	letters       []*postv1.Letter // one of each kind
	mail          [][]byte         // real, of both kinds
}

// standing is what must not go back.
type standing struct {
	received    []string
	mark, given uint64 // of sindh's letters, and of those sent there
	queued      uint64 // to sindh
	life        uint64 // of sindh, as punjab heard it
	sum         []byte
}

const fromSindh = "amanat.post.punjab." + Service + ".bulk.sindh." + Service

func newAttacked(f *testing.F) *attacked {
	root, fake, now := Network(f), NewFake(0, Faults{}), time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC)
	var offices []*Office
	for _, node := range []string{"punjab", "sindh"} {
		o := NewOffice(f, fake, root, node)
		o.desk, o.clock = store.NewMemory(), func() time.Time { return now }
		o.Open()
		offices = append(offices, o)
	}
	a := &attacked{punjab: offices[0], sindh: offices[1]}
	a.sindh.Queue(a.punjab, bulk, kindNote, "s", "1")
	a.sindh.Queue(a.punjab, bulk, kindLater, "later", "2")
	a.sindh.Queue(a.punjab, bulk, kindNote, "s", "3")
	a.punjab.Queue(a.sindh, bulk, kindNote, "p", "1")
	for range 100 {
		for _, o := range offices {
			if _, _, err := o.Post.Step(f.Context(), now); err != nil {
				f.Fatal(err)
			}
		}
	}
	a.punjab.Queue(a.sindh, bulk, kindNote, "p", "2") // not receipted yet
	a.mail = append(fake.Seen(f, fromSindh), fake.Seen(f, "amanat.post.sindh."+Service+".bulk.punjab.")...)
	link := &postv1.Link{From: a.sindh.Addr, To: a.punjab.Addr, Lane: bulk}
	a.parcel = &postv1.ParcelHeader{
		Link: link, SenderIncarnation: a.sindh.DB.Incarnation(), ReceiverIncarnation: a.punjab.DB.Incarnation(), FirstSequence: 4, LastSequence: 4,
		ParcelId: make([]byte, 16), ReceiptedSequence: 3, FloorSequence: 1,
	}
	a.receipt = &postv1.Receipt{
		Link: &postv1.Link{From: a.punjab.Addr, To: a.sindh.Addr, Lane: bulk}, SenderIncarnation: a.punjab.DB.Incarnation(),
		ReceiverIncarnation: a.sindh.DB.Incarnation(), Mark: 1,
	}
	for kind, body := range map[string]proto.Message{
		kindNote: wrapperspb.String("4"), kindPoison: wrapperspb.String("4"), kindLater: wrapperspb.String("4"), kindFlaky: wrapperspb.String("4"),
		"post.attachment.v1": &postv1.AttachmentChunk{
			AttachmentId: make([]byte, 16), Kind: kindFile, About: "x", FileBytes: 3, FileSha256: make([]byte, 32), ChunkCount: 1, Data: []byte("abc"), ChunkSha256: make([]byte, 32),
		},
		"post.attachment_again.v1": &postv1.AttachmentAgain{AttachmentId: make([]byte, 16)},
		"post.stand_query.v1":      &postv1.StandQuery{Subject: "s"},
		"post.stand_answer.v1":     &postv1.StandAnswer{Subject: "later"},
	} {
		raw, err := proto.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		a.letters = append(a.letters, &postv1.Letter{LetterId: bytes.Repeat([]byte{7}, 16), Sequence: 4, Kind: kind, Subject: "f", Body: raw})
	}
	slices.SortFunc(a.letters, func(a, b *postv1.Letter) int { return strings.Compare(a.GetKind(), b.GetKind()) })
	a.kept = a.punjab.desk.Clone()
	a.sindh.Stop()
	return a
}

// stands is how punjab's office stands.
func (a *attacked) stands() (s standing) {
	links, err := a.punjab.Post.Status(context.Background())
	if err != nil {
		a.punjab.tb.Fatal(err)
	}
	for _, l := range links {
		switch {
		case l.Outgoing && l.Link.GetTo().GetNode() == "sindh" && l.Link.GetLane() == bulk:
			s.given, s.queued = l.Mark, l.Mark+l.Gap
		case !l.Outgoing && l.Link.GetFrom().GetNode() == "sindh" && l.Link.GetLane() == bulk:
			s.mark = l.Mark
		}
	}
	err = a.punjab.DB.View(context.Background(), func(r store.Reader) error {
		lives, err := a.punjab.Post.Incarnations(r, Service)
		s.life = lives["sindh"]
		return err
	})
	if err != nil {
		a.punjab.tb.Fatal(err)
	}
	s.received = a.punjab.Received()
	h := sha256.New()
	if err := a.punjab.desk.Each(func(bucket string, key, payload []byte) { fmt.Fprintf(h, "%s %x %x\n", bucket, key, payload) }); err != nil {
		a.punjab.tb.Fatal(err)
	}
	s.sum = h.Sum(nil)
	return s
}

// digestOf is what the sender of a parcel signs.
func digestOf(parts ...[]byte) []byte {
	h := sha256.New()
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil)
}

// sealed is a parcel that sindh signs.
func (a *attacked) sealed(header, letters []byte) (*postv1.Mail, error) {
	const domain = "amanat.post.parcel.v1"
	keys := a.sindh.id.Keys()
	box, err := keys.Seal("punjab", Service, domain, header, letters)
	return &postv1.Mail{Content: &postv1.Mail_Parcel{Parcel: &postv1.Parcel{
		Header: header, Sealed: box, Signature: keys.Sign(domain, digestOf(header, box)),
	}}}, err
}

// made is mail that the attacker makes: a parcel with one letter of some kind, changed within, around or both, or a receipt.
func (a *attacked) made(which byte, choices, raw []byte) (*postv1.Mail, error) {
	c := fuzztest.NewChoices(choices)
	kind := int(which) % (len(a.letters) + 1)
	if kind == len(a.letters) {
		receipt := proto.CloneOf(a.receipt)
		fuzztest.Mutate(receipt, c)
		said, err := proto.Marshal(receipt)
		if len(raw) > 0 {
			said = raw
		}
		return &postv1.Mail{Content: &postv1.Mail_Receipt{Receipt: &postv1.SignedReceipt{
			Receipt: said, Signature: a.sindh.id.Keys().Sign("amanat.post.receipt.v1", said),
		}}}, err
	}
	header, letter := proto.CloneOf(a.parcel), proto.CloneOf(a.letters[kind])
	switch c.Next(4) {
	case 0:
		fuzztest.Mutate(header, c)
	case 1:
		fuzztest.Mutate(letter, c)
	case 2:
		body := map[string]proto.Message{
			"post.attachment.v1": &postv1.AttachmentChunk{}, "post.attachment_again.v1": &postv1.AttachmentAgain{},
			"post.stand_query.v1": &postv1.StandQuery{}, "post.stand_answer.v1": &postv1.StandAnswer{},
		}[letter.GetKind()]
		if body == nil {
			body = &wrapperspb.StringValue{}
		}
		if proto.Unmarshal(letter.GetBody(), body) == nil {
			fuzztest.Mutate(body, c)
			if within, err := proto.Marshal(body); err == nil {
				letter.Body = within
			}
		}
	case 3:
		fuzztest.Mutate(letter, c)
		fuzztest.Mutate(header, c)
	}
	letters, err := proto.Marshal(&postv1.Letters{Letters: []*postv1.Letter{letter}})
	if len(raw) > 0 {
		letters = raw
	}
	outside, failed := proto.Marshal(header)
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	return a.sealed(outside, letters)
}

// Whatever a hub delivers, nothing changes but a counter. Whatever a peer with good keys writes, within its seal or in a receipt, each letter
// that was applied stays as it was and none is applied twice, no mark goes back in the life of a store, no receipt covers what was not
// written, and every row is sound afterwards.
func FuzzMail(f *testing.F) {
	a := newAttacked(f)
	for i := range len(a.letters) + 1 {
		f.Add(byte(i), []byte{}, []byte{}, fromSindh, []byte{})
		for _, choices := range [][]byte{{0, 1, 9, 2, 5}, {1, 0, 4, 3, 1}, {2, 0, 6, 1, 2}, {3, 0, 2, 2, 8, 0, 5, 1, 1}} {
			f.Add(byte(i), choices, []byte{}, fromSindh, []byte{})
		}
	}
	for _, data := range a.mail {
		f.Add(byte(0), []byte{}, []byte("\x0a\xff"), fromSindh, data[:len(data)-1])
	}
	f.Add(byte(0), []byte{}, []byte{}, "amanat.post.punjab."+Service+".urgent.federal.federal", []byte("hello"))
	f.Fuzz(func(t *testing.T, which byte, choices, raw []byte, subject string, data []byte) {
		a.punjab.tb = t
		fake := NewFake(0, Faults{})
		a.punjab.hub, a.punjab.desk = fake, a.kept.Clone()
		a.punjab.Stop()
		a.punjab.Open()
		defer func() {
			a.punjab.Stop()
			a.punjab.tb = f
		}()
		take := func(subject string, data []byte) {
			if len(strings.Split(subject, ".")) >= 5 { // else the broker has no such mailbox
				fake.Inject(t, subject, data)
			}
			for did, n := true, 0; did; n++ {
				var err error
				if did, _, err = a.punjab.Post.Step(t.Context(), a.punjab.clock()); err != nil || n == 100 {
					t.Fatalf("step %d: %v", n, err)
				}
			}
		}
		take("", nil) // it asks about what lies in quarantine
		at := a.stands()
		take(subject, data)
		if now := a.stands(); !bytes.Equal(now.sum, at.sum) && !slices.ContainsFunc(a.mail, func(m []byte) bool { return bytes.Equal(m, data) }) {
			t.Error("mail that nobody signed changes something")
		}
		mail, err := a.made(which, choices, raw)
		if err != nil {
			return
		}
		written, err := proto.Marshal(mail)
		if err != nil {
			return
		}
		before := a.stands()
		take(fromSindh, written)
		now := a.stands()
		take(fromSindh, written)
		for _, now := range []standing{now, a.stands()} {
			switch {
			case len(now.received) < len(before.received) || !slices.Equal(now.received[:len(before.received)], before.received):
				t.Errorf("received were %q, now %q", before.received, now.received)
			case len(now.received) > len(before.received)+1:
				t.Errorf("one letter is applied %d times", len(now.received)-len(before.received))
			case now.life < before.life, now.life == before.life && now.mark < before.mark:
				t.Errorf("the mark of life %d is %d, and was %d of life %d", now.life, now.mark, before.mark, before.life)
			case now.given > now.queued || now.queued < before.queued:
				t.Errorf("%d letters of %d are receipted; %d were queued before", now.given, now.queued, before.queued)
			}
		}
		report, err := a.punjab.DB.Check(context.Background())
		if err := errors.Join(err, report.Err()); err != nil {
			t.Error(err)
		}
	})
}
