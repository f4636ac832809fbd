package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"amanat.example/deploy/faults"
	"amanat.example/deploy/network"
)

// faultFlags say what the demo breaks while children are handed on.
type faultFlags struct {
	every                                       bool
	cuts                                        []string
	kill, freeze, wipeBus, wipeHub, rollBackHub bool
}

func (f *faultFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.every, "faults", false, "all of the following once; each province is cut for 10s, and 3s each other way, unless --cut says otherwise")
	c.Flags().StringArrayVar(&f.cuts, "cut", nil, "PROVINCE:DURATION[:HOW], such as punjab:10s or punjab:10s:out: cut its link to the hub once, "+
		"both ways, or only out or in, or have it flap, or be slow (repeatable)")
	c.Flags().BoolVar(&f.kill, "kill", false, "kill every process once (SIGKILL)")
	c.Flags().BoolVar(&f.freeze, "freeze", false, "stop every process once for 2s (SIGSTOP), and let it go on")
	c.Flags().BoolVar(&f.wipeBus, "wipe-bus", false, "wipe what each node's own NATS stores once")
	c.Flags().BoolVar(&f.wipeHub, "wipe-hub", false, "wipe what the hub stores once")
	c.Flags().BoolVar(&f.rollBackHub, "roll-back-hub", false, "roll what the hub stores back to an older copy once")
}

const (
	usualCut    = 10 * time.Second
	usualOneWay = 3 * time.Second // and what flaps or is slow
	longestCut  = time.Hour
	frozen      = 2 * time.Second
)

// hows are the ways in which a link is broken.
var hows = []faults.How{faults.Full, faults.Out, faults.In, faults.Flap, faults.Slow}

// options reads the flags. ok says whether anything is to break.
func (f *faultFlags) options(seed uint64) (o faults.Options, ok bool, err error) {
	o = faults.Options{
		Seed: seed, Kill: f.kill || f.every, WipeBus: f.wipeBus || f.every,
		WipeHub: f.wipeHub || f.every, RollBackHub: f.rollBackHub || f.every,
	}
	if f.freeze || f.every {
		o.Freeze = frozen
	}
	for _, text := range f.cuts {
		c, err := parseCut(text)
		if err != nil {
			return o, false, fmt.Errorf("--cut %s: %w", text, err)
		}
		if slices.ContainsFunc(o.Cuts, func(other faults.Cut) bool { return other.Node == c.Node && other.How == c.How }) {
			return o, false, fmt.Errorf("--cut %s: a province is cut once each way; leave one of them out", text)
		}
		o.Cuts = append(o.Cuts, c)
	}
	if f.every && len(o.Cuts) == 0 {
		for _, n := range network.Nodes() {
			if n.Name != network.FederalNode {
				o.Cuts = append(o.Cuts, everyCut(n.Name)...)
			}
		}
	}
	return o, o.Kill || o.Freeze > 0 || o.WipeBus || o.WipeHub || o.RollBackHub || len(o.Cuts) > 0, nil
}

// everyCut breaks a province's link once in each way.
func everyCut(node string) (all []faults.Cut) {
	for _, how := range hows {
		c := faults.Cut{Node: node, For: usualOneWay, How: how}
		if how == faults.Full {
			c.For = usualCut
		}
		all = append(all, c)
	}
	return all
}

func parseCut(text string) (c faults.Cut, err error) {
	node, rest, _ := strings.Cut(text, ":")
	duration, how, said := strings.Cut(rest, ":")
	if _, err := network.Fixed("").Node(node); err != nil || node == network.FederalNode {
		return c, fmt.Errorf("%q is no province of the demo: use sindh, punjab or balochistan", node)
	}
	c.Node, c.How = node, faults.How(how)
	if said && (how == "" || !slices.Contains(hows, c.How)) {
		return c, fmt.Errorf("%q is no way in which a link is broken: use out, in, flap or slow, or leave it out for both ways", how)
	}
	if c.For, err = time.ParseDuration(duration); err != nil || c.For <= 0 || c.For > longestCut {
		return c, fmt.Errorf("give a duration after the province, such as %s:10s, at most %s", node, longestCut)
	}
	return c, nil
}

// roads are the links of nodes to the hub, by node, where those may be cut.
type roads map[string]*network.Link

// openRoads opens the links of some nodes.
func openRoads(l *network.Layout, nodes []string) (roads, error) {
	all := roads{}
	for _, node := range nodes {
		link, err := network.OpenLink(l.Address(network.FederalNode, network.Hub))
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all[node] = link
	}
	return all, nil
}

func (r roads) close() (err error) {
	for _, l := range r {
		err = errors.Join(err, l.Close())
	}
	return err
}

// breaking is how a run of the demo is broken on purpose.
type breaking struct{ options faults.Options }

// breaking reads what is to break; nil when nothing is.
func (f *demoFlags) breaking() (*breaking, error) {
	options, ok, err := f.faults.options(f.seed)
	switch {
	case err != nil || !ok:
		return nil, err
	case !f.once:
		return nil, errors.New("faults are for a run that ends and is judged: add --once")
	case f.one:
		return nil, errors.New("--in-process leaves nothing to kill and no link to cut: leave it out")
	case f.surge:
		return nil, errors.New("a surge is measured, not broken: leave --surge or the faults out")
	}
	for options.Seed == 0 { // 0 stands for none
		options.Seed = uint64(rand.Uint32())
	}
	f.seed = options.Seed
	return &breaking{options}, nil
}

// nodes are those whose links are to be cut.
func (b *breaking) nodes() (all []string) {
	if b != nil {
		for _, c := range b.options.Cuts {
			if !slices.Contains(all, c.Node) {
				all = append(all, c.Node)
			}
		}
	}
	return all
}

// cutFor is how long links are cut in all: so long a child may have to wait.
func (b *breaking) cutFor() (all time.Duration) {
	if b == nil {
		return 0
	}
	for _, c := range b.options.Cuts {
		all += c.For
	}
	return all
}

// patience is how long one action of a year may take: much longer where processes are killed and links cut meanwhile.
func (b *breaking) patience() time.Duration {
	if b == nil {
		return time.Minute
	}
	return handoverLimit + b.cutFor()
}

// breaker breaks a run, or does nothing where nothing is to break.
type breaker struct{ *faults.Injector }

// Progress says which share of the work is done.
func (b breaker) Progress(share float64) {
	if b.Injector != nil {
		b.Injector.Progress(share)
	}
}

// injector readies the faults.
func (r *run) injector(ctx context.Context, p *progress) (breaker, error) {
	if r.broken == nil {
		return breaker{}, nil
	}
	p.tell("What breaks, and when, follows from --seed %d", r.broken.options.Seed)
	begin := time.Now()
	i, err := faults.New(ctx, r.layout, r.supervisor, r.roads, r.broken.options, func(what string) {
		p.tell("%5.1f s: %s", time.Since(begin).Seconds(), what)
	})
	return breaker{i}, err
}

// broke waits for the faults, and says what was broken; nil when nothing was to be.
func (r *run) broke(b breaker) (*faults.Done, error) {
	if b.Injector == nil {
		return nil, nil
	}
	done, err := b.Wait()
	return &done, err
}
