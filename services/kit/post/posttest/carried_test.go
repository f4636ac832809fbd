package posttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
)

// nowhere is a hub that is never there.
type nowhere struct{ Hub }

func (nowhere) Transport(testing.TB, string, string) post.Transport { return nowhere{} }

func (nowhere) Publish(_ context.Context, _ string, _ []byte, done func(error)) {
	done(errors.New("there is no hub"))
}

func (nowhere) Mail(postv1.Lane) <-chan post.Message { return nil }

func (nowhere) Reconnected() <-chan struct{} { return nil }

// unlinked are two offices that run without any hub.
func unlinked(t *testing.T) (sindh, punjab *Office) {
	t.Helper()
	root := Network(t)
	sindh, punjab = NewOffice(t, nowhere{}, root, "sindh"), NewOffice(t, nowhere{}, root, "punjab")
	sindh.Start()
	punjab.Start()
	return sindh, punjab
}

func (o *Office) export(to *Office) []byte {
	o.tb.Helper()
	var file bytes.Buffer
	if _, err := o.Post.Export(context.Background(), to.Addr.GetNode(), &file); err != nil {
		o.tb.Fatal(err)
	}
	return file.Bytes()
}

func (o *Office) importWhole(file []byte) *postv1.ImportParcelsResponse {
	o.tb.Helper()
	reply, err := o.Post.Import(context.Background(), bytes.NewReader(file))
	if err != nil {
		o.tb.Fatal(err)
	}
	return reply
}

// Letters go by hand in order, both lanes, more than one parcel; receipts and refusals come back by hand.
func TestCarriedBothWays(t *testing.T) {
	sindh, punjab := unlinked(t)
	all := texts("b", 700)
	sindh.QueueAll(punjab, bulk, all)
	sindh.Queue(punjab, bulk, kindPoison, "x", "bad")
	sindh.QueueAll(punjab, urgent, texts("u", 10))
	punjab.QueueAll(sindh, bulk, texts("back", 5))

	reply := punjab.importWhole(sindh.export(punjab))
	if c := reply.GetCount(); c.GetParcels() != 4 || c.GetLetters() != 711 || c.GetReceipts() != 0 || reply.GetAppliedLetters() != 711 {
		t.Errorf("taken in: %v", reply)
	}
	mustEqual(t, punjab.Received(), slices.Concat(texts("u", 10), all)) // urgent first
	if sindh.Unreceipted() != 711 {
		t.Fatalf("%d letters are unreceipted before a receipt came back", sindh.Unreceipted())
	}
	sindh.importWhole(punjab.export(sindh)) // a file holds parcels and receipts alike
	mustEqual(t, sindh.Received(), texts("back", 5))
	mustEqual(t, sindh.Refused(), []string{"x " + longReason[:199]})
	punjab.importWhole(sindh.export(punjab))
	if n := sindh.Unreceipted() + punjab.Unreceipted(); n != 0 {
		t.Errorf("%d letters are still unreceipted", n)
	}
}

// What is imported twice, or also comes by the hub, is applied once.
func TestCarriedAndSentAndRepeated(t *testing.T) {
	root := Network(t)
	hub := NewFake(1, Faults{Refuse: 1})
	sindh, punjab := NewOffice(t, hub, root, "sindh"), NewOffice(t, hub, root, "punjab")
	sindh.Start()
	punjab.Start()
	sindh.QueueAll(punjab, bulk, texts("a", 400))
	first := sindh.export(punjab)
	punjab.importWhole(first)
	sindh.QueueAll(punjab, bulk, texts("b", 300))
	hub.SetFaults(Faults{Double: 0.5})
	hub.Wipe(t) // the hub is there again, at once with the stick
	for range 3 {
		punjab.importWhole(sindh.export(punjab))
		sindh.importWhole(punjab.export(sindh))
		if reply := punjab.importWhole(first); reply.GetAppliedLetters() != 0 {
			t.Errorf("a repetition applied %d letters", reply.GetAppliedLetters())
		}
	}
	Wait(t, "all are receipted", func() bool { return sindh.Unreceipted() == 0 })
	mustEqual(t, punjab.Received(), slices.Concat(texts("a", 400), texts("b", 300)))
}

// A restored receiver that nobody writes to is told again by hand: an idle link is asked for its mark.
func TestCarriedAfterRestore(t *testing.T) {
	sindh, punjab := unlinked(t)
	empty := punjab.backup()
	sindh.QueueAll(punjab, bulk, texts("r", 20))
	there := func() { punjab.importWhole(sindh.export(punjab)) }
	back := func() { sindh.importWhole(punjab.export(sindh)) }
	there()
	back()
	punjab.Stop()
	punjab.restore(empty)
	punjab.Start()
	there()
	back()
	there()
	back()
	mustEqual(t, punjab.Received(), texts("r", 20))
	if n := sindh.Unreceipted(); n != 0 {
		t.Errorf("%d letters are unreceipted", n)
	}
}

// records are the pieces of an exported file: the first line, then each record with its head.
func records(t *testing.T, file []byte) (pieces [][]byte) {
	t.Helper()
	line := bytes.IndexByte(file, '\n') + 1
	pieces = append(pieces, file[:line])
	for rest := file[line:]; len(rest) > 0; {
		n := 8 + int(binary.BigEndian.Uint32(rest))
		pieces = append(pieces, rest[:n])
		rest = rest[n:]
	}
	return pieces
}

// rewritten is a record changed by someone who knows the format.
func rewritten(t *testing.T, piece []byte, change func(*postv1.CarriedRecord)) []byte {
	t.Helper()
	var r postv1.CarriedRecord
	if err := proto.Unmarshal(piece[8:], &r); err != nil {
		t.Fatal(err)
	}
	change(&r)
	data, err := proto.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
	return append(head, data...)
}

func carriedMail(t *testing.T, change func(*postv1.Mail)) func(*postv1.CarriedRecord) {
	return func(r *postv1.CarriedRecord) { r.GetMail().Mail = tamper(t, r.GetMail().GetMail(), change) }
}

// Every bad file is refused with what is wrong and what to do; nothing of it is applied but what is whole in
// front of a cut, and afterwards the good file goes in.
func TestBadFiles(t *testing.T) {
	sindh, punjab := unlinked(t)
	sindh.QueueAll(punjab, bulk, texts("n", 600)) // three parcels
	file := sindh.export(punjab)
	p := records(t, file) // line, begin, three parcels, end
	if len(p) != 6 {
		t.Fatalf("%d pieces", len(p))
	}
	join := func(pieces ...[]byte) []byte { return slices.Concat(pieces...) }
	flip := func(piece []byte, at int) []byte {
		changed := bytes.Clone(piece)
		changed[at] ^= 1
		return changed
	}
	subject := func(s string) func(*postv1.CarriedRecord) {
		return func(r *postv1.CarriedRecord) { r.GetMail().Subject = s }
	}
	cases := map[string]struct {
		file    []byte
		says    string
		reason  fault.Reason
		applied uint64 // letters in front of a cut, of 256, 256, 88
	}{
		"empty":                  {nil, "no file of exported parcels", fault.Field, 0},
		"another kind of file":   {[]byte(strings.Repeat("GIF89a", 10)), "no file of exported parcels", fault.Field, 0},
		"cut in the first line":  {p[0][:9], "ends within its first line", fault.Field, 0},
		"of another version":     {join([]byte("AMANAT PARCELS 9\n"), join(p[1:]...)), "another version", fault.Field, 0},
		"cut before a record":    {join(p[:2]...), "cut off after record 1", fault.Field, 0},
		"cut within a head":      {join(p[0], p[1], p[2][:5]), "cut off after record 1", fault.Field, 0},
		"cut within a record":    {join(p[0], p[1], p[2], p[3][:len(p[3])-1]), "cut off after record 2", fault.Field, 256},
		"cut before the end":     {join(p[:5]...), "cut off after record 4", fault.Field, 600},
		"damaged":                {join(p[0], p[1], flip(p[2], 99), p[3], p[4], p[5]), "record 2 is damaged", fault.Field, 0},
		"damaged length":         {join(p[0], p[1], flip(p[2], 0), p[3], p[4], p[5]), "record 2 is damaged", fault.Field, 0},
		"a record left out":      {join(p[0], p[1], p[2], p[5]), "should hold 3 records of mail and holds 1", fault.Field, 256},
		"out of order":           {join(p[0], p[1], p[3], p[2], p[4], p[5]), "behind others that are not here yet", fault.Field, 256},
		"only the last":          {join(p[0], p[1], p[4], p[5]), "behind others that are not here yet", fault.Field, 0},
		"mixed into another":     {join(p[0], p[1], p[1], p[2], p[5]), "begins a file within another", fault.Field, 0},
		"rubbish behind":         {join(file, []byte("and more of it, quite a lot")), "no part of it", fault.Field, 600},
		"forged signature":       {join(p[0], p[1], rewritten(t, p[2], carriedMail(t, func(m *postv1.Mail) { m.GetParcel().Signature[0]++ }))), "not signed by who", fault.Field, 0},
		"forged content":         {join(p[0], p[1], rewritten(t, p[2], carriedMail(t, func(m *postv1.Mail) { m.GetParcel().Sealed[1200]++ }))), "not signed by who", fault.Field, 0},
		"forged header":          {join(p[0], p[1], rewritten(t, p[2], carriedMail(t, rewriteHeader(t)))), "not signed by who", fault.Field, 0},
		"of another sender":      {join(p[0], p[1], rewritten(t, p[2], subject("amanat.post.punjab."+Service+".bulk.federal.federal"))), "another link than inside", fault.Field, 0},
		"of a stranger":          {join(p[0], p[1], rewritten(t, p[2], subject("amanat.post.punjab."+Service+".bulk.atlantis.referral"))), "the roster does not name", fault.Field, 0},
		"addressed elsewhere":    {join(p[0], p[1], rewritten(t, p[2], subject("amanat.post.federal.federal.bulk.sindh."+Service))), "addressed to another node", fault.Field, 0},
		"no mail inside":         {join(p[0], p[1], rewritten(t, p[2], func(r *postv1.CarriedRecord) { r.GetMail().Mail = []byte("hello") })), "no parcel or receipt", fault.Field, 0},
		"for another node":       {join(p[0], rewritten(t, p[1], func(r *postv1.CarriedRecord) { r.GetBegin().ToNode = "federal" }), p[2]), "for another node than punjab", fault.Field, 0},
		"of a later format":      {join(p[0], p[1], rewritten(t, p[2], func(r *postv1.CarriedRecord) { r.Content = nil; r.ProtoReflect().SetUnknown([]byte("\x7a\x01x")) })), "none that this version knows", fault.Field, 0},
		"the receiver's own":     {punjab.export(sindh), "for another node than punjab", fault.Field, 0},
		"mail without beginning": {join(p[0], p[2]), "outside any file", fault.Field, 0},
	}
	fresh := punjab.backup()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			reply, err := punjab.Post.Import(t.Context(), bytes.NewReader(c.file))
			if fault.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.reason, c.says)
			}
			if reply.GetAppliedLetters() != c.applied || punjab.count() != c.applied {
				t.Errorf("%d letters are told as applied, %d are, want %d", reply.GetAppliedLetters(), punjab.count(), c.applied)
			}
			if c.applied > 0 { // the others find the office as it was
				punjab.Stop()
				punjab.restore(fresh)
				punjab.Start()
			}
		})
	}
	if reply := punjab.importWhole(file); reply.GetAppliedLetters() != 600 {
		t.Errorf("the good file applied %d letters", reply.GetAppliedLetters())
	}
	mustEqual(t, punjab.Received(), texts("n", 600))
}

// A receipt that is forged or replayed does not make the sender let go of anything.
func TestBadReceiptsByHand(t *testing.T) {
	sindh, punjab := unlinked(t)
	sindh.QueueAll(punjab, bulk, texts("n", 3))
	punjab.importWhole(sindh.export(punjab))
	p := records(t, punjab.export(sindh))
	forged := slices.Concat(p[0], p[1], rewritten(t, p[2], carriedMail(t, raiseMark(t))))
	if _, err := sindh.Post.Import(t.Context(), bytes.NewReader(forged)); err == nil || !strings.Contains(err.Error(), "not signed by who") {
		t.Errorf("forged: %v", err)
	}
	if sindh.Unreceipted() != 3 {
		t.Fatal("a forged receipt was believed")
	}
	old := punjab.export(sindh)
	sindh.QueueAll(punjab, bulk, texts("m", 2))
	sindh.importWhole(old)
	punjab.importWhole(sindh.export(punjab))
	sindh.importWhole(punjab.export(sindh))
	sindh.importWhole(old)
	if sindh.Unreceipted() != 0 {
		t.Error("an old receipt was believed over a new one")
	}
}

// A handler that fails for now is told as such, and a second import goes on where it stopped.
func TestCarriedWhatFailsForNow(t *testing.T) {
	sindh, punjab := unlinked(t)
	sindh.Queue(punjab, bulk, kindNote, "s", "1")
	sindh.Queue(punjab, bulk, kindFlaky, "s", "2")
	punjab.Fail(true)
	file := sindh.export(punjab)
	if _, err := punjab.Post.Import(t.Context(), bytes.NewReader(file)); fault.ReasonOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	punjab.Fail(false)
	punjab.importWhole(file)
	mustEqual(t, punjab.Received(), []string{"1", "2"})
}

// Where to is checked before anything is written.
func TestExportToNowhere(t *testing.T) {
	sindh, _ := unlinked(t)
	for node, reason := range map[string]fault.Reason{"atlantis": fault.UnknownNode, "sindh": fault.Field, "": fault.UnknownNode} {
		var out bytes.Buffer
		_, err := sindh.Post.Export(t.Context(), node, &out)
		var refused *fault.Error
		if !errors.As(err, &refused) || refused.Reason() != reason || len(refused.Fields()) != 1 || refused.Fields()[0].Field != "to_node" || out.Len() > 0 {
			t.Errorf("%q: %v, %d bytes", node, err, out.Len())
		}
	}
}

// The operator alone exports and imports, over the real server; a file larger than a message goes in pieces.
func TestCarriedOverRPC(t *testing.T) {
	sindh, punjab := unlinked(t)
	long := texts("l", 30)
	for i := range long {
		long[i] += strings.Repeat(".", 100<<10)
	}
	sindh.QueueAll(punjab, bulk, long)
	at := func(o *Office) (rpctest.Place, string) {
		place := rpctest.Place{Root: o.root, Node: o.Addr.GetNode(), Service: Service}
		policy := rpc.Policy{
			postv1.PostService_ExportParcels_FullMethodName: {Callers: []string{"operator"}},
			postv1.PostService_ImportParcels_FullMethodName: {Callers: []string{"operator"}},
		}
		return place, place.Serve(t, policy, nil, func(r grpc.ServiceRegistrar) { postv1.RegisterPostServiceServer(r, post.NewServer(o.Post)) })
	}
	fromPlace, from := at(sindh)
	toPlace, to := at(punjab)
	var file bytes.Buffer
	count, err := post.ExportFile(t.Context(), fromPlace.Dial(t, from, rpctest.Operator), "punjab", &file)
	if err != nil || count.GetLetters() != 30 || file.Len() < 3_000_000 {
		t.Fatalf("%v %v, %d bytes", err, count, file.Len())
	}
	reply, err := post.ImportFile(t.Context(), toPlace.Dial(t, to, rpctest.Operator), bytes.NewReader(file.Bytes()))
	if err != nil || reply.GetAppliedLetters() != 30 {
		t.Fatalf("%v %v", err, reply)
	}
	mustEqual(t, punjab.Received(), long)

	writes := rpctest.Watch(punjab.DB)
	suite := &rpctest.Suite{Place: rpctest.Place{Root: punjab.root, Node: "punjab", Service: Service}, Writes: writes}
	bad := map[string]io.Reader{"nothing": strings.NewReader(""), "rubbish": strings.NewReader("rubbish"), "cut": bytes.NewReader(file.Bytes()[:100])}
	for name, content := range bad {
		err := suite.Unchanged(t, func() error {
			_, err := post.ImportFile(t.Context(), toPlace.Dial(t, to, rpctest.Operator), content)
			return err
		})
		t.Log(name, err)
		suite.Refused(t, err, rpctest.Refusal{Code: 3, Reason: "INVALID_FIELD", Names: "data"})
	}
	suite.Place = fromPlace
	for node, reason := range map[string]string{"Atlantis!": "INVALID_FIELD", "atlantis": "UNKNOWN_NODE", "sindh": "INVALID_FIELD"} {
		_, err := post.ExportFile(t.Context(), fromPlace.Dial(t, from, rpctest.Operator), node, io.Discard)
		suite.Refused(t, err, rpctest.Refusal{Code: 3, Reason: reason, Names: "to_node"})
	}
	peer := fromPlace.Dial(t, from, Service)
	_, err = post.ExportFile(t.Context(), peer, "punjab", io.Discard)
	suite.Refused(t, err, rpctest.Refusal{Code: 7, Reason: "NOT_ALLOWED"})
	_, err = post.ImportFile(t.Context(), peer, strings.NewReader("x"))
	suite.Refused(t, err, rpctest.Refusal{Code: 7, Reason: "NOT_ALLOWED"})
}
