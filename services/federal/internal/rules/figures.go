package rules

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/facts"
)

// Figures that facts add up to. A new one, or a kind of fact that is counted anew, needs no change in what is stored: App.Rebuild counts what
// there is.
const (
	// FigureCorridor: flows that reached a stage (detail), ever. Where an offer was accepted by one and then the person went to another, each
	// stage counts where it was first reached.
	FigureCorridor = "corridor"
	// FigureStage is the same by the month in which the stage was reached.
	FigureStage = "stage"
	// FigureCohort: persons identified in a month, by the stages (detail) that any of their referrals has reached since. Who has reached a later
	// stage has reached the earlier ones: so a service, for which nobody travels, arrives when its outcome is known.
	FigureCohort = "cohort"
	// FigureDecline: declines of the month by reason (detail), those who did not answer among them ([facts.Unanswered]).
	FigureDecline = "decline"
	// FigureOutcome: outcomes of the month by code (detail); of a flow the one that was told last.
	FigureOutcome = "outcome"
	// FigureService: services given by code (detail), by the month in which the outcome was told.
	FigureService = "service"
	// FigureEnded: flows that ended without an outcome, and persons who did not come, by month and kind (detail).
	FigureEnded = "ended"
	// FigureStanding: flows that stand at a stage now. The detail is the stage and the hour (UTC) in which it was reached: STAGE/2026-11-26T08.
	FigureStanding = "standing"
	// FigureStray: facts of the month that do not count, by the node that told them (from), since nobody who has part in the flow says that it has.
	FigureStray = "stray"
	// FigureTook and what follows it, such as took/REFERRED/ACCEPTED: how long flows took from one stage to another, by the month of the
	// latter. The detail is a bucket, see [Bucket].
	FigureTook = "took/"
)

// Counting grows with every change of what OfFlow, OfCase or OfStrays say, or of how counts follow from it, so that stored counts are made anew.
const Counting = 4

// CountKey names one count.
type CountKey struct{ Figure, Month, From, To, Detail string }

// Stages in their order.
var Stages = []string{facts.Identified, facts.Referred, facts.Accepted, facts.Dispatched, facts.Arrived, facts.Completed}

// Span is from one stage to another.
type Span struct{ From, To string }

// Spans whose length is measured. Those that begin with IDENTIFIED are of cases, for their first referral that got so far.
var Spans = []Span{
	{facts.Identified, facts.Referred},
	{facts.Identified, facts.Arrived},
	{facts.Referred, facts.Accepted},
	{facts.Referred, facts.Arrived},
	{facts.Accepted, facts.Dispatched},
	{facts.Dispatched, facts.Arrived},
	{facts.Arrived, facts.Completed},
	{facts.Referred, facts.Completed},
}

// Figure is the figure of a span.
func (s Span) Figure() string { return FigureTook + s.From + "/" + s.To }

// ended are the kinds after which a flow stands nowhere any more.
var ended = []string{facts.Completed, facts.Cancelled, facts.Expired, facts.Returned}

// Known is a fact, its id, and the node that told it.
type Known struct {
	Fact   *federalv1.Fact
	ID     []byte
	Teller string
}

// Flow is what counts of one flow, in order of time: told by those who have part in it, without the facts that others took the place of, and
// without those that only say so.
type Flow []Known

// NewFlow is the flow that begins at a node, of all facts that have its id, in any order. Another node that tells of the same id begins another
// flow.
func NewFlow(origin string, all []Known) Flow {
	all, _ = parted(origin, all)
	wrong := map[string]bool{}
	for _, k := range all {
		wrong[string(k.Fact.GetCorrects())] = true
	}
	var f Flow
	for _, k := range all {
		if !wrong[string(k.ID)] && k.Fact.GetKind() != facts.Retracted {
			f = append(f, k)
		}
	}
	slices.SortFunc(f, func(a, b Known) int {
		return cmp.Or(a.Fact.GetEventTime().AsTime().Compare(b.Fact.GetEventTime().AsTime()), bytes.Compare(a.ID, b.ID))
	})
	return f
}

// parted are the facts of a flow that were told by who has part in it: the node where it begins, and each to which one of these says that the
// person was handed over; and the others. Others may come to know a flow's id: what they tell is kept, and does not count. A part is not taken
// away by who says that the handover was told wrong: so what has part follows from the facts in any order, and nobody takes away their own.
func parted(origin string, all []Known) (counted, strays []Known) {
	parties := map[string]bool{origin: true}
	for more := true; more; {
		more = false
		for _, k := range all {
			to := k.Fact.GetToNode()
			handover := k.Fact.GetKind() == facts.Dispatched && k.Fact.GetFromNode() == origin && to != ""
			if handover && parties[k.Teller] && !parties[to] {
				parties[to], more = true, true
			}
		}
	}
	for _, k := range all {
		switch {
		case k.Fact.GetFromNode() != origin:
		case parties[k.Teller]:
			counted = append(counted, k)
		default:
			strays = append(strays, k)
		}
	}
	return counted, strays
}

// OfStrays is what does not count of a flow that begins at a node, of all facts that have its id.
func OfStrays(origin string, all []Known) map[CountKey]int64 {
	found := map[CountKey]int64{}
	_, strays := parted(origin, all)
	for _, k := range strays {
		found[CountKey{Figure: FigureStray, Month: facts.Month(k.Fact.GetEventTime().AsTime()), From: k.Teller}]++
	}
	return found
}

// first is the first fact of a kind; nil for none.
func (f Flow) first(kind string) *federalv1.Fact {
	for _, k := range f {
		if k.Fact.GetKind() == kind {
			return k.Fact
		}
	}
	return nil
}

// last is the last fact of a kind; nil for none.
func (f Flow) last(kind string) *federalv1.Fact {
	for _, k := range slices.Backward(f) {
		if k.Fact.GetKind() == kind {
			return k.Fact
		}
	}
	return nil
}

// IsCase says whether the flow is a case's own.
func (f Flow) IsCase() bool { return f.first(facts.Identified) != nil }

// Case is the flow of the case that a referral's flow is of, as the node says where both begin; nil where it is not known.
func (f Flow) Case() []byte {
	for _, k := range f {
		if c := k.Fact.GetCaseFlowId(); len(c) > 0 && k.Teller == k.Fact.GetFromNode() {
			return c
		}
	}
	return nil
}

// OfFlow is what one flow adds to the figures.
func OfFlow(f Flow) map[CountKey]int64 {
	all := map[CountKey]int64{}
	for _, stage := range Stages {
		if at := f.first(stage); at != nil {
			all[CountKey{FigureCorridor, "", at.GetFromNode(), at.GetToNode(), stage}] = 1
			all[key(FigureStage, at, stage)] = 1
		}
	}
	for _, s := range Spans {
		from, to := f.first(s.From), f.first(s.To)
		if s.From != facts.Identified && from != nil && to != nil {
			all[key(s.Figure(), to, Bucket(to.GetEventTime().AsTime().Sub(from.GetEventTime().AsTime())))] = 1
		}
	}
	services := map[string]bool{}
	for _, k := range f {
		switch kind := k.Fact.GetKind(); kind {
		case facts.Declined:
			all[key(FigureDecline, k.Fact, k.Fact.GetCode())]++
		case facts.Unanswered:
			all[key(FigureDecline, k.Fact, kind)]++
		case facts.Service:
			if code := k.Fact.GetCode(); !services[code] {
				services[code] = true
				all[key(FigureService, k.Fact, code)] = 1
			}
		}
	}
	for _, kind := range []string{facts.NoShow, facts.Cancelled, facts.Expired, facts.Returned} {
		if at := f.first(kind); at != nil {
			all[key(FigureEnded, at, kind)] = 1
		}
	}
	if at := f.last(facts.Completed); at != nil && at.GetCode() != "" {
		all[key(FigureOutcome, at, at.GetCode())] = 1
	}
	if at := f.standing(); at != nil {
		all[CountKey{FigureStanding, "", at.GetFromNode(), at.GetToNode(), at.GetKind() + "/" + at.GetEventTime().AsTime().UTC().Format(standingHour)}] = 1
	}
	return all
}

const standingHour = "2006-01-02T15"

// standing is the furthest stage that a referral's flow has reached; nil where it has ended or never began. Where a case stands depends on its
// referrals: see OfCase.
func (f Flow) standing() *federalv1.Fact {
	for _, kind := range ended {
		if f.first(kind) != nil {
			return nil
		}
	}
	for _, stage := range slices.Backward(Stages[1:]) {
		if at := f.first(stage); at != nil {
			return at
		}
	}
	return nil
}

func key(figure string, at *federalv1.Fact, detail string) CountKey {
	return CountKey{figure, facts.Month(at.GetEventTime().AsTime()), at.GetFromNode(), at.GetToNode(), detail}
}

// OfCase is what a case adds to the figures with all its referrals: nothing while it is not known that somebody was identified.
func OfCase(c Flow, referrals []Flow) map[CountKey]int64 {
	all := map[CountKey]int64{}
	begun := c.first(facts.Identified)
	if begun == nil {
		return all
	}
	reached := 0
	for i, stage := range Stages {
		for _, r := range referrals {
			if r.first(stage) != nil {
				reached = i
			}
		}
	}
	for _, stage := range Stages[:reached+1] {
		all[CountKey{FigureCohort, facts.Month(begun.GetEventTime().AsTime()), begun.GetFromNode(), "", stage}] = 1
	}
	if since, waits := waiting(begun, referrals); waits {
		all[CountKey{FigureStanding, "", begun.GetFromNode(), "", begun.GetKind() + "/" + since.UTC().Format(standingHour)}] = 1
	}
	for _, s := range Spans {
		if s.From != facts.Identified {
			continue
		}
		var first *federalv1.Fact
		for _, r := range referrals {
			if at := r.first(s.To); at != nil && (first == nil || at.GetEventTime().AsTime().Before(first.GetEventTime().AsTime())) {
				first = at
			}
		}
		if first != nil {
			all[key(s.Figure(), first, Bucket(first.GetEventTime().AsTime().Sub(begun.GetEventTime().AsTime())))] = 1
		}
	}
	return all
}

// waiting says whether a person who was identified has no referral that leads anywhere, and since when: none at all, or only such as were
// cancelled, expired or came back. Facts do not tell who left of their own wish from who waits for a second referral: both are shown.
func waiting(begun *federalv1.Fact, referrals []Flow) (since time.Time, waits bool) {
	since = begun.GetEventTime().AsTime()
	for _, r := range referrals {
		if r.standing() != nil || r.first(facts.Completed) != nil {
			return since, false
		}
		for _, kind := range ended {
			if at := r.first(kind); at != nil && at.GetEventTime().AsTime().After(since) {
				since = at.GetEventTime().AsTime()
			}
		}
	}
	return since, true
}

// perDoubling is how many buckets there are from one duration to twice as much: each is 4.4 % wide.
const perDoubling = 16

// Bucket is the bucket of a duration, four digits that sort as durations do: of whole seconds plus one, the logarithm to the base 2, in
// sixteenths. A duration below zero, of clocks that disagree, counts as none.
func Bucket(d time.Duration) string {
	seconds := max(0, int64(d/time.Second))
	return fmt.Sprintf("%04d", int(math.Floor(math.Log2(float64(seconds)+1)*perDoubling)))
}

// Within is the middle of a bucket, no more than 2.3 % from any duration in it that is longer than a minute; false for what is no bucket.
func Within(bucket string) (time.Duration, bool) {
	var n int
	if _, err := fmt.Sscanf(bucket, "%04d", &n); err != nil || n < 0 {
		return 0, false
	}
	return time.Duration((math.Exp2((float64(n)+0.5)/perDoubling) - 1) * float64(time.Second)), true
}

// Quantile is the duration that a share of those in the buckets took at most, 0 to 1. It takes the buckets in order; zero for none.
func Quantile(buckets []*federalv1.Count, share float64) time.Duration {
	var all int64
	for _, b := range buckets {
		all += b.GetValue()
	}
	rank := int64(math.Ceil(share * float64(all)))
	for _, b := range buckets {
		if rank -= b.GetValue(); rank <= 0 {
			d, _ := Within(b.GetDetail())
			return d
		}
	}
	return 0
}

// Standing reads the detail of [FigureStanding]: at which stage, and since when, to the hour.
func Standing(detail string) (stage federalv1.Stage, since time.Time, ok bool) {
	name, hour, _ := strings.Cut(detail, "/")
	since, err := time.Parse(standingHour, hour)
	stage = StageOf(name)
	return stage, since, err == nil && stage != federalv1.Stage_STAGE_UNSPECIFIED
}
