package app_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// holder stands in for a referral service that keeps what is submitted by its key, and that a restore takes back.
type holder struct {
	mu          sync.Mutex
	incarnation uint64
	recovering  bool
	silent      bool              // its answers are lost
	refuses     error             // what is submitted
	held        map[string]string // by key
	bodies      map[string]*referralv1.SubmitReferralRequest
	made        int
	asked       [][]string // what was compared
}

func newHolder(b *bench) *holder {
	h := &holder{incarnation: 1, held: map[string]string{}, bodies: map[string]*referralv1.SubmitReferralRequest{}}
	b.referral.set(h.answer)
	return h
}

func (h *holder) answer(request proto.Message) (proto.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r := request.(type) {
	case *referralv1.SubmitReferralRequest:
		if h.refuses != nil {
			return nil, h.refuses
		}
		v, err := h.begin(r)
		if err != nil {
			return nil, err
		}
		if h.silent {
			return nil, errAway
		}
		return v, nil
	case *referralv1.SubmitReferralsRequest:
		response := &referralv1.SubmitReferralsResponse{}
		for _, one := range r.GetRequests() {
			if _, err := h.taken(one); err != nil {
				return nil, err
			}
		}
		for _, one := range r.GetRequests() {
			v, err := h.begin(one)
			if err != nil {
				return nil, err
			}
			response.Referrals = append(response.Referrals, v)
		}
		return response, nil
	}
	return &referralv1.Told{}, nil
}

// taken is the referral that a call began; it is refused where its case has one by another call, or where it had another body.
func (h *holder) taken(r *referralv1.SubmitReferralRequest) (string, error) {
	for key, name := range h.held {
		code, why := codes.FailedPrecondition, fault.WrongState
		switch {
		case key == r.GetRequestId() && proto.Equal(h.bodies[key], r):
			return name, nil
		case key == r.GetRequestId():
			code, why = codes.AlreadyExists, fault.IdempotencyMismatch
		case !bytes.Equal(h.bodies[key].GetCaseFlowId(), r.GetCaseFlowId()):
			continue
		}
		refused, err := status.New(code, "It has one.").WithDetails(&errdetails.ErrorInfo{
			Reason: why.String(), Domain: "referral.amanat", Metadata: map[string]string{"referral": name, "begun_by": key, "request_id": r.GetRequestId()},
		})
		if err != nil {
			return "", err
		}
		return "", refused.Err()
	}
	return "", nil
}

func (h *holder) begin(r *referralv1.SubmitReferralRequest) (*referralv1.Referral, error) {
	name, err := h.taken(r)
	if err != nil {
		return nil, err
	}
	if name == "" {
		h.made++
		name = fmt.Sprintf("nodes/balochistan/referrals/01920000-0000-7000-8000-%012d", h.made)
		h.held[r.GetRequestId()], h.bodies[r.GetRequestId()] = name, proto.CloneOf(r)
	}
	return &referralv1.Referral{Name: name, State: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, Sequence: 2}, nil
}

// CompareReferrals answers as the service does.
func (h *holder) CompareReferrals(_ context.Context, r *referralv1.CompareReferralsRequest, _ ...grpc.CallOption) (*referralv1.CompareReferralsResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	response := &referralv1.CompareReferralsResponse{Incarnation: h.incarnation, Recovering: h.recovering}
	if len(r.GetReferrals()) > 0 {
		h.asked = append(h.asked, r.GetReferrals())
	}
	for _, name := range r.GetReferrals() {
		held := false
		for _, one := range h.held {
			held = held || one == name
		}
		if !held && !h.recovering {
			response.Missing = append(response.Missing, name)
		}
	}
	return response, nil
}

// restore puts the service back to before the referrals of these keys were submitted; of none: all.
func (h *holder) restore(lost ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.incarnation++
	if len(lost) == 0 {
		clear(h.held)
	}
	for _, key := range lost {
		delete(h.held, key)
	}
}

func (b *bench) compare(h *holder) (whole bool) {
	b.t.Helper()
	whole, err := b.CompareReferrals(context.Background(), h)
	must(b.t, err)
	return whole
}

// settled compares until all is compared, and waits for the answers.
func (b *bench) settled(h *holder) {
	b.t.Helper()
	for !b.compare(h) {
		for _, c := range b.list(nil) {
			b.answered(c.GetName())
		}
	}
	for _, c := range b.list(nil) {
		b.answered(c.GetName())
	}
}

// answered waits until nothing is awaited about a case.
func (b *bench) answered(name string) {
	b.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	id := b.record(name).GetAsked().GetId()
	if id == "" {
		return
	}
	if err := b.Commands.Wait(ctx, id); err != nil {
		b.t.Fatalf("no answer about %s: %v", name, err)
	}
}

// steps are those of which people were told, in order.
func (b *bench) steps() (all []string) {
	for _, n := range b.notices() {
		all = append(all, n.GetStep())
	}
	return all
}

// tellOfReferral gives the app an event as the referral service has it.
func (b *bench) tellOfReferral(name, key string, state custodyv1.ReferralState, sequence uint64) {
	b.t.Helper()
	b.happens("submitted", &referralv1.ReferralChanged{
		Referral: name, State: state, OriginNode: home, OwnerNode: home, Unit: b.parent() + "/units/hub", OwnerNodes: []string{home}, CareNode: home,
		Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, RequestId: key, Sequence: sequence,
	})
}

// A referral service is restored from a copy older than a submission that no other node had heard of: it is asked for again under the same
// key, once it has heard all others; the case follows the new name, and a person is told, once.
func TestAReferralNobodyHoldsIsAskedForAgain(t *testing.T) {
	b := newApp(t, home)
	h := newHolder(b)
	request := refer(b.consented())
	request.AnswerBy = timestamppb.New(begin.Add(3 * time.Hour))
	c, err := b.ReferCase(t.Context(), request, actor)
	must(t, err)
	first, key := c.GetReferral(), b.record(c.GetName()).GetSubmittedAs()
	body := proto.CloneOf(h.bodies[key])
	b.settled(h)
	b.settled(h)
	if len(h.asked) != 1 || h.made != 1 {
		t.Fatalf("with nothing lost: compared %v, made %d", h.asked, h.made)
	}
	h.restore()
	h.recovering = true
	if b.compare(h) || h.made != 1 || len(b.notices()) > 0 {
		t.Fatal("it may still come back from another node, and is asked for again")
	}
	h.recovering = false
	b.now(time.Hour)
	b.settled(h)
	c = b.get(c.GetName())
	if h.made != 2 || c.GetReferral() == first || c.GetReferral() != h.held[key] || c.GetReferralState() != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED || c.GetReferFailure() != "" {
		t.Fatalf("%d made, the case has %v", h.made, c)
	}
	if !proto.Equal(h.bodies[key], body) || body.GetNote() != canary {
		t.Errorf("asked again with %v, at first with %v", h.bodies[key], body)
	}
	b.settled(h)
	h.restore("another")
	b.settled(h)
	if h.made != 2 || !slices.Equal(b.steps(), []string{"REFERRAL_REPEATED"}) {
		t.Errorf("%d made, told %v", h.made, b.steps())
	}
	if n := b.notices()[0]; n.GetSubject() != c.GetName() || n.GetReference() != c.GetReference() {
		t.Errorf("told %v", n)
	}
	// The case follows the second, and what came of the first late moves nothing.
	b.tellOfReferral(c.GetReferral(), key, custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, 3)
	b.tellOfReferral(first, "", custodyv1.ReferralState_REFERRAL_STATE_READY, 9)
	if c = b.get(c.GetName()); c.GetReferralState() != custodyv1.ReferralState_REFERRAL_STATE_CANCELLED {
		t.Errorf("the case has %v", c)
	}
	// What is over is not compared, and not kept.
	h.restore()
	asked := len(h.asked)
	b.settled(h)
	if len(h.asked) != asked || b.record(c.GetName()).GetSubmission() != nil {
		t.Errorf("a referral that is over is compared: %v", h.asked[asked:])
	}
}

// The answer to what is asked again may be lost, and the service restored again before it came: it is one referral all the same.
func TestAskedForAgainIsOneReferral(t *testing.T) {
	b := newApp(t, home)
	h := newHolder(b)
	request := refer(b.consented())
	request.AnswerBy = timestamppb.New(begin.Add(time.Hour))
	c, err := b.ReferCase(t.Context(), request, actor)
	must(t, err)
	h.restore()
	b.now(2 * time.Hour) // the time for an answer is over
	h.mu.Lock()
	h.silent = true
	h.mu.Unlock()
	if !b.compare(h) {
		t.Fatal("it waits for the answer to what it has just asked")
	}
	h.restore("another")
	for range 2 {
		if b.compare(h) {
			t.Error("what is awaited is taken for what is lost")
		}
	}
	h.mu.Lock()
	h.silent = false
	h.mu.Unlock()
	b.settled(h)
	key := b.record(c.GetName()).GetSubmittedAs()
	if h.made != 2 || b.get(c.GetName()).GetReferral() != h.held[key] || h.bodies[key].GetAnswerBy() != nil {
		t.Errorf("%d made, by %v", h.made, h.bodies[key])
	}
	if !slices.Equal(b.steps(), []string{"REFERRAL_REPEATED"}) {
		t.Errorf("told %v", b.steps())
	}
}

// Where it cannot be asked for again a person is told, and the case can be referred anew; who has left already is left where they are.
func TestAReferralThatIsLost(t *testing.T) {
	for name, one := range map[string]struct {
		before func(b *bench, h *holder, c *protectionv1.Case)
		stays  bool
	}{
		"refused now": {before: func(_ *bench, h *holder, _ *protectionv1.Case) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.refuses = status.Error(codes.FailedPrecondition, "no")
		}},
		"no submission was kept": {before: func(b *bench, _ *holder, c *protectionv1.Case) {
			b.change(c.GetName(), func(r *protectionv1.CaseRecord) { r.Submission = nil })
		}},
		"consent has run out": {before: func(b *bench, _ *holder, c *protectionv1.Case) {
			b.change(c.GetName(), func(r *protectionv1.CaseRecord) { r.Case.Consent.ExpireTime = timestamppb.New(begin.Add(-time.Hour)) })
		}},
		"on the way": {stays: true, before: func(b *bench, _ *holder, c *protectionv1.Case) {
			b.tellOfReferral(c.GetReferral(), "", custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, 9)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, home)
			h := newHolder(b)
			c, err := b.ReferCase(t.Context(), refer(b.consented()), actor)
			must(t, err)
			first := c.GetReferral()
			one.before(b, h, c)
			h.restore()
			b.settled(h)
			c = b.get(c.GetName())
			if h.made != 1 || (c.GetReferral() == first) != one.stays || !one.stays && c.GetReferral() != "" {
				t.Errorf("%d made, the case has %v", h.made, c)
			}
			if told := b.steps(); told[len(told)-1] != "REFERRAL_LOST" {
				t.Errorf("told %v", told)
			}
			if one.stays {
				return
			}
			h.mu.Lock()
			h.refuses = nil
			h.mu.Unlock()
			b.change(c.GetName(), func(r *protectionv1.CaseRecord) { r.Case.Consent.ExpireTime = nil })
			c, err = b.ReferCase(t.Context(), refer(b.get(c.GetName())), actor)
			if err != nil || c.GetReferral() == "" || h.made != 2 {
				t.Errorf("referred anew: %v, %v", c, err)
			}
		})
	}
}

// change writes a case as the service never would.
func (b *bench) change(name string, do func(*protectionv1.CaseRecord)) {
	b.t.Helper()
	record := b.record(name)
	do(record)
	must(b.t, b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		return store.Cases.Put(tx, b.Keys, kitstore.K(name), record)
	}))
}

// Those who go together are asked for again by one command, or, where one of them came back from another node, none is without a person.
func TestThoseWhoGoTogetherAreAskedForAgain(t *testing.T) {
	for name, back := range map[string]bool{"all are lost": false, "one came back": true} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, home)
			h := newHolder(b)
			all := b.siblings(3)
			_, err := b.ReferCase(t.Context(), together(all), actor)
			must(t, err)
			var keys []string
			for _, c := range all {
				keys = append(keys, b.record(c.GetName()).GetSubmittedAs())
			}
			lost := keys
			if back {
				lost = keys[1:]
			}
			h.restore(lost...)
			b.settled(h)
			commands := 0
			for _, call := range b.referral.calls {
				if r, ok := call.(*referralv1.SubmitReferralsRequest); ok {
					commands++
					if len(r.GetRequests()) != 3 || r.GetRequests()[0].GetRequestId() != keys[0] {
						t.Errorf("asked for %v", r)
					}
				}
			}
			want, step := 6, "REFERRAL_REPEATED"
			if back {
				want, step = 3, "REFERRAL_LOST"
			}
			if h.made != want || commands != want/3 || !slices.Equal(b.steps(), slices.Repeat([]string{step}, len(lost))) {
				t.Errorf("%d made by %d commands, told %v", h.made, commands, b.steps())
			}
			for i, c := range all {
				if c = b.get(c.GetName()); c.GetReferral() != h.held[keys[i]] {
					t.Errorf("case %d has %q, and %q is held", i, c.GetReferral(), h.held[keys[i]])
				}
			}
		})
	}
}

// The mirror: this store is restored to before a case was referred, and the referral service is not. The events it reads again say by their
// key whose the referral is, in whatever state that is by now; no earlier referral takes its place, and an answer that is awaited goes first.
func TestACaseLearnsOfItsForgottenReferral(t *testing.T) {
	const second = "nodes/balochistan/referrals/01920000-0000-7000-8000-000000000002"
	key := func(c *protectionv1.Case, version string) string {
		return "refer-" + c.GetName()[len("nodes/balochistan/cases/"):] + "-" + version
	}
	b := newApp(t, home)
	c := b.consented()
	b.tellOfReferral(referral, key(c, "2"), custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, 1)
	if c = b.get(c.GetName()); c.GetReferral() != referral || c.GetReferralState() != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED {
		t.Fatalf("the case has %v", c)
	}
	if _, err := b.ReferCase(t.Context(), refer(c), actor); reason(err) != fault.WrongState {
		t.Fatalf("a second referral beside it: %v", err)
	}
	b.tellOfReferral(referral, key(c, "2"), custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, 5)
	b.tellOfReferral(second, key(c, "10"), custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, 1) // asked for later, by its version
	for range 2 {                                                                               // all is read again from the beginning
		b.tellOfReferral(second, key(c, "10"), custodyv1.ReferralState_REFERRAL_STATE_READY, 4)
		b.tellOfReferral(referral, key(c, "2"), custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, 1)
		b.tellOfReferral(referral, key(c, "2"), custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, 5)
	}
	if c = b.get(c.GetName()); c.GetReferral() != second || c.GetReferralState() != custodyv1.ReferralState_REFERRAL_STATE_READY {
		t.Errorf("the case has %v", c)
	}
	if len(b.notices()) > 0 {
		t.Errorf("told %v", b.steps())
	}
}

// This store is restored to before a case was referred, and somebody refers it again, before or after its events are read again: the referral service
// has its referral and begins no other, and the case follows that one; the same where it is asked under the same key in other words.
func TestACaseThatForgotItsReferralHasOne(t *testing.T) {
	for name, one := range map[string]struct {
		late   bool // there was a change to the case before it is referred again
		events string
	}{
		"the same call in other words": {}, "a later call": {late: true},
		"the event comes while it is asked": {late: true, events: "during"}, "the event comes behind": {late: true, events: "behind"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, home)
			h := newHolder(b)
			c := b.consented()
			before := b.record(c.GetName())
			c, err := b.ReferCase(t.Context(), refer(c), actor)
			must(t, err)
			first, key := c.GetReferral(), b.record(c.GetName()).GetSubmittedAs()
			must(t, b.DB.Update(t.Context(), func(tx *kitstore.Tx) error { return store.Cases.Put(tx, b.Keys, kitstore.K(c.GetName()), before) }))
			if !one.late { // it is asked with the same etag as it was then
				h.mu.Lock()
				later := "refer-" + c.GetName()[len("nodes/balochistan/cases/"):] + "-" + b.get(c.GetName()).GetEtag()
				h.held, h.bodies, key = map[string]string{later: first}, map[string]*referralv1.SubmitReferralRequest{later: h.bodies[key]}, later
				h.mu.Unlock()
			}
			ready := func() { b.tellOfReferral(first, key, custodyv1.ReferralState_REFERRAL_STATE_READY, 4) }
			if one.events == "during" {
				b.referral.set(func(r proto.Message) (proto.Message, error) { ready(); return h.answer(r) })
			}
			request := refer(b.get(c.GetName()))
			request.Note = "In other words."
			_, err = b.ReferCase(t.Context(), request, actor)
			if reason(err) != fault.WrongState && reason(err) != fault.IdempotencyMismatch {
				t.Errorf("referred again: %v", err)
			}
			if one.events == "behind" {
				ready()
			}
			c = b.get(c.GetName())
			record := b.record(c.GetName())
			if h.made != 1 || c.GetReferral() != first || c.GetReferFailure() != "" || record.GetSubmittedAs() != key || record.GetSubmission() != nil {
				t.Errorf("%d made, the case has %v, by %q", h.made, c, record.GetSubmittedAs())
			}
			if (c.GetReferralState() == custodyv1.ReferralState_REFERRAL_STATE_READY) != (one.events != "") {
				t.Errorf("it is %v", c.GetReferralState())
			}
			if _, err := b.ReferCase(t.Context(), refer(c), actor); reason(err) != fault.WrongState || h.made != 1 {
				t.Errorf("referred once more: %v", err)
			}
		})
	}
}

// A call that is refused leaves no trace in which call was the case's last: an earlier one, forgotten in a restore, is known by its key.
func TestARefusedCallIsNotTheLast(t *testing.T) {
	b := newApp(t, home)
	h := newHolder(b)
	h.refuses = status.Error(codes.FailedPrecondition, "no")
	c := b.consented()
	key := "refer-" + c.GetName()[len("nodes/balochistan/cases/"):] + "-0"
	if _, err := b.ReferCase(t.Context(), refer(c), actor); err == nil {
		t.Fatal("not refused")
	}
	b.tellOfReferral(referral, key, custodyv1.ReferralState_REFERRAL_STATE_READY, 4)
	if c = b.get(c.GetName()); c.GetReferral() != referral || c.GetReferralState() != custodyv1.ReferralState_REFERRAL_STATE_READY {
		t.Errorf("the case has %v", c)
	}
}

// The case itself was lost with what a restore took away, and its referral goes on: a person is told, once.
func TestAReferralWhoseCaseIsLost(t *testing.T) {
	b := newApp(t, home)
	b.unit()
	key := "refer-01920000-0000-7000-8000-00000000000a-3"
	for range 2 {
		b.tellOfReferral(referral, key, custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, 1)
		b.tellOfReferral(referral, key, custodyv1.ReferralState_REFERRAL_STATE_READY, 4)
		b.now(time.Hour)
	}
	if told := b.steps(); !slices.Equal(told, []string{"CASE_LOST"}) || b.notices()[0].GetSubject() != referral {
		t.Errorf("told %v", b.notices())
	}
	// One that is over has nobody to be looked for.
	b.tellOfReferral(referral[:len(referral)-1]+"7", key, custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, 4)
	if len(b.notices()) != 1 {
		t.Errorf("told %v", b.steps())
	}
}

// A person whose data was erased is asked for no more, and nobody is told.
func TestWhoWasErasedIsNotAskedForAgain(t *testing.T) {
	b := newApp(t, home)
	h := newHolder(b)
	c, err := b.ReferCase(t.Context(), refer(b.consented()), actor)
	must(t, err)
	must(t, b.Keys.Erase(t.Context(), store.KeyName(c.GetName())))
	h.restore()
	b.settled(h)
	if h.made != 1 || len(b.notices()) > 0 {
		t.Errorf("%d made, told %v", h.made, b.steps())
	}
}

// record is a case as it is stored.
func (b *bench) record(name string) *protectionv1.CaseRecord {
	b.t.Helper()
	var row privacy.Row[*protectionv1.CaseRecord]
	must(b.t, b.DB.View(context.Background(), func(r kitstore.Reader) (err error) {
		row, err = store.Cases.Row(r, b.Keys, kitstore.K(name))
		return err
	}))
	return row.Value
}
