package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/post/posttest"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/kit/soaktest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/server"
	"amanat.example/services/referral/internal/store"
)

// chainWorld is punjab's referral service behind its real server, with its real post, on a disk that fails when it is told to.
type chainWorld struct {
	place               rpctest.Place
	self                *identity.Service
	keys                *privacy.Keyring
	lives               *rpctest.Switch
	gateway, protection referralv1.ReferralServiceClient
	engine              *kitstore.Memory
	life                *life
}

// life is the service between two crashes.
type life struct {
	db     *kitstore.DB
	failed chan struct{}
	end    func()
}

// noBeds is an outbox of which nobody has need: a service needs no bed.
type noBeds struct{}

func (noBeds) Queue(*kitstore.Tx, outbox.Command) error { return errors.New("a bed is asked for") }

func (noBeds) Wait(context.Context, string) error { return nil }

func newChainWorld(t testing.TB) *chainWorld {
	t.Helper()
	w := &chainWorld{place: rpctest.Place{Root: t.TempDir(), Node: "punjab", Service: "referral"}}
	must(t, identity.InitNetwork(
		identity.Options{Root: w.place.Root, Node: "punjab", Province: "PK-PB", Services: []string{"referral", "protection", "gateway"}},
		identity.Options{Root: w.place.Root, Node: "federal", Services: []string{"federal"}, Hub: true},
	))
	w.self = w.place.Load(t, "referral")
	var err error
	w.keys, err = privacy.OpenKeyring(context.Background(), privacy.Options{Dir: t.TempDir()})
	must(t, err)
	w.engine = kitstore.NewMemory()
	first, life := w.open(t)
	w.life = life
	address := w.place.Serve(t, server.Policy(), func(context.Context, rpc.Reading) error { return nil }, func(r grpc.ServiceRegistrar) {
		w.lives = rpctest.NewSwitch(r)
		referralv1.RegisterReferralServiceServer(w.lives, first)
	})
	w.gateway = referralv1.NewReferralServiceClient(w.place.Dial(t, address, "gateway"))
	w.protection = referralv1.NewReferralServiceClient(w.place.Dial(t, address, "protection"))
	t.Cleanup(func() {
		w.life.end()
		must(t, w.keys.Close())
	})
	return w
}

// open opens the service on its disk, and runs its post.
func (w *chainWorld) open(t testing.TB) (*server.Server, *life) {
	t.Helper()
	l := &life{failed: make(chan struct{})}
	db, err := kitstore.Open(context.Background(), kitstore.Options{
		Engine: w.engine, Schema: store.Schema, OnFatal: func(error) { close(l.failed) },
	})
	must(t, err)
	a := &app.App{
		DB: db, Node: w.place.Node, Now: time.Now, Random: rand.Reader, Signer: w.self.Keys(), Roster: w.self.Members(), Opener: w.self, Federal: "federal",
		NewID:  func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
		Limits: rules.DefaultLimits(), Annexes: app.Annexes{Keys: w.keys}, Events: store.Events, Feed: app.NewFeed(db),
		Tokens: paging.New([]byte("secret")), Log: logging.Discard(), Wake: func() {}, WakeRecovery: func() {}, Listened: func() bool { return true },
	}
	handlers := map[string]post.Handler{}
	for kind, apply := range a.Handlers() {
		handlers[kind] = func(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
			err := apply(tx, from, letter)
			if refused, ok := errors.AsType[*app.Refused](err); ok {
				t.Errorf("a letter within the node is refused: %s: %s", kind, refused.Reason)
			}
			return err
		}
	}
	letters, err := post.New(post.Config{
		Node: w.place.Node, Service: "referral", DB: db, Tables: store.Letters, Keys: w.self.Keys(), Handlers: handlers, Log: logging.Discard(),
		Transport: posttest.NewFake(0, posttest.Faults{Lose: 1}).Transport(t, w.place.Node, "referral"), // the federal cell is away
	})
	must(t, err)
	a.Post, a.Commands = letters, noBeds{}
	must(t, a.BeginRecovery(context.Background()))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- letters.Run(ctx) }()
	l.db, l.end = db, func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, kitstore.ErrFatal) {
			t.Errorf("the post ended: %v", err)
		}
		if err := db.Close(); err != nil && !errors.Is(err, kitstore.ErrFatal) {
			t.Error(err)
		}
	}
	return server.New(a), l
}

// crash cuts the power, and starts the service again. What was written but not synced is kept or not.
func (w *chainWorld) crash(t testing.TB, keep bool) {
	w.life.end()
	w.engine.Crash(keep)
	next, life := w.open(t)
	w.life = life
	referralv1.RegisterReferralServiceServer(w.lives, next)
}

// check holds that the store is sound.
func (w *chainWorld) check(t testing.TB) {
	t.Helper()
	report, err := w.life.db.Check(context.Background())
	must(t, errors.Join(err, report.Err()))
}

// knownReferral is what callers know of one.
type knownReferral struct {
	number int
	mu     sync.Mutex
	name   string
	tags   []string
	offers []string
}

// chronicle is what the callers of a round did.
type chronicle struct {
	*chainWorld
	t         testing.TB
	round     int
	begin     time.Time
	person    context.Context
	expires   *timestamppb.Timestamp
	referrals []*knownReferral

	outages *rpctest.Outages
	mu      sync.Mutex
	all     []porcupine.Operation
}

// note makes a call and writes it down. Whoever hears that the service failed waits until it is there again: then it is settled what became
// of the call.
func (c *chronicle) note(client int, in chainCall, do func() (chainAnswer, error)) chainAnswer {
	past, call := c.outages.Past(), time.Since(c.begin).Nanoseconds()
	out, err := do()
	if err != nil {
		out = chainAnswer{reason: status.Convert(err).Message()}
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				out.reason = info.GetReason() + " " + info.GetMetadata()["state"]
			}
		}
	}
	if strings.HasPrefix(out.reason, "REASON_UNAVAILABLE") {
		out = chainAnswer{unknown: true}
		c.outages.Unanswered(past)
	} else {
		c.outages.Called()
	}
	end := time.Since(c.begin).Nanoseconds()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
	return out
}

// shown is what a referral that is shown tells the model, and the callers.
func (k *knownReferral) shown(r *referralv1.Referral, err error) (chainAnswer, error) {
	if err != nil {
		return chainAnswer{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.name = r.GetName()
	if k.tags = append(k.tags, r.GetEtag()); len(k.tags) > 3 {
		k.tags = k.tags[1:]
	}
	for i, o := range r.GetOffers() {
		if i == len(k.offers) {
			k.offers = append(k.offers, o.GetName())
		}
	}
	return chainAnswer{sequence: r.GetSequence(), tag: r.GetEtag()}, nil
}

func (c *chronicle) submit(client int, k *knownReferral) {
	c.note(client, chainCall{op: opSubmit, referral: k.number, code: lahore}, func() (chainAnswer, error) {
		r, err := c.protection.SubmitReferral(context.Background(), &referralv1.SubmitReferralRequest{
			Parent: "nodes/punjab", Kind: custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, Service: "HEALTH",
			Urgency: custodyv1.Urgency_URGENCY_MEDIUM, Reasons: []string{"NO_LOCAL_BED"}, Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10},
			Ground: &referralv1.SubmitReferralRequest_Consent{Consent: &custodyv1.ConsentReceipt{
				Commitment: make([]byte, 32), Basis: "ORAL_ASSENT_AND_CAREGIVER", Purposes: []string{"PLACEMENT"}, RecordTime: c.expires,
			}},
			Unit: multan, ToUnit: lahore, RequestId: fmt.Sprintf("request-%d-%d", c.round, k.number),
			Actor: &custodyv1.Actor{Person: "nodes/punjab/workers/w", Unit: multan, Service: "protection"},
		})
		out, err := k.shown(r, err)
		out.name = r.GetName()
		return out, err
	})
}

var askedUnits = []string{lahore, "nodes/punjab/units/kasur", "nodes/punjab/units/okara"}

// pick chooses what a caller does next with a referral: mostly what leads on.
func pick[T any](random *mathrand.Rand, all ...T) T { return all[random.IntN(len(all))] }

// act does one thing with a referral that is known.
func (c *chronicle) act(client int, k *knownReferral, random *mathrand.Rand) {
	k.mu.Lock()
	name, tag := k.name, pick(random, k.tags...)
	if random.IntN(3) > 0 {
		tag = k.tags[len(k.tags)-1]
	}
	offer := len(k.offers) - 1 - random.IntN(min(2, len(k.offers)))
	offerName := k.offers[offer]
	k.mu.Unlock()
	in := chainCall{
		referral: k.number, offer: offer,
		op: pick(random, opSubmit, opOffer, opOffer, opOffer, opOffer, opAsk, opAsk, opAnswer, opAnswer, opAccept, opAccept, opDecline, opConfirm, opConfirm, opConfirm,
			opWithdraw, opChain, opChain),
	}
	if random.IntN(120) == 0 {
		in.op = opCancel
	}
	owner := func(call func() (*referralv1.Referral, error)) func() (chainAnswer, error) {
		return func() (chainAnswer, error) { return k.shown(call()) }
	}
	unit := func(call func() (*referralv1.Offer, error)) func() (chainAnswer, error) {
		return func() (chainAnswer, error) { _, err := call(); return chainAnswer{}, err }
	}
	var do func() (chainAnswer, error)
	switch in.op {
	case opSubmit:
		c.submit(client, k)
		return
	case opOffer:
		in.code, in.tag, in.offer = pick(random, askedUnits...), tag, 0
		do = owner(func() (*referralv1.Referral, error) {
			return c.gateway.OfferReferral(c.person, &referralv1.OfferReferralRequest{Name: name, ToUnit: in.code, Etag: tag})
		})
	case opAsk:
		in.code = pick(random, "HEALTH", "SAFETY")
		do = unit(func() (*referralv1.Offer, error) {
			return c.gateway.AskQuestion(c.person, &referralv1.AskQuestionRequest{Name: offerName, Topic: in.code})
		})
	case opAnswer:
		do = owner(func() (*referralv1.Referral, error) {
			return c.gateway.AnswerQuestion(c.person, &referralv1.AnswerQuestionRequest{Name: offerName, Note: "Well."})
		})
	case opAccept:
		do = unit(func() (*referralv1.Offer, error) {
			return c.gateway.AcceptOffer(c.person, &referralv1.AcceptOfferRequest{Name: offerName, Worker: &identityv1.WorkerContact{DisplayName: "Shazia", Phone: phone}})
		})
	case opDecline:
		in.code = pick(random, "NO_CAPACITY", "INELIGIBLE_AGE")
		do = unit(func() (*referralv1.Offer, error) {
			return c.gateway.DeclineOffer(c.person, &referralv1.DeclineOfferRequest{Name: offerName, Reason: in.code})
		})
	case opConfirm:
		do = owner(func() (*referralv1.Referral, error) {
			return c.gateway.ConfirmOffer(c.person, &referralv1.ConfirmOfferRequest{Name: offerName})
		})
	case opWithdraw:
		in.code = pick(random, "NOT_NEEDED", "OTHER_CHOSEN")
		do = owner(func() (*referralv1.Referral, error) {
			return c.gateway.WithdrawOffer(c.person, &referralv1.WithdrawOfferRequest{Name: offerName, Reason: in.code})
		})
	case opCancel:
		in.code, in.offer = pick(random, "FOUND_LOCALLY", "REUNIFIED"), 0
		do = owner(func() (*referralv1.Referral, error) {
			return c.gateway.CancelReferral(c.person, &referralv1.CancelReferralRequest{Name: name, Reason: in.code})
		})
	case opChain:
		c.read(client, k)
		return
	}
	if out := c.note(client, in, do); out.unknown && random.IntN(2) == 0 {
		c.note(client, in, do) // whoever was not answered asks again
	}
}

// read reads what the chain of a referral holds.
func (c *chronicle) read(client int, k *knownReferral) {
	k.mu.Lock()
	name := k.name
	k.mu.Unlock()
	c.note(client, chainCall{op: opChain, referral: k.number}, func() (chainAnswer, error) {
		chain, err := c.gateway.GetCustodyChain(c.person, &referralv1.GetCustodyChainRequest{Name: name})
		if err != nil {
			return chainAnswer{}, err
		}
		return chainAnswer{chain: strings.Join(eventsOf(c.t, chain.GetEvents()), ",")}, nil
	})
}

// eventsOf names the events of a chain as the model does, and holds that each names the one before it.
func eventsOf(t testing.TB, events []*custodyv1.SignedEvent) (names []string) {
	offers := map[string]int{}
	var before []byte
	for i, signed := range events {
		e := &custodyv1.Event{}
		if err := proto.Unmarshal(signed.GetEvent(), e); err != nil || e.GetSequence() != uint64(i)+1 || i > 0 && !bytes.Equal(e.GetPreviousHash(), before) {
			t.Errorf("event %d of a chain: %v", i, err)
		}
		hash := custody.HashOf(signed.GetEvent())
		before = hash.Bytes()
		name := string(e.ProtoReflect().WhichOneof(e.ProtoReflect().Descriptor().Oneofs().ByName("body")).Name())
		about := custody.OfferOf(e)
		switch {
		case e.GetOffered() != nil:
			offers[string(before)] = len(offers)
			about = before
		case e.GetConfirmed() != nil:
			about = e.GetConfirmed().GetOffer()
		case e.GetReplyRecorded() != nil:
			r := &custodyv1.Reply{}
			if err := proto.Unmarshal(e.GetReplyRecorded().GetReply().GetReply(), r); err != nil {
				t.Error(err)
			}
			name, about = name+" "+string(r.ProtoReflect().WhichOneof(r.ProtoReflect().Descriptor().Oneofs().ByName("body")).Name()), r.GetOffer()
		}
		if about != nil {
			name = fmt.Sprint(name, " ", offers[string(about)])
		}
		names = append(names, name)
	}
	return names
}

// caller submits its referral, as others do, and goes on with it. A submission that was not answered is made again.
func (c *chronicle) caller(client int, k *knownReferral, random *mathrand.Rand, steps int) {
	for range steps {
		k.mu.Lock()
		known := k.name != ""
		k.mu.Unlock()
		if !known {
			c.submit(client, k)
			continue
		}
		c.act(client, k, random)
	}
}

// round has callers work on new referrals while the service crashes, and says whether their answers have an order.
func (w *chainWorld) round(t testing.TB, round int, seed uint64, referrals, callers, steps int) (c *chronicle, crashes int, why string) {
	c = &chronicle{
		chainWorld: w, t: t, round: round, begin: time.Now(), expires: ahead(-time.Hour),
		outages: rpctest.NewOutages(w.engine, seed), person: rpc.WithPersonToken(context.Background(), w.place.Token(t, "supervisor", nil)),
	}
	for number := range referrals {
		c.referrals = append(c.referrals, &knownReferral{number: number})
	}
	done, ended := make(chan struct{}), make(chan int)
	go func() {
		ended <- c.outages.Run(done, func() <-chan struct{} { return w.life.failed }, func(keep bool) { w.crash(t, keep) })
	}()
	var all sync.WaitGroup
	for client := range referrals * callers {
		all.Go(func() {
			c.caller(client, c.referrals[client%referrals], mathrand.New(mathrand.NewPCG(seed, uint64(client+1))), steps)
		})
	}
	all.Wait()
	close(done)
	crashes = <-ended
	for _, k := range c.referrals {
		if k.name != "" {
			c.read(0, k)
		}
	}
	w.check(t)
	result, info := porcupine.CheckOperationsVerbose(oneChain, c.all, time.Minute)
	if result != porcupine.Ok {
		why = fmt.Sprintf("%s: %s", result, stuck(c.all, info)) // nothing stuck where there was no time for all
	}
	return c, crashes, why
}

// stuck is the longest order that was found for the answers about a referral, and the first call that has no place in it.
func stuck(all []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var text strings.Builder
	for i, part := range info.PartialLinearizationsOperations() {
		var longest []porcupine.Operation
		for _, one := range part {
			if len(one) > len(longest) {
				longest = one
			}
		}
		asked := 0
		for _, op := range all {
			if op.Input.(chainCall).referral == i {
				asked++
			}
		}
		if len(longest) == asked {
			continue
		}
		for _, op := range longest {
			fmt.Fprintf(&text, "%d-%d %s\n", op.Call, op.Return, oneChain.DescribeOperation(op.Input, op.Output))
		}
		for _, op := range all {
			if op.Input.(chainCall).referral == i && !slices.Contains(longest, op) {
				fmt.Fprintf(&text, "left: %d-%d %s\n", op.Call, op.Return, oneChain.DescribeOperation(op.Input, op.Output))
			}
		}
	}
	return text.String()
}

// Offers, questions, answers, acceptances, refusals, choices, withdrawals and cancellations of the same referrals by many callers at once,
// through the real server, while the letters between unit and owner go by the real post and the service loses its power between and within
// commits: every answer is one that they could have had one after the other, what was answered is never gone, and what was not answered was
// done once or not at all, however often it is asked again.
func TestChainsAreLinearizable(t *testing.T) {
	const referrals, callers, steps = 4, 4, 25
	w := newChainWorld(t)
	operations, unknown, crashed, byAnswer := 0, 0, 0, map[string]int{}
	rounds := 0
	for round := range soaktest.Until(t, 4000, 100_000, func() int { return operations }) {
		seed := mathrand.Uint64()
		c, crashes, why := w.round(t, round, seed, referrals, callers, steps)
		for _, op := range c.all {
			out := op.Output.(chainAnswer)
			if out.unknown {
				unknown++
			}
			byAnswer[opNames[op.Input.(chainCall).op]+" "+strings.TrimPrefix(out.reason, "REASON_")]++
		}
		if why != "" {
			t.Fatalf("round %d, seed %d: %d operations have no order:\n%s", round, seed, len(c.all), why)
		}
		operations += len(c.all)
		crashed += crashes
		rounds++
	}
	if crashed == 0 || unknown == 0 {
		t.Errorf("%d crashes, and %d calls without an answer: nothing is shown of a loss of power", crashed, unknown)
	}
	t.Logf("%d rounds, %d operations, %d of them without an answer in %d crashes; by kind and answer: %v", rounds, operations, unknown, crashed, byAnswer)
}

// Of a disk that says it has kept what it has not, the answers have no order: what was answered is gone.
func TestALyingDiskIsFoundOut(t *testing.T) {
	w := newChainWorld(t)
	for round := range 50 {
		w.engine.LieAboutSync(true)
		if _, _, why := w.round(t, round, uint64(round), 1, 5, 40); strings.HasPrefix(why, string(porcupine.Illegal)) {
			return
		}
		w.engine.LieAboutSync(false)
	}
	t.Error("histories on a lying disk have an order")
}
