package e2e

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/clockjump"
	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/identity"
)

// clocks are those of the nodes of a country, each in all processes of its node.
type clocks struct {
	*country
	dir string
}

// startJumping runs the network with a clock for each node that can jump.
func startJumping(t *testing.T) *clocks {
	t.Helper()
	c := &clocks{newCountry(t), t.TempDir()}
	jumping := build(t, "amanat-clockjump", "amanat.example/deploy/amanat", "-tags", "clockjump", "-ldflags", "-checklinkname=0")
	for _, n := range c.layout.Nodes {
		c.jump(t, n.Name, 0)
	}
	c.open(t, func(p network.Part) []string {
		return []string{"env", clockjump.Variable + "=" + filepath.Join(c.dir, p.Node), jumping, "part", "--data", c.layout.Root, p.Node, p.Name}
	})
	return c
}

// jump has the clock of a node be wrong by so much from now on.
func (c *clocks) jump(t *testing.T, node string, ahead time.Duration) {
	t.Helper()
	must(t, clockjump.Set(filepath.Join(c.dir, node), ahead))
}

// park begins a way for each of some steps, one child after the other, and stops it after that step until all may go on.
func park(ctx context.Context, t *testing.T, c *country, steps ...string) (goOn func() []string) {
	t.Helper()
	open := make(chan struct{})
	names := make([]string, len(steps))
	var ways errgroup.Group
	for number, step := range steps {
		reached, failed := make(chan struct{}), make(chan error, 1)
		parked := false
		c.stage.Tell = func(format string, _ ...any) {
			if format == step && !parked { // one child alone is on its way
				parked = true
				close(reached)
				<-open
			}
		}
		ways.Go(func() (err error) {
			names[number], err = c.stage.Handover(ctx, number)
			failed <- err
			return err
		})
		select {
		case <-reached:
		case err := <-failed:
			t.Fatalf("a child came no further, before %q: %v", step, err)
		}
	}
	return func() []string {
		c.stage.Tell = func(string, ...any) {}
		close(open)
		must(t, ways.Wait())
		return names
	}
}

const ahead, behind = 3 * 24 * time.Hour, -3 * time.Hour

// While children are on their way the clocks of all processes of Punjab jump three days ahead and those of Balochistan three hours back, and
// later they are right again. Certificates and people's tokens that the wrong clock finds out of date are refused; what runs out by a wrong
// clock ends by an event of its owner and by nothing else; no other node believes the time it is told; and then all go on, without a
// restart, to the same reconciliation as ever.
func TestClocksJump(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skipf("clocks of processes are made to jump on linux/amd64 alone, not on %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	t.Parallel()
	c := startJumping(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	must(t, c.stage.Furnish(ctx, 6))
	goOn := park(ctx, t, c.country,
		"%s has stored the offer %s", // an offer that nobody has answered
		"%s confirms; %s promises the place: ready",
		"%s sends her on the way with an escort; %s owns the referral now")
	p := newPeople(t, c.layout)
	r := &canaries{people: p, t: t, ctx: ctx}
	unanswered, offer := fromSindh(r)
	const group = "nodes/punjab/shelters/lahore-girls/groups/girls-6-12"
	place := &shelterv1.PlaceHoldRequest{Group: group, Quantity: 1, RequestId: "a-hold-0001", Needs: needs()}
	placed, err := p.call(ctx, there, network.Referral, methodOf(t, place), place)
	must(t, err)
	hold := placed.(*shelterv1.Hold)

	for _, node := range []string{there, home} {
		must(t, c.offersOf(ctx, t, p, node)) // a connection that is open stays so
	}
	c.jump(t, there, ahead)
	c.jump(t, home, behind)
	c.refused(ctx, t, p)
	c.answerAhead(ctx, t, p, group, offer)
	// Who starts meanwhile starts with the wrong time: the hold has run out.
	killed := []network.Part{{Node: there, Name: network.Shelter}, {Node: there, Name: network.Referral}, {Node: home, Name: network.Shelter}}
	for _, part := range killed {
		c.supervisor.Kill(part)
	}
	c.expired(ctx, t, p, hold)
	c.unbelieved(ctx, t, p)

	c.jump(t, there, 0)
	c.jump(t, home, 0)
	names := goOn()
	killed = append(killed, c.outrun(r, unanswered, offer))
	for number := range 3 { // the hold that ran out has left its bed to the last of them
		name, err := c.stage.Handover(ctx, len(names)+number)
		must(t, err)
		names = append(names, name)
	}
	c.examine(ctx, t, names)
	eventually(t, "Sindh hears from Lahore at the right time that no bed is free", func() bool {
		heard := c.heard(ctx, t, p).GetAdvert()
		return heard.GetPublishTime().AsTime().Before(time.Now()) && heard.GetGroups()[0].GetFree() == 0
	})
	for _, p := range c.layout.Parts() {
		want := 0
		if slices.Contains(killed, p) {
			want = 1
		}
		if r := c.supervisor.Restarts(p); r != want {
			t.Errorf("%s was started again %d times, want %d", p, r, want)
		}
	}
	t.Logf("3 clocks jumped and were set right again, %d referrals", len(names))
	c.stop()
	c.sound(t)
}

// offersOf asks a node for its offers, for a person.
func (c *clocks) offersOf(ctx context.Context, t *testing.T, p *people, node string) error {
	t.Helper()
	request := &referralv1.ListOffersRequest{Parent: "nodes/" + node}
	_, err := p.call(ctx, node, network.Gateway, methodOf(t, request), request)
	return err
}

// refused: a token and a certificate are judged by the clock of whom they are shown to, be it right or not.
func (c *clocks) refused(ctx context.Context, t *testing.T, p *people) {
	t.Helper()
	for _, node := range []string{there, home} {
		if err := c.offersOf(ctx, t, p, node); status.Code(err) != codes.Unauthenticated {
			t.Errorf("a person's token of another time is answered by %s: %v", node, err)
		}
	}
	id, err := identity.Load(c.layout.Root, home, network.Gateway)
	must(t, err)
	conn, err := tls.Dial("tcp", c.layout.Address(home, network.Referral), id.ClientTLS(network.Referral))
	if err == nil { // the client is told afterwards
		_, err = conn.Read(make([]byte, 1))
		must(t, conn.Close())
	}
	if err == nil {
		t.Error("a certificate is taken three hours before it begins")
	}
}

// answerAhead accepts the open offer at Lahore, but one, as people do there whose gateway has the same wrong time.
func (c *clocks) answerAhead(ctx context.Context, t *testing.T, p *people, group, but string) {
	t.Helper()
	raw, code, err := p.fetch(ctx, there, http.MethodGet, "/v1/nodes/"+there+"/offers", nil)
	must(t, err)
	var list referralv1.ListOffersResponse
	if err := protojson.Unmarshal(raw, &list); err != nil || code != http.StatusOK {
		t.Fatalf("offers at Lahore: %d %v: %s", code, err, raw)
	}
	answered := 0
	for _, o := range list.GetOffers() {
		if o.GetState() != offered || o.GetName() == but {
			continue
		}
		request := &referralv1.AcceptOfferRequest{
			Name: o.GetName(), Group: group, Worker: &identityv1.WorkerContact{Worker: "nodes/" + there + "/workers/everyone", DisplayName: "Lahore", Phone: "+923001234567"},
		}
		path, body, err := route(methodOf(t, request), request)
		must(t, err)
		raw, code, err = p.fetch(ctx, there, http.MethodPost, path, body)
		if err != nil || code != http.StatusOK {
			t.Fatalf("accept at Lahore: %d %v: %s", code, err, raw)
		}
		answered++
	}
	if answered != 1 {
		t.Errorf("%d offers were open at Lahore, want one", answered)
	}
}

// fromSindh is a referral of Sindh's to Lahore, where nobody answers its offer.
func fromSindh(r *canaries) (referral, offer string) {
	r.t.Helper()
	request := r.submission("submit-0001", placement, "SHELTER")
	request.Parent, request.Unit, request.Note = "nodes/sindh", "nodes/sindh/units/karachi", "An order."
	request.GetOverride().Approver = "nodes/sindh/workers/everyone"
	request.Actor = &custodyv1.Actor{Person: "nodes/sindh/workers/everyone", Unit: request.GetUnit(), Service: network.Protection}
	reply, err := r.call(r.ctx, "sindh", network.Protection, methodOf(r.t, request), request)
	must(r.t, err)
	referral = reply.(*referralv1.Referral).GetName()
	return referral, r.offer(referral).GetName()
}

// outrun: the clock of who was asked has passed the time of an offer, and it stands; when the clock of its owner passes it, the owner says that
// the offer has run out, once. It answers what was killed for that.
func (c *clocks) outrun(r *canaries, referral, offer string) network.Part {
	r.t.Helper()
	state := func() custodyv1.OfferState {
		return ask[*referralv1.Offer](r, there, &referralv1.GetOfferRequest{Name: offer}).GetState()
	}
	if got := state(); got != offered {
		r.t.Errorf("the offer is %v at Lahore, and its owner has not said so", got)
	}
	owner := network.Part{Node: "sindh", Name: network.Referral}
	c.jump(r.t, owner.Node, ahead)
	c.supervisor.Kill(owner) // who starts looks at once
	eventually(r.t, "Lahore hears that the offer has run out", func() bool { return state() == custodyv1.OfferState_OFFER_STATE_EXPIRED })
	c.jump(r.t, owner.Node, 0)
	said := 0
	for _, signed := range ask[*custodyv1.Chain](r, owner.Node, &referralv1.GetCustodyChainRequest{Name: referral}).GetEvents() {
		e := &custodyv1.Event{}
		must(r.t, proto.Unmarshal(signed.GetEvent(), e))
		if e.GetOfferExpired() != nil && e.GetOwner() == owner.Node {
			said++
		}
	}
	if said != 1 {
		r.t.Errorf("the owner has said %d times that the offer ran out", said)
	}
	return owner
}

// expired waits until the hold has ended, and holds that its owner has said so, once.
func (c *clocks) expired(ctx context.Context, t *testing.T, p *people, hold *shelterv1.Hold) {
	t.Helper()
	said := func() (n int) {
		for after := uint64(0); ; {
			request := &eventsv1.ListEventsRequest{After: after}
			page, err := p.callAt(ctx, there, network.Shelter, network.Referral, methodOf(t, request), request)
			if away(err) { // it was just killed
				return 0
			}
			must(t, err)
			events := page.(*eventsv1.ListEventsResponse).GetEvents()
			if len(events) == 0 {
				return n
			}
			for _, e := range events {
				if after = e.GetPosition(); e.GetType() == "shelter.hold.expired.v1" && e.GetSubject() == hold.GetName() {
					n++
				}
			}
		}
	}
	eventually(t, "the hold runs out by its owner's clock", func() bool { return said() > 0 })
	if n := said(); n != 1 {
		t.Errorf("the owner has said %d times that the hold ran out", n)
	}
}

// unbelieved: Sindh, whose clock is right, has heard of Lahore's beds no later than now, whatever Lahore says.
func (c *clocks) unbelieved(ctx context.Context, t *testing.T, p *people) {
	t.Helper()
	eventually(t, "Lahore advertises three days ahead", func() bool {
		heard := c.heard(ctx, t, p)
		if heard.GetHearTime().AsTime().After(time.Now()) {
			t.Errorf("Sindh believes that it heard of Lahore at %v", heard.GetHearTime().AsTime())
		}
		return heard.GetAdvert().GetPublishTime().AsTime().After(time.Now().Add(ahead / 2))
	})
}

// heard is what Sindh has heard of Lahore's beds; nil when nothing.
func (c *clocks) heard(ctx context.Context, t *testing.T, p *people) *shelterv1.HeardAdvert {
	t.Helper()
	request := &shelterv1.ListAdvertsRequest{Parent: "nodes/sindh", Filter: &shelterv1.ListAdvertsRequest_Filter{Node: there}}
	reply, err := p.call(ctx, "sindh", network.Gateway, methodOf(t, request), request)
	must(t, err)
	all := reply.(*shelterv1.ListAdvertsResponse).GetAdverts()
	if len(all) != 1 {
		return nil
	}
	return all[0]
}
