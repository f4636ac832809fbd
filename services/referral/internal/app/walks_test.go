package app_test

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/soaktest"
)

// Everybody tries everything with children who go together, with a referral inside one province, and with handovers that are refused: at
// each moment somebody of each node that must act is reminded (invariant I7), and in the end no bed is kept for nobody.
func TestDeadlinesOfFamiliesAndWithinOneNode(t *testing.T) {
	came, gone, handedOver, outside := 0, 0, 0, 0
	for seed := range soaktest.Alone[uint64](6, 3) {
		net := newNetwork(t)
		rnd := mathrand.New(mathrand.NewPCG(seed, 7))
		origin, punjab, sindh := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
		family := net.family()
		local := submitRequest()
		local.Parent, local.Unit, local.RequestId = "nodes/punjab", "nodes/punjab/units/multan", "request-local"
		v, err := punjab.SubmitReferral(background, local)
		must(t, err)
		names := []string{v.GetName()}
		each(family, func(name string) { names = append(names, name) })
		if seed%2 == 0 { // an agency outside the network instead, one for the whole family
			must(t, origin.withdraw(origin.lastOffer(family[0].GetName()).GetName(), "NEEDS_CHANGED"))
			must(t, origin.askAgency(family[0].GetName()))
			must(t, punjab.askAgency(v.GetName()))
		}
		for i := range 400 {
			what := net.familyMove(rnd, origin, []*node{punjab, sindh}, family, names)
			net.checkDeadlines(fmt.Sprintf("seed %d, move %d (%s)", seed, i, what))
		}
		for _, n := range net.nodes {
			n.silent = false
			clear(n.refuse)
		}
		net.settle()
		net.checkDeadlines("settled")
		if len(net.refused) > 0 {
			t.Errorf("seed %d: refused %v", seed, net.refused)
		}
		for _, name := range names {
			outside += net.wentOutside(name)
			for _, n := range net.nodes {
				if n.holdsChain(name) && n.get(name).GetOwnerNode() == n.Node {
					s := net.chain(n, name).State()
					came += int(s.Arrivals["punjab"] + s.Arrivals["sindh"])
					if s.Terminal() {
						gone++
					}
					if s.Epoch > 1 {
						handedOver++
					}
				}
			}
		}
	}
	t.Logf("%d arrivals, %d over, %d handed over, %d came to agencies", came, gone, handedOver, outside)
	if came == 0 || gone == 0 || handedOver == 0 || outside == 0 {
		t.Error("the walks are too short to show anything")
	}
}

func (net *network) familyMove(rnd *mathrand.Rand, origin *node, dests []*node, family []*referralv1.Referral, names []string) string {
	ctx, name := context.Background(), names[rnd.IntN(len(names))]
	var holders []*node
	for _, n := range []*node{origin, dests[0], dests[1]} {
		if n.holdsChain(name) {
			holders = append(holders, n)
		}
	}
	n := holders[rnd.IntN(len(holders))]
	switch rnd.IntN(18) {
	case 0, 1:
		to := dests[rnd.IntN(2)]
		_, _ = to.AcceptOffer(ctx, net.togetherRequest(to, family), actor)
		return "accept a family"
	case 2:
		offer := n.lastOffer(name)
		to := net.nodeOf(rnd, offer)
		request := acceptRequest(offer.GetName())
		request.Group = "nodes/" + to.Node + "/shelters/a1/groups/b1"
		_, _ = to.AcceptOffer(ctx, request, actor)
		return "accept"
	case 3, 4:
		_ = n.dispatch(name)
		return "dispatch"
	case 5:
		_ = n.arrive(name)
		return "arrive"
	case 6:
		if rnd.IntN(3) == 0 {
			_, _ = dests[rnd.IntN(2)].assert(name)
		}
		return "assert"
	case 7:
		_, _ = n.ReportSafety(ctx, &referralv1.ReportSafetyRequest{Name: name, Code: "FOUND_SAFE", Found: true}, actor)
		return "found"
	case 8:
		net.now = net.now.Add(time.Duration(rnd.IntN(6)) * time.Hour)
		for _, n := range net.nodes {
			n.fire()
		}
		return "time passes"
	case 9:
		for _, n := range dests {
			n.silent = rnd.IntN(3) == 0
			clear(n.refuse)
			if rnd.IntN(6) == 0 {
				n.refuse[shelterv1.ShelterService_ConfirmHold_FullMethodName] = fault.New(fault.HoldEnded, "Ended.")
			}
			n.runCommands()
		}
		return "shelters change"
	case 10, 11:
		return net.randomDecision(rnd, name)
	case 13:
		return net.agencyMove(rnd, n, name)
	case 14:
		for range 2 {
			each(family, func(name string) { _ = net.agencyMove(rnd, origin, name) })
			_ = origin.dispatch(name)
		}
		return "an agency speaks of a family"
	case 12:
		if rnd.IntN(3) == 0 {
			_ = n.serve(name)
			_, _ = n.CompleteReferral(ctx, completeRequest(name))
		}
		return "complete"
	}
	net.deliverAny(rnd)
	return "a letter comes"
}

// All those who travel together do not come, in any order, some of them after one has: what was held for all is given back by the last, or
// is a stay while one is there; it is never given back twice.
func TestNoneOfThoseWhoGoTogetherComes(t *testing.T) {
	for _, arrives := range []int{0, 1} {
		for first := range 3 {
			net, origin, punjab, _ := newOwnerNetwork(t)
			family := net.family()
			net.acceptAll(punjab, family)
			must(t, origin.dispatch(family[0].GetName()))
			net.settle()
			order := append(slices.Clone(family[first:]), family[:first]...)
			for i, v := range order {
				if i < arrives {
					must(t, punjab.arrive(v.GetName()))
				} else {
					_, err := punjab.RecordNoShow(background, &referralv1.RecordNoShowRequest{Name: v.GetName()}, actor)
					must(t, err)
				}
				net.settle()
				if last := i == len(order)-1; punjab.count("ReleaseHold") != 0 && (!last || arrives > 0) {
					t.Errorf("with %d who came, after %d the beds were given back", arrives, i+1)
				}
			}
			if punjab.count("ReleaseHold") != 1-arrives || punjab.count("AdmitHold") != arrives {
				t.Errorf("with %d who came the shelter was asked %v", arrives, punjab.calls)
			}
			// One who was given up comes after all: to the stay that began with the first who came, or without a bed that is kept.
			must(t, punjab.arrive(order[2].GetName()))
			net.settle()
			if punjab.count("AdmitHold") != 2*arrives {
				t.Errorf("after all: the shelter was asked %v", punjab.calls)
			}
		}
	}
}
