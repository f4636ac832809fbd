package server_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/server"
	"amanat.example/services/referral/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is punjab's referral service behind its real server, and balochistan's use cases for what
// needs two nodes. Letters go by hand; the shelter service does what it is asked, unless told to
// refuse.
type world struct {
	place   rpctest.Place
	address string
	punjab  *node
	nodes   map[string]*node
	noAudit atomic.Bool // audit rows cannot be written

	mu      sync.Mutex
	letters []letter
	refuse  *fault.Error // the shelter's answer to all
}

type node struct {
	*app.App
	w *world

	mu       sync.Mutex
	commands []outbox.Command
}

type letter struct {
	from string
	post.Outgoing
}

func (n *node) Queue(tx *kitstore.Tx, o post.Outgoing) error {
	o.Body = proto.Clone(o.Body)
	tx.AfterCommit(func() {
		n.w.mu.Lock()
		defer n.w.mu.Unlock()
		n.w.letters = append(n.w.letters, letter{n.Node, o})
	})
	return nil
}

// Incarnations implements app.Post: nobody was heard yet.
func (n *node) Incarnations(kitstore.Reader, string) (map[string]uint64, error) {
	return map[string]uint64{}, nil
}

// Park implements app.Post: nothing waits here for a recovery.
func (n *node) Park(*kitstore.Tx, *postv1.Address, uint64, *postv1.Letter, string) error {
	return errors.New("a letter is parked")
}

// SealBody implements app.Post.
func (n *node) SealBody(*postv1.Address, *postv1.Letter) ([]byte, error) {
	return nil, errors.New("a letter waits")
}

// OpenBody implements app.Post.
func (n *node) OpenBody(*postv1.Address, *postv1.Letter) ([]byte, error) {
	return nil, errors.New("a letter waited")
}

// Parked implements app.Post.
func (n *node) Parked(kitstore.Reader, *postv1.Address, string) (bool, error) { return false, nil }

// queue is the node's outbox: what is queued is called when somebody waits for it, or at settle.
type queue struct{ n *node }

func (o queue) Queue(tx *kitstore.Tx, c outbox.Command) error {
	if err := outbox.CheckID(c.ID); err != nil {
		return err
	}
	tx.AfterCommit(func() {
		o.n.mu.Lock()
		defer o.n.mu.Unlock()
		o.n.commands = append(o.n.commands, c)
	})
	return nil
}

func (o queue) Wait(context.Context, string) error {
	_, err := o.n.work()
	return err
}

// work lets the shelter answer what is queued.
func (n *node) work() (worked bool, err error) {
	for {
		n.mu.Lock()
		if len(n.commands) == 0 {
			n.mu.Unlock()
			return worked, nil
		}
		c := n.commands[0]
		n.commands = n.commands[1:]
		n.mu.Unlock()
		worked = true
		reply, refusal := n.w.shelter(c.Request)
		if err := n.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
			return n.Results()[c.Method](tx, outbox.Result{Command: c, Reply: reply, Fault: refusal})
		}); err != nil {
			return worked, err
		}
	}
}

var fence = &custodyv1.Fence{Incarnation: 7, Number: 1}

func (w *world) shelter(request proto.Message) (proto.Message, *fault.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return nil, w.refuse
	}
	switch r := request.(type) {
	case *shelterv1.PlaceHoldRequest:
		return &shelterv1.Hold{
			Name: "nodes/punjab/holds/" + uuid.NewString(), Group: r.GetGroup(), State: shelterv1.Hold_STATE_HELD, ExpireTime: r.GetExpireTime(), Fence: fence,
		}, nil
	case *shelterv1.ConfirmHoldRequest:
		return &shelterv1.Hold{Name: r.GetName(), State: shelterv1.Hold_STATE_CONFIRMED, Fence: fence}, nil
	}
	return &shelterv1.Stay{}, nil
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{place: rpctest.Place{Root: t.TempDir(), Node: "punjab", Service: "referral"}, nodes: map[string]*node{}}
	services := []string{"referral", "protection", "shelter", "gateway", "federal"}
	must(t, identity.InitNetwork(
		identity.Options{Root: w.place.Root, Node: "punjab", Province: "PK-PB", Services: services},
		identity.Options{Root: w.place.Root, Node: "balochistan", Province: "PK-BA", Services: services},
	))
	for _, name := range []string{"punjab", "balochistan"} {
		w.nodes[name] = w.open(t, name)
	}
	w.punjab = w.nodes["punjab"]
	audit := store.Audit.Reading(w.punjab.DB, time.Now)
	w.address = w.place.Serve(t, server.Policy(), func(ctx context.Context, r rpc.Reading) error {
		if w.noAudit.Load() {
			return errors.New("the disk is full")
		}
		return audit(ctx, r)
	}, func(r grpc.ServiceRegistrar) { referralv1.RegisterReferralServiceServer(r, server.New(w.punjab.App)) })
	return w
}

func (w *world) open(t testing.TB, name string) *node {
	t.Helper()
	self, err := identity.Load(w.place.Root, name, "referral")
	must(t, err)
	db, err := kitstore.Open(context.Background(), kitstore.Options{Path: filepath.Join(t.TempDir(), "referral.db"), Schema: store.Schema})
	must(t, err)
	keys, err := privacy.OpenKeyring(context.Background(), privacy.Options{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() {
		report, err := db.Check(context.Background())
		if err := errors.Join(err, report.Err(), db.Close(), keys.Close()); err != nil {
			t.Errorf("the store of %s: %v", name, err)
		}
	})
	n := &node{w: w}
	n.App = &app.App{
		DB: db, Node: name, Now: time.Now, Random: rand.Reader, Signer: self, Roster: self.Roster(), Opener: self, Federal: "federal",
		NewID:  func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
		Limits: rules.DefaultLimits(), Annexes: app.Annexes{Keys: keys}, Events: store.Events, Feed: app.NewFeed(db), Post: n, Commands: queue{n},
		Tokens: paging.New([]byte("secret")), Log: logging.Discard(), Wake: func() {}, WakeRecovery: func() {}, Listened: func() bool { return true },
	}
	must(t, n.BeginRecovery(context.Background()))
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settle carries letters and answers commands until there is nothing left to do.
func (w *world) settle(t testing.TB) {
	t.Helper()
	for worked := true; worked; {
		w.mu.Lock()
		letters := w.letters
		w.letters, worked = nil, len(w.letters) > 0
		w.mu.Unlock()
		for _, l := range letters {
			w.deliver(t, l)
		}
		for _, n := range w.nodes {
			more, err := n.work()
			must(t, err)
			worked = worked || more
		}
	}
}

// queued counts letters and commands that wait.
func (w *world) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := len(w.letters)
	for _, n := range w.nodes {
		n.mu.Lock()
		count += len(n.commands)
		n.mu.Unlock()
	}
	return count
}

func (w *world) deliver(t testing.TB, l letter) {
	t.Helper()
	n := w.nodes[l.To.GetNode()]
	if n == nil { // the federal node
		return
	}
	body, err := proto.Marshal(l.Body)
	must(t, err)
	must(t, n.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		from := &postv1.Address{Node: l.from, Service: "referral"}
		return n.Handlers()[l.Kind](tx, from, &postv1.Letter{Kind: l.Kind, Subject: l.Subject, Body: body})
	}))
}

const (
	lahore = "nodes/punjab/units/lahore"
	multan = "nodes/punjab/units/multan"
	hub    = "nodes/balochistan/units/hub"
	group  = "nodes/punjab/shelters/lahore-girls/groups/girls"
	phone  = "+923009876543"
)

var actor = &custodyv1.Actor{Person: "nodes/punjab/workers/w", Unit: lahore, Service: "referral"}

func ahead(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(d)) }

// submission is a valid request to refer from one unit to another, which may be of another node.
func (w *world) submission(parent, unit, to string) *referralv1.SubmitReferralRequest {
	return &referralv1.SubmitReferralRequest{
		Parent: parent, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Urgency: custodyv1.Urgency_URGENCY_HIGH, Reasons: []string{"NO_LOCAL_BED"},
		Needs: &custodyv1.Needs{
			Gender: "Feminine", AgeFrom: 9, AgeTo: 10, Languages: []string{"bal"}, Services: []string{"SHELTER"}, ExcludedDistricts: []string{"PK-BA-HUB"},
		},
		Ground: &referralv1.SubmitReferralRequest_Consent{Consent: &custodyv1.ConsentReceipt{
			Commitment: make([]byte, 32), Basis: "ORAL_ASSENT_AND_CAREGIVER", Purposes: []string{"PLACEMENT"},
			RecordTime: ahead(-time.Hour), ExpireTime: ahead(time.Hour),
		}},
		Unit: unit, ToUnit: to, AnswerBy: ahead(time.Hour), Note: "A note.", RequestId: "request-" + uuid.NewString(),
		Actor: &custodyv1.Actor{Person: "nodes/punjab/workers/w", Unit: unit, Service: "protection"},
	}
}

func local(w *world) *referralv1.SubmitReferralRequest {
	return w.submission("nodes/punjab", multan, lahore)
}

// states of a walk: those of a referral, and those of its offer between them.
type step int

const (
	asked step = iota // the offer is received
	accepted
	ready
	onTheRoad
	arrived
	inService
	completed
)

// walk takes a new referral within punjab up to a step.
func (w *world) walk(t testing.TB, to step) *referralv1.Referral {
	t.Helper()
	return w.walkFrom(t, w.punjab, w.punjab, local(w), to)
}

func (w *world) walkFrom(t testing.TB, origin, dest *node, request *referralv1.SubmitReferralRequest, to step) *referralv1.Referral {
	t.Helper()
	ctx := context.Background()
	v, err := origin.SubmitReferral(ctx, request)
	must(t, err)
	w.settle(t)
	name, offer := v.GetName(), v.GetOffers()[0].GetName()
	steps := []func() error{
		func() error { _, err := dest.AcceptOffer(ctx, acceptance(offer, dest.Node), actor); return err },
		func() error {
			_, err := origin.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: offer}, actor)
			return err
		},
		func() error { _, err := origin.DispatchReferral(ctx, dispatch(name), actor); return err },
		func() error { _, err := dest.RecordArrival(ctx, arrival(name), actor); return err },
		func() error { _, err := dest.StartService(ctx, start(name), actor); return err },
		func() error { _, err := dest.CompleteReferral(ctx, completion(name)); return err },
	}
	for _, do := range steps[:to] {
		must(t, do())
		w.settle(t)
	}
	v, err = origin.GetReferral(ctx, name)
	must(t, err)
	return v
}

func acceptance(offer, node string) *referralv1.AcceptOfferRequest {
	return &referralv1.AcceptOfferRequest{
		Name: offer, Group: "nodes/" + node + "/shelters/girls/groups/girls", Note: "A note.", HoldExpireTime: ahead(time.Hour),
		Worker: &identityv1.WorkerContact{Worker: "nodes/punjab/workers/w", DisplayName: "Shazia", Phone: phone},
	}
}

func dispatch(name string) *referralv1.DispatchReferralRequest {
	return &referralv1.DispatchReferralRequest{
		Name: name, Documents: []string{"COURT_ORDER"}, ExpectTime: ahead(24 * time.Hour), Note: "A note.",
		Escort: &custodyv1.Escort{DisplayName: "Bakhtawar", Phone: phone, MeetingPlace: "A gate", MeetingTime: ahead(time.Hour), CourtOrder: "7/2026"},
	}
}

func arrival(name string) *referralv1.RecordArrivalRequest {
	return &referralv1.RecordArrivalRequest{Name: name, Identification: []string{"REFERRAL_SLIP"}, Note: "A note.", ArriveTime: ahead(-time.Minute)}
}

func start(name string) *referralv1.StartServiceRequest {
	return &referralv1.StartServiceRequest{Name: name, Services: []string{"SHELTER"}}
}

func completion(name string) *referralv1.CompleteReferralRequest {
	return &referralv1.CompleteReferralRequest{
		Name: name, Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: "Well.",
		Actor: &custodyv1.Actor{Person: "nodes/punjab/workers/w", Unit: lahore, Service: "protection"},
	}
}

// declined is a referral of punjab's whose only offer was declined.
func (w *world) declined(t testing.TB) *referralv1.Referral {
	t.Helper()
	v := w.walk(t, asked)
	_, err := w.punjab.DeclineOffer(context.Background(), &referralv1.DeclineOfferRequest{Name: v.GetOffers()[0].GetName(), Reason: "TOO_FAR"}, actor)
	must(t, err)
	w.settle(t)
	v, err = w.punjab.GetReferral(context.Background(), v.GetName())
	must(t, err)
	return v
}

// offer is the first offer of a referral as punjab knows it.
func (w *world) offer(t testing.TB, v *referralv1.Referral) *referralv1.Offer {
	t.Helper()
	o, err := w.punjab.GetOffer(context.Background(), v.GetOffers()[0].GetName())
	must(t, err)
	return o
}

// recovered lets punjab ask the others what it lost, as if it had been put back to an older copy, and excuses who does not answer.
func (w *world) recovered(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	must(t, w.punjab.DB.RaiseIncarnation(ctx, w.punjab.DB.Incarnation()))
	must(t, w.punjab.BeginRecovery(ctx))
	_, err := w.punjab.ExcusePeer(ctx, excuseRequest(), actor)
	must(t, err)
	_, err = w.punjab.Recover(ctx)
	must(t, err)
}

func excuseRequest() *referralv1.ExcusePeerRequest {
	return &referralv1.ExcusePeerRequest{Name: "nodes/punjab/recovery", Node: "balochistan", Reason: referralv1.ExcuseReason_EXCUSE_REASON_LOST}
}
