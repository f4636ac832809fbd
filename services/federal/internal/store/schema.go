// Package store is the federal service's schema: every table and key of its file.
package store

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// Schema of the file. Version 1 kept flows by stage; version 2 keeps facts of any kind.
var Schema = store.NewSchema("federal", 2)

var (
	// Facts: (flow, id) → a fact as it was told. They are never changed, and all else but what is told of days, shelters, links and deadlines
	// follows from them.
	Facts = store.NewTable[*federalv1.FactRecord](Schema, "facts")
	// FactsByDay are the facts of one day that one service told: (node, service, day).
	FactsByDay = store.NewIndex(Facts, "facts_by_day", func(r *federalv1.FactRecord) []store.Key {
		return []store.Key{store.K(r.GetSourceNode(), r.GetSourceService(), facts.Day(r.GetFact().GetEventTime().AsTime()))}
	})
	// CaseFlows: (case's flow, node where both begin, referral's flow) → the last. They follow from the facts.
	CaseFlows = store.NewTable[*federalv1.FlowLink](Schema, "case_flows")
	// Counts: what the facts add up to, under CountKey.
	Counts = store.NewTable[*federalv1.Count](Schema, "counts")
	// Days: (node, service, day) → how many facts are kept of it here, and how many were told.
	Days = store.NewTable[*federalv1.DayRecord](Schema, "days")
	// DifferingDays are those that are not the same at both ends, by (node, service, day).
	DifferingDays = store.NewIndex(Days, "days_differing", func(d *federalv1.DayRecord) []store.Key {
		if d.GetDifferTime() == nil {
			return nil
		}
		return []store.Key{store.K(d.GetNode(), d.GetService(), d.GetKept().GetDay())}
	})
	// Shelters: (node, day) → what its shelters had, as it said last that day.
	Shelters = store.NewTable[*federalv1.ShelterRecord](Schema, "shelters")
	// Links: (node, service) → what it last said of its links.
	Links = store.NewTable[*federalv1.LinkRecord](Schema, "links")
	// Late: (node, service) → what it last told of missed deadlines.
	Late = store.NewTable[*federalv1.LateReport](Schema, "late_reports")
	// Counted: one row, under CountedKey, which way of counting the counts are of.
	Counted = store.NewTable[*wrapperspb.UInt64Value](Schema, "counted")
	// Post: letters from the nodes.
	Post = post.Declare(Schema)
	// Events: none are published; the frame of every service has a log.
	Events = events.Declare(Schema, "federal", nil)
	// Audit: who published months anew. Nothing here is marked, so no reading needs a row.
	Audit = audit.Declare(Schema)
	// Publications: every edition of every month, under PublicationKey. They are never changed.
	Publications = store.NewTable[*federalv1.Publication](Schema, "publications")
	// Frozen: month → what stands behind its newest edition.
	Frozen = store.NewTable[*federalv1.FrozenMonth](Schema, "frozen_months")
	// Awaited: month → a month that is over and is to be published.
	Awaited = store.NewTable[*federalv1.AwaitedMonth](Schema, "awaited_months")
	// Publishing: one row, under PublishingKey.
	Publishing = store.NewTable[*federalv1.PublishingRecord](Schema, "publishing")
	// Revisions: request id → what it published.
	Revisions = store.NewTable[*federalv1.RevisionRecord](Schema, "revisions")

	// flows and corridors are what version 1 kept; empty since.
	flows     = store.NewTable[*federalv1.FlowRecord](Schema, "flows")
	corridors = store.NewTable[*federalv1.Corridor](Schema, "corridors")
)

// CountedKey is the key of Counted's row.
var CountedKey = store.K("version")

// PublishingKey is the key of Publishing's row.
var PublishingKey = store.K("publishing")

// ReadPublishing is Publishing's row, the reader's own to change; an empty one while there is none.
func ReadPublishing(r store.Reader) (*federalv1.PublishingRecord, error) {
	publishing, err := Publishing.Get(r, PublishingKey)
	if errors.Is(err, store.ErrNotFound) {
		return &federalv1.PublishingRecord{}, nil
	}
	return proto.CloneOf(publishing), err
}

// FactKey is the key of a fact.
func FactKey(flowID, id []byte) store.Key { return store.K(flowID, id) }

// PublicationKey is the key of an edition of a month.
func PublicationKey(month string, edition int32) store.Key { return store.K(month, uint32(edition)) }

// CountKey is the key of a count.
func CountKey(figure, month, from, to, detail string) store.Key {
	return store.K(figure, month, from, to, detail)
}

// OldService is who told a fact of version 1: which of a node's services it was is not known.
const OldService = "referral"

func init() {
	Schema.Migrate(1, "flows by stage become facts of any kind", func(_ context.Context, tx *store.Tx) error {
		var records []*federalv1.FlowRecord
		err := flows.Scan(tx, store.Range{}, func(_ store.Key, r *federalv1.FlowRecord) error {
			records = append(records, r)
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range records {
			f := facts.Of(r.GetFact())
			id := facts.ID(r.GetSourceNode(), OldService, f)
			err := Facts.Insert(tx, FactKey(f.GetFlowId(), id), &federalv1.FactRecord{
				Fact: f, FactId: id, SourceNode: r.GetSourceNode(), SourceService: OldService,
			})
			if err != nil {
				return err
			}
			if err := flows.Delete(tx, store.K(r.GetFact().GetFlowId(), uint32(r.GetFact().GetStage()))); err != nil {
				return err
			}
		}
		var old []store.Key
		err = corridors.Scan(tx, store.Range{}, func(k store.Key, _ *federalv1.Corridor) error {
			old = append(old, append(store.Key(nil), k...))
			return nil
		})
		if err != nil {
			return err
		}
		for _, k := range old {
			if err := corridors.Delete(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxDiffering bounds the days of one service that a status names, so that who has many hides nobody else's.
const maxDiffering = 20

// Status names the days on which both ends differ, and says whether publications stand still.
func Status(r store.Reader, into *statusv1.Status) error {
	publishing, err := ReadPublishing(r)
	if err != nil {
		return err
	}
	into.PublicationsWithheld = publishing.GetWithheld()
	for span := (store.Range{}); ; {
		rows, _, err := DifferingDays.Page(r, span, maxDiffering)
		if err != nil || len(rows) == 0 {
			return err
		}
		first := rows[0].Value
		for _, row := range rows {
			if d := row.Value; d.GetNode() == first.GetNode() && d.GetService() == first.GetService() {
				into.DifferingDays = append(into.DifferingDays, d.GetNode()+"/"+d.GetService()+" "+d.GetKept().GetDay())
			}
		}
		span.After = store.K(first.GetNode(), first.GetService()+"\x00") // behind all days of the service
	}
}
