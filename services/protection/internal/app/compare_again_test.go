package app_test

import (
	"context"
	"slices"
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/privacy"
)

// While one case waits for an answer all are compared again: of another whose referral is lost a person is told once, and once more when another life
// of the referral service has lost it.
func TestALostReferralIsToldOnce(t *testing.T) {
	b := newApp(t, home)
	h := newHolder(b)
	var cases []*protectionv1.Case
	for _, c := range b.siblings(2) {
		c, err := b.ReferCase(t.Context(), refer(c), actor)
		must(t, err)
		cases = append(cases, c)
	}
	b.tellOfReferral(cases[1].GetReferral(), "", custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, 9)
	for life := range 2 {
		h.restore()
		b.change(cases[0].GetName(), func(r *protectionv1.CaseRecord) {
			r.Asked = &protectionv1.AskedCommand{Id: "one-that-is-awaited", Pending: true}
		})
		for range 3 {
			b.now(10 * time.Second)
			if b.compare(h) {
				t.Fatal("all is compared")
			}
		}
		if got := b.steps(); len(got) != life+1 || got[life] != "REFERRAL_LOST" {
			t.Errorf("life %d: told %v", life, got)
		}
	}
}

// That consent was withdrawn is said again, once for each life of the referral service, which may have lost it; not of what is over, and not where
// consent was given since.
func TestAWithdrawalIsSaidAgain(t *testing.T) {
	for name, c := range map[string]struct {
		state custodyv1.ReferralState
		given bool
		again int
	}{
		"it goes on":        {state: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, again: 1},
		"nobody came":       {state: custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW, again: 1},
		"it is over":        {state: completed},
		"given again since": {state: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, given: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, home)
			h := newHolder(b)
			v, err := b.ReferCase(t.Context(), refer(b.consented()), actor)
			must(t, err)
			b.compare(h)
			_, err = b.RecordConsent(t.Context(), refused(b.get(v.GetName())), actor)
			must(t, err)
			said := func() int {
				ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
				defer stop()
				must(t, b.Commands.Wait(ctx, "end-consent-"+v.GetReferral()[len(v.GetReferral())-36:]))
				return len(b.reports())
			}
			if said() != 1 {
				t.Fatalf("said %d times", said())
			}
			b.tellOfReferral(v.GetReferral(), "", c.state, 9)
			if c.given {
				_, err = b.RecordConsent(t.Context(), consent(b.get(v.GetName())), actor)
				must(t, err)
			}
			for life := range 2 {
				h.restore("nothing of this")
				for range 2 {
					b.compare(h)
					if got := said(); got != 1+(life+1)*c.again {
						t.Errorf("life %d: said %d times", life, got)
					}
				}
			}
		})
	}
}

// A case that does not open, since the key file is an older one, keeps nobody from being compared, and is compared when it does. A withdrawal is said again
// meanwhile.
func TestACaseThatDoesNotOpenIsComparedLater(t *testing.T) {
	b := newApp(t, home)
	h := newHolder(b)
	all := b.siblings(2)
	for i, c := range all {
		v, err := b.ReferCase(t.Context(), refer(c), actor)
		must(t, err)
		all[i] = v
	}
	b.compare(h)
	_, err := b.RecordConsent(t.Context(), refused(b.get(all[1].GetName())), actor)
	must(t, err)
	said := func() int {
		must(t, b.Commands.Wait(t.Context(), "end-consent-"+all[1].GetReferral()[len(all[1].GetReferral())-36:]))
		return len(b.reports())
	}
	if said() != 1 {
		t.Fatalf("said %d times", said())
	}
	h.restore(b.record(all[0].GetName()).GetSubmittedAs())
	own := b.Keys
	older, err := privacy.OpenKeyring(context.Background(), privacy.Options{Dir: t.TempDir()})
	must(t, err)
	b.Keys = older
	for range 2 {
		if b.compare(h) || len(b.steps()) != 0 || said() != 2 {
			t.Errorf("compared without its key; told %v, said %d times", b.steps(), said())
		}
	}
	b.Keys = own
	must(t, older.Close())
	b.settled(h)
	if h.made != 3 || said() != 2 || !slices.Equal(b.steps(), []string{"REFERRAL_REPEATED"}) {
		t.Errorf("%d made, told %v", h.made, b.steps())
	}
}
