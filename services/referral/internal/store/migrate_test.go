package store_test

import (
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// The schema of version 1, without its indexes: a file that lacks one gets it in the same way as one that is new.
var (
	old          = kitstore.NewSchema("referral", 1)
	oldReferrals = kitstore.NewTable[*referralv1.ReferralRecord](old, "referrals")
	oldOffers    = kitstore.NewTable[*referralv1.OfferRecord](old, "offers")
	oldArrivals  = kitstore.NewTable[*referralv1.ArrivalRecord](old, "arrivals")
	_            = kitstore.NewTable[*custodyv1.SignedEvent](old, "links")
	_            = kitstore.NewTable[*custodyv1.SignedReply](old, "replies")
	_            = privacy.NewSealedTable(old, "annexes", func(l *custodyv1.AnnexLetter) string { return l.GetReferral() })
	_            = kitstore.NewTable[*custodyv1.SignedReply](old, "refusals")
	_            = kitstore.NewTable[*referralv1.DeadlineRecord](old, "deadlines")
	_            = kitstore.NewTable[*custodyv1.ChainLetter](old, "forks")
	_            = kitstore.NewTable[*referralv1.RecoveryRecord](old, "recovery")
	_            = kitstore.NewTable[*referralv1.DebtRecord](old, "recovery_debts")
	_            = kitstore.NewTable[*referralv1.WaitingRecord](old, "recovery_waiting")
	_            = kitstore.NewTable[*wrapperspb.UInt64Value](old, "counters")
	_            = events.Declare(old, "referral", nil)
	_            = audit.Declare(old)
	_            = post.Declare(old)
	_            = outbox.Declare(old)
	_            = flow.Declare(old)
	_            = late.Declare(old)
)

// A file of version 1 finds what is open in it: referrals, those of a case that has one, offers that want a bed, and arrivals that nothing
// followed; in every state.
func TestFilesOfVersion1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "referral.db")
	db, err := kitstore.Open(t.Context(), kitstore.Options{Path: path, Schema: old})
	if err != nil {
		t.Fatal(err)
	}
	wants := map[custodyv1.OfferState]bool{
		custodyv1.OfferState_OFFER_STATE_ACCEPTING: true, custodyv1.OfferState_OFFER_STATE_ACCEPTED: true,
		custodyv1.OfferState_OFFER_STATE_CONFIRMED: true, custodyv1.OfferState_OFFER_STATE_READY: true,
	}
	var referrals, byCase, offers []string
	err = db.Update(t.Context(), func(tx *kitstore.Tx) error {
		for number, word := range custodyv1.ReferralState_name {
			state := custodyv1.ReferralState(number)
			record := &referralv1.ReferralRecord{
				Referral: &referralv1.Referral{Name: "nodes/punjab/referrals/" + word, State: state},
				Request:  &referralv1.SubmitReferralRequest{RequestId: word, CaseFlowId: []byte("the flow of case")},
			}
			if err := oldReferrals.Put(tx, kitstore.K(record.GetReferral().GetName()), record); err != nil {
				return err
			}
			if !(&custody.State{State: state}).Terminal() {
				referrals = append(referrals, record.GetReferral().GetName())
			}
			if store.Holds(record.GetReferral()) {
				byCase = append(byCase, record.GetReferral().GetName())
			}
		}
		for number, word := range custodyv1.OfferState_name {
			for _, over := range []bool{false, true} {
				state := custodyv1.OfferState(number)
				raw, err := proto.Marshal(&custodyv1.Event{Referral: word})
				if err != nil {
					return err
				}
				record := &referralv1.OfferRecord{Offered: &custodyv1.SignedEvent{Event: raw}, State: state, HoldOver: over}
				hash := map[bool]string{false: "bed", true: "none"}[over]
				if err := oldOffers.Put(tx, kitstore.K(word, hash), record); err != nil {
					return err
				}
				if wants[state] && !over {
					offers = append(offers, word)
				}
			}
		}
		for word, taken := range map[string]bool{"taken": true, "waits": false} {
			if err := oldArrivals.Put(tx, kitstore.K(word), &referralv1.ArrivalRecord{ToldNode: word, Taken: taken}); err != nil {
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
	var foundReferrals, foundByCase, foundOffers, arrivals []string
	err = db.View(t.Context(), func(r kitstore.Reader) error {
		err := store.OpenReferrals.Scan(r, kitstore.Range{}, func(_ kitstore.Key, v *referralv1.ReferralRecord) error {
			foundReferrals = append(foundReferrals, v.GetReferral().GetName())
			return nil
		})
		if err != nil {
			return err
		}
		ofCase := kitstore.Range{Prefix: kitstore.K([]byte("the flow of case"))}
		err = store.ReferralsByCase.Scan(r, ofCase, func(_ kitstore.Key, v *referralv1.ReferralRecord) error {
			foundByCase = append(foundByCase, v.GetReferral().GetName())
			return nil
		})
		if err != nil {
			return err
		}
		err = store.BedsWanted.Scan(r, kitstore.Range{}, func(_ kitstore.Key, o *referralv1.OfferRecord) error {
			e := &custodyv1.Event{}
			if err := proto.Unmarshal(o.GetOffered().GetEvent(), e); err != nil {
				return err
			}
			foundOffers = append(foundOffers, e.GetReferral())
			return nil
		})
		if err != nil {
			return err
		}
		return store.WaitingArrivals.Scan(r, kitstore.Range{}, func(_ kitstore.Key, a *referralv1.ArrivalRecord) error {
			arrivals = append(arrivals, a.GetToldNode())
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, both := range [][2][]string{{foundReferrals, referrals}, {foundByCase, byCase}, {foundOffers, offers}, {arrivals, {"waits"}}} {
		slices.Sort(both[0])
		slices.Sort(both[1])
		if !slices.Equal(both[0], both[1]) {
			t.Errorf("found %v, want %v", both[0], both[1])
		}
	}
}
