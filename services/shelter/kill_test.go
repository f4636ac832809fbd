package shelter_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/soaktest"
	"amanat.example/services/shelter"
)

const (
	killedShelter = "nodes/punjab/shelters/lahore"
	killedGroups  = 3
	killedBeds    = 12 // fewer than the callers would like
	killedCallers = 8
)

// program is the real shelterd, killed and started again.
type program struct {
	path, root, address string
	running             *exec.Cmd
	log                 *os.File
}

func newProgram(t *testing.T) *program {
	t.Helper()
	root := t.TempDir()
	if err := identity.InitNetwork(identity.Options{
		Root: root, Node: "punjab", DisplayName: "Punjab", Province: "PK-PB", Services: []string{"shelter", "referral", "gateway"},
	}); err != nil {
		t.Fatal(err)
	}
	p := &program{path: filepath.Join(t.TempDir(), "shelterd"), root: root, address: freeAddress(t)}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", p.path, "amanat.example/services/cmd/shelterd").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p.log = log
	t.Cleanup(func() {
		if p.running != nil {
			_ = p.running.Process.Kill()
			_ = p.running.Wait()
		}
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("shelterd said: %s", said)
		}
		_ = log.Close()
	})
	return p
}

// freeAddress lies below the range from which the kernel takes ports for outgoing connections: it must stay free while shelterd
// is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		if l, err := net.Listen("tcp", address); err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

func (p *program) start(t *testing.T) {
	t.Helper()
	p.running = exec.CommandContext(context.Background(), p.path, "--data", p.root, "--node", "punjab", "--listen", p.address,
		"--nats-url", "tls://127.0.0.1:1", "--log-level", "error")
	p.running.Stdout, p.running.Stderr = p.log, p.log
	if err := p.running.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill ends it as a crash would, and judges what it left.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.running.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.running.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("shelterd ended by itself: %v", err)
	}
	p.running = nil
	files, err := shelter.Check(t.Context(), p.root, "punjab")
	if err != nil {
		t.Fatalf("after a kill: %v", err)
	}
	for _, f := range files {
		if err := f.Err(); err != nil {
			t.Errorf("after a kill, %s: %v", f.Path, err)
		}
	}
}

// promise is a hold as its caller last heard of it.
type promise struct {
	request *shelterv1.PlaceHoldRequest
	name    string
	fence   uint64
	state   shelterv1.Hold_State
	parts   [killedGroups]int32
}

// load is what the callers do, and what was acknowledged to them.
type load struct {
	holds    shelterv1.ShelterServiceClient
	stop     atomic.Bool
	acks     atomic.Int64
	admitted atomic.Int64
	unknown  atomic.Int64 // calls whose answer a kill took away

	gate sync.RWMutex // held by a caller through a step; taken whole to have all callers wait between two

	mu       sync.Mutex
	promises map[string]promise // by name
	changed  map[string]bool    // since they were last compared
}

// acknowledged notes what a caller was told.
func (l *load) acknowledged(p promise) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.promises[p.name], l.changed[p.name] = p, true
	l.acks.Add(1)
}

// insist repeats a call until shelterd has answered it, however often it dies meanwhile.
func (l *load) insist(ctx context.Context, call func(context.Context, ...grpc.CallOption) error) error {
	for {
		err := call(ctx, grpc.WaitForReady(true))
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
			return err
		}
		l.unknown.Add(1)
	}
}

// refusedIn is the state that a refusal names.
func refusedIn(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()["state"] + info.GetReason()
		}
	}
	return ""
}

// place holds beds of one group or two. It answers without a name when there is no room.
func (l *load) place(ctx context.Context, random *rand.Rand, key string) (p promise, err error) {
	needs := &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9}
	group := func(i int) string { return fmt.Sprintf("%s/groups/girls-%d", killedShelter, i) }
	first, quantity := random.IntN(killedGroups), random.Int32N(2)+1
	p.request = &shelterv1.PlaceHoldRequest{Group: group(first), Quantity: quantity, Needs: needs, RequestId: key}
	p.parts[first] = quantity
	if random.IntN(2) == 0 {
		also := random.IntN(killedGroups)
		p.request.Also = []*shelterv1.Part{{Group: group(also), Quantity: 1, Needs: needs}}
		p.parts[also]++
	}
	err = l.insist(ctx, func(ctx context.Context, options ...grpc.CallOption) error {
		h, err := l.holds.PlaceHold(ctx, p.request, options...)
		p.name, p.fence, p.state = h.GetName(), h.GetFence().GetNumber(), h.GetState()
		return err
	})
	if refusedIn(err) == "REASON_NO_CAPACITY" {
		return promise{}, nil
	}
	return p, err
}

// step confirms, releases or fills a hold.
func (l *load) step(ctx context.Context, random *rand.Rand, p promise) (promise, error) {
	to := shelterv1.Hold_STATE_RELEASED
	switch n := random.IntN(20); {
	case p.state == shelterv1.Hold_STATE_HELD && n < 10:
		to = shelterv1.Hold_STATE_CONFIRMED
	case p.state == shelterv1.Hold_STATE_CONFIRMED && n == 0 && l.admitted.Add(1) <= 5: // nobody leaves again
		to = shelterv1.Hold_STATE_OCCUPIED
	}
	tries := 0
	err := l.insist(ctx, func(ctx context.Context, options ...grpc.CallOption) (err error) {
		tries++
		switch to {
		case shelterv1.Hold_STATE_CONFIRMED:
			_, err = l.holds.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: p.name}, options...)
		case shelterv1.Hold_STATE_OCCUPIED:
			_, err = l.holds.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: p.name}, options...)
		default:
			_, err = l.holds.ReleaseHold(ctx, &shelterv1.ReleaseHoldRequest{Name: p.name}, options...)
		}
		return err
	})
	// A release that is repeated, because a kill took its answer away, finds what it did itself.
	if tries > 1 && to == shelterv1.Hold_STATE_RELEASED && refusedIn(err) == "RELEASEDREASON_HOLD_ENDED" {
		err = nil
	}
	p.state = to
	return p, err
}

// call is one caller: it keeps a few holds, and places, confirms and releases until it is to stop.
func (l *load) call(ctx context.Context, caller int, random *rand.Rand) error {
	var live []promise
	for n := 0; !l.stop.Load(); n++ {
		var err error
		if live, err = l.once(ctx, random, live, fmt.Sprintf("request-%d-%d", caller, n)); err != nil {
			return err
		}
	}
	return nil
}

// once is one step of a caller who keeps these holds.
func (l *load) once(ctx context.Context, random *rand.Rand, live []promise, key string) ([]promise, error) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if len(live) < 4 && random.IntN(2) == 0 {
		p, err := l.place(ctx, random, key)
		if err != nil {
			return nil, fmt.Errorf("place: %w", err)
		}
		if p.name != "" {
			l.acknowledged(p)
			live = append(live, p)
		}
		return live, nil
	}
	if len(live) == 0 {
		return live, nil
	}
	i := random.IntN(len(live))
	p, err := l.step(ctx, random, live[i])
	if err != nil {
		return nil, fmt.Errorf("from %v to %v: %w", live[i].state, p.state, err)
	}
	l.acknowledged(p)
	live[i] = p
	if p.state != shelterv1.Hold_STATE_HELD && p.state != shelterv1.Hold_STATE_CONFIRMED {
		live = append(live[:i], live[i+1:]...)
	}
	return live, nil
}

// compare reads every hold of which something was acknowledged since the last time; all of them with all.
func (l *load) compare(t *testing.T, all bool) (compared int) {
	t.Helper()
	l.mu.Lock()
	var promises []promise
	for name, p := range l.promises {
		if all || l.changed[name] {
			promises = append(promises, p)
		}
	}
	clear(l.changed)
	l.mu.Unlock()
	for _, p := range promises {
		h, err := l.holds.GetHold(t.Context(), &shelterv1.GetHoldRequest{Name: p.name}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatalf("a hold acknowledged as %v is lost: %v", p.state, err)
		}
		if h.GetState() != p.state || h.GetFence().GetNumber() != p.fence {
			t.Fatalf("acknowledged as %v with fence %d, found as %v", p.state, p.fence, h)
		}
	}
	return len(promises)
}

// SIGKILL under load, again and again: what was acknowledged is there, in the state acknowledged; no bed is
// promised twice; every file that a kill leaves is whole.
func TestKilledUnderLoad(t *testing.T) {
	p := newProgram(t)
	p.start(t)
	manager := func() context.Context {
		signer, err := identity.Load(p.root, "punjab", "gateway")
		if err != nil {
			t.Fatal(err)
		}
		token, err := signer.IssueToken(&identityv1.PersonToken{
			Person: "nodes/punjab/workers/manager", Roles: []string{"shelter-manager"}, Purpose: "operations", Audience: []string{"shelter"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return rpc.WithPersonToken(t.Context(), token)
	}
	// Callers are back at once, so that the next kill need not wait for them.
	soon := grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1, MaxDelay: 20 * time.Millisecond}, MinConnectTimeout: 5 * time.Second,
	})
	gateway := shelterv1.NewShelterServiceClient(dial(t, p.root, "gateway", p.address, soon))
	shelter := &shelterv1.Shelter{DisplayName: "Lahore", District: "PK617"}
	for i := range killedGroups {
		shelter.Groups = append(shelter.Groups, &shelterv1.Group{
			Name: fmt.Sprint("girls-", i), Genders: []string{"Feminine"}, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: killedBeds,
		})
	}
	if _, err := gateway.CreateShelter(manager(), &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "lahore", Shelter: shelter},
		grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	taken := func() []*shelterv1.Group {
		s, err := gateway.GetShelter(manager(), &shelterv1.GetShelterRequest{Name: killedShelter}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range s.GetGroups() {
			if g.GetHeld()+g.GetOccupied() > killedBeds || g.GetAvailable() < 0 {
				t.Fatalf("overbooked: %v", g)
			}
		}
		return s.GetGroups()
	}

	l := &load{
		holds:    shelterv1.NewShelterServiceClient(dial(t, p.root, "referral", p.address, soon)),
		promises: map[string]promise{}, changed: map[string]bool{},
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	failed := make(chan error, killedCallers)
	for i := range killedCallers {
		callers.Go(func() {
			if err := l.call(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)))); err != nil {
				failed <- err
			}
		})
	}
	defer callers.Wait()
	defer cancel()
	random, kills, compared := rand.New(rand.NewPCG(seed, killedCallers)), 0, 0
	for range soaktest.Rounds(t, 20, 200) {
		enough := l.acks.Load() + random.Int64N(100) + 1
		for l.acks.Load() < enough {
			select {
			case err := <-failed:
				t.Fatal(err)
			case <-time.After(time.Duration(random.IntN(3000)) * time.Microsecond): // so that kills fall anywhere in a commit
			}
		}
		p.kill(t)
		p.start(t)
		kills++
		func() {
			l.gate.Lock() // what the kill cut off is answered by now
			defer l.gate.Unlock()
			compared += l.compare(t, false)
			taken()
		}()
	}
	l.stop.Store(true)
	callers.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	p.kill(t)
	p.start(t)
	l.settle(t, taken())
	p.kill(t)
	if l.acks.Load() == 0 || l.unknown.Load() == 0 || compared == 0 {
		t.Error("nothing was acknowledged, left without an answer or compared: the kills show nothing")
	}
	t.Logf("%d kills, %d holds, %d acknowledgements, %d answers lost, %d holds compared between kills", kills, len(l.promises), l.acks.Load(), l.unknown.Load(), compared)
}

// settle compares everything once nobody calls any more: each hold is in exactly the state acknowledged last, its key answers
// with it still, and the beds taken are those of these holds.
func (l *load) settle(t *testing.T, groups []*shelterv1.Group) {
	t.Helper()
	l.compare(t, true)
	var held, occupied [killedGroups]int32
	for _, p := range l.promises {
		again, err := l.holds.PlaceHold(t.Context(), p.request)
		if err != nil || again.GetName() != p.name {
			t.Fatalf("the key of %s answers with %v, %v", p.name, again, err)
		}
		for i, quantity := range p.parts {
			switch p.state {
			case shelterv1.Hold_STATE_HELD, shelterv1.Hold_STATE_CONFIRMED:
				held[i] += quantity
			case shelterv1.Hold_STATE_OCCUPIED:
				occupied[i] += quantity
			}
		}
	}
	for i, g := range groups {
		if g.GetHeld() != held[i] || g.GetOccupied() != occupied[i] {
			t.Errorf("%s: %d held, %d occupied; acknowledged were %d and %d", g.GetName(), g.GetHeld(), g.GetOccupied(), held[i], occupied[i])
		}
	}
}
