package rest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	gatewayv1 "amanat.example/proto/amanat/gateway/v1"
	"amanat.example/services/kit/fault"
)

const (
	ifMatchHeader     = "If-Match"
	ifNoneMatchHeader = "If-None-Match"
	keyHeader         = "Idempotency-Key"
	lastEventHeader   = "Last-Event-ID"
)

// The fields of a message that headers stand for. All are texts.
const (
	etagField      protoreflect.Name = "etag"
	requestIDField protoreflect.Name = "request_id"
	positionField  protoreflect.Name = "position" // of a message of a stream: where it stands in it
	afterField     protoreflect.Name = "after"    // of the request for a stream: the position behind which it goes on
)

// textField is a field of a message itself that is one text; nil where there is none.
func textField(message protoreflect.MessageDescriptor, name protoreflect.Name) protoreflect.FieldDescriptor {
	f := message.Fields().ByName(name)
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return nil
	}
	return f
}

// text is what stands in such a field; empty where there is none.
func text(message proto.Message, name protoreflect.Name) string {
	m := message.ProtoReflect()
	if f := textField(m.Descriptor(), name); f != nil {
		return m.Get(f).String()
	}
	return ""
}

// fill puts what the headers of a request say into its message. The conditions of one that only reads are judged by its answer.
func (x *exchange) fill(request proto.Message) error {
	if x.safe { // A key is for what must not be done twice.
		return nil
	}
	if err := x.fillEtag(request.ProtoReflect()); err != nil {
		return err
	}
	return x.fillKey(request.ProtoReflect())
}

func (x *exchange) fillEtag(request protoreflect.Message) error {
	if len(x.header.Values(ifNoneMatchHeader)) > 0 {
		return fault.InvalidField(ifNoneMatchHeader, "is for GET and HEAD: a change takes If-Match")
	}
	values := x.header.Values(ifMatchHeader)
	if len(values) == 0 {
		return nil
	}
	f := textField(request.Descriptor(), etagField)
	if f == nil {
		return fault.InvalidField(ifMatchHeader, "is not taken by this request, which compares no etag: see /docs")
	}
	tags, err := parseTags(ifMatchHeader, values)
	switch {
	case err != nil:
		return err
	case tags.any:
		return nil // What is not there is refused by the service.
	case len(tags.opaque) != 1 || tags.weak[0]:
		return fault.InvalidField(ifMatchHeader, `must be one strong tag as the header ETag had it, such as "5", or *`)
	}
	x.matched = true
	return agree(request, f, ifMatchHeader, rowTag(tags.opaque[0]))
}

func (x *exchange) fillKey(request protoreflect.Message) error {
	values := x.header.Values(keyHeader)
	if len(values) == 0 {
		return nil
	}
	f := textField(request.Descriptor(), requestIDField)
	if f == nil {
		return fault.InvalidField(keyHeader, "is not taken by this request, which has no request_id: what repeats it is told by an etag or by the name of what it makes, see /docs")
	}
	key, quoted := strings.CutPrefix(values[0], `"`)
	if quoted {
		key, quoted = strings.CutSuffix(key, `"`)
	} else {
		quoted = true
	}
	if len(values) > 1 || !quoted || !keyForm.MatchString(key) {
		return fault.InvalidField(keyHeader, `must be given once, as letters, digits and signs without space, such as "0192f0a1-0000-7000-8000-000000000001"`)
	}
	return agree(request, f, keyHeader, key)
}

// keyForm is what a key may be made of: what a header can carry, without what an RFC 8941 text must escape.
var keyForm = regexp.MustCompile(`^[!#-\[\]-~]{1,200}$`)

// agree sets a field to what a header says, where it does not say something else itself.
func agree(request protoreflect.Message, f protoreflect.FieldDescriptor, header, value string) error {
	if given := request.Get(f).String(); given != "" && given != value {
		return fault.InvalidFields(
			fault.Violation{Field: header, Sentence: "must be the same as " + string(f.Name()) + ", or left out"},
			fault.Violation{Field: string(f.Name()), Sentence: "must be the same as the header " + header + ", or left out"},
		)
	}
	request.Set(f, protoreflect.ValueOfString(value))
	return nil
}

// resume puts the id of the last event that a reader has into the request for a stream. Unlike other headers it outdoes what
// the address says: a browser that comes back repeats the address it had at first.
func (x *exchange) resume(request protoreflect.Message) error {
	f, id := textField(request.Descriptor(), afterField), x.header.Get(lastEventHeader)
	if f == nil || id == "" { // A stream that has no positions begins with all there is.
		return nil
	}
	if !utf8.ValidString(id) {
		return fault.InvalidField(lastEventHeader, "must be the id of an event of this stream")
	}
	request.Set(f, protoreflect.ValueOfString(id))
	return nil
}

// tags are those of a header If-Match or If-None-Match.
type tags struct {
	any    bool
	opaque []string
	weak   []bool
}

var oneTag = regexp.MustCompile(`^[ \t,]*(W/)?"([!#-~]*)"[ \t]*(?:,|$)`)

// parseTags reads a list of entity tags (RFC 9110, section 8.8.3).
func parseTags(header string, values []string) (t tags, err error) {
	rest := strings.Trim(strings.Join(values, ","), " \t,")
	if rest == "*" {
		return tags{any: true}, nil
	}
	for rest != "" {
		match := oneTag.FindStringSubmatch(rest)
		if match == nil {
			return tags{}, fault.InvalidField(header, `must be tags as the header ETag has them, such as "5", or *`)
		}
		t.weak, t.opaque = append(t.weak, match[1] != ""), append(t.opaque, match[2])
		rest = strings.Trim(rest[len(match[0]):], " \t,")
	}
	return t, nil
}

// has says whether a tag is among them; strongly: as itself, not as one that may differ in bytes.
func (t tags) has(tag string, strongly bool) bool {
	for i, one := range t.opaque {
		if one == tag && !(strongly && t.weak[i]) {
			return true
		}
	}
	return false
}

// tagOf is the entity tag of an answer: its etag, and a digest of all of it. The etag alone is of a row, and more than the row
// is shown, such as the beds free in a shelter: what is asked for again is unchanged only if all of it is. The digest is keyed:
// headers end in logs on the way, and nobody shall try there what a person's record may hold.
//
// Where the etag itself is a digest of what was counted, it alone says what is unchanged, also where it was counted anew and the answer says when.
// Such a tag is a weak one, since two answers with it may differ in bytes.
func (h *Handler) tagOf(answer proto.Message) (tag string, weak bool) {
	row := text(answer, etagField)
	if !rowForm.MatchString(row) {
		return "", false
	}
	shown := []byte(row)
	if weak = digestForm.MatchString(row); !weak {
		var err error
		if shown, err = (proto.MarshalOptions{Deterministic: true}).Marshal(answer); err != nil { // It has just come over the wire.
			return "", false
		}
	}
	mac := hmac.New(sha256.New, h.tagKey)
	mac.Write(shown)
	return row + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:9]), weak
}

var (
	rowForm    = regexp.MustCompile(`^[!#-~]+$`)
	digestForm = regexp.MustCompile(`^[0-9a-f]{32}$`) // no version of a row is so long
	digestEnd  = regexp.MustCompile(`\.[A-Za-z0-9_-]{12}$`)
)

// rowTag is the etag in an entity tag. One without a digest is an etag as a body has it.
func rowTag(tag string) string { return digestEnd.ReplaceAllString(tag, "") }

// errNotModified ends a request whose asker has the answer already.
var errNotModified = errors.New("not modified")

// forward looks at an answer before it is written: it tags it, judges the conditions of a request that only reads, and settles in
// which form it goes out.
func (h *Handler) forward(ctx context.Context, w http.ResponseWriter, answer proto.Message) error {
	x := exchangeOf(ctx)
	if answer == nil || x.live.stream {
		return nil
	}
	tag, weak := h.tagOf(answer)
	switch {
	case weak:
		w.Header().Set("ETag", `W/"`+tag+`"`)
	case tag != "":
		w.Header().Set("ETag", `"`+tag+`"`)
	}
	x.negotiate(w, answer, tag != "")
	if !x.safe {
		return nil
	}
	return x.condition(tag, weak)
}

// condition judges by the tag of what is there now (RFC 9110, section 13.2.2); an answer without one matches none.
func (x *exchange) condition(tag string, weak bool) error {
	if values := x.header.Values(ifMatchHeader); len(values) > 0 {
		t, err := parseTags(ifMatchHeader, values)
		if err != nil {
			return err
		}
		if !t.any && (tag == "" || weak || !t.has(tag, true)) {
			x.matched = true
			return fault.StaleEtag()
		}
	}
	if values := x.header.Values(ifNoneMatchHeader); len(values) > 0 {
		t, err := parseTags(ifNoneMatchHeader, values)
		if err != nil {
			return err
		}
		if t.any || tag != "" && t.has(tag, false) {
			return errNotModified
		}
	}
	return nil
}

// notModified answers 304: the asker has it.
func notModified(w http.ResponseWriter) {
	w.Header().Del("Content-Type")
	w.WriteHeader(http.StatusNotModified)
}

// failedCondition is 412 where a header asked for what no longer holds. Who sent an etag in the message gets 409, as before: no
// condition of HTTP has failed.
func (x *exchange) failedCondition(p *gatewayv1.Problem) {
	if x.matched && p.GetReason() == fault.Stale.String() {
		p.Status = http.StatusPreconditionFailed
	}
}
