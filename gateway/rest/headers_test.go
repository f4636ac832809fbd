package rest

import (
	"slices"
	"strings"
	"testing"
)

// The examples of RFC 9110, sections 8.8.3 and 13.1.2, and what is none of them.
func TestTagsOfAHeader(t *testing.T) {
	for header, want := range map[string]string{
		`"xyzzy"`:                       "xyzzy",
		`W/"xyzzy"`:                     "W/xyzzy",
		`""`:                            "",
		`"xyzzy", "r2d2xxxx", "c3"`:     "xyzzy r2d2xxxx c3",
		`W/"xyzzy", W/"r2", "c3"`:       "W/xyzzy W/r2 c3",
		`"a,b" , "c"`:                   "a,b c",
		`"a","b"`:                       "a b",
		` , "a" ,, "b" , `:              "a b",
		`*`:                             "*",
		"\t*":                           "*",
		`xyzzy`:                         "refused",
		`"xyzzy`:                        "refused",
		`w/"xyzzy"`:                     "refused",
		`"a" "b"`:                       "refused",
		`"a b"`:                         "refused",
		`*, "a"`:                        "refused",
		`"a", *`:                        "refused",
		`"a"b`:                          "refused",
		"\"a\x00\"":                     "refused",
		strings.Repeat(`"a",`, 3) + `"`: "refused",
	} {
		parsed, err := parseTags("If-Match", []string{header})
		var got []string
		for i, tag := range parsed.opaque {
			got = append(got, map[bool]string{true: "W/"}[parsed.weak[i]]+tag)
		}
		said := strings.Join(got, " ")
		if parsed.any {
			said = "*"
		}
		if err != nil {
			said = "refused"
		}
		if said != want {
			t.Errorf("%q: %q, want %q", header, said, want)
		}
	}
	if both, err := parseTags("If-Match", []string{`"a"`, `"b"`}); err != nil || !slices.Equal(both.opaque, []string{"a", "b"}) {
		t.Errorf("in two lines: %v %v", both, err)
	}
}

func TestRowOfATag(t *testing.T) {
	for tag, want := range map[string]string{"5": "5", "5.sW0wmHXFGBsu": "5", "5.short": "5.short", "": "", "12.A-_AAAAAAAAA.": "12.A-_AAAAAAAAA."} {
		if got := rowTag(tag); got != want {
			t.Errorf("%q: %q, want %q", tag, got, want)
		}
	}
}
