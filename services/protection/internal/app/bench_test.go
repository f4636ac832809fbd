package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/limits"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/app"
	"amanat.example/services/protection/internal/store"
)

const (
	home = "balochistan"
	away = "punjab"
)

var begin = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// referralService stands in for the node's referral service, as a connection to it.
type referralService struct {
	mu     sync.Mutex
	calls  []proto.Message
	answer func(request proto.Message) (proto.Message, error) // nil: it is away
}

func (s *referralService) set(answer func(proto.Message) (proto.Message, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *referralService) Invoke(ctx context.Context, _ string, request, reply any, _ ...grpc.CallOption) error {
	s.mu.Lock()
	answer := s.answer
	s.calls = append(s.calls, proto.CloneOf(request.(proto.Message)))
	s.mu.Unlock()
	if answer == nil {
		return errAway
	}
	made, err := answer(request.(proto.Message))
	if err == nil {
		proto.Merge(reply.(proto.Message), made)
	}
	return err
}

func (s *referralService) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams")
}

// letters records what was queued, once it is committed.
type letters struct {
	mu   sync.Mutex
	sent []post.Outgoing
	// suspended are nodes that take no part for now: the roster says so, and the post takes nothing for them. Of those in dropped the roster has
	// no protection service.
	suspended, dropped map[string]bool
}

func (l *letters) Queue(tx *kitstore.Tx, o post.Outgoing) error {
	if err := o.Check(); err != nil {
		return err
	}
	if to := o.To.GetNode(); l.suspended[to] || l.dropped[to] {
		return fmt.Errorf("at %s: %w", to, post.ErrAbsent)
	}
	o.Body = proto.CloneOf(o.Body)
	tx.AfterCommit(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sent = append(l.sent, o)
	})
	return nil
}

func (l *letters) of(kind string) (found []post.Outgoing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.sent {
		if o.Kind == kind {
			found = append(found, o)
		}
	}
	return found
}

type roster struct{ letters *letters }

func (r roster) Node(name string) (*identityv1.RosterNode, bool) {
	n := &identityv1.RosterNode{Node: name, Province: map[string]string{home: "PK-BA", away: "PK-PB"}[name], State: identityv1.RosterNode_STATE_ACTIVE}
	if r.letters.suspended[name] {
		n.State = identityv1.RosterNode_STATE_SUSPENDED
	}
	return n, true
}

type bench struct {
	*app.App
	t        testing.TB
	dir      string
	letters  *letters
	referral *referralService
	now      func(time.Duration)
}

// newApp is the use cases of a node over real files, a real outbox and the real event log.
func newApp(t testing.TB, node string) *bench {
	t.Helper()
	return newAppOn(t, node, nil)
}

// newAppOn keeps the store in memory, where that is not nil.
func newAppOn(t testing.TB, node string, memory *kitstore.Memory) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), letters: &letters{suspended: map[string]bool{}, dropped: map[string]bool{}}, referral: &referralService{}}
	options := kitstore.Options{Path: filepath.Join(b.dir, "protection.db"), Schema: store.Schema}
	if memory != nil {
		options.Path, options.Engine = "", memory
	}
	clock := func() time.Time { return begin.Add(-24 * time.Hour) } // its life is not young
	options.Clock = func() time.Time { return clock() }
	db, err := kitstore.Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := privacy.OpenKeyring(context.Background(), privacy.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	resources, err := rpc.NewResourceRules(&protectionv1.Unit{}, &protectionv1.Worker{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	now := begin
	b.now = func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	b.App = &app.App{
		DB: db, Node: node, Federal: "federal", Keys: keys, Events: store.Events, Post: b.letters, Random: rand.Reader,
		Now:    func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		NewID:  func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
		Roster: roster{b.letters}, Tokens: paging.New([]byte("test")),
		Rules: resources, Limits: limits.Default(), Wake: func() {}, Log: logging.Discard(),
	}
	clock = b.Now
	commands, err := outbox.New(outbox.Config{
		DB: db, Table: store.Commands, Sealer: app.Sealer{Keys: keys}, Logger: logging.Discard(),
		Connections: map[string]grpc.ClientConnInterface{"referral": b.referral},
		Targets: map[string]outbox.Target{
			referralv1.ReferralService_SubmitReferral_FullMethodName:   {Service: "referral", Result: b.TakeReferred},
			referralv1.ReferralService_SubmitReferrals_FullMethodName:  {Service: "referral", Result: b.TakeReferredTogether},
			referralv1.ReferralService_CompleteReferral_FullMethodName: {Service: "referral", Result: b.TakeCompleted},

			referralv1.ReferralService_ReportDossierClosed_FullMethodName: {Service: "referral", Result: b.TakeReported},
			referralv1.ReferralService_ReportConsentEnded_FullMethodName:  {Service: "referral", Result: b.TakeReported},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Commands = commands
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- commands.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		report, err := db.Check(context.Background())
		if err := errors.Join(err, report.Err(), db.Close(), keys.Close()); err != nil {
			t.Errorf("the store: %v", err)
		}
	})
	return b
}

func (b *bench) parent() string { return "nodes/" + b.Node }

func (b *bench) unit() string {
	b.t.Helper()
	id, district := "hub", "PK-BA-HUB"
	_, err := b.CreateUnit(context.Background(), &protectionv1.CreateUnitRequest{
		Parent: b.parent(), UnitId: id, Unit: &protectionv1.Unit{DisplayName: "Hub", District: district},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.parent() + "/units/" + id
}

// canary is in every field that identifies the person or somebody near.
const canary = "canary-of-a-person"

// Codes that say something of the person, and stand nowhere else here.
const exploitation, foundDistrict = "OrganRemoval", "PK-KP-SWZ-LOWER"

func (b *bench) intake() *protectionv1.CreateCaseRequest {
	return &protectionv1.CreateCaseRequest{
		Parent: b.parent(), RequestId: "request-1", Case: &protectionv1.Case{
			Unit: b.parent() + "/units/hub", Urgency: custodyv1.Urgency_URGENCY_HIGH, FoundDistrict: foundDistrict,
			Exploitation: []string{exploitation}, Narrative: canary,
			Person: &protectionv1.Person{
				GivenName: canary, FatherName: canary, FamilyName: canary, Gender: "Feminine", AgeFrom: 9, AgeTo: 9,
				HomePlace: canary, Health: canary, Languages: []string{"bal", "urd"},
			},
		},
	}
}

func (b *bench) taken() *protectionv1.Case {
	b.t.Helper()
	b.unit()
	c, err := b.CreateCase(context.Background(), b.intake())
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func consent(c *protectionv1.Case) *protectionv1.RecordConsentRequest {
	return &protectionv1.RecordConsentRequest{Name: c.GetName(), Etag: c.GetEtag(), Consent: &protectionv1.Consent{
		Decision: protectionv1.Consent_DECISION_GIVEN, Basis: "ORAL_ASSENT_AND_CAREGIVER", GivenBy: canary, Note: canary,
		Purposes: []string{"PLACEMENT"}, Scopes: []string{"IDENTITY", "BIRTH"},
	}}
}

func (b *bench) consented() *protectionv1.Case {
	b.t.Helper()
	c, err := b.RecordConsent(context.Background(), consent(b.taken()), actor)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func refer(c *protectionv1.Case) *protectionv1.ReferCaseRequest {
	return &protectionv1.ReferCaseRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Reasons: []string{"NO_LOCAL_BED"}, ToUnit: "nodes/punjab/units/lahore", Note: canary,
		Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9, Languages: []string{"urd"}},
	}
}

const referral = "nodes/balochistan/referrals/01920000-0000-7000-8000-000000000001"

func submitted(proto.Message) (proto.Message, error) {
	return &referralv1.Referral{Name: referral, State: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED}, nil
}

var actor = &custodyv1.Actor{Person: "nodes/balochistan/workers/w", Service: "protection"}

func (b *bench) referred() *protectionv1.Case {
	b.t.Helper()
	b.referral.set(submitted)
	c, err := b.ReferCase(context.Background(), refer(b.consented()), actor)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// hear gives the app an event of the referral, with the owner that goes with the state.
func (b *bench) hear(word string, state custodyv1.ReferralState) {
	b.t.Helper()
	e := &referralv1.ReferralChanged{
		Referral: referral, State: state, OriginNode: home, OwnerNode: home, ToNode: away, Offer: referral + "/offers/aa",
		Unit: b.parent() + "/units/hub", GiverNode: home, OwnerNodes: []string{home}, CareNode: home,
	}
	if state >= custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT {
		e.OwnerNode, e.OwnerNodes = away, []string{home, away}
	}
	if state >= custodyv1.ReferralState_REFERRAL_STATE_ARRIVED {
		e.CareNode = away
	}
	if state == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED {
		e.Outcome = "REUNIFIED"
	}
	b.happens(word, e)
}

func (b *bench) happens(word string, e *referralv1.ReferralChanged) {
	b.t.Helper()
	if e.GetSequence() == 0 { // of a chain that went through every state once
		e.Sequence = uint64(10 + e.GetState())
	}
	b.event("referral.referral."+word+".v1", e)
}

// event gives the app an event of the referral service.
func (b *bench) event(kind string, e proto.Message) {
	b.t.Helper()
	data, err := anypb.New(e)
	if err != nil {
		b.t.Fatal(err)
	}
	err = b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		return b.FollowReferral(tx, &eventsv1.Event{Type: kind, Data: data})
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// deliver gives the app a dossier letter.
func (b *bench) deliver(from *postv1.Address, d *protectionv1.Dossier) error {
	body, err := proto.Marshal(d)
	if err != nil {
		b.t.Fatal(err)
	}
	handler := b.Handlers()["protection.dossier.v1"]
	return b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		return handler(tx, from, &postv1.Letter{Body: body})
	})
}

// dossier is what this node holds of the referral as a receiver.
func (b *bench) dossier() *protectionv1.ReceivedDossier {
	b.t.Helper()
	var row privacy.Row[*protectionv1.ReceivedDossier]
	err := b.DB.View(context.Background(), func(r kitstore.Reader) (err error) {
		row, err = store.Dossiers.Row(r, b.Keys, kitstore.K(referral))
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return row.Value
}

func (b *bench) get(name string) *protectionv1.Case {
	b.t.Helper()
	c, err := b.GetCase(context.Background(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) list(f *protectionv1.ListCasesRequest_Filter) []*protectionv1.Case {
	b.t.Helper()
	r, err := b.ListCases(context.Background(), &protectionv1.ListCasesRequest{Parent: b.parent(), Filter: f})
	if err != nil {
		b.t.Fatal(err)
	}
	return r.GetCases()
}

// file is the store's file as it lies on disk.
func (b *bench) file() []byte {
	b.t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.dir, "protection.db"))
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

// happened lists the kinds of committed events, in order.
func (b *bench) happened() (kinds []string) {
	b.t.Helper()
	r, err := newEventServer(b).ListEvents(context.Background(), &eventsv1.ListEventsRequest{PageSize: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range r.GetEvents() {
		kinds = append(kinds, e.GetType())
	}
	return kinds
}

func reason(err error) fault.Reason { return fault.ReasonOf(err) }
