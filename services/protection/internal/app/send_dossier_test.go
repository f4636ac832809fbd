package app_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
)

// answers lets the referral service answer submissions and reports.
func answers(request proto.Message) (proto.Message, error) {
	if _, submit := request.(*referralv1.SubmitReferralRequest); submit {
		return submitted(request)
	}
	return &referralv1.Told{}, nil
}

func refused(c *protectionv1.Case) *protectionv1.RecordConsentRequest {
	r := consent(c)
	r.Consent.Decision = protectionv1.Consent_DECISION_REFUSED
	return r
}

// wants asks a node for the dossier of the referral.
func (b *bench) wants(from *postv1.Address) error {
	body, err := proto.Marshal(&protectionv1.DossierWanted{Referral: referral})
	must(b.t, err)
	return b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		return b.Handlers()["protection.dossier_wanted.v1"](tx, from, &postv1.Letter{Body: body})
	})
}

// recovering is the refusal of a referral service that was restored and asks the others what it lost.
var recovering = func() error {
	detailed, err := status.New(codes.FailedPrecondition, "Restored.").WithDetails(&errdetails.ErrorInfo{
		Reason: fault.Recovering.String(), Domain: "referral.amanat",
	})
	if err != nil {
		panic(err) // a detail that can always be packed
	}
	return detailed.Err()
}()

// sentTo are the nodes to which dossiers went, in order.
func (b *bench) sentTo() (nodes []string) {
	for _, l := range b.letters.of("protection.dossier.v1") {
		nodes = append(nodes, l.To.GetNode())
	}
	return nodes
}

// A refusal recorded while a referral goes on is said to its chain, once. What is sent afterwards holds nothing of the person, and the
// case is referred again on new consent alone.
func TestConsentWithdrawnAtHome(t *testing.T) {
	b := newApp(t, home)
	c := b.referred()
	b.hear("ready", ready)
	b.referral.set(answers)
	for range 2 {
		var err error
		c, err = b.RecordConsent(context.Background(), refused(b.get(c.GetName())), actor)
		must(t, err)
	}
	if got := b.reports(); !slices.Equal(got, []string{"consent ended"}) {
		t.Fatalf("the referral service is told %v", got)
	}
	b.referral.mu.Lock()
	last := b.referral.calls[len(b.referral.calls)-1].(*referralv1.ReportConsentEndedRequest)
	b.referral.mu.Unlock()
	if last.GetActor().GetPerson() != actor.GetPerson() || last.GetName() != referral || privacy.Marked(last.ProtoReflect().Descriptor()) {
		t.Fatalf("told by %v", last)
	}
	b.hear("arrived", arrived)
	must(t, b.wants(&postv1.Address{Node: away, Service: "protection"}))
	sent := b.letters.of("protection.dossier.v1")
	if len(sent) != 2 || !privacy.Carries(sent[0].Body) || privacy.Carries(sent[1].Body) || sent[1].Body.(*protectionv1.Dossier).GetConsent() != nil {
		t.Fatalf("sent: %v", sent)
	}
}

// The referral service was restored and stands still when consent is refused: it is told until it can write it, and not once in vain.
func TestConsentWithdrawnWhileReferralsStandStill(t *testing.T) {
	b := newApp(t, home)
	c := b.referred()
	b.hear("ready", ready)
	tries := 0
	b.referral.set(func(request proto.Message) (proto.Message, error) {
		if tries++; tries < 3 {
			return nil, recovering
		}
		return answers(request)
	})
	_, err := b.RecordConsent(t.Context(), refused(b.get(c.GetName())), actor)
	must(t, err)
	if got := b.reports(); !slices.Equal(got, []string{"consent ended", "consent ended", "consent ended"}) {
		t.Fatalf("the referral service is told %v", got)
	}
}

// A refusal recorded before the referral service has answered is said once there is a referral.
func TestConsentWithdrawnBeforeTheAnswer(t *testing.T) {
	b := newApp(t, home)
	c := b.consented()
	soon, stop := context.WithTimeout(t.Context(), 550*time.Millisecond)
	defer stop()
	pending, err := b.ReferCase(soon, refer(c), actor)
	must(t, err)
	_, err = b.RecordConsent(t.Context(), refused(pending), actor)
	must(t, err)
	b.referral.set(answers)
	must(t, b.Commands.Wait(t.Context(), "refer-"+c.GetName()[len("nodes/balochistan/cases/"):]+"-"+c.GetEtag()))
	b.hear("ready", ready)
	if got := b.reports(); !slices.Equal(got, []string{"consent ended"}) {
		t.Fatalf("the referral service is told %v", got)
	}
	if sent := b.letters.of("protection.dossier.v1"); len(sent) != 1 || privacy.Carries(sent[0].Body) {
		t.Fatalf("sent: %v", sent)
	}
}

// Consent that ended at another node ends here: the case can be referred again on new consent alone.
func TestConsentEndedElsewhere(t *testing.T) {
	b := newApp(t, home)
	c := b.referred()
	for range 2 {
		b.tell(chain{state: returned, seq: 20, owner: home, care: home, giver: away, owners: []string{home, away}, ended: true})
	}
	c = b.get(c.GetName())
	if c.GetConsent().GetEndTime() == nil || c.GetState() != protectionv1.Case_STATE_ACTIVE {
		t.Fatalf("consent stands: %v", c)
	}
	if _, err := b.ReferCase(t.Context(), refer(c), actor); reason(err) != fault.ConsentMissing {
		t.Fatalf("referred on consent that has ended: %v", err)
	}
	c, err := b.RecordConsent(t.Context(), consent(c), actor)
	must(t, err)
	b.tell(chain{state: returned, seq: 21, owner: home, care: home, giver: away, owners: []string{home, away}, ended: true}) // a correction
	if c, err = b.ReferCase(t.Context(), refer(b.get(c.GetName())), actor); err != nil || c.GetConsent().GetEndTime() != nil {
		t.Fatalf("on new consent: %v, %v", c, err)
	}
}

// Who owns the referral and hands the person on sends its own case, within the consent that came with the dossier; the first owner does
// not.
func TestReferredOnTheDossierGoesWithThePerson(t *testing.T) {
	b := newApp(t, away)
	must(t, b.deliver(fromHome, aDossier()))
	b.upTo(arrived)
	on := chain{state: ready, seq: 17, owner: away, care: away, to: third, giver: away, offer: referral + "/offers/bb", owners: []string{home, away}}
	for range 2 {
		b.tell(on)
		on.state, on.seq, on.owner, on.owners = inTransit, 18, third, []string{home, away, third}
		b.tell(on)
		b.tell(movedOn)
	}
	sent := b.letters.of("protection.dossier.v1")
	if len(sent) != 1 || sent[0].To.GetNode() != third || !sent[0].Sealed {
		t.Fatalf("sent: %v", sent)
	}
	d := sent[0].Body.(*protectionv1.Dossier)
	if d.GetPerson().GetGivenName() != canary || d.GetPerson().GetHealth() != "" || d.GetNarrative() != "" || !slices.Equal(d.GetConsent().GetScopes(), []string{"IDENTITY"}) {
		t.Fatalf("the dossier is not what the first consent covers: %v", d)
	}
	b.unreadable()

	next := newApp(t, third)
	must(t, next.deliver(&postv1.Address{Node: away, Service: "protection"}, d))
	next.tell(movedOn)
	if c := next.get(next.list(nil)[0].GetName()); c.GetPerson().GetGivenName() != canary || !slices.Equal(c.GetConsent().GetScopes(), []string{"IDENTITY"}) {
		t.Fatalf("the third province has %v", c)
	}

	first := newApp(t, home)
	first.referred()
	first.hear("ready", ready)
	first.hear("arrived", arrived)
	first.tell(chain{state: inTransit, seq: 18, owner: third, care: away, to: third, giver: away, offer: referral + "/offers/bb", owners: []string{home, away, third}})
	first.tell(movedOn)
	if got := first.sentTo(); !slices.Equal(got, []string{away}) {
		t.Fatalf("the first owner sends to %v", got)
	}
}

// The person comes back to a node that they left: what was here stays closed, and a new case is made of what comes with them.
func TestBackAtANodeThatWasLeft(t *testing.T) {
	b := newApp(t, away)
	b.referral.set(answers)
	must(t, b.deliver(fromHome, aDossier()))
	b.upTo(arrived)
	b.tell(movedOn)
	again := chain{state: confirmed, seq: 30, owner: third, care: third, to: away, giver: third, offer: referral + "/offers/cc", owners: []string{home, away, third}}
	b.tell(again)
	d := aDossier()
	d.Offer, d.Sequence = again.offer, 31
	must(t, b.deliver(&postv1.Address{Node: third, Service: "protection"}, d))
	again.state, again.seq, again.owner, again.care = arrived, 33, away, away
	b.tell(again)
	closed, open := 0, 0
	for _, c := range b.list(nil) {
		if shown := b.get(c.GetName()); shown.GetReadingClosed() != "" && !privacy.Carries(shown) {
			closed++
		} else if shown.GetPerson().GetGivenName() == canary {
			open++
		}
	}
	if closed != 1 || open != 1 || len(b.dossier().GetClosings()) != 1 {
		t.Fatalf("%d closed and %d open: %v", closed, open, b.list(nil))
	}
}

// A person who came without an offer: the dossier follows them to where they are.
func TestTheDossierFollowsAnAssertedArrival(t *testing.T) {
	b := newApp(t, home)
	b.referred()
	b.hear("ready", ready)
	asserted := chain{state: inTransit, seq: 30, owner: third, care: home, to: away, giver: home, offer: theOffer, owners: []string{home, third}}
	b.tell(asserted)
	asserted.state, asserted.seq, asserted.care = arrived, 31, third
	b.tell(asserted)
	if got := b.sentTo(); !slices.Equal(got, []string{away, third}) {
		t.Fatalf("dossiers went to %v", got)
	}
	there := newApp(t, third)
	there.tell(asserted)
	must(t, there.deliver(fromHome, b.letters.of("protection.dossier.v1")[1].Body.(*protectionv1.Dossier)))
	if len(there.list(nil)) != 1 {
		t.Fatal("no case is made")
	}
}

// What was on its way to a store that was restored since, or lost with its keys, does not come: the dossier is asked for soon, for a day. Else it is
// usually on its way.
func TestARestoredNodeAsksSoon(t *testing.T) {
	for name, c := range map[string]struct {
		when string
		ago  time.Duration
		soon bool
	}{
		"never":                            {"", 0, false},
		"before it hears of the referral":  {"before", 0, true},
		"a day before":                     {"before", 24 * time.Hour, false},
		"after it has heard of it":         {"after", 0, true},
		"after that, and started days on":  {"after", 48 * time.Hour, true}, // by then it is due
		"never, and much later than heard": {"", 5 * time.Minute, false},
	} {
		b := newApp(t, third)
		restore := func(now string) {
			if now == c.when {
				must(t, b.DB.RaiseIncarnation(context.Background(), b.DB.Incarnation()))
				b.now(c.ago)
			}
			must(t, b.BeginLife(context.Background()))
		}
		restore("before")
		b.tell(movedOn)
		restore("after")
		b.passes(rules.AskedSoon)
		if asked := len(b.letters.of("protection.dossier_wanted.v1")); (asked > 0) != c.soon {
			t.Errorf("restored %s; asked of %d nodes", name, asked)
		}
	}
}

// The key file is an older copy, and what was noted of a dossier does not open: it is asked for all the same, a restored service starts, what is
// told of its referral is heard, and a case is made of what comes.
func TestADossierIsAwaitedWithOlderKeys(t *testing.T) {
	for name, c := range map[string]struct{ restored, came bool }{
		"it did not come":                   {false, false},
		"it did not come, and was restored": {true, false},
		"it had come":                       {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, away)
			b.upTo(confirmed)
			if c.came {
				must(t, b.deliver(fromHome, aDossier()))
			}
			keys, err := privacy.OpenKeyring(context.Background(), privacy.Options{Dir: t.TempDir()})
			must(t, err)
			t.Cleanup(func() { must(t, keys.Close()) })
			own := b.Keys
			b.Keys = keys
			t.Cleanup(func() { b.Keys = own })
			wait := rules.FirstAsked
			if c.restored {
				wait = rules.AskedSoon
				must(t, b.DB.RaiseIncarnation(context.Background(), b.DB.Incarnation()))
			}
			must(t, b.BeginLife(context.Background()))
			if c.came {
				b.upTo(inTransit)
			}
			b.passes(wait)
			if asked := len(b.letters.of("protection.dossier_wanted.v1")); asked != 1 {
				t.Errorf("it is asked for %d times", asked)
			}
			b.upTo(inTransit)
			must(t, b.deliver(fromHome, aDossier()))
			b.upTo(arrived)
			if cases := len(b.list(nil)); cases != 1 {
				t.Errorf("%d cases are made", cases)
			}
		})
	}
}

// A dossier of what is no referral is refused, whatever the length of its name: it would be tried for ever, and all of its sender behind it.
func TestADossierOfNoReferralIsRefused(t *testing.T) {
	b := newApp(t, third)
	for _, name := range []string{"", "nodes/balochistan", strings.Repeat("x", 33_000)} {
		d := aDossier()
		d.Referral = name
		if err := b.deliver(fromHome, d); err == nil || !strings.Contains(err.Error(), "body-not-readable") {
			t.Errorf("a name of %d bytes: %v", len(name), err)
		}
	}
}

// A node that may hold a lost dossier is suspended, or the roster drops its protection service: the others are asked all the same, and it too once
// it is there again. One to which a dossier is owed gets it when it asks then.
func TestASuspendedNodeHoldsUpNobody(t *testing.T) {
	t.Run("suspended", func(t *testing.T) { holdsUpNobody(t, func(l *letters) map[string]bool { return l.suspended }) })
	t.Run("without the service", func(t *testing.T) { holdsUpNobody(t, func(l *letters) map[string]bool { return l.dropped }) })
}

func holdsUpNobody(t *testing.T, absent func(*letters) map[string]bool) {
	b := newApp(t, third)
	absent(b.letters)[away] = true
	b.tell(movedOn)
	b.passes(15 * time.Minute)
	absent(b.letters)[away] = false
	b.passes(6 * time.Hour)
	var asked []string
	for _, l := range b.letters.of("protection.dossier_wanted.v1") {
		asked = append(asked, l.To.GetNode())
	}
	if !slices.Equal(asked, []string{home, away, home}) {
		t.Errorf("asked of %v", asked)
	}

	origin := newApp(t, home)
	absent(origin.letters)[away] = true
	origin.referred()
	origin.hear("ready", ready)
	if got := origin.sentTo(); len(got) != 0 {
		t.Errorf("sent to %v, which takes no part", got)
	}
	absent(origin.letters)[away] = false
	must(t, origin.wants(&postv1.Address{Node: away, Service: "protection"}))
	if got := origin.sentTo(); !slices.Equal(got, []string{away}) {
		t.Errorf("sent to %v when it asked", got)
	}
}

// What was put off while the clock was a year ahead is asked for when it is right; and what came then is kept.
func TestADossierThatAClockThatRanAheadPutOff(t *testing.T) {
	const year = 365 * 24 * time.Hour
	b := newApp(t, third)
	b.now(year)
	b.tell(movedOn)
	b.passes(time.Hour) // asked for, and to be asked for again
	b.now(-year)
	asked := func() int { return len(b.letters.of("protection.dossier_wanted.v1")) }
	before := asked()
	b.passes(rules.AskedAgain)
	if before == 0 || asked() <= before {
		t.Fatalf("%d were asked, then %d", before, asked())
	}
	b = newApp(t, third)
	b.now(year)
	d := aDossier()
	d.Offer = movedOn.offer
	must(t, b.deliver(&postv1.Address{Node: away, Service: "protection"}, d)) // ahead of what is told of its referral
	b.now(-year)
	b.passes(time.Hour)
	b.tell(movedOn)
	if len(b.list(nil)) != 1 {
		t.Fatal("what came is dropped")
	}
}

// A dossier that does not come is asked for, of the giver and the first owner, until it is here; it is answered while it is owed, by
// those to whom the person was given.
func TestALostDossierIsAskedFor(t *testing.T) {
	b := newApp(t, third)
	b.tell(movedOn)
	b.passes(14 * time.Minute)
	asked := func() (nodes []string) {
		for _, l := range b.letters.of("protection.dossier_wanted.v1") {
			nodes = append(nodes, l.To.GetNode())
		}
		return nodes
	}
	if len(asked()) != 0 {
		t.Fatal("asked for before it can have come")
	}
	b.passes(time.Minute)
	b.passes(time.Hour)
	b.passes(5 * time.Hour)
	if got := asked(); !slices.Equal(got, []string{away, home, away, home}) {
		t.Fatalf("asked of %v", got)
	}
	d := aDossier()
	d.Offer = movedOn.offer
	must(t, b.deliver(&postv1.Address{Node: away, Service: "protection"}, d))
	b.passes(24 * time.Hour)
	if len(asked()) != 4 || len(b.list(nil)) != 1 {
		t.Fatalf("asked on, of %v", asked())
	}

	origin := newApp(t, home)
	origin.referred()
	want := func(nodes ...string) {
		t.Helper()
		for _, node := range []string{away, third} {
			must(t, origin.wants(&postv1.Address{Node: node, Service: "protection"}))
		}
		if got := origin.sentTo(); !slices.Equal(got, nodes) {
			t.Fatalf("sent to %v, want %v", got, nodes)
		}
	}
	want()
	origin.hear("ready", ready)
	want(away, away) // the first by itself
	origin.event("referral.handover.refused.v1", &referralv1.HandoverRefused{Referral: referral, FromNode: home, Node: away})
	want(away, away)
	origin.hear("arrived", arrived)
	origin.tell(movedOn)
	want(away, away, third)
	origin.tell(chain{state: completed, seq: 21, owner: third, care: third, to: third, giver: away, owners: []string{home, away, third}})
	want(away, away, third)
	if err := origin.wants(&postv1.Address{Node: third, Service: "referral"}); err == nil {
		t.Fatal("another service is answered")
	}
}

// A dossier whose referral nobody here hears of is not kept for ever.
func TestUnclaimedDossier(t *testing.T) {
	b := newApp(t, away)
	b.referral.set(answers)
	must(t, b.deliver(fromHome, aDossier()))
	b.passes(13 * 24 * time.Hour)
	if b.dossier().GetReceiveTime() == nil {
		t.Fatal("dropped too soon")
	}
	b.passes(24 * time.Hour)
	b.unreadable()
	if got := b.reports(); !slices.Equal(got, []string{"OFFER_ENDED"}) {
		t.Fatalf("told %v", got)
	}
}
