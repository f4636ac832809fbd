package app_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/store"
)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type bench struct {
	*app.App
	clock  *clock
	events *recorder
	ahead  atomic.Int64 // how far the clock of a bubble is ahead, nanoseconds
}

// recorder keeps the kinds of events in order.
type recorder struct {
	mu    sync.Mutex
	kinds []string
}

func (r *recorder) Append(tx *kitstore.Tx, kind, _ string, _ time.Time, _ proto.Message) error {
	tx.AfterCommit(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.kinds = append(r.kinds, kind)
	})
	return nil
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.kinds, " ")
}

func newApp(t testing.TB) *bench {
	t.Helper()
	b, end := openApp(t, kitstore.Options{Path: filepath.Join(t.TempDir(), "shelter.db"), Schema: store.Schema}, t.TempDir())
	t.Cleanup(end)
	return b
}

// openApp opens the use cases over a store; end checks and closes it.
func openApp(t testing.TB, o kitstore.Options, keyDir string) (b *bench, end func()) {
	t.Helper()
	db, err := kitstore.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := privacy.OpenKeyring(context.Background(), privacy.Options{Dir: keyDir})
	if err != nil {
		t.Fatal(err)
	}
	directory, err := app.OpenDirectory(context.Background(), db, "punjab")
	if err != nil {
		t.Fatal(err)
	}
	b = &bench{clock: &clock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}, events: &recorder{}}
	gate, err := app.OpenGate(context.Background(), db, b.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.App = &app.App{
		Directory: directory, Gate: gate,
		DB: db, Node: "punjab", Now: b.clock.Now, Keys: keys, Rules: resources(t), Watchers: app.NewWatchers(db), After: time.After,
		NewID:  func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
		Events: b.events, Tokens: paging.New([]byte("test")), Wake: func() {},
	}
	return b, func() {
		report, err := db.Check(context.Background())
		if err == nil {
			err = report.Err()
		}
		if err != nil {
			t.Errorf("the store is damaged: %v", err)
		}
		for _, broken := range brokenBeds(t, db) {
			t.Error(broken)
		}
		if err := errors.Join(db.Close(), keys.Close()); err != nil {
			t.Error(err)
		}
	}
}

var resourceRules = sync.OnceValues(func() (app.Rules, error) { return rpc.NewResourceRules(&shelterv1.Shelter{}, &shelterv1.Group{}) })

func resources(t testing.TB) app.Rules {
	t.Helper()
	rules, err := resourceRules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

const manager = "nodes/punjab/workers/manager"

const (
	shelterName = "nodes/punjab/shelters/lahore-girls"
	groupName   = shelterName + "/groups/girls-6-12"
)

func girl() *custodyv1.Needs { return &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9} }

func (b *bench) shelter(t testing.TB, beds int32) {
	t.Helper()
	_, err := b.CreateShelter(context.Background(), &shelterv1.CreateShelterRequest{
		Parent: "nodes/punjab", ShelterId: "lahore-girls",
		Shelter: &shelterv1.Shelter{
			DisplayName: "Lahore girls", District: "PK617", Address: "canary-address", Languages: []string{"urd", "pan"},
			Groups: []*shelterv1.Group{{
				Name: "girls-6-12", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12,
				UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: beds,
			}},
		},
	}, manager)
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) place(quantity int32, request string) (*shelterv1.Hold, error) {
	return b.PlaceHold(context.Background(), &shelterv1.PlaceHoldRequest{
		Group: groupName, Quantity: quantity, Needs: girl(), RequestId: "request-" + request,
	})
}

func (b *bench) mustPlace(t testing.TB, quantity int32, request string) *shelterv1.Hold {
	t.Helper()
	h, err := b.place(quantity, request)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// free says held, occupied and available of the one group.
func (b *bench) free(t testing.TB) string {
	t.Helper()
	s, err := b.GetShelter(context.Background(), shelterName, true)
	if err != nil {
		t.Fatal(err)
	}
	g := s.GetGroups()[0]
	return fmt.Sprintf("%d %d %d", g.GetHeld(), g.GetOccupied(), g.GetAvailable())
}

func want(t testing.TB, what string, err error, reason fault.Reason) {
	t.Helper()
	if fault.ReasonOf(err) != reason {
		t.Errorf("%s: %v, not %v", what, err, reason)
	}
}

func TestHoldConfirmAdmit(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 2)
	h := b.mustPlace(t, 1, "a")
	if got := b.free(t); got != "1 0 1" {
		t.Fatalf("after the hold: %s", got)
	}
	confirmed, err := b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.GetName(), Fence: h.GetFence(), Etag: h.GetEtag()})
	if err != nil {
		t.Fatal(err)
	}
	if confirmed.GetState() != shelterv1.Hold_STATE_CONFIRMED || confirmed.GetExpireTime() != nil || confirmed.GetEtag() == h.GetEtag() {
		t.Fatalf("%v", confirmed)
	}
	if review := confirmed.GetReviewTime().AsTime(); !review.Equal(b.clock.Now().Add(7 * 24 * time.Hour)) {
		t.Errorf("the promise is to be looked at again at %v", review)
	}
	b.clock.Add(30 * 24 * time.Hour) // a promise does not run out
	if _, err := b.FireDue(ctx); err != nil {
		t.Fatal(err)
	}
	stay, err := b.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: h.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.free(t); got != "0 1 1" {
		t.Fatalf("after admission: %s", got)
	}
	again, err := b.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: h.GetName()})
	if err != nil || !proto.Equal(stay, again) {
		t.Fatalf("admitting again: %v, %v", again, err)
	}
	if filled, err := b.GetHold(ctx, h.GetName(), true); err != nil || filled.GetReviewTime() != nil {
		t.Errorf("a promise that was kept: %v, %v", filled, err)
	}
	if got := b.events.String(); got != "shelter.shelter.created.v1 shelter.hold.placed.v1 shelter.hold.confirmed.v1 shelter.stay.admitted.v1 shelter.hold.occupied.v1" {
		t.Fatalf("events: %s", got)
	}
}

// Each of those who come on one hold has a stay of their own offer. Whoever comes late to one that has ended is refused, and told apart from a hold that
// has; the others are answered with theirs.
func TestEachIsAdmittedToTheirOwnBed(t *testing.T) {
	for _, comes := range []bool{false, true} {
		eachIsAdmitted(t, comes)
	}
}

// eachIsAdmitted has the first of those on a hold come after the second, or not at all before their stay ends.
func eachIsAdmitted(t *testing.T, comes bool) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 3)
	offer := func(n int) string {
		return fmt.Sprintf("nodes/punjab/referrals/01926f3e-7c1a-7000-8000-00000000000%d/offers/%064d", n, n)
	}
	h, err := b.PlaceHold(ctx, &shelterv1.PlaceHoldRequest{
		Group: groupName, Quantity: 1, Needs: girl(), RequestId: "request-sisters", Offer: offer(1),
		Also: []*shelterv1.Part{{Group: groupName, Quantity: 1, Needs: girl(), Offer: offer(2)}, {Group: groupName, Quantity: 1, Needs: girl()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.GetName()}); err != nil {
		t.Fatal(err)
	}
	admit := func(offer string) (*shelterv1.Stay, error) {
		return b.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: h.GetName(), Offer: offer})
	}
	leave := func(stay *shelterv1.Stay) {
		t.Helper()
		if _, err := b.DischargeStay(ctx, &shelterv1.DischargeStayRequest{Name: stay.GetName(), Reason: "LEFT"}); err != nil {
			t.Fatal(err)
		}
	}
	second, err := admit(offer(2))
	if err != nil || second.GetOffer() != offer(2) || second.GetAwaited() || len(second.GetCompanions()) != 2 {
		t.Fatalf("%v, %v", second, err)
	}
	first, err := b.GetStay(ctx, second.GetCompanions()[0])
	if err != nil || first.GetOffer() != offer(1) || !first.GetAwaited() {
		t.Fatalf("%v, %v", first, err)
	}
	third, err := b.GetStay(ctx, second.GetCompanions()[1])
	if err != nil || third.GetOffer() != "" || third.GetAwaited() {
		t.Errorf("of whom nobody said who they are: %v, %v", third, err)
	}
	if comes {
		if first, err = admit(offer(1)); err != nil || first.GetOffer() != offer(1) || first.GetAwaited() {
			t.Fatalf("%v, %v", first, err)
		}
	}
	leave(first)
	leave(second)
	var refused *fault.Error
	switch again, err := admit(offer(1)); {
	case comes && (err != nil || again.GetName() != first.GetName()):
		t.Errorf("of who came, and has left: %v, %v", again, err)
	case !comes && (!errors.As(err, &refused) || refused.Reason() != fault.WrongState || refused.Metadata()["state"] != "DISCHARGED"):
		t.Errorf("to a bed that was given up: %v", err)
	}
	for _, of := range []string{offer(2), offer(3), ""} { // theirs, though they have left; one that no stay names; nobody's
		if _, err := admit(of); err != nil {
			t.Errorf("%q: %v", of, err)
		}
	}
}

func TestConfirmTwiceIsOne(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 1)
	h := b.mustPlace(t, 1, "a")
	first, err := b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.GetName(), Fence: h.GetFence()})
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.GetName(), Fence: h.GetFence()})
	if err != nil || !proto.Equal(first, second) {
		t.Fatalf("%v, %v", second, err)
	}
}

func TestSameKeySameHold(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 2)
	first := b.mustPlace(t, 1, "a")
	if second := b.mustPlace(t, 1, "a"); !proto.Equal(first, second) {
		t.Fatalf("%v", second)
	}
	_, err := b.place(2, "a")
	want(t, "the same key with another body", err, fault.IdempotencyMismatch)
	if _, err := b.ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: first.GetName()}); err != nil {
		t.Fatal(err)
	}
	if ended := b.mustPlace(t, 1, "a"); ended.GetName() != first.GetName() || ended.GetState() != shelterv1.Hold_STATE_RELEASED {
		t.Fatalf("the key after release: %v", ended)
	}
}

func TestAllOrNone(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 3)
	b.mustPlace(t, 2, "a")
	_, err := b.place(2, "b")
	want(t, "two of one", err, fault.NoCapacity)
	if got := b.free(t); got != "2 0 1" {
		t.Fatal(got)
	}
}

func TestExpiry(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 1)
	h := b.mustPlace(t, 1, "a")
	next, err := b.FireDue(ctx)
	if err != nil || !next.Equal(h.GetExpireTime().AsTime()) {
		t.Fatalf("the next expiry is %v, %v", next, err)
	}
	b.clock.Add(90*time.Minute - time.Nanosecond)
	_, err = b.place(1, "b")
	want(t, "just before it runs out", err, fault.NoCapacity)
	b.clock.Add(time.Nanosecond)
	_, err = b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.GetName()})
	want(t, "confirm after expiry", err, fault.HoldEnded)
	if got, err := b.GetHold(ctx, h.GetName(), true); err != nil || got.GetState() != shelterv1.Hold_STATE_EXPIRED {
		t.Fatalf("%v, %v", got, err)
	}
	b.mustPlace(t, 1, "c")
	if got := b.events.String(); !strings.HasSuffix(got, "shelter.hold.placed.v1 shelter.hold.expired.v1 shelter.hold.placed.v1") {
		t.Fatalf("events: %s", got)
	}
}

// After a standstill more holds have run out than one transaction ends: none of them can be confirmed, renewed or admitted, whichever it is.
func TestWhatRanOutInAStandstillIsEnded(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 600)
	var holds []*shelterv1.Hold
	for i := range 600 {
		holds = append(holds, b.mustPlace(t, 1, fmt.Sprint("bulk-", i)))
	}
	b.clock.Add(2 * time.Hour)
	_, err := b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: holds[599].GetName()})
	want(t, "confirm the last", err, fault.HoldEnded)
	if got, err := b.GetHold(ctx, holds[599].GetName(), true); err != nil || got.GetState() != shelterv1.Hold_STATE_EXPIRED {
		t.Errorf("%v, %v", got, err)
	}
	_, err = b.RenewHold(ctx, &shelterv1.RenewHoldRequest{Name: holds[598].GetName()})
	want(t, "renew the one before", err, fault.HoldEnded)
}

func TestHoldsExpireByThemselves(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 600)
	for i := range 600 {
		b.mustPlace(t, 1, fmt.Sprint("bulk-", i))
	}
	b.clock.Add(2 * time.Hour)
	next, err := b.FireDue(ctx)
	if err != nil || !next.IsZero() {
		t.Fatalf("%v, %v", next, err)
	}
	if got := b.free(t); got != "0 0 600" {
		t.Fatal(got)
	}
}

func TestFencesGrow(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 5)
	var last uint64
	for i := range 5 {
		h := b.mustPlace(t, 1, fmt.Sprint("fence-", i))
		if h.GetFence().GetNumber() <= last || h.GetFence().GetIncarnation() != b.DB.Incarnation() {
			t.Fatalf("%v after %d", h.GetFence(), last)
		}
		last = h.GetFence().GetNumber()
	}
}

// Bad input: a clear error that names field and reason, and nothing changed.
func TestBadInputChangesNothing(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 2)
	held := b.mustPlace(t, 1, "held")
	released := b.mustPlace(t, 1, "released")
	if _, err := b.ReleaseHold(ctx, &shelterv1.ReleaseHoldRequest{Name: released.GetName()}); err != nil {
		t.Fatal(err)
	}
	before, events := b.free(t), b.events.String()
	hold := func(change func(*shelterv1.PlaceHoldRequest)) error {
		r := &shelterv1.PlaceHoldRequest{Group: groupName, Quantity: 1, Needs: girl(), RequestId: "request-bad"}
		change(r)
		_, err := b.PlaceHold(ctx, r)
		return err
	}
	create := func(change func(*shelterv1.CreateShelterRequest)) error {
		r := &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "new", Shelter: &shelterv1.Shelter{
			DisplayName: "New", District: "PK617",
			Groups: []*shelterv1.Group{{Name: "g1", Genders: []string{"Feminine"}, AgeTo: 5, Total: 1, UnitKind: shelterv1.Group_UNIT_KIND_BED}},
		}}
		change(r)
		_, err := b.CreateShelter(ctx, r, manager)
		return err
	}
	second := func(_ any, err error) error { return err }
	for name, c := range map[string]struct {
		err    error
		reason fault.Reason
		field  string
	}{
		"unknown gender":       {hold(func(r *shelterv1.PlaceHoldRequest) { r.Needs.Gender = "girl" }), fault.UnknownCode, "needs.gender"},
		"unknown language":     {hold(func(r *shelterv1.PlaceHoldRequest) { r.Needs.Languages = []string{"urd", "xxx"} }), fault.UnknownCode, "needs.languages[1]"},
		"unknown group":        {hold(func(r *shelterv1.PlaceHoldRequest) { r.Group = shelterName + "/groups/boys" }), fault.Missing, ""},
		"another node's group": {hold(func(r *shelterv1.PlaceHoldRequest) { r.Group = strings.Replace(groupName, "punjab", "sindh", 1) }), fault.Missing, ""},
		"does not fit":         {hold(func(r *shelterv1.PlaceHoldRequest) { r.Needs.AgeTo = 13 }), fault.CannotMeetNeeds, ""},
		"more than there are":  {hold(func(r *shelterv1.PlaceHoldRequest) { r.Quantity = 50 }), fault.NoCapacity, ""},
		"expiry in the past":   {hold(func(r *shelterv1.PlaceHoldRequest) { r.ExpireTime = timestamppb.New(b.clock.Now()) }), fault.Field, "expire_time"},
		"stale etag":           {second(b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: held.GetName(), Etag: "99"})), fault.Stale, ""},
		"stale fence":          {second(b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: held.GetName(), Fence: &custodyv1.Fence{Incarnation: 1, Number: 1}})), fault.StaleFence, ""},
		"unknown hold":         {second(b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: "nodes/punjab/holds/none"})), fault.Missing, ""},
		"double release":       {second(b.ReleaseHold(ctx, &shelterv1.ReleaseHoldRequest{Name: released.GetName()})), fault.HoldEnded, ""},
		"admit tentative":      {second(b.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: held.GetName()})), fault.WrongState, ""},
		"unknown shelter":      {second(b.GetShelter(ctx, "nodes/punjab/shelters/none", true)), fault.Missing, ""},
		"unknown district":     {create(func(r *shelterv1.CreateShelterRequest) { r.Shelter.District = "PK999" }), fault.UnknownCode, "shelter.district"},
		"unknown group gender": {create(func(r *shelterv1.CreateShelterRequest) { r.Shelter.Groups[0].Genders[0] = "all" }), fault.UnknownCode, "shelter.groups[0].genders[0]"},
		"group twice": {create(func(r *shelterv1.CreateShelterRequest) {
			r.Shelter.Groups = append(r.Shelter.Groups, r.Shelter.Groups[0])
		}), fault.Field, "shelter.groups[1].name"},
		"group without a name":  {create(func(r *shelterv1.CreateShelterRequest) { r.Shelter.Groups[0].Name = "" }), fault.Field, "shelter.groups[0].name"},
		"shelter id taken":      {create(func(r *shelterv1.CreateShelterRequest) { r.ShelterId = "lahore-girls" }), fault.Field, "shelter_id"},
		"another node's parent": {create(func(r *shelterv1.CreateShelterRequest) { r.Parent = "nodes/sindh" }), fault.Missing, ""},
	} {
		want(t, name, c.err, c.reason)
		refusal, ok := errors.AsType[*fault.Error](c.err)
		if c.field != "" && (!ok || len(refusal.Fields()) != 1 || refusal.Fields()[0].Field != c.field) {
			t.Errorf("%s: the error does not name %s: %v", name, c.field, c.err)
		}
	}
	if after := b.free(t); after != before || b.events.String() != events {
		t.Errorf("%s became %s; events %s", before, after, b.events)
	}
}

func TestListShelters(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 1)
	for i := range 5 {
		_, err := b.CreateShelter(ctx, &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: fmt.Sprint("other-", i), Shelter: &shelterv1.Shelter{
			DisplayName: "Other", District: "PK608", Address: "canary-address",
			Groups: []*shelterv1.Group{{Name: "g1", Genders: []string{"Masculine"}, AgeTo: 15, UnitKind: shelterv1.Group_UNIT_KIND_BED}},
		}}, manager)
		if err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	request := &shelterv1.ListSheltersRequest{Parent: "nodes/punjab", PageSize: 2}
	for {
		page, err := b.ListShelters(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.GetShelters() {
			names = append(names, s.GetName())
			if s.GetAddress() != "" {
				t.Fatal("a list tells an address")
			}
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	if len(names) != 6 || names[0] != shelterName {
		t.Fatalf("%v", names)
	}
	free, err := b.ListShelters(ctx, &shelterv1.ListSheltersRequest{Parent: "nodes/punjab", Filter: &shelterv1.ListSheltersRequest_Filter{WithAvailable: true}})
	if err != nil || len(free.GetShelters()) != 1 {
		t.Fatalf("%v, %v", free, err)
	}
	_, err = b.ListShelters(ctx, &shelterv1.ListSheltersRequest{Parent: "nodes/punjab", PageToken: "forged"})
	want(t, "a forged token", err, fault.Field)
}

// An operator sees a hold, and not where the person is.
func TestHoldWithoutLocation(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 1)
	h := b.mustPlace(t, 1, "a")
	if _, err := b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.GetName()}); err != nil {
		t.Fatal(err)
	}
	for tell, want := range map[bool]string{true: "canary-address", false: ""} {
		if got, err := b.GetHold(ctx, h.GetName(), tell); err != nil || got.GetLocation().GetAddress() != want {
			t.Errorf("tell %v: %v, %v", tell, got, err)
		}
	}
}
