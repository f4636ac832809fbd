// Package store is the referral service's schema: every table, key and index of its file.
package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// Schema of the file. Version 1 is the first; since version 2 what is open is found without all that is over, since version 3 by its case,
// since version 4 what was missed by when it is due again.
var Schema = store.NewSchema("referral", 4)

// Tables.
var (
	// Links: (referral, sequence) → an event's bytes as they came. They are never changed.
	Links = store.NewTable[*custodyv1.SignedEvent](Schema, "links")
	// Referrals: (referral) → the view over its chain, without what a read adds.
	Referrals = store.NewTable[*referralv1.ReferralRecord](Schema, "referrals")
	// Offers: (referral, hash in hex) → offers made to this node's units.
	Offers = store.NewTable[*referralv1.OfferRecord](Schema, "offers")
	// Replies: (offer or referral, number) → what this node replied, so that it can be said again.
	Replies = store.NewTable[*custodyv1.SignedReply](Schema, "replies")
	// Annexes: (referral, commitment in hex) → an annex, sealed under the referral's own key.
	Annexes = privacy.NewSealedTable(Schema, "annexes", func(l *custodyv1.AnnexLetter) string { return KeyName(l.GetReferral()) })
	// Arrivals: (referral) → an arrival that this node asserted.
	Arrivals = store.NewTable[*referralv1.ArrivalRecord](Schema, "arrivals")
	// Refusals: (referral, hash of the Dispatched event) → this node's refusal of a handover, so that the same chain stays refused.
	Refusals = store.NewTable[*custodyv1.SignedReply](Schema, "refusals")
	// Deadlines: (referral or offer), or (referral, "arrival") for an arrival asserted → what must happen next.
	Deadlines = store.NewTable[*referralv1.DeadlineRecord](Schema, "deadlines")
	// Forks: (referral, hash of the last event) → a chain that contradicts the one held. It is the
	// evidence on which a person decides.
	Forks = store.NewTable[*custodyv1.ChainLetter](Schema, "forks")
	// Recovery: one row, what this store asks of other nodes since it was restored, under RecoveryKey.
	Recovery = store.NewTable[*referralv1.RecoveryRecord](Schema, "recovery")
	// Debts: (node) → the answer this node owes to one that was restored; it stays when it is given.
	Debts = store.NewTable[*referralv1.DebtRecord](Schema, "recovery_debts")
	// Waiting: (node, referral, number) → what came while referrals stood still.
	Waiting = store.NewTable[*referralv1.WaitingRecord](Schema, "recovery_waiting")
	// Counters: one row, the number in the last reference, under ReferenceKey.
	Counters = store.NewTable[*wrapperspb.UInt64Value](Schema, "counters")
)

// Logs and queues of the service.
var (
	// Events: what happened, ids and codes only.
	Events = events.Declare(Schema, "referral", events.Catalogue{
		"referral.referral.submitted.v1":         &referralv1.ReferralChanged{},
		"referral.referral.confirmed.v1":         &referralv1.ReferralChanged{},
		"referral.referral.ready.v1":             &referralv1.ReferralChanged{},
		"referral.referral.dispatched.v1":        &referralv1.ReferralChanged{},
		"referral.referral.arrived.v1":           &referralv1.ReferralChanged{},
		"referral.referral.in-service.v1":        &referralv1.ReferralChanged{},
		"referral.referral.completed.v1":         &referralv1.ReferralChanged{},
		"referral.referral.cancelled.v1":         &referralv1.ReferralChanged{},
		"referral.referral.expired.v1":           &referralv1.ReferralChanged{},
		"referral.referral.checked-in.v1":        &referralv1.ReferralChanged{},
		"referral.referral.no-show.v1":           &referralv1.ReferralChanged{},
		"referral.referral.found.v1":             &referralv1.ReferralChanged{},
		"referral.referral.return-requested.v1":  &referralv1.ReferralChanged{},
		"referral.referral.return-lapsed.v1":     &referralv1.ReferralChanged{},
		"referral.referral.returned.v1":          &referralv1.ReferralChanged{},
		"referral.referral.consent-ended.v1":     &referralv1.ReferralChanged{},
		"referral.referral.corrected.v1":         &referralv1.ReferralChanged{},
		"referral.referral.forked.v1":            &referralv1.ReferralChanged{},
		"referral.offer.received.v1":             &referralv1.OfferChanged{},
		"referral.offer.accepted.v1":             &referralv1.OfferChanged{},
		"referral.offer.declined.v1":             &referralv1.OfferChanged{},
		"referral.offer.acceptance-withdrawn.v1": &referralv1.OfferChanged{},
		"referral.offer.ready.v1":                &referralv1.OfferChanged{},
		"referral.offer.question-asked.v1":       &referralv1.OfferChanged{},
		"referral.offer.waitlisted.v1":           &referralv1.OfferChanged{},
		"referral.offer.release-requested.v1":    &referralv1.OfferChanged{},
		"referral.offer.schedule-proposed.v1":    &referralv1.OfferChanged{},
		"referral.offer.service-given.v1":        &referralv1.OfferChanged{},
		"referral.offer.outcome-reported.v1":     &referralv1.OfferChanged{},
		"referral.offer.bed-lost.v1":             &referralv1.OfferChanged{},
		"referral.arrival.asserted.v1":           &referralv1.ArrivalAsserted{},
		"referral.arrival.taken.v1":              &referralv1.ArrivalAsserted{},
		"referral.arrival.bed-refused.v1":        &referralv1.ArrivalAsserted{},
		"referral.handover.refused.v1":           &referralv1.HandoverRefused{},
		"referral.owner.safety-reported.v1":      &referralv1.OwnerTold{},
		"referral.owner.correction-requested.v1": &referralv1.OwnerTold{},
		"referral.owner.consent-withdrawn.v1":    &referralv1.OwnerTold{},
		"referral.offer.withdrawn.v1":            &referralv1.OfferChanged{},
		"referral.offer.expired.v1":              &referralv1.OfferChanged{},
		"referral.offer.answered.v1":             &referralv1.OfferChanged{},
		"referral.offer.release-refused.v1":      &referralv1.OfferChanged{},
		"referral.deadline.missed.v1":            &referralv1.DeadlineMissed{},
	})
	// Audit: who read an annex.
	Audit = audit.Declare(Schema)
	// Letters to and from other nodes.
	Letters = post.Declare(Schema)
	// Commands owed to the node's shelter service.
	Commands = outbox.Declare(Schema)
	// Flows: what the federal cell was told.
	Flows = flow.Declare(Schema)
	// Late: what the federal cell was told of missed deadlines.
	Late = late.Declare(Schema)
)

// KeyName is whose key seals a referral's annexes.
func KeyName(referral string) string { return referral }

// RecoveryKey is the one key of Recovery.
var RecoveryKey = store.K("recovery")

// ReferenceKey is the one key of Counters.
var ReferenceKey = store.K("reference")

// Indexes.
var (
	// ReferralsByTime: (submit time, referral).
	ReferralsByTime = store.NewIndex(Referrals, "referrals_by_time", func(r *referralv1.ReferralRecord) []store.Key {
		return []store.Key{store.K(r.GetReferral().GetSubmitTime().AsTime(), r.GetReferral().GetName())}
	})
	// ReferralsByReference: (reference); two nodes of one province may give the same one.
	ReferralsByReference = store.NewIndex(Referrals, "referrals_by_reference", func(r *referralv1.ReferralRecord) []store.Key {
		return []store.Key{store.K(r.GetReferral().GetReference())}
	})
	// ReferralsByRequest: the key of the call that submitted a referral here.
	ReferralsByRequest = store.NewIndex(Referrals, "referrals_by_request", func(r *referralv1.ReferralRecord) []store.Key {
		if r.GetRequest() == nil || mutant.Off("once") {
			return nil
		}
		return []store.Key{store.K(r.GetRequest().GetRequestId())}
	}, store.Unique)
	// ReferralsByCase: (flow of the case) of those for whose sake the case is not referred again, see [Holds].
	ReferralsByCase = store.NewIndex(Referrals, "referrals_by_case", func(r *referralv1.ReferralRecord) []store.Key {
		if len(r.GetRequest().GetCaseFlowId()) == 0 || !Holds(r.GetReferral()) || mutant.Off("once") {
			return nil
		}
		return []store.Key{store.K(r.GetRequest().GetCaseFlowId())}
	})
	// OpenReferrals: (referral) of those that are not over. What is done each hour reads these alone.
	OpenReferrals = store.NewIndex(Referrals, "referrals_open", func(r *referralv1.ReferralRecord) []store.Key {
		if Over(r.GetReferral().GetState()) {
			return nil
		}
		return []store.Key{store.K(r.GetReferral().GetName())}
	}, store.Unique)
	// BedsWanted: (referral, hash) of offers that need a bed by their own state. Whether one whose person has come needs it still, its
	// referral says.
	BedsWanted = store.NewIndex(Offers, "offers_bed_wanted", func(r *referralv1.OfferRecord) []store.Key {
		if !WantsBed(r) {
			return nil
		}
		return []store.Key{wanting}
	})
	// WaitingArrivals: (referral) of arrivals that the referral has not followed yet.
	WaitingArrivals = store.NewIndex(Arrivals, "arrivals_waiting", func(r *referralv1.ArrivalRecord) []store.Key {
		if r.GetTaken() {
			return nil
		}
		return []store.Key{wanting}
	})
	// OffersByTime: (receive time).
	OffersByTime = store.NewIndex(Offers, "offers_by_time", func(r *referralv1.OfferRecord) []store.Key {
		return []store.Key{store.K(r.GetReceiveTime().AsTime())}
	})
	// DeadlinesByTime: (DueTime).
	DeadlinesByTime = store.NewIndex(Deadlines, "deadlines_by_time", func(r *referralv1.DeadlineRecord) []store.Key {
		return []store.Key{store.K(DueTime(r))}
	})
	// LateDeadlines: (when it is due again) of those that were missed.
	LateDeadlines = store.NewIndex(Deadlines, "deadlines_late_by_time", func(r *referralv1.DeadlineRecord) []store.Key {
		if r.GetDeadline().GetMissed() == 0 {
			return nil
		}
		return []store.Key{store.K(r.GetDeadline().GetDueTime().AsTime())}
	})
)

// wanting stands before the row's own key in an index of those that want something.
var wanting = store.K(uint32(1))

// Over says that the owner is done with a referral, as custody's State.Terminal does. One that a later version knows is open.
func Over(state custodyv1.ReferralState) bool {
	switch state {
	case custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, custodyv1.ReferralState_REFERRAL_STATE_CANCELLED,
		custodyv1.ReferralState_REFERRAL_STATE_EXPIRED, custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW,
		custodyv1.ReferralState_REFERRAL_STATE_RETURNED:
		return true
	}
	return false
}

// Holds says that a case with this referral cannot have another: it did not end in vain, and is no service that was given.
func Holds(r *referralv1.Referral) bool {
	switch r.GetState() {
	case custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, custodyv1.ReferralState_REFERRAL_STATE_EXPIRED,
		custodyv1.ReferralState_REFERRAL_STATE_RETURNED:
		return false
	case custodyv1.ReferralState_REFERRAL_STATE_COMPLETED:
		return r.GetKind() != custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	}
	return true
}

// WantsBed says that an offer needs a bed by its own state alone: it is being accepted, or was, and the person has not come, or is here and the
// bed is not made a stay yet.
func WantsBed(r *referralv1.OfferRecord) bool {
	if r.GetAdmitting() {
		return true
	}
	switch r.GetState() {
	case custodyv1.OfferState_OFFER_STATE_ACCEPTING, custodyv1.OfferState_OFFER_STATE_ACCEPTED,
		custodyv1.OfferState_OFFER_STATE_CONFIRMED, custodyv1.OfferState_OFFER_STATE_READY:
		return !r.GetHoldOver()
	}
	return false
}

func init() {
	Schema.Migrate(1, "what is open has indexes of its own, which the store builds", func(context.Context, *store.Tx) error { return nil })
	Schema.Migrate(2, "a case's referral has an index, which the store builds", func(context.Context, *store.Tx) error { return nil })
	Schema.Migrate(3, "deadlines that were missed are found by when they are due again, which the store builds", func(context.Context, *store.Tx) error { return nil })
}

// Status adds to the service's status the deadlines that were missed, those of them of which the focal point was told, and after a restore
// whose answers are awaited, or what stays undone when all have answered.
func Status(r store.Reader, into *statusv1.Status) error {
	err := LateDeadlines.Scan(r, store.Range{}, func(_ store.Key, d *referralv1.DeadlineRecord) error {
		into.MissedDeadlines++
		if d.GetDeadline().GetMissed() >= 3 { // after worker and supervisor the focal point was told
			into.UnheededDeadlines++
		}
		return nil
	})
	if err != nil {
		return err
	}
	recovery, err := Recovery.Get(r, RecoveryKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil // it has not begun to run yet
	}
	if err == nil && recovery.GetThawTime() != nil {
		into.StuckInRecovery, err = Waiting.Count(r)
	}
	for _, p := range recovery.GetPeers() {
		if recovery.GetEndTime() == nil && !p.GetAnswered() && p.GetPeer().GetExcusedBy() == nil {
			into.AwaitedNodes = append(into.AwaitedNodes, p.GetPeer().GetNode())
		}
	}
	return err
}

// DueTime is when a deadline must be looked at: when it has passed, or when something ends by itself before that.
func DueTime(r *referralv1.DeadlineRecord) time.Time {
	due := r.GetDeadline().GetDueTime().AsTime()
	if at := r.GetExpireTime(); at != nil && at.AsTime().Before(due) {
		return at.AsTime()
	}
	return due
}

// OfferName is the name of an offer.
func OfferName(referral, hash string) string { return referral + "/offers/" + hash }

// SplitOffer takes an offer's name apart.
func SplitOffer(name string) (referral, hash string) {
	referral, hash, _ = strings.Cut(name, "/offers/")
	return referral, hash
}

// OfferKey is an offer's key.
func OfferKey(name string) store.Key {
	referral, hash := SplitOffer(name)
	return store.K(referral, hash)
}

// ArrivalDeadline is the key of the deadline of an arrival asserted here.
func ArrivalDeadline(referral string) store.Key { return store.K(referral, "arrival") }

// AnnexName is the name of an annex.
func AnnexName(referral, commitment string) string { return referral + "/annexes/" + commitment }

// SplitAnnex takes an annex's name apart.
func SplitAnnex(name string) (referral, commitment string) {
	referral, commitment, _ = strings.Cut(name, "/annexes/")
	return referral, commitment
}
