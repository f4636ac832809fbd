package store_test

import (
	"bytes"
	"cmp"
	"testing"
	"time"

	"pgregory.net/rapid"

	"amanat.example/services/kit/store"
)

// TestKeysOrderAsTheirParts draws pairs of keys with alike parts and compares the order of the keys with that of the parts.
func TestKeysOrderAsTheirParts(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune{0, 1, 'a', 'b', 0xff}), 0, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		var a, b []any
		order := 0
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			var x, y any
			var c int
			switch rapid.IntRange(0, 5).Draw(t, "type") {
			case 0:
				v, w := text.Draw(t, "x"), text.Draw(t, "y")
				x, y, c = v, w, cmp.Compare(v, w)
			case 1:
				v, w := []byte(text.Draw(t, "x")), []byte(text.Draw(t, "y"))
				x, y, c = v, w, bytes.Compare(v, w)
			case 2:
				v, w := rapid.Uint64().Draw(t, "x"), rapid.Uint64().Draw(t, "y")
				x, y, c = v, w, cmp.Compare(v, w)
			case 3:
				v, w := rapid.Uint32().Draw(t, "x"), rapid.Uint32().Draw(t, "y")
				x, y, c = v, w, cmp.Compare(v, w)
			case 4:
				v, w := rapid.Int64().Draw(t, "x"), rapid.Int64().Draw(t, "y")
				x, y, c = v, w, cmp.Compare(v, w)
			case 5:
				v := time.Unix(rapid.Int64Range(-1e11, 1e11).Draw(t, "x"), rapid.Int64Range(0, 999999999).Draw(t, "n"))
				w := v.Add(time.Duration(rapid.Int64Range(-3, 3).Draw(t, "y"))).UTC()
				x, y, c = v, w, v.Compare(w)
			}
			a, b = append(a, x), append(b, y)
			order = cmp.Or(order, c)
		}
		if got := bytes.Compare(store.K(a...), store.K(b...)); got != order {
			t.Fatalf("K(%v) and K(%v) compare as %d, want %d", a, b, got, order)
		}
		// A part ends itself: what begins with the key of a begins with the parts of a.
		if order != 0 && bytes.HasPrefix(store.K(b...), store.K(a...)) {
			t.Fatalf("K(%v) begins with K(%v)", b, a)
		}
	})
}

func TestAKeyPartOfAnotherTypePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("K took an int")
		}
	}()
	store.K(1)
}
