package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	postv1 "amanat.example/proto/amanat/post/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
)

// well is a node with which all is well.
func well(now time.Time) []network.ServiceStatus {
	punjab := &postv1.Address{Node: "punjab", Service: network.Referral}
	at := func(before time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-before)) }
	return []network.ServiceStatus{
		{Service: network.Gateway},
		{Service: network.Referral, Told: &statusv1.Status{
			StartTime: at(26*time.Hour + 3*time.Minute), Incarnation: 1700, RosterVersion: 2, HubReached: proto.Bool(true), MissedDeadlines: 4,
			Links: []*statusv1.LinkStatus{
				{Peer: punjab, Lane: postv1.Lane_LANE_BULK, Outgoing: true, Mark: 7, QueuedLetters: 2, OldestQueueTime: at(59 * time.Minute), HeardTime: at(61 * time.Minute)},
				{Peer: punjab, Lane: postv1.Lane_LANE_URGENT, Mark: 12, HeardTime: at(3 * time.Second)},
			},
		}},
	}
}

// Each thing that needs a person is said, and nothing is where all is well; a link that is away for less than an hour is no alarm.
func TestStatusJudges(t *testing.T) {
	now := time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC)
	if n := judge("sindh", 2, well(now), now); len(n.NeedsPerson) > 0 || len(n.Services) != 2 || !n.Services[1].Ready {
		t.Fatalf("all is well: %+v", n)
	}
	for want, spoil := range map[string]func([]network.ServiceStatus){
		"sindh/gateway: it is down: no answer":               func(s []network.ServiceStatus) { s[0].Down = "no answer" },
		"sindh/referral: it is not ready: restored":          func(s []network.ServiceStatus) { s[1].NotReady = "restored" },
		"sindh/referral: it goes by version 1 of the roster": func(s []network.ServiceStatus) { s[1].Told.RosterVersion = 1 },
		"sindh/referral: 1 missed deadlines are open":        func(s []network.ServiceStatus) { s[1].Told.UnheededDeadlines = 1 },
		"sindh/referral: it was restored":                    func(s []network.ServiceStatus) { s[1].Told.AwaitedNodes = []string{"punjab"} },
		"sindh/referral: the figures are not whole": func(s []network.ServiceStatus) {
			s[1].Told.DifferingDays = []string{"punjab/referral 2026-11-26"}
		},
		"sindh/referral: it was restored, and 2 things":             func(s []network.ServiceStatus) { s[1].Told.StuckInRecovery = 2 },
		"sindh/referral: it was restored, and publishes nothing":    func(s []network.ServiceStatus) { s[1].Told.PublicationsWithheld = true },
		"sindh/referral: it was restored, and in 2 shelters nobody": func(s []network.ServiceStatus) { s[1].Told.UncountedShelters = 2 },
		"sindh/referral: punjab/referral, urgent: the other end":    func(s []network.ServiceStatus) { s[1].Told.Links[1].Overtaken = true },
		"sindh/referral: punjab/referral, urgent: 3 letters":        func(s []network.ServiceStatus) { s[1].Told.Links[1].QuarantinedLetters = 3 },
		"sindh/referral: punjab/referral, bulk: 2 letters wait": func(s []network.ServiceStatus) {
			s[1].Told.Links[0].OldestQueueTime = timestamppb.New(now.Add(-61 * time.Minute))
		},
	} {
		services := well(now)
		spoil(services)
		n := judge("sindh", 2, services, now)
		if len(n.NeedsPerson) != 1 || !strings.HasPrefix(n.NeedsPerson[0], want) {
			t.Errorf("needs %q, want %q", n.NeedsPerson, want)
		}
	}
}

// The table has its columns under each other, and colours at a terminal alone, for what needs a person.
func TestStatusTable(t *testing.T) {
	now := time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC)
	services := well(now)
	services[0].Down = "no answer"
	n := []nodeStatus{judge("sindh", 2, services, now)}
	show := func(colour bool) string {
		var out strings.Builder
		if err := showStatus(&out, n, now, colour); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	want := `sindh              up for      incarnation  roster  hub      missed deadlines
  gateway   DOWN
  referral  ready  26 h 3 min  1700         2       reached  4
  link                         lane    heard      mark  queued  oldest  quarantine
  referral -> punjab/referral  bulk    1 h 1 min  7     2       59 min  -
  referral <- punjab/referral  urgent  3 s        12    -       -       0

! sindh/gateway: it is down: no answer
`
	if got := show(false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	coloured := show(true)
	if strings.Count(coloured, red) != 2 || strings.ReplaceAll(strings.ReplaceAll(coloured, red, ""), plain, "") != want {
		t.Errorf("with colours:\n%q", coloured)
	}
}
