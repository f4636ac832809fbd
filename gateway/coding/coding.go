// Package coding is how answers are compressed on their way (RFC 9110, section 8.4): gzip, which every browser and
// library knows.
//
// Invariants: whoever does not ask for gzip gets none; an answer of which there are two forms says so (Vary), and the two
// have different entity tags.
package coding

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Gzip is the coding's name.
const Gzip = "gzip"

// AcceptsGzip says whether the values of a header Accept-Encoding allow gzip. A request without the header takes anything by
// the letter, but who does not name gzip may be unable to read it.
func AcceptsGzip(values []string) bool {
	named, all := -1.0, -1.0
	for one := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, parameter, _ := strings.Cut(one, ";")
		weight := 1.0
		if value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameter)), "q="); ok {
			var err error
			if weight, err = strconv.ParseFloat(value, 64); err != nil {
				weight = 0
			}
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case Gzip, "x-gzip":
			named = weight
		case "*":
			all = weight
		}
	}
	if named >= 0 {
		return named > 0
	}
	return all > 0
}

// writers are kept, since each needs most of a megabyte.
var writers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// Compress is data in gzip.
func Compress(data []byte) []byte {
	var small bytes.Buffer
	w := writers.Get().(*gzip.Writer)
	defer writers.Put(w)
	w.Reset(&small)
	_, _ = w.Write(data) // Into memory: it cannot fail.
	_ = w.Close()
	return small.Bytes()
}

// Content is what never changes while the program runs, in both forms.
type Content struct {
	kind         string
	plain, small []byte
	tag          string
}

// NewContent has both forms of data of a media type.
func NewContent(kind string, data []byte) Content {
	return Content{kind, data, Compress(data), tagOf(data)}
}

// Compressed has both forms of what is in gzip already.
func Compressed(kind string, small []byte) (Content, error) {
	r, err := gzip.NewReader(bytes.NewReader(small))
	if err != nil {
		return Content{}, err
	}
	data, err := io.ReadAll(r)
	return Content{kind, data, small, tagOf(data)}, err
}

func tagOf(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// ServeHTTP answers GET and HEAD with the form that the asker takes, or says that what it has is still that.
func (c Content) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header, body, tag := w.Header(), c.plain, c.tag
	header.Set("Vary", "Accept-Encoding")
	header.Set("Content-Type", c.kind)
	header.Set("Cache-Control", "no-cache") // It may be kept, and is asked for again: the next release has another.
	if AcceptsGzip(r.Header.Values("Accept-Encoding")) {
		header.Set("Content-Encoding", Gzip)
		body, tag = c.small, tag+"-gzip"
	}
	header.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
