// Package store is the federal service's schema: every table and key of its file.
package store

import (
	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// Schema of the file. Version 1 is the first.
var Schema = store.NewSchema("federal", 1)

var (
	// Flows: every fact, under FlowKey.
	Flows = store.NewTable[*federalv1.FlowRecord](Schema, "flows")
	// Corridors: what the facts add up to, under CorridorKey.
	Corridors = store.NewTable[*federalv1.Corridor](Schema, "corridors")
	// Late: (node, service) → what it last told of missed deadlines.
	Late = store.NewTable[*federalv1.LateReport](Schema, "late_reports")
	// Post: letters from the nodes.
	Post = post.Declare(Schema)
	// Events: none are published; the frame of every service has a log.
	Events = events.Declare(Schema, "federal", nil)
	// Audit: nothing here is marked, so no row is ever needed; the frame of every service has a log.
	Audit = audit.Declare(Schema)
)

// FlowKey is the key of a fact: (flow, stage).
func FlowKey(f *federalv1.FlowFact) store.Key {
	return store.K(f.GetFlowId(), uint32(f.GetStage()))
}

// CorridorKey is the key of a count: (from, to, stage).
func CorridorKey(from, to string, stage federalv1.Stage) store.Key {
	return store.K(from, to, uint32(stage))
}
