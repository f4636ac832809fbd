package app

import (
	"context"
	"errors"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

// FlowKind is the kind of letter that brings a fact.
const FlowKind = "federal.flow.v1"

// Why a letter is refused.
const (
	refusedSender   = "unknown-sender"
	refusedMessage  = "invalid-fact"
	refusedConflict = "conflicting-fact"
)

// TakeFact is the post's handler of [FlowKind]: it keeps the fact and counts it, once.
func (a *App) TakeFact(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	if !a.Member(from.GetNode()) {
		return post.Refuse(refusedSender)
	}
	fact := &federalv1.FlowFact{}
	// What this program does not know could be anything; only known fields are kept.
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(letter.GetBody(), fact); err != nil {
		return post.Refuse(refusedMessage)
	}
	if protovalidate.Validate(fact) != nil || !rules.Fits(fact) {
		return post.Refuse(refusedMessage)
	}
	known, err := store.Flows.Get(tx, store.FlowKey(fact))
	switch {
	case err == nil && proto.Equal(known.GetFact(), fact):
		return nil
	case err == nil:
		return post.Refuse(refusedConflict)
	case !errors.Is(err, kitstore.ErrNotFound):
		return err
	}
	record := &federalv1.FlowRecord{Fact: fact, SourceNode: from.GetNode()}
	if err := store.Flows.Insert(tx, store.FlowKey(fact), record); err != nil {
		return err
	}
	return count(tx, fact)
}

func count(tx *kitstore.Tx, fact *federalv1.FlowFact) error {
	key := store.CorridorKey(fact.GetFromNode(), fact.GetToNode(), fact.GetStage())
	corridor, err := store.Corridors.Get(tx, key)
	if errors.Is(err, kitstore.ErrNotFound) {
		corridor, err = nil, nil
	}
	if err != nil {
		return err
	}
	return store.Corridors.Put(tx, key, rules.Add(corridor, fact))
}

// Rebuild counts all facts anew, in one transaction.
func (a *App) Rebuild(ctx context.Context) error {
	return a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		err := store.Corridors.Scan(tx, kitstore.Range{}, func(key kitstore.Key, _ *federalv1.Corridor) error {
			return store.Corridors.Delete(tx, key)
		})
		if err != nil {
			return err
		}
		return store.Flows.Scan(tx, kitstore.Range{}, func(_ kitstore.Key, r *federalv1.FlowRecord) error {
			return count(tx, r.GetFact())
		})
	})
}
