package app

import (
	"bytes"
	"context"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	kitstore "amanat.example/services/kit/store"
)

// Recount counts anew where counts are of an older way of counting, or where a rebuild was broken off.
func (a *App) Recount(ctx context.Context) error {
	var counted *wrapperspb.UInt64Value
	err := a.DB.View(ctx, func(r kitstore.Reader) (err error) {
		counted, err = store.Counted.Get(r, store.CountedKey)
		if errors.Is(err, kitstore.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil || counted.GetValue() == rules.Counting {
		return err
	}
	return a.Rebuild(ctx)
}

// perRebuild is how many facts a rebuild counts in one transaction.
const perRebuild = 2000

// Rebuild counts all facts anew, so that what is counted differently since counts for what was told before, too. It may be broken off: then Recount
// begins again. Nothing may be taken in meanwhile.
func (a *App) Rebuild(ctx context.Context) error {
	if err := a.setCounted(ctx, 0); err != nil {
		return err
	}
	for _, clear := range []func(tx *kitstore.Tx) (more bool, err error){clearTable(store.Counts), clearTable(store.CaseFlows)} {
		for more := true; more; {
			err := a.DB.Update(ctx, func(tx *kitstore.Tx) (err error) { more, err = clear(tx); return err })
			if err != nil {
				return err
			}
		}
	}
	// First which referrals are of which case, and what is kept of each day, then each flow once, and each case once.
	kept := keptDays{}
	if err := a.eachFact(ctx, func(tx *kitstore.Tx, r *federalv1.FactRecord, _ bool) error {
		kept.add(r)
		key := caseFlowKey(r)
		if key == nil {
			return nil
		}
		return store.CaseFlows.Put(tx, key, &federalv1.FlowLink{FlowId: r.GetFact().GetFlowId()})
	}); err != nil {
		return err
	}
	if err := a.keepDays(ctx, kept); err != nil {
		return err
	}
	err := a.eachFact(ctx, func(tx *kitstore.Tx, r *federalv1.FactRecord, first bool) error {
		if !first {
			return nil
		}
		return countFlows(tx, r.GetFact().GetFlowId())
	})
	if err != nil {
		return err
	}
	return a.setCounted(ctx, rules.Counting)
}

// countFlows counts the flows that have an id, one for each node where one begins.
func countFlows(tx *kitstore.Tx, id []byte) error {
	records, err := recordsOf(tx, id)
	if err != nil {
		return err
	}
	origins := map[string]bool{}
	for _, r := range records {
		origins[r.GetFact().GetFromNode()] = true
	}
	all, known := map[rules.CountKey]int64{}, knownOf(records)
	for origin := range origins {
		of, err := caseOf(tx, origin, id)
		if err != nil {
			return err
		}
		sum(all, rules.OfFlow(rules.NewFlow(origin, known)), 1)
		sum(all, rules.OfStrays(origin, known), 1)
		sum(all, of, 1)
	}
	return apply(tx, all)
}

// keptDays are the days of services with what is kept of them.
type keptDays map[serviceDay]*federalv1.FlowDay

type serviceDay struct{ node, service, day string }

func (k keptDays) add(r *federalv1.FactRecord) {
	at := serviceDay{r.GetSourceNode(), r.GetSourceService(), facts.Day(r.GetFact().GetEventTime().AsTime())}
	k[at] = facts.Add(k[at], at.day, r.GetFactId())
}

// keepDays stores what is kept of each day. A day of which nothing is kept stays, with what was told of it.
func (a *App) keepDays(ctx context.Context, kept keptDays) error {
	return a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		err := store.Days.Scan(tx, kitstore.Range{}, func(_ kitstore.Key, d *federalv1.DayRecord) error {
			at := serviceDay{d.GetNode(), d.GetService(), d.GetKept().GetDay()}
			if kept[at] == nil {
				kept[at] = &federalv1.FlowDay{Day: at.day, Digest: make([]byte, 32)}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for at, day := range kept {
			d, err := dayOf(tx, at.node, at.service, at.day)
			if err != nil {
				return err
			}
			d.Kept = day
			if err := a.putDay(tx, d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *App) setCounted(ctx context.Context, version uint64) error {
	return a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		return store.Counted.Put(tx, store.CountedKey, wrapperspb.UInt64(version))
	})
}

// eachFact calls fn for every fact in order of flow, some in one transaction; first is true for the first fact of a flow.
func (a *App) eachFact(ctx context.Context, fn func(tx *kitstore.Tx, r *federalv1.FactRecord, first bool) error) error {
	var last []byte
	for span := (kitstore.Range{}); ; {
		err := a.DB.Update(ctx, func(tx *kitstore.Tx) error {
			rows, next, err := store.Facts.Page(tx, span, perRebuild)
			if err != nil {
				return err
			}
			for _, row := range rows {
				id := row.Value.GetFact().GetFlowId()
				if err := fn(tx, row.Value, !bytes.Equal(id, last)); err != nil {
					return err
				}
				last = id
			}
			span.After = next
			return nil
		})
		if err != nil || span.After == nil {
			return err
		}
	}
}

func clearTable[M proto.Message](t *kitstore.Table[M]) func(tx *kitstore.Tx) (more bool, err error) {
	return func(tx *kitstore.Tx) (bool, error) {
		rows, next, err := t.Page(tx, kitstore.Range{}, perRebuild)
		if err != nil {
			return false, err
		}
		for _, row := range rows {
			if err := t.Delete(tx, row.Key); err != nil {
				return false, err
			}
		}
		return next != nil, nil
	}
}
