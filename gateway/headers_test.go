package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
)

const shelterPath = "/v1/nodes/sindh/shelters/karachi-girls"

// row is a shelter of one row: its etag is the row's version, and what is free in it changes without the row.
type row struct{ version, free int32 }

func (r *row) shelter() *shelterv1.Shelter {
	return &shelterv1.Shelter{
		Name: "nodes/sindh/shelters/karachi-girls", Etag: fmt.Sprint(r.version),
		Groups: []*shelterv1.Group{{Name: "nodes/sindh/shelters/karachi-girls/groups/girls", Available: r.free}},
	}
}

func (r *row) hold(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	return &shelterv1.Hold{Name: holdName, Etag: fmt.Sprint(r.version), Quantity: r.free}, nil
}

// change takes an etag as the services do.
func (r *row) change(etag string) (*shelterv1.Shelter, error) {
	if etag != "" && etag != fmt.Sprint(r.version) {
		return nil, fault.StaleEtag()
	}
	r.version++
	return r.shelter(), nil
}

func (r *row) serve() *shelter {
	return &shelter{
		get: r.hold,
		close: func(_ context.Context, q *shelterv1.SuspendShelterRequest) (*shelterv1.Shelter, error) {
			return r.change(q.GetEtag())
		},
		update: func(_ context.Context, q *shelterv1.UpdateShelterRequest) (*shelterv1.Shelter, error) {
			return r.change(q.GetEtag())
		},
		place: func(context.Context, *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
			return &shelterv1.Hold{Name: holdName}, nil
		},
	}
}

// violated are the fields that a problem names, in order.
func (a answer) violated(t *testing.T) string {
	t.Helper()
	var all []string
	for _, v := range a.problem(t).GetFieldViolations() {
		all = append(all, v.GetField())
	}
	return strings.Join(all, " ")
}

// Whoever has an answer is told so, and only while all of it is still so: also what no row's version knows.
func TestAskedAgain(t *testing.T) {
	r := &row{version: 5, free: 2}
	d := openDoor(t, r.serve())
	first := d.ask("GET", "/v1/"+holdName, "")
	tag := first.header.Get("ETag")
	if first.status != 200 || !strings.HasPrefix(tag, `"5.`) || first.header.Get("Vary") != "" {
		t.Fatalf("%d, ETag %q, headers %v", first.status, tag, first.header)
	}
	for _, c := range []struct {
		header string
		status int
	}{
		{"If-None-Match: " + tag, 304},
		{"If-None-Match: W/" + tag, 304},
		{`If-None-Match: "x", ` + tag, 304},
		{"If-None-Match: *", 304},
		{`If-None-Match: "5"`, 200},
		{`If-None-Match: "x"`, 200},
		{"If-Match: " + tag, 200},
		{"If-Match: *", 200},
		{"If-Match: W/" + tag, 412},
		{`If-Match: "4.` + tag[4:], 412},
		{"If-None-Match: 5", 400},
		{"If-Match: 5", 400},
		{`If-None-Match: "a" "b"`, 400},
		{"Idempotency-Key: 12345678", 200},
	} {
		got := d.ask("GET", "/v1/"+holdName, "", c.header)
		name, _, _ := strings.Cut(c.header, ":")
		switch {
		case got.status != c.status:
			t.Errorf("%s: %d %s", c.header, got.status, got.body)
		case c.status == 304 && (len(got.body) > 0 || got.header.Get("ETag") != tag || got.header.Get("Content-Type") != ""):
			t.Errorf("%s: %v %q", c.header, got.header, got.body)
		case c.status == 200 && (got.header.Get("ETag") != tag || !bytes.Equal(got.body, first.body)):
			t.Errorf("%s: %v %s", c.header, got.header, got.body)
		case c.status == 400 && got.violated(t) != name:
			t.Errorf("%s: %s", c.header, got.body)
		case c.status == 412 && (got.problem(t).GetReason() != "REASON_STALE_ETAG" || got.header.Get("ETag") != ""):
			t.Errorf("%s: %v %s", c.header, got.header, got.body)
		}
	}
	if got := d.ask("HEAD", "/v1/"+holdName, "", "If-None-Match: "+tag); got.status != 304 {
		t.Errorf("HEAD: %d", got.status)
	}
	r.free = 1 // and the row is as it was
	if got := d.ask("GET", "/v1/"+holdName, "", "If-None-Match: "+tag); got.status != 200 || !strings.HasPrefix(got.header.Get("ETag"), `"5.`) || got.header.Get("ETag") == tag {
		t.Errorf("after a change outside the row: %d %v", got.status, got.header)
	}
}

// figures are counted anew with each asking.
type figures struct {
	federalv1.UnimplementedFiguresServiceServer
	etag  string
	asked int64
}

func (f *figures) GetFigures(context.Context, *federalv1.GetFiguresRequest) (*federalv1.Figures, error) {
	f.asked++
	return &federalv1.Figures{Etag: f.etag, CountTime: &timestamppb.Timestamp{Seconds: f.asked}}, nil
}

// What was counted anew and is the same need not go out again, though it would say another time.
func TestFiguresAskedAgain(t *testing.T) {
	f := &figures{etag: strings.Repeat("0a", 16)}
	address, _ := serve(t, "federal", func(s *rpc.Server) { federalv1.RegisterFiguresServiceServer(s, f) }, &federalv1.FiguresService_ServiceDesc)
	d := openDoor(t, nil, func(c *Config) { c.FederalAddress = address })
	const path = "/v1/figures/all"
	tag := d.ask("GET", path, "").header.Get("ETag")
	if !strings.HasPrefix(tag, `W/"`+f.etag+`.`) {
		t.Fatalf("ETag %q", tag)
	}
	for _, c := range []struct {
		header string
		status int
	}{{"If-None-Match: " + tag, 304}, {"If-None-Match: " + strings.TrimPrefix(tag, "W/"), 304}, {"If-Match: " + tag, 412}, {"If-Match: " + strings.TrimPrefix(tag, "W/"), 412}} {
		if got := d.ask("GET", path, "", c.header); got.status != c.status || c.status == 304 && got.header.Get("ETag") != tag {
			t.Errorf("%s: %d %v", c.header, got.status, got.header)
		}
	}
	f.etag = strings.Repeat("0b", 16)
	if got := d.ask("GET", path, "", "If-None-Match: "+tag); got.status != 200 || got.header.Get("ETag") == tag {
		t.Errorf("after a change: %d %v", got.status, got.header)
	}
}

// A change goes through only on what its sender has seen, whichever way that is said.
func TestChangeOfWhatWasSeen(t *testing.T) {
	r := &row{version: 5, free: 2}
	d := openDoor(t, r.serve())
	tag := d.ask("GET", "/v1/"+holdName, "").header.Get("ETag")
	const suspend = shelterPath + ":suspend"
	for _, c := range []struct {
		what, method, path, etag, header string
		status                           int
		fields                           string
	}{
		{"an answer's tag", "POST", suspend, "", "If-Match: " + tag, 200, ""},
		{"a body's etag as a tag", "POST", suspend, "", `If-Match: "5"`, 200, ""},
		{"whatever is there", "POST", suspend, "", "If-Match: *", 200, ""},
		{"nothing", "POST", suspend, "", "", 200, ""},
		{"both, the same", "POST", suspend, "5", "If-Match: " + tag, 200, ""},
		{"the query", "PATCH", shelterPath + "?etag=5", "", "If-Match: " + tag, 200, ""},
		{"PATCH", "PATCH", shelterPath, "", "If-Match: " + tag, 200, ""},
		{"a stale tag", "POST", suspend, "", `If-Match: "4"`, 412, ""},
		{"a stale tag, and PATCH", "PATCH", shelterPath, "", `If-Match: "4"`, 412, ""},
		{"a stale etag", "POST", suspend, "4", "", 409, ""},
		{"both, stale", "POST", suspend, "4", `If-Match: "4"`, 412, ""},
		{"whatever is there, and a stale etag", "POST", suspend, "4", "If-Match: *", 409, ""},
		{"both, not the same", "POST", suspend, "4", "If-Match: " + tag, 400, "If-Match etag"},
		{"the query, not the same", "PATCH", shelterPath + "?etag=4", "", "If-Match: " + tag, 400, "If-Match etag"},
		{"a weak tag", "POST", suspend, "", "If-Match: W/" + tag, 400, "If-Match"},
		{"two tags", "POST", suspend, "", `If-Match: "4", "5"`, 400, "If-Match"},
		{"no tag", "POST", suspend, "", "If-Match: 5", 400, "If-Match"},
		{"too long", "POST", suspend, "", `If-Match: "` + strings.Repeat("5", 65) + `"`, 400, "etag"},
		{"If-None-Match", "POST", suspend, "", "If-None-Match: *", 400, "If-None-Match"},
		{"a call that compares none", "POST", groupPath, "", "If-Match: " + tag, 400, "If-Match"},
	} {
		r.version = 5
		body := fmt.Sprintf(`{"reason":"OTHER","etag":%q}`, c.etag)
		switch {
		case c.method == "PATCH":
			body = `{"display_name":"Girls"}`
		case c.path == groupPath:
			body = goodHold
		}
		got := d.ask(c.method, c.path, body, c.header)
		switch {
		case got.status != c.status:
			t.Errorf("%s: %d %s", c.what, got.status, got.body)
		case c.status == 200:
			if r.version != 6 || !strings.HasPrefix(got.header.Get("ETag"), `"6.`) {
				t.Errorf("%s: version %d, %v", c.what, r.version, got.header)
			}
		case r.version != 5:
			t.Errorf("%s: it was refused and done", c.what)
		case c.status == 400 && got.violated(t) != c.fields:
			t.Errorf("%s: %s", c.what, got.body)
		case c.status != 400 && got.problem(t).GetReason() != "REASON_STALE_ETAG":
			t.Errorf("%s: %s", c.what, got.body)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	used := map[string]int32{}
	d := openDoor(t, &shelter{
		place: func(_ context.Context, r *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
			if n, ok := used[r.GetRequestId()]; ok && n != r.GetQuantity() {
				return nil, fault.New(fault.IdempotencyMismatch, "This key was used before.")
			}
			used[r.GetRequestId()] = r.GetQuantity()
			return &shelterv1.Hold{Name: holdName, RequestId: r.GetRequestId(), Quantity: r.GetQuantity()}, nil
		},
		close: (&row{version: 5}).serve().close,
	})
	body := func(quantity int, key string) string {
		return fmt.Sprintf(`{"quantity":%d,"needs":{"gender":"FEMALE","age_from":9,"age_to":9},"request_id":%q}`, quantity, key)
	}
	const key = "0192f0a1-0000-7000-8000-00000000feed"
	for _, c := range []struct {
		what, path, body, header string
		status                   int
		fields                   string
	}{
		{"as RFC 8941 has it", groupPath, body(1, ""), `Idempotency-Key: "` + key + `"`, 200, ""},
		{"as most send it", groupPath, body(1, ""), "Idempotency-Key: " + key, 200, ""},
		{"both, the same", groupPath, body(1, key), "Idempotency-Key: " + key, 200, ""},
		{"in the body", groupPath, body(1, key), "", 200, ""},
		{"with another body", groupPath, body(2, ""), "Idempotency-Key: " + key, 409, ""},
		{"both, not the same", groupPath, body(1, key+"1"), "Idempotency-Key: " + key, 400, "Idempotency-Key request_id"},
		{"half in quotes", groupPath, body(1, ""), `Idempotency-Key: "` + key, 400, "Idempotency-Key"},
		{"two words", groupPath, body(1, ""), "Idempotency-Key: Zainab of Korangi", 400, "Idempotency-Key"},
		{"nothing", groupPath, body(1, ""), `Idempotency-Key: ""`, 400, "Idempotency-Key"},
		{"too short", groupPath, body(1, ""), "Idempotency-Key: 1", 400, "request_id"},
		{"a call that takes none", shelterPath + ":suspend", `{"reason":"OTHER"}`, "Idempotency-Key: " + key, 400, "Idempotency-Key"},
	} {
		got := d.ask("POST", c.path, c.body, c.header)
		switch {
		case got.status != c.status:
			t.Errorf("%s: %d %s", c.what, got.status, got.body)
		case c.status == 200 && !bytes.Contains(got.body, []byte(key)):
			t.Errorf("%s: the key did not go along: %s", c.what, got.body)
		case c.status == 400 && (got.violated(t) != c.fields || bytes.Contains(got.body, []byte("Zainab"))):
			t.Errorf("%s: %s", c.what, got.body)
		case c.status == 409 && got.problem(t).GetReason() != "REASON_IDEMPOTENCY_MISMATCH":
			t.Errorf("%s: %s", c.what, got.body)
		}
	}
	if len(used) != 1 {
		t.Errorf("the service saw the keys %v", used)
	}
}

// A long answer without persons' data goes out small to whoever can read that; one that may hold such data never does.
func TestLongAnswersAreCompressed(t *testing.T) {
	many := 100
	d := openDoor(t, &shelter{
		stays: func(context.Context, *shelterv1.ListStaysRequest) (*shelterv1.ListStaysResponse, error) {
			all := &shelterv1.ListStaysResponse{}
			for range many {
				all.Stays = append(all.Stays, &shelterv1.Stay{Name: "nodes/sindh/stays/0192f0a1-0000-7000-8000-000000000001"})
			}
			return all, nil
		},
		list: func(context.Context, *shelterv1.ListSheltersRequest) (*shelterv1.ListSheltersResponse, error) {
			return &shelterv1.ListSheltersResponse{Shelters: []*shelterv1.Shelter{{Address: strings.Repeat("Korangi ", 1000)}}}, nil
		},
	})
	const stays = "/v1/nodes/sindh/stays"
	plain, small := d.ask("GET", stays, "", "Accept-Encoding: identity"), d.ask("GET", stays, "", "Accept-Encoding: br, gzip")
	if plain.header.Get("Content-Encoding") != "" || plain.header.Get("Vary") != "Accept-Encoding" || plain.status != 200 {
		t.Errorf("plain: %d %v", plain.status, plain.header)
	}
	if small.header.Get("Content-Encoding") != "gzip" || small.header.Get("Vary") != "Accept-Encoding" || small.header.Get("Content-Type") != "application/json" || len(small.body)*10 > len(plain.body) {
		t.Fatalf("gzip: %v, %d bytes of %d", small.header, len(small.body), len(plain.body))
	}
	r, err := gzip.NewReader(bytes.NewReader(small.body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain.body) {
		t.Errorf("unpacked: %v", err)
	}
	if got := d.ask("GET", "/v1/nodes/sindh/shelters", "", "Accept-Encoding: gzip"); got.header.Get("Content-Encoding") != "" || got.header.Get("Vary") != "" || len(got.body) < 8000 {
		t.Errorf("an answer that can hold an address: %v", got.header)
	}
	if got := d.ask("GET", stays+"?page_sise=1", "", "Accept-Encoding: gzip"); got.header.Get("Content-Encoding") != "" || got.problem(t).GetStatus() != 400 {
		t.Errorf("a problem: %v", got.header)
	}
	if got := d.ask("GET", stays, "", "Accept-Encoding: gzip", "If-None-Match: 5"); got.status != 400 || got.header.Get("Vary") != "" || got.header.Get("Content-Encoding") != "" {
		t.Errorf("a problem in place of an answer: %d %v", got.status, got.header)
	}
	many = 1
	if got := d.ask("GET", stays, "", "Accept-Encoding: gzip"); got.header.Get("Content-Encoding") != "" || got.header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("a short answer: %v", got.header)
	}
}

// Every reason that a service can give reaches who asked, under its own name and with the status that it should have.
func TestEveryReasonHasItsProblem(t *testing.T) {
	statuses := map[fault.Reason]int{
		fault.Field: 400, fault.Missing: 404, fault.Stale: 409, fault.WrongState: 400, fault.ConsentMissing: 400, fault.NoCapacity: 400,
		fault.CannotMeetNeeds: 400, fault.IdempotencyMismatch: 409, fault.Unauthenticated: 401, fault.NotAllowed: 403, fault.HoldEnded: 400,
		fault.NotOwner: 400, fault.Internal: 500, fault.Unavailable: 503, fault.UnknownCode: 400, fault.StaleFence: 400, fault.TooLarge: 413,
		fault.UnknownNode: 400, fault.TooMany: 429, fault.Recovering: 400,
	}
	var refusal *fault.Error
	d := openDoor(t, &shelter{get: func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) { return nil, refusal }})
	for number, name := range eventsv1.Reason_name {
		if number == 0 {
			continue
		}
		reason := fault.Reason(number)
		want, ok := statuses[reason]
		if !ok {
			t.Errorf("%s has no row here: say which status it has", name)
			continue
		}
		refusal = fault.New(reason, "It could not be done.", "kind", "hold")
		got := d.ask("GET", "/v1/"+holdName, "")
		p := got.problem(t)
		words := strings.Split(strings.ToLower(strings.TrimPrefix(name, "REASON_")), "_")
		if got.status != want || p.GetReason() != name || p.GetType() != "urn:amanat:problem:"+strings.Join(words, "-") || p.GetDomain() != "shelter.amanat" ||
			!strings.EqualFold(p.GetTitle(), strings.Join(words, " ")) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if reason != fault.Internal && (p.GetDetail() != "It could not be done." || p.GetMetadata()["kind"] != "hold") {
			t.Errorf("%s: %s", name, got.body)
		}
		if (got.status == http.StatusServiceUnavailable) != (got.header.Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After %q", name, got.header.Get("Retry-After"))
		}
	}
}
