package posttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

const chunk = 240 << 10

// content is n bytes that look like none other.
func content(n int) []byte {
	random := rand.New(rand.NewPCG(uint64(n), 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	copy(b, "synthetic canary of a scan")
	return b
}

// room with two desks: neither file of the store nor goroutine, but real files for attachments.
func newDesks(t *testing.T) (r *room, sindh, punjab *desk) {
	t.Helper()
	r = newRoom(t, Network(t), 1)
	r.fake.SetFaults(Faults{})
	return r, r.desks[0], r.desks[1]
}

// run drives both desks until nothing is left to do but wait, or until says so.
func (r *room) run(until func() bool) {
	r.t.Helper()
	for range 3000 {
		busy := false
		for _, d := range r.desks {
			busy = r.step(d) || busy
			if until() {
				return
			}
		}
		if !busy {
			r.now = r.now.Add(100 * time.Millisecond)
		}
	}
	r.t.Fatal("never came true")
}

func (r *room) receipted() bool { return r.desks[0].Unreceipted()+r.desks[1].Unreceipted() == 0 }

// kept lists the attachment files of one direction.
func (o *Office) kept(direction string) (paths []string) {
	o.tb.Helper()
	paths, err := filepath.Glob(filepath.Join(o.folder(), direction, "*"))
	if err != nil {
		o.tb.Fatal(err)
	}
	return paths
}

func (o *Office) incoming() (all []*postv1.IncomingAttachment) {
	o.tb.Helper()
	err := o.DB.View(context.Background(), func(r store.Reader) (err error) {
		all, err = files.Incoming(r)
		return err
	})
	if err != nil {
		o.tb.Fatal(err)
	}
	return all
}

func (o *Office) outgoing() (all []*postv1.OutgoingAttachment) {
	o.tb.Helper()
	err := o.DB.View(context.Background(), func(r store.Reader) (err error) {
		all, err = files.Outgoing(r)
		return err
	})
	if err != nil {
		o.tb.Fatal(err)
	}
	return all
}

// Files of several sizes come whole through foul weather, in order among letters, once; they are readable nowhere on the way, and go
// when the receiver lets go of them.
func TestFilesArrive(t *testing.T) {
	root := Network(t)
	hub := NewFake(1, Faults{Lose: 0.1, Double: 0.2, Delay: 0.1, Refuse: 0.05})
	sindh, punjab := NewOffice(t, hub, root, "sindh"), NewOffice(t, hub, root, "punjab")
	sindh.Start()
	punjab.Start()
	var want []string
	for _, n := range []int{1, chunk - 1300, 3<<20 + 17} {
		sindh.QueueAll(punjab, bulk, []string{fmt.Sprint("before ", n)})
		f := sindh.sendFile(punjab, kindFile, fmt.Sprint(n), content(n))
		sindh.QueueAll(punjab, bulk, []string{fmt.Sprint("after ", n)})
		want = append(want, fmt.Sprint("before ", n), fmt.Sprint("file ", n), fmt.Sprint("after ", n))
		Wait(t, "it is there and receipted", func() bool { return int(punjab.count()) == len(want) && sindh.Unreceipted() == 0 })
		if !bytes.Equal(punjab.readFile(sindh, f.ID()), content(n)) {
			t.Errorf("%d bytes came otherwise than they were sent", n)
		}
		for _, path := range slices.Concat(sindh.kept("out"), punjab.kept("in")) {
			if raw, err := os.ReadFile(path); err != nil || bytes.Contains(raw, content(n)[:min(n, 26)]) && n > 20 {
				t.Errorf("%s: %v; readable", path, err)
			}
		}
		if err := punjab.DB.Update(t.Context(), func(tx *store.Tx) error { return punjab.Post.RemoveAttachment(tx, sindh.Addr, f.ID()) }); err != nil {
			t.Error(err)
		}
		if left := punjab.kept("in"); len(left) > 0 || len(punjab.incoming()) > 0 {
			t.Errorf("what was removed is still there: %q", left)
		}
	}
	mustEqual(t, punjab.Received(), want)
	if hub.Holds(t, content(1 << 10)[:26]) {
		t.Error("a file is readable in what came to the hub")
	}
}

// An urgent letter that is written after a large file was queued arrives before it.
func TestUrgentPassesFile(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.sendFile(punjab.Office, kindFile, "large", content(3<<20))
	r.run(func() bool { return len(punjab.incoming()) == 1 }) // it has begun
	sindh.QueueAll(punjab.Office, urgent, []string{"urgent"})
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"urgent", "file large"})
}

// Either end, or both, crash at every boundary between pieces, with or without what was not synced, the file torn where it may be:
// the file comes whole and is told once.
func TestFileThroughCrashes(t *testing.T) {
	root := Network(t)
	const pieces = 4
	data := content(pieces*chunk - 5000)
	for boundary := range pieces + 1 {
		for who := 1; who <= 3; who++ {
			for _, keepUnsynced := range []bool{false, true} {
				r := newRoom(t, root, uint64(boundary))
				r.fake.SetFaults(Faults{})
				sindh, punjab := r.desks[0], r.desks[1]
				// A parcel holds two pieces, or this letter and one.
				want := slices.Repeat([]string{strings.Repeat("x", 100<<10)}, boundary%2)
				sindh.QueueAll(punjab.Office, bulk, want)
				f := sindh.sendFile(punjab.Office, kindFile, "scan", data)
				r.run(func() bool {
					in := punjab.incoming()
					return boundary == 0 || len(in) == 1 && int(in[0].GetReceivedChunks()) >= boundary
				})
				for i, d := range r.desks {
					if who&(1<<i) == 0 {
						continue
					}
					d.Stop()
					d.desk.Crash(keepUnsynced)
					d.Open()
					if in := d.incoming(); i == 1 && len(in) == 1 && in[0].GetState() == postv1.IncomingAttachment_STATE_RECEIVING {
						tear(t, d.kept("in"), int(in[0].GetReceivedChunks()))
					}
				}
				r.fake.Wipe(t)
				r.run(r.receipted)
				mustEqual(t, punjab.Received(), append(want, "file scan"))
				if !bytes.Equal(punjab.readFile(sindh.Office, f.ID()), data) {
					t.Fatalf("boundary %d, who %d: other bytes came", boundary, who)
				}
				sindh.Stop()
				punjab.Stop()
			}
		}
	}
}

// tear leaves rubbish behind the pieces that are counted, as a crash in the middle of writing does.
func tear(t *testing.T, paths []string, counted int) {
	t.Helper()
	for _, path := range paths {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = file.WriteAt(bytes.Repeat([]byte{0xA5}, 4*chunk+chunk/2), int64(counted)*chunk)
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A commit that fails at every boundary between pieces, at the receiver, stops it; started again it goes on.
func TestFileThroughFailedCommits(t *testing.T) {
	const pieces = 4
	for boundary := range pieces {
		r, sindh, punjab := newDesks(t)
		f := sindh.sendFile(punjab.Office, kindFile, "scan", content(pieces*chunk-5000))
		r.run(func() bool {
			in := punjab.incoming()
			return boundary == 0 || len(in) == 1 && int(in[0].GetReceivedChunks()) >= boundary
		})
		punjab.desk.FailNextCommit(errors.New("no sync"))
		r.run(r.receipted) // step starts a failed desk again
		mustEqual(t, punjab.Received(), []string{"file scan"})
		if len(punjab.readFile(sindh.Office, f.ID())) != pieces*chunk-5000 {
			t.Error("other bytes came")
		}
	}
}

func (o *Office) inPath(from *Office, f post.PreparedFile) string {
	return filepath.Join(o.folder(), "in", fmt.Sprintf("%s.%s.%x", from.Addr.GetNode(), Service, f.ID()))
}

// What may not be sent is said before anything is stored; what the receiver does not take is told to the sender and leaves nothing
// there, in its store least of all.
func TestFileLimits(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	for field, f := range map[string]post.OutgoingFile{
		"field content: it has": {To: punjab.Addr, Kind: kindFile, Content: bytes.NewReader(make([]byte, 4<<20+1))},
		"field content: it is":  {To: punjab.Addr, Kind: kindFile},
		"field to":              {To: &postv1.Address{Node: "atlantis", Service: Service}, Kind: kindFile, Content: strings.NewReader("x")},
		"field kind":            {To: punjab.Addr, Kind: "X", Content: strings.NewReader("x")},
		"field about":           {To: punjab.Addr, Kind: kindFile, About: strings.Repeat("x", 201), Content: strings.NewReader("x")},
		"broken pipe":           {To: punjab.Addr, Kind: kindFile, Content: io.MultiReader(bytes.NewReader(make([]byte, chunk)), failing{})},
	} {
		if _, err := sindh.Post.PrepareFile(f); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if left := sindh.kept("out"); len(left) > 0 {
		t.Errorf("refused files were stored: %q", left)
	}
	punjab.Stop()
	punjab.maxFile = chunk
	punjab.Open()
	for about, kind := range map[string]string{"large": kindFile, "strange": "test.strange.v1", "unwanted": kindBadFile} {
		n := map[bool]int{true: 3 * chunk, false: chunk / 2}[about == "large"]
		sindh.sendFile(punjab.Office, kind, about, content(n))
	}
	f, err := sindh.Post.PrepareFile(post.OutgoingFile{To: punjab.Addr, Kind: kindFile, Content: strings.NewReader("one too many")})
	if err == nil {
		err = sindh.DB.Update(t.Context(), func(tx *store.Tx) error { return sindh.Post.QueueFile(tx, f) })
	}
	if err == nil || !strings.Contains(err.Error(), "3 files are under way") {
		t.Errorf("a fourth file: %v", err)
	}
	sindh.Post.DiscardFile(f)
	if n := len(sindh.kept("out")); n != 3 {
		t.Errorf("%d files are kept", n)
	}
	r.run(func() bool { return len(sindh.Refused()) >= 3 && r.receipted() })
	told := map[string]string{}
	for _, o := range sindh.outgoing() {
		told[o.GetFirst().GetAbout()] = o.GetRefusal()
	}
	if want := map[string]string{"large": "attachment-too-large", "strange": "unknown-kind", "unwanted": "not-this-file"}; fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("the sender was told %v, want %v", told, want)
	}
	if left := punjab.kept("in"); len(left)+len(punjab.incoming()) > 0 {
		t.Errorf("left of refused files: %q", left)
	}
	err = punjab.DB.View(t.Context(), func(r store.Reader) error {
		letters, _, err := tables.Quarantine(r, nil, 100)
		for _, l := range letters {
			if n := len(l.GetLetter().GetBody()); n > 1000 {
				t.Errorf("quarantine holds %d bytes of a file", n)
			}
		}
		if len(letters) < 5 {
			t.Errorf("%d pieces are in quarantine", len(letters))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken pipe") }

// A file that stays unfinished is given up after a month, and what a crash left without a row is swept at the start.
func TestFilesGivenUpAndSwept(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	sindh.sendFile(punjab.Office, kindFile, "scan", content(5*chunk))
	r.run(func() bool { return len(punjab.incoming()) == 1 })
	for range 31 {
		r.now = r.now.Add(24 * time.Hour)
		for range 3 {
			if _, _, err := punjab.Post.Step(t.Context(), r.now); err != nil && len(punjab.incoming()) > 0 {
				t.Fatal(err)
			}
			r.fake.Wipe(t)
		}
	}
	if left := punjab.kept("in"); len(left)+len(punjab.incoming()) > 0 {
		t.Errorf("after a month: %q", left)
	}
	if _, err := sindh.Post.PrepareFile(post.OutgoingFile{To: punjab.Addr, Kind: kindFile, Content: strings.NewReader("never queued")}); err != nil {
		t.Fatal(err)
	}
	if n := len(sindh.kept("out")); n != 2 {
		t.Fatalf("%d files", n)
	}
	sindh.Stop()
	sindh.Open()
	if n := len(sindh.kept("out")); n != 1 {
		t.Errorf("%d files after the start, want the queued one", n)
	}
}

// The sender keeps a file, sealed, as long as the letters that carry it, and no longer.
func TestFileLetGo(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	later := func(d time.Duration) {
		for range d / (10 * time.Minute) {
			r.now = r.now.Add(10 * time.Minute)
			for range 5 {
				r.step(sindh)
			}
		}
	}
	sindh.sendFile(punjab.Office, kindFile, "scan", content(3*chunk-5000))
	r.run(func() bool { return sindh.Unreceipted() == 1 })
	later(10 * time.Minute) // the time of keeping begins for the first two pieces
	r.run(r.receipted)
	later(post.DefaultKeep - 20*time.Minute)
	if len(sindh.kept("out")) != 1 || sindh.outgoing()[0].GetKeptLetters() != 3 {
		t.Fatal("the file went before its time")
	}
	later(30 * time.Minute)
	if len(sindh.kept("out")) != 1 || sindh.outgoing()[0].GetKeptLetters() != 1 {
		t.Fatal("the file went before its last letter")
	}
	later(post.DefaultKeep + 10*time.Minute)
	if len(sindh.kept("out"))+len(sindh.outgoing()) != 0 {
		t.Errorf("the file is kept for ever: %q", sindh.kept("out"))
	}
}

// Mail of a file that is removed, delivered once more, leaves nothing behind.
func TestFileReplayed(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	f := sindh.sendFile(punjab.Office, kindFile, "scan", content(5*chunk))
	r.run(func() bool { return punjab.count() == 1 && r.receipted() })
	if err := punjab.DB.Update(t.Context(), func(tx *store.Tx) error { return punjab.Post.RemoveAttachment(tx, sindh.Addr, f.ID()) }); err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Clone(r.fake.all) {
		r.fake.Inject(t, s.subject, s.data)
	}
	for range 20 {
		r.step(punjab)
	}
	if punjab.Counted("parcel-in", "repeated") < 3 {
		t.Error("nothing was repeated")
	}
	if left := punjab.kept("in"); len(left)+len(punjab.incoming()) > 0 {
		t.Errorf("left: %q", left)
	}
	mustEqual(t, punjab.Received(), []string{"file scan"})
}

// A receiver restored from a copy made before the file came, its files lost, gets it again.
func TestFileAfterRestore(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	f := sindh.sendFile(punjab.Office, kindFile, "scan", content(3*chunk))
	r.run(func() bool { return punjab.count() == 1 && r.receipted() })
	if err := os.RemoveAll(punjab.folder()); err != nil {
		t.Fatal(err)
	}
	r.restore(punjab)
	r.run(func() bool { return punjab.count() == 1 && r.receipted() })
	if !bytes.Equal(punjab.readFile(sindh.Office, f.ID()), content(3*chunk)) {
		t.Error("other bytes came")
	}
}

// piece queues a piece of a file that was never prepared, as a sender with good keys may write it.
func (o *Office) piece(to *Office, c *postv1.AttachmentChunk) {
	o.tb.Helper()
	c.Kind, c.FileBytes, c.ChunkCount, c.Data = kindFile, 2*chunk, 2, content(chunk)
	sum := sha256.Sum256(c.GetData())
	c.ChunkSha256 = sum[:]
	if c.FileSha256 == nil {
		c.FileSha256 = sum[:]
	}
	letter := post.Outgoing{
		To: to.Addr, Lane: bulk, Kind: "post.attachment.v1", Subject: "attachment/" + hex.EncodeToString(c.GetAttachmentId()), Body: c,
	}
	if err := o.DB.Update(context.Background(), func(tx *store.Tx) error { return o.Post.Queue(tx, letter) }); err != nil {
		o.tb.Fatal(err)
	}
}

// A sender begins files and ends none: after some it may begin no other. A piece that says otherwise than the first is refused, and
// the file with it.
func TestFilesBegunAndNotEnded(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	id := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 16) }
	for n := range 4 {
		sindh.piece(punjab.Office, &postv1.AttachmentChunk{AttachmentId: id(n)})
	}
	r.run(r.receipted)
	if told, want := sindh.Refused(), "attachment/"+hex.EncodeToString(id(3))+" attachment-too-many-unfinished"; !slices.Equal(told, []string{want}) {
		t.Errorf("told: %q", told)
	}
	if n := len(punjab.kept("in")); n != 3 || len(punjab.incoming()) != 3 {
		t.Errorf("%d files of 3 rows are there: %v", n, punjab.incoming())
	}
	sindh.piece(punjab.Office, &postv1.AttachmentChunk{AttachmentId: id(0), Position: 1, About: "other"})
	sindh.piece(punjab.Office, &postv1.AttachmentChunk{AttachmentId: id(1), Position: 1, FileSha256: make([]byte, 32)})
	r.run(r.receipted)
	differs := slices.DeleteFunc(sindh.Refused(), func(s string) bool { return !strings.HasSuffix(s, "attachment-differs-from-its-beginning") })
	if n := len(punjab.kept("in")); n != 1 || len(differs) != 2 {
		t.Errorf("%d files are left; told: %q", n, differs)
	}
}

// A receiver that asks for a file again and again does not fill its sender's outbox.
func TestFileAskedForAgainAndAgain(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	f := sindh.sendFile(punjab.Office, kindFile, "scan", content(2*chunk))
	r.run(r.receipted)
	for range 20 {
		letter := post.Outgoing{To: sindh.Addr, Lane: bulk, Kind: "post.attachment_again.v1", Body: &postv1.AttachmentAgain{AttachmentId: f.ID()}}
		if err := punjab.DB.Update(t.Context(), func(tx *store.Tx) error { return punjab.Post.Queue(tx, letter) }); err != nil {
			t.Fatal(err)
		}
	}
	r.run(r.receipted)
	if n := sindh.outgoing()[0].GetKeptLetters(); n > 4*3 { // three pieces, once and three times again
		t.Errorf("%d letters carry a file of three pieces", n)
	}
	if told := punjab.Refused(); len(told) != 17 || told[0] != " attachment-sent-often-enough" {
		t.Errorf("told: %q", told)
	}
}
