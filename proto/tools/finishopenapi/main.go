// Command finishopenapi finishes an OpenAPI 2.0 file that protoc-gen-openapiv2 wrote. It adds the headers that the gateway takes
// and gives: which a call has follows from the fields of its request and its answer, so nobody has to list them. And it takes
// away the tags of services that have no call in it.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: finishopenapi <file>")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "finishopenapi:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	document, err := decode(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	definitions, used := document.object("definitions"), map[any]bool{}
	for _, methods := range document.object("paths").members {
		for _, operation := range methods.value.(*object).members {
			call := operation.value.(*object)
			addHeaders(operation.name, call, definitions)
			for _, tag := range call.list("tags") {
				used[tag] = true
			}
		}
	}
	document.set("tags", slices.DeleteFunc(document.list("tags"), func(tag any) bool { return !used[tag.(*object).get("name")] }))
	var out bytes.Buffer
	if err := encode(&out, document, ""); err != nil {
		return err
	}
	out.WriteByte('\n')
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// addHeaders adds those of one call.
func addHeaders(method string, call, definitions *object) {
	responses := call.object("responses")
	answer := responses.object("200")
	streams := slices.Contains(call.list("produces"), any("text/event-stream"))
	tagged := !streams && has(answer.object("schema"), definitions, "etag")
	if method == "get" {
		switch {
		case streams && takes(call, definitions, "after"):
			addHeader(call, "Last-Event-ID", "Id of the last event that the reader has: what it missed is told first. It outdoes `after`.")
		case tagged:
			addHeader(call, "If-None-Match", "Tags of answers that the asker has, as the header `ETag` had them, or `*`: where one is still right, the answer is 304 without a body.")
			responses.insert(1, "304", newObject(member{"description", "The asker has the answer already."}))
		}
	} else {
		if takes(call, definitions, "etag") {
			addHeader(call, "If-Match", "The tag that the header `ETag` had, in the place of `etag`; `*` for whatever is there. Where the thing has changed since, the answer is 412; 409 where `etag` says it.")
		}
		if takes(call, definitions, "request_id") {
			addHeader(call, "Idempotency-Key", "In the place of `request_id`: the same key with the same body is answered with the same thing.")
		}
	}
	if tagged {
		answer.set("headers", newObject(member{"ETag", newObject(
			member{"type", "string"}, member{"description", "Changes whenever anything in the answer does; what is before the dot is the `etag`."},
		)}))
	}
}

func addHeader(call *object, name, description string) {
	call.set("parameters", append(call.list("parameters"), newObject(
		member{"name", name}, member{"description", description}, member{"in", "header"}, member{"required", false}, member{"type", "string"},
	)))
}

// takes says whether a request has a field of its own that a caller may set: in the query or in the body.
func takes(call, definitions *object, field string) bool {
	for _, p := range call.list("parameters") {
		p := p.(*object)
		if p.text("in") == "query" && p.text("name") == field || p.text("in") == "body" && has(p.object("schema"), definitions, field, settable) {
			return true
		}
	}
	return false
}

// settable leaves out what the answer alone has: the body of a call that makes or changes a resource is the resource itself,
// whose etag nobody sets.
func settable(property *object) bool { return property.get("readOnly") != any(true) }

// has says whether a schema has a text of that name of which all conditions hold.
func has(schema, definitions *object, field string, conditions ...func(*object) bool) bool {
	if name := schema.text("$ref"); name != "" {
		schema = definitions.object(name[len("#/definitions/"):])
	}
	property := schema.object("properties").object(field)
	if property.text("type") != "string" {
		return false
	}
	return !slices.ContainsFunc(conditions, func(holds func(*object) bool) bool { return !holds(property) })
}
