package simulation

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
	"amanat.example/services/referral"
	"amanat.example/services/shelter"
)

type postMessage = post.Message

// house is a service of a node: its disk, and while it runs the service opened on it.
type house struct {
	c             *country
	node, service string
	number        int
	engine        *store.Memory
	older         *store.Memory // a copy of before; nil for none
	keys          *privacy.Keyring
	lot           *lot
	line          *line
	referral      *referral.Stepped
	shelter       *shelter.Stepped
	opened        int       // how often it was
	next          time.Time // when it works again
	compared      time.Time // heads
	matched       time.Time // offers and holds
	working       bool
}

func (h *house) String() string { return h.node + "/" + h.service }

func (h *house) down() bool { return h.referral == nil && h.shelter == nil }

var errLost = errors.New("power was lost")

// failed says that the store has failed under the service, which ends it.
func (h *house) failed() bool {
	if h.down() {
		return true
	}
	var err error
	if h.referral != nil {
		err = h.referral.Err()
	} else {
		err = h.shelter.Err()
	}
	if err != nil {
		h.crash()
	}
	return h.down()
}

// open starts the service.
func (h *house) open() {
	c := h.c
	h.opened++
	h.lot = &lot{seed: mark(h.String(), c.now.Format(time.RFC3339Nano), string(rune(h.opened)))}
	h.line = newLine(h)
	own := fellow{cheap{h.node, h.service}, c.nodes}
	clock := func() time.Time { return c.now }
	var err error
	if h.service == "referral" {
		h.referral, err = referral.OpenStepped(context.Background(), referral.Stepping{
			Node: h.node, Federal: Federal, Engine: h.engine, Keys: h.keys, Crypto: own, Roster: own, Transport: h.line,
			Shelter: unsteady{h}, Now: clock, Random: h.lot, NewID: h.lot.newID, Log: logging.Discard(),
		})
	} else {
		h.shelter, err = shelter.OpenStepped(context.Background(), shelter.Stepping{
			Node: h.node, Engine: h.engine, Keys: h.keys, Now: clock, NewID: h.lot.newID, Random: h.lot,
		})
	}
	if err != nil {
		c.breaks("OPEN: %s does not open: %v", h, err)
		return
	}
	h.compared, h.matched = time.Time{}, time.Time{}
	h.tick(0)
}

// crash is the loss of power: what was not synced may be there or not.
func (h *house) crash() {
	h.engine.Crash(h.c.odds(0.5))
	h.referral, h.shelter = nil, nil
	h.c.did["crashes"]++
	h.c.tell("%s is down", h)
	h.c.after(time.Second+h.c.about(10*time.Minute), h.open)
}

// tick has the service work after a while, unless it does before.
func (h *house) tick(wait time.Duration) {
	at := h.c.now.Add(wait)
	if !h.next.IsZero() && h.next.After(h.c.now) && !at.Before(h.next) {
		return
	}
	h.next = at
	h.c.after(wait, func() {
		if h.next.Equal(at) {
			h.next = time.Time{}
			h.work()
		}
	})
}

// work does all that there is to do now, and notes when there is more.
func (h *house) work() {
	if h.down() || h.working {
		return
	}
	h.working = true
	h.c.did["works"]++
	defer func() { h.working = false }()
	var next time.Time
	sooner := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	ctx, now := context.Background(), h.c.now
	check := func(what string, err error) bool {
		if h.failed() {
			return false
		}
		if err != nil && status.Code(err) != codes.Unavailable && !strings.Contains(err.Error(), errAway.Error()) {
			h.c.breaks("WORK: %s cannot %s: %v", h, what, err)
			return false
		}
		return true
	}
	if h.shelter != nil {
		at, err := h.shelter.EndDue(ctx)
		if !check("end what is due", err) {
			return
		}
		sooner(at)
	} else {
		r := h.referral
		for did, err := true, error(nil); did; {
			var at time.Time
			if did, at, err = r.Post.Step(ctx, now); !check("send and take letters", err) {
				return
			}
			if !did {
				sooner(at)
			}
		}
		for did, err := true, error(nil); did; {
			if did, err = r.Commands.Step(ctx); !check("ask the shelter", err) {
				return
			}
		}
		if _, err := r.Follower.Step(ctx); !check("follow the shelter", err) {
			return
		}
		if now.Sub(h.compared) >= time.Hour {
			h.compared = now
			if !check("compare heads", r.CompareHeads(ctx)) {
				return
			}
		}
		if now.Sub(h.matched) >= 15*time.Minute {
			h.matched = now
			if _, err := r.CompareWithShelter(ctx); !check("compare offers and holds", err) {
				return
			}
		}
		at, err := r.Recover(ctx)
		if !check("recover", err) {
			return
		}
		sooner(at)
		if at, err = r.FireDeadlines(ctx); !check("fire deadlines", err) {
			return
		}
		sooner(at)
		sooner(h.compared.Add(time.Hour))
		waiting, err := r.Waiting(ctx)
		if !check("count commands", err) {
			return
		}
		if waiting {
			sooner(now.Add(5 * time.Second))
		}
		if mine := h.letters(); mine { // what deadlines and answers have queued
			sooner(now.Add(time.Millisecond))
		}
	}
	if !next.IsZero() {
		h.tick(next.Sub(now))
	}
}

// letters says whether the post has something to send at once.
func (h *house) letters() bool {
	did, _, err := h.referral.Post.Step(context.Background(), h.c.now)
	return did && err == nil && !h.failed()
}

// token is somebody at the node with all roles that act.
func (h *house) token() *identityv1.PersonToken {
	return &identityv1.PersonToken{
		Person: "nodes/" + h.node + "/workers/one", Unit: unitOf(h.node), Roles: []string{"case-worker", "supervisor", "shelter-manager", "focal-point"},
	}
}

func unitOf(node string) string  { return "nodes/" + node + "/units/one" }
func groupOf(node string) string { return "nodes/" + node + "/shelters/house/groups/girls" }

// addressee is whose mailbox a subject names.
func (c *country) addressee(subject string) (*house, postv1.Lane) {
	parts := strings.Split(subject, ".") // amanat.post.<to>.<service>.<lane>.<from>.<service>
	return c.house(parts[2], parts[3]), lanes[parts[4]]
}
