package rest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
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

// What a request that only reads asks of an answer, tagged or not; a weak tag stands for no other answer strongly.
func TestConditions(t *testing.T) {
	for _, c := range []struct {
		header, value, tag string
		weak               bool
		want               error
	}{
		{ifMatchHeader, `"a"`, "a", false, nil},
		{ifMatchHeader, `"a"`, "b", false, fault.StaleEtag()},
		{ifMatchHeader, `"a"`, "a", true, fault.StaleEtag()},
		{ifMatchHeader, `""`, "", false, fault.StaleEtag()},
		{ifMatchHeader, `*`, "", false, nil},
		{ifNoneMatchHeader, `"a"`, "a", false, errNotModified},
		{ifNoneMatchHeader, `"a"`, "a", true, errNotModified},
		{ifNoneMatchHeader, `"a"`, "b", false, nil},
		{ifNoneMatchHeader, `""`, "", false, nil},
		{ifNoneMatchHeader, `*`, "", false, errNotModified},
	} {
		x := &exchange{header: http.Header{c.header: {c.value}}, safe: true}
		if got := x.condition(c.tag, c.weak); !errors.Is(got, c.want) {
			t.Errorf("%s: %s of %q, weak %v: %v, want %v", c.header, c.value, c.tag, c.weak, got, c.want)
		}
	}
}

// A tag never breaks out of its header, whatever etag a service has; and one key is one key.
func TestWhatCannotBeAHeader(t *testing.T) {
	h := &Handler{tagKey: []byte("key")}
	for etag, tagged := range map[string]bool{"5": true, "": false, `5", "6`: false, "5 6": false, "5\r\nX: y": false} {
		if tag, _ := h.tagOf(&shelterv1.Hold{Etag: etag}); (tag != "") != tagged {
			t.Errorf("%q is tagged %q", etag, tag)
		}
	}
	other := &Handler{tagKey: []byte("another key")}
	one, _ := h.tagOf(&shelterv1.Hold{Etag: "5"})
	if same, _ := other.tagOf(&shelterv1.Hold{Etag: "5"}); same == one {
		t.Error("who knows an answer can work out its tag")
	}
	for _, values := range [][]string{{"12345678", "12345678"}, {`12345678\`}, {`"1234"5678"`}} {
		x := &exchange{header: http.Header{keyHeader: values}}
		if err := x.fillKey((&shelterv1.PlaceHoldRequest{}).ProtoReflect()); fault.ReasonOf(err) != fault.Field {
			t.Errorf("%q: %v", values, err)
		}
	}
}

// What has a tag, or can hold what identifies a person, is not compressed.
func TestWhatIsCompressed(t *testing.T) {
	if !mayCompress(&federalv1.Figures{}, false) || mayCompress(&federalv1.Figures{}, true) || mayCompress(&shelterv1.Shelter{}, false) {
		t.Error("compressed is what must not be, or what may be is not")
	}
}

func TestRowOfATag(t *testing.T) {
	for tag, want := range map[string]string{"5": "5", "5.sW0wmHXFGBsu": "5", "5.short": "5.short", "": "", "12.A-_AAAAAAAAA.": "12.A-_AAAAAAAAA."} {
		if got := rowTag(tag); got != want {
			t.Errorf("%q: %q, want %q", tag, got, want)
		}
	}
}
