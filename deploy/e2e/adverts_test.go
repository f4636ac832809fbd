package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post/posttest"
)

// provinces are shelter services of several nodes and the hub between them, each of which is stopped and started by itself.
type provinces struct {
	*people
	t     *testing.T
	stops map[network.Part]func()
}

const lahoreGirls = "nodes/punjab/shelters/lahore-girls"

var (
	theHub = network.Part{Node: network.FederalNode, Name: network.Hub}
	quetta = network.Part{Node: "balochistan", Name: network.Shelter}
	lahore = network.Part{Node: "punjab", Name: network.Shelter}
)

// newProvinces runs Lahore, which has one free bed for girls, Quetta, and the hub.
func newProvinces(t *testing.T) *provinces {
	t.Helper()
	l, err := network.Free(t.TempDir())
	must(t, err)
	l.LogLevel = "error"
	must(t, l.Init())
	p := &provinces{people: newPeople(t, l), t: t, stops: map[network.Part]func(){}}
	t.Cleanup(func() {
		for part := range p.stops {
			p.stop(part)
		}
	})
	for _, part := range []network.Part{theHub, lahore, quetta} {
		p.start(part)
	}
	answer[*shelterv1.Shelter](p, lahore.Node, network.Gateway, &shelterv1.CreateShelterRequest{
		Parent: "nodes/punjab", ShelterId: "lahore-girls", Shelter: &shelterv1.Shelter{
			DisplayName: "Lahore girls", District: "PK617", Address: "7 Hidden Lane", Groups: []*shelterv1.Group{{
				Name: "girls", Genders: []string{"Feminine"}, AgeTo: 18, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1,
			}},
		},
	})
	return p
}

func (p *provinces) start(part network.Part) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.layout.Run(ctx, part) }()
	p.stops[part] = func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Errorf("%s: %v", part, err)
		}
	}
}

func (p *provinces) stop(part network.Part) {
	p.stops[part]()
	delete(p.stops, part)
}

// answer calls a method at a node as one of its services.
func answer[A proto.Message](p *provinces, node, as string, request proto.Message) A {
	p.t.Helper()
	reply, err := p.call(p.t.Context(), node, as, methodOf(p.t, request), request)
	if err != nil {
		p.t.Fatalf("%T: %v", request, err)
	}
	return reply.(A)
}

// find searches in Quetta for a girl of nine.
func (p *provinces) find() *shelterv1.FindPlacesResponse {
	p.t.Helper()
	return answer[*shelterv1.FindPlacesResponse](p, quetta.Node, network.Gateway, &shelterv1.FindPlacesRequest{
		Parent: "nodes/balochistan", People: []*custodyv1.Needs{{Gender: "Feminine", AgeFrom: 9, AgeTo: 9}},
	})
}

// says is what Quetta's search says of Lahore: how many beds are free, else why it is left out.
func (p *provinces) says() string {
	p.t.Helper()
	found := p.find()
	for _, place := range found.GetPlaces() {
		if place.GetShelter() == lahoreGirls {
			return fmt.Sprint(place.GetGroups()[0].GetAvailable(), " free")
		}
	}
	for _, left := range found.GetLeftOut() {
		return left.GetCode()
	}
	return "nothing"
}

func (p *provinces) becomes(want string) {
	p.t.Helper()
	var got string
	eventually(p.t, "Quetta says of Lahore: "+want, func() bool {
		got = p.says()
		return got == want
	})
}

// heard is when Quetta last heard of Lahore.
func (p *provinces) heard() time.Time {
	p.t.Helper()
	listed := answer[*shelterv1.ListAdvertsResponse](p, quetta.Node, network.Gateway, &shelterv1.ListAdvertsRequest{Parent: "nodes/balochistan"})
	if len(listed.GetAdverts()) != 1 || listed.GetAdverts()[0].GetAdvert().GetShelter() != lahoreGirls {
		p.t.Fatalf("Quetta lists %v", listed)
	}
	return listed.GetAdverts()[0].GetHearTime().AsTime()
}

// hold takes Lahore's only bed, as referral does.
func (p *provinces) hold(request string) *shelterv1.Hold {
	p.t.Helper()
	return answer[*shelterv1.Hold](p, lahore.Node, network.Referral, &shelterv1.PlaceHoldRequest{
		Group: lahoreGirls + "/groups/girls", Quantity: 1, RequestId: request, Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9},
	})
}

func (p *provinces) release(h *shelterv1.Hold) {
	p.t.Helper()
	answer[*shelterv1.Hold](p, lahore.Node, network.Referral, &shelterv1.ReleaseHoldRequest{Name: h.GetName(), Etag: h.GetEtag()})
}

// counted is one of Quetta's counters of adverts.
func (p *provinces) counted(verdict advert.Verdict) string {
	p.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.layout.Address(quetta.Node, quetta.Name+"-admin")+"/metrics", nil)
	must(p.t, err)
	page, _, err := do(client, r)
	must(p.t, err)
	for line := range strings.Lines(string(page)) {
		if n, ok := strings.CutPrefix(line, `amanat_adverts_total{direction="in",verdict="`+string(verdict)+`"} `); ok {
			return strings.TrimSpace(n)
		}
	}
	return "0"
}

// Quetta finds Lahore's free bed, sees it go when it is held, learns that the shelter is suspended, and goes on with what it
// knows, and its age, when the hub is cut and when it is itself restarted meanwhile.
func TestProvincesSeeWhatIsFree(t *testing.T) {
	p := newProvinces(t)
	p.becomes("1 free")
	place := p.find().GetPlaces()[0]
	var told []string
	for _, why := range place.GetReasons() {
		told = append(told, why.GetSentence())
	}
	if place.GetNode() != "punjab" || place.GetDistrict() != "PK617" || !slices.Contains(told, "In Punjab's care: refer there; the bed is certain only once it is held.") {
		t.Errorf("the place is %v", place)
	}
	p.start(network.Part{Node: quetta.Node, Name: network.Gateway})
	eventually(t, "the gateway lists what other provinces say", func() bool {
		listed, code, err := p.fetch(t.Context(), quetta.Node, http.MethodGet, "/v1/nodes/balochistan/adverts?filter.node=punjab", nil)
		return err == nil && code == http.StatusOK && strings.Contains(string(listed), lahoreGirls) && !strings.Contains(string(listed), "Hidden")
	})
	held := p.hold("request-1")
	p.becomes("FULL")
	p.release(held)
	p.becomes("1 free")
	suspended := answer[*shelterv1.Shelter](p, lahore.Node, network.Gateway, &shelterv1.SuspendShelterRequest{Name: lahoreGirls, Reason: "REPAIR"})
	p.becomes("SUSPENDED")
	answer[*shelterv1.Shelter](p, lahore.Node, network.Gateway, &shelterv1.ReopenShelterRequest{Name: lahoreGirls, Etag: suspended.GetEtag()})
	p.becomes("1 free")

	p.stop(theHub)
	before := p.heard()
	held = p.hold("request-2")
	if got := p.says(); got != "1 free" {
		t.Errorf("with the hub away Quetta says %s", got)
	}
	p.stop(quetta)
	p.start(quetta)
	if got := p.says(); got != "1 free" {
		t.Errorf("restarted with the hub away, Quetta says %s", got)
	}
	if after := p.heard(); !after.Equal(before) {
		t.Errorf("heard of at %s, and with the hub away at %s", before, after)
	}
	p.start(theHub)
	p.becomes("FULL")
	p.release(held)
	p.becomes("1 free")
}

// jetstream is where the hub keeps its streams.
func (p *provinces) jetstream() string {
	return filepath.Join(p.layout.Root, network.FederalNode, network.Hub, "jetstream")
}

// A hub that is wiped learns everything again from those who know; one that is rolled back tells old things, and changes nothing.
func TestHubWipedAndRolledBack(t *testing.T) {
	p := newProvinces(t)
	p.becomes("1 free")

	p.stop(theHub)
	before := p.heard()
	must(t, os.RemoveAll(p.jetstream()))
	p.start(theHub)
	eventually(t, "Lahore is heard of again though nothing changed", func() bool { return p.heard().After(before) })

	p.stop(theHub)
	old := filepath.Join(t.TempDir(), "old")
	must(t, os.CopyFS(old, os.DirFS(p.jetstream())))
	must(t, forgetReaders(old))
	p.start(theHub)
	p.hold("request-1")
	p.becomes("FULL")
	p.stop(lahore) // it would tell what is true
	p.stop(theHub)
	before, superseded := p.heard(), p.counted(advert.Superseded)
	must(t, os.RemoveAll(p.jetstream()))
	must(t, os.CopyFS(p.jetstream(), os.DirFS(old)))
	p.start(theHub)
	eventually(t, "the old advert is delivered", func() bool { return p.counted(advert.Superseded) != superseded })
	if got := p.says(); got != "FULL" || !p.heard().Equal(before) {
		t.Errorf("after an old advert Quetta says %s, heard of at %s and then %s", got, before, p.heard())
	}
	t.Logf("the hub was wiped once and rolled back once; adverts that were superseded: %s before that, and then %s", superseded, p.counted(advert.Superseded))
}

// forgetReaders has a copy of the hub's files deliver everything again.
func forgetReaders(jetstream string) error {
	return filepath.WalkDir(jetstream, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || entry.Name() != "obs" {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return fs.SkipDir
	})
}

// Sindh can neither speak as Punjab nor read with another's reader: the hub refuses it, and what it publishes as itself of
// Punjab's shelters, or with a key that is not its own, is believed by nobody.
func TestForgedAdvertsAreRefused(t *testing.T) {
	p := newProvinces(t)
	p.becomes("1 free")
	sindh, err := p.identity("sindh", network.Shelter)
	must(t, err)
	other, err := p.identity("sindh", network.Referral)
	must(t, err)
	trust, err := sindh.HubTLS()
	must(t, err)
	name, challenge := sindh.HubNKey()
	refused := make(chan error, 16)
	conn, err := nats.Connect("tls://"+p.layout.Address(network.FederalNode, network.Hub), nats.Secure(trust), nats.Nkey(name, challenge),
		nats.CustomInboxPrefix("_INBOX.sindh.shelter"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	must(t, err)
	defer conn.Close()

	lie := &shelterv1.Advert{
		Shelter: lahoreGirls, Node: "punjab", Incarnation: 1 << 63, PublishTime: timestamppb.Now(), DisplayName: "Lahore girls", District: "PK617",
	}
	for _, subject := range []string{
		"amanat.capacity.punjab.lahore-girls",
		"amanat.capacity.sindh.lahore.girls",
		"$JS.API.CONSUMER.MSG.NEXT.CAPACITY.balochistan_shelter",
		"$JS.API.CONSUMER.CREATE.CAPACITY.mine",
		"$JS.API.CONSUMER.DELETE.CAPACITY.balochistan_shelter",
		"$JS.API.STREAM.MSG.GET.CAPACITY",
		"$JS.API.DIRECT.GET.CAPACITY",
		"$JS.API.STREAM.PURGE.CAPACITY",
		"$JS.ACK.CAPACITY.balochistan_shelter.1.1.1.1.1",
	} {
		_, data, err := advert.Sign(sindh.Keys(), lie)
		must(t, err)
		must(t, conn.Publish(subject, data))
		mustBeRefused(t, refused, "publish to "+subject)
	}
	for _, subject := range []string{"amanat.capacity.>", "amanat.capacity.punjab.*", "amanat.>"} {
		_, err := conn.SubscribeSync(subject)
		must(t, err)
		mustBeRefused(t, refused, "subscribe to "+subject)
	}

	own := &shelterv1.Advert{Shelter: "nodes/sindh/shelters/sukkur", Node: "sindh", PublishTime: timestamppb.Now(), DisplayName: "Sukkur", District: "PK723"}
	for _, forged := range []struct {
		as      *identity.Service
		what    *shelterv1.Advert
		verdict advert.Verdict
	}{
		{sindh, lie, advert.BadName},
		{other, own, advert.BadSignature},
	} {
		_, data, err := advert.Sign(forged.as.Keys(), forged.what)
		must(t, err)
		taken, err := conn.Request("amanat.capacity.sindh.sukkur", data, 5*time.Second)
		if err != nil || !strings.Contains(string(taken.Data), `"stream":"CAPACITY"`) {
			t.Fatalf("publishing as oneself: %v", err)
		}
		eventually(t, "Quetta counts it as "+string(forged.verdict), func() bool { return p.counted(forged.verdict) == "1" })
	}
	if got := p.says(); got != "1 free" {
		t.Errorf("after forged adverts Quetta says %s", got)
	}
}

// The stream keeps the last advert of each shelter and no other; full, it refuses shelters it does not know, and takes a newer advert that is no
// larger in the place of the older one.
func TestCapacityStream(t *testing.T) {
	h := startHub(t, posttest.Network(t))
	const room = 64 << 10
	must(t, advert.ProvisionHub(t.Context(), h.js, h.roster.Nodes(), room))
	state := func() jetstream.StreamState {
		stream, err := h.js.Stream(t.Context(), "CAPACITY")
		must(t, err)
		return stream.CachedInfo().State
	}
	publish := func(shelter string, size int, fill byte) error {
		_, err := h.js.Publish(t.Context(), "amanat.capacity.sindh."+shelter, []byte(strings.Repeat(string(rune(fill)), size)))
		return err
	}
	for fill := range byte(5) {
		must(t, publish("a", 1000, 'a'+fill))
	}
	if got := state(); got.Msgs != 1 {
		t.Fatalf("%d adverts of one shelter are kept", got.Msgs)
	}
	known := 1
	for ; publish(fmt.Sprint("s", known), 1000, 'x') == nil; known++ {
		if known > room/1000 {
			t.Fatal("the stream takes more than it has room for")
		}
	}
	must(t, publish("a", 1000, 'z')) // full, and of the same size
	if err := publish("a", 5000, 'y'); err == nil {
		t.Error("a larger advert is taken though there is no room")
	}
	if got := state(); got.Msgs != uint64(known) || got.Bytes > room {
		t.Errorf("%d adverts in %d bytes are kept, want %d", got.Msgs, got.Bytes, known)
	}
	stream, err := h.js.Stream(t.Context(), "CAPACITY")
	must(t, err)
	last, err := stream.GetLastMsgForSubject(t.Context(), "amanat.capacity.sindh.a")
	must(t, err)
	if last.Data[0] != 'z' {
		t.Errorf("kept is the advert of %q, not the newest that was taken", last.Data[0])
	}
	if err := publish("b", advert.MaxBytes+1, 'x'); err == nil {
		t.Error("an advert larger than any is taken")
	}

	sindh := &identityv1.RosterNode{Node: "sindh", State: identityv1.RosterNode_STATE_ACTIVE, Services: []*identityv1.RosterService{{Service: advert.Service}}}
	must(t, advert.ClearHub(t.Context(), h.js, []*identityv1.RosterNode{sindh}))
	if got := state(); got.Msgs != uint64(known) {
		t.Errorf("%d adverts of an active node are kept, want %d", got.Msgs, known)
	}
	sindh.State = identityv1.RosterNode_STATE_SUSPENDED
	must(t, advert.ClearHub(t.Context(), h.js, []*identityv1.RosterNode{sindh}))
	if got := state(); got.Msgs != 0 {
		t.Errorf("%d adverts of a suspended node are kept", got.Msgs)
	}
}
