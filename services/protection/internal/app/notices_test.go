package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/notify/notifytest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

const (
	urgent = custodyv1.Urgency_URGENCY_HIGH
	slow   = custodyv1.Urgency_URGENCY_LOW
	// clerkAddress is a worker's own, and the only one that may leave.
	clerkAddress = "clerk@cpu.example"
)

// staffed is a node with a unit of a duty worker, a supervisor and a focal point.
func staffed(t *testing.T) *bench {
	t.Helper()
	b := newApp(t, home)
	b.unit()
	for _, id := range []string{"clerk", "chief", "head"} {
		_, err := b.CreateWorker(t.Context(), &protectionv1.CreateWorkerRequest{Parent: b.parent(), WorkerId: id, Worker: &protectionv1.Worker{
			Unit: b.parent() + "/units/hub", DisplayName: id, Roles: []string{"case-worker"}, Email: id + "@cpu.example",
		}})
		must(t, err)
	}
	var week []*protectionv1.DutySpan
	for day := range int32(7) {
		week = append(week, &protectionv1.DutySpan{Weekday: day + 1, From: "00:00", Until: "24:00", Workers: []string{b.person("clerk")}})
	}
	_, err := b.UpdateUnit(t.Context(), &protectionv1.UpdateUnitRequest{Unit: &protectionv1.Unit{
		Name: b.parent() + "/units/hub", Supervisor: b.person("chief"), Duty: week,
	}})
	must(t, err)
	return b
}

func (b *bench) person(id string) string { return b.parent() + "/workers/" + id }

func (b *bench) head() {
	b.t.Helper()
	_, err := b.UpdateLadder(context.Background(), &protectionv1.UpdateLadderRequest{
		Ladder: &protectionv1.Ladder{Name: b.parent() + "/ladder", FocalPoint: b.person("head")},
	})
	must(b.t, err)
}

// misses gives the app an event of a referral's missed deadline.
func (b *bench) misses(number int, missed int32, risk custodyv1.Urgency) {
	b.t.Helper()
	b.missPage(number, number+1, missed, risk)
}

// missPage is a page of such events, of referrals from one number up to another, in one transaction.
func (b *bench) missPage(from, to int, missed int32, risk custodyv1.Urgency) {
	b.t.Helper()
	must(b.t, b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		for number := from; number < to; number++ {
			data, err := anypb.New(&referralv1.DeadlineMissed{
				Deadline: &referralv1.Deadline{
					Referral: fmt.Sprintf("nodes/balochistan/referrals/01920000-0000-7000-8000-%012d", number), Kind: referralv1.Deadline_KIND_ANSWER,
					DueTime: timestamppb.New(b.Now()), Missed: missed, Unit: b.parent() + "/units/hub",
				},
				FirstDueTime: timestamppb.New(begin), Urgency: risk, Reference: "BA-26-04173-K",
			})
			if err != nil {
				return err
			}
			if err := b.FollowReferral(tx, &eventsv1.Event{Type: "referral.deadline.missed.v1", Data: data}); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (b *bench) waitlist(word string, at time.Time) {
	b.t.Helper()
	data, err := anypb.New(&shelterv1.WaitlistChanged{Entry: "nodes/balochistan/shelters/hub/groups/all/waitlistEntries/1"})
	must(b.t, err)
	must(b.t, b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		return b.FollowShelter(tx, &eventsv1.Event{Type: "shelter.waitlist." + word + ".v1", Time: timestamppb.New(at), Data: data})
	}))
}

// notices lists all, oldest first.
func (b *bench) notices() []*protectionv1.Notice {
	b.t.Helper()
	r, err := b.ListNotices(context.Background(), &protectionv1.ListNoticesRequest{Parent: b.parent(), PageSize: 500})
	must(b.t, err)
	all := r.GetNotices()
	slices.Reverse(all)
	return all
}

func (b *bench) told() (people []string) {
	b.t.Helper()
	for _, n := range b.notices() {
		people = append(people, strings.TrimPrefix(n.GetWorker(), b.parent()+"/workers/"))
	}
	return people
}

func (b *bench) send() (next time.Time) {
	b.t.Helper()
	next, err := b.SendNotices(context.Background())
	must(b.t, err)
	return next
}

func (b *bench) fire() (next time.Time) {
	b.t.Helper()
	next, err := b.FireDeadlines(context.Background())
	must(b.t, err)
	return next
}

func (b *bench) hook(answer func(nth int, w http.ResponseWriter, r *http.Request)) *notifytest.Webhook {
	b.t.Helper()
	h := notifytest.NewWebhook(b.t, answer)
	w := notify.NewWebhook(h.URL, []byte("a secret of both sides"), notifytest.Trust(h.Cert))
	b.t.Cleanup(w.Close)
	b.Senders = append(b.Senders, w)
	return h
}

func (b *bench) mail(behave notifytest.Behaviour) *notifytest.Mail {
	b.t.Helper()
	m := notifytest.NewMail(b.t, behave)
	b.Senders = append(b.Senders, &notify.SMTP{Address: m.Address, From: "amanat@node.example", Security: notify.StartTLS, TLS: notifytest.Trust(m.Cert)})
	return m
}

// Each step of a missed deadline is told once, up the ladder, however often it is heard.
func TestNoticesClimbAndAreNeverRepeated(t *testing.T) {
	b := staffed(t)
	b.head()
	for missed := int32(1); missed <= 4; missed++ {
		for again := range missed + 1 {
			b.misses(1, missed-again%missed, urgent) // this step, and those before it once more
		}
		b.now(time.Hour)
	}
	if got := b.told(); !slices.Equal(got, []string{"clerk", "chief", "head", "head"}) {
		t.Errorf("told: %v", got)
	}
	n := b.notices()[0]
	if n.GetReference() != "BA-26-04173-K" || n.GetStep() != "ANSWER" || n.GetKind() != protectionv1.Notice_KIND_REFERRAL ||
		n.GetPath() != "/v1/"+n.GetSubject() || !n.GetDueTime().AsTime().Equal(begin) || n.GetMissed() != 1 {
		t.Errorf("the notice: %v", n)
	}
	b.misses(2, 1, urgent)
	if got := b.told(); len(got) != 5 || got[4] != "clerk" {
		t.Errorf("another referral: %v", got)
	}
}

// Whoever takes notice is left in peace; what is still not done goes on to the next.
func TestTakenNoticeHoldsTheLadder(t *testing.T) {
	b := staffed(t)
	b.head()
	b.misses(1, 1, urgent)
	n := b.notices()[0]
	_, err := b.AcknowledgeNotice(t.Context(), &protectionv1.AcknowledgeNoticeRequest{Name: n.GetName(), Etag: n.GetEtag()}, b.person("clerk"), false)
	must(t, err)
	b.now(3*time.Hour - 1)
	b.misses(1, 2, urgent)
	if got := b.told(); len(got) != 1 {
		t.Errorf("told while somebody is at it: %v", got)
	}
	b.now(time.Hour)
	b.misses(1, 3, urgent)
	if got := b.told(); !slices.Equal(got, []string{"clerk", "chief"}) {
		t.Errorf("told when it was still not done: %v", got)
	}
}

// A deadline of the law fires when it is due, once; a node that was off for days speaks once.
func TestCaseDeadlinesFireOnce(t *testing.T) {
	b := staffed(t)
	b.head()
	c, err := b.CreateCase(t.Context(), b.intake())
	must(t, err)
	started, err := b.RecordLegalEvent(t.Context(), &protectionv1.RecordLegalEventRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Event: "missing-report", EventTime: timestamppb.New(begin),
	})
	must(t, err)
	if len(started.GetCaseDeadlines()) != 2 {
		t.Fatalf("the law wants %v", started)
	}
	if next := b.fire(); !next.Equal(begin.Add(2*time.Hour)) || len(b.told()) != 0 {
		t.Errorf("before its time %v are told; the next is due at %v", b.told(), next)
	}
	b.now(2 * time.Hour)
	for range 3 {
		b.fire()
	}
	if got := b.told(); !slices.Equal(got, []string{"clerk", "clerk"}) {
		t.Errorf("told: %v", got)
	}
	b.now(100 * time.Hour)
	b.fire()
	if got := b.told(); len(got) != 4 || got[3] != "chief" {
		t.Errorf("after days: %v", got)
	}
	n := b.notices()[0]
	if n.GetReference() != c.GetReference() || n.GetSubject() != c.GetName() || n.GetUrgency() != c.GetUrgency() {
		t.Errorf("the notice: %v", n)
	}
	missed := slices.DeleteFunc(b.happened(), func(kind string) bool { return kind != "protection.deadline.missed.v1" })
	if len(missed) != 4 {
		t.Errorf("events: %v", missed)
	}
}

// A waitlist entry that nobody looks at climbs until somebody does.
func TestWaitlistReviews(t *testing.T) {
	b := staffed(t)
	b.head()
	for range 2 {
		b.waitlist("review-due", begin)
	}
	b.fire()
	b.now(4 * time.Hour)
	b.fire()
	if got := b.told(); !slices.Equal(got, []string{"head", "head"}) { // no unit answers for it
		t.Errorf("told: %v", got)
	}
	if n := b.notices()[0]; n.GetKind() != protectionv1.Notice_KIND_WAITLIST || n.GetStep() != "WAITLIST_REVIEW" {
		t.Errorf("the notice: %v", n)
	}
	b.waitlist("reviewed", b.Now())
	b.now(100 * time.Hour)
	b.waitlist("review-due", begin) // heard again from the start
	if next := b.fire(); !next.IsZero() || len(b.told()) != 2 {
		t.Errorf("after the review: next %v, told %v", next, b.told())
	}
}

// Without a focal point nothing is lost: who becomes it is told.
func TestNoticesWaitForAFocalPoint(t *testing.T) {
	b := staffed(t)
	h := b.hook(nil)
	for missed := int32(1); missed <= 3; missed++ {
		b.misses(1, missed, urgent)
	}
	b.send()
	if got := b.told(); !slices.Equal(got, []string{"clerk", "chief", ""}) {
		t.Errorf("told: %v", got)
	}
	b.head()
	b.send()
	if got := b.told(); got[2] != "head" || len(h.Calls()) != 3 {
		t.Errorf("told: %v in %d messages", got, len(h.Calls()))
	}
}

// A message goes by every sender that reaches the person, in their language; of the person in care nothing
// leaves, and of the worker their own address alone.
func TestMessages(t *testing.T) {
	b := staffed(t)
	b.head()
	_, err := b.UpdateWorker(t.Context(), &protectionv1.UpdateWorkerRequest{
		Worker: &protectionv1.Worker{Name: b.person("clerk"), Language: "ur"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"language"}},
	}, "", true)
	must(t, err)
	b.Gateway = "https://gateway.example"
	h, m := b.hook(nil), b.mail(notifytest.Behaviour{})
	c, err := b.CreateCase(t.Context(), b.intake())
	must(t, err)
	_, err = b.RecordLegalEvent(t.Context(), &protectionv1.RecordLegalEventRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Event: "missing-report", EventTime: timestamppb.New(begin.Add(-3 * time.Hour)),
	})
	must(t, err)
	b.fire()
	if next := b.send(); !next.IsZero() {
		t.Errorf("something waits until %v", next)
	}
	calls, letters := h.Calls(), m.Letters()
	if len(calls) != 1 || len(letters) != 1 || letters[0].To != clerkAddress {
		t.Fatalf("%d calls, letters %v", len(calls), letters)
	}
	text := letters[0].Text
	for _, want := range []string{c.GetReference(), "ایف آئی آر درج کرانا", "https://gateway.example/v1/" + c.GetName(), "شدید خطرہ"} {
		if !strings.Contains(text, want) {
			t.Errorf("the mail does not say %s: %s", want, text)
		}
	}
	var body struct {
		ID, Email, Text string
		Notices         []notify.Notice
	}
	must(t, json.Unmarshal(calls[0].Body, &body))
	if body.Text != text || body.Email != clerkAddress || len(body.Notices) != 2 || !strings.Contains(letters[0].Header.Get("Message-ID"), body.ID) {
		t.Errorf("the call: %s", calls[0].Body)
	}
	for _, all := range []string{letters[0].Raw, text, string(calls[0].Body)} {
		for _, secret := range []string{canary, exploitation, foundDistrict, "chief@cpu.example"} {
			if strings.Contains(all, secret) {
				t.Errorf("%s leaves in %s", secret, all)
			}
		}
	}
	for _, n := range b.notices() {
		if n.GetState() != protectionv1.Notice_STATE_SENT || n.GetSendTime() == nil {
			t.Errorf("after sending: %v", n)
		}
	}
	if raw := b.file(); strings.Contains(string(raw), clerkAddress) {
		t.Error("an address lies in the store in the clear")
	}
}

// What dies between sending and the mark sends again after its start, with the same key.
func TestCrashBetweenSendingAndMark(t *testing.T) {
	b := staffed(t)
	b.head()
	left := filepath.Join(t.TempDir(), "protection.db")
	h := b.hook(func(nth int, w http.ResponseWriter, _ *http.Request) {
		if nth == 1 { // the file as the dead process leaves it: the receiver has the message, the mark is not made
			if err := os.WriteFile(left, b.file(), 0o600); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}
	})
	b.misses(1, 1, urgent)
	b.send()
	db, err := kitstore.Open(t.Context(), kitstore.Options{Path: left, Schema: store.Schema})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	again := *b.App
	again.DB = db
	for range 2 {
		if _, err := again.SendNotices(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	calls := h.Calls()
	if len(calls) != 2 || calls[0].Header.Get(notify.KeyHeader) != calls[1].Header.Get(notify.KeyHeader) || string(calls[0].Body) != string(calls[1].Body) {
		t.Errorf("%d calls: %v", len(calls), calls)
	}
}

// A service that is told to stop while it sends notes who has taken the message.
func TestStopWhileSending(t *testing.T) {
	b := staffed(t)
	b.head()
	ctx, stop := context.WithCancel(t.Context())
	m := b.mail(notifytest.Behaviour{})
	h := b.hook(func(nth int, w http.ResponseWriter, _ *http.Request) {
		if nth == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			stop()
		}
	})
	b.misses(1, 1, urgent)
	_, _ = b.SendNotices(ctx) // whether the answer or the end comes first is open
	b.now(time.Minute)
	b.send()
	if len(m.Letters()) != 1 || len(h.Calls()) != 2 || b.notices()[0].GetState() != protectionv1.Notice_STATE_SENT {
		t.Errorf("%d letters, %d calls: %v", len(m.Letters()), len(h.Calls()), b.notices()[0])
	}
}

// A sender that fails is tried again later and later, for a day, and those that took the message are not.
func TestRetries(t *testing.T) {
	b := staffed(t)
	b.head()
	m := b.mail(notifytest.Behaviour{})
	h := b.hook(func(nth int, w http.ResponseWriter, _ *http.Request) {
		if nth <= 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	b.misses(1, 1, urgent)
	for tries := 1; tries <= 4; tries++ {
		next := b.send()
		if n := len(h.Calls()); n != tries {
			t.Fatalf("%d calls after %d tries", n, tries)
		}
		if tries < 4 {
			if !next.After(b.Now()) {
				t.Fatalf("tried again at once: %v", next)
			}
			b.now(next.Sub(b.Now()))
		}
	}
	if n := b.notices()[0]; n.GetState() != protectionv1.Notice_STATE_SENT || len(m.Letters()) != 1 {
		t.Errorf("%d letters; %v", len(m.Letters()), n)
	}
	for _, c := range h.Calls() {
		if c.Header.Get(notify.KeyHeader) != h.Calls()[0].Header.Get(notify.KeyHeader) {
			t.Errorf("a repetition has another key: %v", c.Header)
		}
	}
}

func TestSendersThatDoNot(t *testing.T) {
	gone := func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, c := range map[string]struct {
		set  func(b *bench)
		days int
		want protectionv1.Notice_State
	}{
		"none is set":      {func(*bench) {}, 0, protectionv1.Notice_STATE_LISTED},
		"refuses for good": {func(b *bench) { b.hook(func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }) }, 0, protectionv1.Notice_STATE_FAILED},
		"mailbox unknown":  {func(b *bench) { b.mail(notifytest.Behaviour{Rcpt: func(int) string { return "550 no" }}) }, 0, protectionv1.Notice_STATE_FAILED},
		"away for a day":   {func(b *bench) { b.hook(gone) }, 1, protectionv1.Notice_STATE_FAILED},
		"one of two": {func(b *bench) {
			b.mail(notifytest.Behaviour{})
			b.hook(func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) })
		}, 0, protectionv1.Notice_STATE_SENT},
	} {
		t.Run(name, func(t *testing.T) {
			b := staffed(t)
			b.head()
			c.set(b)
			b.misses(1, 1, urgent)
			next := b.send()
			if c.days > 0 {
				if n := b.notices()[0]; next.IsZero() || n.GetState() != protectionv1.Notice_STATE_WAITING {
					t.Errorf("given up at once: %v, next %v", n, next)
				}
				b.now(time.Duration(c.days) * 24 * time.Hour)
				next = b.send()
			}
			if n := b.notices()[0]; n.GetState() != c.want || !next.IsZero() {
				t.Errorf("%v, next %v", n, next)
			}
		})
	}
}

// At night a worker is told of high risk alone; the rest comes in the morning, at once.
func TestQuietHours(t *testing.T) {
	b := staffed(t)
	b.head()
	h := b.hook(nil)
	b.now(10 * time.Hour) // 23:00 in Karachi
	b.misses(1, 1, slow)
	b.misses(2, 1, slow)
	morning := time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)
	if next := b.send(); !next.Equal(morning) || len(h.Calls()) != 0 {
		t.Fatalf("at night %d messages; next %v", len(h.Calls()), next)
	}
	b.misses(3, 1, urgent)
	if next := b.send(); !next.Equal(morning) || len(h.Calls()) != 1 {
		t.Fatalf("at high risk %d messages; next %v", len(h.Calls()), next)
	}
	b.now(8 * time.Hour)
	if next := b.send(); !next.IsZero() || len(h.Calls()) != 2 {
		t.Errorf("in the morning %d messages; next %v", len(h.Calls()), next)
	}
}

// However much waits for the morning, high risk is found behind it.
func TestHighRiskBehindABacklog(t *testing.T) {
	b := staffed(t)
	b.head()
	h := b.hook(nil)
	b.now(10 * time.Hour)
	b.missPage(0, 1100, 1, slow)
	b.misses(2000, 1, urgent)
	b.send()
	if calls := h.Calls(); len(calls) != 1 || !strings.Contains(string(calls[0].Body), "000000002000") {
		t.Errorf("%d messages: %v", len(calls), calls)
	}
}

// After a long cut one person gets a few messages that gather everything, and not one for each.
func TestNoStormAfterALongCut(t *testing.T) {
	b := staffed(t)
	b.head()
	h := b.hook(nil)
	const cut = 1200
	for i := 0; i < cut; i += 50 {
		b.missPage(i, i+50, 1, urgent)
		b.send() // as it is while events come in, page by page
	}
	told := func() (all map[string]bool, messages int) {
		all = map[string]bool{}
		for _, c := range h.Calls() {
			var body struct{ Notices []notify.Notice }
			must(t, json.Unmarshal(c.Body, &body))
			for _, n := range body.Notices {
				if all[n.Name] {
					t.Errorf("told twice: %s", n.Name)
				}
				all[n.Name] = true
			}
		}
		return all, len(h.Calls())
	}
	if all, messages := told(); messages > 3 {
		t.Errorf("%d messages at once, of %d notices", messages, len(all))
	}
	for range 6 {
		b.now(15 * time.Minute)
		b.send()
	}
	if all, messages := told(); len(all) != cut || messages > 8 {
		t.Errorf("%d notices in %d messages", len(all), messages)
	}
}

// A worker whose data was erased is told nothing any more: the next one is.
func TestErasedWorker(t *testing.T) {
	b := staffed(t)
	b.head()
	b.misses(1, 1, urgent)
	must(t, b.Keys.Erase(t.Context(), "workers/clerk"))
	b.misses(2, 1, urgent)
	if got := b.told(); !slices.Equal(got, []string{"clerk", "chief"}) {
		t.Errorf("told: %v", got)
	}
	m := b.mail(notifytest.Behaviour{})
	b.send()
	if all := b.notices(); all[0].GetState() != protectionv1.Notice_STATE_LISTED || all[1].GetState() != protectionv1.Notice_STATE_SENT || len(m.Letters()) != 1 {
		t.Errorf("without an address: %v", all)
	}
}
