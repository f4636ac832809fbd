package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// callers are connections as the services that call, and the person of the gateway's calls.
type callers struct {
	gateway, protection referralv1.ReferralServiceClient
	person              context.Context
}

func newCallers(t testing.TB, s *rpctest.Suite) callers {
	t.Helper()
	return callers{
		gateway:    referralv1.NewReferralServiceClient(s.Dial(t, s.Address, "gateway")),
		protection: referralv1.NewReferralServiceClient(s.Dial(t, s.Address, "protection")),
		person:     rpc.WithPersonToken(t.Context(), s.Token(t, "supervisor", nil)),
	}
}

// call makes a call whose answer is of no interest.
func call[Q, A any](ctx context.Context, rpc func(context.Context, Q, ...grpc.CallOption) (A, error), request Q) func() error {
	return func() error { _, err := rpc(ctx, request); return err }
}

type refused struct {
	call func() error
	want rpctest.Refusal
}

func runRefused(t *testing.T, s *rpctest.Suite, cases map[string]refused) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { s.Refused(t, s.Unchanged(t, c.call), c.want) })
	}
}

func invalid(field string) rpctest.Refusal {
	return rpctest.Refusal{Code: codes.InvalidArgument, Reason: "INVALID_FIELD", Names: field}
}

func missing(names string) rpctest.Refusal {
	return rpctest.Refusal{Code: codes.NotFound, Reason: "NOT_FOUND", Names: names}
}

func state(reason, names string) rpctest.Refusal {
	return rpctest.Refusal{Code: codes.FailedPrecondition, Reason: reason, Names: names}
}

var (
	stale      = rpctest.Refusal{Code: codes.Aborted, Reason: "STALE_ETAG"}
	wrongState = state("WRONG_STATE", "")
)

// Names of things that are not there.
const (
	noReferral = "nodes/punjab/referrals/0192f0a1-0000-7000-8000-000000000001"
	noHash     = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	noOffer    = noReferral + "/offers/" + noHash
)

func TestRefusedSubmissions(t *testing.T) {
	w, s := newSuite(t)
	c := newCallers(t, s)
	used := local(w)
	if _, err := c.protection.SubmitReferral(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	submit := func(change func(r *referralv1.SubmitReferralRequest)) func() error {
		r := local(w)
		change(r)
		return call(t.Context(), c.protection.SubmitReferral, r)
	}
	override := func(note string) func(r *referralv1.SubmitReferralRequest) {
		return func(r *referralv1.SubmitReferralRequest) {
			r.Note, r.Ground = note, &referralv1.SubmitReferralRequest_Override{Override: &custodyv1.ConsentOverride{
				LegalBasis: "IMMINENT_DANGER", Approver: "nodes/punjab/workers/s",
			}}
		}
	}
	const day = 24 * time.Hour
	reused := rpctest.Refusal{Code: codes.AlreadyExists, Reason: "IDEMPOTENCY_MISMATCH"}
	runRefused(t, s, map[string]refused{
		"neither consent nor legal basis": {submit(func(r *referralv1.SubmitReferralRequest) { r.Ground = nil }), invalid("ground")},
		"consent that has ended":          {submit(func(r *referralv1.SubmitReferralRequest) { r.GetConsent().ExpireTime = ahead(-time.Second) }), state("CONSENT_MISSING", "")},
		"a legal basis without a reason":  {submit(override(" ")), invalid("note")},
		"reversed ages":                   {submit(func(r *referralv1.SubmitReferralRequest) { r.Needs.AgeTo = 3 }), invalid("needs")},
		"a place to stay as a service":    {submit(func(r *referralv1.SubmitReferralRequest) { r.Kind = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE }), invalid("service")},
		"another node's unit":             {submit(func(r *referralv1.SubmitReferralRequest) { r.Unit = hub }), invalid("unit")},
		"another node":                    {submit(func(r *referralv1.SubmitReferralRequest) { r.Parent = "nodes/balochistan" }), missing("field=parent")},
		"a node that takes no part": {
			submit(func(r *referralv1.SubmitReferralRequest) { r.ToUnit = "nodes/kashmir/units/hub" }),
			rpctest.Refusal{Code: codes.InvalidArgument, Reason: "UNKNOWN_NODE", Names: "to_unit"},
		},
		"an answer in the past":   {submit(func(r *referralv1.SubmitReferralRequest) { r.AnswerBy = ahead(-time.Second) }), invalid("answer_by")},
		"an answer after a month": {submit(func(r *referralv1.SubmitReferralRequest) { r.AnswerBy = ahead(31 * day) }), invalid("answer_by")},
		"consent recorded before year one": {submit(func(r *referralv1.SubmitReferralRequest) {
			r.GetConsent().RecordTime = &timestamppb.Timestamp{Seconds: -1 << 40}
		}), invalid("consent.record_time")},
	})
	// A person's key is made before the transaction that knows the request again. It seals nothing.
	rowsOnly := *s
	rowsOnly.Writes = rpctest.Watch(w.punjab.DB)
	runRefused(t, &rowsOnly, map[string]refused{
		"a key used for another unit":      {submit(func(r *referralv1.SubmitReferralRequest) { r.RequestId, r.ToUnit = used.GetRequestId(), hub }), reused},
		"a key used with another note":     {submit(func(r *referralv1.SubmitReferralRequest) { r.RequestId, r.Note = used.GetRequestId(), "Another." }), reused},
		"a key used with a note, now none": {submit(func(r *referralv1.SubmitReferralRequest) { r.RequestId, r.Note = used.GetRequestId(), "" }), reused},
	})
}

func TestRefusedAnswers(t *testing.T) {
	w, s := newSuite(t)
	c := newCallers(t, s)
	asked, declined, done := w.walk(t, asked), w.declined(t), w.walk(t, ready)
	offer, said, promised := asked.GetOffers()[0].GetName(), declined.GetOffers()[0].GetName(), done.GetOffers()[0].GetName()
	accept := func(name string, change func(r *referralv1.AcceptOfferRequest)) func() error {
		r := acceptance(name, "punjab")
		change(r)
		return call(c.person, c.gateway.AcceptOffer, r)
	}
	same := func(*referralv1.AcceptOfferRequest) {}
	decline := func(name, reason, note, etag string) func() error {
		return call(c.person, c.gateway.DeclineOffer, &referralv1.DeclineOfferRequest{Name: name, Reason: reason, Note: note, Etag: etag})
	}
	runRefused(t, s, map[string]refused{
		"accept no such offer":     {accept(noOffer, same), missing("kind=offer")},
		"accept what was declined": {accept(said, same), wrongState},
		"accept without a bed":     {accept(offer, func(r *referralv1.AcceptOfferRequest) { r.Group = "" }), invalid("group")},
		"another node's bed": {
			accept(offer, func(r *referralv1.AcceptOfferRequest) { r.Group = strings.Replace(group, "punjab", "sindh", 1) }), invalid("group"),
		},
		"accept what changed":          {accept(offer, func(r *referralv1.AcceptOfferRequest) { r.Etag = "77" }), stale},
		"a hold in the past":           {accept(offer, func(r *referralv1.AcceptOfferRequest) { r.HoldExpireTime = ahead(-time.Second) }), invalid("hold_expire_time")},
		"a hold of a moment":           {accept(offer, func(r *referralv1.AcceptOfferRequest) { r.HoldExpireTime = ahead(time.Minute) }), invalid("hold_expire_time")},
		"a hold of more than a week":   {accept(offer, func(r *referralv1.AcceptOfferRequest) { r.HoldExpireTime = ahead(8 * 24 * time.Hour) }), invalid("hold_expire_time")},
		"decline no such offer":        {decline(noOffer, "TOO_FAR", "", ""), missing("kind=offer")},
		"decline what changed":         {decline(offer, "TOO_FAR", "", "77"), stale},
		"decline and not say why":      {decline(offer, "OTHER", " ", ""), invalid("note")},
		"decline for another reason":   {decline(said, "NO_CAPACITY", "", ""), wrongState},
		"decline after the promise":    {decline(promised, "TOO_FAR", "", ""), wrongState},
		"read no such offer":           {call(c.person, c.gateway.GetOffer, &referralv1.GetOfferRequest{Name: noOffer}), missing("kind=offer")},
		"read an offer not in a chain": {call(c.person, c.gateway.GetOffer, &referralv1.GetOfferRequest{Name: asked.GetName() + "/offers/" + noHash}), missing("kind=offer")},
	})
	// The shelter's refusal reaches whoever accepts; the offer stays as it was, but for the reason.
	for _, refusal := range []struct {
		shelter *fault.Error
		want    rpctest.Refusal
	}{
		{fault.New(fault.NoCapacity, "Full."), state("NO_CAPACITY", "offer="+offer)},
		{fault.New(fault.CannotMeetNeeds, "No."), state("CANNOT_MEET_NEEDS", "group")},
		{fault.NotFound("group"), invalid("group")},
	} {
		w.refuse = refusal.shelter
		s.Refused(t, accept(offer, same)(), refusal.want)
		if o := w.offer(t, asked); o.GetState() != custodyv1.OfferState_OFFER_STATE_RECEIVED || o.GetHold() != "" {
			t.Errorf("after the shelter's refusal the offer is %v", o)
		}
	}
}

func TestRefusedStepsOfTheOwner(t *testing.T) {
	w, s := newSuite(t)
	c := newCallers(t, s)
	asked, declined := w.walk(t, asked), w.declined(t)
	promised, travelling, there, served := w.walk(t, ready), w.walk(t, onTheRoad), w.walk(t, arrived), w.walk(t, inService)
	closed := w.walk(t, completed)
	// One that punjab began and balochistan owns by now.
	gone := w.walkFrom(t, w.punjab, w.nodes["balochistan"], w.submission("nodes/punjab", multan, hub), onTheRoad)
	// One that balochistan owns and of which punjab has the offer alone.
	foreign := w.walkFrom(t, w.nodes["balochistan"], w.punjab, w.submission("nodes/balochistan", hub, lahore), 0)

	offer := func(name, unit, etag string) func() error {
		return call(c.person, c.gateway.OfferReferral, &referralv1.OfferReferralRequest{Name: name, ToUnit: unit, Etag: etag})
	}
	confirm := func(offer, etag string) func() error {
		return call(c.person, c.gateway.ConfirmOffer, &referralv1.ConfirmOfferRequest{Name: offer, Etag: etag})
	}
	send := func(name string, change func(r *referralv1.DispatchReferralRequest)) func() error {
		r := dispatch(name)
		change(r)
		return call(c.person, c.gateway.DispatchReferral, r)
	}
	arrive := func(name string, change func(r *referralv1.RecordArrivalRequest)) func() error {
		r := arrival(name)
		change(r)
		return call(c.person, c.gateway.RecordArrival, r)
	}
	serve := func(name, etag string) func() error {
		r := start(name)
		r.Etag = etag
		return call(c.person, c.gateway.StartService, r)
	}
	complete := func(name, outcome string) func() error {
		r := completion(name)
		r.Outcome = outcome
		return call(t.Context(), c.protection.CompleteReferral, r)
	}
	sent, came := func(*referralv1.DispatchReferralRequest) {}, func(*referralv1.RecordArrivalRequest) {}
	none, owner := missing("kind=referral"), state("NOT_OWNER", "")
	runRefused(t, s, map[string]refused{
		"offer no such referral":       {offer(noReferral, hub, "1"), none},
		"offer what changed":           {offer(declined.GetName(), hub, "77"), stale},
		"offer to who is asked":        {offer(asked.GetName(), lahore, asked.GetEtag()), state("WRONG_STATE", "offer="+asked.GetOffers()[0].GetName())},
		"offer what another node owns": {offer(gone.GetName(), hub, gone.GetEtag()), owner},
		"offer to nobody": {
			offer(declined.GetName(), "nodes/kashmir/units/hub", declined.GetEtag()),
			rpctest.Refusal{Code: codes.InvalidArgument, Reason: "UNKNOWN_NODE", Names: "to_unit"},
		},

		"confirm no such referral":      {confirm(noOffer, ""), none},
		"confirm no such offer":         {confirm(asked.GetName()+"/offers/"+noHash, ""), missing("kind=offer")},
		"confirm what changed":          {confirm(asked.GetOffers()[0].GetName(), "77"), stale},
		"confirm before it is accepted": {confirm(asked.GetOffers()[0].GetName(), ""), wrongState},
		"confirm what was declined":     {confirm(declined.GetOffers()[0].GetName(), ""), wrongState},
		"confirm another's":             {confirm(foreign.GetOffers()[0].GetName(), ""), none},

		"dispatch no such referral":      {send(noReferral, sent), none},
		"dispatch before the promise":    {send(asked.GetName(), sent), wrongState},
		"dispatch what changed":          {send(promised.GetName(), func(r *referralv1.DispatchReferralRequest) { r.Etag = "77" }), stale},
		"dispatch twice":                 {send(travelling.GetName(), sent), wrongState},
		"dispatch what another has":      {send(gone.GetName(), sent), owner},
		"dispatch for the past":          {send(promised.GetName(), func(r *referralv1.DispatchReferralRequest) { r.ExpectTime = ahead(-time.Second) }), invalid("expect_time")},
		"dispatch for after a fortnight": {send(promised.GetName(), func(r *referralv1.DispatchReferralRequest) { r.ExpectTime = ahead(15 * 24 * time.Hour) }), invalid("expect_time")},

		"arrive at no such referral": {arrive(noReferral, came), none},
		"arrive before departure":    {arrive(promised.GetName(), came), wrongState},
		"arrive twice":               {arrive(there.GetName(), came), wrongState},
		"arrive at another node":     {arrive(gone.GetName(), came), owner},
		"arrive where it changed":    {arrive(travelling.GetName(), func(r *referralv1.RecordArrivalRequest) { r.Etag = "77" }), stale},
		"arrive in the future":       {arrive(travelling.GetName(), func(r *referralv1.RecordArrivalRequest) { r.ArriveTime = ahead(time.Hour) }), invalid("arrive_time")},

		"serve no such referral": {serve(noReferral, ""), none},
		"serve before arrival":   {serve(travelling.GetName(), ""), wrongState},
		"serve what changed":     {serve(there.GetName(), "77"), stale},
		"serve twice":            {serve(served.GetName(), ""), wrongState},
		"serve another's":        {serve(gone.GetName(), ""), owner},

		"complete no such referral":     {complete(noReferral, "REUNIFIED"), none},
		"complete before services":      {complete(there.GetName(), "REUNIFIED"), wrongState},
		"complete with another outcome": {complete(closed.GetName(), "ABSCONDED"), wrongState},
		"complete another's":            {complete(gone.GetName(), "REUNIFIED"), owner},
		"complete what was only asked":  {complete(foreign.GetName(), "REUNIFIED"), none},

		"read no such referral":          {call(c.person, c.gateway.GetReferral, &referralv1.GetReferralRequest{Name: noReferral}), none},
		"read no such chain":             {call(c.person, c.gateway.GetCustodyChain, &referralv1.GetCustodyChainRequest{Name: noReferral}), none},
		"read the chain of a mere offer": {call(c.person, c.gateway.GetCustodyChain, &referralv1.GetCustodyChainRequest{Name: foreign.GetName()}), none},
		"read no such annex":             {call(c.person, c.gateway.GetAnnex, &referralv1.GetAnnexRequest{Name: asked.GetName() + "/annexes/" + noHash}), missing("kind=annex")},
		"another node's referrals":       {call(c.person, c.gateway.ListReferrals, &referralv1.ListReferralsRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"another node's offers":          {call(c.person, c.gateway.ListOffers, &referralv1.ListOffersRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"another node's deadlines":       {call(c.person, c.gateway.ListDeadlines, &referralv1.ListDeadlinesRequest{Parent: "nodes/sindh"}), missing("field=parent")},
	})
}

// What people wrote leaves only after its reading stands in the audit log; when it cannot stand
// there, nothing leaves.
func TestReadingAnAnnexIsAudited(t *testing.T) {
	w, s := newSuite(t)
	c := newCallers(t, s)
	name := w.walk(t, asked).GetAnnexes()[0]
	w.noAudit.Store(true)
	before := s.Writes.State()
	content, err := c.gateway.GetAnnex(c.person, &referralv1.GetAnnexRequest{Name: name})
	s.Refused(t, err, rpctest.Refusal{Code: codes.Internal, Reason: "INTERNAL"})
	if content.GetNote() != "" || strings.Contains(err.Error(), "A note") || s.Writes.State() != before {
		t.Fatalf("without an audit row it answers %v, %v", content, err)
	}
	w.noAudit.Store(false)
	content, err = c.gateway.GetAnnex(c.person, &referralv1.GetAnnexRequest{Name: name})
	if err != nil || content.GetNote() != "A note." {
		t.Fatalf("%v, %v", content, err)
	}
	var rows []*privacyv1.AuditRow
	must(t, w.punjab.DB.View(t.Context(), func(r kitstore.Reader) (err error) {
		rows, err = store.Audit.Page(r, 1, 10) // the first says who was excused
		return err
	}))
	if len(rows) != 1 || rows[0].GetResource() != name || rows[0].GetMethod() != referralv1.ReferralService_GetAnnex_FullMethodName ||
		rows[0].GetPerson() != "nodes/punjab/workers/w" || rows[0].GetPurpose() != "casework" || rows[0].GetCaller() != "gateway" {
		t.Fatalf("audit rows: %v", rows)
	}
}
