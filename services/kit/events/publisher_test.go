package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"amanat.example/services/kit/events"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

func publisher(db *store.DB, b *broker, now func() time.Time) *events.Publisher {
	return events.NewPublisher(events.PublisherConfig{DB: db, Log: ownerLog, Node: "sindh", Broker: b, Logger: logging.Discard(), Now: now})
}

func TestPublishedAsCloudEvents(t *testing.T) {
	db, b := openFile(t, ownerSchema), &broker{}
	add(t, db, 1, 1)
	drain(t, publisher(db, b, nil).Step)
	m := b.messages[0]
	id := events.StoreID(db) + "-1"
	if m.Subject != "amanat.sindh.shelter.hold.held.v1" || m.ID != id {
		t.Errorf("subject %s, id %s", m.Subject, m.ID)
	}
	var got struct {
		SpecVersion, ID, Source, Type, Subject, Time, DataContentType string
		Data                                                          map[string]any
	}
	if err := json.Unmarshal(m.Payload, &got); err != nil {
		t.Fatal(err)
	}
	if got.SpecVersion != "1.0" || got.ID != id || got.Source != "/nodes/sindh/services/shelter" || got.Type != held ||
		got.Subject != name(1) || got.Time != "2026-03-01T08:00:00Z" || got.DataContentType != "application/json" || got.Data["hold"] != name(1) {
		t.Errorf("got %s", m.Payload)
	}
}

func TestPublisherGoesOnWhereItsMarkStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shelter.db")
	db := open(t, store.Options{Path: path, Schema: ownerSchema})
	b, now := &broker{}, start
	clock := func() time.Time { return now }
	add(t, db, 1, 300)
	p := publisher(db, b, clock)
	drain(t, p.Step)
	now = now.Add(2 * time.Second) // The mark is due.
	drain(t, p.Step)
	closeChecked(t, db)

	db = open(t, store.Options{Path: path, Schema: ownerSchema})
	add(t, db, 301, 1)
	drain(t, publisher(db, b, clock).Step)
	if b.count() != 301 {
		t.Fatalf("%d published", b.count())
	}
	for i, m := range b.messages {
		var got struct{ Subject string }
		if err := json.Unmarshal(m.Payload, &got); err != nil || got.Subject != name(i+1) {
			t.Fatalf("message %d is about %s, %v", i, got.Subject, err)
		}
	}
}

func TestACrashBeforeTheMarkRepeatsUnderTheSameIDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shelter.db")
	db := open(t, store.Options{Path: path, Schema: ownerSchema})
	b := &broker{}
	add(t, db, 1, 3)
	drain(t, publisher(db, b, func() time.Time { return start }).Step)
	closeChecked(t, db)
	db = open(t, store.Options{Path: path, Schema: ownerSchema})
	drain(t, publisher(db, b, func() time.Time { return start }).Step)
	if b.count() != 6 || b.messages[0].ID != b.messages[3].ID || b.messages[2].ID != b.messages[5].ID {
		t.Errorf("got %d messages", b.count())
	}
}

func TestANewLifeOfTheStoreGoesOnAtTheMark(t *testing.T) {
	engine := store.NewMemory()
	db := open(t, store.Options{Engine: engine, Schema: ownerSchema})
	b := &broker{}
	now := start
	p := publisher(db, b, func() time.Time { return now })
	add(t, db, 1, 2)
	drain(t, p.Step)
	now = now.Add(time.Hour)
	drain(t, p.Step)
	if err := db.RaiseIncarnation(t.Context(), db.Incarnation()); err != nil {
		t.Fatal(err)
	}
	add(t, db, 3, 1)
	drain(t, p.Step)
	if b.count() != 3 || b.messages[2].ID != events.StoreID(db)+"-3" {
		t.Errorf("got %v", b.messages)
	}
}

func TestPublisherSurvivesItsBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, store.Options{Engine: store.NewMemory(), Schema: ownerSchema})
		b := &broker{err: errors.New("no responders")}
		p := publisher(db, b, nil)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.Run(ctx)
		}()
		add(t, db, 1, 3)
		time.Sleep(time.Hour)
		b.set(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if b.count() != 3 {
			t.Errorf("%d published after the broker came back", b.count())
		}
		add(t, db, 4, 1)
		synctest.Wait() // No time has passed: the commit woke it.
		if b.count() != 4 {
			t.Errorf("%d published after the commit", b.count())
		}
		stop()
		<-ended
	})
}
