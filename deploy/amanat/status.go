package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	postv1 "amanat.example/proto/amanat/post/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/identity"
)

var errNeedsPerson = errors.New("something needs a person; lines that begin with ! say what")

// waitsLong is from when on a letter that waits is somebody's business: the ends of a link compare their marks every hour, and
// where the hub is away for longer, letters can be carried by hand.
const waitsLong = time.Hour

func status() *cobra.Command {
	var data string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [NODE...]",
		Short: "Say how the services and links of running nodes stand, and what needs a person",
		Long: "Ask the services of the nodes under the data folder, or of those named, how they stand: whether each is ready, its incarnation and roster,\n" +
			"its links with other nodes, and how many deadlines were missed.\n" +
			"Exit code 0: all is well; 1: something needs a person, such as a service that is down, a link that was overtaken, letters in\n" +
			"quarantine or waiting for more than an hour, or a missed deadline of which the last step of the ladder was told.",
		RunE: func(cmd *cobra.Command, nodes []string) error {
			l, err := network.Load(data)
			if err != nil {
				return err
			}
			if len(nodes) > 0 {
				if l, err = l.Only(nodes...); err != nil {
					return err
				}
			}
			var all []nodeStatus
			for _, n := range l.Nodes {
				services, err := l.Status(cmd.Context(), n.Name)
				if err != nil {
					return err
				}
				roster, err := identity.LoadRoster(data, n.Name)
				if err != nil {
					return err
				}
				all = append(all, judge(n.Name, roster.Version(), services, time.Now()))
			}
			out := cmd.OutOrStdout()
			if asJSON {
				err = json.NewEncoder(out).Encode(struct {
					Nodes []nodeStatus `json:"nodes"`
				}{all})
			} else {
				err = showStatus(out, all, time.Now(), terminal(out))
			}
			if err == nil && slices.ContainsFunc(all, func(n nodeStatus) bool { return len(n.NeedsPerson) > 0 }) {
				err = errNeedsPerson
			}
			return err
		},
	}
	dataFlag(c, &data)
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return c
}

// nodeStatus is how a node stands, as --json tells of it.
type nodeStatus struct {
	Node string `json:"node"`
	// RosterVersion is the one that is installed; services take it up by themselves within a second or two.
	RosterVersion uint64          `json:"roster_version"`
	Services      []serviceStatus `json:"services"`
	// NeedsPerson says what needs a person; empty when nothing does.
	NeedsPerson []string `json:"needs_person"`
}

type serviceStatus struct {
	Service string `json:"service"`
	Up      bool   `json:"up"`
	Ready   bool   `json:"ready"`
	Why     string `json:"why,omitempty"` // it is not
	// What follows is not told of a gateway.
	StartTime         *time.Time `json:"start_time,omitempty"`
	Incarnation       uint64     `json:"incarnation,omitempty"`
	RosterVersion     uint64     `json:"roster_version,omitempty"`
	HubReached        *bool      `json:"hub_reached,omitempty"`
	MissedDeadlines   uint64     `json:"missed_deadlines"`
	UnheededDeadlines uint64     `json:"unheeded_deadlines"`
	AwaitedNodes      []string   `json:"awaited_nodes,omitempty"` // after a restore
	StuckInRecovery   uint64     `json:"stuck_in_recovery,omitempty"`
	DifferingDays     []string   `json:"differing_days,omitempty"` // of the federal cell
	// Of the federal cell, after a restore.
	PublicationsWithheld bool `json:"publications_withheld,omitempty"`
	// Of the shelter service, after a restore.
	UncountedShelters uint64       `json:"uncounted_shelters,omitempty"`
	Links             []linkStatus `json:"links,omitempty"`
}

type linkStatus struct {
	Node      string `json:"node"`
	Service   string `json:"service"`
	Lane      string `json:"lane"`
	Direction string `json:"direction"` // out or in
	Mark      uint64 `json:"mark"`
	// Letters that wait for a receipt, and since when the oldest of them does; out alone.
	Queued          uint64     `json:"queued_letters"`
	OldestQueueTime *time.Time `json:"oldest_queue_time,omitempty"`
	HeardTime       *time.Time `json:"heard_time,omitempty"`
	Quarantined     uint64     `json:"quarantined_letters"` // in alone
	Overtaken       bool       `json:"overtaken"`
	needs           bool       // a person
}

// judge says how a node stands, and what of it needs a person.
func judge(node string, roster uint64, services []network.ServiceStatus, now time.Time) nodeStatus {
	n := nodeStatus{Node: node, RosterVersion: roster, NeedsPerson: []string{}}
	for _, s := range services {
		at := node + "/" + s.Service
		needs := func(format string, values ...any) {
			n.NeedsPerson = append(n.NeedsPerson, at+": "+fmt.Sprintf(format, values...))
		}
		shown := serviceStatus{Service: s.Service, Up: s.Down == "", Ready: s.Down == "" && s.NotReady == "", Why: s.Down + s.NotReady}
		if !shown.Up {
			needs("it is down: %s", shown.Why)
		} else if !shown.Ready {
			needs("it is not ready: %s", shown.Why)
		}
		if told := s.Told; told != nil {
			shown.StartTime, shown.Incarnation, shown.RosterVersion = moment(told.GetStartTime()), told.GetIncarnation(), told.GetRosterVersion()
			shown.HubReached, shown.MissedDeadlines, shown.UnheededDeadlines = told.HubReached, told.GetMissedDeadlines(), told.GetUnheededDeadlines()
			if shown.RosterVersion != roster {
				needs("it goes by version %d of the roster, and version %d is installed: look again, then restart it", shown.RosterVersion, roster)
			}
			if shown.UnheededDeadlines > 0 {
				needs("%d missed deadlines are open of which the focal point was told", shown.UnheededDeadlines)
			}
			if shown.AwaitedNodes = told.GetAwaitedNodes(); len(shown.AwaitedNodes) > 0 {
				needs("it was restored, and older referrals stand still until these have told what it lost, or were excused: %s", strings.Join(shown.AwaitedNodes, ", "))
			}
			if shown.StuckInRecovery = told.GetStuckInRecovery(); shown.StuckInRecovery > 0 {
				needs("it was restored, and %d things that waited for what the others know cannot be done, by a fault of the program: their referrals stand still, and the service's log names them", shown.StuckInRecovery)
			}
			if shown.DifferingDays = told.GetDifferingDays(); len(shown.DifferingDays) > 0 {
				needs("the figures are not whole: what these services told of these days is not what is kept here, and is asked for again: %s",
					strings.Join(shown.DifferingDays, ", "))
			}
			if shown.PublicationsWithheld = told.GetPublicationsWithheld(); shown.PublicationsWithheld {
				needs("it was restored, and publishes nothing of the months that were over by then until an analyst has said what was published since the copy was made (POST /v1/publications:resume)")
			}
			if shown.UncountedShelters = told.GetUncountedShelters(); shown.UncountedShelters > 0 {
				needs("it was restored, and in %d shelters nobody has counted since: who came in at the door and who left after the backup is not in the books; "+
					"their managers count heads (POST /v1/nodes/%s/shelters/ID/headcounts), and enter or discharge whom the count shows", shown.UncountedShelters, node)
			}
			for _, l := range told.GetLinks() {
				shown.Links = append(shown.Links, judgeLink(l, now, needs))
			}
		}
		n.Services = append(n.Services, shown)
	}
	return n
}

var laneNames = map[postv1.Lane]string{postv1.Lane_LANE_URGENT: "urgent", postv1.Lane_LANE_BULK: "bulk"}

func judgeLink(l *statusv1.LinkStatus, now time.Time, needs func(format string, values ...any)) linkStatus {
	s := linkStatus{
		Node: l.GetPeer().GetNode(), Service: l.GetPeer().GetService(), Lane: laneNames[l.GetLane()], Direction: "in", Mark: l.GetMark(),
		Queued: l.GetQueuedLetters(), OldestQueueTime: moment(l.GetOldestQueueTime()), HeardTime: moment(l.GetHeardTime()),
		Quarantined: l.GetQuarantinedLetters(), Overtaken: l.GetOvertaken(),
	}
	with := fmt.Sprintf("%s/%s, %s", s.Node, s.Service, s.Lane)
	if l.GetOutgoing() {
		s.Direction = "out"
	}
	if s.Overtaken {
		s.needs = true
		needs("%s: the other end knows more of this store than it does itself: it was rolled back, or the other end is wrong", with)
	}
	if s.Quarantined > 0 {
		s.needs = true
		needs("%s: %d letters that came lie in quarantine and are tried again at every start and once a day: upgrade this node if it is older, else ask who sent them", with, s.Quarantined)
	}
	if s.OldestQueueTime != nil && now.Sub(*s.OldestQueueTime) > waitsLong {
		s.needs = true
		needs("%s: %d letters wait, the oldest for %s: look at the hub, or carry them by hand with amanat parcels", with, s.Queued, ago(s.OldestQueueTime, now))
	}
	return s
}

// moment is a time as it is told; nil is none.
func moment(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}

// ago says how long something is past, roughly, for people.
func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	switch d := now.Sub(*t); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	}
}

// showStatus prints all for people, and what needs one last. At a terminal that is red.
func showStatus(out io.Writer, all []nodeStatus, now time.Time, colour bool) error {
	var err error
	for _, n := range all {
		services := &table{colour: colour}
		services.row(false, n.Node, "", "up for", "incarnation", "roster", "hub", "missed deadlines")
		links := &table{colour: colour}
		for _, s := range n.Services {
			services.row(!s.Ready || s.UnheededDeadlines > 0 || len(s.AwaitedNodes) > 0, serviceRow(s, now)...)
			for _, l := range s.Links {
				if len(links.lines) == 0 {
					links.row(false, "  link", "lane", "heard", "mark", "queued", "oldest", "quarantine")
				}
				links.row(l.needs, linkRow(s.Service, l, now)...)
			}
		}
		end := &table{}
		end.row(false, "")
		err = errors.Join(err, services.print(out), links.print(out), end.print(out))
	}
	needs := &table{colour: colour}
	for _, n := range all {
		for _, what := range n.NeedsPerson {
			needs.row(true, "! "+what)
		}
	}
	return errors.Join(err, needs.print(out))
}

func serviceRow(s serviceStatus, now time.Time) []string {
	state := "ready"
	switch {
	case !s.Up:
		state = "DOWN"
	case !s.Ready:
		state = "NOT READY"
	}
	row := []string{"  " + s.Service, state}
	if s.StartTime == nil {
		return row
	}
	hub := "-"
	if s.HubReached != nil {
		hub = map[bool]string{true: "reached", false: "away"}[*s.HubReached]
	}
	missed := fmt.Sprint(s.MissedDeadlines)
	if s.UnheededDeadlines > 0 {
		missed += fmt.Sprintf(", unheeded %d", s.UnheededDeadlines)
	}
	return append(row, ago(s.StartTime, now), fmt.Sprint(s.Incarnation), fmt.Sprint(s.RosterVersion), hub, missed)
}

func linkRow(service string, l linkStatus, now time.Time) []string {
	arrow, queued, oldest, quarantined := "->", fmt.Sprint(l.Queued), "-", "-"
	if l.Direction == "in" {
		arrow, queued, quarantined = "<-", "-", fmt.Sprint(l.Quarantined)
	}
	if l.OldestQueueTime != nil {
		oldest = ago(l.OldestQueueTime, now)
	}
	if l.Overtaken {
		quarantined += " OVERTAKEN"
	}
	return []string{fmt.Sprintf("  %s %s %s/%s", service, arrow, l.Node, l.Service), l.Lane, ago(l.HeardTime, now), fmt.Sprint(l.Mark), queued, oldest, quarantined}
}
