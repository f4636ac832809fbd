package app

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// CheckChains is the rule of the service's file at a node: every chain is legal and signed by whom it says, the view says what
// its chain says, and a referral in which the node must do or watch for something has a deadline (invariant I7). So has an open offer
// made to the node, and an arrival that nobody followed yet; no bed is held for an offer that is over.
func CheckChains(node string, v custody.Verifier, limits rules.Limits) kitstore.Rule {
	return func(ctx context.Context, r kitstore.Reader, report func(string)) error {
		chains := map[string]bool{}
		err := store.Referrals.Scan(r, kitstore.Range{}, func(_ kitstore.Key, record *referralv1.ReferralRecord) error {
			name := record.GetReferral().GetName()
			chains[name] = true
			problem, err := checkChain(r, record, node, v, limits)
			if problem != "" {
				report(fmt.Sprintf("%s: %s", name, problem))
			}
			return errors.Join(err, ctx.Err())
		})
		if err != nil {
			return err
		}
		if err := checkWaiting(r, report); err != nil {
			return err
		}
		return store.Links.Scan(r, kitstore.Range{}, func(_ kitstore.Key, signed *custodyv1.SignedEvent) error {
			event := &custodyv1.Event{}
			if err := proto.Unmarshal(signed.GetEvent(), event); err != nil {
				report("an event cannot be read")
			} else if name := event.GetReferral(); !chains[name] {
				chains[name] = true // said once
				report(name + ": there is a chain and no referral")
			}
			return nil
		})
	}
}

// checkWaiting reports offers and asserted arrivals that nobody is reminded of, and beds that are kept for nobody.
func checkWaiting(r kitstore.Reader, report func(string)) error {
	err := store.Offers.Scan(r, kitstore.Range{}, func(_ kitstore.Key, o *referralv1.OfferRecord) error {
		event := &custodyv1.Event{}
		if err := proto.Unmarshal(o.GetOffered().GetEvent(), event); err != nil {
			report("an offer cannot be read")
			return nil
		}
		name := store.OfferName(event.GetReferral(), custody.HashOf(o.GetOffered().GetEvent()).String())
		has, err := store.Deadlines.Has(r, kitstore.K(name))
		if err != nil {
			return err
		}
		if rules.Open(o.GetState()) && !has {
			report(name + ": it is open, and has no deadline")
		}
		kept := o.GetHold() != "" && !o.GetHoldOver() && !mayNeed(o)
		for _, with := range o.GetHoldsFor() { // those who go together have one hold
			other, err := store.Offers.Get(r, store.OfferKey(with))
			if err != nil {
				return err
			}
			kept = kept && (other.GetHoldOf() != name || !mayNeed(other))
		}
		if kept {
			report(name + ": it is over, and its bed is not given back")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return store.Arrivals.Scan(r, kitstore.Range{}, func(_ kitstore.Key, arrival *referralv1.ArrivalRecord) error {
		reply := &custodyv1.Reply{}
		if err := proto.Unmarshal(arrival.GetReply().GetReply(), reply); err != nil {
			report("an asserted arrival cannot be read")
			return nil
		}
		has, err := store.Deadlines.Has(r, store.ArrivalDeadline(reply.GetReferral()))
		if !has && !arrival.GetTaken() {
			report(reply.GetReferral() + ": an arrival was asserted, and has no deadline")
		}
		return err
	})
}

// mayNeed says that an offer may lead, or has led, to somebody who needs its bed.
func mayNeed(o *referralv1.OfferRecord) bool {
	return rules.Open(o.GetState()) || o.GetState() == custodyv1.OfferState_OFFER_STATE_FULFILLED
}

// checkChain says what is wrong with one referral; empty for nothing.
func checkChain(r kitstore.Reader, record *referralv1.ReferralRecord, node string, v custody.Verifier, limits rules.Limits) (string, error) {
	shown := record.GetReferral()
	name := shown.GetName()
	var events []*custodyv1.SignedEvent
	if err := store.Links.Scan(r, kitstore.Range{Prefix: kitstore.K(name)}, func(_ kitstore.Key, e *custodyv1.SignedEvent) error {
		events = append(events, e)
		return nil
	}); err != nil {
		return "", err
	}
	chain, err := custody.Verify(v, events, nil)
	if err != nil {
		return "its chain is not sound: " + err.Error(), nil
	}
	s := chain.State()
	if want := rules.View(s, shown.GetUpdateTime().AsTime()); !proto.Equal(want, shown) {
		return "it is not shown as its chain says", nil
	}
	_, err = store.Deadlines.Get(r, kitstore.K(name))
	switch due := rules.Next(s, node, record.GetReturnRequest() != nil, nil, s.Last, limits) != nil; {
	case errors.Is(err, kitstore.ErrNotFound) && due:
		return "something is to be done, and it has no deadline", nil
	case err == nil && !due:
		return "it has a deadline, and nothing is to be done", nil
	case err != nil && !errors.Is(err, kitstore.ErrNotFound):
		return "", err
	}
	return "", nil
}
