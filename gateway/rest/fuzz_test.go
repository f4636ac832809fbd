package rest

import (
	"errors"
	"strings"
	"testing"

	"amanat.example/services/kit/fault"
)

// A list of entity tags is read as what it is, or refused by the header's name without a word of it; what was read, written again, is the same
// list.
func FuzzTags(f *testing.F) {
	for _, value := range []string{`"xyzzy"`, `W/"a", "b",,`, `*`, `"a" "b"`, "\"a\x00\"", strings.Repeat(`"a",`, 99) + `"`} {
		f.Add(value, "")
	}
	f.Add(`"a`, `b"`)
	f.Fuzz(func(t *testing.T, one, two string) {
		values := []string{one, two}
		if two == "" {
			values = values[:1]
		}
		read, err := parseTags(ifMatchHeader, values)
		if refused, ok := errors.AsType[*fault.Error](err); err != nil {
			if !ok || refused.Reason() != fault.Field || len(one) > 20 && strings.Contains(err.Error(), one) || read.any || len(read.opaque) > 0 {
				t.Errorf("refused with %v, and read %v", err, read)
			}
			return
		}
		if len(read.opaque) != len(read.weak) {
			t.Fatalf("%d tags, %d of them weak or strong", len(read.opaque), len(read.weak))
		}
		var again []string
		for i, tag := range read.opaque {
			if strings.ContainsAny(tag, "\" \x00\x7f\n") {
				t.Errorf("%q is no tag", tag)
			}
			again = append(again, map[bool]string{true: "W/", false: ""}[read.weak[i]]+`"`+tag+`"`)
			if !read.has(tag, false) || read.has(tag+"x", true) && !strings.Contains(one+two, tag+"x") {
				t.Errorf("%q is not among its own", tag)
			}
		}
		if read.any {
			again = append(again, "*")
		}
		same, err := parseTags(ifMatchHeader, []string{strings.Join(again, ",")})
		if err != nil || same.any != read.any || strings.Join(same.opaque, " ") != strings.Join(read.opaque, " ") {
			t.Errorf("%q is read as %v, written again as %v: %v", values, read, same, err)
		}
	})
}
