package gateway

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"amanat.example/gateway/session"
)

// tooMany sends requests until one is refused for coming too soon, and answers how many were not.
func (d *door) tooMany(path string, most int, header ...string) (let int) {
	d.t.Helper()
	for ; let < most; let++ {
		got := d.ask("GET", path, "", header...)
		if got.status != http.StatusTooManyRequests {
			continue
		}
		if p := got.problem(d.t); p.GetReason() != "REASON_TOO_MANY_REQUESTS" || got.header.Get("Retry-After") != "1" || p.GetMetadata()["retry_after"] != "1" {
			d.t.Errorf("%v %s", got.header, got.body)
		}
		return let
	}
	return let
}

func TestOneTokenCannotTakeAll(t *testing.T) {
	d := openDoor(t, &shelter{get: aHold}, func(c *Config) { c.TokenRate = 2 })
	other := d.grant(session.Grant{Roles: []string{"shelter-manager"}})
	d.stopClock(0)
	if got := d.tooMany("/v1/"+holdName, 10); got != 4 {
		t.Errorf("let through at once: %d", got)
	}
	if got := d.tooMany("/v1/"+holdName, 10, "Authorization: Bearer "+other); got != 4 {
		t.Errorf("another token of the same person: %d", got)
	}
	if got := d.tooMany("/v1/"+holdName, 10, "Authorization: Bearer Zainab"); got != 10 {
		t.Errorf("who is not let in has no token's rate: %d", got)
	}
	before := strings.Count(d.log.all(), `"message":"request"`)
	d.stopClock(time.Second)
	if got := d.tooMany("/v1/"+holdName, 10); got != 2 {
		t.Errorf("a second later: %d", got)
	}
	if got := strings.Count(d.log.all(), `"message":"request"`) - before; before == 0 || got != 2 {
		t.Errorf("%d lines in the log for 2 requests served and one refused", got)
	}
}

// The address is judged before the token, and whatever is asked for.
func TestOneAddressCannotTakeAll(t *testing.T) {
	for name, path := range map[string]string{"guessing tokens": "/v1/" + holdName, "a page": "/", "no such path": "/nowhere"} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t, &shelter{get: aHold}, func(c *Config) { c.AddressRate = 3 })
			d.stopClock(0)
			if got := d.tooMany(path, 10, "Authorization: Bearer Zainab", "X-Forwarded-For: 192.0.2.7"); got != 6 {
				t.Errorf("let through at once: %d", got)
			}
			if got := d.tooMany(path, 10, "Authorization: Bearer Zainab", "X-Forwarded-For: 192.0.2.8"); got != 0 {
				t.Errorf("by another name: %d", got)
			}
			d.stopClock(time.Second)
			if got := d.tooMany(path, 10); got != 3 {
				t.Errorf("a second later: %d", got)
			}
		})
	}
}

func TestPathsThatAreNot(t *testing.T) {
	d := openDoor(t, &shelter{})
	for _, c := range []struct {
		method, path  string
		status        int
		reason, allow string
	}{
		{"GET", "/nowhere", 404, "REASON_NOT_FOUND", ""},
		{"GET", "/v1", 404, "REASON_NOT_FOUND", ""},
		{"GET", "/docs/", 404, "REASON_NOT_FOUND", ""},
		{"GET", "//docs", 404, "REASON_NOT_FOUND", ""},
		{"GET", "/x/../docs", 404, "REASON_NOT_FOUND", ""},
		{"DELETE", "/metrics", 404, "REASON_NOT_FOUND", ""},
		{"POST", "/", 405, "REASON_INVALID_FIELD", "GET, HEAD"},
		{"PUT", "/docs", 405, "REASON_INVALID_FIELD", "GET, HEAD"},
		{"OPTIONS", "/openapi.json", 405, "REASON_INVALID_FIELD", "GET, HEAD"},
	} {
		got := d.ask(c.method, c.path, "", "Authorization: ")
		p := got.problem(t)
		if got.status != c.status || p.GetReason() != c.reason || got.header.Get("Allow") != c.allow || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %d %v %s", c.method, c.path, got.status, got.header, got.body)
		}
	}
	for _, path := range []string{"/", "/docs", "/openapi.json"} {
		got := d.ask("HEAD", path, "", "Authorization: ")
		if got.status != http.StatusOK || len(got.body) > 0 || strings.Contains(got.header.Get("Content-Type"), "problem") {
			t.Errorf("HEAD %s: %d %v", path, got.status, got.header)
		}
	}
	for _, path := range []string{"/docs", "/openapi.json"} {
		plain, small := d.ask("GET", path, "", "Accept-Encoding: gzip;q=0"), d.ask("GET", path, "", "Accept-Encoding: br, gzip")
		unpacked, err := gzip.NewReader(bytes.NewReader(small.body))
		if err != nil || small.header.Get("Content-Encoding") != "gzip" || plain.header.Get("Content-Encoding") != "" || len(small.body)*4 > len(plain.body) {
			t.Fatalf("%s: %v, %d bytes of %d", path, err, len(small.body), len(plain.body))
		}
		if all, err := io.ReadAll(unpacked); err != nil || !bytes.Equal(all, plain.body) {
			t.Errorf("%s: the two forms differ, %v", path, err)
		}
	}
}
