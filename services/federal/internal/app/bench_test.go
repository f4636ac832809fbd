package app_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
)

// BenchmarkIngest takes a million facts in: cases and their referrals of a year among five nodes, one fact a letter and 256 letters a
// transaction, as a full parcel comes. It prints the rate beside what a bare commit of the same facts, of the same size, in one table with its
// index gives in the same run; the size of the file; and the slowest of twenty askings of each figure.
func BenchmarkIngest(b *testing.B) {
	const events, parcel = 1_000_000, 256
	for b.Loop() {
		dir := b.TempDir()
		db := openBench(b, filepath.Join(dir, "federal.db"))
		a := &app.App{
			DB: db, Node: "federal", Tokens: paging.New([]byte("test")), Now: time.Now, Clock: time.Now,
			Member: func(string) bool { return true }, Province: func(string) string { return "PK-PB" },
		}
		all := newYear(events)
		start := time.Now()
		for at := 0; at < len(all); at += parcel {
			err := db.Update(context.Background(), func(tx *kitstore.Tx) error {
				for _, t := range all[at:min(at+parcel, len(all))] {
					if err := a.TakeFacts(tx, &postv1.Address{Node: t.node, Service: t.service}, &postv1.Letter{Kind: flow.FactsKind, Body: t.body}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		rate := float64(len(all)) / time.Since(start).Seconds()
		b.ReportMetric(rate, "facts/s")
		info, err := os.Stat(filepath.Join(dir, "federal.db"))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/(1<<20), "MB")
		var slowest time.Duration
		for range 20 {
			begun := time.Now()
			if _, err := a.GetFigures(context.Background(), &federalv1.GetFiguresRequest{Name: "figures/all"}); err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(begun))
		}
		b.ReportMetric(float64(slowest.Microseconds())/1000, "ms/figures")
		slowest = 0
		for range 20 {
			begun := time.Now()
			if _, err := a.ListCorridors(context.Background(), &federalv1.ListCorridorsRequest{PageSize: 1000}); err != nil {
				b.Fatal(err)
			}
			if _, err := a.ListDays(context.Background(), &federalv1.ListDaysRequest{PageSize: 1000}); err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(begun))
		}
		b.ReportMetric(float64(slowest.Microseconds())/1000, "ms/lists")
		begun := time.Now()
		if err := a.Rebuild(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begun).Seconds(), "s/rebuild")
		b.ReportMetric(rate/bare(b, filepath.Join(dir, "bare.db"), all, parcel), "of-bare")
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func openBench(b *testing.B, path string) *kitstore.DB {
	b.Helper()
	db, err := kitstore.Open(context.Background(), kitstore.Options{Path: path, Schema: store.Schema})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

// bare is how many facts a second are kept and nothing else.
func bare(b *testing.B, path string, all []told, parcel int) float64 {
	b.Helper()
	db := openBench(b, path)
	start := time.Now()
	for at := 0; at < len(all); at += parcel {
		err := db.Update(context.Background(), func(tx *kitstore.Tx) error {
			for _, t := range all[at:min(at+parcel, len(all))] {
				letter := &federalv1.Facts{}
				if err := proto.Unmarshal(t.body, letter); err != nil {
					return err
				}
				f := letter.GetFacts()[0]
				id := facts.ID(t.node, t.service, f)
				record := &federalv1.FactRecord{Fact: f, FactId: id, SourceNode: t.node, SourceService: t.service}
				if err := store.Facts.Insert(tx, store.FactKey(f.GetFlowId(), id), record); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	rate := float64(len(all)) / time.Since(start).Seconds()
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	return rate
}

// told is a letter with one fact.
type told struct {
	node, service string
	body          []byte
}

// newYear are facts of cases that are taken in over a year, mostly referred, in order of time of the case.
func newYear(events int) (all []told) {
	chance := rand.New(rand.NewPCG(1, 1))
	nodes := []string{"sindh", "punjab", "balochistan", "khyber", "islamabad"}
	number := uint64(0)
	newID := func() []byte {
		number++
		id := make([]byte, 16)
		binary.BigEndian.PutUint64(id, chance.Uint64())
		binary.BigEndian.PutUint64(id[8:], number)
		return id
	}
	at := time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	step := 365 * 24 * time.Hour / time.Duration(events/6)
	for len(all) < events {
		at = at.Add(step)
		from, to, when := nodes[chance.IntN(5)], nodes[chance.IntN(5)], at
		tell := func(node, service string, f *federalv1.Fact) {
			f.FromNode, f.EventTime = from, timestamppb.New(when)
			body, err := proto.Marshal(&federalv1.Facts{Facts: []*federalv1.Fact{f}})
			if err != nil {
				panic(err) // of our own making
			}
			all = append(all, told{node, service, body})
			when = when.Add(time.Duration(chance.ExpFloat64() * float64(20*time.Hour)))
		}
		begun, referred := newID(), newID()
		tell(from, "protection", &federalv1.Fact{FlowId: begun, Kind: facts.Identified})
		if chance.IntN(10) < 4 {
			continue
		}
		tell(from, "referral", &federalv1.Fact{FlowId: referred, Kind: facts.Referred, ToNode: to, Code: "PLACEMENT", CaseFlowId: begun})
		if chance.IntN(10) < 2 {
			tell(from, "referral", &federalv1.Fact{FlowId: referred, Kind: facts.Declined, ToNode: to, Code: "NO_CAPACITY"})
			to = nodes[chance.IntN(5)]
		}
		for _, kind := range []string{facts.Accepted, facts.Dispatched} {
			tell(from, "referral", &federalv1.Fact{FlowId: referred, Kind: kind, ToNode: to})
		}
		tell(to, "referral", &federalv1.Fact{FlowId: referred, Kind: facts.Arrived, ToNode: to})
		tell(to, "referral", &federalv1.Fact{FlowId: referred, Kind: facts.Completed, ToNode: to, Code: "REUNIFIED"})
		tell(to, "referral", &federalv1.Fact{FlowId: referred, Kind: facts.Service, ToNode: to, Code: "PSYCHOSOCIAL"})
	}
	return all[:events]
}
