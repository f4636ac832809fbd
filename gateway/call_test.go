package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/gateway/session"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
)

func aHold(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	return &shelterv1.Hold{Name: holdName, Quantity: 2, CreateTime: timestamppb.Now()}, nil
}

func TestAnswerHasProtoNames(t *testing.T) {
	d := openDoor(t, &shelter{get: aHold})
	got := d.ask("GET", "/v1/"+holdName, "")
	if got.status != http.StatusOK || !bytes.Contains(got.body, []byte(`"create_time"`)) || !bytes.Contains(got.body, []byte(holdName)) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Strict-Transport-Security": "max-age=31536000", "Access-Control-Allow-Origin": "",
	} {
		if got.header.Get(name) != want {
			t.Errorf("header %s is %q, want %q", name, got.header.Get(name), want)
		}
	}
	for name := range got.header {
		if strings.HasPrefix(name, "Grpc-") {
			t.Errorf("header %s leaked from the call", name)
		}
	}
}

// A path that is not served for a method says for which it is (RFC 9110, section 15.5.6), and nobody is called to find out.
func TestWhichMethodsAPathHas(t *testing.T) {
	d := openDoor(t, &shelter{})
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", "/v1/" + holdName, "HEAD, GET"},
		{"OPTIONS", "/v1/" + holdName, "HEAD, GET"},
		{"PUT", shelterPath, "HEAD, GET, PATCH"},
		{"DELETE", "/v1/nodes/sindh/shelters", "HEAD, GET, POST"},
		{"OPTIONS", shelterPath + ":suspend", "HEAD, GET, POST, PATCH"}, // it may be read as a name, too
	} {
		if got := d.ask(c.method, c.path, ""); got.status != 405 || got.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q", c.method, c.path, got.status, got.header.Get("Allow"))
		}
	}
}

// HEAD asks as GET does, and gets no body.
func TestHead(t *testing.T) {
	d := openDoor(t, &shelter{get: aHold})
	got, asked := d.ask("GET", "/v1/"+holdName, ""), d.ask("HEAD", "/v1/"+holdName, "")
	if asked.status != got.status || asked.status != http.StatusOK || len(asked.body) > 0 {
		t.Errorf("GET: %d; HEAD: %d with %d bytes", got.status, asked.status, len(asked.body))
	}
}

func TestServiceGetsATokenForItselfAlone(t *testing.T) {
	var seen []*identityv1.PersonToken
	var ids []string
	d := openDoor(t, &shelter{get: func(ctx context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		seen, ids = append(seen, rpc.Person(ctx)), append(ids, rpc.RequestID(ctx))
		came, _ := metadata.FromIncomingContext(ctx)
		for key := range came {
			if key == "authorization" || strings.HasPrefix(key, "x-") || strings.HasPrefix(key, "grpcgateway-") {
				t.Errorf("the header %s went along to the service", key)
			}
		}
		return aHold(ctx, r)
	}})
	const id = "0192f0a1-0000-7000-8000-00000000feed"
	if got := d.ask("GET", "/v1/"+holdName, "", "X-Request-Id: "+id); got.status != 200 || got.header.Get("X-Request-Id") != id {
		t.Fatalf("%d, request id %q", got.status, got.header.Get("X-Request-Id"))
	}
	if got := d.ask("GET", "/v1/"+holdName, "", "X-Request-Id: Zainab", "Grpc-Metadata-Amanat-Request-Id: 00000000"); got.header.Get("X-Request-Id") == "Zainab" {
		t.Fatal("a request id of the wrong form was taken over")
	}
	if len(seen) != 2 || ids[0] != id || ids[1] == "00000000" {
		t.Fatalf("the service saw the request ids %v", ids)
	}
	p := seen[0]
	if len(p.GetAudience()) != 1 || p.GetAudience()[0] != "shelter" || p.GetPerson() != worker || p.GetPurpose() != "casework" ||
		p.GetExpireTime().AsTime().Sub(p.GetIssueTime().AsTime()) > 5*time.Minute {
		t.Fatalf("token %v", p)
	}
	if seen[1].GetTokenId() != p.GetTokenId() {
		t.Fatal("a token that is still good was not used again")
	}
}

func TestStatusOfEachRefusal(t *testing.T) {
	var refusal error
	d := openDoor(t, &shelter{get: func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) { return nil, refusal }})
	for _, c := range []struct {
		refusal error
		status  int
		reason  string
	}{
		{fault.NotFound("hold"), 404, "REASON_NOT_FOUND"},
		{fault.StaleEtag(), 409, "REASON_STALE_ETAG"},
		{fault.New(fault.NoCapacity, "No bed is free.", "group", "nodes/sindh/shelters/a1/groups/b1"), 400, "REASON_NO_CAPACITY"},
		{fault.New(fault.IdempotencyMismatch, "Used before."), 409, "REASON_IDEMPOTENCY_MISMATCH"},
		{fault.New(fault.NotAllowed, "Not yours."), 403, "REASON_NOT_ALLOWED"},
		{fault.New(fault.Unavailable, "Not now."), 503, "REASON_UNAVAILABLE"},
		{fault.InvalidField("name", "must be another"), 400, "REASON_INVALID_FIELD"},
		{errors.New("the cause is secret"), 500, "REASON_INTERNAL"},
	} {
		refusal = c.refusal
		got := d.ask("GET", "/v1/"+holdName, "")
		p := got.problem(t)
		if got.status != c.status || p.Reason != c.reason || p.Domain != "shelter.amanat" {
			t.Errorf("%v: got %d %+v", c.refusal, got.status, p)
		}
		if f, ok := errors.AsType[*fault.Error](c.refusal); ok && p.Detail != f.Sentence() {
			t.Errorf("%v: detail %q", c.refusal, p.Detail)
		}
		if bytes.Contains(got.body, []byte("secret")) {
			t.Errorf("the cause left: %s", got.body)
		}
		switch c.reason {
		case "REASON_NO_CAPACITY":
			if p.Metadata["group"] == "" || p.Type != "urn:amanat:problem:no-capacity" {
				t.Errorf("%s", got.body)
			}
		case "REASON_INVALID_FIELD":
			if v := p.GetFieldViolations(); len(v) != 1 || v[0].GetField() != "name" || v[0].GetDescription() != "must be another" {
				t.Errorf("%s", got.body)
			}
		}
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	called := false
	d := openDoor(t, &shelter{get: func(ctx context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		called = true
		return aHold(ctx, r)
	}})
	expired := d.grant(session.Grant{Roles: []string{"shelter-manager"}, ExpireTime: time.Now().Add(-time.Second)})
	other := d.grant(session.Grant{Roles: []string{"case-worker"}})
	for _, c := range []struct{ name, header, token string }{
		{"missing", "Authorization: ", "missing"},
		{"other scheme", "Authorization: Basic c2VjcmV0", "missing"},
		{"not a token", "Authorization: Bearer Zainab", "unknown"},
		{"unknown", "Authorization: Bearer amanat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "unknown"},
		{"expired", "Authorization: Bearer " + expired, "expired"},
	} {
		got := d.ask("GET", "/v1/"+holdName, "", c.header)
		p := got.problem(t)
		if got.status != 401 || p.Reason != "REASON_UNAUTHENTICATED" || p.Metadata["token"] != c.token || got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", c.name, got.status, got.body)
		}
	}
	got := d.ask("GET", "/v1/"+holdName, "", "Authorization: Bearer "+other)
	if p := got.problem(t); got.status != 403 || p.Reason != "REASON_NOT_ALLOWED" {
		t.Errorf("other role: %d %s", got.status, got.body)
	}
	if called {
		t.Error("a call was made for someone who may not")
	}
	if err := os.Chmod(d.tokens, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := d.ask("GET", "/v1/"+holdName, ""); got.problem(t).Reason != "REASON_UNAVAILABLE" || got.status != 503 || called {
		t.Errorf("a tokens file that others can read let someone in: %d %s", got.status, got.body)
	}
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	const canary = "Zainab"
	d := openDoor(t, &shelter{
		get: aHold,
		place: func(context.Context, *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
			return &shelterv1.Hold{Name: holdName}, nil
		},
		list: func(context.Context, *shelterv1.ListSheltersRequest) (*shelterv1.ListSheltersResponse, error) {
			return &shelterv1.ListSheltersResponse{}, nil
		},
	})
	if got := d.ask("POST", groupPath, goodHold); got.status != 200 {
		t.Fatalf("the good request: %d %s", got.status, got.body)
	}
	if got := d.ask("GET", "/v1/nodes/sindh/shelters?page_size=10&filter.district=PK617", ""); got.status != 200 {
		t.Fatalf("the good list: %d %s", got.status, got.body)
	}
	list := "/v1/nodes/sindh/shelters"
	for _, c := range []struct {
		name, method, path, body, header string
		status                           int
		reason, field                    string
	}{
		{"unknown field", "POST", groupPath, `{"quantitty":1,"request_id":"` + canary + `"}`, "", 400, "REASON_INVALID_FIELD", "quantitty"},
		{"unknown field within", "POST", groupPath, `{"needs":{"nmae":"` + canary + `"}}`, "", 400, "REASON_INVALID_FIELD", "nmae"},
		{"double field", "POST", groupPath, `{"quantity":1,"quantity":2}`, "", 400, "REASON_INVALID_FIELD", "quantity"},
		{"wrong type", "POST", groupPath, `{"quantity":"` + canary + `"}`, "", 400, "REASON_INVALID_FIELD", "quantity"},
		{"not JSON", "POST", groupPath, canary, "", 400, "REASON_INVALID_FIELD", ""},
		{"two bodies", "POST", groupPath, goodHold + goodHold, "", 400, "REASON_INVALID_FIELD", ""},
		{"bad UTF-8", "POST", groupPath, "{\"request_id\":\"" + canary + "\xff\"}", "", 400, "REASON_INVALID_FIELD", ""},
		{"bad UTF-8 in the query", "GET", list + "?page_token=" + canary + "%ff", "", "", 400, "REASON_INVALID_FIELD", ""},
		{"bad UTF-8 in the path", "GET", "/v1/nodes/sindh/holds/%ff", "", "", 400, "REASON_INVALID_FIELD", ""},
		{"too large", "POST", groupPath, `{"request_id":"` + strings.Repeat("x", 1<<20) + `"}`, "", 413, "REASON_TOO_LARGE", ""},
		{"not sent as JSON", "POST", groupPath, goodHold, "Content-Type: text/plain", 415, "REASON_INVALID_FIELD", ""},
		{"no body", "POST", groupPath, "", "", 400, "REASON_INVALID_FIELD", "quantity"},
		{"page size above the limit", "GET", list + "?page_size=100000", "", "", 400, "REASON_INVALID_FIELD", "page_size"},
		{"page size no number", "GET", list + "?page_size=" + canary, "", "", 400, "REASON_INVALID_FIELD", "page_size"},
		{"unknown parameter", "GET", list + "?page_sise=10", "", "", 400, "REASON_INVALID_FIELD", "page_sise"},
		{"unknown parameter within", "GET", list + "?filter.name=" + canary, "", "", 400, "REASON_INVALID_FIELD", "filter.name"},
		{"no such path", "GET", "/v1/nodes/sindh/" + canary, "", "", 404, "REASON_NOT_FOUND", ""},
		{"service without an address", "GET", "/v1/nodes/sindh/referrals", "", "", 404, "REASON_NOT_FOUND", ""},
		{"other HTTP method", "DELETE", "/v1/" + holdName, "", "", 405, "REASON_INVALID_FIELD", ""},
		{"rule of the proto", "GET", "/v1/nodes/sindh/holds/" + canary, "", "", 400, "REASON_INVALID_FIELD", "name"},
	} {
		got := d.ask(c.method, c.path, c.body, c.header)
		if got.status == http.StatusOK {
			t.Errorf("%s: it was let through", c.name)
			continue
		}
		p := got.problem(t)
		if got.status != c.status || p.Reason != c.reason {
			t.Errorf("%s: %d %s", c.name, got.status, got.body)
		}
		if strings.HasPrefix(c.name, "bad UTF-8") && !strings.Contains(p.Detail, "UTF-8") {
			t.Errorf("%s: the sentence does not say so: %s", c.name, got.body)
		}
		found := c.field == ""
		for _, v := range p.FieldViolations {
			found = found || v.Field == c.field
		}
		if !found {
			t.Errorf("%s: field %s is not named: %s", c.name, c.field, got.body)
		}
		if bytes.Contains(got.body, []byte(canary)) {
			t.Errorf("%s: the answer repeats the request: %s", c.name, got.body)
		}
	}
	if strings.Contains(d.log.all(), canary) {
		t.Errorf("the log repeats a request: %s", d.log.all())
	}
}

// Of what a person sends and of what a service answers or refuses, nothing stands in the log.
func TestCanaryStaysOutOfTheLog(t *testing.T) {
	const canary = "Zainab-of-Korangi"
	d := openDoor(t, &shelter{
		create: func(_ context.Context, r *shelterv1.CreateShelterRequest) (*shelterv1.Shelter, error) {
			if r.GetShelter().GetDisplayName() == "fail" {
				return nil, errors.New(r.GetShelter().GetAddress())
			}
			return r.GetShelter(), nil
		},
		list: func(context.Context, *shelterv1.ListSheltersRequest) (*shelterv1.ListSheltersResponse, error) {
			return nil, fault.New(fault.WrongState, canary)
		},
	})
	body := func(name string) string {
		return `{"display_name":"` + name + `","district":"PK617","address":"` + canary + `","groups":[{"name":"girls","genders":["FEMALE"],"age_from":6,"age_to":12,"unit_kind":"UNIT_KIND_BED","total":4}]}`
	}
	const path = "/v1/nodes/sindh/shelters?shelter_id=karachi-girls"
	if got := d.ask("POST", path, body("Girls"), "X-Canary: "+canary); got.status != 200 || !bytes.Contains(got.body, []byte(canary)) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := d.ask("POST", path, body("fail")); got.status != 500 || bytes.Contains(got.body, []byte(canary)) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	d.ask("POST", path, `{"address":"`+canary+`",`)
	d.ask("POST", path, `{"`+canary+`":1}`)
	d.ask("GET", "/v1/nodes/sindh/shelters?page_token="+canary, "")
	d.ask("GET", "/v1/nodes/sindh/shelters?"+canary+"=1", "")
	d.ask("GET", "/v1/nodes/sindh/shelters/"+canary, "", "Authorization: Bearer "+canary)
	log := d.log.all()
	if strings.Count(log, `"request"`) < 7 || !strings.Contains(log, "ShelterService/CreateShelter") {
		t.Fatalf("the requests are not in the log: %s", log)
	}
	if strings.Contains(log, canary) || strings.Contains(log, "Zainab") || strings.Contains(log, d.token) {
		t.Fatalf("the canary is in the log: %s", log)
	}
}

// What is too large for a service is 413, whoever of the two says so.
func TestTooLargeAnswer(t *testing.T) {
	d := openDoor(t, &shelter{get: func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		return &shelterv1.Hold{Name: strings.Repeat("x", rpc.MaxMessageBytes)}, nil
	}})
	got := d.ask("GET", "/v1/"+holdName, "")
	if p := got.problem(t); got.status != http.StatusRequestEntityTooLarge || p.GetReason() != "REASON_TOO_LARGE" || p.GetMetadata()["limit_bytes"] != "1048576" {
		t.Errorf("%d %s", got.status, got.body)
	}
}
