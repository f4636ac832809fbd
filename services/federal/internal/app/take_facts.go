package app

import (
	"bytes"
	"errors"
	"slices"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

// OldFlowKind is the kind of letter by which facts came before there were other kinds than stages.
const OldFlowKind = "federal.flow.v1"

// Why a letter is refused.
const (
	refusedSender  = "unknown-sender"
	refusedMessage = "invalid-fact"
	refusedMany    = "too-many-facts" // of one flow or one case
)

// TakeFacts is the post's handler of [flow.FactsKind]: it keeps facts and counts them, each once.
func (a *App) TakeFacts(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	told := &federalv1.Facts{}
	if err := a.open(from, letter, told, refusedMessage); err != nil {
		return err
	}
	for _, f := range told.GetFacts() {
		if !rules.FitsFact(from.GetNode(), f) {
			return post.Refuse(refusedMessage)
		}
	}
	for _, f := range told.GetFacts() {
		if err := a.take(tx, from, f); err != nil {
			return err
		}
	}
	return nil
}

// TakeOldFact is the post's handler of [OldFlowKind].
func (a *App) TakeOldFact(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	old := &federalv1.FlowFact{}
	if err := a.open(from, letter, old, refusedMessage); err != nil {
		return err
	}
	fact := facts.Of(old)
	if !rules.Fits(old) || !rules.FitsFact(from.GetNode(), fact) {
		return post.Refuse(refusedMessage)
	}
	return a.take(tx, from, fact)
}

// open reads a letter of a member. What this program does not know could be anything; only known fields are kept.
func (a *App) open(from *postv1.Address, letter *postv1.Letter, into proto.Message, reason string) error {
	if !a.Member(from.GetNode()) {
		return post.Refuse(refusedSender)
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(letter.GetBody(), into); err != nil {
		return post.Refuse(reason)
	}
	if protovalidate.Validate(into) != nil {
		return post.Refuse(reason)
	}
	return nil
}

// take keeps a fact, its day and what follows from it, unless it is there.
func (a *App) take(tx *kitstore.Tx, from *postv1.Address, f *federalv1.Fact) error {
	id := facts.ID(from.GetNode(), from.GetService(), f)
	key := store.FactKey(f.GetFlowId(), id)
	if there, err := store.Facts.Has(tx, key); err != nil || there {
		return err
	}
	record := &federalv1.FactRecord{Fact: f, FactId: id, SourceNode: from.GetNode(), SourceService: from.GetService()}
	if err := a.keepDay(tx, record); err != nil {
		return err
	}
	return recount(tx, record)
}

// No honest flow comes near these. Each fact of a flow costs a look at all of it and of its case, so who tells more could keep the cell busy.
const (
	// maxFacts is how many facts of one flow are taken from one node.
	maxFacts = 200
	// maxReferrals is how many referrals' flows one case can have.
	maxReferrals = 100
)

// recount keeps a fact and has the counts follow: what its flow and its case added before goes, and what they add after comes.
func recount(tx *kitstore.Tx, r *federalv1.FactRecord) error {
	fact := r.GetFact()
	records, err := recordsOf(tx, fact.GetFlowId())
	if err != nil {
		return err
	}
	same := 0
	for _, other := range records {
		if other.GetSourceNode() == r.GetSourceNode() {
			same++
		}
	}
	if same >= maxFacts {
		return post.Refuse(refusedMany)
	}
	origin := fact.GetFromNode()
	knownBefore, knownAfter := knownOf(records), knownOf(append(records, r))
	before, after := rules.NewFlow(origin, knownBefore), rules.NewFlow(origin, knownAfter)
	cases := casesOf(fact.GetFlowId(), before, after)
	delta := rules.OfStrays(origin, knownAfter)
	sum(delta, rules.OfStrays(origin, knownBefore), -1)
	add := func(f rules.Flow, sign int64) error {
		sum(delta, rules.OfFlow(f), sign)
		for _, c := range cases {
			of, err := caseOf(tx, origin, c)
			if err != nil {
				return err
			}
			sum(delta, of, sign)
		}
		return nil
	}
	if err := add(before, -1); err != nil {
		return err
	}
	if err := store.Facts.Insert(tx, store.FactKey(fact.GetFlowId(), r.GetFactId()), r); err != nil {
		return err
	}
	if err := linkCase(tx, r); err != nil {
		return err
	}
	if err := add(after, 1); err != nil {
		return err
	}
	return apply(tx, delta)
}

// casesOf are the cases that a change of a flow bears on: those that it was and is of, which differ where what said so was wrong, and itself
// where it is a case's own.
func casesOf(id []byte, flows ...rules.Flow) (cases [][]byte) {
	for _, f := range flows {
		all := [][]byte{f.Case()}
		if f.IsCase() {
			all = append(all, id)
		}
		for _, c := range all {
			if len(c) > 0 && !slices.ContainsFunc(cases, func(other []byte) bool { return bytes.Equal(c, other) }) {
				cases = append(cases, c)
			}
		}
	}
	return cases
}

// caseFlowKey is under what is kept which case a flow is of; nil where a fact does not say so, or is not told by the node where both begin.
func caseFlowKey(r *federalv1.FactRecord) kitstore.Key {
	fact := r.GetFact()
	if len(fact.GetCaseFlowId()) == 0 || r.GetSourceNode() != fact.GetFromNode() {
		return nil
	}
	return kitstore.K(fact.GetCaseFlowId(), fact.GetFromNode(), fact.GetFlowId())
}

// linkCase keeps which case a flow is of, where a fact says so.
func linkCase(tx *kitstore.Tx, r *federalv1.FactRecord) error {
	key, fact := caseFlowKey(r), r.GetFact()
	if key == nil {
		return nil
	}
	if there, err := store.CaseFlows.Has(tx, key); err != nil || there {
		return err
	}
	rows, _, err := store.CaseFlows.Page(tx, kitstore.Range{Prefix: kitstore.K(fact.GetCaseFlowId(), fact.GetFromNode())}, maxReferrals)
	if err != nil {
		return err
	}
	if len(rows) >= maxReferrals {
		return post.Refuse(refusedMany)
	}
	return store.CaseFlows.Insert(tx, key, &federalv1.FlowLink{FlowId: fact.GetFlowId()})
}

func sum(into, what map[rules.CountKey]int64, sign int64) {
	for k, n := range what {
		into[k] += sign * n
	}
}

// apply changes counts. One that comes to nothing goes.
func apply(tx *kitstore.Tx, delta map[rules.CountKey]int64) error {
	for k, n := range delta {
		if n == 0 {
			continue
		}
		key := store.CountKey(k.Figure, k.Month, k.From, k.To, k.Detail)
		c, err := store.Counts.Get(tx, key)
		if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
			return err
		}
		value := c.GetValue() + n
		if value == 0 {
			err = store.Counts.Delete(tx, key)
		} else {
			err = store.Counts.Put(tx, key, &federalv1.Count{
				Figure: k.Figure, Month: k.Month, FromNode: k.From, ToNode: k.To, Detail: k.Detail, Value: value,
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// flowOf reads what counts of a flow that begins at a node.
func flowOf(r kitstore.Reader, origin string, id []byte) (rules.Flow, error) {
	records, err := recordsOf(r, id)
	return rules.NewFlow(origin, knownOf(records)), err
}

func recordsOf(r kitstore.Reader, id []byte) (records []*federalv1.FactRecord, err error) {
	err = store.Facts.Scan(r, kitstore.Range{Prefix: kitstore.K(id)}, func(_ kitstore.Key, f *federalv1.FactRecord) error {
		records = append(records, f)
		return nil
	})
	return records, err
}

func knownOf(records []*federalv1.FactRecord) (known []rules.Known) {
	for _, r := range records {
		known = append(known, rules.Known{Fact: r.GetFact(), ID: r.GetFactId(), Teller: r.GetSourceNode()})
	}
	return known
}

// caseOf is what a case that began at a node adds to the figures with its referrals.
func caseOf(r kitstore.Reader, origin string, id []byte) (map[rules.CountKey]int64, error) {
	begun, err := flowOf(r, origin, id)
	if err != nil {
		return nil, err
	}
	var referrals []rules.Flow
	err = store.CaseFlows.Scan(r, kitstore.Range{Prefix: kitstore.K(id, origin)}, func(_ kitstore.Key, l *federalv1.FlowLink) error {
		f, err := flowOf(r, origin, l.GetFlowId())
		if bytes.Equal(f.Case(), id) { // a flow is of one case
			referrals = append(referrals, f)
		}
		return err
	})
	return rules.OfCase(begun, referrals), err
}
