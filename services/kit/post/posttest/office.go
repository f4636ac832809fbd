package posttest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// Kinds of letters the offices know.
const (
	kindNote   = "test.note.v1"
	kindPoison = "test.poison.v1" // refused, for longReason
	kindFlaky  = "test.flaky.v1"  // fails while the office is told to
	kindPanic  = "test.panic.v1"
	kindLater  = "test.later.v1" // known by an office that was upgraded

	kindFile    = "test.file.v1"     // a file, noted among the letters
	kindBadFile = "test.bad_file.v1" // a file that its handler refuses
)

var (
	schema   = store.NewSchema("posttest", 1)
	tables   = post.Declare(schema)
	files    = post.DeclareAttachments(schema)
	received = store.NewTable[*wrapperspb.StringValue](schema, "received") // by number, from 1
	refused  = store.NewTable[*wrapperspb.StringValue](schema, "refused")  // by letter id
)

// Service is the service every office of the suite runs.
const Service = "referral"

// Network makes the identities of two provinces and the federal node, which has the hub.
func Network(tb testing.TB) (root string) {
	tb.Helper()
	root = tb.TempDir()
	err := identity.InitNetwork(
		identity.Options{Root: root, Node: "federal", DisplayName: "Federal cell", Services: []string{"federal"}, Hub: true},
		identity.Options{Root: root, Node: "sindh", DisplayName: "Sindh", Province: "PK-SD", Services: []string{Service}},
		identity.Options{Root: root, Node: "punjab", DisplayName: "Punjab", Province: "PK-PB", Services: []string{Service}},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// ReplaceKeys makes a node anew and enters its new keys in the roster of another node, signed by that one and the federal
// node.
func ReplaceKeys(tb testing.TB, root, node, province, at string) {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	must(os.Rename(filepath.Join(root, node), filepath.Join(root, "old-"+node)))
	request, err := identity.InitNode(identity.Options{Root: root, Node: node, Province: province, Services: []string{Service}})
	must(err)
	roster, err := identity.LoadRoster(root, at)
	must(err)
	next, err := identity.NextRoster(roster.Log(), time.Now(), []*identityv1.NodeRequest{request}, nil)
	must(err)
	for _, signer := range []string{"federal", at} {
		must(identity.SignRoster(root, signer, next))
	}
	log := &identityv1.RosterLog{Versions: append(slices.Clone(roster.Log().GetVersions()), next)}
	must(identity.InstallRoster(root, at, log))
}

// Office is one service with its store and its post.
type Office struct {
	tb    testing.TB
	hub   Hub
	root  string
	id    *identity.Service
	Addr  *postv1.Address
	path  string
	desk  *store.Memory    // set: no file and no goroutine, for Step
	clock func() time.Time // nil: time.Now
	// resend is the pace of repetitions; zero: a few milliseconds
	resend backoff.Range
	// maxFile bounds what the office sends and takes; zero: 4 MiB
	maxFile int64
	DB      *store.DB
	Post    *post.Post
	close   func()

	// upgraded offices know a kind more, once they are opened.
	upgraded bool

	mu      sync.Mutex
	failing bool
	rolled  []uint64 // incarnations that peers said this store must rise above
	note    chan struct{}
}

// NewOffice loads an identity of the network and opens an empty store.
func NewOffice(tb testing.TB, hub Hub, root, node string) *Office {
	tb.Helper()
	id, err := identity.Load(root, node, Service)
	if err != nil {
		tb.Fatal(err)
	}
	o := &Office{
		tb: tb, hub: hub, root: root, id: id, Addr: &postv1.Address{Node: node, Service: Service},
		path: filepath.Join(tb.TempDir(), node+".db"), note: make(chan struct{}, 1),
	}
	tb.Cleanup(o.Stop)
	return o
}

// Open opens store and post without starting anything.
func (o *Office) Open() {
	o.tb.Helper()
	options := store.Options{Path: o.path, Schema: schema, Clock: o.clock}
	if o.desk != nil {
		options.Engine, options.Inline = o.desk, true
	}
	db, err := store.Open(context.Background(), options)
	if err != nil {
		o.tb.Fatal(err)
	}
	o.openOn(db)
}

func (o *Office) openOn(db *store.DB) {
	o.tb.Helper()
	o.DB = db
	transport := o.hub.Transport(o.tb, o.Addr.GetNode(), Service)
	var err error
	o.Post, err = post.New(o.config(db, transport))
	if err != nil {
		o.tb.Fatal(err)
	}
	o.close = func() {
		if c, ok := transport.(interface{ Close() }); ok {
			c.Close()
		}
		if err := db.Close(); err != nil {
			o.tb.Error(err)
		}
	}
}

func (o *Office) config(db *store.DB, transport post.Transport) post.Config {
	c := post.Config{
		Node: o.Addr.GetNode(), Service: Service, DB: db, Tables: tables, Keys: o.id.Keys(), Transport: transport,
		Log: logging.Discard(),
		Handlers: map[string]post.Handler{
			kindNote:   o.apply,
			kindPoison: func(*store.Tx, *postv1.Address, *postv1.Letter) error { return post.Refuse(longReason) },
			kindPanic:  func(*store.Tx, *postv1.Address, *postv1.Letter) error { panic("a bug") },
			kindFlaky: func(tx *store.Tx, from *postv1.Address, l *postv1.Letter) error {
				o.mu.Lock()
				defer o.mu.Unlock()
				if o.failing {
					return errors.Join(o.apply(tx, from, l), errors.New("not now"))
				}
				return o.apply(tx, from, l)
			},
		},
		Attachments: &post.Attachments{
			Tables: files, Dir: o.folder(), MaxBytes: cmp.Or(o.maxFile, 4<<20), MaxOpen: 3,
			Handlers: map[string]post.AttachmentHandler{
				kindFile: func(tx *store.Tx, _ *postv1.Address, file post.Attachment) error {
					return o.write(tx, wrapperspb.String("file "+file.About))
				},
				kindBadFile: func(*store.Tx, *postv1.Address, post.Attachment) error { return post.Refuse("not-this-file") },
			},
		},
		OnRefused: func(tx *store.Tx, _ *postv1.Address, l *postv1.Letter, r *postv1.SignedRefusal) error {
			var refusal postv1.Refusal
			if err := proto.Unmarshal(r.GetRefusal(), &refusal); err != nil {
				return err
			}
			tx.AfterCommit(o.changed)
			return refused.Put(tx, store.K(l.GetLetterId()), wrapperspb.String(l.GetSubject()+" "+refusal.GetReason()))
		},
		OnRolledBack: func(above uint64) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.rolled = append(o.rolled, above)
		},
		Resend: cmp.Or(o.resend, backoff.Range{Min: 40 * time.Millisecond, Max: 300 * time.Millisecond}),
		Clock:  o.clock,
	}
	if o.upgraded {
		c.Handlers[kindLater] = o.apply
	}
	return c
}

// folder is where the office's attachments lie.
func (o *Office) folder() string { return filepath.Join(filepath.Dir(o.path), "attachments") }

// apply writes a note behind those received before.
func (o *Office) apply(tx *store.Tx, _ *postv1.Address, l *postv1.Letter) error {
	var body wrapperspb.StringValue
	if err := proto.Unmarshal(l.GetBody(), &body); err != nil {
		return post.Refuse("no-text")
	}
	return o.write(tx, &body)
}

func (o *Office) write(tx *store.Tx, body *wrapperspb.StringValue) error {
	n, err := received.Count(tx)
	if err != nil {
		return err
	}
	tx.AfterCommit(o.changed)
	return received.Insert(tx, store.K(n+1), body)
}

func (o *Office) changed() {
	select {
	case o.note <- struct{}{}:
	default:
	}
}

// Fail makes the handler of flaky letters fail, after it has written.
func (o *Office) Fail(failing bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failing = failing
}

// Start opens the office and runs its post.
func (o *Office) Start() {
	o.tb.Helper()
	o.Open()
	o.Run()
}

// Run runs the post of an open office.
func (o *Office) Run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	p, free := o.Post, o.close
	go func() { ended <- p.Run(ctx) }()
	o.close = func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			o.tb.Errorf("the post of %s ended: %v", o.Addr.GetNode(), err)
		}
		free()
	}
}

// Stop ends everything at whatever point it is.
func (o *Office) Stop() {
	if o.close != nil {
		o.close()
		o.close = nil
	}
}

// Queue queues one letter, in a transaction of its own.
func (o *Office) Queue(to *Office, lane postv1.Lane, kind, subject, text string) {
	o.tb.Helper()
	err := o.DB.Update(context.Background(), func(tx *store.Tx) error {
		return o.Post.Queue(tx, post.Outgoing{To: to.Addr, Lane: lane, Kind: kind, Subject: subject, Body: wrapperspb.String(text)})
	})
	if err != nil {
		o.tb.Fatal(err)
	}
}

// QueueAll queues notes in one transaction.
func (o *Office) QueueAll(to *Office, lane postv1.Lane, texts []string) {
	o.tb.Helper()
	err := o.DB.Update(context.Background(), func(tx *store.Tx) error {
		for _, text := range texts {
			err := o.Post.Queue(tx, post.Outgoing{To: to.Addr, Lane: lane, Kind: kindNote, Body: wrapperspb.String(text)})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		o.tb.Fatal(err)
	}
}

// sendFile queues a file, in a transaction of its own.
func (o *Office) sendFile(to *Office, kind, about string, content []byte) post.PreparedFile {
	o.tb.Helper()
	f, err := o.Post.PrepareFile(post.OutgoingFile{To: to.Addr, Kind: kind, About: about, Content: bytes.NewReader(content)})
	if err == nil {
		err = o.DB.Update(context.Background(), func(tx *store.Tx) error { return o.Post.QueueFile(tx, f) })
	}
	if err != nil {
		o.tb.Fatal(err)
	}
	return f
}

// readFile is the content of a file that came.
func (o *Office) readFile(from *Office, id []byte) []byte {
	o.tb.Helper()
	in, err := o.Post.OpenAttachment(context.Background(), from.Addr, id)
	if err != nil {
		o.tb.Fatal(err)
	}
	got, err := io.ReadAll(in)
	if err := errors.Join(err, in.Close()); err != nil {
		o.tb.Fatal(err)
	}
	return got
}

// Received lists what was applied, in order.
func (o *Office) Received() []string { return o.list(received) }

// Refused lists the subjects and reasons of own letters that were refused.
func (o *Office) Refused() []string { return o.list(refused) }

func (o *Office) list(table *store.Table[*wrapperspb.StringValue]) (all []string) {
	o.tb.Helper()
	err := o.DB.View(context.Background(), func(r store.Reader) error {
		return table.Scan(r, store.Range{}, func(_ store.Key, m *wrapperspb.StringValue) error {
			all = append(all, m.GetValue())
			return nil
		})
	})
	if err != nil {
		o.tb.Fatal(err)
	}
	return all
}

// Unreceipted is how many own letters no receipt covers yet.
func (o *Office) Unreceipted() (n uint64) {
	o.tb.Helper()
	links, err := o.Post.Status(context.Background())
	if err != nil {
		o.tb.Fatal(err)
	}
	for _, l := range links {
		n += l.Gap
	}
	return n
}

// Counted is how often mail met this fate, such as ("parcel-in", "bad-signature").
func (o *Office) Counted(what, verdict string) float64 {
	o.tb.Helper()
	return o.metric("amanat_post_mail_total", verdict, what)
}

// metric is what a counter or gauge says; the labels' values in the order of their names. 0 where there is none.
func (o *Office) metric(name string, labels ...string) float64 {
	o.tb.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(o.Post)
	families, err := registry.Gather()
	if err != nil {
		o.tb.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if family.GetName() == name && slices.Equal(values, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// Wait returns once the condition holds, which it must before long.
func Wait(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(time.Minute) // a machine that does much else is slow
	defer limit.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-limit.C:
			tb.Fatalf("never came true: %s", what)
		}
	}
}

// count is the number of rows received, cheaper than Received.
func (o *Office) count() (n uint64) {
	err := o.DB.View(context.Background(), func(r store.Reader) (err error) {
		n, err = received.Count(r)
		return err
	})
	if err != nil {
		o.tb.Fatal(err)
	}
	return n
}

// backup copies the store as a nightly backup would.
func (o *Office) backup() []byte {
	o.tb.Helper()
	var copied bytes.Buffer
	if err := o.DB.Backup(context.Background(), &copied); err != nil {
		o.tb.Fatal(err)
	}
	return copied.Bytes()
}

// restore puts an older copy in the place of the stopped office's store.
func (o *Office) restore(copied []byte) {
	o.tb.Helper()
	err := store.Restore(context.Background(), strings.NewReader(string(copied)), store.Options{Path: o.path, Schema: schema}, true)
	if err != nil {
		o.tb.Fatal(err)
	}
}

// longReason is longer than a reason may be, and the 200 bytes that may be told end within a letter.
var longReason = "poison " + strings.Repeat("ں", 100)
