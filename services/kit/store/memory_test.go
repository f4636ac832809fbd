package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"amanat.example/services/kit/store"
)

// Each shows the same for two stores that came to the same rows by different ways, and another file row once one was restored. Commits
// counts those that wrote.
func TestMemoryEach(t *testing.T) {
	schema := store.NewSchema("each", 1)
	table := store.NewTable[*wrapperspb.StringValue](schema, "things")
	show := func(m *store.Memory) string {
		var b strings.Builder
		if err := m.Each(func(bucket string, key, payload []byte) {
			if bucket == "things" {
				fmt.Fprintf(&b, "%s %x %x\n", bucket, key, payload)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	made := func(texts ...string) *store.Memory {
		m := store.NewMemory()
		db, err := store.Open(t.Context(), store.Options{Engine: m, Inline: true, Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		before := m.Commits()
		for _, text := range texts {
			if err := db.Update(context.Background(), func(tx *store.Tx) error {
				return table.Put(tx, store.K(text[:1]), wrapperspb.String(text))
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Update(context.Background(), func(*store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if got := m.Commits() - before; got != len(texts) {
			t.Errorf("%d commits, want %d", got, len(texts))
		}
		return m
	}
	one, other := made("a1", "b1"), made("b0", "b1", "a1")
	if got := show(one); got == "" || got != show(other) {
		t.Errorf("%q and %q", got, show(other))
	}
	if show(one) == show(made("a1", "b2")) || one.Clone().Commits() != 0 {
		t.Error("different rows look the same, or a copy has commits")
	}
}

// A commit that is to fail later lets those before it be, and a crash forgets that one was to fail.
func TestMemoryFailsALaterCommit(t *testing.T) {
	schema := store.NewSchema("later", 1)
	table := store.NewTable[*wrapperspb.StringValue](schema, "things")
	m, lost := store.NewMemory(), errors.New("power was lost")
	write := func(texts ...string) (err error) {
		db, err := store.Open(t.Context(), store.Options{Engine: m, Inline: true, Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if err == nil {
				err = db.Update(context.Background(), func(tx *store.Tx) error { return table.Insert(tx, store.K(text), wrapperspb.String(text)) })
			}
		}
		return err
	}
	if err := write("made"); err != nil {
		t.Fatal(err)
	}
	m.FailCommitAfter(2, lost)
	if err := write("a", "b"); err != nil {
		t.Errorf("two are spared, and one fails: %v", err)
	}
	if err := write("c"); !errors.Is(err, lost) {
		t.Errorf("the third does not fail: %v", err)
	}
	m.FailCommitAfter(1, lost)
	m.Crash(false)
	if err := write("c", "d", "e"); err != nil { // Insert: the third is gone
		t.Errorf("after a crash: %v", err)
	}
}
