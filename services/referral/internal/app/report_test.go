package app_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
)

// closed are the nodes that say in a chain that reading ended there, with why.
func (net *network) closed(n *node, referral string) (all []string) {
	net.t.Helper()
	for _, l := range net.chain(n, referral).Links() {
		if recorded := l.Event.GetReplyRecorded().GetReply(); recorded != nil {
			reply, err := custody.OpenReply(n.Roster, recorded)
			must(net.t, err)
			if reply.GetDossierClosed() != nil {
				all = append(all, reply.GetNode()+" "+reply.GetDossierClosed().GetReason())
			}
		}
	}
	return all
}

func (n *node) reportClosed(referral, reason string) error {
	_, err := n.ReportDossierClosed(context.Background(), &referralv1.ReportDossierClosedRequest{
		Name: referral, Reason: reason, CloseTime: timestamppb.New(n.net.now.Add(-time.Minute)),
	})
	return err
}

// That reading ended stands in the chain once, whoever owns the referral by then, however often it is said, and the chain is sound.
func TestAClosedDossierStandsInTheChain(t *testing.T) {
	for name, c := range map[string]struct {
		before func(net *network, v *referralv1.Referral)
		by     string // who closes
		owner  string
	}{
		"an offer that was withdrawn": {func(net *network, v *referralv1.Referral) {
			must(net.t, net.nodes["balochistan"].withdraw(v.GetOffers()[0].GetName(), "NOT_NEEDED"))
		}, "punjab", "balochistan"},
		"a referral that was cancelled": {func(net *network, v *referralv1.Referral) {
			must(net.t, net.nodes["balochistan"].cancel(v.GetName()))
		}, "punjab", "balochistan"},
		"a former owner": {func(net *network, v *referralv1.Referral) {
			net.send(v.GetName(), "balochistan")
			net.arrived(v.GetName(), "punjab")
			net.onTo(v.GetName())
		}, "punjab", "sindh"},
		"the owner itself, of a person who did not come": {func(net *network, v *referralv1.Referral) {
			net.send(v.GetName(), "balochistan")
			_, err := net.nodes["punjab"].RecordNoShow(context.Background(), &referralv1.RecordNoShowRequest{Name: v.GetName()}, actor)
			must(net.t, err)
		}, "punjab", "punjab"},
	} {
		t.Run(name, func(t *testing.T) {
			net, _, _, _ := newOwnerNetwork(t)
			v := net.walk(promised)
			c.before(net, v)
			net.settle()
			net.again = true
			closer, owner := net.nodes[c.by], net.nodes[c.owner]
			for range 2 {
				must(t, closer.reportClosed(v.GetName(), "OFFER_ENDED"))
				net.settle()
			}
			if got := net.closed(owner, v.GetName()); len(got) != 1 || got[0] != c.by+" OFFER_ENDED" {
				t.Fatalf("the chain says %v", got)
			}
			if _, err := custody.Verify(owner.Roster, net.chain(owner, v.GetName()).Message().GetEvents(), nil); err != nil {
				t.Fatalf("the chain is not sound: %v", err)
			}
		})
	}
}

// What a node says of a referral while it is handed over to it reaches an owner that has handed over; it stands in the chain all the same,
// once, with what was written beside it.
func TestWhatCrossesTheHandoverStandsInTheChain(t *testing.T) {
	for _, restored := range []bool{false, true} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		net.again = true
		v := net.walk(promised)
		must(t, origin.dispatch(v.GetName()))
		before := len(origin.annexes(v.GetName()))
		must(t, punjab.reportClosed(v.GetName(), "CONSENT_ENDED"))
		_, err := punjab.ReportSafety(background, &referralv1.ReportSafetyRequest{Name: v.GetName(), Code: "THREAT", Note: theNote}, actor)
		must(t, err)
		_, err = punjab.WithdrawConsent(background, &referralv1.WithdrawConsentRequest{Name: v.GetName()}, actor)
		must(t, err)
		if restored {
			must(t, punjab.BeginRecovery(background))
		}
		net.settle()
		var said []string
		for _, l := range net.chain(origin, v.GetName()).Links() {
			if r := custody.Recorded(l.Event); l.Event.GetOwner() == "punjab" && r != nil {
				said = append(said, custody.ReplyName(r))
			}
		}
		if want := []string{"dossier closed", "safety information", "consent withdrawn"}; !slices.Equal(said, want) {
			t.Errorf("restored %v: the chain at the former owner says %q", restored, said)
		}
		if _, err := custody.Verify(origin.Roster, net.chain(origin, v.GetName()).Message().GetEvents(), nil); err != nil {
			t.Errorf("the chain is not sound: %v", err)
		}
		if got := net.chain(punjab, v.GetName()).State(); !got.ConsentEnded || got.Owner != "punjab" {
			t.Errorf("punjab sees %v, consent ended %v", got.Owner, got.ConsentEnded)
		}
		if n := len(origin.annexes(v.GetName())); n != before+1 {
			t.Errorf("%d annexes at the former owner, %d before", n, before)
		}
	}
}

func (net *network) send(referral, by string) {
	net.t.Helper()
	must(net.t, net.nodes[by].dispatch(referral))
	net.settle()
}

func (net *network) arrived(referral, at string) {
	net.t.Helper()
	must(net.t, net.nodes[at].arrive(referral))
	net.settle()
}

// onTo refers the person on from punjab to sindh, where they arrive.
func (net *network) onTo(referral string) {
	net.t.Helper()
	punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
	_, err := punjab.ask(referral, karachi)
	must(net.t, err)
	net.settle()
	sindh.accept(punjab.lastOffer(referral).GetName())
	net.settle()
	_ = punjab.confirm(punjab.lastOffer(referral).GetName()) // chosen by itself, where that is the node's policy
	net.settle()
	net.send(referral, "punjab")
	net.arrived(referral, "sindh")
}

// Who gives a person, and who owned the referral, is told with each step, so that the dossier goes the same way.
func TestWhoGivesIsTold(t *testing.T) {
	net, _, punjab, sindh := newOwnerNetwork(t)
	v := net.walk(inService)
	e := punjab.eventsOf("referral.referral.arrived.v1")[0].(*referralv1.ReferralChanged)
	if e.GetGiverNode() != "balochistan" || len(e.GetOwnerNodes()) != 2 || e.GetOwnerNodes()[0] != "balochistan" {
		t.Errorf("arrived: %v", e)
	}
	net.onTo(v.GetName())
	e = punjab.lastOf("referral.referral.ready.v1")
	if e.GetGiverNode() != "punjab" || e.GetToNode() != "sindh" || e.GetOwnerNode() != "punjab" {
		t.Errorf("promised further on: %v", e)
	}
	e = sindh.lastOf("referral.referral.arrived.v1")
	if e.GetGiverNode() != "punjab" || len(e.GetOwnerNodes()) != 3 || e.GetConsentEnded() {
		t.Errorf("arrived further on: %v", e)
	}
}

func (n *node) lastOf(kind string) *referralv1.ReferralChanged {
	all := n.eventsOf(kind)
	return all[len(all)-1].(*referralv1.ReferralChanged)
}

// The end of consent is written by the owner, and told to it by everybody else; twice is a no-op.
func TestReportedEndOfConsentReachesAll(t *testing.T) {
	for _, by := range []string{"balochistan", "punjab"} {
		net, origin, punjab, _ := newOwnerNetwork(t)
		v := net.walk(inService)
		for range 2 {
			_, err := net.nodes[by].ReportConsentEnded(context.Background(), &referralv1.ReportConsentEndedRequest{
				Name: v.GetName(), WithdrawTime: timestamppb.New(begunAt(net)), Actor: actor,
			})
			must(t, err)
			net.settle()
		}
		for _, n := range []*node{origin, punjab} {
			if !n.get(v.GetName()).GetConsentEnded() || n.told("referral.referral.consent-ended.v1", v.GetName()) != 1 {
				t.Errorf("by %s: %s sees %v", by, n.Node, n.get(v.GetName()))
			}
			e := n.eventsOf("referral.referral.consent-ended.v1")[0].(*referralv1.ReferralChanged)
			if !e.GetConsentEnded() {
				t.Errorf("told as %v", e)
			}
		}
	}
}

func begunAt(net *network) time.Time { return net.now.Add(-time.Minute) }

// A clock that runs ahead of this one, or was set back since, silences no word of the node's own protection service.
func TestReportsOfAClockThatRunsAhead(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	ahead := timestamppb.New(net.now.Add(time.Second))
	for range 2 {
		_, err := punjab.ReportDossierClosed(background, &referralv1.ReportDossierClosedRequest{Name: v.GetName(), Reason: "OFFER_ENDED", CloseTime: ahead})
		must(t, err)
		_, err = origin.ReportConsentEnded(background, &referralv1.ReportConsentEndedRequest{Name: v.GetName(), WithdrawTime: ahead, Actor: actor})
		must(t, err)
		net.settle()
	}
	if got := net.closed(origin, v.GetName()); len(got) != 1 || !net.chain(origin, v.GetName()).State().ConsentEnded {
		t.Errorf("the chain says %v", got)
	}
}

// While a restored node asks what it lost, a referral that it does not know is no reason to drop a word about it.
func TestReportsOfWhatIsNotBackYet(t *testing.T) {
	net := newNetwork(t)
	origin := net.nodes["balochistan"]
	before := origin.copy()
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	origin.restore(before, false, false)
	end := func() error {
		_, err := origin.ReportConsentEnded(background, &referralv1.ReportConsentEndedRequest{Name: v.GetName(), WithdrawTime: timestamppb.New(begunAt(net)), Actor: actor})
		return err
	}
	wrong(t, end(), fault.Recovering, "")
	net.heal()
	must(t, end())
	net.settle()
	if !net.chain(origin, v.GetName()).State().ConsentEnded {
		t.Error("consent stands")
	}
}

// What is not of a referral known here, or not of its list, changes nothing.
func TestWrongReports(t *testing.T) {
	net, origin, _, sindh := newOwnerNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	wrong(t, origin.reportClosed(v.GetName(), "NONE"), fault.UnknownCode, "reason")
	wrong(t, sindh.reportClosed(v.GetName(), "MOVED_ON"), fault.Missing, "")
	_, err := sindh.ReportConsentEnded(context.Background(), &referralv1.ReportConsentEndedRequest{Name: v.GetName(), WithdrawTime: timestamppb.New(net.now), Actor: actor})
	wrong(t, err, fault.Missing, "")
	if len(net.sent) != 0 {
		t.Errorf("%d letters leave", len(net.sent))
	}
}
