package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/faults"
	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	"amanat.example/gateway/session"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/identity"
)

// demoTokens is how long the demo people's API tokens are good, and renewTokens after how long a start makes new ones.
const demoTokens, renewTokens = 90 * 24 * time.Hour, 60 * 24 * time.Hour

var (
	errBroken  = errors.New("a promise broke: see the result")
	errStopped = errors.New("it was stopped before the end, and nothing was compared")
)

func initNetwork() *cobra.Command {
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the demo network's identities and roster; never overwrites",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := cmd.Flags().GetString("data")
			if err != nil {
				return err
			}
			return network.Fixed(data).Init()
		},
	}
	c.Flags().String("data", "data", "root folder of the data")
	return c
}

// part runs one process of the network; the supervisor starts it, and people may too.
func part() *cobra.Command {
	var hub string
	c := &cobra.Command{
		Use:   "part NODE NAME",
		Short: "Run one part of a node: a service, its bus, or the hub",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := cmd.Flags().GetString("data")
			if err != nil {
				return err
			}
			l, err := network.Load(data)
			if err != nil {
				return err
			}
			if l.LogLevel, err = cmd.Flags().GetString("log-level"); err != nil {
				return err
			}
			if hub != "" {
				if err := l.HubAt(hub); err != nil {
					return err
				}
			}
			return l.Run(cmd.Context(), network.Part{Node: args[0], Name: args[1]})
		},
	}
	c.Flags().String("data", "data", "root folder of the data")
	c.Flags().StringVar(&hub, "hub", "", "where the hub is reached, host:port (default: where the network's file says)")
	c.Flags().String("log-level", "info", "least severe lines that are logged: debug, info, warn or error")
	return c
}

type demoFlags struct {
	data                   string
	once, json, one, surge bool
	referrals              int
	seed                   uint64
	pace                   string
	faults                 faultFlags

	counted bool    // referrals were asked for
	days    float64 // of the calendar in a second, as pace says; 0: as fast as it goes
}

func demo() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run three provinces, the federal cell and the hub here, and play a year of theirs",
		Long: `Runs three provinces, the federal cell and the hub on this machine, and plays the year that ends now: people are taken in, referred, answered for,
brought to where there is a place, and cared for, as the published figures have it. All persons are synthetic. A year that was broken off
goes on at the next start; one that is over is not played again.

With --referrals 1 one girl is handed on from Hub to Lahore, now, told step by step.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.counted = cmd.Flags().Changed("referrals")
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.data, "data", "", "root folder of the data (default: data, with --once a new folder that is removed)")
	c.Flags().BoolVar(&f.once, "once", false, "play, compare, and end instead of staying up")
	c.Flags().StringVar(&f.pace, "pace", "", "days of the calendar that may pass in a second, or max (default: 0.8, with --once max)")
	c.Flags().BoolVar(&f.surge, "surge", false, "take in 79,000 children of the brick kilns at Punjab at once, and tell the rate; with --once alone")
	c.Flags().BoolVar(&f.json, "json", false, "print the result as one JSON object")
	c.Flags().BoolVar(&f.one, "in-process", false, "run everything in this process")
	c.Flags().IntVar(&f.referrals, "referrals", 0, "how many referrals there are in the year, at most 50000; 1: one girl, without a year (default: 600, with --once 1)")
	c.Flags().Uint64Var(&f.seed, "seed", 0, "makes the children, and what breaks when, the same again (default: all children alike; faults by a seed that is told)")
	f.faults.add(c)
	return c
}

func (f *demoFlags) run(ctx context.Context, out, errs io.Writer) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	broken, err := f.breaking()
	if err != nil {
		return err
	}
	if f.data == "" {
		if f.data = "data"; f.once {
			if f.data, err = os.MkdirTemp("", "amanat-demo-"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(f.data)) }()
		}
	}
	l, err := openLayout(f.data)
	if err != nil {
		return err
	}
	people, err := f.people(l)
	if err != nil {
		return err
	}
	plan, err := f.plan(l, errs)
	if err != nil {
		return err
	}
	roads, err := openRoads(l, f.linked(l, plan, broken))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, roads.close()) }()
	supervisor, err := f.supervisor(l, roads)
	if err != nil {
		return err
	}
	if !f.once {
		f.say(out, l, people)
	}
	r := &run{demoFlags: f, layout: l, plan: plan, supervisor: supervisor, broken: broken, roads: roads, errs: errs}
	return r.run(ctx, out)
}

// openLayout is the demo's network under a root, with who joined since, which is made where there is none. None of it may run.
func openLayout(root string) (*network.Layout, error) {
	if err := network.Fixed(root).Init(); err != nil {
		return nil, err
	}
	l, err := network.Load(root)
	if err != nil {
		return nil, err
	}
	return l, l.CheckPorts()
}

// person is somebody of the demo who has an API token at a gateway.
type person struct{ node, role, unit, file string }

// people makes an API token for each person of the demo who has none, or an old one; the secrets lie in files, mode 0600.
func (f *demoFlags) people(l *network.Layout) ([]person, error) {
	people := []person{
		{"balochistan", "case-worker", "nodes/balochistan/units/hub", ""},
		{"balochistan", "supervisor", "nodes/balochistan/units/hub", ""},
		{"punjab", "case-worker", "nodes/punjab/units/lahore", ""},
		{"punjab", "shelter-manager", "nodes/punjab/shelters/lahore-girls", ""},
		{"sindh", "case-worker", "nodes/sindh/units/karachi-south", ""},
		{network.FederalNode, "federal-analyst", "", ""},
	}
	for i, p := range people {
		people[i].file = filepath.Join(l.Root, p.node, network.Gateway, "demo-"+p.role+".token")
		if made, err := os.Stat(people[i].file); err == nil && time.Since(made.ModTime()) < renewTokens {
			continue
		}
		secret, err := session.Create(filepath.Join(l.Root, p.node, network.Gateway, "tokens.json"), session.Grant{
			Person: "nodes/" + p.node + "/workers/demo-" + p.role, Roles: []string{p.role}, Unit: p.unit, Purpose: "casework",
			ExpireTime: time.Now().Add(demoTokens),
		}, time.Now())
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(people[i].file, []byte(secret), 0o600); err != nil {
			return nil, err
		}
	}
	return people, nil
}

// say tells where to look.
func (f *demoFlags) say(out io.Writer, l *network.Layout, people []person) {
	fmt.Fprintf(out, "The network stays up until Ctrl-C; it keeps what it has, and make clean-data forgets it. Logs: %s\nLook at it while it plays:\n", filepath.Join(f.data, "log"))
	for _, p := range people {
		fmt.Fprintf(out, "  https://%s  %s of %s\n    --cacert %s  token in %s\n", l.Address(p.node, network.Gateway), p.role, p.node,
			identity.CACertificatePath(l.Root, p.node), p.file)
	}
}

// supervisor runs each part as this command, and through a link of its own where that may be cut.
func (f *demoFlags) supervisor(l *network.Layout, roads roads) (*network.Supervisor, error) {
	self, err := os.Executable()
	return network.NewSupervisor(l, func(p network.Part) []string {
		command := []string{self, "part", "--data", f.data, p.Node, p.Name}
		if link := roads[p.Node]; link != nil {
			command = append(command, "--hub", link.Address())
		}
		return command
	}), err
}

// run is a run of the demo.
type run struct {
	*demoFlags
	layout     *network.Layout
	plan       *story.Plan // nil without a year
	supervisor *network.Supervisor
	broken     *breaking
	roads      roads
	errs       io.Writer
}

// run runs the network, plays on it, and tells what became of that; it ends there, or stays until it is told to end.
func (r *run) run(ctx context.Context, out io.Writer) error {
	asked := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if r.one {
			return r.layout.RunAll(ctx)
		}
		return r.supervisor.Run(ctx)
	})
	var result *demoResult
	group.Go(func() error {
		played, err := r.play(ctx)
		if err != nil {
			return err
		}
		if result = played; r.once {
			stop()
		} else {
			result.tell(out)
		}
		return nil
	})
	err := group.Wait()
	switch {
	case result == nil && asked.Err() != nil:
		return r.stopped(out)
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	case result == nil:
		return ctx.Err()
	case !r.once:
		return nil // it was told when the year was over
	}
	return r.report(out, result)
}

// stopped is how a run ends that was stopped before its end, whatever else was broken off by that.
func (r *run) stopped(out io.Writer) error {
	if r.once || r.plan == nil {
		return errStopped
	}
	fmt.Fprintln(out, "The year goes on at the next start")
	return nil
}

func (r *run) play(ctx context.Context) (result *demoResult, err error) {
	begin := time.Now()
	switch {
	case r.surge:
		result, err = r.bulk(ctx)
	case r.plan != nil:
		result, err = r.year(ctx, r.plan)
	default:
		result, err = r.girl(ctx)
	}
	if err == nil {
		result.FederalFacts, err = r.whole(ctx)
	}
	if err == nil {
		result.WallMS = time.Since(begin).Milliseconds()
	}
	return result, err
}

// Times after which somebody is told that the services are not up, and is waited no longer.
const slowStart, longestStart = 20 * time.Second, 5 * time.Minute

// furnish has units and places entered, for which the services must be up.
func (r *run) furnish(ctx context.Context, shown *progress, enter func(context.Context) error) error {
	logs := filepath.Join(r.layout.Root, "log")
	slow := time.AfterFunc(slowStart, func() { shown.tell("Not all services are up yet; the logs in %s say why", logs) })
	defer slow.Stop()
	limited, cancel := context.WithTimeout(ctx, longestStart)
	defer cancel()
	err := enter(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("not all services were up within %v, and the logs in %s say why: %w", longestStart, logs, err)
	}
	return err
}

// wholeWait is how long the last days may take until both ends have compared them: a day is told within seconds, and what was lost by the hub is
// sent again within minutes.
const wholeWait = 3 * time.Minute

// whole waits until the federal cell has of every day exactly what each service says it told, and answers with how many facts that are; 0 if
// that does not come about.
func (r *run) whole(ctx context.Context) (all int64, err error) {
	for end := time.Now().Add(wholeWait); ; {
		days, err := r.layout.Days(ctx)
		if err != nil && ctx.Err() != nil {
			return 0, err
		}
		if err == nil {
			all = wholeFacts(days)
		}
		switch {
		case all > 0:
			return all, nil
		case time.Now().After(end):
			return 0, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// wholeFacts is how many facts there are of all days; 0 where a day differs at the two ends.
func wholeFacts(days []*federalv1.DayRecord) (all int64) {
	for _, d := range days {
		if !network.Whole(d) {
			return 0
		}
		all += d.GetKept().GetFacts()
	}
	return all
}

// demoResult is what became of a run.
type demoResult struct {
	story.Result
	// YearResult is what a year has besides; nil without a year.
	*story.YearResult
	// Memory that all processes took at most; not of a single girl.
	Memory *peak `json:"peak_memory,omitempty"`
	// Surge is what became of a surge alone.
	Surge *surged `json:"surge,omitempty"`
	// Faults that were made; none where none were asked for.
	Faults *faults.Done `json:"faults,omitempty"`

	// FederalFacts is how many facts the federal cell has, compared with what each service told of each day, to the last one; 0: it has others.
	FederalFacts int64 `json:"federal_facts"`

	before bool // the year was played, and judged, before
}

// Kept says that every promise held.
func (r *demoResult) Kept() bool {
	kept := r.Result.Kept
	switch {
	case r.before:
		kept = func() bool { return true }
	case r.Surge != nil:
		kept = r.Surge.kept
	case r.YearResult != nil:
		kept = r.YearResult.Kept
	}
	return r.FederalFacts > 0 && kept()
}

func (f *demoFlags) report(out io.Writer, r *demoResult) error {
	if f.json {
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	} else {
		r.tell(out)
	}
	if !r.Kept() {
		return errBroken
	}
	return nil
}

// tell tells what became of a run.
func (r *demoResult) tell(out io.Writer) {
	if s := r.Surge; s != nil {
		fmt.Fprintf(out, "%d children taken in within %.1f s: %.0f in a second; the federal cell counts %d\n", s.Children, float64(s.MS)/1000, s.Rate, s.Counted)
	}
	if y := r.YearResult; y != nil {
		for _, why := range y.Why {
			fmt.Fprintf(out, "broken: %s\n", why)
		}
		fmt.Fprintf(out, "%d identified, %d cases, %d deadlines missed, %d links cut by the year, %d people given up\n",
			y.Identified, y.Cases, y.DeadlinesMissed, y.CutsOfYear, y.GivenUp)
	}
	if r.Referrals > 0 {
		fmt.Fprintf(out, "%d referrals:%s; lost %d, doubled %d, overbooked beds %d; the federal cell counts the same: %t; %d facts compared to the last one; %d ms\n",
			r.Referrals, states(r.States), r.Lost, r.Doubled, r.OverbookedBeds, r.FederalMatches, r.FederalFacts, r.WallMS)
	}
	if m := r.Memory; m != nil && m.Resident > 0 {
		fmt.Fprintf(out, "all processes together took %d MB at most, %d MB of them their own\n", m.Resident>>20, m.Anonymous>>20)
	}
	if d := r.Faults; d != nil {
		fmt.Fprintf(out, "meanwhile: %d processes killed, %d links cut, %d node's NATS wiped, the hub wiped %d and rolled back %d times; seed %d\n",
			d.Kills, d.Cuts, d.BusWipes, d.HubWipes, d.HubRollBacks, d.Seed)
	}
}

// ownPid is this process.
var ownPid = os.Getpid()
