package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/faults"
	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	"amanat.example/gateway/session"
	"amanat.example/services/kit/identity"
)

// players is how many referrals the demo plays at a time.
const players = 8

// demoTokens is how long the demo people's API tokens are good.
const demoTokens = 90 * 24 * time.Hour

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
	data            string
	once, json, one bool
	referrals       int
	seed            uint64
	faults          faultFlags
}

func demo() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run three provinces, the federal cell and the hub here, and hand children on between them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.data, "data", "", "root folder of the data (default: data, with --once a new folder that is removed)")
	c.Flags().BoolVar(&f.once, "once", false, "play, compare, and end instead of staying up")
	c.Flags().BoolVar(&f.json, "json", false, "print the result as one JSON object")
	c.Flags().BoolVar(&f.one, "in-process", false, "run everything in this process")
	c.Flags().IntVar(&f.referrals, "referrals", 1, "how many referrals to play")
	c.Flags().Uint64Var(&f.seed, "seed", 0, "makes the children, and what breaks when, the same again (default: all children alike; faults by a seed that is told)")
	f.faults.add(c)
	return c
}

func (f *demoFlags) run(ctx context.Context, out, errs io.Writer) (err error) {
	if f.referrals < 1 || f.referrals > 5000 {
		return errors.New("--referrals must lie between 1 and 5000")
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
	l := network.Fixed(f.data)
	if err := l.Init(); err != nil {
		return err
	}
	if l, err = network.Load(f.data); err != nil { // with who joined since
		return err
	}
	if err := l.CheckPorts(); err != nil {
		return err
	}
	people, err := f.people(l)
	if err != nil {
		return err
	}
	if err := broken.open(l); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broken.close()) }()
	supervisor, err := f.supervisor(l, broken)
	if err != nil {
		return err
	}
	asked := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if f.one {
			return l.RunAll(ctx)
		}
		return supervisor.Run(ctx)
	})
	var result *demoResult
	group.Go(func() error {
		if result, err = f.play(ctx, l, supervisor, broken, errs); err != nil {
			return err
		}
		if f.once {
			stop()
			return nil
		}
		f.say(out, l, people)
		return nil
	})
	switch err := group.Wait(); {
	case result == nil && asked.Err() != nil:
		return errStopped // whatever else was broken off by that
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	case result == nil:
		return ctx.Err()
	}
	return f.report(out, result)
}

// person is somebody of the demo who has an API token at a gateway.
type person struct{ node, role, unit, file string }

// people makes an API token for each person of the demo; the secrets lie in files, mode 0600.
func (f *demoFlags) people(l *network.Layout) ([]person, error) {
	people := []person{
		{"balochistan", "case-worker", "nodes/balochistan/units/hub", ""},
		{"balochistan", "supervisor", "nodes/balochistan/units/hub", ""},
		{"punjab", "case-worker", "nodes/punjab/units/lahore", ""},
		{"punjab", "shelter-manager", "nodes/punjab/shelters/lahore-girls", ""},
		{network.FederalNode, "federal-analyst", "", ""},
	}
	for i, p := range people {
		people[i].file = filepath.Join(l.Root, p.node, network.Gateway, "demo-"+p.role+".token")
		if _, err := os.Stat(people[i].file); err == nil {
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
	fmt.Fprintf(out, "\nThe network stays up; Ctrl-C ends it, make clean-data forgets it. Logs: %s\n", filepath.Join(f.data, "log"))
	for _, p := range people {
		fmt.Fprintf(out, "  https://%s  %s of %s\n    --cacert %s  token in %s\n", l.Address(p.node, network.Gateway), p.role, p.node,
			identity.CACertificatePath(l.Root, p.node), p.file)
	}
}

// supervisor runs each part as this command, and through a link of its own where that may be cut.
func (f *demoFlags) supervisor(l *network.Layout, broken *breaking) (*network.Supervisor, error) {
	self, err := os.Executable()
	return network.NewSupervisor(l, func(p network.Part) []string {
		command := []string{self, "part", "--data", f.data, p.Node, p.Name}
		if hub := broken.hub(p.Node); hub != "" {
			command = append(command, "--hub", hub)
		}
		return command
	}), err
}

// demoResult is what became of a run.
type demoResult struct {
	*story.Result
	// Faults that were made; none where none were asked for.
	Faults *faults.Done `json:"faults,omitempty"`
}

// handoverLimit is how long one child is waited for, beside the time in which links are cut. Whoever is not through by then is lost, and
// the others go on.
const handoverLimit = 5 * time.Minute

func (f *demoFlags) play(ctx context.Context, l *network.Layout, supervisor *network.Supervisor, broken *breaking, errs io.Writer) (*demoResult, error) {
	begin := time.Now()
	stage, err := story.Open(l)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stage.Close() }()
	stage.Seed = f.seed
	beds := int32(f.referrals)
	if !f.once {
		beds += 20 // for who tries things out
	}
	if err := stage.Furnish(ctx, beds); err != nil {
		return nil, err
	}
	shown := &progress{errs: errs, bar: f.once && !f.json && f.referrals > 1 && terminal(errs), referrals: f.referrals}
	defer shown.end()
	injector, err := broken.injector(ctx, l, supervisor, shown)
	if err != nil {
		return nil, err
	}
	if injector != nil {
		shown.faults = injector.Planned()
	}
	var steps atomic.Int64
	stage.Tell = func(format string, values ...any) {
		if f.referrals == 1 {
			shown.tell(format, values...)
		}
		if done := steps.Add(1); injector != nil {
			injector.Progress(float64(done) / float64(story.Steps*f.referrals))
		}
	}
	var played atomic.Int64
	names, err := handovers(ctx, f.referrals, handoverLimit+broken.cutFor(), stage.Handover, shown.tell, func() {
		shown.referralDone()
		if done := played.Add(1); injector != nil { // a child who was given up counts too: what is to break does not wait for it
			injector.Progress(float64(done) / float64(f.referrals))
		}
	})
	if err != nil {
		return nil, err
	}
	result := &demoResult{}
	if injector != nil {
		made, err := injector.Wait()
		if err != nil {
			return nil, err
		}
		result.Faults = &made
	}
	if result.Result, err = stage.Examine(ctx, names); err != nil {
		return nil, err
	}
	result.WallMS = time.Since(begin).Milliseconds()
	return result, nil
}

// handovers hands all children on, some at a time, and answers with the names of their referrals. One that takes longer than the limit is
// given up, which is told; done is called after each.
func handovers(ctx context.Context, referrals int, limit time.Duration, hand func(ctx context.Context, number int) (string, error),
	tell func(format string, values ...any), done func(),
) ([]string, error) {
	var mu sync.Mutex
	var names []string
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(players)
	for number := range referrals {
		group.Go(func() error {
			one, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			name, err := hand(one, number+1)
			if err != nil && one.Err() != nil && ctx.Err() == nil {
				tell("Child %d is given up: %s: %v", number+1, name, err)
				err = nil
			}
			mu.Lock()
			defer mu.Unlock()
			names = append(names, cmp.Or(name, fmt.Sprintf("child %d, not referred", number+1)))
			done()
			return err
		})
	}
	return names, group.Wait()
}

func (f *demoFlags) report(out io.Writer, r *demoResult) error {
	if f.json {
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%d referrals: %v; lost %d, doubled %d, overbooked beds %d; the federal cell counts the same: %t; %d ms\n",
			r.Referrals, r.States, r.Lost, r.Doubled, r.OverbookedBeds, r.FederalMatches, r.WallMS)
		if d := r.Faults; d != nil {
			fmt.Fprintf(out, "meanwhile: %d processes killed, %d links cut, %d node's NATS wiped, the hub wiped %d and rolled back %d times; seed %d\n",
				d.Kills, d.Cuts, d.BusWipes, d.HubWipes, d.HubRollBacks, d.Seed)
		}
	}
	if !r.Kept() {
		return errBroken
	}
	return nil
}
