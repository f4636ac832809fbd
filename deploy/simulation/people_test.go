package simulation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
)

// Referrals are the names of those that any node knows, in the order of their names.
func (w *World) Referrals(s State) []string {
	all := map[string]bool{}
	for node := range Nodes {
		for name := range w.Facts(s.At[Referral(node)]).chains {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// ask has somebody at a node call its referral service.
func (w *World) ask(s State, node int, what string, call func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error) (State, error) {
	var err error
	s.At[Referral(node)], err = w.Call(s.At[Referral(node)], s.Now, what, func(ctx context.Context, as func(string) grpc.ClientConnInterface, now time.Time) error {
		return call(ctx, referralv1.NewReferralServiceClient(as("gateway")), now)
	})
	return s, err
}

// askAs is ask of another service.
func (w *World) askAs(s State, node int, caller, what string, call func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error) (State, error) {
	var err error
	s.At[Referral(node)], err = w.Call(s.At[Referral(node)], s.Now, what, func(ctx context.Context, as func(string) grpc.ClientConnInterface, now time.Time) error {
		return call(ctx, referralv1.NewReferralServiceClient(as(caller)), now)
	})
	return s, err
}

// each makes a move of one that somebody at a node does with each referral the node knows.
// may spares asking where the answer is plain.
func each(most uint8, node int, verb string, may func(s *custody.State) bool, do func(ctx context.Context, c referralv1.ReferralServiceClient, name string, now time.Time) error) Move {
	return Move{Name: verb, Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		for i, name := range w.Referrals(s) {
			if c := w.Facts(s.At[Referral(node)]).chains[name]; c == nil || !may(c.state) {
				continue
			}
			what := fmt.Sprintf("%s %s (%d, %d)", Nodes[node], verb, i, used)
			to, _ := w.ask(s, node, what, func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error {
				return do(ctx, c, name, now)
			})
			next(fmt.Sprintf("%s %s%s", Nodes[node], verb, which(w, s, i)), to)
		}
	}}
}

func owns(node int) func(*custody.State) bool {
	return func(s *custody.State) bool { return s.Owner == Nodes[node] && !s.Terminal() }
}

// which says whose referral, where there are several.
func which(w *World, s State, i int) string {
	if len(w.Referrals(s)) < 2 {
		return ""
	}
	return fmt.Sprintf(" (child %d)", i+1)
}

// eachOffer is each of the offers made to a node.
func eachOffer(most uint8, node int, verb string, do func(ctx context.Context, c referralv1.ReferralServiceClient, offer string, now time.Time) error) Move {
	return Move{Name: verb, Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		f := w.Facts(s.At[Referral(node)])
		for i, offer := range slices.Sorted(maps.Keys(f.offers)) {
			if !liveOffer(f.offers[offer].GetState()) {
				continue
			}
			what := fmt.Sprintf("%s %s (%s, %d)", Nodes[node], verb, offer, used)
			to, _ := w.ask(s, node, what, func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error {
				return do(ctx, c, offer, now)
			})
			name := Nodes[node] + " " + verb
			if len(f.offers) > 1 {
				name += fmt.Sprintf(" (offer %d)", i+1)
			}
			next(name, to)
		}
	}}
}

func submission(node, to int, key string, now time.Time) *referralv1.SubmitReferralRequest {
	return &referralv1.SubmitReferralRequest{
		Parent: "nodes/" + Nodes[node], Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Urgency: custodyv1.Urgency_URGENCY_HIGH, Reasons: []string{"NO_LOCAL_BED"},
		Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10, Languages: []string{"bal"}, Services: []string{"SHELTER"}},
		Ground: &referralv1.SubmitReferralRequest_Consent{Consent: &custodyv1.ConsentReceipt{
			Commitment: make([]byte, 32), Basis: "ORAL_ASSENT_AND_CAREGIVER", Purposes: []string{"PLACEMENT"},
			RecordTime: timestamppb.New(now.Add(-time.Hour)), ExpireTime: timestamppb.New(now.Add(365 * 24 * time.Hour)),
		}},
		Unit: Unit(node), ToUnit: Unit(to), AnswerBy: timestamppb.New(now.Add(2 * time.Hour)), RequestId: key,
		Actor: &custodyv1.Actor{Person: "nodes/" + Nodes[node] + "/workers/one", Unit: Unit(node), Service: "protection"},
	}
}

// Submit has the first node refer a child to another.
func Submit(w *World, s State, to int) State {
	s, err := w.askAs(s, 0, "protection", "submits", func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error {
		_, err := c.SubmitReferral(ctx, submission(0, to, "request-0001", now))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// SubmitTogether has the first node refer two children who are not to be parted.
func SubmitTogether(w *World, s State, to int) State {
	s, err := w.askAs(s, 0, "protection", "submits together", func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error {
		_, err := c.SubmitReferrals(ctx, &referralv1.SubmitReferralsRequest{
			Parent:   "nodes/" + Nodes[0],
			Requests: []*referralv1.SubmitReferralRequest{submission(0, to, "request-0001", now), submission(0, to, "request-0002", now)},
		})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// SubmitAlso has another node refer a child of its own, who has nothing to do with the first.
func SubmitAlso(w *World, s State, from, to int) State {
	s, err := w.askAs(s, from, "protection", "submits", func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error {
		_, err := c.SubmitReferral(ctx, submission(from, to, "request-0001", now))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// Offer has the owner ask another node.
func Offer(most uint8, node, to int) Move {
	return each(most, node, "asks "+Nodes[to], owns(node), func(ctx context.Context, c referralv1.ReferralServiceClient, name string, now time.Time) error {
		v, err := c.GetReferral(ctx, &referralv1.GetReferralRequest{Name: name})
		if err != nil {
			return err
		}
		_, err = c.OfferReferral(ctx, &referralv1.OfferReferralRequest{
			Name: name, ToUnit: Unit(to), AnswerBy: timestamppb.New(now.Add(2 * time.Hour)), Etag: v.GetEtag(),
		})
		return err
	})
}

func worker(node int) *identityv1.WorkerContact {
	return &identityv1.WorkerContact{Worker: "nodes/" + Nodes[node] + "/workers/one", DisplayName: "One", Phone: "+923009876543"}
}

// Accept has a unit accept, with a hold in its group, or for one of two who go together in two.
func Accept(most uint8, node int, twoGroups bool) Move {
	return Move{Name: "accepts", Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		f := w.Facts(s.At[Referral(node)])
		names := slices.Sorted(maps.Keys(f.offers))
		for i, offer := range names {
			if !open(f.offers[offer].GetState()) {
				continue
			}
			request := &referralv1.AcceptOfferRequest{Name: offer, Group: Group(node, false), Worker: worker(node)}
			for _, other := range names {
				if slices.Contains(f.offers[offer].GetTogether(), referralOf(other)) && open(f.offers[other].GetState()) {
					request.Also = append(request.Also, &referralv1.AcceptedWith{Offer: other, Group: Group(node, twoGroups)})
				}
			}
			what := fmt.Sprintf("%s accepts %s (%d)", Nodes[node], offer, used)
			to, _ := w.ask(s, node, what, func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error {
				request.HoldExpireTime = timestamppb.New(now.Add(time.Hour))
				_, err := c.AcceptOffer(ctx, request)
				return err
			})
			name := Nodes[node] + " accepts"
			if len(names) > 1 {
				name += fmt.Sprintf(" (offer %d)", i+1)
			}
			next(name, to)
		}
	}}
}

func referralOf(offer string) string { name, _, _ := strings.Cut(offer, "/offers/"); return name }

func open(state custodyv1.OfferState) bool {
	switch state {
	case custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_WAITLISTED, custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED:
		return true
	}
	return false
}

// Decline has a unit decline.
func Decline(most uint8, node int) Move {
	return eachOffer(most, node, "declines", func(ctx context.Context, c referralv1.ReferralServiceClient, offer string, _ time.Time) error {
		_, err := c.DeclineOffer(ctx, &referralv1.DeclineOfferRequest{Name: offer, Reason: "TOO_FAR"})
		return err
	})
}

// TakeBack has a unit take its acceptance back.
func TakeBack(most uint8, node int) Move {
	return eachOffer(most, node, "takes its acceptance back", func(ctx context.Context, c referralv1.ReferralServiceClient, offer string, _ time.Time) error {
		_, err := c.WithdrawAcceptance(ctx, &referralv1.WithdrawAcceptanceRequest{Name: offer, Reason: "NO_CAPACITY"})
		return err
	})
}

// Confirm has the owner choose an acceptance of a node.
func Confirm(most uint8, node, chosen int) Move {
	return ownOffers(most, node, chosen, "chooses "+Nodes[chosen], func(ctx context.Context, c referralv1.ReferralServiceClient, offer string) error {
		_, err := c.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: offer})
		return err
	})
}

// Withdraw has the owner take an offer to a node back.
func Withdraw(most uint8, node, asked int) Move {
	return ownOffers(most, node, asked, "takes its offer to "+Nodes[asked]+" back", func(ctx context.Context, c referralv1.ReferralServiceClient, offer string) error {
		_, err := c.WithdrawOffer(ctx, &referralv1.WithdrawOfferRequest{Name: offer, Reason: "NOT_NEEDED"})
		return err
	})
}

// AskRelease has a unit that promised a place ask to be let go.
func AskRelease(most uint8, node int) Move {
	return eachOffer(most, node, "asks to be let go", func(ctx context.Context, c referralv1.ReferralServiceClient, offer string, _ time.Time) error {
		_, err := c.RequestRelease(ctx, &referralv1.RequestReleaseRequest{Name: offer, Reason: "NO_CAPACITY"})
		return err
	})
}

// GrantRelease has the owner let a unit go.
func GrantRelease(most uint8, node, asked int) Move {
	return ownOffers(most, node, asked, "lets "+Nodes[asked]+" go", func(ctx context.Context, c referralv1.ReferralServiceClient, offer string) error {
		_, err := c.GrantRelease(ctx, &referralv1.GrantReleaseRequest{Name: offer})
		return err
	})
}

// ownOffers is each live offer to a node in the chains that another node owns.
func ownOffers(most uint8, node, to int, verb string, do func(ctx context.Context, c referralv1.ReferralServiceClient, offer string) error) Move {
	return Move{Name: verb, Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		f := w.Facts(s.At[Referral(node)])
		for i, name := range w.Referrals(s) {
			if f.chains[name] == nil || f.chains[name].state.Owner != Nodes[node] {
				continue
			}
			for _, o := range f.chains[name].state.LiveOffers() {
				if o.Offered.GetToNode() != Nodes[to] {
					continue
				}
				offer := name + "/offers/" + o.Hash.String()
				what := fmt.Sprintf("%s %s (%s, %d)", Nodes[node], verb, offer, used)
				after, _ := w.ask(s, node, what, func(ctx context.Context, c referralv1.ReferralServiceClient, _ time.Time) error {
					return do(ctx, c, offer)
				})
				next(fmt.Sprintf("%s %s%s", Nodes[node], verb, which(w, s, i)), after)
			}
		}
	}}
}

// Dispatch has the owner hand over.
func Dispatch(most uint8, node int) Move {
	return each(most, node, "sends the child", func(s *custody.State) bool {
		return s.Owner == Nodes[node] && (s.State == custodyv1.ReferralState_REFERRAL_STATE_READY || s.State == custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED)
	}, func(ctx context.Context, c referralv1.ReferralServiceClient, name string, now time.Time) error {
		_, err := c.DispatchReferral(ctx, &referralv1.DispatchReferralRequest{
			Name: name, Documents: []string{"COURT_ORDER"}, ExpectTime: timestamppb.New(now.Add(24 * time.Hour)),
			Escort: &custodyv1.Escort{DisplayName: "One", Phone: "+923009876543", MeetingPlace: "A gate", MeetingTime: timestamppb.New(now.Add(time.Hour)), CourtOrder: "7/2026"},
		})
		return err
	})
}

// Cancel has the owner call it off.
func Cancel(most uint8, node int) Move {
	return each(most, node, "calls it off", owns(node), func(ctx context.Context, c referralv1.ReferralServiceClient, name string, _ time.Time) error {
		_, err := c.CancelReferral(ctx, &referralv1.CancelReferralRequest{Name: name, Reason: "FOUND_LOCALLY"})
		return err
	})
}

// NoShow has the new owner say that the child did not come, which is said only where the child is not.
func NoShow(most uint8, node int) Move {
	m := each(most, node, "says the child did not come", owns(node), func(ctx context.Context, c referralv1.ReferralServiceClient, name string, _ time.Time) error {
		_, err := c.RecordNoShow(ctx, &referralv1.RecordNoShowRequest{Name: name})
		return err
	})
	do := m.Do
	m.Do = func(w *World, s State, used uint8, next func(string, State)) {
		if s.Child[0] != uint8(node) {
			do(w, s, used, next)
		}
	}
	return m
}

// AskBack has the first node ask for the child's return.
func AskBack(most uint8) Move {
	return each(most, 0, "asks for the child back", func(s *custody.State) bool { return s.Owner != Nodes[0] }, func(ctx context.Context, c referralv1.ReferralServiceClient, name string, _ time.Time) error {
		_, err := c.RequestReturn(ctx, &referralv1.RequestReturnRequest{Name: name, Reason: "PLACEMENT_FAILED", Unit: Unit(0)})
		return err
	})
}

// IsBack has a node write that the child is back.
func IsBack(most uint8, node int) Move {
	return each(most, node, "writes that the child is back", owns(node), func(ctx context.Context, c referralv1.ReferralServiceClient, name string, _ time.Time) error {
		_, err := c.RecordReturn(ctx, &referralv1.RecordReturnRequest{Name: name, Reason: "PLACEMENT_FAILED"})
		return err
	})
}

// Complete has a node begin the service and complete.
func Complete(most uint8, node int) Move {
	return Move{Name: "completes", Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		for i, name := range w.Referrals(s) {
			if f := w.Facts(s.At[Referral(node)]).chains[name]; f == nil || s.Child[min(i, children-1)] != uint8(node) {
				continue
			}
			to, err := w.ask(s, node, fmt.Sprintf("%s serves (%d, %d)", Nodes[node], i, used), func(ctx context.Context, c referralv1.ReferralServiceClient, _ time.Time) error {
				_, err := c.StartService(ctx, &referralv1.StartServiceRequest{Name: name, Services: []string{"SHELTER"}})
				return err
			})
			if err != nil {
				continue
			}
			to, err = w.askAs(to, node, "protection", fmt.Sprintf("%s completes (%d, %d)", Nodes[node], i, used), func(ctx context.Context, c referralv1.ReferralServiceClient, _ time.Time) error {
				_, err := c.CompleteReferral(ctx, &referralv1.CompleteReferralRequest{
					Name: name, Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: "Well.",
					Actor: &custodyv1.Actor{Person: "nodes/" + Nodes[node] + "/workers/one", Unit: Unit(node), Service: "protection"},
				})
				return err
			})
			if err == nil {
				next(fmt.Sprintf("%s serves and completes%s", Nodes[node], which(w, s, i)), to)
			}
		}
	}}
}

// Travel brings a child to a node: where the referral was handed to it, or, of itself, anywhere.
func Travel(most uint8, to int, planned bool) Move {
	return Move{Name: "travels", Most: most, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		for i, name := range w.Referrals(s) {
			at := s.Child[i]
			if at == uint8(to) {
				continue
			}
			f := w.Facts(s.At[Referral(int(at))]).chains[name]
			if planned && (f == nil || f.state.State != custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT || f.state.Owner != Nodes[to]) {
				continue
			}
			after := s
			after.Child[i] = uint8(to)
			next(fmt.Sprintf("the child comes to %s%s", Nodes[to], which(w, s, i)), after)
		}
	}}
}

// Welcome has the node where a child is say so: as the owner, or else by the slip.
func Welcome(most uint8, node int) Move {
	return Move{Name: "welcomes", Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		for i, name := range w.Referrals(s) {
			if s.Child[i] == uint8(node) {
				if to, done := w.welcome(s, node, i, name, int(used)); done {
					next(fmt.Sprintf("%s says the child is there%s", Nodes[node], which(w, s, i)), to)
				}
			}
		}
	}}
}

// welcome writes or asserts an arrival, once.
func (w *World) welcome(s State, node, child int, name string, used int) (State, bool) {
	f := w.Facts(s.At[Referral(node)])
	if own := f.chains[name]; own != nil && own.state.Care == Nodes[node] && own.state.Owner == Nodes[node] || f.asserted[name] {
		return s, false
	}
	seen := []string{"REFERRAL_SLIP"}
	to, err := w.ask(s, node, fmt.Sprintf("%s writes the arrival (%d, %d)", Nodes[node], child, used), func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error {
		_, err := c.RecordArrival(ctx, &referralv1.RecordArrivalRequest{Name: name, Identification: seen, ArriveTime: timestamppb.New(now)})
		return err
	})
	if err != nil {
		to, err = w.ask(s, node, fmt.Sprintf("%s asserts the arrival (%d, %d)", Nodes[node], child, used), func(ctx context.Context, c referralv1.ReferralServiceClient, now time.Time) error {
			_, err := c.AssertArrival(ctx, &referralv1.AssertArrivalRequest{Name: name, Unit: Unit(node), Identification: seen, ArriveTime: timestamppb.New(now)})
			return err
		})
	}
	return to, err == nil && to != s
}

// EndHold has a shelter's manager give back a bed that is held and not promised.
func EndHold(most uint8, node int) Move {
	return Move{Name: "gives a held bed back", Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		for _, h := range w.Facts(s.At[Shelter(node)]).holds {
			if h.GetState() != shelterv1.Hold_STATE_HELD {
				continue
			}
			to := s
			what := fmt.Sprintf("the manager releases %s (%d)", h.GetName(), used)
			to.At[Shelter(node)], _ = w.Call(s.At[Shelter(node)], s.Now, what, func(ctx context.Context, as func(string) grpc.ClientConnInterface, _ time.Time) error {
				_, err := shelterv1.NewShelterServiceClient(as("gateway")).ReleaseHold(ctx, &shelterv1.ReleaseHoldRequest{Name: h.GetName()})
				return err
			})
			next("the manager at "+Nodes[node]+" gives a held bed back", to)
		}
	}}
}

// Wait lets time pass until the next thing is due anywhere.
func Wait(most uint8) Move {
	return Move{Name: "time passes", Most: most, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		if to, ok := w.later(s); ok {
			next("time passes to "+w.times[to.Now].Format("2 Jan 15:04"), to)
		}
	}}
}

// later is the state at the time of what is due next.
func (w *World) later(s State) (State, bool) {
	var soonest time.Time
	for _, id := range s.At {
		at := w.Facts(id).due
		if at.After(w.times[s.Now]) && (soonest.IsZero() || at.Before(soonest)) {
			soonest = at
		}
	}
	if soonest.IsZero() {
		return s, false
	}
	s.Now = w.timeOf(soonest)
	return s, true
}
