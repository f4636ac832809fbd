// Package store is the protection service's schema: every table, key and index of its file.
package store

import (
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// Schema of the file. Version 1 is the first.
var Schema = store.NewSchema("protection", 1)

// Tables. A key is the resource name unless said otherwise.
var (
	// Units of this node.
	Units = store.NewTable[*protectionv1.Unit](Schema, "units")
	// Workers: name and telephone lie sealed under the worker's own key.
	Workers = privacy.NewSealedTable(Schema, "workers", func(w *protectionv1.Worker) string { return KeyName(w.GetName()) })
	// Cases: the person's data lies sealed under the case's own key.
	Cases = privacy.NewSealedTable(Schema, "cases", func(r *protectionv1.CaseRecord) string { return KeyName(r.GetCase().GetName()) })
	// Dossiers: (referral) → what came of it from another node, until a case is made of it.
	Dossiers = privacy.NewSealedTable(Schema, "dossiers", func(d *protectionv1.ReceivedDossier) string {
		return DossierKeyName(d.GetDossier().GetReferral())
	})
	// Requests: (request id) → the case a call made, for ever.
	Requests = store.NewTable[*protectionv1.CaseRequest](Schema, "case_requests")
	// Heard: (referral) → what was heard of a referral of this node before the answer that says
	// which case it belongs to.
	Heard = store.NewTable[*referralv1.ReferralChanged](Schema, "referrals_heard")
	// Counters: one row, the number in the last reference, under ReferenceKey.
	Counters = store.NewTable[*wrapperspb.UInt64Value](Schema, "counters")
)

// Logs and queues of the service.
var (
	// Events: what happened, ids and codes only.
	Events = events.Declare(Schema, "protection", events.Catalogue{
		"protection.case.created.v1":   &protectionv1.CaseChanged{},
		"protection.case.consented.v1": &protectionv1.CaseChanged{},
		"protection.case.referred.v1":  &protectionv1.CaseChanged{},
		"protection.case.received.v1":  &protectionv1.CaseChanged{},
		"protection.case.closed.v1":    &protectionv1.CaseChanged{},
	})
	// Audit: who read a person's data.
	Audit = audit.Declare(Schema)
	// Letters to and from other nodes.
	Letters = post.Declare(Schema)
	// Commands owed to the node's referral service.
	Commands = outbox.Declare(Schema)
)

// Indexes.
var (
	// CasesByTime: (create time, name).
	CasesByTime = privacy.NewSealedIndex(Cases, "cases_by_time", func(r *protectionv1.CaseRecord) []store.Key {
		return []store.Key{store.K(r.GetCase().GetCreateTime().AsTime(), r.GetCase().GetName())}
	})
	// CasesByReferral: (referral, source, create time, name) of cases that have one. Within one node
	// there are two: the one that was taken in and the one that was received.
	CasesByReferral = privacy.NewSealedIndex(Cases, "cases_by_referral", func(r *protectionv1.CaseRecord) []store.Key {
		c := r.GetCase()
		if c.GetReferral() == "" {
			return nil
		}
		return []store.Key{store.K(c.GetReferral(), uint32(c.GetSource()), c.GetCreateTime().AsTime(), c.GetName())}
	})
)

// ReferenceKey is the one key of Counters.
var ReferenceKey = store.K("reference")

// KeyName is the name of the key that seals a case or a worker, such as `cases/0192…`: the
// resource name without its node.
func KeyName(resource string) string {
	parts := strings.SplitN(resource, "/", 3)
	return parts[len(parts)-1]
}

// DossierKeyName is the name of the key that seals what came of a referral. Referrals are named by
// other nodes, so their whole name is in it.
func DossierKeyName(referral string) string { return "dossiers/" + referral }
