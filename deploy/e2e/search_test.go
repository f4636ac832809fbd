package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"
)

// searcher finds values in whatever people or programs may have made of them. All is compared
// without regard to the case of ASCII letters.
type searcher struct {
	needles []needle
	heads   [1 << 16][]int // needles by their first two bytes
}

// needle is one value in one encoding.
type needle struct {
	what, encoding string
	bytes          []byte // folded
}

const (
	// contextBytes is how much is shown on each side of what was found.
	contextBytes = 40
	// minEncoded is the length from which a value is sought in other encodings too: fewer bytes
	// would be found by chance in files of this size.
	minEncoded = 5
)

var folded = func() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			table[i] += 'a' - 'A'
		}
	}
	return table
}()

// seek adds a value: as it is, and where it is long enough in hexadecimal, base64 and UTF-16. JSON
// changes none of these values, which are letters, digits and signs that it does not escape.
func (s *searcher) seek(what string, value []byte) {
	s.add(what, "plain", value)
	if len(value) < minEncoded {
		return
	}
	s.add(what, "hex", []byte(hex.EncodeToString(value)))
	for shift := range 3 {
		// Without the characters that hold bits of what may stand before and after it.
		coded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), value...))
		first := (shift*8 + 5) / 6
		last := (shift + len(value)) * 8 / 6
		s.add(what, fmt.Sprintf("base64+%d", shift), []byte(coded[first:last]))
	}
	var wide []byte
	for _, unit := range utf16.Encode([]rune(string(value))) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	s.add(what, "UTF-16", wide)
}

func (s *searcher) add(what, encoding string, value []byte) {
	n := needle{what: what, encoding: encoding, bytes: make([]byte, len(value))}
	for i, b := range value {
		n.bytes[i] = folded[b]
	}
	head := int(n.bytes[0])<<8 | int(n.bytes[1])
	s.heads[head] = append(s.heads[head], len(s.needles))
	s.needles = append(s.needles, n)
}

// hit is a value found.
type hit struct {
	needle  needle
	context string
}

func (h hit) String() string {
	return fmt.Sprintf("%s (%s) in the clear: %q", h.needle.what, h.needle.encoding, h.context)
}

// find lists what bytes hold of the values sought, each needle once. It is run over hundreds of megabytes that nobody else has: the race
// detector would find nothing in it, and is left out.
//
//go:norace
func (s *searcher) find(content []byte) (hits []hit) {
	seen := map[int]bool{}
	for i := range content {
		next := i + 1
		if next < len(content) {
			hits = s.look(content, i, content[next], seen, hits)
		}
		for next < len(content) && isBlank(content[next]) {
			next++
		}
		if next > i+1 && next < len(content) {
			hits = s.look(content, i, content[next], seen, hits)
		}
	}
	return hits
}

// look adds what begins at a place, with the second byte given.
//
//go:norace
func (s *searcher) look(content []byte, first int, second byte, seen map[int]bool, hits []hit) []hit {
	for _, n := range s.heads[int(folded[content[first]])<<8|int(folded[second])] {
		if seen[n] || !startsWith(content[first:], s.needles[n].bytes) {
			continue
		}
		seen[n] = true
		end := min(len(content), first+len(s.needles[n].bytes)+contextBytes)
		hits = append(hits, hit{s.needles[n], string(content[max(0, first-contextBytes):end])})
	}
	return hits
}

//go:norace
func isBlank(b byte) bool { return b == ' ' || b == '\n' || b == '\r' }

// startsWith passes over blanks and ends of lines that the value does not have: JSON and text may
// stand with them, and base64 and hexadecimal in lines.
//
//go:norace
func startsWith(content, foldedPrefix []byte) bool {
	for _, b := range foldedPrefix {
		for len(content) > 0 && folded[content[0]] != b && isBlank(content[0]) {
			content = content[1:]
		}
		if len(content) == 0 || folded[content[0]] != b {
			return false
		}
		content = content[1:]
	}
	return true
}

// none fails the test where bytes hold any of the values.
func (s *searcher) none(t testing.TB, where string, content []byte) {
	t.Helper()
	for _, h := range s.find(content) {
		t.Errorf("%s: %s", where, h)
	}
}

// eachFile reads every file of a network: stores, keys, the hub's and the buses' streams, logs.
func eachFile(t testing.TB, root string, visit func(path string, content []byte)) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil || !entry.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a broker's file that it has just dropped
		}
		if err == nil {
			visit(path, content)
		}
		return err
	}))
}

// leaks looks for the values in the names and the bytes of every file of a network. Nothing of
// them may lie anywhere in the clear.
func (s *searcher) leaks(t testing.TB, root string) {
	t.Helper()
	files, bytesRead := 0, 0
	eachFile(t, root, func(path string, content []byte) {
		files, bytesRead = files+1, bytesRead+len(content)
		s.none(t, path, content)
		s.none(t, "the name of a file", []byte(strings.TrimPrefix(path, root)))
	})
	t.Logf("%d files with %d bytes searched", files, bytesRead)
	if files < 50 {
		t.Errorf("only %d files were searched", files)
	}
}

// The searcher finds each value in each encoding, at every place and in both cases, and nothing
// where there is none.
func TestSearcherFindsWhatIsThere(t *testing.T) {
	const value = "Synthetic-Value-7"
	s := &searcher{}
	s.seek("value", []byte(value))
	inLines := func(text string) []byte {
		return []byte(regexp.MustCompile(`.{5}`).ReplaceAllString(text, "$0\r\n"))
	}
	for shift := range 6 {
		around := strings.Repeat("x", shift)
		plain := []byte(around + value + around)
		var wide []byte
		for _, b := range plain {
			wide = append(wide, b, 0)
		}
		for encoding, content := range map[string][]byte{
			"plain": plain, "upper": []byte(strings.ToUpper(string(plain))), "hex": []byte(hex.EncodeToString(plain)),
			"HEX": []byte(strings.ToUpper(hex.EncodeToString(plain))), "base64": []byte(base64.StdEncoding.EncodeToString(plain)),
			"base64url": []byte(base64.RawURLEncoding.EncodeToString(plain)), "UTF-16": wide,
			"base64 in lines": inLines(base64.StdEncoding.EncodeToString(plain)), "hex in lines": inLines(hex.EncodeToString(plain)),
		} {
			if len(s.find(content)) == 0 {
				t.Errorf("%s, %d before it: not found in %q", encoding, shift, content)
			}
		}
	}
	for _, without := range []string{"", "S", "Synthetic-Value-", "ynthetic-Value-7", strings.Repeat("Synthetic-Value ", 20)} {
		if hits := s.find([]byte(without)); hits != nil {
			t.Errorf("found in %q: %v", without, hits)
		}
	}
}
