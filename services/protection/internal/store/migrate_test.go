package store_test

import (
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// The schema of version 1, without its indexes: a file that lacks one gets it in the same way as one that is new.
var (
	old      = kitstore.NewSchema("protection", 1)
	oldCases = privacy.NewSealedTable(old, "cases", func(r *protectionv1.CaseRecord) string { return store.KeyName(r.GetCase().GetName()) })
	_        = kitstore.NewTable[*protectionv1.Unit](old, "units")
	_        = privacy.NewSealedTable(old, "workers", func(w *protectionv1.Worker) string { return store.KeyName(w.GetName()) })
	_        = privacy.NewSealedTable(old, "dossiers", store.DossierKeyName)
	_        = kitstore.NewTable[*protectionv1.CaseRequest](old, "case_requests")
	_        = kitstore.NewTable[*referralv1.ReferralChanged](old, "referrals_heard")
	_        = kitstore.NewTable[*protectionv1.Ladder](old, "ladders")
	_        = kitstore.NewTable[*protectionv1.CaseDeadline](old, "case_deadlines")
	_        = kitstore.NewTable[*protectionv1.MissedRecord](old, "missed")
	_        = kitstore.NewTable[*protectionv1.Notice](old, "notices")
	_        = kitstore.NewTable[*protectionv1.MailboxRecord](old, "mailboxes")
	_        = kitstore.NewTable[*wrapperspb.UInt64Value](old, "counters")
	_        = events.Declare(old, "protection", nil)
	_        = audit.Declare(old)
	_        = post.Declare(old)
	_        = outbox.Declare(old)
	_        = flow.Declare(old)
	_        = late.Declare(old)
)

// A file of version 1 finds the cases whose referral is not over, in every state.
func TestFilesOfVersion1(t *testing.T) {
	keys, err := privacy.OpenKeyring(t.Context(), privacy.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "protection.db")
	db, err := kitstore.Open(t.Context(), kitstore.Options{Path: path, Schema: old})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	put := func(tx *kitstore.Tx, word, referral string, source protectionv1.Case_Source, state custodyv1.ReferralState) error {
		c := &protectionv1.Case{Name: "nodes/punjab/cases/" + word, Source: source, Referral: referral, ReferralState: state}
		return oldCases.Put(tx, keys, kitstore.K(c.GetName()), &protectionv1.CaseRecord{Case: c})
	}
	names := []string{"cases/none", "cases/received"}
	for _, word := range custodyv1.ReferralState_name {
		names = append(names, "cases/"+word)
	}
	if err := keys.Prepare(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx *kitstore.Tx) error {
		for number, word := range custodyv1.ReferralState_name {
			if err := put(tx, word, "nodes/punjab/referrals/"+word, protectionv1.Case_SOURCE_INTAKE, custodyv1.ReferralState(number)); err != nil {
				return err
			}
			if !rules.Ended(custodyv1.ReferralState(number)) {
				want = append(want, "nodes/punjab/cases/"+word)
			}
		}
		if err := put(tx, "none", "", protectionv1.Case_SOURCE_INTAKE, 0); err != nil {
			return err
		}
		return put(tx, "received", "nodes/sindh/referrals/a", protectionv1.Case_SOURCE_REFERRAL, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED)
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
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
	}()
	var found []string
	err = db.View(t.Context(), func(r kitstore.Reader) error {
		rows, _, err := store.ReferredCases.PagePublic(r, kitstore.Range{}, 100)
		for _, row := range rows {
			found = append(found, row.Value.GetCase().GetName())
		}
		return err
	})
	slices.Sort(want)
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("found %v, %v, want %v", found, err, want)
	}
}
