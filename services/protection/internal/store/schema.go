// Package store is the protection service's schema: every table, key and index of its file.
package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// Schema of the file. Version 1 is the first; version 2 finds cases whose referral is not over,
// version 3 what was missed by when it is due again, and cases by a withdrawal of consent.
var Schema = store.NewSchema("protection", 3)

// Tables. A key is the resource name unless said otherwise.
var (
	// Units of this node.
	Units = store.NewTable[*protectionv1.Unit](Schema, "units")
	// Workers: name and telephone lie sealed under the worker's own key.
	Workers = privacy.NewSealedTable(Schema, "workers", func(w *protectionv1.Worker) string { return KeyName(w.GetName()) })
	// Cases: the person's data lies sealed under the case's own key.
	Cases = privacy.NewSealedTable(Schema, "cases", func(r *protectionv1.CaseRecord) string { return KeyName(r.GetCase().GetName()) })
	// Dossiers: (referral) → what came of it from another node, until a case is made of it, and what was closed; kept for ever.
	Dossiers = privacy.NewSealedTable(Schema, "dossiers", DossierKeyName)
	// Requests: (request id) → the case a call made, for ever.
	Requests = store.NewTable[*protectionv1.CaseRequest](Schema, "case_requests")
	// Heard: (referral) → what was heard of a referral of this node before the answer that says
	// which case it belongs to.
	Heard = store.NewTable[*referralv1.ReferralChanged](Schema, "referrals_heard")
	// Ladders: one row, who the node's focal point is, under LadderKey.
	Ladders = store.NewTable[*protectionv1.Ladder](Schema, "ladders")
	// CaseDeadlines: what laws want done about cases, and waitlist entries to be looked at; kept for ever.
	CaseDeadlines = store.NewTable[*protectionv1.CaseDeadline](Schema, "case_deadlines")
	// Missed: (kind, subject, step, first due time) → what was told of a deadline, for ever, so that no
	// step of it is told twice.
	Missed = store.NewTable[*protectionv1.MissedRecord](Schema, "missed")
	// Notices of missed deadlines, each to one worker.
	Notices = store.NewTable[*protectionv1.Notice](Schema, "notices")
	// Mailboxes: (worker) → what is being sent to them. No address and no text lies here.
	Mailboxes = store.NewTable[*protectionv1.MailboxRecord](Schema, "mailboxes")
	// Compared: in which lives of both stores all cases were compared with the referral service, under ComparedKey, and withdrawals of consent were said
	// to it once more, under WithdrawnKey.
	Compared = store.NewTable[*protectionv1.ComparedRecord](Schema, "referrals_compared")
	// Counters: one row, the number in the last reference, under ReferenceKey.
	Counters = store.NewTable[*wrapperspb.UInt64Value](Schema, "counters")
)

// Logs and queues of the service.
var (
	// Events: what happened, ids and codes only.
	Events = events.Declare(Schema, "protection", events.Catalogue{
		"protection.case.created.v1":    &protectionv1.CaseChanged{},
		"protection.case.consented.v1":  &protectionv1.CaseChanged{},
		"protection.case.referred.v1":   &protectionv1.CaseChanged{},
		"protection.case.received.v1":   &protectionv1.CaseChanged{},
		"protection.case.closed.v1":     &protectionv1.CaseChanged{},
		"protection.dossier.closed.v1":  &protectionv1.DossierClosed{},
		"protection.deadline.missed.v1": &protectionv1.CaseDeadlineMissed{},
	})
	// Audit: who read a person's data.
	Audit = audit.Declare(Schema)
	// Letters to and from other nodes.
	Letters = post.Declare(Schema)
	// Commands owed to the node's referral service.
	Commands = outbox.Declare(Schema)
	// Flows: what the federal cell was told of those identified.
	Flows = flow.Declare(Schema)
	// Late: what the federal cell was told of missed deadlines.
	Late = late.Declare(Schema)
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

// ReferredCases: (name) of cases taken in here whose referral is not over, as rules.Ended says.
var ReferredCases = privacy.NewSealedIndex(Cases, "cases_referred", func(r *protectionv1.CaseRecord) []store.Key {
	c := r.GetCase()
	if c.GetSource() != protectionv1.Case_SOURCE_INTAKE || c.GetReferral() == "" || over(c.GetReferralState()) {
		return nil
	}
	return []store.Key{store.K(c.GetName())}
})

// WithdrawnCases: (name) of cases, wherever they were taken in, of whose referral it was said that consent was withdrawn.
var WithdrawnCases = privacy.NewSealedIndex(Cases, "cases_withdrawn", func(r *protectionv1.CaseRecord) []store.Key {
	c := r.GetCase()
	if c.GetConsent().GetDecision() != protectionv1.Consent_DECISION_REFUSED || c.GetReferral() == "" || r.GetConsentEndedReferral() != c.GetReferral() {
		return nil
	}
	return []store.Key{store.K(c.GetName())}
})

func over(state custodyv1.ReferralState) bool {
	switch state {
	case custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, custodyv1.ReferralState_REFERRAL_STATE_CANCELLED,
		custodyv1.ReferralState_REFERRAL_STATE_EXPIRED, custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW,
		custodyv1.ReferralState_REFERRAL_STATE_RETURNED:
		return true
	}
	return false
}

func init() {
	Schema.Migrate(1, "cases whose referral is not over have an index, which the store builds", func(context.Context, *store.Tx) error { return nil })
	Schema.Migrate(2, "deadlines that were missed are found by when they are due again, and cases by a withdrawal, which the store builds", func(context.Context, *store.Tx) error { return nil })
}

// DossiersByDueTime: (due time, referral) of those about which something is to be done.
var DossiersByDueTime = privacy.NewSealedIndex(Dossiers, "dossiers_by_due_time", func(d *protectionv1.ReceivedDossier) []store.Key {
	if d.GetDueTime() == nil {
		return nil
	}
	return []store.Key{store.K(d.GetDueTime().AsTime(), d.GetDossier().GetReferral())}
})

// Indexes of what must be done, and of who was told.
var (
	// WorkersByUnit: (unit, name).
	WorkersByUnit = privacy.NewSealedIndex(Workers, "workers_by_unit", func(w *protectionv1.Worker) []store.Key {
		return []store.Key{store.K(w.GetUnit(), w.GetName())}
	})
	// DeadlinesByTime: (next time, name) of open deadlines.
	DeadlinesByTime = store.NewIndex(CaseDeadlines, "case_deadlines_by_time", func(d *protectionv1.CaseDeadline) []store.Key {
		if d.GetState() != protectionv1.CaseDeadline_STATE_OPEN {
			return nil
		}
		return []store.Key{store.K(d.GetNextTime().AsTime(), d.GetName())}
	})
	// LateDeadlines: (next time, name) of open deadlines that were missed.
	LateDeadlines = store.NewIndex(CaseDeadlines, "case_deadlines_late_by_time", func(d *protectionv1.CaseDeadline) []store.Key {
		if d.GetState() != protectionv1.CaseDeadline_STATE_OPEN || d.GetMissed() == 0 {
			return nil
		}
		return []store.Key{store.K(d.GetNextTime().AsTime(), d.GetName())}
	})
	// DeadlinesBySubject: (subject, step, event time): of one event a step is owed once.
	DeadlinesBySubject = store.NewIndex(CaseDeadlines, "case_deadlines_by_subject", func(d *protectionv1.CaseDeadline) []store.Key {
		return []store.Key{store.K(d.GetSubject(), d.GetStep(), d.GetEventTime().AsTime())}
	}, store.Unique)
	// NoticesByTime: (create time, name).
	NoticesByTime = store.NewIndex(Notices, "notices_by_time", func(n *protectionv1.Notice) []store.Key {
		return []store.Key{store.K(n.GetCreateTime().AsTime(), n.GetName())}
	})
	// NoticesByWorker: (worker, create time, name).
	NoticesByWorker = store.NewIndex(Notices, "notices_by_worker", func(n *protectionv1.Notice) []store.Key {
		return []store.Key{store.K(n.GetWorker(), n.GetCreateTime().AsTime(), n.GetName())}
	})
	// WaitingNotices: (worker, 0 for high risk and 1 for the rest, create time, name) of those to be sent, or
	// to be given to somebody. High risk stands first, so that no backlog of the rest hides it.
	WaitingNotices = store.NewIndex(Notices, "notices_waiting", func(n *protectionv1.Notice) []store.Key {
		if n.GetState() != protectionv1.Notice_STATE_WAITING {
			return nil
		}
		rest := uint32(1)
		if n.GetUrgency() <= custodyv1.Urgency_URGENCY_HIGH { // one that is not known counts as high
			rest = 0
		}
		return []store.Key{store.K(n.GetWorker(), rest, n.GetCreateTime().AsTime(), n.GetName())}
	})
	// MailboxesByTime: (next time, worker) of those for which there is something to do.
	MailboxesByTime = store.NewIndex(Mailboxes, "mailboxes_by_time", func(m *protectionv1.MailboxRecord) []store.Key {
		if m.GetNextTime() == nil {
			return nil
		}
		return []store.Key{store.K(m.GetNextTime().AsTime(), m.GetWorker())}
	})
)

// Keys of Compared.
var ComparedKey, WithdrawnKey = store.K("compared"), store.K("withdrawn")

// LadderKey is the one key of Ladders.
var LadderKey = store.K("ladder")

// MissedKey is the key of a deadline in Missed.
func MissedKey(kind protectionv1.Notice_Kind, subject, step string, due time.Time) store.Key {
	return store.K(uint32(kind), subject, step, due)
}

// ReferenceKey is the one key of Counters.
var ReferenceKey = store.K("reference")

// KeyName is the name of the key that seals a case or a worker, such as `cases/0192…`: the
// resource name without its node.
func KeyName(resource string) string {
	parts := strings.SplitN(resource, "/", 3)
	return parts[len(parts)-1]
}

// DossierKeyName is the name of the key that seals what came of a referral. Referrals are named by other nodes, so their whole name is in
// it. A key that was erased never comes back, so each that follows has a number.
func DossierKeyName(d *protectionv1.ReceivedDossier) string {
	name := "dossiers/" + d.GetDossier().GetReferral()
	if d.GetRound() > 0 {
		name += "/" + strconv.FormatUint(uint64(d.GetRound()), 10)
	}
	return name
}

// Status adds to the service's status the open deadlines of cases that were missed, and those of them of which the focal point
// was told.
func Status(r store.Reader, into *statusv1.Status) error {
	return LateDeadlines.Scan(r, store.Range{}, func(_ store.Key, d *protectionv1.CaseDeadline) error {
		into.MissedDeadlines++
		if d.GetMissed() >= int32(protectionv1.Notice_LEVEL_FOCAL_POINT) {
			into.UnheededDeadlines++
		}
		return nil
	})
}
