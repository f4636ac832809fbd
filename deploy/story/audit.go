package story

import (
	"context"
	"strings"

	"amanat.example/deploy/network"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Result is what became of the referrals of a run.
type Result struct {
	// Referrals played.
	Referrals int `json:"referrals"`
	// States of all of them at their origin.
	States map[string]int `json:"states"`
	// Lost: not known to the origin, or known differently at the two nodes.
	Lost int `json:"lost"`
	// Doubled: known more than once, or admitted to more than one bed.
	Doubled int `json:"doubled"`
	// OverbookedBeds: held and occupied beyond what there is.
	OverbookedBeds int `json:"overbooked_beds"`
	// FederalMatches: the federal cell counts exactly what the provinces hold.
	FederalMatches bool `json:"federal_matches"`
	// WallMS is how long it took.
	WallMS int64 `json:"wall_ms"`
}

// Kept says that every promise held.
func (r *Result) Kept() bool {
	return r.Lost == 0 && r.Doubled == 0 && r.OverbookedBeds == 0 && r.FederalMatches && r.States["COMPLETED"] == r.Referrals
}

// Examine compares what every node says of the referrals named.
func (s *Stage) Examine(ctx context.Context, names []string) (*Result, error) {
	r := &Result{Referrals: len(names), States: map[string]int{}}
	home, err := s.referrals(ctx, s.desks[from])
	if err != nil {
		return nil, err
	}
	away, err := s.referrals(ctx, s.desks[to])
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		here, there := home[name], away[name]
		if len(here) == 0 || len(there) == 0 || string(here[0].GetHead()) != string(there[0].GetHead()) {
			r.Lost++
		}
		if len(here) > 1 || len(there) > 1 {
			r.Doubled++
		}
		if len(here) > 0 {
			r.States[strings.TrimPrefix(here[0].GetState().String(), "REFERRAL_STATE_")]++
		}
	}
	occupied, err := s.beds(ctx, r)
	if err != nil {
		return nil, err
	}
	// Every completed referral of this network holds exactly one bed of the one group.
	if extra := occupied - len(home); extra > 0 {
		r.Doubled += extra
	}
	r.FederalMatches, err = s.federalMatches(ctx, len(home))
	return r, err
}

// AwaitSubmitted waits until the origin holds this many referrals.
func (s *Stage) AwaitSubmitted(ctx context.Context, referrals int) error {
	_, err := until(ctx, "submitted referrals", func() (int, bool, error) {
		home, err := s.referrals(ctx, s.desks[from])
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
			all[r.GetName()] = append(all[r.GetName()], r)
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return all, nil
		}
	}
}

func (s *Stage) beds(ctx context.Context, r *Result) (occupied int, err error) {
	d := s.desks[to]
	page, err := ask(ctx, d, manager, "", d.shelter.ListShelters, &shelterv1.ListSheltersRequest{Parent: "nodes/" + to, PageSize: 500})
	if err != nil {
		return 0, err
	}
	for _, shelter := range page.GetShelters() {
		for _, g := range shelter.GetGroups() {
			r.OverbookedBeds += int(max(0, g.GetHeld()+g.GetOccupied()+g.GetOutOfService()-g.GetTotal()))
			occupied += int(g.GetOccupied())
		}
	}
	return occupied, nil
}

// federalMatches waits for the last letters, and compares every stage with the provinces' count.
func (s *Stage) federalMatches(ctx context.Context, referrals int) (bool, error) {
	stages := []federalv1.Stage{
		federalv1.Stage_STAGE_REFERRED, federalv1.Stage_STAGE_ACCEPTED, federalv1.Stage_STAGE_DISPATCHED,
		federalv1.Stage_STAGE_ARRIVED, federalv1.Stage_STAGE_COMPLETED,
	}
	d := s.desks[network.FederalNode]
	counted, err := until(ctx, "the federal count", func() (map[federalv1.Stage]int64, bool, error) {
		page, err := ask(ctx, d, analyst, "", d.federal.ListCorridors, &federalv1.ListCorridorsRequest{
			PageSize: 1000, Filter: &federalv1.ListCorridorsRequest_Filter{FromNode: from, ToNode: to},
		})
		if err != nil {
			return nil, false, err
		}
		counted := map[federalv1.Stage]int64{}
		enough := true
		for _, c := range page.GetCorridors() {
			counted[c.GetStage()] += c.GetFlows()
		}
		for _, stage := range stages {
			enough = enough && counted[stage] >= int64(referrals)
		}
		return counted, enough, nil
	})
	if err != nil {
		return false, err
	}
	for _, stage := range stages {
		if counted[stage] != int64(referrals) {
			return false, nil
		}
	}
	return true, nil
}
