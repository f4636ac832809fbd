package app_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// broken is what the rule of the file finds at a node.
func (n *node) broken() (all []string) {
	n.t.Helper()
	must(n.t, n.DB.View(context.Background(), func(r kitstore.Reader) error {
		return app.CheckChains(n.Node, n.Roster, rules.DefaultLimits())(context.Background(), r, func(sentence string) { all = append(all, sentence) })
	}))
	return all
}

// eachLink does something with the first or the last event of a chain.
func eachLink(tx *kitstore.Tx, referral string, last bool, do func(kitstore.Key, *custodyv1.SignedEvent) error) error {
	rows, _, err := store.Links.Page(tx, kitstore.Range{Prefix: kitstore.K(referral), Reverse: last}, 1)
	if err != nil {
		return err
	}
	return do(rows[0].Key, rows[0].Value)
}

// Each way in which rows can break what the service promises is found in the file, though every row is whole.
func TestCheckChainsBites(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(tx *kitstore.Tx, referral string) error
		want  string
	}{
		"all is well": {func(*kitstore.Tx, string) error { return nil }, ""},
		"the last event is gone": {func(tx *kitstore.Tx, referral string) error {
			return eachLink(tx, referral, true, func(key kitstore.Key, _ *custodyv1.SignedEvent) error { return store.Links.Delete(tx, key) })
		}, "not shown as its chain says"},
		"an event is signed by somebody else": {func(tx *kitstore.Tx, referral string) error {
			return eachLink(tx, referral, false, func(key kitstore.Key, signed *custodyv1.SignedEvent) error {
				signed.Signature[0] ^= 1
				return store.Links.Put(tx, key, signed)
			})
		}, "not sound"},
		"the view says what the chain does not": {func(tx *kitstore.Tx, referral string) error {
			record, err := store.Referrals.Get(tx, kitstore.K(referral))
			if err != nil {
				return err
			}
			record.Referral.State = custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
			return store.Referrals.Put(tx, kitstore.K(referral), record)
		}, "not shown as its chain says"},
		"no deadline": {func(tx *kitstore.Tx, referral string) error {
			return store.Deadlines.Delete(tx, kitstore.K(referral))
		}, "no deadline"},
		"no view": {func(tx *kitstore.Tx, referral string) error {
			return store.Referrals.Delete(tx, kitstore.K(referral))
		}, "no referral"},
	} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			referral := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
			origin := net.nodes["balochistan"]
			origin.spoilt = c.want != ""
			must(t, origin.DB.Update(context.Background(), func(tx *kitstore.Tx) error { return c.spoil(tx, referral.GetName()) }))
			found := strings.Join(origin.broken(), "; ")
			if (c.want == "") != (found == "") || !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}

	// What is over needs no deadline, and one that stands all the same is found.
	net := newNetwork(t)
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_COMPLETED).GetName()
	origin := net.nodes["balochistan"]
	origin.spoilt = true
	if found := origin.broken(); len(found) > 0 {
		t.Errorf("completed: %v", found)
	}
	must(t, origin.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		return store.Deadlines.Put(tx, kitstore.K(name), &referralv1.DeadlineRecord{Deadline: &referralv1.Deadline{Referral: name}})
	}))
	if found := strings.Join(origin.broken(), "; "); !strings.Contains(found, "nothing is to be done") {
		t.Errorf("a deadline too many: %q", found)
	}
}

// Damage under a running service can hide rows from a scan. By half a chain nothing is decided, and it is neither served nor called sound:
// the service stops.
func TestByHalfAChainNothingIsDecided(t *testing.T) {
	net := newNetwork(t)
	origin := net.nodes["balochistan"]
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY).GetName()
	origin.spoilt = true
	const kind = "custody.chain.v1"
	letter, err := proto.Marshal(&custodyv1.ChainLetter{Referral: name, Chain: net.chain(origin, name).Message()})
	must(t, err)
	for what, hidden := range map[string]func(tx *kitstore.Tx) error{
		"the last event": func(tx *kitstore.Tx) error {
			return eachLink(tx, name, true, func(key kitstore.Key, _ *custodyv1.SignedEvent) error { return store.Links.Delete(tx, key) })
		},
		"all events": func(tx *kitstore.Tx) error { return dropLinks(tx, name) },
		"the view":   func(tx *kitstore.Tx) error { return store.Referrals.Delete(tx, kitstore.K(name)) },
	} {
		for does, do := range map[string]func() error{
			"serves":  func() error { _, err := origin.GetCustodyChain(background, name); return err },
			"calls":   func() error { _, err := origin.VerifyReferral(background, name); return err },
			"decides": func() error { return origin.cancel(name) },
			"takes in": func() error {
				return origin.DB.Update(background, func(tx *kitstore.Tx) error {
					return origin.Handlers()[kind](tx, &postv1.Address{Node: "punjab", Service: "referral"}, &postv1.Letter{Kind: kind, Subject: name, Body: letter})
				})
			},
		} {
			whole := origin.engine.Clone()
			must(t, origin.DB.Update(background, hidden))
			if err := do(); !errors.Is(err, kitstore.ErrDamaged) || !errors.Is(origin.DB.Err(), kitstore.ErrFatal) {
				t.Errorf("%s is hidden, and the service %s: %v", what, does, err)
			}
			must(t, origin.DB.Close())
			origin.engine = whole
			origin.open()
		}
	}
}
