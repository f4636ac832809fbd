package simulation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc"
)

var errAway = status.Error(codes.Unavailable, "not now")

// lanes by their name in a subject.
var lanes = map[string]postv1.Lane{"urgent": postv1.Lane_LANE_URGENT, "bulk": postv1.Lane_LANE_BULK}

// readMail says from and for whom a message is, and what is in it.
func (w *World) readMail(m mail) mail {
	parts := strings.Split(m.subject, ".") // amanat.post.<to>.<service>.<lane>.<from>.<service>
	m.to, m.from = Place(places), placeOf(parts[5], parts[6])
	if parts[2] != Federal {
		m.to = placeOf(parts[2], parts[3])
	}
	var content postv1.Mail
	if err := proto.Unmarshal(m.data, &content); err != nil {
		w.t.Fatal(err)
	}
	if m.receipt = content.GetReceipt() != nil; m.receipt {
		return m
	}
	m.parcel = &postv1.ParcelHeader{}
	to := cheap{parts[2], parts[3]}
	plain, err := to.Open("amanat.post.parcel.v1", content.GetParcel().GetHeader(), content.GetParcel().GetSealed())
	var letters postv1.Letters
	if err := errors.Join(err, proto.Unmarshal(content.GetParcel().GetHeader(), m.parcel), proto.Unmarshal(plain, &letters)); err != nil {
		w.t.Fatal(err)
	}
	m.letters = letters.GetLetters()
	return m
}

func placeOf(node, service string) Place {
	n := slices.Index(Nodes[:], node)
	if service == "shelter" {
		return Shelter(n)
	}
	return Referral(n)
}

func (m mail) lane() string { return strings.Split(m.subject, ".")[4] }

// Parcels are what a service's post has to send to other nodes here, one for each link.
func (w *World) Parcels(id ID) []ID {
	k := w.states[id]
	if k.mailed {
		return k.mails
	}
	k.mailed = true
	s := w.open(id, 0, nil, "relay")
	w.Ran++
	for did, err := true, error(nil); did; {
		if did, _, err = s.referral.Post.Step(context.Background(), s.now); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, m := range s.wire.sent {
		m = w.readMail(m)
		switch {
		case m.to == Place(places):
		case len(m.letters) > 0:
			k.mails = append(k.mails, w.keepMail(m))
		default:
			k.greets = append(k.greets, w.keepMail(m))
		}
	}
	byLink := func(a, b ID) int { return cmp.Compare(w.messages[a].subject, w.messages[b].subject) }
	slices.SortStableFunc(k.greets, byLink) // the post writes receipts in no order
	if after := s.done(); after != id {
		w.t.Fatalf("the relay of %s changed its store", k.place)
	}
	return k.mails
}

// Greetings are the receipts and the parcels without letters with which a service's post compares marks after a start.
func (w *World) Greetings(id ID) []ID {
	w.Parcels(id)
	return w.states[id].greets
}

// Deliver has a service take a message in. receipt is what it answers, 0 for nothing.
func (w *World) Deliver(id, message ID, now uint16) (after, receipt ID, err error) {
	out := w.once(input{at: id, other: message, what: "deliver", now: now}, func() outcome {
		m := w.messages[message]
		seed := []any{"deliver", m.from.String()}
		for _, l := range m.letters {
			seed = append(seed, l.GetLetterId())
		}
		s := w.open(id, now, nil, seed...)
		problem := ""
		s.wire.boxes[lanes[m.lane()]] <- post.Message{
			Subject: m.subject, Data: m.data, Ack: func() {}, Nak: func(time.Duration) { problem = "it cannot be applied now" },
		}
		if _, _, err := s.referral.Post.Step(context.Background(), s.now); err != nil {
			problem = err.Error()
		}
		out := outcome{at: s.done(), err: problem}
		for _, sent := range s.wire.sent {
			if sent = w.readMail(sent); sent.receipt && !m.receipt && sent.to == m.from && sent.lane() == m.lane() {
				out.reply = w.keepMail(sent)
			}
		}
		return out
	})
	if out.err != "" {
		err = errors.New(out.err)
	}
	return out.at, out.reply, err
}

// everybody is who acts for a node: somebody with all roles that act.
func everybody(node int) *identityv1.PersonToken {
	return &identityv1.PersonToken{
		Person: "nodes/" + Nodes[node] + "/workers/one", Unit: Unit(node), Roles: []string{"case-worker", "supervisor", "shelter-manager", "focal-point"},
	}
}

// Unit is the unit of a node.
func Unit(node int) string { return "nodes/" + Nodes[node] + "/units/one" }

// Call has somebody call a service of one node, through its server. what names the call and how often it was made before, since
// all chance follows from that. An answer that changes nothing is no change.
func (w *World) Call(id ID, now uint16, what string, call func(ctx context.Context, as func(caller string) grpc.ClientConnInterface, now time.Time) error) (after ID, err error) {
	out := w.once(input{at: id, what: what, now: now}, func() outcome {
		s := w.open(id, now, nil, what)
		server := w.server(s)
		err := call(context.Background(), func(caller string) grpc.ClientConnInterface { return server.From(caller, everybody(s.place.Node())) }, s.now)
		out := outcome{at: s.done()}
		if err != nil {
			out.err = err.Error()
		}
		return out
	})
	if out.err != "" {
		err = errors.New(out.err)
	}
	return out.at, err
}

func (w *World) server(s *session) *rpc.Local {
	if s.referral != nil {
		return s.referral.Server
	}
	return s.shelter.Server
}

// chosen lets one command through; the others find nobody.
type chosen struct {
	grpc.ClientConnInterface
	id     string
	lost   bool // the answer is
	called bool
	asked  []string
}

func (c *chosen) Invoke(ctx context.Context, method string, request, reply any, options ...grpc.CallOption) error {
	out, _ := metadata.FromOutgoingContext(ctx)
	id := strings.Join(out.Get(rpc.RequestIDKey), "")
	c.asked = append(c.asked, id)
	if id != c.id {
		return errAway
	}
	c.called = true
	if err := c.ClientConnInterface.Invoke(ctx, method, request, reply, options...); err != nil || !c.lost {
		return err
	}
	return errAway
}

// Commands are those of a referral service that its shelter service may be asked now: the first of each subject.
func (w *World) Commands(id ID) []string {
	k := w.states[id]
	if k.queued {
		return k.queue
	}
	k.queued = true
	w.Ran++
	conn := &chosen{ClientConnInterface: away{}, id: "none"}
	s := w.open(id, 0, conn, "commands")
	for did, err := true, error(nil); did; {
		if did, err = s.referral.Commands.Step(context.Background()); err != nil {
			w.t.Fatal(err)
		}
	}
	slices.Sort(conn.asked)
	k.queue = slices.Compact(conn.asked)
	return k.queue
}

// Command has the shelter service carry out one command; lost says that its answer never comes.
func (w *World) Command(at, beds ID, command string, lost bool, now uint16) (afterAt, afterBeds ID) {
	what := "command " + command
	if lost {
		what += " lost"
	}
	out := w.once(input{at: at, other: beds, what: what, now: now}, func() outcome {
		house := w.open(beds, now, nil, "command", command, fmt.Sprint(w.states[beds].events)) // it may be carried out again
		conn := &chosen{ClientConnInterface: house.shelter.Server.From("referral", nil), id: command, lost: lost}
		s := w.open(at, now, conn, "result", command)
		for range len(w.Commands(at)) {
			if _, err := s.referral.Commands.Step(context.Background()); err != nil {
				w.t.Fatal(err)
			}
			if conn.called {
				break
			}
		}
		return outcome{at: s.done(), other: house.done()}
	})
	return out.at, out.other
}

// Follow has a referral service take in what its shelter service tells.
func (w *World) Follow(at, beds ID, now uint16) (after ID) {
	if told := w.states[beds]; w.states[at].events == told.events {
		if told.source == "" {
			told.source = w.storeOf(beds)
		}
		if told.events == 0 || told.source == w.states[at].source {
			return at
		}
	}
	return w.once(input{at: at, other: beds, what: "follow", now: now}, func() outcome {
		house := w.open(beds, now, nil, "follow")
		s := w.open(at, now, house.shelter.Server.From("referral", nil), "follow")
		if _, err := s.referral.Follower.Step(context.Background()); err != nil && status.Code(errors.Unwrap(err)) != codes.Unavailable {
			w.t.Fatal(err)
		}
		return outcome{at: s.done()}
	}).at
}

// storeOf names the life of a shelter's store, as its events do.
func (w *World) storeOf(beds ID) string {
	s := w.open(beds, 0, nil, "store")
	page, err := eventsv1.NewEventServiceClient(s.shelter.Server.From("referral", nil)).ListEvents(context.Background(), &eventsv1.ListEventsRequest{PageSize: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	return page.GetStoreId()
}

// Compare has a node's services compare live offers with holds.
func (w *World) Compare(at, beds ID, now uint16) (afterAt, afterBeds ID) {
	out := w.once(input{at: at, other: beds, what: "compare", now: now}, func() outcome {
		house := w.open(beds, now, nil, "compare")
		s := w.open(at, now, house.shelter.Server.From("referral", nil), "compare")
		out := outcome{}
		if _, err := s.referral.CompareWithShelter(context.Background()); err != nil {
			out.err = err.Error()
		}
		out.at, out.other = s.done(), house.done()
		return out
	})
	return out.at, out.other
}

// Fire has a service do what is due at a time.
func (w *World) Fire(id ID, now uint16) ID {
	return w.once(input{at: id, what: "fire", now: now}, func() outcome {
		s := w.open(id, now, nil, "fire", w.times[now].Format(time.RFC3339))
		if _, err := s.fire(); err != nil {
			w.t.Fatal(err)
		}
		return outcome{at: s.done()}
	}).at
}

func (s *session) fire() (time.Time, error) {
	if s.referral != nil {
		return s.referral.FireDeadlines(context.Background())
	}
	return s.shelter.EndDue(context.Background())
}
