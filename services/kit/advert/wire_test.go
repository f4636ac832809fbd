package advert_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/identity"
)

// network is a roster of three nodes, of which punjab listens.
type network struct {
	root    string
	sindh   *identity.Service
	reader  *advert.Reader
	another *identity.Service // another service of sindh
}

func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{root: t.TempDir()}
	var nodes []identity.Options
	for _, node := range []string{"punjab", "sindh", "balochistan"} {
		nodes = append(nodes, identity.Options{Root: n.root, Node: node, DisplayName: node, Province: "PK-PB", Services: []string{"shelter", "referral"}})
	}
	if err := identity.InitNetwork(nodes...); err != nil {
		t.Fatal(err)
	}
	n.sindh, n.another = n.load(t, "sindh", "shelter"), n.load(t, "sindh", "referral")
	var err error
	if n.reader, err = advert.NewReader("punjab", n.load(t, "punjab", "shelter").Keys()); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *network) load(t testing.TB, node, service string) *identity.Service {
	t.Helper()
	s, err := identity.Load(n.root, node, service)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func offer() *shelterv1.Advert {
	const name = "nodes/sindh/shelters/sukkur-girls"
	return &shelterv1.Advert{
		Shelter: name, Node: "sindh", Incarnation: 7, PublishTime: timestamppb.New(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)),
		DisplayName: "Sukkur girls", District: "PK723", Languages: []string{"snd"},
		Groups: []*shelterv1.AdvertGroup{{
			Group: name + "/groups/girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Free: 2,
			VouchTime: timestamppb.New(time.Date(2026, 3, 1, 7, 0, 0, 0, time.UTC)),
		}},
	}
}

// sign makes of an advert what travels, as a service.
func sign(t testing.TB, as *identity.Service, a *shelterv1.Advert) hub.Message {
	t.Helper()
	subject, data, err := advert.Sign(as.Keys(), a)
	if err != nil {
		t.Fatal(err)
	}
	return hub.Message{Subject: subject, Data: data}
}

// An advert is believed as it was signed, byte for byte.
func TestGoodAdvertIsBelieved(t *testing.T) {
	n := newNetwork(t)
	m := sign(t, n.sindh, offer())
	if m.Subject != "amanat.capacity.sindh.sukkur-girls" {
		t.Errorf("it travels on %s", m.Subject)
	}
	heard, verdict := n.reader.Read(m)
	if verdict != advert.Good || !proto.Equal(heard.Advert, offer()) {
		t.Fatalf("%s: %v", verdict, heard)
	}
	again, err := proto.Marshal(heard.Signed)
	if err != nil || !slices.Equal(again, m.Data) {
		t.Error("what is kept is not what came")
	}
}

// Whatever is wrong with an advert, it is not believed, and the verdict says why.
func TestBadAdvertIsNotBelieved(t *testing.T) {
	n := newNetwork(t)
	good := sign(t, n.sindh, offer())
	changed := func(change func(*shelterv1.Advert)) hub.Message {
		a := offer()
		change(a)
		return sign(t, n.sindh, a)
	}
	on := func(subject string, m hub.Message) hub.Message {
		m.Subject = subject
		return m
	}
	foreign := changed(func(a *shelterv1.Advert) {
		a.Shelter, a.Node, a.Groups = "nodes/balochistan/shelters/quetta", "balochistan", nil
	})
	flipped := slices.Clone(good.Data)
	flipped[len(flipped)/2] ^= 1
	for what, c := range map[string]struct {
		m    hub.Message
		want advert.Verdict
	}{
		"a byte is changed":                       {hub.Message{Subject: good.Subject, Data: flipped}, advert.BadSignature},
		"cut":                                     {hub.Message{Subject: good.Subject, Data: good.Data[:len(good.Data)-1]}, advert.Malformed},
		"nothing":                                 {hub.Message{Subject: good.Subject}, advert.Malformed},
		"too large":                               {hub.Message{Subject: good.Subject, Data: make([]byte, advert.MaxBytes+1)}, advert.TooLarge},
		"signed by another service of the node":   {sign(t, n.another, offer()), advert.BadSignature},
		"signed by another node":                  {sign(t, n.load(t, "balochistan", "shelter"), offer()), advert.BadSignature},
		"of another node, on that node's":         {foreign, advert.BadSignature},
		"of another node, on its own":             {on("amanat.capacity.sindh.quetta", foreign), advert.BadName},
		"of another shelter":                      {on("amanat.capacity.sindh.larkana", good), advert.BadName},
		"on another node's subject":               {on("amanat.capacity.balochistan.sukkur-girls", good), advert.BadSignature},
		"from a node that the roster lacks":       {on("amanat.capacity.nowhere.sukkur-girls", good), advert.Unknown},
		"on a longer subject":                     {on(good.Subject+".more", good), advert.BadSubject},
		"on a shorter subject":                    {on("amanat.capacity.sindh", good), advert.BadSubject},
		"on a subject of the post":                {on("amanat.post.sindh.sukkur-girls", good), advert.BadSubject},
		"our own":                                 {on("amanat.capacity.punjab.sukkur-girls", good), advert.Own},
		"a node within that is not the shelter's": {changed(func(a *shelterv1.Advert) { a.Node = "sindh"; a.Shelter = "nodes/sindhi/shelters/x" }), advert.BadName},
		"no time":                                 {changed(func(a *shelterv1.Advert) { a.PublishTime = nil }), advert.BadRules},
		"a time that is none":                     {changed(func(a *shelterv1.Advert) { a.PublishTime.Nanos = -1 }), advert.BadRules},
		"a time before all":                       {changed(func(a *shelterv1.Advert) { a.Groups[0].VouchTime = &timestamppb.Timestamp{} }), advert.BadRules},
		"no name":                                 {changed(func(a *shelterv1.Advert) { a.DisplayName = "" }), advert.BadRules},
		"more free than can be":                   {changed(func(a *shelterv1.Advert) { a.Groups[0].Free = 1 << 20 }), advert.BadRules},
		"less than nothing free":                  {changed(func(a *shelterv1.Advert) { a.Groups[0].Free = -1 }), advert.BadRules},
		"another shelter's group":                 {changed(func(a *shelterv1.Advert) { a.Groups[0].Group = "nodes/sindh/shelters/larkana/groups/girls" }), advert.BadRules},
		"a group twice":                           {changed(func(a *shelterv1.Advert) { a.Groups = append(a.Groups, a.Groups[0]) }), advert.BadRules},
		"a security there is not":                 {changed(func(a *shelterv1.Advert) { a.Security = 99 }), advert.BadRules},
	} {
		if heard, verdict := n.reader.Read(c.m); verdict != c.want || heard != nil {
			t.Errorf("%s: %s, want %s", what, verdict, c.want)
		}
	}
}

// The roster is asked anew for each advert: one of a node that has left is worth nothing.
func TestNodeThatLeftIsNotBelieved(t *testing.T) {
	n := newNetwork(t)
	m := sign(t, n.sindh, offer())
	if _, verdict := n.reader.Read(m); verdict != advert.Good {
		t.Fatal(verdict)
	}
	retire(t, n.root, "sindh", "punjab", "balochistan")
	if _, verdict := n.reader.Read(m); verdict != advert.Unknown {
		t.Errorf("after sindh has left: %s", verdict)
	}
}

// retire has the others sign a roster without a node, and installs it with them.
func retire(t *testing.T, root, node string, others ...string) {
	t.Helper()
	roster, err := identity.LoadRoster(root, others[0])
	if err != nil {
		t.Fatal(err)
	}
	next, err := identity.NextRoster(roster.Log(), time.Now(), nil, map[string]identityv1.RosterNode_State{node: identityv1.RosterNode_STATE_RETIRED})
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range others {
		if err := identity.SignRoster(root, other, next); err != nil {
			t.Fatal(err)
		}
	}
	log := proto.CloneOf(roster.Log())
	log.Versions = append(log.Versions, next)
	for _, other := range others {
		if err := identity.InstallRoster(root, other, log); err != nil {
			t.Fatal(err)
		}
	}
}

// The largest advert that the rules allow can travel.
func TestLargestAdvertFits(t *testing.T) {
	n := newNetwork(t)
	a := offer()
	word := strings.Repeat("W", 60)
	a.Shelter = "nodes/sindh/shelters/" + strings.Repeat("s", 61)
	a.DisplayName, a.Groups = strings.Repeat("ش", 200), nil
	a.Languages = nil
	for range 30 {
		a.Services = append(a.Services, word)
	}
	for range 20 {
		a.Languages = append(a.Languages, "urd")
	}
	for i := range 50 {
		g := &shelterv1.AdvertGroup{
			Group: a.GetShelter() + "/groups/g" + strings.Repeat(string(rune('a'+i%26)), 20+i), UnitKind: shelterv1.Group_UNIT_KIND_BED, Free: 10_000, AgeTo: 120,
			VouchTime: offer().GetPublishTime(),
		}
		for range 6 {
			g.Genders = append(g.Genders, word)
		}
		for range 20 {
			g.Needs = append(g.Needs, word)
		}
		g.Group = g.GetGroup()[:min(len(g.GetGroup()), len(a.GetShelter())+len("/groups/")+61)]
		a.Groups = append(a.Groups, g)
	}
	m := sign(t, n.sindh, a)
	if _, verdict := n.reader.Read(m); verdict != advert.Good {
		t.Errorf("%d bytes: %s", len(m.Data), verdict)
	}
}

// A shelter service may publish for its own node and read with its own reader; no other service has a part in it.
func TestPermissions(t *testing.T) {
	want := []string{
		"amanat.capacity.sindh.*", "$JS.API.CONSUMER.INFO.CAPACITY.sindh_shelter", "$JS.API.CONSUMER.MSG.NEXT.CAPACITY.sindh_shelter",
		"$JS.ACK.CAPACITY.sindh_shelter.>",
	}
	if got := advert.Permissions("sindh", "shelter"); !slices.Equal(got, want) {
		t.Errorf("granted %v, want %v", got, want)
	}
	if got := advert.Permissions("sindh", "referral"); got != nil {
		t.Errorf("referral is granted %v", got)
	}
}

// Every message that travels as an advert says nothing of where a shelter is but its district: a field that is new is looked at here.
func TestAdvertSaysNothingElse(t *testing.T) {
	known := map[string]string{
		"Advert":      "shelter node incarnation publish_time display_name district confidential suspended full_until_time languages services wheelchair court_order_required schedule boys_with_mother_to_age largest_family medical_cover psychosocial_cover security longest_stay_days groups",
		"AdvertGroup": "group genders age_from age_to unit_kind with_mother needs free vouch_time",
		"Opening":     "weekday opens closes",
	}
	for _, m := range []proto.Message{&shelterv1.Advert{}, &shelterv1.AdvertGroup{}, &shelterv1.Opening{}} {
		d := m.ProtoReflect().Descriptor()
		for i := range d.Fields().Len() {
			if name := string(d.Fields().Get(i).Name()); !slices.Contains(strings.Fields(known[string(d.Name())]), name) {
				t.Errorf("%s.%s is told to all nodes: may it be?", d.Name(), name)
			}
		}
	}
}
