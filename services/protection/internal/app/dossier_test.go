package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

const (
	third     = "sindh"
	theOffer  = referral + "/offers/aa"
	confirmed = custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED
	noShow    = custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
	returned  = custodyv1.ReferralState_REFERRAL_STATE_RETURNED
	asService = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
)

var fromHome = &postv1.Address{Node: home, Service: "protection"}

func aDossier() *protectionv1.Dossier {
	return &protectionv1.Dossier{
		Referral: referral, Offer: theOffer, Urgency: custodyv1.Urgency_URGENCY_HIGH, Narrative: canary, Sequence: 13,
		Person:  &protectionv1.Person{GivenName: canary, FatherName: canary, Health: canary, Gender: "Feminine"},
		Consent: &protectionv1.DossierConsent{Basis: "OWN_CONSENT_ADULT", Purposes: []string{"PLACEMENT"}, Scopes: []string{"IDENTITY"}},
	}
}

// chain is an event at a node as its referral service tells it.
type chain struct {
	state                         custodyv1.ReferralState
	seq                           uint64
	owner, care, to, giver, offer string
	owners                        []string
	ended, returning, service     bool
	over                          bool // the offer, here
}

func (b *bench) tell(c chain) {
	b.t.Helper()
	e := &referralv1.ReferralChanged{
		Referral: referral, State: c.state, Sequence: c.seq, OriginNode: home, OwnerNode: c.owner, CareNode: c.care, ToNode: c.to, GiverNode: c.giver,
		Offer: c.offer, OwnerNodes: c.owners, ConsentEnded: c.ended, Returning: c.returning, OfferOver: c.over, Unit: b.parent() + "/units/lahore",
	}
	if c.service {
		e.Kind = asService
	}
	b.happens("changed", e)
}

// The steps of a placement at away, each as its referral service tells it.
var (
	steps = map[custodyv1.ReferralState]chain{
		confirmed: {state: confirmed, seq: 12, owner: home, care: home, to: away, giver: home, offer: theOffer, owners: []string{home}},
		inTransit: {state: inTransit, seq: 14, owner: away, care: home, to: away, giver: home, offer: theOffer, owners: []string{home, away}},
		arrived:   {state: arrived, seq: 15, owner: away, care: away, to: away, giver: home, offer: theOffer, owners: []string{home, away}},
	}
	movedOn = chain{state: arrived, seq: 20, owner: third, care: third, to: third, giver: away, offer: referral + "/offers/bb", owners: []string{home, away, third}}
	isBack  = chain{state: arrived, seq: 20, owner: home, care: home, to: home, giver: away, offer: referral + "/offers/bb", owners: []string{home, away}, returning: true}
)

func (b *bench) upTo(state custodyv1.ReferralState) {
	b.t.Helper()
	for _, s := range []custodyv1.ReferralState{confirmed, inTransit, arrived} {
		if s <= state {
			b.tell(steps[s])
		}
	}
}

// reports are what the referral service was told, in order.
func (b *bench) reports() (all []string) {
	b.t.Helper()
	b.settle()
	b.referral.mu.Lock()
	defer b.referral.mu.Unlock()
	for _, call := range b.referral.calls {
		switch r := call.(type) {
		case *referralv1.ReportDossierClosedRequest:
			all = append(all, r.GetReason())
		case *referralv1.ReportConsentEndedRequest:
			all = append(all, "consent ended")
		}
	}
	return all
}

// settle waits until the referral service has heard all.
func (b *bench) settle() {
	b.t.Helper()
	id := strings.TrimPrefix(referral, "nodes/"+home+"/referrals/")
	ids := []string{"end-consent-" + id}
	for n := range 9 {
		ids = append(ids, fmt.Sprintf("close-dossier-%s-%d", id, n))
	}
	for _, id := range ids {
		must(b.t, b.Commands.Wait(context.Background(), id))
	}
}

// unreadable holds that nothing of the person can be read here any more: by no call, and by no key.
func (b *bench) unreadable() {
	b.t.Helper()
	for _, c := range b.list(nil) {
		shown := b.get(c.GetName())
		if privacy.Carries(shown) || shown.GetReadingClosed() == "" {
			b.t.Errorf("the case is shown: %v", shown)
		}
		if _, err := b.RecordConsent(context.Background(), consent(shown), actor); reason(err) != fault.WrongState {
			b.t.Errorf("the case is changed: %v", err)
		}
	}
	d := b.dossier()
	if privacy.Carries(d) || d.GetReceiveTime() != nil || d.GetCase() != "" {
		b.t.Errorf("the dossier stands: %v", d)
	}
	for round := range d.GetRound() {
		old := &protectionv1.ReceivedDossier{Dossier: &protectionv1.Dossier{Referral: referral}, Round: round}
		if err := b.Keys.Prepare(context.Background(), store.DossierKeyName(old)); !errors.Is(err, privacy.ErrErased) {
			b.t.Errorf("key %d: %v", round, err)
		}
	}
	if bytes.Contains(b.file(), []byte(canary)) {
		b.t.Error("the file holds the person in the clear")
	}
}

// Every way in which a person can be expected here no more, with the dossier there, on its way, and made a case: reading ends, once, the
// tombstone says why, and the owner is told; all again, and late, changes nothing.
func TestEveryEndClosesTheDossier(t *testing.T) {
	offer := func(word string) func(b *bench) {
		return func(b *bench) {
			b.event("referral.offer."+word+".v1", &referralv1.OfferChanged{Offer: theOffer, Referral: referral, FromNode: home, ToNode: away})
		}
	}
	of := func(c chain) func(b *bench) { return func(b *bench) { b.tell(c) } }
	change := func(c chain, change func(c *chain)) chain { change(&c); return c }
	for name, c := range map[string]struct {
		up     custodyv1.ReferralState // how far it went before
		end    func(b *bench)
		reason string
	}{
		"withdrawn":            {confirmed, offer("withdrawn"), "OFFER_ENDED"},
		"expired":              {confirmed, offer("expired"), "OFFER_ENDED"},
		"declined":             {confirmed, offer("declined"), "OFFER_ENDED"},
		"acceptance withdrawn": {confirmed, offer("acceptance-withdrawn"), "OFFER_ENDED"},
		"withdrawn, since consent was": {confirmed, func(b *bench) {
			b.event("referral.offer.withdrawn.v1", &referralv1.OfferChanged{Offer: theOffer, Referral: referral, ToNode: away, Reason: "CONSENT_ENDED"})
		}, "CONSENT_ENDED"},
		"handover refused": {confirmed, func(b *bench) {
			b.event("referral.handover.refused.v1", &referralv1.HandoverRefused{Referral: referral, FromNode: home, Node: away})
		}, "OFFER_ENDED"},
		"consent ended before arrival": {confirmed, of(change(steps[confirmed], func(c *chain) { c.state, c.seq, c.ended = ready, 20, true })), "CONSENT_ENDED"},
		"consent ended on the road":    {inTransit, of(change(steps[inTransit], func(c *chain) { c.seq, c.ended = 20, true })), "CONSENT_ENDED"},
		"no-show":                      {inTransit, of(change(steps[inTransit], func(c *chain) { c.state, c.seq = noShow, 20 })), "OFFER_ENDED"},
		"arrived elsewhere":            {inTransit, of(change(movedOn, func(c *chain) { c.to, c.offer, c.giver = away, theOffer, away })), "OFFER_ENDED"},
		"referred on":                  {arrived, of(movedOn), "MOVED_ON"},
		"back home":                    {arrived, of(isBack), "MOVED_ON"},
	} {
		for _, dossier := range []string{"there", "late", "there twice"} {
			t.Run(name+", the dossier "+dossier, func(t *testing.T) {
				b := newApp(t, away)
				b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
				if dossier != "late" {
					must(t, b.deliver(fromHome, aDossier()))
				}
				b.upTo(c.up)
				if dossier == "there twice" {
					must(t, b.deliver(fromHome, aDossier()))
				}
				for range 2 {
					c.end(b)
					b.upTo(c.up) // heard again
					must(t, b.deliver(fromHome, aDossier()))
					if dossier == "late" && len(b.list(nil)) != 0 {
						t.Fatal("a case is made of a dossier that came late")
					}
				}
				b.unreadable()
				if got := b.reports(); !slices.Equal(got, []string{c.reason}) {
					t.Errorf("the referral service is told %v", got)
				}
				closings := b.dossier().GetClosings()
				if len(closings) != 1 || closings[0].GetReason() != c.reason || closings[0].GetOffer() != theOffer || !closings[0].GetTold() || closings[0].GetFromNode() != home {
					t.Errorf("tombstones: %v", closings)
				}
				if c.up == arrived && dossier != "late" && (closings[0].GetCase() == "" || b.get(closings[0].GetCase()).GetState() != protectionv1.Case_STATE_CLOSED_REFERRED) {
					t.Errorf("the case is not closed: %v", closings)
				}
				if n := count(b.happened(), "protection.dossier.closed.v1"); n != 1 {
					t.Errorf("%d events say so", n)
				}
			})
		}
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// A node that has the person keeps its case, whatever becomes of consent, and however it came to have the person.
func TestTheNodeWithTheDutyKeepsItsCase(t *testing.T) {
	b := newApp(t, away)
	must(t, b.deliver(fromHome, aDossier()))
	b.upTo(arrived)
	keep := steps[arrived]
	keep.state, keep.seq, keep.ended = inService, 16, true
	b.tell(keep)
	// A place further on is being made ready; the person is here still.
	b.tell(chain{state: ready, seq: 17, owner: away, care: away, to: third, giver: away, offer: referral + "/offers/bb", owners: []string{home, away}, ended: true})
	b.tell(chain{state: inTransit, seq: 18, owner: third, care: away, to: third, giver: away, offer: referral + "/offers/bb", owners: []string{home, away, third}, ended: true})
	c := b.get(b.list(nil)[0].GetName())
	if c.GetPerson().GetGivenName() != canary || c.GetReadingClosed() != "" || len(b.reports()) != 0 {
		t.Fatalf("the case is closed: %v", c)
	}
	if c.GetConsent().GetEndTime() == nil {
		t.Errorf("consent stands: %v", c.GetConsent())
	}
	for _, l := range b.letters.of("protection.dossier.v1") {
		if privacy.Carries(l.Body) {
			t.Errorf("the person's data leaves after consent has ended: %v", l)
		}
	}
}

// An offer that is over ends nothing at a node that has the person: it came by that offer, and the word of its end is of before.
func TestTheEndOfAnOfferEndsNothingWhereThePersonIs(t *testing.T) {
	b := newApp(t, away)
	must(t, b.deliver(fromHome, aDossier()))
	b.upTo(arrived)
	for _, word := range []string{"withdrawn", "expired", "declined", "acceptance-withdrawn"} {
		b.event("referral.offer."+word+".v1", &referralv1.OfferChanged{Offer: theOffer, Referral: referral, FromNode: home, ToNode: away})
	}
	b.event("referral.handover.refused.v1", &referralv1.HandoverRefused{Referral: referral, FromNode: home, Node: away})
	if c := b.get(b.list(nil)[0].GetName()); c.GetPerson().GetGivenName() != canary || c.GetReadingClosed() != "" || len(b.reports()) != 0 {
		t.Errorf("the case is closed: %v", c)
	}
}

// The events of a restored referral service are read again from the start: a handover refused of old ends nothing that was promised
// since, here or at the giver.
func TestAHandoverRefusedOfOld(t *testing.T) {
	b := newApp(t, away)
	must(t, b.deliver(fromHome, aDossier()))
	b.upTo(inTransit)
	giver := newApp(t, home)
	giver.referred()
	giver.hear("ready", ready)
	sent := len(giver.letters.of("protection.dossier.v1"))
	for _, one := range []*bench{b, giver} {
		one.event("referral.handover.refused.v1", &referralv1.HandoverRefused{Referral: referral, FromNode: home, Node: away, Sequence: 1})
	}
	if d := b.dossier(); !privacy.Carries(d) || len(d.GetClosings()) != 0 {
		t.Errorf("the dossier is closed: %v", d)
	}
	must(t, giver.wants(&postv1.Address{Node: away, Service: "protection"}))
	if n := len(giver.letters.of("protection.dossier.v1")); n != sent+1 {
		t.Errorf("the giver has sent %d, and %d before", n, sent)
	}
}

// A place was promised here anew, and the end of the promise before it was not heard of: what came on that one ends all the same.
func TestPromisedAnewWithTheEndUnheard(t *testing.T) {
	b := newApp(t, away)
	b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
	b.upTo(confirmed)
	must(t, b.deliver(fromHome, aDossier()))
	again := steps[confirmed]
	again.seq, again.offer = 20, referral+"/offers/cc"
	b.tell(again)
	if got := b.reports(); !slices.Equal(got, []string{"OFFER_ENDED"}) {
		t.Errorf("the referral service is told %v", got)
	}
	if d := b.dossier(); privacy.Carries(d) || len(d.GetClosings()) != 1 || d.GetClosings()[0].GetOffer() != theOffer {
		t.Errorf("the dossier stands: %v", d)
	}
	must(t, b.deliver(fromHome, aDossier())) // late
	second := aDossier()
	second.Offer, second.Sequence = again.offer, 21
	must(t, b.deliver(fromHome, second))
	if d := b.dossier(); d.GetDossier().GetOffer() != again.offer || !privacy.Carries(d) {
		t.Errorf("the second is not kept: %v", d)
	}
}

// A place is promised anew after one whose end was heard, and what is heard first of the new promise says that consent has ended: the dossier that came
// on it meanwhile is closed, and one that comes later too.
func TestPromisedAnewWhenConsentHasEnded(t *testing.T) {
	ended := steps[confirmed]
	ended.seq, ended.offer, ended.ended = 20, referral+"/offers/cc", true
	second := aDossier()
	second.Offer, second.Sequence = ended.offer, 21
	for name, early := range map[string]bool{"it came before": true, "it comes later": false} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, away)
			b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
			b.upTo(confirmed)
			b.event("referral.offer.withdrawn.v1", &referralv1.OfferChanged{Offer: theOffer, Referral: referral, FromNode: home, ToNode: away})
			if early {
				must(t, b.deliver(fromHome, second))
			}
			b.tell(ended)
			if !early {
				must(t, b.deliver(fromHome, second))
			}
			b.unreadable()
			if got := b.reports(); !slices.Equal(got, []string{"CONSENT_ENDED"}) {
				t.Errorf("the referral service is told %v", got)
			}
			if all := b.dossier().GetClosings(); len(all) != 2 || all[1].GetOffer() != ended.offer {
				t.Errorf("the tombstones are %v", all)
			}
		})
	}
}

// What is promised here by the chain has ended here, whatever was promised before it: the dossier that comes on it, of when its giver held the place
// for promised, is not kept.
func TestAPromiseThatIsOverHere(t *testing.T) {
	over := steps[confirmed]
	over.seq, over.offer, over.over = 20, referral+"/offers/cc", true
	for name, before := range map[string]func(b *bench){
		"none":            func(*bench) {},
		"one that stands": func(b *bench) { b.upTo(confirmed) },
		"one that has ended": func(b *bench) {
			b.upTo(confirmed)
			b.event("referral.offer.withdrawn.v1", &referralv1.OfferChanged{Offer: theOffer, Referral: referral, FromNode: home, ToNode: away})
		},
		"one whose dossier came": func(b *bench) {
			b.upTo(confirmed)
			must(b.t, b.deliver(fromHome, aDossier()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, away)
			b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
			before(b)
			b.tell(over)
			second := aDossier()
			second.Offer, second.Sequence = over.offer, 21
			must(t, b.deliver(fromHome, second))
			must(t, b.deliver(fromHome, aDossier()))
			b.unreadable()
			if got := b.reports(); len(got) == 0 || slices.ContainsFunc(got, func(reason string) bool { return reason != "OFFER_ENDED" }) {
				t.Errorf("the referral service is told %v", got)
			}
		})
	}
}

// A service's dossier and case are closed when it was given, and when consent ends: the person was never in this node's care.
func TestEndOfAServiceClosesItsCase(t *testing.T) {
	begin := chain{state: confirmed, seq: 12, owner: home, care: home, to: away, giver: home, offer: theOffer, owners: []string{home}, service: true}
	for want, end := range map[string]chain{
		"COMPLETED":     {state: completed, seq: 20, owner: home, care: home, to: away, giver: home, offer: theOffer, owners: []string{home}, service: true},
		"CONSENT_ENDED": {state: inService, seq: 20, owner: home, care: home, to: away, giver: home, offer: theOffer, owners: []string{home}, service: true, ended: true},
	} {
		b := newApp(t, away)
		b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
		b.tell(begin)
		must(t, b.deliver(fromHome, aDossier()))
		if c := b.get(b.list(nil)[0].GetName()); c.GetPerson().GetGivenName() != canary {
			t.Fatalf("no case is made: %v", c)
		}
		for range 2 {
			b.tell(end)
			must(t, b.deliver(fromHome, aDossier()))
		}
		b.unreadable()
		if got := b.reports(); !slices.Equal(got, []string{want}) {
			t.Errorf("told %v, want %s", got, want)
		}
	}
}

// Erasing breaks off before its transaction commits, any number of times: then all is done again, and told once.
func TestErasureThatBreaksOff(t *testing.T) {
	b := newApp(t, away)
	b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
	must(t, b.deliver(fromHome, aDossier()))
	b.upTo(inTransit)
	crash := errors.New("the power fails")
	end := steps[inTransit]
	end.state, end.seq = noShow, 20
	data, err := anypb.New(&referralv1.ReferralChanged{
		Referral: referral, State: noShow, Sequence: 20, OriginNode: home, OwnerNode: away, CareNode: home, ToNode: away, GiverNode: home, Offer: theOffer,
		OwnerNodes: []string{home, away},
	})
	must(t, err)
	for range 2 {
		err := b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
			must(t, b.FollowReferral(tx, &eventsv1.Event{Type: "referral.referral.no-show.v1", Data: data}))
			return crash
		})
		if !errors.Is(err, crash) {
			t.Fatal(err)
		}
	}
	if len(b.reports()) != 0 {
		t.Fatal("told before it was so")
	}
	b.tell(end)
	b.unreadable()
	if got := b.reports(); !slices.Equal(got, []string{"OFFER_ENDED"}) {
		t.Fatalf("told %v", got)
	}
	// The person came after all. The dossier is asked for, comes under a key of its own, and makes the case.
	back := steps[arrived]
	back.seq = 21
	b.tell(back)
	b.passes(16 * time.Minute)
	must(t, b.deliver(fromHome, aDossier()))
	if c := b.get(b.list(nil)[0].GetName()); c.GetPerson().GetGivenName() != canary || len(b.letters.of("protection.dossier_wanted.v1")) != 1 {
		t.Fatalf("the case: %v, asked %d times", c, len(b.letters.of("protection.dossier_wanted.v1")))
	}
}

// A store that lost its last commits, or was restored, may know nothing of a dossier whose key was erased, once or more often: what comes of
// the same referral has another key, and nothing stands still.
func TestTheKeysAreAheadOfTheStore(t *testing.T) {
	b := newApp(t, away)
	b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
	body, err := proto.Marshal(aDossier())
	must(t, err)
	event := func(kind string, e proto.Message) *eventsv1.Event {
		data, err := anypb.New(e)
		must(t, err)
		return &eventsv1.Event{Type: kind, Data: data}
	}
	lost := errors.New("the power fails")
	for range 2 {
		err := b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
			return errors.Join(
				b.FollowReferral(tx, event("referral.referral.confirmed.v1", &referralv1.ReferralChanged{
					Referral: referral, State: confirmed, Sequence: 12, OriginNode: home, OwnerNode: home, CareNode: home, ToNode: away, GiverNode: home,
					Offer: theOffer, OwnerNodes: []string{home},
				})),
				b.Handlers()["protection.dossier.v1"](tx, fromHome, &postv1.Letter{Body: body}),
				b.FollowReferral(tx, event("referral.offer.withdrawn.v1", &referralv1.OfferChanged{Offer: theOffer, Referral: referral, FromNode: home, ToNode: away})),
				lost,
			)
		})
		if errors.Is(err, privacy.ErrErased) || !errors.Is(err, lost) {
			t.Fatal(err)
		}
	}
	b.upTo(inTransit)
	must(t, b.deliver(fromHome, aDossier()))
	b.upTo(arrived)
	if all := b.list(nil); len(all) != 1 || b.get(all[0].GetName()).GetPerson().GetGivenName() != canary {
		t.Fatalf("cases: %v", all)
	}
}

// A restored node hears from the chain alone that it had a person, who has moved on: a dossier that is sent to it again, on an offer of which
// it knows nothing, is not kept. One for a place that is promised later is.
func TestADossierComesAgainWhereThePersonHasMovedOn(t *testing.T) {
	b := newApp(t, away)
	b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
	b.tell(steps[arrived])
	b.tell(movedOn)
	for range 2 {
		must(t, b.deliver(fromHome, aDossier()))
	}
	b.unreadable()
	if got := b.reports(); !slices.Equal(got, []string{"MOVED_ON"}) {
		t.Errorf("told %v", got)
	}
	later := aDossier()
	later.Offer, later.Sequence = referral+"/offers/cc", 22
	must(t, b.deliver(fromHome, later))
	if d := b.dossier(); d.GetReceiveTime() == nil {
		t.Errorf("a dossier for a later promise is not kept: %v", d)
	}
}

// A node hears of its part only when that is over: consent had ended before it promised, or it was restored and the person has moved on since.
// A dossier that comes then is not kept.
func TestADossierComesWhereThePartWasOverWhenItWasHeardOf(t *testing.T) {
	consentEnded := steps[confirmed]
	consentEnded.ended = true
	for reason, first := range map[string]chain{"CONSENT_ENDED": consentEnded, "MOVED_ON": movedOn} {
		b := newApp(t, away)
		b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
		b.tell(first)
		must(t, b.deliver(fromHome, aDossier()))
		b.unreadable()
		if got := b.reports(); !slices.Equal(got, []string{reason}) {
			t.Errorf("%s: told %v", reason, got)
		}
	}
}

// The node at which a referral began had the person again, gave them on, and was restored: the dossier with which they had come back to it is sent to it
// once more, and is not kept, whichever is there first. While the person is on the way back to it, it is.
func TestADossierComesAgainToWhereItBegan(t *testing.T) {
	gaveOn := chain{state: arrived, seq: 20, owner: third, care: third, to: third, giver: home, offer: referral + "/offers/bb", owners: []string{home, away, third, home}}
	onceThere := gaveOn
	onceThere.giver, onceThere.owners = away, []string{home, away, third}
	comesBack := chain{state: inTransit, seq: 19, owner: home, care: away, to: home, giver: away, offer: theOffer, owners: []string{home, away}}
	for name, c := range map[string]struct {
		first, last chain
		kept        bool
	}{
		"given on, and heard first":  {first: gaveOn},
		"given on, and heard behind": {last: gaveOn},
		"on the way, heard first":    {first: comesBack, kept: true},
		"on the way, heard behind":   {last: comesBack, kept: true},
		"never there again":          {last: onceThere, kept: true},
	} {
		b := newApp(t, home)
		b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
		if c.first.seq > 0 {
			b.tell(c.first)
		}
		d := aDossier()
		d.Sequence = 18
		must(t, b.deliver(&postv1.Address{Node: away, Service: "protection"}, d))
		if c.last.seq > 0 {
			b.tell(c.last)
		}
		if kept := b.dossier().GetReceiveTime() != nil; kept != c.kept {
			t.Errorf("%s: kept: %v", name, kept)
		}
	}
}

// passes lets time pass, and what falls due be done.
func (b *bench) passes(d time.Duration) {
	b.t.Helper()
	b.now(d)
	_, err := b.TendDossiers(context.Background())
	must(b.t, err)
}

// A dossier that nobody awaits goes after a while, also where this node had its part before and that is over: a giver may say that it belongs to a
// later promise, of which nothing is ever heard.
func TestADossierThatNobodyAwaitsGoes(t *testing.T) {
	for name, up := range map[string]func(b *bench){
		"never heard": func(*bench) {},
		"over":        func(b *bench) { b.tell(steps[arrived]); b.tell(movedOn) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, away)
			b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Told{}, nil })
			up(b)
			later := aDossier()
			later.Offer, later.Sequence = referral+"/offers/cc", 1<<60
			must(t, b.deliver(fromHome, later))
			for range 12 {
				b.passes(30 * 24 * time.Hour)
			}
			if d := b.dossier(); d.GetReceiveTime() != nil {
				t.Errorf("after a year the dossier is here, duty %v, due %v, %d bytes", d.GetDuty(), d.GetDueTime(), proto.Size(d.GetDossier()))
			}
		})
	}
}
