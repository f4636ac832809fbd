package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/deploy/scenario"
	"amanat.example/deploy/story"
)

const (
	// usualReferrals are those of a year that somebody watches: two cores stay calm.
	usualReferrals = 600
	mostReferrals  = 50000
	// usualPace has a year take about seven minutes and a half.
	usualPace = 0.8
	maxPace   = "max"
)

// check reads the flags, and completes those that were left out.
func (f *demoFlags) check() error {
	if f.surge && (!f.once || f.counted) {
		return errors.New("--surge takes children in and nothing else: give it with --once, and without --referrals")
	}
	if f.json && !f.once {
		return errors.New("--json is the result of a run that ends: add --once")
	}
	if f.referrals == 0 && !f.counted {
		if f.referrals = usualReferrals; f.once {
			f.referrals = 1
		}
	}
	if f.referrals < 1 || f.referrals > mostReferrals {
		return fmt.Errorf("--referrals must lie between 1 and %d", mostReferrals)
	}
	switch f.pace {
	case maxPace:
	case "":
		if !f.once {
			f.days = usualPace
		}
	default:
		days, err := strconv.ParseFloat(f.pace, 64)
		if err != nil || !(days > 0 && days <= 10000) {
			return errors.New("--pace must be max, or how many days of the calendar pass in a second, such as 0.8")
		}
		f.days = days
	}
	return nil
}

// plan is the year that is played; nil when none is. A network that has a year goes on with it.
func (f *demoFlags) plan(l *network.Layout, errs io.Writer) (*story.Plan, error) {
	plan, err := story.LoadPlan(l)
	switch {
	case err == nil && f.surge && (plan != nil || l.HasRun()):
		return nil, fmt.Errorf("%s has data, and a surge is measured with a network that has none: leave --data out, or name another folder", l.Root)
	case err != nil || f.surge || plan == nil && f.referrals == 1:
		return plan, err
	case plan == nil:
		if l.HasRun() {
			return nil, fmt.Errorf("%s has data of the present, which no year can go before: make clean-data, or name another folder with --data", l.Root)
		}
		return story.NewPlan(l, f.seed, f.referrals)
	}
	if plan.Seed != f.seed && f.seed != 0 || plan.Referrals != f.referrals && f.counted {
		fmt.Fprintf(errs, "The year in %s has %d referrals and seed %d: it goes on as it was begun\n", l.Root, plan.Referrals, plan.Seed)
	}
	f.referrals, f.seed = plan.Referrals, plan.Seed
	return plan, nil
}

// provinces are the nodes but the federal one.
func provinces(l *network.Layout) (all []string) {
	for _, n := range l.Nodes {
		if n.Province != "" {
			all = append(all, n.Name)
		}
	}
	return all
}

// linked are the nodes whose links may be cut.
func (f *demoFlags) linked(l *network.Layout, plan *story.Plan, broken *breaking) []string {
	if plan != nil && !plan.Finished && !f.one {
		return provinces(l)
	}
	return broken.nodes()
}

// year plays a year, or goes on with it, and compares what all nodes say of it. One that is over stays as it is.
func (r *run) year(ctx context.Context, plan *story.Plan) (*demoResult, error) {
	if plan.Finished && !r.once {
		fmt.Fprintln(r.errs, "The year was played before; the network is at the present")
		return &demoResult{before: true}, nil
	}
	year, err := plan.Year()
	if err != nil {
		return nil, err
	}
	shown := r.progress()
	defer shown.end()
	player, err := story.OpenPlayer(r.layout, year, story.PlayOptions{
		Pace: r.days, Links: r.roads, Tell: shown.tell, Patience: r.broken.patience(),
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = player.Close() }()
	if err := r.furnish(ctx, shown, player.Furnish); err != nil {
		return nil, err
	}
	injector, err := r.injector(ctx, shown)
	if err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	w := &watch{run: r, year: year, player: player, shown: shown, share: injector.Progress}
	go func() {
		defer close(watched)
		w.follow(watching)
	}()
	if !plan.Finished {
		err = player.Play(ctx)
	}
	stop()
	<-watched
	if err != nil {
		return nil, err
	}
	injector.Progress(1)
	result := &demoResult{}
	if result.Faults, err = r.broke(injector); err != nil {
		return nil, err
	}
	shown.show("  comparing what all nodes say")
	result.YearResult, err = player.Examine(ctx)
	if err != nil {
		return nil, err
	}
	result.Result = result.YearResult.Result
	result.Memory = &w.memory
	return result, plan.Finish()
}

// watch tells how a year goes, and measures.
type watch struct {
	*run
	year   *scenario.Year
	player *story.Player
	shown  *progress
	share  func(float64)

	memory peak
	month  time.Month
}

// peak is the most memory that all processes of a run took together, in bytes.
type peak struct {
	Resident  int64 `json:"rss_bytes"`
	Anonymous int64 `json:"anonymous_bytes"`
}

// watchEvery is how often the line is brought up to date, and the memory looked at.
const watchEvery = 250 * time.Millisecond

func (w *watch) follow(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.memory.look(w.supervisor)
		counts, day := w.player.Counts()
		whole := w.year.End.Sub(w.year.Start)
		share := min(1, max(0, float64(day.Sub(w.year.Start))/float64(whole)))
		w.share(share)
		line := fmt.Sprintf("%s, week %2d: %d identified, %d referred, %d accepted, %d arrived, %d completed", day.In(w.year.Start.Location()).Format(time.DateOnly),
			int(day.Sub(w.year.Start)/(7*24*time.Hour))+1, counts.Identified, counts.Referred, counts.Accepted, counts.Arrived, counts.Completed)
		w.shown.show(bar(share) + " " + line)
		if month := day.Month(); !w.shown.bar && !w.json && month != w.month {
			w.month = month
			w.shown.tell("%s", line)
		}
	}
}

// look takes what all processes take now, this one too.
func (p *peak) look(s *network.Supervisor) {
	now := s.Memory()
	if own, err := network.MemoryOf(ownPid); err == nil {
		now = now.Add(own)
	}
	p.Resident, p.Anonymous = max(p.Resident, now.Resident), max(p.Anonymous, now.Anonymous)
}

// kinds of states in the order in which people reach them.
var order = []string{
	"SUBMITTED", "CONFIRMED", "READY", "IN_TRANSIT", "ARRIVED", "IN_SERVICE", "COMPLETED", "NO_SHOW", "RETURNED", "CANCELLED", "EXPIRED",
}

// states are those of all referrals, in their order.
func states(all map[string]int) (text string) {
	for _, s := range order {
		if n := all[s]; n > 0 {
			text += fmt.Sprintf(" %s:%d", s, n)
		}
	}
	for s, n := range all {
		if !slices.Contains(order, s) {
			text += fmt.Sprintf(" %s:%d", s, n)
		}
	}
	return text
}
