package story

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Result is what became of the referrals of a run.
type Result struct {
	// Referrals played.
	Referrals int `json:"referrals"`
	// States of all of them at their origin.
	States map[string]int `json:"states"`
	// Lost: not known at one of the two nodes, known differently, without a case there or without a bed.
	Lost int `json:"lost"`
	// Doubled: known more than once, more than one case at a node, more than one bed, or a referral or case at the origin that no worker
	// was told of: one that was asked for again.
	Doubled int `json:"doubled"`
	// OverbookedBeds: held and occupied beyond what there is.
	OverbookedBeds int `json:"overbooked_beds"`
	// FederalMatches: the federal cell counts exactly what the provinces hold.
	FederalMatches bool `json:"federal_matches"`
	// WallMS is how long it took.
	WallMS int64 `json:"wall_ms"`
	// Why promises broke, a line each, the first of many.
	Why []string `json:"why,omitempty"`
}

// mostWhy is how many reasons are told.
const mostWhy = 20

func (r *Result) lost(n int, why string, values ...any) { r.broke(&r.Lost, n, why, values...) }

func (r *Result) doubled(n int, why string, values ...any) { r.broke(&r.Doubled, n, why, values...) }

func (r *Result) broke(count *int, n int, why string, values ...any) {
	if *count += n; n > 0 && len(r.Why) < mostWhy {
		r.Why = append(r.Why, fmt.Sprintf(why, values...))
	}
}

// Kept says that every promise held.
func (r *Result) Kept() bool {
	return r.Lost == 0 && r.Doubled == 0 && r.OverbookedBeds == 0 && r.FederalMatches && r.States["COMPLETED"] == r.Referrals
}

// evidence is what the nodes say of a run, each from its own store.
type evidence struct {
	names      []string // referrals played, as their workers were told
	home, away map[string][]*referralv1.Referral
	// received counts the receiving node's cases by referral; sent the giving node's.
	received, sent map[string]int
	shelters       []*shelterv1.Shelter
	counted        map[federalv1.Stage]int64
	// earlier are the referrals that the origin had before the run; intakes is how many cases it has since.
	earlier map[string]bool
	intakes int
	// oneMore says that a bed was held though none was free.
	oneMore bool
}

// Beside says which referrals are another story's that was played meanwhile, each with a case at the origin: those are none of this run.
func (s *Stage) Beside(names []string) {
	for _, name := range names {
		s.earlier[name] = true
	}
	s.cases += len(names)
}

// Examine compares what every node says of the referrals named.
func (s *Stage) Examine(ctx context.Context, names []string) (*Result, error) {
	e := &evidence{names: names, earlier: s.earlier}
	var err error
	if e.home, err = s.referrals(ctx, s.desks[s.route.From.Node]); err != nil {
		return nil, err
	}
	if e.away, err = s.referrals(ctx, s.desks[s.route.To.Node]); err != nil {
		return nil, err
	}
	var cases int
	if e.sent, cases, err = s.casesByReferral(ctx, s.desks[s.route.From.Node]); err != nil {
		return nil, err
	}
	e.intakes = cases - s.cases
	if e.received, _, err = s.casesByReferral(ctx, s.desks[s.route.To.Node]); err != nil {
		return nil, err
	}
	if e.shelters, err = s.shelters(ctx); err != nil {
		return nil, err
	}
	if e.oneMore, err = s.oneMore(ctx, e.shelters); err != nil {
		return nil, err
	}
	if e.counted, err = s.counted(ctx, e.expected()); err != nil {
		return nil, err
	}
	return e.judge(), nil
}

// judge weighs the evidence. Nothing is taken from one place alone: a referral must be told the same
// at both nodes, be one case at each, and take one bed.
func (e *evidence) judge() *Result {
	r := &Result{Referrals: len(e.names), States: map[string]int{}}
	seen := map[string]bool{}
	for _, name := range e.names {
		here, there := e.home[name], e.away[name]
		switch {
		case len(here) == 0 || len(there) == 0:
			r.lost(1, "%s is known %d times at its origin and %d times where it went", name, len(here), len(there))
		case !bytes.Equal(here[0].GetHead(), there[0].GetHead()):
			r.lost(1, "%s is told differently: %v at its origin (%d entries), %v where it went (%d)", name,
				here[0].GetState(), here[0].GetSequence(), there[0].GetState(), there[0].GetSequence())
		case e.sent[name] == 0 || e.received[name] == 0:
			r.lost(1, "%s has %d cases at its origin and %d where it went", name, e.sent[name], e.received[name])
		}
		if seen[name] || len(here) > 1 || len(there) > 1 || e.sent[name] > 1 || e.received[name] > 1 {
			r.doubled(1, "%s is known %d times at its origin and %d times where it went, with %d and %d cases; played before: %t", name,
				len(here), len(there), e.sent[name], e.received[name], seen[name])
		}
		seen[name] = true
		if len(here) > 0 {
			r.States[strings.TrimPrefix(here[0].GetState().String(), "REFERRAL_STATE_")]++
		}
	}
	for name := range e.home {
		if !seen[name] && !e.earlier[name] {
			r.doubled(1, "%s is there, and no worker was told of it", name)
		}
	}
	r.doubled(max(0, e.intakes-len(e.names)), "%d were taken in, and %d referred", e.intakes, len(e.names))
	var held, occupied int
	for _, shelter := range e.shelters {
		for _, g := range shelter.GetGroups() {
			r.OverbookedBeds += int(max(0, g.GetHeld()+g.GetOccupied()+g.GetOutOfService()-g.GetTotal()))
			held, occupied = held+int(g.GetHeld()), occupied+int(g.GetOccupied())
		}
	}
	if e.oneMore {
		r.OverbookedBeds++
	}
	// Whoever arrived has one bed; only who has not arrived yet may have one held.
	arrived := int(e.expected()[federalv1.Stage_STAGE_ARRIVED])
	r.doubled(max(0, occupied-arrived), "%d beds are taken, and %d have come", occupied, arrived)
	r.doubled(max(0, held-(len(e.home)-arrived)), "%d beds are held, for %d who have not come", held, len(e.home)-arrived)
	r.lost(max(0, arrived-occupied), "%d have come, and %d beds are taken", arrived, occupied)
	r.FederalMatches = maps.Equal(e.counted, e.expected())
	return r
}

// expected is how often the federal cell should count each stage, by the states at the origin. The
// data may hold referrals of an earlier run that was ended half way.
func (e *evidence) expected() map[federalv1.Stage]int64 {
	want := map[federalv1.Stage]int64{}
	for stage, since := range stages {
		want[stage] = 0
		for _, r := range e.home {
			if r[0].GetState() >= since {
				want[stage]++
			}
		}
	}
	return want
}

// stages of a flow that the story reaches, each with the state from which on it has been reached.
var stages = map[federalv1.Stage]custodyv1.ReferralState{
	federalv1.Stage_STAGE_REFERRED:   custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED,
	federalv1.Stage_STAGE_ACCEPTED:   custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED,
	federalv1.Stage_STAGE_DISPATCHED: custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT,
	federalv1.Stage_STAGE_ARRIVED:    custodyv1.ReferralState_REFERRAL_STATE_ARRIVED,
	federalv1.Stage_STAGE_COMPLETED:  custodyv1.ReferralState_REFERRAL_STATE_COMPLETED,
}

// AwaitSubmitted waits until the origin holds this many referrals.
func (s *Stage) AwaitSubmitted(ctx context.Context, referrals int) error {
	_, err := until(ctx, "submitted referrals", func() (int, bool, error) {
		home, err := s.referrals(ctx, s.desks[s.route.From.Node])
		return len(home), len(home) >= referrals, err
	})
	return err
}

func (s *Stage) referrals(ctx context.Context, d *desk) (map[string][]*referralv1.Referral, error) {
	all := map[string][]*referralv1.Referral{}
	request := &referralv1.ListReferralsRequest{Parent: "nodes/" + d.node, PageSize: 200}
	for {
		page, err := ask(ctx, d, worker, "", d.referral.ListReferrals, request)
		if err != nil {
			return nil, err
		}
		for _, r := range page.GetReferrals() {
			if !strings.HasPrefix(r.GetName(), "nodes/"+s.route.From.Node+"/") {
				continue // of another route
			}
			all[r.GetName()] = append(all[r.GetName()], r)
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return all, nil
		}
	}
}

// look notes what the origin has before a run.
func (s *Stage) look(ctx context.Context) error {
	d := s.desks[s.route.From.Node]
	home, err := s.referrals(ctx, d)
	if err != nil {
		return err
	}
	s.earlier = map[string]bool{}
	for name := range home {
		s.earlier[name] = true
	}
	_, s.cases, err = s.casesByReferral(ctx, d)
	return err
}

// casesByReferral counts a node's cases by their referral, and those of them that were taken in there: others came on a referral, also one of
// another route.
func (s *Stage) casesByReferral(ctx context.Context, d *desk) (cases map[string]int, taken int, err error) {
	cases = map[string]int{}
	request := &protectionv1.ListCasesRequest{Parent: "nodes/" + d.node, PageSize: 500}
	for {
		page, err := ask(ctx, d, worker, "", d.protection.ListCases, request)
		if err != nil {
			return nil, 0, err
		}
		for _, c := range page.GetCases() {
			if c.GetSource() != protectionv1.Case_SOURCE_REFERRAL {
				taken++
			}
			if c.GetReferral() != "" {
				cases[c.GetReferral()]++
			}
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return cases, taken, nil
		}
	}
}

func (s *Stage) shelters(ctx context.Context) ([]*shelterv1.Shelter, error) {
	d := s.desks[s.route.To.Node]
	page, err := ask(ctx, d, manager, "", d.shelter.ListShelters, &shelterv1.ListSheltersRequest{Parent: "nodes/" + s.route.To.Node, PageSize: 500})
	return page.GetShelters(), err
}

// oneMore tries to hold a bed of this run's group when all of them are taken. It must be refused.
func (s *Stage) oneMore(ctx context.Context, all []*shelterv1.Shelter) (held bool, err error) {
	for _, shelter := range all {
		for _, g := range shelter.GetGroups() {
			if g.GetName() != s.group || g.GetHeld()+g.GetOccupied() < g.GetTotal() {
				continue
			}
			_, err := until(ctx, "an answer about one more bed", func() (bool, bool, error) {
				_, err := s.beds.PlaceHold(ctx, &shelterv1.PlaceHoldRequest{
					Group: s.group, Quantity: 1, RequestId: "one-more-" + rand.Text(), Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9},
				})
				switch status.Code(err) {
				case codes.OK:
					held = true
					return true, true, nil
				case codes.FailedPrecondition:
					return true, true, nil
				case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.ResourceExhausted:
					return false, false, nil
				}
				return false, false, err
			})
			return held, err
		}
	}
	return false, nil
}

// patience is how long the last letters to the federal cell may take, without one of them coming in,
// before they count as lost. The post repeats a letter after 5 s and at once on a reconnection; only after
// minutes without an answer does it wait longer than this.
const patience = 90 * time.Second

// counted is how often the federal cell counts each stage, looked at until it is what is wanted or
// nothing comes in any more.
func (s *Stage) counted(ctx context.Context, want map[federalv1.Stage]int64) (map[federalv1.Stage]int64, error) {
	d := s.desks[network.FederalNode]
	var last map[federalv1.Stage]int64
	changed := time.Now()
	return until(ctx, "the federal count", func() (map[federalv1.Stage]int64, bool, error) {
		page, err := ask(ctx, d, analyst, "", d.federal.ListCorridors, &federalv1.ListCorridorsRequest{
			PageSize: 1000, Filter: &federalv1.ListCorridorsRequest_Filter{FromNode: s.route.From.Node, ToNode: s.route.To.Node},
		})
		if err != nil {
			return nil, false, err
		}
		counted := map[federalv1.Stage]int64{}
		for stage := range want {
			counted[stage] = 0
		}
		for _, c := range page.GetCorridors() {
			if _, ours := want[c.GetStage()]; ours {
				counted[c.GetStage()] += c.GetFlows()
			}
		}
		if !maps.Equal(counted, last) {
			last, changed = counted, time.Now()
		}
		return counted, maps.Equal(counted, want) || time.Since(changed) > patience, nil
	})
}

// Holdings say how much of the referrals named there is, and where.
type Holdings struct {
	// Same: known once at each end, with the same last event.
	Same int
	// Sent and Received: with one case at the origin, and at the destination.
	Sent, Received int
}

// Holdings counts what both ends hold of the referrals named.
func (s *Stage) Holdings(ctx context.Context, names []string) (h Holdings, err error) {
	home, err := s.referrals(ctx, s.desks[s.route.From.Node])
	if err != nil {
		return h, err
	}
	away, err := s.referrals(ctx, s.desks[s.route.To.Node])
	if err != nil {
		return h, err
	}
	sent, _, err := s.casesByReferral(ctx, s.desks[s.route.From.Node])
	if err != nil {
		return h, err
	}
	received, _, err := s.casesByReferral(ctx, s.desks[s.route.To.Node])
	if err != nil {
		return h, err
	}
	for _, name := range names {
		here, there := home[name], away[name]
		if len(here) == 1 && len(there) == 1 && bytes.Equal(here[0].GetHead(), there[0].GetHead()) {
			h.Same++
		}
		if sent[name] == 1 {
			h.Sent++
		}
		if received[name] == 1 {
			h.Received++
		}
	}
	return h, nil
}
