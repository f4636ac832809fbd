package main

import (
	"context"
	"fmt"
	"time"

	"amanat.example/deploy/scenario"
	"amanat.example/deploy/story"
)

// bulk takes the children of the brick kilns in, as fast as Punjab's service takes them.
func (r *run) bulk(ctx context.Context) (*demoResult, error) {
	now := time.Now()
	year, err := scenario.Make(scenario.Options{Seed: r.seed, Start: now.AddDate(-1, 0, 0), Referrals: 1, Surge: true})
	if err != nil {
		return nil, err
	}
	shown := r.progress()
	defer shown.end()
	bulk, err := story.OpenBulk(r.layout, "punjab", year)
	if err != nil {
		return nil, err
	}
	defer func() { _ = bulk.Close() }()
	if err := r.furnish(ctx, shown, bulk.Furnish); err != nil {
		return nil, err
	}
	result := &demoResult{Surge: &surged{Children: bulk.Len()}, Memory: &peak{}}
	begin := time.Now()
	last := begin
	err = bulk.TakeIn(ctx, func(done int) {
		if time.Since(last) < watchEvery {
			return
		}
		last = time.Now()
		result.Memory.look(r.supervisor)
		shown.show(fmt.Sprintf("%s %d of %d children, %.0f/s", bar(float64(done)/float64(bulk.Len())), done, bulk.Len(), float64(done)/time.Since(begin).Seconds()))
	})
	if err != nil {
		return nil, err
	}
	result.Surge.MS = time.Since(begin).Milliseconds()
	result.Surge.Rate = float64(bulk.Len()) / time.Since(begin).Seconds()
	shown.show("  comparing what the nodes say")
	result.Surge.Counted, err = bulk.Counted(ctx)
	result.Result = story.Result{States: map[string]int{}, FederalMatches: result.Surge.kept()}
	return result, err
}

// surged is what became of a surge.
type surged struct {
	// Children taken in.
	Children int `json:"children"`
	// MS is how long that took, and Rate how many that are in a second.
	MS   int64   `json:"intake_ms"`
	Rate float64 `json:"per_second"`
	// Counted are those identified at Punjab, as the federal cell counts them.
	Counted int64 `json:"counted"`
}

// kept says that the federal cell counts each of them once.
func (s *surged) kept() bool { return s.Counted == int64(s.Children) }
