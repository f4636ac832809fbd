package simulation

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
)

// facts are what a service's state says, read through its server.
type facts struct {
	due time.Time // when something is due next; zero for never

	// Of a referral service.
	recovering bool                   // it was restored, and what it knew before stands still
	chains     map[string]*chainFacts // by referral
	offers     map[string]*referralv1.Offer
	stranger   string          // a deadline for which nobody of the node answers
	deadlines  map[string]bool // of referrals and offers; of an arrival, the referral followed by "!"
	waiting    int             // letters to nodes here that have no receipt
	refused    int             // letters in quarantine
	why        string          // one of them was refused
	forks      int
	asserted   map[string]bool // arrivals said and not followed yet, by referral

	// Of a shelter service.
	closed bool // restored, and not compared with the live offers
	holds  []*shelterv1.Hold
	stays  []*shelterv1.Stay
}

// chainFacts are a chain's, made once for each head.
type chainFacts struct {
	chain *custody.Chain
	state *custody.State
	wrong string // what is wrong with it by itself; empty for nothing
	// promised says that each place to which it hands the person over on an offer has promised before.
	promised bool
}

type chains struct {
	all map[[32]byte]*chainFacts
	by  custody.Verifier
}

// of folds a chain, and verifies it whole.
func (c *chains) of(events []*custodyv1.SignedEvent) *chainFacts {
	h := sha256.New()
	for _, e := range events {
		_, _ = h.Write(e.GetEvent())
		_, _ = h.Write(e.GetSignature())
	}
	key := [32]byte(h.Sum(nil))
	if f := c.all[key]; f != nil {
		return f
	}
	f := &chainFacts{}
	c.all[key] = f
	var err error
	if f.chain, err = custody.Verify(c.by, events, nil); err != nil {
		f.wrong = "it does not verify: " + err.Error()
		f.chain = &custody.Chain{}
	}
	f.state = f.chain.State()
	f.promised = true
	said, promises := map[string]bool{}, map[string]bool{}
	for _, l := range f.chain.Links() {
		if d := l.Event.GetDispatched(); len(d.GetOffer()) > 0 && !promises[string(d.GetOffer())] {
			f.promised = false
		}
		if reply := l.Event.GetReplyRecorded().GetReply(); reply != nil {
			if said[string(reply.GetReply())] {
				f.wrong = "a reply stands in it twice"
			}
			said[string(reply.GetReply())] = true
		}
		promises[string(promisedBy(l.Event))] = true
	}
	return f
}

// Facts of a state.
func (w *World) Facts(id ID) *facts {
	k := w.states[id]
	if k.facts != nil {
		return k.facts
	}
	w.Ran++
	k.facts = &facts{}
	s := w.open(id, 0, nil, "facts")
	s.now = time.Time{} // nothing is due
	var err error
	if k.facts.due, err = s.fire(); err != nil {
		w.t.Fatal(err)
	}
	if s.referral != nil {
		w.recoveryFacts(s, k.facts)
		w.referralFacts(s, k.facts)
	} else {
		w.shelterFacts(s, k.facts)
	}
	return k.facts
}

func (w *World) referralFacts(s *session, f *facts) {
	must := func(err error) {
		if err != nil {
			w.t.Fatal(err)
		}
	}
	f.chains, f.offers, f.deadlines, f.asserted = map[string]*chainFacts{}, map[string]*referralv1.Offer{}, map[string]bool{}, map[string]bool{}
	ctx, parent := context.Background(), "nodes/"+Nodes[s.place.Node()]
	client := referralv1.NewReferralServiceClient(s.referral.Server.From("gateway", everybody(s.place.Node())))
	all, err := client.ListReferrals(ctx, &referralv1.ListReferralsRequest{Parent: parent, PageSize: 50})
	must(err)
	for _, r := range all.GetReferrals() {
		chain, err := client.GetCustodyChain(ctx, &referralv1.GetCustodyChainRequest{Name: r.GetName()})
		must(err)
		f.chains[r.GetName()] = w.chains.of(chain.GetEvents())
	}
	offers, err := client.ListOffers(ctx, &referralv1.ListOffersRequest{Parent: parent, PageSize: 50})
	must(err)
	for _, o := range offers.GetOffers() {
		f.offers[o.GetName()] = o
	}
	due, err := client.ListDeadlines(ctx, &referralv1.ListDeadlinesRequest{Parent: parent, PageSize: 50})
	must(err)
	for _, d := range due.GetDeadlines() {
		if !strings.HasPrefix(d.GetUnit(), parent+"/units/") {
			f.stranger = d.GetUnit()
		}
		switch {
		case d.GetKind() == referralv1.Deadline_KIND_FOLLOW_PERSON:
			f.deadlines[d.GetReferral()+"!"] = true
			f.asserted[d.GetReferral()] = true
		case d.GetOffer() != "":
			f.deadlines[d.GetOffer()] = true
		default:
			f.deadlines[d.GetReferral()] = true
		}
	}
	links, err := s.referral.Post.Status(ctx)
	must(err)
	for _, l := range links {
		if l.Outgoing && l.Link.GetTo().GetNode() != Federal {
			f.waiting += int(l.Gap)
		}
	}
	must(s.engine.Each(func(bucket string, _, payload []byte) {
		switch bucket {
		case "post_quarantine":
			f.refused++
			q, r := &postv1.QuarantinedLetter{}, &postv1.Refusal{}
			must(errors.Join(proto.Unmarshal(payload, q), proto.Unmarshal(q.GetRefusal().GetRefusal(), r)))
			f.why = tellLetter(q.GetLetter()) + ": " + r.GetReason()
		case "forks":
			f.forks++
		case "post_outbox":
			_ = proto.Unmarshal(payload, &postv1.Letter{})
		}
	}))
}

// recoveryFacts: when a node is asked again.
func (w *World) recoveryFacts(s *session, f *facts) {
	if f.recovering = s.referral.Recovering(); !f.recovering {
		return
	}
	c := w.open(s.from, 0, nil, "facts")
	c.now = time.Time{}
	next, err := c.referral.Recover(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	if !next.IsZero() && (f.due.IsZero() || next.Before(f.due)) {
		f.due = next
	}
}

func (w *World) shelterFacts(s *session, f *facts) {
	ctx, parent := context.Background(), "nodes/"+Nodes[s.place.Node()]
	client := shelterv1.NewShelterServiceClient(s.shelter.Server.From("gateway", everybody(s.place.Node())))
	holds, err := client.ListHolds(ctx, &shelterv1.ListHoldsRequest{Parent: parent, PageSize: 50})
	if err != nil {
		f.closed = true
		return
	}
	stays, err := client.ListStays(ctx, &shelterv1.ListStaysRequest{Parent: parent, PageSize: 50})
	if err != nil {
		w.t.Fatal(err)
	}
	f.holds, f.stays = holds.GetHolds(), stays.GetStays()
}
