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

// Whatever a client says it takes, it gets what there is: in gzip only if it named that or everything, and then it opens to the same bytes.
func FuzzAcceptEncoding(f *testing.F) {
	for _, value := range []string{"", "gzip", "identity", "gzip;q=0", "*;q=0.5, gzip;q=0", "x-gzip", "gzip;q=1e9", "gzip;q=NaN", " GZIP ; Q=1 ,", ";;,,q=", "gzip;q=-1,*"} {
		f.Add(value, "deflate")
	}
	data := []byte(strings.Repeat("what never changes ", 40))
	content := NewContent("text/plain", data)
	f.Fuzz(func(t *testing.T, one, two string) {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		request.Header["Accept-Encoding"] = []string{one, two}
		w := httptest.NewRecorder()
		content.ServeHTTP(w, request)
		got := w.Body.Bytes()
		small := w.Header().Get("Content-Encoding") == Gzip
		if small {
			all := strings.ToLower(one + "," + two)
			if !strings.Contains(all, "gzip") && !strings.Contains(all, "*") {
				t.Errorf("%q, %q get gzip", one, two)
			}
			r, err := gzip.NewReader(bytes.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			if got, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		if w.Code != http.StatusOK || !bytes.Equal(got, data) || w.Header().Get("Vary") != "Accept-Encoding" || strings.Contains(w.Header().Get("ETag"), "gzip") != small {
			t.Errorf("%q, %q get %d, %v", one, two, w.Code, w.Header())
		}
	})
}
