package process

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// The wrapping key is replaced when it is six days old, and not before, and when it was made in the future; the scrub of a
// sound store ends, and reads the key file too.
func TestTend(t *testing.T) {
	dir := t.TempDir()
	made := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	now := made
	keys, err := privacy.OpenKeyring(t.Context(), privacy.Options{Dir: dir, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	schema := store.NewSchema("tended", 1)
	audit.Declare(schema)
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "tended.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p := &Process{Keys: keys, DB: db, Log: logging.Discard()}
	for _, step := range []struct {
		age    time.Duration
		turned bool
	}{{-2 * time.Hour, true}, {5*24*time.Hour - 2*time.Hour, false}, {6*24*time.Hour - 2*time.Hour, true}, {7 * 24 * time.Hour, false}, {12 * 24 * time.Hour, true}} {
		before := keys.LastTurnOver()
		now = made.Add(step.age)
		p.turnOver(t.Context(), now)
		if turned := keys.LastTurnOver() != before; turned != step.turned {
			t.Errorf("after %v: turned over %t", step.age, turned)
		}
	}
	if err := p.scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.scrub(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("the scrub has not read the key file: %v", err)
	}
}
