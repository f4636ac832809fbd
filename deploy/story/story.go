// Package story plays what people do with the system: a child is taken in where no bed is, and
// handed on, step by step, until the outcome is known at home. It speaks as people's requests
// reach the services: over mutual TLS as each node's gateway, with a person token per person. All
// persons are synthetic.
//
// A [Stage] hands one girl on after the other, now. A [Player] plays a whole year of package scenario on a network that has a calendar: each unit,
// each person, each answer when its day has come. Whoever acts looks first how things stand, so that a year which was broken off at any moment
// goes on by playing it again. At the end each compares what all nodes say, each from its own store. A [Bulk] takes very many people in at once.
package story

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// Place is where people of the story work.
type Place struct {
	// Node, such as `punjab`, and the id of the unit at it, such as `lahore`.
	Node, Unit string
	// Name of the place, such as Lahore, and code of its district.
	Name, District string
}

func (p Place) unit() string { return "nodes/" + p.Node + "/units/" + p.Unit }

func (p Place) person(role string) string { return "nodes/" + p.Node + "/workers/demo-" + role }

// Route is where the story plays: the child is taken in at one place and handed on to the other.
type Route struct{ From, To Place }

// Places of the demo.
var (
	Hub    = Place{"balochistan", "hub", "Hub", "PK-BA-HUB"}
	Lahore = Place{"punjab", "lahore", "Lahore", "PK617"}
)

// What people write in the story. Each is looked for afterwards where it must not be.
const (
	givenName, fatherName = "Synthetic-Given-Name", "Synthetic-Father-Name"
	narrative             = "Synthetic narrative: found at the bus stand."
	consentGiver          = "Synthetic-Mother"
	workerName, phone     = "Synthetic-Worker", "+923001234567"
	escortName, road      = "Synthetic-Escort", "+923007654321"
	meetingPlace          = "Synthetic-Meeting-Place"
	feedback              = "Synthetic feedback: she is well."
	address               = "Synthetic-Street-Address"
	exploitation          = "ForcedBegging"
)

// Personal lists what people wrote of persons, for the search for leaks.
func Personal() []string {
	return []string{givenName, fatherName, narrative, consentGiver, workerName, phone, escortName, road, meetingPlace, feedback, address, exploitation}
}

// Stage is a network with people in it.
type Stage struct {
	route Route
	desks map[string]*desk
	conns []*grpc.ClientConn
	// beds is the receiving shelter service as that node's referral service reaches it.
	beds shelterv1.ShelterServiceClient
	// group is where the beds of this run are.
	group string
	// earlier are the referrals that the origin had before this run, and cases is how many cases.
	earlier map[string]bool
	cases   int
	// Tell gets a line for each of the Steps of a handover, from several goroutines.
	Tell func(format string, values ...any)
	// Seed of what differs from one child to the next; 0: all are nine and at high risk.
	Seed uint64
}

// Steps are how many lines Tell gets of one handover.
const Steps = 11

// girl is what differs from one child of the story to the next.
type girl struct {
	age     int32
	urgency custodyv1.Urgency
}

// girl is the child of that number: the same for the same seed.
func (s *Stage) girl(number int) girl {
	if s.Seed == 0 {
		return girl{9, custodyv1.Urgency_URGENCY_HIGH}
	}
	chance := mathrand.New(mathrand.NewPCG(s.Seed, uint64(number)))
	return girl{youngest + chance.Int32N(oldest-youngest+1), custodyv1.Urgency(1 + chance.IntN(len(custodyv1.Urgency_name)-1))}
}

// Ages of the girls for whom there are beds.
const youngest, oldest = 6, 12

// Open connects to the running network of the demo: from Hub to Lahore.
func Open(l *network.Layout) (*Stage, error) { return OpenRoute(Route{Hub, Lahore}, l) }

// OpenRoute connects to a running network whose nodes may lie under several roots.
func OpenRoute(route Route, layouts ...*network.Layout) (*Stage, error) {
	s := &Stage{route: route, desks: map[string]*desk{}, Tell: func(string, ...any) {}}
	for _, node := range []string{route.From.Node, route.To.Node, network.FederalNode} {
		l, err := layoutOf(node, layouts)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		d, err := openDesk(l, node)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.desks[node] = d
	}
	to := route.To.Node
	l, err := layoutOf(to, layouts)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	id, err := identity.Load(l.Root, to, network.Referral)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	conn, err := rpc.Dial(l.Address(to, network.Shelter), id.ClientTLS(network.Shelter))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.conns, s.beds = append(s.conns, conn), shelterv1.NewShelterServiceClient(conn)
	return s, nil
}

func layoutOf(node string, layouts []*network.Layout) (*network.Layout, error) {
	for _, l := range layouts {
		if _, err := l.Node(node); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no layout has node %q", node)
}

// Close disconnects.
func (s *Stage) Close() error {
	var err error
	for _, d := range s.desks {
		err = errors.Join(err, d.close())
	}
	for _, c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// Furnish enters the units and, for this run, a shelter with exactly so many beds: a bed that leaks is missed by somebody, and one
// more than there are must be refused. What the origin has by then is none of this run.
func (s *Stage) Furnish(ctx context.Context, beds int32) error {
	for _, p := range []Place{s.route.From, s.route.To} {
		d := s.desks[p.Node]
		_, err := ask(ctx, d, supervisor, "", d.protection.CreateUnit, &protectionv1.CreateUnitRequest{
			Parent: "nodes/" + p.Node, UnitId: p.Unit, Unit: &protectionv1.Unit{DisplayName: "Child Protection Unit " + p.Name, District: p.District},
		})
		if err != nil && !exists(err) {
			return err
		}
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	to := s.route.To
	d := s.desks[to.Node]
	earlier, err := s.shelters(ctx)
	if err != nil {
		return err
	}
	id := to.Unit + "-girls"
	if len(earlier) > 0 {
		id += fmt.Sprintf("-%d", len(earlier)+1)
	}
	s.group = "nodes/" + to.Node + "/shelters/" + id + "/groups/girls-6-12"
	_, err = ask(ctx, d, manager, "", d.shelter.CreateShelter, &shelterv1.CreateShelterRequest{
		Parent: "nodes/" + to.Node, ShelterId: id, Shelter: &shelterv1.Shelter{
			DisplayName: "Child Protection Institution for girls, " + to.Name, District: to.District, Confidential: true,
			Address: address, Languages: []string{"urd", "pan"},
			Groups: []*shelterv1.Group{{
				Name: "girls-6-12", Genders: []string{"Feminine"}, AgeFrom: youngest, AgeTo: oldest,
				UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: beds,
			}},
		},
	})
	if err != nil && !exists(err) {
		return err
	}
	return nil
}

// Handover takes one synthetic girl in at Hub and hands her on to Lahore, to the end. It answers
// with the referral's name.
func (s *Stage) Handover(ctx context.Context, number int) (string, error) {
	name, err := s.Send(ctx, number)
	if err != nil {
		return name, err
	}
	return name, s.Receive(ctx, name)
}

// Send is the first half of Handover: until she is on the way.
func (s *Stage) Send(ctx context.Context, number int) (string, error) {
	c, err := s.Refer(ctx, number)
	if err != nil {
		return "", err
	}
	return c.GetReferral(), s.sendOn(ctx, c.GetReferral())
}

// HandOn plays what follows once a girl is referred, up to her outcome at home.
func (s *Stage) HandOn(ctx context.Context, name string) error {
	if err := s.sendOn(ctx, name); err != nil {
		return err
	}
	return s.Receive(ctx, name)
}

func (s *Stage) sendOn(ctx context.Context, name string) error {
	if err := s.accept(ctx, s.desks[s.route.To.Node], name); err != nil {
		return err
	}
	return s.dispatch(ctx, s.desks[s.route.From.Node], name)
}

// Receive is the second half of Handover: from her arrival to the end.
func (s *Stage) Receive(ctx context.Context, name string) error {
	if err := s.receive(ctx, s.desks[s.route.To.Node], name); err != nil {
		return err
	}
	_, err := s.state(ctx, s.desks[s.route.From.Node], name, custodyv1.ReferralState_REFERRAL_STATE_COMPLETED)
	if err == nil {
		s.Tell("%s reads the outcome of %s: the loop is closed", s.route.From.Name, name)
	}
	return err
}

// Refer plays the beginning: a girl is taken in, and referred. It answers when the case names its referral.
func (s *Stage) Refer(ctx context.Context, number int) (*protectionv1.Case, error) {
	home := s.desks[s.route.From.Node]
	she := s.girl(number)
	c, err := ask(ctx, home, worker, s.route.From.unit(), home.protection.CreateCase, &protectionv1.CreateCaseRequest{
		Parent: "nodes/" + s.route.From.Node, RequestId: "intake-" + rand.Text(), Case: &protectionv1.Case{
			Unit: s.route.From.unit(), Urgency: she.urgency, FoundDistrict: s.route.From.District,
			Exploitation: []string{exploitation}, Narrative: narrative,
			Person: &protectionv1.Person{
				GivenName: fmt.Sprintf("%s %d", givenName, number), FatherName: fatherName, Gender: "Feminine",
				AgeFrom: she.age, AgeTo: she.age, Languages: []string{"bal", "urd"},
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("take in: %w", err)
	}
	s.Tell("%s takes a girl of %d in: case %s; no bed here", s.route.From.Name, she.age, c.GetReference())
	c, err = s.advance(ctx, home, c.GetName(), "consent", func(c *protectionv1.Case) bool { return c.GetConsent() != nil }, func(c *protectionv1.Case) error {
		_, err := ask(ctx, home, worker, s.route.From.unit(), home.protection.RecordConsent, &protectionv1.RecordConsentRequest{
			Name: c.GetName(), Etag: c.GetEtag(), Consent: &protectionv1.Consent{
				Decision: protectionv1.Consent_DECISION_GIVEN, Basis: "ORAL_ASSENT_AND_CAREGIVER", GivenBy: consentGiver,
				Purposes: []string{"PLACEMENT"}, Scopes: []string{"IDENTITY", "BIRTH"},
			},
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	s.Tell("Her mother consents, she assents: recorded")
	c, err = s.advance(ctx, home, c.GetName(), "refer", func(c *protectionv1.Case) bool { return c.GetReferral() != "" }, func(c *protectionv1.Case) error {
		_, err := ask(ctx, home, worker, s.route.From.unit(), home.protection.ReferCase, &protectionv1.ReferCaseRequest{
			Name: c.GetName(), Etag: c.GetEtag(), Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
			Reasons: []string{"NO_LOCAL_BED"}, ToUnit: s.route.To.unit(),
			Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: she.age, AgeTo: she.age, Languages: []string{"urd"}},
		})
		return err
	})
	if err == nil {
		s.Tell("%s refers her to %s: %s", s.route.From.Name, s.route.To.Name, c.GetReferral())
	}
	return c, err
}

// advance looks at a case and acts on it as it stands, until what is wanted is so. A person whose
// answer was lost does the same: look, and act again only where nothing has happened.
func (s *Stage) advance(ctx context.Context, d *desk, name, what string, done func(*protectionv1.Case) bool, act func(*protectionv1.Case) error) (*protectionv1.Case, error) {
	return until(ctx, what, func() (*protectionv1.Case, bool, error) {
		c, err := ask(ctx, d, worker, "", d.protection.GetCase, &protectionv1.GetCaseRequest{Name: name})
		if err != nil || done(c) {
			return c, err == nil, err
		}
		switch err := act(c); status.Code(err) {
		case codes.OK, codes.Aborted, codes.FailedPrecondition: // changed meanwhile, or under way
			return c, false, nil
		default:
			return c, false, fmt.Errorf("%s: %w", what, err)
		}
	})
}

func (s *Stage) accept(ctx context.Context, away *desk, name string) error {
	offer, err := until(ctx, "the offer at "+s.route.To.Name, func() (*referralv1.Offer, bool, error) {
		token := ""
		for {
			page, err := ask(ctx, away, worker, s.route.To.unit(), away.referral.ListOffers, &referralv1.ListOffersRequest{Parent: "nodes/" + s.route.To.Node, PageSize: 500, PageToken: token})
			if err != nil {
				return nil, false, err
			}
			for _, o := range page.GetOffers() {
				if len(o.GetName()) > len(name) && o.GetName()[:len(name)] == name {
					return o, true, nil
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				return nil, false, nil
			}
		}
	})
	if err != nil {
		return err
	}
	s.Tell("%s has stored the offer %s", s.route.To.Name, offer.GetReference())
	if _, err = ask(ctx, away, worker, s.route.To.unit(), away.referral.AcceptOffer, &referralv1.AcceptOfferRequest{
		Name: offer.GetName(), Group: s.group,
		Worker: &identityv1.WorkerContact{Worker: s.route.To.person(worker), DisplayName: workerName, Phone: phone},
	}); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	s.Tell("%s accepts; a bed is held", s.route.To.Name)
	return nil
}

func (s *Stage) dispatch(ctx context.Context, home *desk, name string) error {
	if _, err := s.state(ctx, home, name, custodyv1.ReferralState_REFERRAL_STATE_READY); err != nil {
		return err
	}
	s.Tell("%s confirms; %s promises the place: ready", s.route.From.Name, s.route.To.Name)
	_, err := ask(ctx, home, worker, s.route.From.unit(), home.referral.DispatchReferral, &referralv1.DispatchReferralRequest{
		Name: name, ExpectTime: timestamppb.New(time.Now().Add(24 * time.Hour)),
		Escort: &custodyv1.Escort{
			DisplayName: escortName, Phone: road, MeetingPlace: meetingPlace,
			MeetingTime: timestamppb.New(time.Now().Add(23 * time.Hour)),
		},
	})
	if err != nil && !s.reached(ctx, home, name, custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT) {
		return fmt.Errorf("dispatch: %w", err)
	}
	s.Tell("%s sends her on the way with an escort; %s owns the referral now", s.route.From.Name, s.route.To.Name)
	return nil
}

func (s *Stage) receive(ctx context.Context, away *desk, name string) error {
	if _, err := s.state(ctx, away, name, custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT); err != nil {
		return err
	}
	_, err := ask(ctx, away, worker, s.route.To.unit(), away.referral.RecordArrival, &referralv1.RecordArrivalRequest{Name: name, Identification: []string{"OWN_STATEMENT"}})
	if err != nil && !s.reached(ctx, away, name, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED) {
		return fmt.Errorf("record arrival: %w", err)
	}
	s.Tell("She arrives at %s and is admitted", s.route.To.Name)
	_, err = ask(ctx, away, worker, s.route.To.unit(), away.referral.StartService, &referralv1.StartServiceRequest{Name: name, Services: []string{"SHELTER"}})
	if err != nil && !s.reached(ctx, away, name, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE) {
		return fmt.Errorf("start service: %w", err)
	}
	s.Tell("Services begin")
	c, err := until(ctx, "the case at "+s.route.To.Name, func() (*protectionv1.Case, bool, error) {
		page, err := ask(ctx, away, worker, s.route.To.unit(), away.protection.ListCases, &protectionv1.ListCasesRequest{
			Parent: "nodes/" + s.route.To.Node, Filter: &protectionv1.ListCasesRequest_Filter{Referral: name},
		})
		if err != nil || len(page.GetCases()) == 0 {
			return nil, false, err
		}
		c := page.GetCases()[0]
		return c, c.GetReferralState() == custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, nil
	})
	if err != nil {
		return err
	}
	closed := func(c *protectionv1.Case) bool { return c.GetState() == protectionv1.Case_STATE_CLOSED }
	if _, err = s.advance(ctx, away, c.GetName(), "record the outcome", closed, func(c *protectionv1.Case) error {
		_, err := ask(ctx, away, worker, s.route.To.unit(), away.protection.RecordOutcome, &protectionv1.RecordOutcomeRequest{
			Name: c.GetName(), Etag: c.GetEtag(), Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: feedback,
		})
		return err
	}); err != nil {
		return err
	}
	s.Tell("%s records the outcome: reunified", s.route.To.Name)
	return nil
}

func (s *Stage) state(ctx context.Context, d *desk, name string, want custodyv1.ReferralState) (*referralv1.Referral, error) {
	return until(ctx, fmt.Sprintf("%v at %s", want, d.node), func() (*referralv1.Referral, bool, error) {
		r, err := ask(ctx, d, worker, "", d.referral.GetReferral, &referralv1.GetReferralRequest{Name: name})
		if status.Code(err) == codes.NotFound {
			return nil, false, nil
		}
		return r, r.GetState() >= want, err
	})
}

// reached says whether an earlier try had gone through though its answer was lost.
func (s *Stage) reached(ctx context.Context, d *desk, name string, want custodyv1.ReferralState) bool {
	r, err := ask(ctx, d, worker, "", d.referral.GetReferral, &referralv1.GetReferralRequest{Name: name})
	return err == nil && r.GetState() >= want
}

// Case reads a case of the route's beginning.
func (s *Stage) Case(ctx context.Context, name string) (*protectionv1.Case, error) {
	d := s.desks[s.route.From.Node]
	return ask(ctx, d, worker, "", d.protection.GetCase, &protectionv1.GetCaseRequest{Name: name})
}
