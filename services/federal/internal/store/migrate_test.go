package store_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

// The schema of version 1.
var (
	old          = kitstore.NewSchema("federal", 1)
	oldFlows     = kitstore.NewTable[*federalv1.FlowRecord](old, "flows")
	oldCorridors = kitstore.NewTable[*federalv1.Corridor](old, "corridors")
	_            = kitstore.NewTable[*federalv1.LateReport](old, "late_reports")
	_            = post.Declare(old)
	_            = events.Declare(old, "federal", nil)
	_            = audit.Declare(old)
)

// A file of version 1 keeps its facts.
func TestFilesOfVersion1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "federal.db")
	db, err := kitstore.Open(t.Context(), kitstore.Options{Path: path, Schema: old})
	if err != nil {
		t.Fatal(err)
	}
	id := bytes.Repeat([]byte{7}, 16)
	at := timestamppb.New(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))
	stages := []federalv1.Stage{federalv1.Stage_STAGE_REFERRED, federalv1.Stage_STAGE_ARRIVED}
	err = db.Update(t.Context(), func(tx *kitstore.Tx) error {
		for _, stage := range stages {
			record := &federalv1.FlowRecord{SourceNode: "punjab", Fact: &federalv1.FlowFact{FlowId: id, Stage: stage, FromNode: "sindh", ToNode: "punjab", Time: at}}
			if err := oldFlows.Put(tx, kitstore.K(id, uint32(stage)), record); err != nil {
				return err
			}
			if err := oldCorridors.Put(tx, kitstore.K("sindh", "punjab", uint32(stage)), &federalv1.Corridor{FromNode: "sindh", ToNode: "punjab", Stage: stage, Flows: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = kitstore.Open(t.Context(), kitstore.Options{Path: path, Schema: store.Schema})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		report, err := db.Check(t.Context())
		if err != nil || report.Err() != nil {
			t.Error(err, report.Err())
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	var kinds []string
	err = db.View(t.Context(), func(r kitstore.Reader) error {
		return store.Facts.Scan(r, kitstore.Range{Prefix: kitstore.K(id)}, func(_ kitstore.Key, f *federalv1.FactRecord) error {
			kinds = append(kinds, f.GetFact().GetKind())
			if f.GetSourceNode() != "punjab" || f.GetFact().GetToNode() != "punjab" || !f.GetFact().GetEventTime().AsTime().Equal(at.AsTime()) ||
				!bytes.Equal(f.GetFactId(), facts.ID("punjab", store.OldService, f.GetFact())) {
				t.Errorf("kept %v", f)
			}
			return nil
		})
	})
	if err != nil || len(kinds) != 2 {
		t.Errorf("%v, %v", kinds, err)
	}
}
