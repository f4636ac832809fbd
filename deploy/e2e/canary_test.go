package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

const (
	home, there = "balochistan", "punjab"
	homeUnit    = "nodes/balochistan/units/hub"
	awayUnit    = "nodes/punjab/units/lahore"
	beds        = "nodes/punjab/shelters/lahore-girls/groups/girls"
	offered     = custodyv1.OfferState_OFFER_STATE_RECEIVED
	testTimeout = 6 * time.Minute
)

// canaries is a run in which every marked field of every request holds one.
type canaries struct {
	*people
	t    *testing.T
	ctx  context.Context
	f    *flock
	told int // refusals that were searched
}

// Every marked field of every request is sent with a canary in it, in requests that are taken and
// in requests that are refused, over gRPC and through the gateway, from intake to outcome. Then no
// file, no log, no byte to or from a NATS server, no event, no list, no page and no refusal holds
// one. The fields come from the descriptors: a marked field that is never sent fails the test.
func TestCanaryInEveryMarkedField(t *testing.T) {
	if testing.Short() {
		t.Skip("needs half a minute of real processes; run without -short")
	}
	t.Parallel()
	c := newCountry(t)
	w := tap(t, c.layout)
	p := newPeople(t, c.layout)
	c.run(t, func(part network.Part) []string {
		root := c.layout.Root
		if part.Name == network.Bus || part.Name == network.Hub {
			root = w.root
		}
		return []string{c.amanat, "part", "--data", root, "--log-level", "debug", part.Node, part.Name}
	})
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	f := newFlock()
	f.provesItself(t, c.layout.Root)
	w.provesItself(t, c.layout)

	defer func() { // also when what follows is broken off
		c.stop()
		w.leaks(t, c.layout, f.searcher)
		logged(t, c.layout)
		f.searcher.leaks(t, c.layout.Root)
	}()
	r := &canaries{people: p, t: t, ctx: ctx, f: f}
	r.furnish()
	r.viaCase()
	r.viaService()
	r.viaDestination()
	r.viaOwner()
	r.viaAgency()
	if missing := f.owed(f.sent); missing != nil {
		t.Errorf("marked fields that no request carried; send them in this test:\n%s", strings.Join(missing, "\n"))
	}
	if missing := unreached(); missing != nil {
		t.Errorf("marked fields that no request can carry; say in this test what stands in them:\n%s", strings.Join(missing, "\n"))
	}
	if missing := f.owed(f.refused); missing != nil {
		t.Errorf("marked fields that no refused request carried; send them in this test:\n%s", strings.Join(missing, "\n"))
	}
	r.lists()
	r.pages()
	t.Logf("%d marked fields sent, %d refusals searched", len(f.sent), r.told)
}

// logged holds that the services' logs are among the files that are searched.
func logged(t *testing.T, l *network.Layout) {
	t.Helper()
	for _, part := range l.Parts() {
		log, err := os.ReadFile(filepath.Join(l.Root, "log", part.Node+"-"+part.Name+".log"))
		if err != nil {
			t.Error(err)
		} else if len(log) == 0 && slices.Contains(everyService, part.Name) {
			t.Errorf("%s logged nothing", part)
		}
	}
}

var everyService = []string{network.Protection, network.Referral, network.Shelter, network.Federal, network.Gateway}

// ask calls as a person and fails the test when it is refused.
func ask[A proto.Message](r *canaries, node string, request proto.Message) A {
	r.t.Helper()
	reply, err := r.call(r.ctx, node, network.Gateway, methodOf(r.t, request), request)
	if err != nil {
		r.t.Fatalf("%T: %v", request, err)
	}
	return reply.(A)
}

// send plants canaries in a request. It is sent in many wrong ways first, each of which must be
// refused; then as it is; and then again, over gRPC and through the gateway. build makes the
// request as things stand.
func (r *canaries) send(node, as string, build func() proto.Message) proto.Message {
	r.t.Helper()
	request := build()
	r.f.plant(r.t, request)
	method := methodOf(r.t, request)
	for how, wrong := range r.wrong(request) {
		r.refused(node, as, method, how, wrong)
	}
	r.f.note(r.f.refused, request)
	var reply proto.Message
	eventually(r.t, fmt.Sprintf("%s is taken", method.Name()), func() (done bool) {
		request = build()
		r.f.plant(r.t, request)
		var err error
		reply, err = r.call(r.ctx, node, as, method, request)
		switch status.Code(err) {
		case codes.OK:
			return true
		case codes.Aborted, codes.FailedPrecondition: // something of it is still under way
			r.judge(method, "as it is", err)
			return false
		}
		r.t.Fatalf("%s: %v", method.Name(), err)
		return false
	})
	r.f.note(r.f.sent, request)
	if _, err := r.call(r.ctx, node, as, method, request); err != nil {
		r.judge(method, "again", err)
	}
	if path, body, err := route(method, request); err != nil {
		r.t.Error(err)
	} else if path != "" {
		answer, code, err := r.fetch(r.ctx, node, http.MethodPost, path, body)
		if err != nil {
			r.t.Error(err)
		}
		if code >= http.StatusBadRequest { // else it shows what the person may see
			r.f.searcher.none(r.t, fmt.Sprintf("what the gateway says of %s again", method.Name()), answer)
		}
	}
	return reply
}

// wrong are requests that must be refused: a marked field that breaks its rule, a name that is
// none, a thing that is not there, a version that is not the last.
func (r *canaries) wrong(request proto.Message) map[string]proto.Message {
	all := r.f.spoil(request)
	for _, field := range []protoreflect.Name{"name", "parent", "etag"} {
		descriptor := request.ProtoReflect().Descriptor().Fields().ByName(field)
		if descriptor == nil {
			continue
		}
		was := request.ProtoReflect().Get(descriptor).String()
		values := map[string]string{"no " + string(field): "not a name"}
		switch field {
		case "parent":
			values["elsewhere"] = "nodes/elsewhere"
		case "name":
			values["not there"] = was[:len(was)-4] + "0000"
			if _, any := request.(*referralv1.AssertArrivalRequest); any { // a person is taken in whatever the slip names, but for a node that is none
				values["not there"] = "nodes/elsewhere/referrals/" + was[len(was)-36:]
			}
		case "etag":
			values = map[string]string{"stale": "999999"}
		}
		for how, value := range values {
			wrong := proto.Clone(request)
			wrong.ProtoReflect().Set(descriptor, protoreflect.ValueOfString(value))
			all[how] = wrong
		}
	}
	return all
}

func (r *canaries) refused(node, as string, method protoreflect.MethodDescriptor, how string, wrong proto.Message) {
	r.t.Helper()
	if _, err := r.call(r.ctx, node, as, method, wrong); err == nil {
		r.t.Errorf("%s (%s) was taken", method.Name(), how)
	} else {
		r.judge(method, how, err)
	}
	path, body, err := route(method, wrong)
	must(r.t, err)
	if path == "" {
		return
	}
	r.refusedThere(node, method, how, path, body)
	r.refusedThere(node, method, how+", cut off", path, body[:len(body)-1])
}

// refusedThere sends a request to the gateway that must be refused.
func (r *canaries) refusedThere(node string, method protoreflect.MethodDescriptor, how, path string, body []byte) {
	r.t.Helper()
	eventually(r.t, "the gateway answers", func() (done bool) {
		answer, code, err := r.fetch(r.ctx, node, http.MethodPost, path, body)
		if err != nil || code == http.StatusServiceUnavailable {
			return false
		}
		if r.told++; code < http.StatusBadRequest {
			r.t.Errorf("%s (%s) was taken at the gateway: %d", method.Name(), how, code)
		}
		r.f.searcher.none(r.t, fmt.Sprintf("what the gateway says of %s (%s)", method.Name(), how), answer)
		return true
	})
}

// judge searches what a refusal tells.
func (r *canaries) judge(method protoreflect.MethodDescriptor, how string, err error) {
	r.t.Helper()
	if away(err) {
		r.t.Errorf("%s (%s): nobody answered: %v", method.Name(), how, err)
	}
	r.told++
	r.f.searcher.none(r.t, fmt.Sprintf("the refusal of %s (%s)", method.Name(), how), refusal(err))
}

// furnish enters units, a worker and a shelter.
func (r *canaries) furnish() {
	r.t.Helper()
	for _, unit := range []struct{ node, id, district string }{{home, "hub", "PK-BA-HUB"}, {there, "lahore", "PK617"}} {
		ask[*protectionv1.Unit](r, unit.node, &protectionv1.CreateUnitRequest{
			Parent: "nodes/" + unit.node, UnitId: unit.id, Unit: &protectionv1.Unit{DisplayName: "Unit", District: unit.district},
		})
	}
	r.send(there, network.Gateway, func() proto.Message {
		return &protectionv1.CreateWorkerRequest{
			Parent: "nodes/" + there, WorkerId: "lahore-worker",
			Worker: &protectionv1.Worker{Unit: awayUnit, Roles: []string{"case-worker"}},
		}
	})
	r.send(there, network.Gateway, func() proto.Message {
		return &protectionv1.UpdateWorkerRequest{Worker: &protectionv1.Worker{Name: "nodes/" + there + "/workers/lahore-worker"}}
	})
	r.send(there, network.Gateway, func() proto.Message {
		return &shelterv1.CreateShelterRequest{
			Parent: "nodes/" + there, ShelterId: "lahore-girls", Shelter: &shelterv1.Shelter{
				DisplayName: "Shelter", District: "PK617", Confidential: true, Groups: []*shelterv1.Group{{
					Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 10,
				}},
			},
		}
	})
	r.send(there, network.Gateway, func() proto.Message {
		return &shelterv1.UpdateShelterRequest{Shelter: &shelterv1.Shelter{Name: "nodes/" + there + "/shelters/lahore-girls"}}
	})
}

// needs say no more than an offer must: not what the person's own fields hold.
func needs() *custodyv1.Needs {
	return &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9, Languages: []string{"urd"}}
}

func consent() *protectionv1.Consent {
	return &protectionv1.Consent{
		Decision: protectionv1.Consent_DECISION_GIVEN, Basis: "OWN_CONSENT_ADULT", Purposes: []string{"PLACEMENT"},
		Scopes: []string{"IDENTITY", "BIRTH", "HOME_PLACE", "HEALTH", "NARRATIVE"},
	}
}

// viaCase takes a person in, refers the case, is declined once, hands over and records the outcome.
func (r *canaries) viaCase() {
	r.t.Helper()
	intake := &protectionv1.CreateCaseRequest{
		Parent: "nodes/" + home, RequestId: "intake-0001",
		Case: &protectionv1.Case{Unit: homeUnit, Urgency: custodyv1.Urgency_URGENCY_HIGH, Consent: consent()},
	}
	c := r.send(home, network.Gateway, func() proto.Message { return intake }).(*protectionv1.Case)
	if c.GetConsent() != nil {
		r.t.Error("a case was made with consent that nobody recorded")
	}
	fresh := func(node, name string) *protectionv1.Case {
		return ask[*protectionv1.Case](r, node, &protectionv1.GetCaseRequest{Name: name})
	}
	r.send(home, network.Gateway, func() proto.Message {
		return &protectionv1.RecordConsentRequest{Name: c.GetName(), Etag: fresh(home, c.GetName()).GetEtag(), Consent: consent()}
	})
	salt := fresh(home, c.GetName()).GetConsent().GetSalt()
	if len(salt) != 32 {
		r.t.Fatalf("the consent has a salt of %d bytes", len(salt))
	}
	r.f.searcher.seek("the salt of a consent", salt)
	r.send(home, network.Gateway, func() proto.Message {
		return &protectionv1.ReferCaseRequest{
			Name: c.GetName(), Etag: fresh(home, c.GetName()).GetEtag(), Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT,
			Service: "SHELTER", Reasons: []string{"NO_LOCAL_BED"}, ToUnit: awayUnit, Needs: needs(),
		}
	})
	var referral string
	eventually(r.t, "the referral", func() bool {
		referral = fresh(home, c.GetName()).GetReferral()
		return referral != ""
	})
	r.decline(referral)
	r.handOver(referral)
	var received *protectionv1.Case
	eventually(r.t, "the case at Lahore", func() bool {
		page := ask[*protectionv1.ListCasesResponse](r, there, &protectionv1.ListCasesRequest{
			Parent: "nodes/" + there, Filter: &protectionv1.ListCasesRequest_Filter{Referral: referral},
		})
		if len(page.GetCases()) == 0 {
			return false
		}
		received = fresh(there, page.GetCases()[0].GetName())
		return received.GetReferralState() == custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE
	})
	// The data were on all these ways: they are here.
	was := intake.GetCase()
	if !proto.Equal(received.GetPerson(), was.GetPerson()) || received.GetNarrative() != was.GetNarrative() ||
		received.GetFoundDistrict() != was.GetFoundDistrict() || !slices.Equal(received.GetExploitation(), was.GetExploitation()) {
		r.t.Errorf("what arrived is not what was sent: %v", received)
	}
	r.send(there, network.Gateway, func() proto.Message {
		return &protectionv1.RecordOutcomeRequest{
			Name: received.GetName(), Etag: fresh(there, received.GetName()).GetEtag(), Outcome: "REUNIFIED", Services: []string{"SHELTER"},
		}
	})
	r.completed(referral)
}

// viaService begins and ends a referral as protection does, by the RPCs that are for services.
func (r *canaries) viaService() {
	r.t.Helper()
	actor := func(node, unit string) *custodyv1.Actor {
		return &custodyv1.Actor{Person: "nodes/" + node + "/workers/everyone", Unit: unit, Service: network.Protection}
	}
	referral := r.send(home, network.Protection, func() proto.Message {
		return &referralv1.SubmitReferralRequest{
			Parent: "nodes/" + home, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
			Urgency: custodyv1.Urgency_URGENCY_HIGH, Reasons: []string{"NO_LOCAL_BED"}, Needs: needs(), Unit: homeUnit, ToUnit: awayUnit,
			Ground: &referralv1.SubmitReferralRequest_Override{Override: &custodyv1.ConsentOverride{
				LegalBasis: "COURT_ORDER", Approver: "nodes/balochistan/workers/everyone",
			}},
			RequestId: "submit-0001", Actor: actor(home, homeUnit),
		}
	}).(*referralv1.Referral).GetName()
	r.handOver(referral)
	r.send(there, network.Protection, func() proto.Message {
		return &referralv1.CompleteReferralRequest{
			Name: referral, Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Actor: actor(there, awayUnit),
		}
	})
	r.completed(referral)
}

// decline says no to the offer, and asks again.
func (r *canaries) decline(referral string) {
	r.t.Helper()
	offer := r.offer(referral)
	r.send(there, network.Gateway, func() proto.Message {
		return &referralv1.DeclineOfferRequest{Name: offer.GetName(), Reason: "OTHER"}
	})
	accept := &referralv1.AcceptOfferRequest{Name: offer.GetName(), Group: beds, Worker: &identityv1.WorkerContact{}}
	r.f.plant(r.t, accept)
	r.refused(there, network.Gateway, methodOf(r.t, accept), "declined before", accept)
	eventually(r.t, "the answer at home", func() bool {
		offers := ask[*referralv1.Referral](r, home, &referralv1.GetReferralRequest{Name: referral}).GetOffers()
		return len(offers) == 1 && offers[0].GetState() == custodyv1.OfferState_OFFER_STATE_DECLINED
	})
	ask[*referralv1.Referral](r, home, &referralv1.OfferReferralRequest{
		Name: referral, ToUnit: awayUnit, Etag: ask[*referralv1.Referral](r, home, &referralv1.GetReferralRequest{Name: referral}).GetEtag(),
	})
}

// offer waits for an offer of the referral that can be answered at Lahore.
func (r *canaries) offer(referral string) (found *referralv1.Offer) {
	r.t.Helper()
	eventually(r.t, "the offer at Lahore", func() bool {
		page := ask[*referralv1.ListOffersResponse](r, there, &referralv1.ListOffersRequest{Parent: "nodes/" + there, PageSize: 500})
		for _, o := range page.GetOffers() {
			if strings.HasPrefix(o.GetName(), referral+"/") && o.GetState() == offered {
				found = o
			}
		}
		return found != nil
	})
	return found
}

func (r *canaries) state(node, referral string, want custodyv1.ReferralState) {
	r.t.Helper()
	get := &referralv1.GetReferralRequest{Name: referral}
	eventually(r.t, fmt.Sprintf("%v at %s", want, node), func() bool {
		reply, err := r.call(r.ctx, node, network.Gateway, methodOf(r.t, get), get)
		return err == nil && reply.(*referralv1.Referral).GetState() >= want
	})
}

// handOver accepts the offer, sends the person on the way, receives the person and begins services.
func (r *canaries) handOver(referral string) {
	r.t.Helper()
	offer := r.offer(referral)
	r.send(there, network.Gateway, func() proto.Message {
		return &referralv1.AcceptOfferRequest{Name: offer.GetName(), Group: beds, Worker: &identityv1.WorkerContact{}}
	})
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_READY)
	r.send(home, network.Gateway, func() proto.Message {
		return &referralv1.DispatchReferralRequest{Name: referral, ExpectTime: timestamppb.New(time.Now().Add(24 * time.Hour))}
	})
	r.state(there, referral, custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT)
	r.send(there, network.Gateway, func() proto.Message {
		return &referralv1.RecordArrivalRequest{Name: referral, Identification: []string{"OWN_STATEMENT"}}
	})
	ask[*referralv1.Referral](r, there, &referralv1.StartServiceRequest{Name: referral, Services: []string{"SHELTER"}})
}

// completed waits for the end at home, and reads there what people wrote on the way.
func (r *canaries) completed(referral string) {
	r.t.Helper()
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_COMPLETED)
	r.answers("the chain", ask[*custodyv1.Chain](r, home, &referralv1.GetCustodyChainRequest{Name: referral}))
	var texts map[string]bool
	eventually(r.t, "all annexes at home", func() bool {
		texts = map[string]bool{}
		for _, name := range ask[*referralv1.Referral](r, home, &referralv1.GetReferralRequest{Name: referral}).GetAnnexes() {
			a := ask[*custodyv1.AnnexContent](r, home, &referralv1.GetAnnexRequest{Name: name})
			for _, text := range []string{a.GetNote(), a.GetWorker().GetDisplayName(), a.GetEscort().GetDisplayName()} {
				if strings.HasPrefix(text, r.f.stem) {
					texts[text] = true
				}
			}
		}
		// Submission, acceptance with its worker, dispatch with its escort, arrival, outcome.
		return len(texts) >= 7
	})
}

// lists asks everything that lists: events, cases, offers, audit rows, counts. None of it shows a
// person's data.
func (r *canaries) lists() {
	r.t.Helper()
	asked := 0
	for _, m := range methods() {
		if !strings.HasPrefix(string(m.Name()), "List") {
			continue
		}
		kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
		must(r.t, err)
		for _, n := range r.layout.Nodes {
			request := kind.New()
			if parent := m.Input().Fields().ByName("parent"); parent != nil {
				name := "nodes/" + n.Name
				if rules, err := protovalidate.ResolveFieldRules(parent); err == nil && strings.Contains(rules.GetString().GetPattern(), "/shelters/") {
					name += "/shelters/lahore-girls"
				}
				request.Set(parent, protoreflect.ValueOfString(name))
			}
			if size := m.Input().Fields().ByName("page_size"); size != nil {
				request.Set(size, protoreflect.ValueOfInt32(500))
			}
			service := strings.Split(string(m.FullName()), ".")[1]
			services := []string{service}
			if service == "events" {
				services = n.Services
			}
			for _, s := range services {
				if s == network.Gateway || !slices.Contains(n.Services, s) {
					continue
				}
				reply, err := r.callAt(r.ctx, n.Name, s, network.Gateway, m, request.Interface())
				if err != nil {
					r.t.Errorf("%s of %s at %s: %v", m.Name(), s, n.Name, err)
					continue
				}
				asked++
				r.answers(fmt.Sprintf("%s of %s at %s", m.Name(), s, n.Name), reply)
			}
		}
	}
	if asked < 30 {
		r.t.Errorf("only %d lists were read", asked)
	}
}

// answers searches a message in the forms in which it is shown.
func (r *canaries) answers(what string, reply proto.Message) {
	r.t.Helper()
	binary, err := proto.Marshal(reply)
	must(r.t, err)
	json, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(reply)
	must(r.t, err)
	r.f.searcher.none(r.t, what, slices.Concat(binary, json))
}

// pages reads metrics, health and the gateway's pages.
func (r *canaries) pages() {
	r.t.Helper()
	for _, n := range r.layout.Nodes {
		for _, s := range n.Services {
			for _, page := range []string{"metrics", "healthz", "readyz"} {
				request, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "http://"+r.layout.Address(n.Name, s+"-admin")+"/"+page, nil)
				must(r.t, err)
				content, code, err := do(http.DefaultClient, request)
				if err != nil || code != http.StatusOK || len(content) == 0 && s != network.Gateway {
					r.t.Errorf("%s of %s at %s: %d, %v", page, s, n.Name, code, err)
				}
				r.f.searcher.none(r.t, fmt.Sprintf("%s of %s at %s", page, s, n.Name), content)
			}
		}
		content, code, err := r.fetch(r.ctx, n.Name, http.MethodGet, "/", nil)
		if err != nil || code != http.StatusOK {
			r.t.Errorf("the status page at %s: %d, %v", n.Name, code, err)
		}
		r.f.searcher.none(r.t, "the status page at "+n.Name, content)
	}
}
