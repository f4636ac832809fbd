package main

import (
	"cmp"
	"context"
	"time"

	"amanat.example/deploy/story"
)

// handoverLimit is how long the girl is waited for, beside the time in which links are cut. If she is not through by then she is lost.
const handoverLimit = 5 * time.Minute

// girl hands one girl on from Hub to Lahore, and tells each step.
func (r *run) girl(ctx context.Context) (*demoResult, error) {
	stage, err := story.Open(r.layout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stage.Close() }()
	stage.Seed = r.seed
	beds := int32(1)
	if !r.once {
		beds += 20 // for who tries things out
	}
	shown := &progress{errs: r.errs}
	if err := r.furnish(ctx, shown, func(ctx context.Context) error { return stage.Furnish(ctx, beds) }); err != nil {
		return nil, err
	}
	injector, err := r.injector(ctx, shown)
	if err != nil {
		return nil, err
	}
	steps := 0
	stage.Tell = func(format string, values ...any) {
		shown.tell(format, values...)
		steps++
		injector.Progress(float64(steps) / story.Steps)
	}
	limited, cancel := context.WithTimeout(ctx, handoverLimit+r.broken.cutFor())
	defer cancel()
	name, err := stage.Handover(limited, 1)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		shown.tell("She is given up: %s: %v", name, err)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	injector.Progress(1)
	result := &demoResult{}
	if result.Faults, err = r.broke(injector); err != nil {
		return nil, err
	}
	examined, err := stage.Examine(ctx, []string{cmp.Or(name, "not referred")})
	if err != nil {
		return nil, err
	}
	result.Result = *examined
	return result, nil
}
