package app_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/notify/notifytest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
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

// What was told while the clock was a year ahead is told again when it is right and the time has come, and not in a year. A clock that is years behind
// moves nothing.
func TestCaseDeadlinesOfAClockThatRanAhead(t *testing.T) {
	const year = 365 * 24 * time.Hour
	b := staffed(t)
	b.head()
	c, err := b.CreateCase(t.Context(), b.intake())
	must(t, err)
	_, err = b.RecordLegalEvent(t.Context(), &protectionv1.RecordLegalEventRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Event: "missing-report", EventTime: timestamppb.New(begin),
	})
	must(t, err)
	b.now(year)
	put := b.fire()
	told := len(b.told())
	b.now(-50 * year)
	if next := b.fire(); !next.Equal(put) {
		t.Errorf("a clock that is behind moves what is due at %v to %v", put, next)
	}
	b.now(49*year + 2*time.Hour) // when the first were due
	if next := b.fire(); next.After(begin.Add(2*time.Hour + rules.ToldAgain(b.Limits))) {
		t.Errorf("the next is due at %v", next)
	}
	b.now(rules.ToldAgain(b.Limits))
	b.fire()
	if told == 0 || len(b.told()) <= told {
		t.Errorf("%d are told, then %d", told, len(b.told()))
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
	missed := func(want, unheeded uint64) {
		t.Helper()
		must(t, b.DB.View(t.Context(), func(r kitstore.Reader) error {
			var s statusv1.Status
			err := store.Status(r, &s)
			if s.GetMissedDeadlines() != want || s.GetUnheededDeadlines() != unheeded {
				t.Errorf("%v, want %d missed and %d unheeded", &s, want, unheeded)
			}
			return err
		}))
	}
	missed(2, 0)
	b.now(100 * time.Hour)
	b.fire()
	missed(2, 2)
	d := b.deadline(t, c.GetName())
	_, err = b.MeetDeadline(t.Context(), &protectionv1.MeetDeadlineRequest{Name: d.GetName(), Etag: d.GetEtag()})
	must(t, err)
	missed(1, 1)
	n := b.notices()[0]
	if n.GetReference() != c.GetReference() || n.GetSubject() != c.GetName() || n.GetUrgency() != c.GetUrgency() {
		t.Errorf("the notice: %v", n)
	}
	events := slices.DeleteFunc(b.happened(), func(kind string) bool { return kind != "protection.deadline.missed.v1" })
	if len(events) != 6 {
		t.Errorf("events: %v", events)
	}
}

// The laws of the province hold also for a case of a unit that another node named and that nobody entered here.
func TestLawsWithoutAUnit(t *testing.T) {
	b := newApp(t, away)
	must(t, b.deliver(fromHome, aDossier()))
	b.upTo(arrived)
	c := b.list(nil)[0]
	if _, err := b.GetUnit(t.Context(), c.GetUnit()); reason(err) != fault.Missing {
		t.Fatalf("the unit of %v is there: %v", c, err)
	}
	started, err := b.RecordLegalEvent(t.Context(), &protectionv1.RecordLegalEventRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Event: "dar-ul-aman-admission", EventTime: timestamppb.New(begin),
	})
	must(t, err)
	if all := started.GetCaseDeadlines(); len(all) != 1 || all[0].GetStep() != "MEDICAL_AND_PSYCHOSOCIAL" {
		t.Errorf("the law of Punjab wants %v", all)
	}
}

// deadline is the next of a case.
func (b *bench) deadline(t *testing.T, name string) *protectionv1.CaseDeadline {
	t.Helper()
	listed, err := b.ListCaseDeadlines(t.Context(), &protectionv1.ListCaseDeadlinesRequest{
		Parent: b.parent(), Filter: &protectionv1.ListCaseDeadlinesRequest_Filter{Subject: name},
	})
	must(t, err)
	return listed.GetCaseDeadlines()[0]
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

// The shelter's store was restored, and its events are read again from the start: a review of old ends nothing that became due since.
func TestAnOldReviewEndsNothingNew(t *testing.T) {
	b := staffed(t)
	b.head()
	for range 2 {
		b.waitlist("review-due", begin)
		b.waitlist("reviewed", begin.Add(time.Hour))
		b.waitlist("review-due", begin.Add(24*time.Hour))
	}
	b.now(24 * time.Hour)
	b.fire()
	if got := b.told(); !slices.Equal(got, []string{"head"}) {
		t.Errorf("told: %v", got)
	}
	b.waitlist("closed", begin.Add(25*time.Hour))
	if next := b.fire(); !next.IsZero() {
		t.Errorf("after the end something is due at %v", next)
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
