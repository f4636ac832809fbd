package coding

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The examples of RFC 9110, section 12.5.3, and what else is sent.
func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"":                                   false,
		"gzip":                               true,
		"GZip":                               true,
		"x-gzip":                             true,
		"compress, gzip":                     true,
		"br, gzip;q=0.5":                     true,
		"gzip; q=0.001":                      true,
		"gzip;q=0":                           false,
		"gzip;q=0.000":                       false,
		"gzip;Q=0":                           false,
		"gzip;q=x":                           false,
		"*":                                  true,
		"*;q=0":                              false,
		"gzip;q=0, *":                        false,
		"*;q=0, gzip":                        true,
		"identity":                           false,
		"identity;q=1, *;q=0":                false,
		"gzip;q=1.0, identity; q=0.5, *;q=0": true,
	} {
		if got := AcceptsGzip([]string{header}); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
	if AcceptsGzip(nil) || !AcceptsGzip([]string{"br", "gzip"}) {
		t.Error("no header, or two")
	}
}

func TestContentHasTwoForms(t *testing.T) {
	text := strings.Repeat("Amanat. ", 1000)
	again, err := Compressed("text/plain", Compress([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Content{"from plain": NewContent("text/plain", []byte(text)), "from gzip": again} {
		ask := func(header ...string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "/", nil)
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			w := httptest.NewRecorder()
			c.ServeHTTP(w, r)
			return w
		}
		plain, small := ask(), ask("Accept-Encoding", "gzip")
		if plain.Body.String() != text || plain.Header().Get("Content-Encoding") != "" || plain.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: plain: %v", name, plain.Header())
		}
		if small.Header().Get("Content-Encoding") != "gzip" || small.Header().Get("Vary") != "Accept-Encoding" || small.Body.Len()*10 > len(text) {
			t.Errorf("%s: gzip: %v", name, small.Header())
		}
		r, err := gzip.NewReader(bytes.NewReader(small.Body.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text {
			t.Errorf("%s: unpacked: %v", name, err)
		}
		tags := []string{plain.Header().Get("ETag"), small.Header().Get("ETag")}
		if tags[0] == tags[1] || tags[0] == "" {
			t.Errorf("%s: the two forms have the tags %v", name, tags)
		}
		if got := ask("If-None-Match", tags[0]); got.Code != http.StatusNotModified || got.Body.Len() > 0 {
			t.Errorf("%s: asked again: %d", name, got.Code)
		}
		if got := ask("If-None-Match", tags[1]); got.Code != http.StatusOK {
			t.Errorf("%s: asked again for another form: %d", name, got.Code)
		}
	}
	if _, err := Compressed("text/plain", []byte("no gzip")); err == nil {
		t.Error("what is no gzip was taken")
	}
}
