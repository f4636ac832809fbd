package story

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"

	"amanat.example/deploy/network"
	"amanat.example/deploy/scenario"
)

// YearResult is what became of a year.
type YearResult struct {
	Result
	// Identified are taken in; Cases are all cases, of who came from elsewhere too.
	Identified int `json:"identified"`
	Cases      int `json:"cases"`
	// GivenUp are people whose next step could not be done.
	GivenUp int `json:"given_up"`
	// DeadlinesMissed are deadlines that were missed, however many people were told of each.
	DeadlinesMissed int `json:"deadlines_missed"`
	// CutsOfYear are links that had none for a time, as the year has it.
	CutsOfYear int `json:"cuts"`
}

// Kept says that every promise held. How far people have come by the last day is no promise.
func (r *YearResult) Kept() bool {
	return r.Lost == 0 && r.Doubled == 0 && r.OverbookedBeds == 0 && r.FederalMatches && r.GivenUp == 0
}

// yearEvidence is what the nodes say of a year, each from its own store.
type yearEvidence struct {
	year *scenario.Year
	// until when the year was played.
	until time.Time
	// told are the cases and referrals that people were told they had made.
	told []string
	// by node
	referrals map[string]map[string]*referralv1.Referral
	cases     map[string][]*protectionv1.Case
	shelters  map[string][]*shelterv1.Shelter
	stays     map[string]int // people there now
	late      map[deadline]bool
	counted   map[corridor]int64
}

// deadline tells deadlines apart by what was to happen, to whom or what, and when first.
type deadline struct {
	subject, step string
	due           time.Time
}

// addNotices notes which deadlines people were told of.
func (e *yearEvidence) addNotices(notices []*protectionv1.Notice) {
	for _, n := range notices {
		e.late[deadline{n.GetSubject(), n.GetStep(), n.GetDueTime().AsTime()}] = true
	}
}

// corridor is a count of the federal cell. Before people arrive it is whatever node they go to, since that changes with each unit that is asked.
type corridor struct {
	from, to string
	stage    federalv1.Stage
}

// corridorOf is the corridor in which a stage of those who go from one node to another counts.
func corridorOf(from, to string, stage federalv1.Stage) corridor {
	if stage != federalv1.Stage_STAGE_ARRIVED && stage != federalv1.Stage_STAGE_COMPLETED {
		to = ""
	}
	return corridor{from, to, stage}
}

// Examine compares what every node says of the year. What is on its way is waited for.
func (p *Player) Examine(ctx context.Context) (*YearResult, error) {
	var best *YearResult
	var counted map[corridor]int64
	quiet := newQuiet()
	return untilEvery(ctx, time.Second, "what is on its way", func() (*YearResult, bool, error) {
		e, err := p.evidence(ctx)
		if err != nil {
			return best, false, err
		}
		r := e.judge()
		p.mu.Lock()
		r.GivenUp, r.CutsOfYear = p.counts.GivenUp, p.counts.Cuts
		p.mu.Unlock()
		moves := best == nil || r.Lost+r.Doubled != best.Lost+best.Doubled || !maps.Equal(e.counted, counted)
		best, counted = r, e.counted
		return r, r.Lost+r.Doubled+r.OverbookedBeds == 0 && r.FederalMatches || quiet.since(moves), nil
	})
}

// quiet waits until nothing moves any more.
type quiet struct{ moved time.Time }

func newQuiet() *quiet { return &quiet{time.Now()} }

// since says that nothing has moved for as long as letters may take.
func (q *quiet) since(moves bool) bool {
	if moves {
		q.moved = time.Now()
	}
	return time.Since(q.moved) > patience
}

func (p *Player) evidence(ctx context.Context) (*yearEvidence, error) {
	e := &yearEvidence{
		year: p.year, until: time.Now(), told: p.toldOf(), referrals: map[string]map[string]*referralv1.Referral{}, cases: map[string][]*protectionv1.Case{},
		shelters: map[string][]*shelterv1.Shelter{}, stays: map[string]int{}, late: map[deadline]bool{}, counted: map[corridor]int64{},
	}
	for node, d := range p.desks {
		if node == network.FederalNode {
			if err := e.addCounted(ctx, d); err != nil {
				return nil, err
			}
			continue
		}
		if err := e.add(ctx, d); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// add reads what a province has.
func (e *yearEvidence) add(ctx context.Context, d *desk) error {
	e.referrals[d.node] = map[string]*referralv1.Referral{}
	parent := "nodes/" + d.node
	err := pages(func(token string) (string, error) {
		page, err := ask(ctx, d, worker, "", d.referral.ListReferrals, &referralv1.ListReferralsRequest{Parent: parent, PageSize: 500, PageToken: token})
		for _, r := range page.GetReferrals() {
			e.referrals[d.node][r.GetName()] = r
		}
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	err = pages(func(token string) (string, error) {
		page, err := ask(ctx, d, worker, "", d.protection.ListCases, &protectionv1.ListCasesRequest{Parent: parent, PageSize: 500, PageToken: token})
		e.cases[d.node] = append(e.cases[d.node], page.GetCases()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	err = pages(func(token string) (string, error) {
		page, err := ask(ctx, d, supervisor, "", d.protection.ListNotices, &protectionv1.ListNoticesRequest{Parent: parent, PageSize: 500, PageToken: token})
		e.addNotices(page.GetNotices())
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	err = pages(func(token string) (string, error) {
		page, err := ask(ctx, d, manager, "", d.shelter.ListShelters, &shelterv1.ListSheltersRequest{Parent: parent, PageSize: 500, PageToken: token})
		e.shelters[d.node] = append(e.shelters[d.node], page.GetShelters()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	return pages(func(token string) (string, error) {
		page, err := ask(ctx, d, manager, "", d.shelter.ListStays, &shelterv1.ListStaysRequest{
			Parent: parent, PageSize: 500, PageToken: token, Filter: &shelterv1.ListStaysRequest_Filter{Current: true},
		})
		for _, s := range page.GetStays() {
			e.stays[d.node] += int(s.GetQuantity())
		}
		return page.GetNextPageToken(), err
	})
}

func pages(read func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := read(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}

// addCounted reads what the federal cell counts.
func (e *yearEvidence) addCounted(ctx context.Context, d *desk) error {
	return pages(func(token string) (string, error) {
		page, err := ask(ctx, d, analyst, "", d.federal.ListCorridors, &federalv1.ListCorridorsRequest{PageSize: 1000, PageToken: token})
		for _, c := range page.GetCorridors() {
			e.counted[corridorOf(c.GetFromNode(), c.GetToNode(), c.GetStage())] += c.GetFlows()
		}
		return page.GetNextPageToken(), err
	})
}

// judge weighs the evidence. Nothing is taken from one place alone.
func (e *yearEvidence) judge() *YearResult {
	r := &YearResult{DeadlinesMissed: len(e.late)}
	r.States = map[string]int{}
	e.judgeTold(r)
	e.judgeReferrals(r)
	e.judgeCases(r)
	e.judgeBeds(r)
	r.FederalMatches = true
	want := e.expected()
	for c, n := range e.counted {
		r.FederalMatches = r.FederalMatches && (want[c] == n || c.stage == federalv1.Stage_STAGE_ACCEPTED)
	}
	for c, n := range want {
		r.FederalMatches = r.FederalMatches && e.counted[c] >= n
	}
	return r
}

// judgeTold: what people were told they had made is there.
func (e *yearEvidence) judgeTold(r *YearResult) {
	held := map[string]bool{}
	for node, all := range e.referrals {
		for name := range all {
			held[name] = held[name] || nodeOf(name) == node
		}
	}
	for _, all := range e.cases {
		for _, c := range all {
			held[c.GetName()] = true
		}
	}
	for _, name := range e.told {
		if !held[name] {
			r.lost(1, "%s was made, and is not there", name)
		}
	}
}

// judgeReferrals: a referral is told the same by all nodes that hold it, and its owner is among them.
func (e *yearEvidence) judgeReferrals(r *YearResult) {
	for node, all := range e.referrals {
		for name, known := range all {
			origin := e.referrals[nodeOf(name)][name]
			if origin == nil {
				r.lost(1, "%s is known at %s, and not at its origin", name, node)
				continue
			}
			if !toldTheSame(origin, known) {
				r.lost(1, "%s, a %v, is told differently: %v at %s (%d entries), %v at its origin (%d)", name, known.GetKind(),
					known.GetState(), node, known.GetSequence(), origin.GetState(), origin.GetSequence())
			}
			if nodeOf(name) != node {
				continue
			}
			r.Referrals++
			r.States[strings.TrimPrefix(known.GetState().String(), "REFERRAL_STATE_")]++
			if e.referrals[known.GetOwnerNode()][name] == nil {
				r.lost(1, "%s is not known at its owner %s", name, known.GetOwnerNode())
			}
		}
	}
}

// toldTheSame compares a referral as its origin holds it with what another node holds. Whoever was handed the person holds the same. As long as the
// origin owns it, which of a service is to the end, the unit that was chosen hears of the choice and of the end, and not of what the origin
// writes besides.
func toldTheSame(origin, known *referralv1.Referral) bool {
	if bytes.Equal(origin.GetHead(), known.GetHead()) {
		return true
	}
	return origin.GetOwnerNode() == nodeOf(origin.GetName()) && known.GetSequence() < origin.GetSequence() && (!over(origin) || known.GetState() == origin.GetState())
}

// judgeCases: each who was to be taken in has one case at home, and one where they came to; each referral one case that it began with, and each
// case the referral that it names.
func (e *yearEvidence) judgeCases(r *YearResult) {
	begun, received := map[string]int{}, map[string]map[string]int{}
	planned, found := map[string]int{}, map[string]int{}
	for _, c := range e.year.Cases {
		if !c.Time.After(e.until) {
			planned[c.Node]++
		}
	}
	for node, all := range e.cases {
		received[node] = map[string]int{}
		for _, c := range all {
			r.Cases++
			if name := c.GetReferral(); name != "" && e.referrals[node][name] == nil {
				r.lost(1, "%s is referred by %s, which %s does not know", c.GetName(), name, node)
			}
			if c.GetSource() == protectionv1.Case_SOURCE_INTAKE {
				r.Identified++
				found[node]++
				if c.GetReferral() != "" {
					begun[c.GetReferral()]++
				}
			} else {
				received[node][c.GetReferral()]++
			}
		}
		r.doubled(max(0, found[node]-planned[node]), "%s has %d cases of an intake, of %d planned", node, found[node], planned[node])
		r.lost(max(0, planned[node]-found[node]), "%s has %d cases of an intake, of %d planned", node, found[node], planned[node])
	}
	for node, all := range e.referrals {
		for name, known := range all {
			if nodeOf(name) != node {
				continue
			}
			switch n := begun[name]; {
			case n == 0:
				r.lost(1, "%s has no case at its origin", name)
			case n > 1:
				r.doubled(1, "%s has %d cases at its origin", name, n)
			}
			for other, cases := range received {
				switch n := cases[name]; {
				case n > 1:
					r.doubled(1, "%s has %d cases at %s", name, n, other)
				case n == 0 && other == known.GetOwnerNode() && other != node && there(known):
					r.lost(1, "%s is %v without a case at %s", name, known.GetState(), other)
				}
			}
		}
	}
}

func placement(r *referralv1.Referral) bool {
	return r.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
}

// there says that a person came to the owner and was not brought back.
func there(r *referralv1.Referral) bool {
	return placement(r) && has(hasCome, inService, completed)(r)
}

// judgeBeds: no group has more than it has; whoever is there has one bed, and whoever was promised one and has not come has one held.
func (e *yearEvidence) judgeBeds(r *YearResult) {
	for node, all := range e.shelters {
		var held, occupied int
		for _, s := range all {
			for _, g := range s.GetGroups() {
				r.OverbookedBeds += int(max(0, g.GetHeld()+g.GetOccupied()+g.GetOutOfService()-g.GetTotal()-g.GetOverflowOpen()))
				held, occupied = held+int(g.GetHeld()), occupied+int(g.GetOccupied())
			}
		}
		var here, promised, sure int
		for origin, known := range e.referrals {
			for name, ref := range known {
				if nodeOf(name) != origin || !placement(ref) {
					continue
				}
				switch {
				case has(hasCome, inService)(ref) && ref.GetOwnerNode() == node:
					here++
				case !over(ref) && !there(ref):
					for _, o := range ref.GetOffers() {
						if o.GetToNode() == node && promises(o) {
							promised++
							sure += one(has(ready, onTheRoad)(ref) && o.GetState() != custodyv1.OfferState_OFFER_STATE_ACCEPTED)
						}
					}
				}
			}
		}
		r.lost(max(0, here-occupied, e.stays[node]-occupied), "%s: %d people are there, %d stays, %d beds occupied", node, here, e.stays[node], occupied)
		r.doubled(max(0, occupied-here, occupied-e.stays[node]), "%s: %d beds occupied, %d stays, %d people are there", node, occupied, e.stays[node], here)
		r.doubled(max(0, held-promised), "%s: %d beds held for %d people", node, held, promised)
		r.lost(max(0, sure-held), "%s: %d beds held for %d people who are to come", node, held, sure)
	}
}

// one is 1 for what is so.
func one(so bool) int {
	if so {
		return 1
	}
	return 0
}

// promises says that a bed is held on an offer.
func promises(o *referralv1.Offer) bool {
	switch o.GetState() {
	case custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED, custodyv1.OfferState_OFFER_STATE_READY,
		custodyv1.OfferState_OFFER_STATE_FULFILLED:
		return true
	}
	return false
}

// expected is how often the federal cell should count each stage, by what the origins hold; of acceptances at least so often: of one that was
// taken back the referral tells nothing any more.
func (e *yearEvidence) expected() map[corridor]int64 {
	want := map[corridor]int64{}
	for node, all := range e.cases {
		for _, c := range all {
			if c.GetSource() == protectionv1.Case_SOURCE_INTAKE {
				want[corridorOf(node, "", federalv1.Stage_STAGE_IDENTIFIED)]++
			}
		}
	}
	for node, all := range e.referrals {
		for name, r := range all {
			if nodeOf(name) != node {
				continue
			}
			to := ""
			if o := chosen(r); o != nil {
				to = o.GetToNode()
			}
			want[corridorOf(node, to, federalv1.Stage_STAGE_REFERRED)]++
			if has(confirmed, ready, onTheRoad, hasCome, inService, completed, notCome, returned)(r) {
				want[corridorOf(node, to, federalv1.Stage_STAGE_ACCEPTED)]++
			}
			if placement(r) && has(onTheRoad, hasCome, inService, completed, notCome, returned)(r) {
				want[corridorOf(node, to, federalv1.Stage_STAGE_DISPATCHED)]++
			}
			if there(r) || r.GetState() == returned {
				want[corridorOf(node, to, federalv1.Stage_STAGE_ARRIVED)]++
			}
			if r.GetState() == completed {
				want[corridorOf(node, to, federalv1.Stage_STAGE_COMPLETED)]++
			}
		}
	}
	return want
}
