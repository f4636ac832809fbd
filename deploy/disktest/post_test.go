package disktest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	postv1 "amanat.example/proto/amanat/post/v1"

	"amanat.example/deploy/disktest"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/post/posttest"
	"amanat.example/services/kit/soaktest"
	"amanat.example/services/kit/store"
)

var (
	postSchema = store.NewSchema("powerpost", 1)
	postTables = post.Declare(postSchema)
	postFiles  = post.DeclareAttachments(postSchema)
	queued     = store.NewTable[*wrapperspb.StringValue](postSchema, "queued") // by number, in the transaction that queues the letter
	came       = store.NewTable[*wrapperspb.StringValue](postSchema, "came")   // by number
)

const (
	noteKind = "test.note.v1"
	fileKind = "test.file.v1"
)

// office is a service with a disk of its own.
type office struct {
	disk         *disktest.Disk
	path         string
	hub          *posttest.Fake
	id           *identity.Service
	address      *postv1.Address
	clock        func() time.Time
	db           *store.DB
	post         *post.Post
	acked, tried uint64
	t            *testing.T
}

func (o *office) open() error {
	db, err := store.Open(context.Background(), store.Options{Path: o.path, Schema: postSchema, Clock: o.clock})
	if err != nil {
		return err
	}
	p, err := post.New(post.Config{
		Node: o.address.GetNode(), Service: posttest.Service, DB: db, Tables: postTables, Keys: o.id.Keys(),
		Transport: o.hub.Transport(o.t, o.address.GetNode(), posttest.Service), Log: logging.Discard(), Clock: o.clock,
		Handlers: map[string]post.Handler{noteKind: func(tx *store.Tx, _ *postv1.Address, l *postv1.Letter) error {
			var text wrapperspb.StringValue
			if err := proto.Unmarshal(l.GetBody(), &text); err != nil {
				return err
			}
			return appendText(tx, came, text.GetValue())
		}},
		Attachments: &post.Attachments{
			Tables: postFiles, Dir: filepath.Join(o.disk.Folder(), "attachments"), MaxOpen: 1000,
			Handlers: map[string]post.AttachmentHandler{fileKind: func(tx *store.Tx, _ *postv1.Address, f post.Attachment) error {
				return appendText(tx, came, f.About)
			}},
		},
		Resend: backoff.Range{Min: 40 * time.Millisecond, Max: 300 * time.Millisecond},
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	o.db, o.post = db, p
	return nil
}

func (o *office) close() {
	if o.db != nil {
		if err := o.db.Close(); err != nil && !o.disk.Counts().PowerLost {
			o.t.Error(err)
		}
		o.db = nil
	}
}

func appendText(tx *store.Tx, table *store.Table[*wrapperspb.StringValue], text string) error {
	n, err := table.Count(tx)
	if err != nil {
		return err
	}
	return table.Insert(tx, store.K(n+1), wrapperspb.String(text))
}

func (o *office) texts(table *store.Table[*wrapperspb.StringValue]) (all []string) {
	o.t.Helper()
	err := o.db.View(context.Background(), func(r store.Reader) error {
		return table.Scan(r, store.Range{}, func(_ store.Key, m *wrapperspb.StringValue) error {
			all = append(all, m.GetValue())
			return nil
		})
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return all
}

// fileContent is that of the file with this name: two pieces or three.
func fileContent(name string) []byte { return bytes.Repeat([]byte(name+" "), 300<<10/(len(name)+1)) }

// queue queues the next letter, or file, together with the row that says so.
func (o *office) queue(to *office, lane postv1.Lane, file bool) error {
	o.tried = o.acked + 1
	text := map[postv1.Lane]string{postv1.Lane_LANE_URGENT: "u", postv1.Lane_LANE_BULK: "b"}[lane] + fmt.Sprintf("%06d", o.tried)
	var prepared post.PreparedFile
	if file {
		var err error
		text += " file"
		prepared, err = o.post.PrepareFile(post.OutgoingFile{To: to.address, Kind: fileKind, About: text, Content: bytes.NewReader(fileContent(text))})
		if err != nil {
			return err
		}
	}
	err := o.db.Update(context.Background(), func(tx *store.Tx) error {
		if err := appendText(tx, queued, text); err != nil {
			return err
		}
		if file {
			return o.post.QueueFile(tx, prepared)
		}
		return o.post.Queue(tx, post.Outgoing{To: to.address, Lane: lane, Kind: noteKind, Body: wrapperspb.String(text)})
	})
	if err == nil {
		o.acked = o.tried
	}
	return err
}

// country is two offices, a hub that loses and doubles, and a clock.
type country struct {
	t       *testing.T
	random  *rand.Rand
	now     time.Time
	hub     *posttest.Fake
	offices [2]*office
	cuts    int
}

var foul = posttest.Faults{Lose: 0.1, Double: 0.15, Delay: 0.15, Refuse: 0.05}

func newCountry(t *testing.T, root string, disks [2]*disktest.Disk, seed uint64) *country {
	t.Helper()
	c := &country{
		t: t, random: rand.New(rand.NewPCG(seed, 3)), now: time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC),
		hub: posttest.NewFake(seed, foul),
	}
	for i, node := range []string{"sindh", "punjab"} {
		id, err := identity.Load(root, node, posttest.Service)
		if err != nil {
			t.Fatal(err)
		}
		d := disks[i]
		d.Erase()
		o := &office{
			t: t, disk: d, path: filepath.Join(d.Folder(), "office.db"), hub: c.hub, id: id,
			address: &postv1.Address{Node: node, Service: posttest.Service}, clock: func() time.Time { return c.now },
		}
		if err := o.open(); err != nil {
			t.Fatal(err)
		}
		c.offices[i] = o
	}
	return c
}

// act does one thing of an office: it writes a letter or a file, or takes a step.
func (c *country) act(o, other *office) (busy bool, err error) {
	switch n := c.random.IntN(40); {
	case n < 8:
		lane := []postv1.Lane{postv1.Lane_LANE_URGENT, postv1.Lane_LANE_BULK}[n%2]
		return true, o.queue(other, lane, false)
	case n == 8:
		return true, o.queue(other, postv1.Lane_LANE_BULK, true)
	}
	busy, _, err = o.post.Step(context.Background(), c.now)
	return busy, err
}

// round lets both work until the power of one of them, or of both, is gone; then it comes back.
func (c *country) round() {
	c.t.Helper()
	victims := [][]int{{0}, {1}, {0, 1}}[c.random.IntN(3)]
	for _, i := range victims {
		c.offices[i].disk.Plan(disktest.Plan{CutAt: 1 + c.random.IntN(60), CutAfter: c.random.IntN(2) == 0})
	}
	c.run(60)
	for _, i := range victims {
		c.restore(c.offices[i])
	}
	if c.random.IntN(8) == 0 {
		c.hub.Wipe(c.t)
	}
}

// run lets both work for so many turns, or until the power of one is gone.
func (c *country) run(turns int) {
	c.t.Helper()
	for range turns {
		i := c.random.IntN(2)
		o := c.offices[i]
		busy, err := c.act(o, c.offices[1-i])
		if o.disk.Counts().PowerLost {
			return
		}
		if err != nil {
			c.t.Fatalf("%s, with power: %v", o.address.GetNode(), err)
		}
		if !busy {
			c.now = c.now.Add(time.Duration(c.random.IntN(200)) * time.Millisecond)
		}
	}
}

// restore brings an office's power back; now and then it goes again while the office opens.
func (c *country) restore(o *office) {
	c.t.Helper()
	for again := true; again; {
		o.disk.Cut()
		o.close()
		o.disk.Restore(c.random.Uint64())
		c.cuts++
		report, err := store.CheckFile(context.Background(), o.path, postSchema)
		if err := errors.Join(err, report.Err()); err != nil {
			c.t.Fatalf("%s, after cut %d: check: %v", o.address.GetNode(), c.cuts, err)
		}
		if again = c.random.IntN(4) == 0; again {
			o.disk.Plan(disktest.Plan{CutAt: 1 + c.random.IntN(8)})
		}
		err = o.open()
		if again = again && o.disk.Counts().PowerLost; err != nil && !again {
			c.t.Fatalf("%s, after cut %d: %v", o.address.GetNode(), c.cuts, err)
		}
	}
	o.disk.Plan(disktest.Plan{})
	n := uint64(len(o.texts(queued)))
	if n < o.acked || n > o.tried {
		c.t.Fatalf("%s, after cut %d: of %d acknowledged letters and %d tried, %d are there", o.address.GetNode(), c.cuts, o.acked, o.tried, n)
	}
	o.acked, o.tried = n, n
}

// settle lets everything arrive in fair weather.
func (c *country) settle() {
	c.t.Helper()
	c.hub.SetFaults(posttest.Faults{})
	for range 20000 {
		busy := false
		for _, o := range c.offices {
			did, _, err := o.post.Step(context.Background(), c.now)
			if err != nil {
				c.t.Fatal(err)
			}
			busy = busy || did
		}
		if busy {
			continue
		}
		if c.now = c.now.Add(time.Second); c.unreceipted() == 0 {
			return
		}
	}
	c.t.Fatalf("%d letters were never receipted", c.unreceipted())
}

func (c *country) unreceipted() (n uint64) {
	c.t.Helper()
	for _, o := range c.offices {
		links, err := o.post.Status(context.Background())
		if err != nil {
			c.t.Fatal(err)
		}
		for _, l := range links {
			n += l.Gap
		}
	}
	return n
}

// check holds what came against what was queued: each once, in order within its lane, each file with its content.
func (c *country) check() (letters, files int) {
	c.t.Helper()
	for i, o := range c.offices {
		sent, got := c.offices[1-i].texts(queued), o.texts(came)
		for _, lane := range []string{"u", "b"} {
			in := func(s string) bool { return !strings.HasPrefix(s, lane) }
			if want, have := slices.DeleteFunc(slices.Clone(sent), in), slices.DeleteFunc(slices.Clone(got), in); !slices.Equal(want, have) {
				c.t.Fatalf("%s: on lane %s came %q, want %q", o.address.GetNode(), lane, have, want)
			}
		}
		letters += len(got)
		files += c.checkFiles(o, c.offices[1-i])
	}
	return letters, files
}

func (c *country) checkFiles(o, from *office) (n int) {
	c.t.Helper()
	err := o.db.View(context.Background(), func(r store.Reader) error {
		all, err := postFiles.Incoming(r)
		if err != nil {
			return err
		}
		for _, f := range all {
			in, err := o.post.OpenAttachment(context.Background(), from.address, f.GetFirst().GetAttachmentId())
			if err != nil {
				return err
			}
			content, err := io.ReadAll(in)
			if err := errors.Join(err, in.Close()); err != nil {
				return err
			}
			if !bytes.Equal(content, fileContent(f.GetFirst().GetAbout())) {
				return fmt.Errorf("%s came with another content", f.GetFirst().GetAbout())
			}
			n++
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// The power of one of two offices is cut at every sync of a day's work, just before it or just after.
func TestPowerIsCutAtEverySyncOfThePost(t *testing.T) {
	const turns, seed = 50, 1
	root, disks := posttest.Network(t), [2]*disktest.Disk{disktest.New(t), disktest.New(t)}
	begin := func() *country {
		c := newCountry(t, root, disks, seed)
		for _, d := range disks {
			d.Plan(disktest.Plan{})
		}
		return c
	}
	end := func(c *country) (letters int) {
		c.settle()
		letters, _ = c.check()
		for _, o := range c.offices {
			o.close()
		}
		return letters
	}
	c := begin()
	c.run(turns)
	syncs := [2]int{len(disks[0].Counts().Syncs), len(disks[1].Counts().Syncs)}
	end(c)
	cuts, letters := 0, 0
	for i, d := range disks {
		for n := 0; n < syncs[i]; n += soaktest.Alone(1, 3) {
			c := begin()
			d.Plan(disktest.Plan{CutAtSync: n + 1, CutAfter: n%2 == 0})
			c.run(20 * turns) // until then: no two days are quite alike
			if !d.Counts().PowerLost {
				t.Errorf("%s did not come to sync %d", c.offices[i].address.GetNode(), n+1)
			}
			c.restore(c.offices[i])
			cuts += c.cuts
			letters += end(c)
		}
	}
	if letters == 0 {
		t.Error("no letter came: the test tries nothing")
	}
	t.Logf("%d cuts, at %d and %d syncs; %d letters came", cuts, syncs[0], syncs[1], letters)
}

// Two offices write to each other while the power of one or both is cut: no letter and no file is lost, doubled or out of
// order, and none came of a transaction that is not there.
func TestPowerIsCutUnderThePost(t *testing.T) {
	root, disks := posttest.Network(t), [2]*disktest.Disk{disktest.New(t), disktest.New(t)}
	cuts, letters, files := 0, 0, 0
	var c *country
	arrive := func() {
		c.settle()
		l, f := c.check()
		cuts, letters, files = cuts+c.cuts, letters+l, files+f
		for _, o := range c.offices {
			o.close()
		}
	}
	for n := range soaktest.Rounds(t, 50, 2000) {
		if n%100 == 0 { // what was sent is kept for weeks: begin anew before the disks are full of it
			if c != nil {
				arrive()
			}
			c = newCountry(t, root, disks, uint64(n))
		}
		c.round()
	}
	arrive()
	if letters == 0 || !testing.Short() && files == 0 {
		t.Errorf("%d letters and %d files came: the test tries nothing", letters, files)
	}
	t.Logf("%d cuts; %d letters came, among them %d files", cuts, letters, files)
}
