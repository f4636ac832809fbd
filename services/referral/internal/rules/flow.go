package rules

import (
	"bytes"
	"slices"
	"strings"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/mutant"
)

// Facts are what an event of a chain says of its flow to the federal cell: never whose flow it is, and nothing of the person. Most events say
// nothing. links and s are the chain that holds the event; caseFlow is the flow of the case that the referral is of, where it is known. What came
// after the event changes nothing of what it says: so a node that was restored tells what it told before, and a correction finds what it corrects.
func Facts(l custody.Link, links []custody.Link, s *custody.State, caseFlow []byte) []*federalv1.Fact {
	f := flowFacts{s: stateWith(l.Event, links, s), e: l.Event, links: links, caseFlow: caseFlow}
	if corrected := l.Event.GetCorrected(); corrected != nil {
		return f.correction(corrected)
	}
	return f.plain()
}

type flowFacts struct {
	s        *custody.State // as the event made it
	e        *custodyv1.Event
	links    []custody.Link
	caseFlow []byte
}

// stateWith is what a chain amounted to with one of its events as the last; s is what it amounts to now.
func stateWith(e *custodyv1.Event, links []custody.Link, s *custody.State) *custody.State {
	if e.GetSequence() == s.Sequence {
		return s
	}
	var events []*custodyv1.SignedEvent
	for _, l := range links[:e.GetSequence()] {
		events = append(events, l.Signed)
	}
	c, err := custody.Load(events...)
	if err != nil { // It is the beginning of a chain that was folded.
		return s
	}
	return c.State()
}

func (f flowFacts) fact(kind, to, code string) *federalv1.Fact {
	return &federalv1.Fact{FlowId: f.s.Submitted.GetFlowId(), Kind: kind, FromNode: f.s.Origin, ToNode: to, EventTime: f.e.GetTime(), Code: code}
}

func (f flowFacts) one(kind, to, code string) []*federalv1.Fact {
	return []*federalv1.Fact{f.fact(kind, to, code)}
}

func (f flowFacts) plain() []*federalv1.Fact {
	switch b := f.e.GetBody().(type) {
	case *custodyv1.Event_Submitted:
		kind := strings.TrimPrefix(b.Submitted.GetKind().String(), "REFERRAL_KIND_")
		first := f.fact(facts.Referred, f.firstAsked(), kind)
		first.CaseFlowId = f.caseFlow
		return []*federalv1.Fact{first}
	case *custodyv1.Event_ReplyRecorded:
		reply := custody.Recorded(f.e)
		switch {
		case reply.GetAccepted() != nil:
			return f.one(facts.Accepted, reply.GetNode(), "")
		case reply.GetDeclined() != nil:
			return f.one(facts.Declined, reply.GetNode(), reply.GetDeclined().GetReason())
		}
	case *custodyv1.Event_ExternalAnswered:
		switch a := b.ExternalAnswered; {
		case a.GetAccepted() != nil:
			return f.one(facts.Accepted, "", "")
		case a.GetDeclined() != nil:
			return f.one(facts.Declined, "", a.GetDeclined().GetReason())
		case a.GetArrived() != nil:
			return f.one(facts.Arrived, "", "")
		}
	case *custodyv1.Event_OfferExpired:
		return f.one(facts.Unanswered, f.s.Offer(b.OfferExpired.GetOffer()).Offered.GetToNode(), "")
	case *custodyv1.Event_Dispatched:
		if f.back(f.e) {
			return nil
		}
		return f.one(facts.Dispatched, f.inNetwork(b.Dispatched.GetToNode()), "")
	case *custodyv1.Event_Arrived:
		for _, l := range slices.Backward(f.before()) {
			if l.Event.GetDispatched() != nil && f.back(l.Event) {
				return nil
			}
			if l.Event.GetDispatched() != nil {
				break
			}
		}
		if mutant.Off("told") {
			return nil
		}
		return f.one(facts.Arrived, f.e.GetOwner(), "")
	case *custodyv1.Event_Completed:
		return f.completed(b.Completed)
	case *custodyv1.Event_NoShow:
		return f.one(facts.NoShow, Destination(f.s), "")
	case *custodyv1.Event_Cancelled:
		return f.one(facts.Cancelled, "", b.Cancelled.GetReason())
	case *custodyv1.Event_Expired:
		return f.one(facts.Expired, "", "")
	case *custodyv1.Event_Returned:
		return f.one(facts.Returned, Destination(f.s), b.Returned.GetReason())
	}
	return nil
}

// completed says the outcome and each service given.
func (f flowFacts) completed(c *custodyv1.Completed) []*federalv1.Fact {
	to := Destination(f.s)
	all := f.one(facts.Completed, to, c.GetOutcome())
	for _, service := range c.GetServices() {
		all = append(all, f.fact(facts.Service, to, service))
	}
	return all
}

// correction takes the place of what the event said that it corrects, itself perhaps a correction: only outcomes and services are told.
func (f flowFacts) correction(c *custodyv1.Corrected) (all []*federalv1.Fact) {
	first, wrong := f.corrected(c)
	if c.GetCompleted() == nil || len(wrong) == 0 {
		return nil
	}
	// What was known when it was first told is now known better: time and place stay. Each new fact names one that was wrong, so that it is
	// another one also where it says the same.
	for _, fresh := range first.completed(c.GetCompleted()) {
		fresh.Corrects = wrong[0]
		all = append(all, fresh)
	}
	for _, id := range wrong[1:] {
		gone := f.fact(facts.Retracted, "", "")
		gone.Corrects = id
		all = append(all, gone)
	}
	return all
}

// corrected are the ids of what the event said that is corrected, and the event that said it first.
func (f flowFacts) corrected(c *custodyv1.Corrected) (first flowFacts, ids [][]byte) {
	i := slices.IndexFunc(f.links, func(l custody.Link) bool { return bytes.Equal(l.Hash.Bytes(), c.GetSupersedes()) })
	if i < 0 {
		return first, nil
	}
	e := f.links[i].Event
	first = flowFacts{s: stateWith(e, f.links, f.s), e: e, links: f.links}
	told := first.plain()
	if earlier := e.GetCorrected(); earlier != nil {
		told = first.correction(earlier)
		first, _ = first.corrected(earlier)
	}
	for _, fact := range told {
		if fact.GetKind() != facts.Retracted {
			ids = append(ids, facts.ID(e.GetOwner(), "referral", fact))
		}
	}
	return first, ids
}

// before are the events before this one.
func (f flowFacts) before() []custody.Link { return f.links[:f.e.GetSequence()-1] }

// back says of a handover that it leads back to where the flow began: RETURNED will say so.
func (f flowFacts) back(e *custodyv1.Event) bool {
	return e.GetOwner() != f.s.Origin && e.GetDispatched().GetToNode() == f.s.Origin
}

// firstAsked is the node that is asked with the submission; empty for an agency outside the network.
func (f flowFacts) firstAsked() string {
	if len(f.links) < 2 {
		return ""
	}
	return f.links[1].Event.GetOffered().GetToNode()
}

func (f flowFacts) inNetwork(node string) string {
	if f.s.Outside {
		return ""
	}
	return node
}

// Destination is the node a referral was last handed over to, or that gives the service; empty for an agency outside the network.
func Destination(s *custody.State) string {
	if s.Outside {
		return ""
	}
	if chosen := s.Chosen(); s.Dispatched == nil && chosen != nil {
		return chosen.Offered.GetToNode()
	}
	return s.Dispatched.GetToNode()
}
