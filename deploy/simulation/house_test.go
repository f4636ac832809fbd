package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
	"amanat.example/services/protection"
	"amanat.example/services/referral"
	"amanat.example/services/shelter"
)

type postMessage = post.Message

// house is a service of a node: its disk, and while it runs the service opened on it.
type house struct {
	c             *country
	node, service string
	name          string
	chance        *rand.Rand
	engine        *store.Memory
	copies        []*store.Memory // of before
	keys          *privacy.Keyring
	lot           *lot
	line          *line
	referral      *referral.Stepped
	shelter       *shelter.Stepped
	federal       *federal.Stepped
	protection    *protection.Stepped
	opened        int       // how often it was
	life          int       // grows when it is put back to an old copy
	unsure        bool      // it was put back, and does not know it yet
	next          time.Time // when it works again
	compared      time.Time // heads
	matched       time.Time // offers and holds
	tells         time.Time // the federal cell
	followed      int       // what the service that it follows had told
	comparedWith  int       // how often the referral service had been opened when cases were compared with it; zero for not yet
	// When there is something to do for each part, by its own clock; zero for not before something happens.
	mail, due, recover, follow, commands time.Time
	working                              bool
	putOff                               int // mail, since some was taken

	promised map[promised]uint64 // by receipts, in this life
	applied  map[string]bool     // letters by id, in this life
}

func (h *house) String() string { return h.name }

func (h *house) down() bool {
	return h.referral == nil && h.shelter == nil && h.federal == nil && h.protection == nil
}

// now is the time by the node's clocks.
func (h *house) now() time.Time { return h.c.now.Add(h.c.skew[h.node]) }

var errLost = errors.New("power was lost")

// failed says that the store has failed under the service, which ends it.
func (h *house) failed() bool {
	if h.down() {
		return true
	}
	var err error
	switch {
	case h.referral != nil:
		err = h.referral.Err()
	case h.shelter != nil:
		err = h.shelter.Err()
	case h.protection != nil:
		err = h.protection.Err()
	default:
		err = h.federal.Err()
	}
	if err != nil {
		h.loses(err)
	}
	return h.down()
}

// loses is a commit that was not synced, which ends the service. A store that fails for another reason has no excuse.
func (h *house) loses(err error) {
	if !errors.Is(err, errLost) {
		h.c.breaks("STORE: %s has failed, with power: %v", h, err)
	}
	h.c.did["commits not synced"]++
	h.crash(h.chance.Float64() < 0.5, about(h.chance, 10*time.Minute))
}

func (h *house) close() { h.referral, h.shelter, h.federal, h.protection = nil, nil, nil, nil }

// open starts the service.
func (h *house) open() {
	if !h.down() {
		return
	}
	c := h.c
	h.opened++
	h.lot = &lot{seed: mark(h.name, c.now.Format(time.RFC3339Nano), string(rune(h.opened)))}
	h.line = newLine(h)
	if h.promised == nil {
		h.promised, h.applied = map[promised]uint64{}, map[string]bool{}
	}
	switch err := h.start(h.engine); {
	case errors.Is(err, errLost):
		h.loses(err)
		return
	case err != nil:
		c.breaks("OPEN: %s does not open: %v", h, err)
		return
	}
	h.compared, h.matched, h.tells, h.followed, h.comparedWith = time.Time{}, time.Time{}, time.Time{}, 0, 0
	h.mail, h.due, h.recover, h.follow, h.commands = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	h.kept()
	h.tick(0)
}

func (h *house) start(engine *store.Memory) (err error) {
	ctx, own, resend := context.Background(), h.party(), backoff.Range{Min: 10 * time.Minute, Max: 4 * time.Hour}
	switch h.service {
	case "referral":
		h.referral, err = referral.OpenStepped(ctx, referral.Stepping{
			Node: h.node, Federal: Federal, Engine: engine, Keys: h.keys, Crypto: own.crypto, Roster: own.roster, Transport: h.line,
			Shelter: unsteady{h, "shelter"}, Now: h.now, Random: h.lot, NewID: h.lot.newID, Log: logging.Discard(), Resend: resend, Applied: h.apply,
			Listens: true,
		})
	case "shelter":
		h.shelter, err = shelter.OpenStepped(ctx, shelter.Stepping{
			Node: h.node, Engine: engine, Keys: h.keys, Now: h.now, NewID: h.lot.newID, Random: h.lot,
		})
	case "protection":
		h.protection, err = protection.OpenStepped(ctx, protection.Stepping{
			Node: h.node, Federal: Federal, Engine: engine, Keys: h.keys, Crypto: own.crypto, Roster: own.roster, Transport: h.line,
			Referral: unsteady{h, "referral"}, Now: h.now, Random: h.lot, NewID: h.lot.newID, Log: logging.Discard(), Resend: resend, Applied: h.apply,
		})
	default:
		h.federal, err = federal.OpenStepped(ctx, federal.Stepping{
			Node: h.node, Engine: engine, Crypto: own.crypto, Roster: own.roster, Transport: h.line, Now: h.now, Random: h.lot, Log: logging.Discard(), Resend: resend,
		})
	}
	return err
}

// crash is the loss of power: what was not synced may be there or not.
func (h *house) crash(keeps bool, long time.Duration) {
	h.engine.Crash(keeps)
	h.close()
	h.c.did["crashes"]++
	h.c.tell("%s is down", h)
	h.c.after(time.Second+long, h.open)
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

// work does all that there is to do now, and notes when there is more. What is woken is done, and what is due: so a wake that is forgotten is missed.
func (h *house) work() {
	if h.down() || h.working {
		return
	}
	h.working = true
	h.c.did["works"]++
	defer func() { h.working = false }()
	var err error
	switch {
	case h.shelter != nil:
		err = h.shelterWorks()
	case h.federal != nil:
		err = h.federalWorks()
	case h.protection != nil:
		err = h.protectionWorks()
	default:
		err = h.referralWorks()
		h.c.wake(h)
	}
	if h.failed() || h.learns() {
		return
	}
	if err != nil && status.Code(err) != codes.Unavailable && !strings.Contains(err.Error(), errAway.Error()) {
		h.c.breaks("WORK: %s cannot %v", h, err)
		return
	}
	if err != nil {
		h.tick(5 * time.Second)
		return
	}
	var next time.Time
	for _, at := range []time.Time{h.mail, h.due, h.recover, h.follow, h.commands, h.compared, h.matched, h.tells} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if !next.IsZero() {
		h.tick(max(next.Sub(h.now()), time.Millisecond))
	}
}

// How often services compare with each other what both should know. In production it is more often; what a simulated day has more of, it says again.
const (
	headsEvery = 6 * time.Hour
	matchEvery = 2 * time.Hour
	tellEvery  = 4 * time.Hour
)

func (h *house) shelterWorks() (err error) {
	if h.shelter.Woken() || isDue(h.due, h.now()) {
		h.due, err = h.shelter.EndDue(context.Background())
	}
	return wrap("end what is due", err)
}

func isDue(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// learns is how a service that finds that it was put back to an old copy begins a new life.
func (h *house) learns() bool {
	var one interface {
		RolledBack() uint64
		Raise(ctx context.Context, above uint64) error
	}
	switch {
	case h.referral != nil:
		one = h.referral
	case h.protection != nil:
		one = h.protection
	case h.federal != nil:
		one = h.federal
	case h.shelter != nil:
		one = h.shelter
	}
	if one == nil || one.RolledBack() == 0 {
		return false
	}
	h.c.did["found rolled back"]++
	h.c.tell("%s learns that it was rolled back", h)
	if err := one.Raise(context.Background(), one.RolledBack()); err != nil && !h.failed() {
		h.c.breaks("OPEN: %s cannot begin a new life: %v", h, err)
	}
	h.close()
	h.unsure = false
	h.open()
	return true
}

func (h *house) federalWorks() (err error) {
	ctx := context.Background()
	for did := true; did; {
		if did, h.mail, err = h.federal.Post.Step(ctx, h.now()); err != nil || h.failed() {
			return wrap("send and take letters", err)
		}
	}
	if h.due.IsZero() || isDue(h.due, h.now()) {
		if h.due, err = h.federal.AskAgain(ctx); err != nil || h.failed() {
			return wrap("ask for days", err)
		}
	}
	return nil
}

// referralWorks goes on until nothing is left that one part of the service has made for another.
func (h *house) referralWorks() error {
	ctx, now, r := context.Background(), h.now(), h.referral
	for again := true; again; {
		again = false
		for did, err := true, error(nil); did; {
			if did, h.mail, err = r.Post.Step(ctx, now); err != nil || h.failed() {
				return wrap("send and take letters", err)
			}
		}
		did, err := h.call()
		if err != nil || h.failed() {
			return wrap("ask the shelter", err)
		}
		again = again || did
		if did, err = h.followShelter(); err != nil || h.failed() {
			return wrap("follow the shelter", err)
		}
		again = again || did
		deadlines, recovery := r.Woken()
		if deadlines || isDue(h.due, now) {
			if h.due, err = r.FireDeadlines(ctx); err != nil || h.failed() {
				return wrap("fire deadlines", err)
			}
			again = true
		}
		if recovery || isDue(h.recover, now) {
			if h.recover, err = r.Recover(ctx); err != nil || h.failed() {
				return wrap("recover", err)
			}
			again = true
		}
		if !now.Before(h.compared) {
			h.compared = now.Add(headsEvery)
			if err := r.CompareHeads(ctx); err != nil || h.failed() {
				return wrap("compare heads", err)
			}
			again = true
		}
		if !now.Before(h.matched) {
			h.matched = now.Add(10 * time.Second)
			did, err := r.CompareWithShelter(ctx)
			if err != nil || h.failed() {
				return wrap("compare offers and holds", err)
			}
			if did {
				h.matched = now.Add(matchEvery)
			}
			again = true
		}
		if !now.Before(h.tells) {
			h.tells = now.Add(tellEvery)
			if err := r.Tell(ctx); err != nil || h.failed() {
				return wrap("tell what flows", err)
			}
			again = true
		}
	}
	return nil
}

// call asks the shelter what commands ask.
func (h *house) call() (any bool, err error) {
	ctx := context.Background()
	for did := true; did; any = any || did {
		if did, err = h.referral.Commands.Step(ctx); err != nil || h.failed() {
			return any, err
		}
	}
	h.commands = time.Time{}
	waiting, err := h.referral.Waiting(ctx)
	if waiting {
		h.commands = h.now().Add(5 * time.Second)
	}
	return any, err
}

// followShelter reads what the shelter has told. An event wakes who follows; the wake comes late, or is lost.
func (h *house) followShelter() (any bool, err error) {
	shelter := h.c.house(h.node, "shelter")
	if shelter.down() || shelter.told() == h.followed {
		return false, nil
	}
	told := shelter.told()
	for n := 1; n > 0; any = any || n > 0 {
		if n, err = h.referral.Follower.Step(context.Background()); err != nil || h.failed() {
			h.follow = h.now().Add(2 * time.Second)
			return any, err
		}
	}
	h.follow, h.followed = time.Time{}, told
	return any, nil
}

// told changes with all that a service commits.
func (h *house) told() int { return h.opened<<32 | h.engine.Commits() }

// token is somebody at the node with all roles that act.
func (h *house) token() *identityv1.PersonToken {
	return &identityv1.PersonToken{
		Person: "nodes/" + h.node + "/workers/one", Unit: unitOf(h.node), Roles: []string{"case-worker", "supervisor", "shelter-manager", "focal-point", "analyst", "federal-analyst"},
	}
}

func unitOf(node string) string  { return "nodes/" + node + "/units/one" }
func groupOf(node string) string { return "nodes/" + node + "/shelters/house/groups/girls" }

// addressee is whose mailbox a subject names.
func (c *country) addressee(subject string) (*house, postv1.Lane) {
	parts := strings.Split(subject, ".") // amanat.post.<to>.<service>.<lane>.<from>.<service>
	return c.house(parts[2], parts[3]), lanes[parts[4]]
}
