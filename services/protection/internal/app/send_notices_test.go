package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/notify/notifytest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

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

// A sender that is down keeps nobody from being told by another of what was missed since; what it did not take, it takes with nothing
// else waiting, or not at all.
func TestASenderThatIsDownHoldsUpNoOther(t *testing.T) {
	b := staffed(t)
	b.head()
	m := b.mail(notifytest.Behaviour{})
	down := true
	h := b.hook(func(_ int, w http.ResponseWriter, _ *http.Request) {
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	for number := 1; number <= 3; number++ {
		b.misses(number, 1, urgent)
		b.send() // at once, as one notice goes, and the third behind a quarter of an hour
		if n := len(m.Letters()); n != number {
			t.Fatalf("%d letters after %d were missed", n, number)
		}
		if number == 2 {
			b.now(20 * time.Minute)
		}
	}
	b.now(11 * time.Hour) // 00:20 in Karachi
	b.misses(4, 1, slow)
	b.send()
	if n := len(m.Letters()); n != 3 {
		t.Errorf("%d letters: one was sent in quiet hours", n)
	}
	down = false
	b.now(15 * time.Minute)
	b.send()
	var body struct{ Notices []notify.Notice }
	calls := h.Calls()
	must(t, json.Unmarshal(calls[len(calls)-1].Body, &body))
	if len(m.Letters()) != 3 || len(body.Notices) != 1 || !strings.Contains(body.Notices[0].Path, "000000000003") {
		t.Errorf("%d letters; when it is up again it gets %v", len(m.Letters()), body.Notices)
	}
	for i, n := range b.notices() {
		if want := i < 3; (n.GetState() == protectionv1.Notice_STATE_SENT) != want {
			t.Errorf("notice %d: %v", i+1, n)
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

// What was put off while the clock ran ahead is told when it is right again.
func TestAClockThatRanAhead(t *testing.T) {
	b := staffed(t)
	b.head()
	down := true
	h := b.hook(func(_ int, w http.ResponseWriter, _ *http.Request) {
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	b.now(365 * 24 * time.Hour)
	b.misses(1, 1, urgent)
	b.send()
	b.now(-365 * 24 * time.Hour)
	down = false
	if next := b.send(); !next.IsZero() || len(h.Calls()) != 2 || b.notices()[0].GetState() != protectionv1.Notice_STATE_SENT {
		t.Errorf("%d calls, next %v: %v", len(h.Calls()), next, b.notices())
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
