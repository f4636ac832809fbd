package gateway

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"amanat.example/gateway/session"
	gatewayv1 "amanat.example/proto/amanat/gateway/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
)

const watchPath = "/v1/nodes/sindh/shelters:watchCapacity"

type capacityStream = grpc.ServerStreamingServer[shelterv1.CapacityChange]

// stream is what a reader of server-sent events sees.
type stream struct {
	t        testing.TB
	response *http.Response
	lines    *bufio.Scanner
	id       string // of the last event that had one
}

func (d *door) watch(path, token string, header ...string) *stream {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.t.Context(), "GET", d.url+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	response, err := d.client.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = response.Body.Close() })
	return &stream{t: d.t, response: response, lines: bufio.NewScanner(response.Body)}
}

// next reads an event; empty at the end.
func (s *stream) next() (event, data string) {
	for s.lines.Scan() {
		switch line := s.lines.Text(); {
		case line == "" && data != "":
			return event, data
		case strings.HasPrefix(line, "event: "):
			event = strings.TrimPrefix(line, "event: ")
		case strings.HasPrefix(line, "id: "):
			s.id = strings.TrimPrefix(line, "id: ")
		case strings.HasPrefix(line, "data: "):
			data = strings.TrimPrefix(line, "data: ")
		}
	}
	return event, data
}

func free(n int32) *shelterv1.CapacityChange {
	return &shelterv1.CapacityChange{Group: &shelterv1.Group{Name: "nodes/sindh/shelters/karachi-girls/groups/girls-6-12", Available: n}}
}

// Each message of a stream is an event when it is sent, not later.
func TestStreamOfEvents(t *testing.T) {
	more := make(chan int32)
	d := openDoor(t, &shelter{watch: func(r *shelterv1.WatchCapacityRequest, to capacityStream) error {
		if r.GetParent() != "nodes/sindh" || r.GetShelter() != "nodes/sindh/shelters/karachi-girls" {
			t.Errorf("asked for %v", r)
		}
		for n := range more {
			if err := to.Send(free(n)); err != nil {
				return err
			}
		}
		return nil
	}})
	go func() { more <- 3 }()
	s := d.watch(watchPath+"?shelter=nodes/sindh/shelters/karachi-girls", d.token)
	if _, data := s.next(); data == "" {
		t.Fatal("no event")
	}
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
		if got := s.response.Header.Get(name); s.response.StatusCode != 200 || got != want {
			t.Errorf("status %d, header %s is %q", s.response.StatusCode, name, got)
		}
	}
	for _, n := range []int32{2, 0} {
		more <- n
		event, data := s.next()
		got := &shelterv1.CapacityChange{}
		if err := protojson.Unmarshal([]byte(data), got); err != nil || event != "" || got.GetGroup().GetAvailable() != n {
			t.Fatalf("event %q of %q: %v, want %d", event, data, err, n)
		}
		if !strings.Contains(data, `"unit_kind"`) {
			t.Errorf("not in the protos' names: %s", data)
		}
	}
	close(more)
	if event, data := s.next(); event != "" || data != "" {
		t.Errorf("after the end: %q %q", event, data)
	}
}

// What is refused is refused as any call is; what fails later is told as an event; what only has to be opened again just ends.
func TestStreamThatFails(t *testing.T) {
	var fails error
	sends := false
	d := openDoor(t, &shelter{watch: func(_ *shelterv1.WatchCapacityRequest, to capacityStream) error {
		if sends {
			if err := to.Send(free(1)); err != nil {
				return err
			}
		}
		return fails
	}})
	for path, want := range map[string]struct {
		status int
		reason fault.Reason
		field  string
	}{
		"/v1/nodes/Sindh!/shelters:watchCapacity": {400, fault.Field, "parent"},
		watchPath + "?shelter=x":                  {400, fault.Field, "shelter"},
		watchPath + "?shelters=x":                 {400, fault.Field, "shelters"},
	} {
		got := d.ask("GET", path, "")
		p := got.problem(t)
		if got.status != want.status || p.GetReason() != want.reason.String() || len(p.GetFieldViolations()) != 1 || p.GetFieldViolations()[0].GetField() != want.field {
			t.Errorf("%s: %d %v", path, got.status, p)
		}
	}
	if got := d.ask("GET", watchPath, "", "Authorization: "); got.status != 401 {
		t.Errorf("without a token: %d", got.status)
	}
	if got := d.ask("HEAD", watchPath, ""); got.status != 405 || got.header.Get("Allow") != "GET" {
		t.Errorf("HEAD: %d", got.status)
	}
	fails = fault.New(fault.Missing, "There is no such shelter.")
	if got := d.ask("GET", watchPath, ""); got.status != 404 || got.problem(t).GetReason() != fault.Missing.String() {
		t.Errorf("refused by the service: %d %s", got.status, got.body)
	}

	sends = true
	fails = errors.New("a disk said something about Amna")
	s := d.watch(watchPath, d.token)
	if _, data := s.next(); !strings.Contains(data, `"available":1`) {
		t.Fatalf("first event: %q", data)
	}
	event, data := s.next()
	p := &gatewayv1.Problem{}
	if err := protojson.Unmarshal([]byte(data), p); err != nil || event != "problem" || p.GetStatus() != 500 || p.GetRequestId() == "" || strings.Contains(data, "Amna") {
		t.Errorf("event %q: %s: %v", event, data, err)
	}
	fails = fault.New(fault.Unavailable, "The service is about to stop.")
	s = d.watch(watchPath, d.token)
	if _, data := s.next(); data == "" {
		t.Fatal("no first event")
	}
	if event, data := s.next(); event != "" || data != "" {
		t.Errorf("the reader should just come back; got %q %q", event, data)
	}
}

// One token cannot hold all the node's streams, and a gateway that stops ends those that are open at once.
func TestStreamsAreBoundedAndEnd(t *testing.T) {
	d := openDoor(t, &shelter{watch: func(_ *shelterv1.WatchCapacityRequest, to capacityStream) error {
		if err := to.Send(free(1)); err != nil {
			return err
		}
		<-to.Context().Done()
		return to.Context().Err()
	}})
	var open []*stream
	for range 16 {
		s := d.watch(watchPath, d.token)
		if _, data := s.next(); data == "" {
			t.Fatal("no event")
		}
		open = append(open, s)
	}
	if got := d.ask("GET", watchPath, ""); got.status != http.StatusTooManyRequests || got.problem(t).GetMetadata()["open"] != "16" {
		t.Errorf("one more: %d %s", got.status, got.body)
	}
	if other := d.watch(watchPath, d.grant(session.Grant{Roles: []string{"shelter-manager"}})); other.response.StatusCode != http.StatusOK {
		t.Errorf("with another token: %d", other.response.StatusCode)
	} else {
		_ = other.response.Body.Close()
	}
	// Who leaves makes room.
	_ = open[0].response.Body.Close()
	eventually(t, "a place is free again", func() bool {
		s := d.watch(watchPath, d.token)
		if s.response.StatusCode != http.StatusOK {
			_ = s.response.Body.Close()
			return false
		}
		open[0] = s
		_, data := s.next()
		return data != ""
	})
	d.stop()
	for _, s := range open {
		if event, data := s.next(); event != "" || data != "" {
			t.Errorf("at the end: %q %q", event, data)
		}
		if err := s.lines.Err(); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("cut instead of ended: %v", err)
		}
	}
	if strings.Contains(d.log.all(), "cut") {
		t.Error("requests were cut")
	}
}

// A stream lives shorter than the five minutes of the token under which it was opened: who may no longer read is not told for ever.
func TestAStreamEndsBeforeItsToken(t *testing.T) {
	ends := make(chan time.Time, 1)
	d := openDoor(t, &shelter{watch: func(_ *shelterv1.WatchCapacityRequest, to capacityStream) error {
		end, _ := to.Context().Deadline() // zero: never
		ends <- end
		return to.Send(free(1))
	}})
	s := d.watch(watchPath, d.token)
	if _, data := s.next(); data == "" {
		t.Fatal("no event")
	}
	if end := <-ends; end.IsZero() || end.After(time.Now().Add(5*time.Minute-30*time.Second)) {
		t.Errorf("the stream would end at %v", end)
	}
}

// A reader that comes back says which event it had last, as browsers do, and goes on behind it: the header is the later word than
// what the address said at first.
func TestStreamGoesOnWhereItsReaderStopped(t *testing.T) {
	var asked []string
	address, _ := serve(t, "referral", func(s *rpc.Server) {
		referralv1.RegisterReferralServiceServer(s, &referral{watch: func(r *referralv1.WatchReferralsRequest, to grpc.ServerStreamingServer[referralv1.ReferralNews]) error {
			asked = append(asked, r.GetAfter())
			after, _ := strconv.Atoi(strings.TrimPrefix(r.GetAfter(), "life-"))
			for i := after + 1; i <= after+2; i++ {
				if err := to.Send(&referralv1.ReferralNews{Position: "life-" + strconv.Itoa(i), Referral: "nodes/sindh/referrals/a"}); err != nil {
					return err
				}
			}
			return to.Send(&referralv1.ReferralNews{Position: "life\nevent: problem", ReadAnew: true})
		}})
	}, &referralv1.ReferralService_ServiceDesc)
	d := openDoor(t, &shelter{watch: func(_ *shelterv1.WatchCapacityRequest, to capacityStream) error { return to.Send(free(1)) }}, func(c *Config) { c.ReferralAddress = address })
	const path = "/v1/nodes/sindh/referrals:watch"
	for _, c := range []struct{ path, header, want, first string }{
		{path, "X: y", "", "life-1"},
		{path + "?after=life-2", "X: y", "life-2", "life-3"},
		{path, "Last-Event-ID: life-4", "life-4", "life-5"},
		{path + "?after=life-2", "Last-Event-ID: life-4", "life-4", "life-5"},
	} {
		asked = nil
		s := d.watch(c.path, d.token, c.header, "Accept-Encoding: gzip")
		if _, data := s.next(); s.id != c.first || !strings.Contains(data, `"position":"`+c.first+`"`) || len(asked) != 1 || asked[0] != c.want {
			t.Errorf("%s, %s: the service was asked for %q, the id is %q of %s", c.path, c.header, asked, s.id, data)
		}
		if s.response.Header.Get("Content-Encoding") != "" {
			t.Error("a stream is compressed: its events would wait for each other")
		}
		second, _ := s.next()
		id := s.id
		if event, data := s.next(); second != "" || event != "" || !strings.Contains(data, `"read_anew":true`) || s.id != id {
			t.Errorf("a position that is no id: event %q, id %q, %s", event, s.id, data)
		}
	}
	for header, field := range map[string]string{"Last-Event-ID: " + strings.Repeat("x", 201): "after", "Last-Event-ID: \xff": "Last-Event-ID"} {
		if got := d.ask("GET", path, "", header); got.status != 400 || got.violated(t) != field {
			t.Errorf("%q: %d %s", header, got.status, got.body)
		}
	}
	// A stream without positions begins with all there is; and no condition is judged by its first event.
	if s := d.watch(watchPath, d.token, "Last-Event-ID: life-4", "If-None-Match: *"); s.response.StatusCode != 200 {
		t.Errorf("a stream without positions: %d", s.response.StatusCode)
	} else if _, data := s.next(); data == "" || s.id != "" {
		t.Errorf("a stream without positions: id %q, %q", s.id, data)
	}
}
