package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	"amanat.example/gateway/session"
	"amanat.example/services/kit/identity"
)

// players is how many referrals the demo plays at a time.
const players = 8

// demoTokens is how long the demo people's API tokens are good.
const demoTokens = 90 * 24 * time.Hour

var errBroken = errors.New("a promise broke: see the result")

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
			return l.Run(cmd.Context(), network.Part{Node: args[0], Name: args[1]})
		},
	}
	c.Flags().String("data", "data", "root folder of the data")
	c.Flags().String("log-level", "info", "least severe lines that are logged: debug, info, warn or error")
	return c
}

type demoFlags struct {
	data            string
	once, json, one bool
	referrals       int
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
	return c
}

func (f *demoFlags) run(ctx context.Context, out, errs io.Writer) (err error) {
	if f.referrals < 1 || f.referrals > 5000 {
		return errors.New("--referrals must lie between 1 and 5000")
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
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.network(ctx, l) })
	var result *story.Result
	group.Go(func() error {
		if result, err = f.play(ctx, l, errs); err != nil {
			return err
		}
		if f.once {
			stop()
			return nil
		}
		f.say(out, l, people)
		return nil
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if result == nil {
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

func (f *demoFlags) network(ctx context.Context, l *network.Layout) error {
	if f.one {
		return l.RunAll(ctx)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return network.NewSupervisor(l, func(p network.Part) []string {
		return []string{self, "part", "--data", f.data, p.Node, p.Name}
	}).Run(ctx)
}

func (f *demoFlags) play(ctx context.Context, l *network.Layout, errs io.Writer) (*story.Result, error) {
	begin := time.Now()
	stage, err := story.Open(l)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stage.Close() }()
	if f.referrals == 1 {
		stage.Tell = func(format string, values ...any) { fmt.Fprintf(errs, "  "+format+"\n", values...) }
	}
	beds := int32(f.referrals)
	if !f.once {
		beds += 20 // for who tries things out
	}
	if err := stage.Furnish(ctx, beds); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var names []string
	group, playing := errgroup.WithContext(ctx)
	group.SetLimit(players)
	for number := range f.referrals {
		group.Go(func() error {
			name, err := stage.Handover(playing, number+1)
			mu.Lock()
			defer mu.Unlock()
			if name != "" {
				names = append(names, name)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	result, err := stage.Examine(ctx, names)
	if err == nil {
		result.WallMS = time.Since(begin).Milliseconds()
	}
	return result, err
}

func (f *demoFlags) report(out io.Writer, r *story.Result) error {
	if f.json {
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%d referrals: %v; lost %d, doubled %d, overbooked beds %d; the federal cell counts the same: %t; %d ms\n",
			r.Referrals, r.States, r.Lost, r.Doubled, r.OverbookedBeds, r.FederalMatches, r.WallMS)
	}
	if !r.Kept() {
		return errBroken
	}
	return nil
}
