package server_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/limits"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/app"
	"amanat.example/services/protection/internal/server"
	"amanat.example/services/protection/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is balochistan's protection service behind its real server. The referral service answers
// at once, or not at all, or refuses.
type world struct {
	place   rpctest.Place
	address string
	app     *app.App
	db      *kitstore.DB
	noAudit atomic.Bool // audit rows cannot be written
	made    atomic.Int64
	clock   atomic.Int64 // how far ahead of time the service's clock is

	mu     sync.Mutex
	sent   int // letters
	queue  []outbox.Command
	away   bool
	refuse *fault.Error
}

// counter is the post: where letters go is no matter here.
type counter struct{ w *world }

func (c counter) Queue(tx *kitstore.Tx, _ post.Outgoing) error {
	tx.AfterCommit(func() {
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		c.w.sent++
	})
	return nil
}

// queued counts letters, and commands that wait.
func (w *world) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent + len(w.queue)
}

// Queue and Wait are the outbox: a command is called when somebody waits for it.
func (w *world) Queue(tx *kitstore.Tx, c outbox.Command) error {
	tx.AfterCommit(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.queue = append(w.queue, c)
	})
	return nil
}

func (w *world) Wait(ctx context.Context, _ string) error {
	w.mu.Lock()
	queue, away, refuse := w.queue, w.away, w.refuse
	if !away {
		w.queue = nil
	}
	w.mu.Unlock()
	if away {
		return context.DeadlineExceeded
	}
	for _, c := range queue {
		result, take := outbox.Result{Command: c, Fault: refuse}, w.app.TakeCompleted
		if refuse == nil {
			result.Reply = &referralv1.Referral{Name: w.newReferral(), State: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED}
		}
		switch r := c.Request.(type) {
		case *referralv1.SubmitReferralRequest:
			take = w.app.TakeReferred
		case *referralv1.SubmitReferralsRequest:
			take = w.app.TakeReferredTogether
			begun := &referralv1.SubmitReferralsResponse{}
			for range r.GetRequests() {
				begun.Referrals = append(begun.Referrals, &referralv1.Referral{Name: w.newReferral(), State: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED})
			}
			if refuse == nil {
				result.Reply = begun
			}
		}
		if err := w.db.Update(ctx, func(tx *kitstore.Tx) error { return take(tx, result) }); err != nil {
			return err
		}
	}
	return nil
}

// answers says how the referral service answers from now on: not at all, with a refusal, or well.
func (w *world) answers(away bool, refuse *fault.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away, w.refuse = away, refuse
}

func (w *world) newReferral() string { return "nodes/punjab/referrals/" + uuid.NewString() }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{place: rpctest.Place{Root: t.TempDir(), Node: "balochistan", Service: "protection"}}
	services := []string{"protection", "referral", "shelter", "gateway", "federal"}
	must(t, identity.InitNetwork(
		identity.Options{Root: w.place.Root, Node: "balochistan", Province: "PK-BA", Services: services},
		identity.Options{Root: w.place.Root, Node: "sindh", Province: "PK-SD", Services: services},
	))
	db, err := kitstore.Open(context.Background(), kitstore.Options{Path: filepath.Join(t.TempDir(), "protection.db"), Schema: store.Schema})
	must(t, err)
	keys, err := privacy.OpenKeyring(context.Background(), privacy.Options{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() {
		report, err := db.Check(context.Background())
		if err := errors.Join(err, report.Err(), db.Close(), keys.Close()); err != nil {
			t.Errorf("the store: %v", err)
		}
	})
	w.db = db
	resources, err := rpc.NewResourceRules(&protectionv1.Unit{}, &protectionv1.Worker{})
	must(t, err)
	w.app = &app.App{
		DB: db, Node: "balochistan", Federal: "federal", Keys: keys, Events: store.Events, Feed: app.NewFeed(db), Post: counter{w}, Commands: w, Random: rand.Reader,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) }, NewID: func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
		Roster: w.place.Load(t, "protection").Roster(), Tokens: paging.New([]byte("test")),
		Rules: resources, Limits: limits.Default(), Wake: func() {}, Log: logging.Discard(),
	}
	audit := store.Audit.Reading(db, time.Now)
	w.address = w.place.Serve(t, server.Policy(), func(ctx context.Context, r rpc.Reading) error {
		if w.noAudit.Load() {
			return errors.New("the disk is full")
		}
		return audit(ctx, r)
	}, func(r grpc.ServiceRegistrar) { protectionv1.RegisterProtectionServiceServer(r, server.New(w.app)) })
	_, err = w.app.CreateUnit(context.Background(), w.newUnit("hub"))
	must(t, err)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	parent = "nodes/balochistan"
	hub    = parent + "/units/hub"
)

func (w *world) next(word string) string { return word + "-" + strconv.FormatInt(w.made.Add(1), 10) }

func (w *world) newUnit(id string) *protectionv1.CreateUnitRequest {
	return &protectionv1.CreateUnitRequest{Parent: parent, UnitId: id, Unit: &protectionv1.Unit{DisplayName: "Hub", District: "PK-BA-HUB"}}
}

func (w *world) newWorker() *protectionv1.CreateWorkerRequest {
	return &protectionv1.CreateWorkerRequest{Parent: parent, WorkerId: w.next("worker"), Worker: &protectionv1.Worker{
		Unit: hub, DisplayName: "Shazia", Phone: "+923001234567", Roles: []string{"case-worker"},
	}}
}

func (w *world) intake() *protectionv1.CreateCaseRequest {
	return &protectionv1.CreateCaseRequest{Parent: parent, RequestId: w.next("request"), Case: &protectionv1.Case{
		Unit: hub, Urgency: custodyv1.Urgency_URGENCY_HIGH, FoundDistrict: "PK-BA-HUB", Exploitation: []string{"ForcedBegging"}, Narrative: "What happened.",
		Person: &protectionv1.Person{
			GivenName: "Gul", FatherName: "Sher", FamilyName: "Baloch", Gender: "Feminine", AgeFrom: 9, AgeTo: 9, Cnic: "12345-1234567-1",
			BirthDate: day(2016), AgeAsOf: day(2026), HomePlace: "A village", Health: "Well", Languages: []string{"bal"},
		},
	}}
}

func (w *world) taken(t testing.TB) *protectionv1.Case {
	t.Helper()
	c, err := w.app.CreateCase(context.Background(), w.intake())
	must(t, err)
	return c
}

func consent(c *protectionv1.Case) *protectionv1.RecordConsentRequest {
	return &protectionv1.RecordConsentRequest{Name: c.GetName(), Etag: c.GetEtag(), Consent: &protectionv1.Consent{
		Decision: protectionv1.Consent_DECISION_GIVEN, Basis: "ORAL_ASSENT_AND_CAREGIVER", GivenBy: "Her mother", Note: "A note.",
		Purposes: []string{"PLACEMENT"}, Scopes: []string{"IDENTITY", "BIRTH"}, ExpireTime: ahead(time.Hour),
	}}
}

func (w *world) consented(t testing.TB) *protectionv1.Case {
	t.Helper()
	c, err := w.app.RecordConsent(context.Background(), consent(w.taken(t)), nil)
	must(t, err)
	return c
}

func refer(c *protectionv1.Case) *protectionv1.ReferCaseRequest {
	return &protectionv1.ReferCaseRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Reasons: []string{"NO_LOCAL_BED"}, ToUnit: "nodes/sindh/units/karachi", Note: "A note.", AnswerBy: ahead(time.Hour),
		Needs: &custodyv1.Needs{
			Gender: "Feminine", AgeFrom: 9, AgeTo: 9, Languages: []string{"bal"}, Services: []string{"SHELTER"}, ExcludedDistricts: []string{"PK-BA-HUB"},
		},
	}
}

// received is a case made of a dossier from another node, in a state of its referral.
func (w *world) received(t testing.TB, state custodyv1.ReferralState) *protectionv1.Case {
	t.Helper()
	referral := w.newReferral()
	body, err := proto.Marshal(&protectionv1.Dossier{
		Referral: referral, Offer: referral + "/offers/aa", Urgency: custodyv1.Urgency_URGENCY_HIGH, Person: &protectionv1.Person{GivenName: "Gul", Gender: "Feminine"},
	})
	must(t, err)
	ctx, from := context.Background(), &postv1.Address{Node: "punjab", Service: "protection"}
	must(t, w.db.Update(ctx, func(tx *kitstore.Tx) error {
		return w.app.Handlers()["protection.dossier.v1"](tx, from, &postv1.Letter{Body: body})
	}))
	for s := custodyv1.ReferralState_REFERRAL_STATE_ARRIVED; s <= state; s++ {
		data, err := anypb.New(&referralv1.ReferralChanged{
			Referral: referral, State: s, OriginNode: "punjab", OwnerNode: "balochistan", ToNode: "balochistan", Offer: referral + "/offers/aa", Unit: hub, Sequence: uint64(s),
			GiverNode: "punjab", CareNode: "balochistan", OwnerNodes: []string{"punjab", "balochistan"},
		})
		must(t, err)
		must(t, w.db.Update(ctx, func(tx *kitstore.Tx) error {
			return w.app.FollowReferral(tx, &eventsv1.Event{Type: "referral.referral.changed.v1", Data: data})
		}))
	}
	listed, err := w.app.ListCases(ctx, &protectionv1.ListCasesRequest{Parent: parent, Filter: &protectionv1.ListCasesRequest_Filter{Referral: referral}})
	must(t, err)
	if len(listed.GetCases()) != 1 {
		t.Fatalf("the dossier made %v", listed)
	}
	return listed.GetCases()[0]
}

func outcome(c *protectionv1.Case) *protectionv1.RecordOutcomeRequest {
	return &protectionv1.RecordOutcomeRequest{Name: c.GetName(), Etag: c.GetEtag(), Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: "Well."}
}

const quetta = parent + "/units/quetta"

// worker is one more worker of Hub; the first one is the worker for whom the tests' tokens are.
func (w *world) worker(t testing.TB) *protectionv1.Worker {
	t.Helper()
	made, err := w.app.CreateWorker(context.Background(), w.newWorker())
	must(t, err)
	return made
}

// filled sets what a worker may have besides.
func filled(w *protectionv1.Worker, colleague string) {
	w.Email, w.Language, w.QuietHours = "shazia@cpu.example", "ur", &protectionv1.QuietHours{From: "21:00", Until: "06:30"}
	w.Leaves = []*protectionv1.Leave{{FromTime: ahead(time.Hour), UntilTime: ahead(48 * time.Hour), Delegate: colleague}}
}

func (w *world) ladder(t testing.TB) *protectionv1.Ladder {
	t.Helper()
	l, err := w.app.UpdateLadder(context.Background(), &protectionv1.UpdateLadderRequest{
		Ladder: &protectionv1.Ladder{Name: parent + "/ladder", FocalPoint: w.worker(t).GetName()},
	})
	must(t, err)
	return l
}

// deadline is one of a case at Quetta, where nobody may stay long.
func (w *world) deadline(t testing.TB) *protectionv1.CaseDeadline {
	t.Helper()
	ctx, unit := context.Background(), w.newUnit("quetta")
	unit.Unit.District = "PK226"
	_, _ = w.app.CreateUnit(ctx, unit) // it is there from the second time on
	intake := w.intake()
	intake.Case.Unit = quetta
	c, err := w.app.CreateCase(ctx, intake)
	must(t, err)
	listed, err := w.app.ListCaseDeadlines(ctx, &protectionv1.ListCaseDeadlinesRequest{
		Parent: parent, Filter: &protectionv1.ListCaseDeadlinesRequest_Filter{Subject: c.GetName()},
	})
	must(t, err)
	if len(listed.GetCaseDeadlines()) != 1 {
		t.Fatalf("at Quetta the law wants %v", listed)
	}
	return listed.GetCaseDeadlines()[0]
}

// notice is one to the focal point, of a deadline that was missed.
func (w *world) notice(t testing.TB) *protectionv1.Notice {
	t.Helper()
	focal := w.ladder(t).GetFocalPoint()
	d := w.deadline(t)
	before := w.clock.Load()
	defer w.clock.Store(before)
	w.clock.Store(int64(73 * time.Hour))
	_, err := w.app.FireDeadlines(context.Background())
	must(t, err)
	listed, err := w.app.ListNotices(context.Background(), &protectionv1.ListNoticesRequest{
		Parent: parent, Filter: &protectionv1.ListNoticesRequest_Filter{Worker: focal},
	})
	must(t, err)
	for _, n := range listed.GetNotices() {
		if n.GetSubject() == d.GetSubject() {
			return n
		}
	}
	t.Fatalf("the focal point is told %v", listed)
	return nil
}
