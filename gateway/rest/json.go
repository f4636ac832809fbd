package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"amanat.example/services/kit/fault"
)

// body is a request's, whole. The library keeps only the text of an error, so what is wrong with
// the body is noted here on the way.
type body struct {
	*bytes.Reader
	fault *fault.Error
}

func (*body) Close() error { return nil }

// marshaler reads and writes JSON under the names of the protos, as the OpenAPI document has them.
type marshaler struct{ *runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{&runtime.JSONPb{
		MarshalOptions: protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
	}}
}

// ContentType implements runtime.Marshaler. A file says itself what it is.
func (m *marshaler) ContentType(v any) string {
	if file, ok := fileOf(v); ok {
		return file.GetContentType()
	}
	return m.JSONPb.ContentType(v)
}

// fileOf is the file that an answer is, where it is none of ours: it goes out as it is.
func fileOf(v any) (*httpbody.HttpBody, bool) {
	file, ok := v.(*httpbody.HttpBody)
	return file, ok
}

// NewDecoder reads one message, of which all fields must be known.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(raw)) == 0 {
			return io.EOF // All fields are absent; which are needed is for the service to say.
		}
		if err = m.Unmarshal(raw, v); err == nil {
			if json.Valid(raw) {
				return nil
			}
			err = errors.New("more follows the body's message") // Which the library would pass over.
		}
		f := bodyFault(err)
		if b, ok := r.(*body); ok {
			b.fault = f
		}
		return errors.New("the body cannot be read")
	})
}

var (
	unknownField = regexp.MustCompile(`unknown field "([A-Za-z_][A-Za-z0-9_]{0,60})"`)
	doubleField  = regexp.MustCompile(`duplicate field "([A-Za-z_][A-Za-z0-9_]{0,60})"`)
	invalidField = regexp.MustCompile(`^[^"]{0,60}invalid value for [a-z0-9]+ (?:type|field ([A-Za-z_][A-Za-z0-9_]{0,60}))`)
	position     = regexp.MustCompile(`\((line [0-9]+:[0-9]+)\)`)
)

// bodyFault says what is wrong with a body without the words of the JSON reader, which quotes it.
func bodyFault(err error) *fault.Error {
	text := err.Error()
	for _, rule := range []struct {
		form     *regexp.Regexp
		sentence string
	}{
		{unknownField, "is not a field of this request: see /docs"},
		{doubleField, "must be given once"},
		{invalidField, "has a value of the wrong form: see /docs"},
	} {
		if match := rule.form.FindStringSubmatch(text); match != nil && match[1] != "" {
			return fault.InvalidField(match[1], rule.sentence)
		}
	}
	where := ""
	if match := position.FindStringSubmatch(text); match != nil {
		where = " at " + match[1]
	}
	return fault.New(fault.Field, fmt.Sprintf("The body is not the JSON of this request%s: compare it with /docs.", where))
}

// checkQuery refuses a parameter that the request's message does not have; the library would
// pass it over.
func checkQuery(request protoreflect.MessageDescriptor, query url.Values) error {
	var wrong []fault.Violation
	for key := range query {
		if !hasPath(request, strings.Split(key, ".")) {
			if !parameterForm.MatchString(key) {
				key = "(query)"
			}
			wrong = append(wrong, fault.Violation{Field: key, Sentence: "is not a parameter of this request: see /docs"})
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.SortFunc(wrong, func(a, b fault.Violation) int { return strings.Compare(a.Field, b.Field) })
	return fault.InvalidFields(wrong[:min(len(wrong), 20)]...)
}

var parameterForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,60}$`)

func hasPath(message protoreflect.MessageDescriptor, path []string) bool {
	for i, name := range path {
		if message == nil {
			return false
		}
		field := message.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			field = message.Fields().ByJSONName(name)
		}
		if field == nil {
			return false
		}
		if i < len(path)-1 && (field.IsList() || field.IsMap()) {
			return false
		}
		message = field.Message()
	}
	return true
}
