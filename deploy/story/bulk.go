package story

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/network"
	"amanat.example/deploy/scenario"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
)

// callers is how many take people in at once when there are very many.
const callers = 64

// Bulk takes in those whom a surge brings to one node.
type Bulk struct {
	desk, federal *desk
	units         []scenario.Unit
	cases         []scenario.Case
}

// OpenBulk connects to a node that runs, for the cases of a year's surge there.
func OpenBulk(l *network.Layout, node string, year *scenario.Year) (b *Bulk, err error) {
	b = &Bulk{}
	if b.desk, err = openDesk(l, node); err != nil {
		return nil, err
	}
	if b.federal, err = openDesk(l, network.FederalNode); err != nil {
		_ = b.desk.close()
		return nil, err
	}
	for _, u := range year.Units {
		if u.Node == node {
			b.units = append(b.units, u)
		}
	}
	for _, c := range year.Cases {
		if c.Node == node && c.Kind == "kilns" {
			b.cases = append(b.cases, c)
		}
	}
	return b, nil
}

// Close disconnects.
func (b *Bulk) Close() error {
	if err := b.federal.close(); err != nil {
		return err
	}
	return b.desk.close()
}

// Len is how many there are.
func (b *Bulk) Len() int { return len(b.cases) }

// Furnish enters the node's units.
func (b *Bulk) Furnish(ctx context.Context) error { return furnishUnits(ctx, b.desk, b.units) }

// TakeIn takes all in; done is told how many are, by one caller at a time.
func (b *Bulk) TakeIn(ctx context.Context, done func(int)) error {
	group, ctx := errgroup.WithContext(ctx)
	var next, taken atomic.Int64
	told := make(chan struct{}, 1)
	for range callers {
		group.Go(func() error {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(b.cases) {
					return nil
				}
				c := b.cases[n]
				_, err := ask(ctx, b.desk, worker, c.Case.GetUnit(), b.desk.protection.CreateCase, &protectionv1.CreateCaseRequest{
					Parent: "nodes/" + c.Node, RequestId: fmt.Sprintf("surge-case-%06d", c.Number), Case: c.Case,
				})
				if err != nil {
					return fmt.Errorf("child %d: %w", c.Number, err)
				}
				all := int(taken.Add(1))
				select {
				case told <- struct{}{}:
					done(all)
					<-told
				default: // another caller tells just now
				}
			}
		})
	}
	return group.Wait()
}

// Counted is how many the federal cell counts as identified at the node, once it counts all or no more come in.
func (b *Bulk) Counted(ctx context.Context) (int64, error) {
	var counted, before int64
	quiet := newQuiet()
	return until(ctx, "the federal count", func() (int64, bool, error) {
		before, counted = counted, 0
		err := pages(func(token string) (string, error) {
			page, err := ask(ctx, b.federal, analyst, "", b.federal.federal.ListCorridors, &federalv1.ListCorridorsRequest{
				PageSize: 1000, PageToken: token,
				Filter: &federalv1.ListCorridorsRequest_Filter{FromNode: b.desk.node, Stage: federalv1.Stage_STAGE_IDENTIFIED},
			})
			for _, c := range page.GetCorridors() {
				counted += c.GetFlows()
			}
			return page.GetNextPageToken(), err
		})
		return counted, counted == int64(len(b.cases)) || quiet.since(counted != before), err
	})
}
