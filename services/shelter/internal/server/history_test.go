package server_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/kit/soaktest"
	kitstore "amanat.example/services/kit/store"
)

// What callers of a history do.
const (
	opPlace = iota
	opRenew
	opConfirm
	opRelease
	opAdmit
	opDischarge
	opSuspend
	opReopen
	opWait // the clock goes on by one tick, in every shelter
	opLook // what the shelter shows, when nobody calls any more
)

const (
	tick      = 30 * time.Minute
	holdTicks = 3 // the usual hold
	beds      = 3 // in each of the two groups
	closed    = "REASON_WRONG_STATE"
)

// step is what one caller asked, step of the model.
type step struct {
	op, shelter int
	hold        int    // which hold, by the number of the key that placed it
	part        int    // which of its stays
	quantity    [2]int // beds asked of each group
}

// answer is what the caller was told.
type answer struct {
	unknown bool   // the service failed meanwhile: the call was made before it was there again, or never
	reason  string // why not, with the state that the refusal names; empty: done
	name    string // of the hold, or of the stay that was admitted
	fence   uint64
	held    [2]int // shown by a look, as the next
	stayed  [2]int
}

// bedHold is a hold as the model has it. The zero value was never placed.
type bedHold struct {
	placed     bool
	state      shelterv1.Hold_State
	until      int // tick at which it runs out
	renewed    bool
	quantity   [2]int
	name, stay string
	discharged [2]bool
}

func (h bedHold) live() bool {
	return h.state == shelterv1.Hold_STATE_HELD || h.state == shelterv1.Hold_STATE_CONFIRMED
}

// taken is how many beds of a group it holds and occupies.
func (h bedHold) taken(group int) (held, stayed int) {
	switch {
	case h.live():
		return h.quantity[group], 0
	case h.state == shelterv1.Hold_STATE_OCCUPIED && !h.discharged[group]:
		return 0, h.quantity[group]
	}
	return 0, 0
}

// ended is how a refusal names a hold with which nothing more can be done.
func (h bedHold) ended() string {
	if h.state == shelterv1.Hold_STATE_OCCUPIED {
		return closed + " OCCUPIED"
	}
	return "REASON_HOLD_ENDED " + strings.TrimPrefix(h.state.String(), "STATE_")
}

// shelterState is one shelter of two groups. Steps copy it.
type shelterState struct {
	tick      int
	suspended bool
	fence     uint64
	holds     []bedHold
}

func (s shelterState) equal(o shelterState) bool {
	return s.tick == o.tick && s.suspended == o.suspended && s.fence == o.fence && slices.Equal(s.holds, o.holds)
}

func (s shelterState) taken() (held, stayed [2]int) {
	for _, h := range s.holds {
		for group := range 2 {
			a, b := h.taken(group)
			held[group] += a
			stayed[group] += b
		}
	}
	return held, stayed
}

// oneShelter is what a shelter of two groups may answer: which calls win, which are refused and why, and that fences grow.
// Expiry is not left to chance: time goes on by an operation of the history, and what has run out by then is gone.
var oneShelter = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var parts [][]porcupine.Operation
		for _, op := range history {
			for op.Input.(step).shelter >= len(parts) {
				parts = append(parts, nil)
			}
		}
		for _, op := range history {
			for i := range parts {
				if in := op.Input.(step); in.op == opWait || in.shelter == i {
					parts[i] = append(parts[i], op)
				}
			}
		}
		return parts
	},
	Init:  func() []any { return []any{shelterState{}} },
	Equal: func(a, b any) bool { return a.(shelterState).equal(b.(shelterState)) },
	Step: func(state, input, output any) (next []any) {
		s, in, out := state.(shelterState), input.(step), output.(answer)
		if out.unknown {
			next = append(next, s)
		}
		s.holds = slices.Clone(s.holds)
		for len(s.holds) <= in.hold {
			s.holds = append(s.holds, bedHold{})
		}
		if s.step(in, out) || out.unknown {
			next = append(next, s)
		}
		return next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}).ToModel()

// step does one step, and says whether the answer is the one that the shelter must give.
func (s *shelterState) step(in step, out answer) bool {
	switch in.op {
	case opPlace:
		return s.place(in, out)
	case opSuspend, opReopen:
		s.suspend(in.op == opSuspend)
		return out.reason == ""
	case opWait:
		s.tick++
		for i, h := range s.holds {
			if h.state == shelterv1.Hold_STATE_HELD && h.until <= s.tick {
				s.holds[i].state = shelterv1.Hold_STATE_EXPIRED
			}
		}
		return true
	case opLook:
		held, stayed := s.taken()
		return out.reason == "" && out.held == held && out.stayed == stayed
	case opDischarge:
		h := &s.holds[in.hold]
		h.discharged[in.part] = true // again with the same reason: no-op
		return out.reason == "" && h.state == shelterv1.Hold_STATE_OCCUPIED
	}
	return s.change(in, out)
}

func (s *shelterState) place(in step, out answer) bool {
	h := &s.holds[in.hold]
	if h.placed { // the key placed it before
		h.name = cmp.Or(h.name, out.name) // whoever placed it may have heard nothing
		return out.reason == "" && out.name == h.name
	}
	want := ""
	held, stayed := s.taken()
	for group, n := range in.quantity {
		if held[group]+stayed[group]+n > beds {
			want = "REASON_NO_CAPACITY "
		}
	}
	if s.suspended {
		want = closed + " SUSPENDED"
	}
	if want != "" || out.reason != "" {
		return out.reason == want
	}
	if !out.unknown && (out.name == "" || out.fence <= s.fence) {
		return false
	}
	s.fence = max(s.fence, out.fence)
	*h = bedHold{placed: true, state: shelterv1.Hold_STATE_HELD, until: s.tick + holdTicks, quantity: in.quantity, name: out.name}
	return true
}

func (s *shelterState) suspend(yes bool) {
	s.suspended = yes
	for i, h := range s.holds {
		if yes && h.live() {
			s.holds[i].state = shelterv1.Hold_STATE_RELEASED
		}
	}
}

// change is what is done with one hold.
func (s *shelterState) change(in step, out answer) bool {
	h := &s.holds[in.hold]
	want := ""
	held := h.state == shelterv1.Hold_STATE_HELD
	switch {
	case in.op == opAdmit && h.state == shelterv1.Hold_STATE_OCCUPIED:
		h.stay = cmp.Or(h.stay, out.name)
		return out.reason == "" && out.name == h.stay
	case !h.live():
		want = h.ended()
	case in.op == opConfirm:
		h.state = shelterv1.Hold_STATE_CONFIRMED
	case in.op == opRelease:
		h.state = shelterv1.Hold_STATE_RELEASED
	case in.op == opAdmit && held:
		want = closed + " HELD"
	case in.op == opAdmit:
		h.state, h.stay = shelterv1.Hold_STATE_OCCUPIED, out.name
	case !held:
		want = closed + " CONFIRMED"
	case h.renewed:
		want = closed + " HELD"
	case s.tick+holdTicks <= h.until:
		want = "REASON_INVALID_FIELD "
	default:
		h.renewed, h.until = true, s.tick+holdTicks
	}
	return out.reason == want
}

// placedHold is a hold that callers know of.
type placedHold struct {
	number   int
	name     string
	quantity [2]int
	stays    [2]string
}

// historyShelter is one shelter of a round, as its callers see it.
type historyShelter struct {
	number int
	name   string
	mu     sync.Mutex
	placed []*placedHold
	keys   int
}

// historian runs the callers of a round and writes down what they did.
type historian struct {
	*world
	clock    *handClock
	round    int
	begin    time.Time
	manager  context.Context
	shelters []*historyShelter
	outages  *rpctest.Outages
	mu       sync.Mutex
	history  []porcupine.Operation
}

// handClock is set by hand.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// note does a step and writes it down with its answer. Whoever hears that the service failed waits until it is there again.
func (h *historian) note(client int, in step, do func() (answer, error)) answer {
	past, call := h.outages.Past(), time.Since(h.begin).Nanoseconds()
	out, err := do()
	if err != nil {
		out = answer{reason: status.Convert(err).Message()}
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				out.reason = info.GetReason() + " " + info.GetMetadata()["state"]
			}
		}
	}
	if strings.HasPrefix(out.reason, "REASON_UNAVAILABLE") {
		out = answer{unknown: true}
		h.outages.Unanswered(past)
	} else {
		h.outages.Called()
	}
	end := time.Since(h.begin).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history = append(h.history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
	return out
}

// place holds beds of one group or both, sometimes with a key that was used before, also at the same time.
func (h *historian) place(client int, s *historyShelter, random *rand.Rand) {
	s.mu.Lock()
	number := s.keys
	if number > 0 && random.IntN(6) == 0 {
		number -= 1 + random.IntN(min(number, 3))
	} else {
		s.keys++
	}
	s.mu.Unlock()
	// The same key has the same body.
	body := rand.New(rand.NewPCG(uint64(h.round), uint64(number)))
	in := step{op: opPlace, shelter: s.number, hold: number}
	first := body.IntN(2)
	in.quantity[first] = 1 + body.IntN(2)
	needs := &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9}
	group := func(i int) string { return fmt.Sprintf("%s/groups/girls-%d", s.name, i) }
	request := &shelterv1.PlaceHoldRequest{
		Group: group(first), Quantity: int32(in.quantity[first]), Needs: needs, RequestId: fmt.Sprintf("%s-%d", s.name, number),
	}
	if body.IntN(2) == 0 {
		in.quantity[1-first] = 1
		request.Also = []*shelterv1.Part{{Group: group(1 - first), Quantity: 1, Needs: needs}}
	}
	out := h.note(client, in, func() (answer, error) {
		p, err := h.referral.PlaceHold(h.manager, request)
		return answer{name: p.GetName(), fence: p.GetFence().GetNumber()}, err
	})
	if out.reason != "" || out.unknown {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.placed, func(p *placedHold) bool { return p.number == number }) {
		s.placed = append(s.placed, &placedHold{number: number, name: out.name, quantity: in.quantity})
	}
}

// change does something with one of the last holds, so that several callers meet at the same.
func (h *historian) change(client int, s *historyShelter, random *rand.Rand) {
	s.mu.Lock()
	if len(s.placed) == 0 {
		s.mu.Unlock()
		return
	}
	p := s.placed[max(0, len(s.placed)-1-random.IntN(5))]
	stays := p.stays
	s.mu.Unlock()
	in := step{shelter: s.number, hold: p.number, op: []int{opConfirm, opConfirm, opRenew, opRelease, opAdmit, opAdmit, opDischarge, opDischarge}[random.IntN(8)]}
	if in.op == opDischarge {
		if in.part = random.IntN(2); stays[in.part] == "" {
			return
		}
	}
	h.note(client, in, func() (answer, error) {
		var err error
		switch in.op {
		case opConfirm:
			_, err = h.referral.ConfirmHold(h.manager, &shelterv1.ConfirmHoldRequest{Name: p.name})
		case opRenew:
			_, err = h.referral.RenewHold(h.manager, &shelterv1.RenewHoldRequest{Name: p.name})
		case opRelease:
			_, err = h.referral.ReleaseHold(h.manager, &shelterv1.ReleaseHoldRequest{Name: p.name})
		case opDischarge:
			_, err = h.gateway.DischargeStay(h.manager, &shelterv1.DischargeStayRequest{Name: stays[in.part], Reason: "REUNIFIED"})
		case opAdmit:
			var stay *shelterv1.Stay
			if stay, err = h.referral.AdmitHold(h.manager, &shelterv1.AdmitHoldRequest{Name: p.name}); err == nil {
				s.admitted(p, stay)
			}
			return answer{name: stay.GetName()}, err
		}
		return answer{}, err
	})
}

// admitted notes the stays of a hold by group.
func (s *historyShelter) admitted(p *placedHold, stay *shelterv1.Stay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := int(stay.GetGroup()[len(stay.GetGroup())-1] - '0')
	p.stays[first] = stay.GetName()
	if companions := stay.GetCompanions(); len(companions) > 0 {
		p.stays[1-first] = companions[0]
	}
}

// call is one caller of one shelter.
func (h *historian) call(client int, s *historyShelter, random *rand.Rand, steps int) {
	for range steps {
		switch n := random.IntN(40); {
		case n == 0:
			h.note(client, step{op: opSuspend, shelter: s.number}, func() (answer, error) {
				_, err := h.gateway.SuspendShelter(h.manager, &shelterv1.SuspendShelterRequest{Name: s.name, Reason: "REPAIR"})
				return answer{}, err
			})
		case n < 4:
			h.note(client, step{op: opReopen, shelter: s.number}, func() (answer, error) {
				_, err := h.gateway.ReopenShelter(h.manager, &shelterv1.ReopenShelterRequest{Name: s.name})
				return answer{}, err
			})
		case n == 4:
			h.note(client, step{op: opWait}, func() (answer, error) {
				h.clock.add(tick)
				return answer{}, h.fire()
			})
		case n < 18:
			h.place(client, s, random)
		default:
			h.change(client, s, random)
		}
	}
}

// fire ends what has run out, as the service does by itself, also when it loses its power meanwhile.
func (h *historian) fire() error {
	for {
		past := h.outages.Past()
		h.mu.Lock()
		now := h.app
		h.mu.Unlock()
		_, err := now.FireDue(h.manager)
		if !errors.Is(err, kitstore.ErrFatal) && !errors.Is(err, kitstore.ErrClosed) {
			return err
		}
		h.outages.Unanswered(past)
	}
}

// crash cuts the power, and starts the service again.
func (h *historian) crash(t *testing.T, keep bool) {
	if err := h.db.Close(); err != nil && !errors.Is(err, kitstore.ErrFatal) {
		t.Error(err)
	}
	h.engine.Crash(keep)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open(t)
	h.register()
}

// look writes down what a shelter shows at the end.
func (h *historian) look(s *historyShelter) {
	h.note(0, step{op: opLook, shelter: s.number}, func() (answer, error) {
		shown, err := h.gateway.GetShelter(h.manager, &shelterv1.GetShelterRequest{Name: s.name})
		if err != nil {
			return answer{}, err
		}
		out := answer{}
		for i, g := range shown.GetGroups() {
			out.held[i], out.stayed[i] = int(g.GetHeld()), int(g.GetOccupied())
		}
		return out, nil
	})
}

func (h *historian) shelter(t *testing.T, number int) {
	t.Helper()
	shelter := &shelterv1.Shelter{DisplayName: "Girls", District: "PK617"}
	for i := range 2 {
		shelter.Groups = append(shelter.Groups, &shelterv1.Group{
			Name: fmt.Sprint("girls-", i), Genders: []string{"Feminine"}, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: beds,
		})
	}
	s, err := h.gateway.CreateShelter(h.manager, &shelterv1.CreateShelterRequest{
		Parent: "nodes/punjab", ShelterId: fmt.Sprintf("round-%d-%d", h.round, number), Shelter: shelter,
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	h.shelters = append(h.shelters, &historyShelter{number: number, name: s.GetName()})
}

// round has callers work on new shelters while the service loses its power, and says whether their answers have an order.
func (w *world) round(t *testing.T, clock *handClock, round int, seed uint64, shelters, callers, steps int) (h *historian, crashes int, result porcupine.CheckResult) {
	t.Helper()
	h = &historian{
		world: w, clock: clock, round: round, begin: time.Now(), manager: w.token("shelter-manager"), outages: rpctest.NewOutages(w.engine, seed),
	}
	for number := range shelters {
		h.shelter(t, number)
	}
	done, ended := make(chan struct{}), make(chan int)
	go func() {
		ended <- h.outages.Run(done, func() <-chan struct{} { return w.failed }, func(keep bool) { h.crash(t, keep) })
	}()
	var all sync.WaitGroup
	for client := range shelters * callers {
		all.Go(func() {
			h.call(client, h.shelters[client%shelters], rand.New(rand.NewPCG(seed, uint64(client+1))), steps)
		})
	}
	all.Wait()
	close(done)
	crashes = <-ended
	for _, s := range h.shelters {
		h.look(s)
	}
	result, _ = porcupine.CheckOperationsVerbose(oneShelter, h.history, time.Minute)
	return h, crashes, result
}

// newHistories is a world whose disk and clock are in hand.
func newHistories(t *testing.T) (*world, *handClock) {
	clock := &handClock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	return newWorldOn(t, kitstore.NewMemory(), clock.Now), clock
}

// Holds, renewals, confirmations, releases, admissions, discharges, expiries and suspensions by many callers at once, through
// the real server, which loses its power between and within commits: every answer is one that they could have had one after the other, and
// what was answered is never gone.
func TestHistoriesAreLinearizable(t *testing.T) {
	const shelters, callers, steps = 3, 5, 20
	w, clock := newHistories(t)
	rounds, operations, unknown, crashed, refused := 0, 0, 0, 0, map[string]int{}
	for round := range soaktest.Until(t, 4000, 100_000, func() int { return operations }) {
		seed := rand.Uint64()
		h, crashes, result := w.round(t, clock, round, seed, shelters, callers, steps)
		for _, op := range h.history {
			out := op.Output.(answer)
			if out.unknown {
				unknown++
			}
			refused[fmt.Sprint(op.Input.(step).op, " ", out.reason)]++
		}
		if result != porcupine.Ok {
			t.Fatalf("round %d, seed %d: %d operations: %s; by kind and answer: %v", round, seed, len(h.history), result, refused)
		}
		rounds++
		operations += len(h.history)
		crashed += crashes
	}
	if crashed == 0 || unknown == 0 {
		t.Errorf("%d crashes, and %d calls without an answer: nothing is shown of a loss of power", crashed, unknown)
	}
	t.Logf("%d rounds, %d operations, %d of them without an answer in %d crashes; by kind and answer: %v", rounds, operations, unknown, crashed, refused)
}

// Of a disk that says it has kept what it has not, the answers have no order: what was answered is gone.
func TestALyingDiskIsFoundOut(t *testing.T) {
	w, clock := newHistories(t)
	for round := range 50 {
		w.engine.LieAboutSync(true)
		if _, _, result := w.round(t, clock, round, uint64(round), 1, 5, 40); result == porcupine.Illegal {
			return
		}
		w.engine.LieAboutSync(false)
	}
	t.Error("histories on a lying disk have an order")
}
