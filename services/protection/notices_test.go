package protection_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/notify/notifytest"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/protection"
)

const (
	aCase    = "a canary of a person"
	mailbox  = "shazia@cpu.example"
	password = "the password of the mail server"
)

// settings are those of a node that sends by a mail server and a webhook.
func settings(t *testing.T, m *notifytest.Mail, h *notifytest.Webhook) func(*protection.Config) {
	t.Helper()
	secret := notifytest.File(t, "secret", []byte("a secret of both sides\n"))
	pass := notifytest.File(t, "password", []byte(password+"\n"))
	trust := notifytest.TrustFile(t, m.Cert, h.Cert)
	return func(c *protection.Config) {
		c.Settings = notify.Settings{
			SMTPAddress: m.Address, SMTPSecurity: notify.StartTLS, SMTPFrom: "amanat@node.example", SMTPUsername: "amanat", SMTPPasswordFile: pass,
			WebhookURL: h.URL, WebhookSecretFile: secret, NotifyCAFile: trust, GatewayURL: "https://gateway.example/",
		}
	}
}

// signal is closed once, by whoever sees that something has happened.
type signal struct {
	once sync.Once
	done chan struct{}
}

func newSignal() *signal { return &signal{done: make(chan struct{})} }

func (s *signal) set() { s.once.Do(func() { close(s.done) }) }

func (s *signal) wait(t *testing.T, what string) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not happen within a minute", what)
	}
}

// A deadline of the law that passed reaches the person on duty through the real service, by mail and by
// webhook, while the webhook fails at first and the service is restarted in between: each sender takes
// the notice once, and after one more restart nothing more is said.
func TestMissedDeadlineReachesAPerson(t *testing.T) {
	root := t.TempDir()
	if err := identity.InitNetwork(
		identity.Options{Root: root, Node: node, Province: "PK-BA", Services: []string{"protection", "referral", "shelter", "gateway"}},
		identity.Options{Root: root, Node: "federal", Services: []string{"federal"}, Hub: true},
	); err != nil {
		t.Fatal(err)
	}
	mailed, failed := newSignal(), newSignal()
	m := notifytest.NewMail(t, notifytest.Behaviour{Password: password, Data: func(int) string { mailed.set(); return "250 ok" }})
	up, taken := make(chan struct{}), newSignal()
	h := notifytest.NewWebhook(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		select {
		case <-up:
			taken.set()
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			failed.set()
		}
	})
	change := settings(t, m, h)
	address, stop := startWith(t, root, change)
	name := furnish(t, root, address)
	mailed.wait(t, "the mail")
	failed.wait(t, "the webhook's failure")
	stop()
	close(up)

	// What failed is tried again some seconds later, by whichever run of the service is up.
	_, stop = startWith(t, root, change)
	taken.wait(t, "the webhook's message")
	stop()
	address, stop = startWith(t, root, change)
	defer stop()
	client := protectionv1.NewProtectionServiceClient(dial(t, root, "gateway", address))
	listed, err := client.ListNotices(as(t, root, "supervisor"), &protectionv1.ListNoticesRequest{Parent: "nodes/balochistan"}, grpc.WaitForReady(true))
	if err != nil || len(listed.GetNotices()) != 2 {
		t.Fatalf("notices: %v, %v", listed, err)
	}
	letters := m.Letters()
	if len(letters) != 1 || letters[0].To != mailbox || letters[0].User != "amanat" || !strings.Contains(letters[0].Text, "https://gateway.example/v1/"+name) {
		t.Errorf("letters: %v", letters)
	}
	keys := map[string]bool{}
	for _, c := range h.Calls() {
		var body struct{ ID, Worker string }
		if err := json.Unmarshal(c.Body, &body); err != nil || body.ID != c.Header.Get(notify.KeyHeader) {
			t.Errorf("body %s: %v", c.Body, err)
		}
		keys[body.ID] = true
		if strings.Contains(string(c.Body), aCase) {
			t.Errorf("the webhook is told %s", c.Body)
		}
	}
	if len(keys) != 1 || strings.Contains(letters[0].Raw+letters[0].Text, aCase) {
		t.Errorf("%d keys", len(keys))
	}
}

func as(t *testing.T, root, role string) context.Context {
	t.Helper()
	gateway, err := identity.Load(root, node, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	token, err := gateway.IssueToken(&identityv1.PersonToken{
		Person: "nodes/balochistan/workers/everyone", Roles: []string{role}, Purpose: "casework", Audience: []string{"protection"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return rpc.WithPersonToken(t.Context(), token)
}

// furnish enters a unit with one worker, who is all of the ladder, and a case of which two deadlines of the
// law have passed. It answers with the case's name.
func furnish(t *testing.T, root, address string) string {
	t.Helper()
	client := protectionv1.NewProtectionServiceClient(dial(t, root, "gateway", address))
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := client.CreateUnit(as(t, root, "supervisor"), &protectionv1.CreateUnitRequest{
		Parent: "nodes/balochistan", UnitId: "hub", Unit: &protectionv1.Unit{DisplayName: "Hub", District: "PK-BA-HUB"},
	}, grpc.WaitForReady(true))
	fail(err)
	w, err := client.CreateWorker(as(t, root, "supervisor"), &protectionv1.CreateWorkerRequest{
		Parent: "nodes/balochistan", WorkerId: "shazia", Worker: &protectionv1.Worker{
			Unit: "nodes/balochistan/units/hub", DisplayName: "Shazia", Email: mailbox, Roles: []string{"case-worker", "focal-point"},
		},
	})
	fail(err)
	_, err = client.UpdateLadder(as(t, root, "focal-point"), &protectionv1.UpdateLadderRequest{
		Ladder: &protectionv1.Ladder{Name: "nodes/balochistan/ladder", FocalPoint: w.GetName()},
	})
	fail(err)
	c, err := client.CreateCase(as(t, root, "case-worker"), &protectionv1.CreateCaseRequest{
		Parent: "nodes/balochistan", RequestId: "request-1", Case: &protectionv1.Case{
			Unit: "nodes/balochistan/units/hub", Urgency: custodyv1.Urgency_URGENCY_HIGH, FoundDistrict: "PK-BA-HUB", Narrative: aCase,
			Person: &protectionv1.Person{GivenName: aCase, Gender: "Feminine", AgeFrom: 9, AgeTo: 9},
		},
	})
	fail(err)
	_, err = client.RecordLegalEvent(as(t, root, "case-worker"), &protectionv1.RecordLegalEventRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Event: "missing-report", EventTime: timestamppb.New(time.Now().Add(-150 * time.Minute)),
	})
	fail(err)
	return c.GetName()
}
