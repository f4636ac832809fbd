package simulation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

// casesEvery says which seeds have protection services: one with them takes about twice as long as one without, and what the referral and shelter
// services do by themselves is tried in more seeds where each is cheap.
const casesEvery = 6

// caseWeathers are what breaks besides where there are protection services. They come last, so that the others fall as they do without.
var caseWeathers = []weather{
	{"crash", 16 * time.Hour, []string{"protection"}, 10 * time.Minute},
	{"crash", 5 * 24 * time.Hour, []string{"protection"}, 20 * time.Hour},
	{"commit", 16 * time.Hour, []string{"protection"}, 10 * time.Minute},
	{"restore", 6 * 24 * time.Hour, []string{"protection"}, 0},
	{"roll back", 10 * 24 * time.Hour, []string{"protection"}, 0},
}

func (p plan) weathers() []weather {
	if p.cases {
		return slices.Concat(weathers, caseWeathers)
	}
	return weathers
}

// servicesOf are those of each node.
func (c *country) servicesOf() []string {
	if c.plan.cases {
		return []string{"referral", "shelter", "protection"}
	}
	return []string{"referral", "shelter"}
}

// addProtection gives each node a protection service. Its keys are the country's own: one that is erased never comes back, not in another
// country either.
func (c *country) addProtection(add func(node, service string)) {
	for _, node := range c.nodes {
		add(node, "protection")
		keys, err := privacy.OpenKeyring(context.Background(), privacy.Options{
			Dir: c.t.TempDir(), Engine: store.NewMemory(), Inline: true, Clock: func() time.Time { return c.now }, Rand: &lot{seed: mark("persons", node)},
		})
		if err != nil {
			c.t.Fatal(err)
		}
		c.house(node, "protection").keys = keys
	}
	c.files = newFiles()
	c.after(lookEvery, c.look)
}

// furnishUnits gives each node a unit that takes children in.
func (c *country) furnishUnits() {
	for _, node := range c.nodes {
		_, err := c.cases(node).CreateUnit(context.Background(), &protectionv1.CreateUnitRequest{
			Parent: "nodes/" + node, UnitId: "one", Unit: &protectionv1.Unit{DisplayName: "One", District: "PK617"},
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// cases speaks to a node's protection service, nil while that is down, or was put back and does not know it yet.
func (c *country) cases(node string) protectionv1.ProtectionServiceClient {
	h := c.house(node, "protection")
	if h.down() || h.unsure {
		return nil
	}
	return protectionv1.NewProtectionServiceClient(h.server().From("gateway", h.token()))
}

func (h *house) server() *rpc.Local {
	switch {
	case h.referral != nil:
		return h.referral.Server
	case h.protection != nil:
		return h.protection.Server
	}
	return h.shelter.Server
}

func (h *house) post() *post.Post {
	if h.protection != nil {
		return h.protection.Post
	}
	return h.referral.Post
}

func (h *house) incarnation() uint64 {
	if h.protection != nil {
		return h.protection.Incarnation()
	}
	return h.referral.Incarnation()
}

// waiting says that commands to another service have no result yet.
func (h *house) waiting() (bool, error) {
	if h.protection != nil {
		return h.protection.Waiting(context.Background())
	}
	return h.referral.Waiting(context.Background())
}

// wake has the protection service of a node hear what its referral service has told.
func (c *country) wake(h *house) {
	if !c.plan.cases || h.down() {
		return
	}
	if p := c.house(h.node, "protection"); !p.down() && (p.followed != h.told() || p.comparedWith != h.opened) {
		p.tick(50*time.Millisecond + time.Duration(p.chance.Int64N(int64(2*time.Second))))
	}
}

// protectionWorks goes on until nothing is left that one part of the service has made for another.
func (h *house) protectionWorks() error {
	ctx, now, p := context.Background(), h.now(), h.protection
	for again := true; again; {
		again = false
		for did, err := true, error(nil); did; {
			if did, h.mail, err = p.Post.Step(ctx, now); err != nil || h.failed() {
				return wrap("send and take letters", err)
			}
		}
		did, err := h.callReferral()
		if err != nil || h.failed() {
			return wrap("ask the referral service", err)
		}
		again = again || did
		if did, err = h.followReferral(); err != nil || h.failed() {
			return wrap("follow the referral service", err)
		}
		again = again || did
		if p.Woken() || isDue(h.due, now) {
			if h.due, err = p.DoDue(ctx); err != nil || h.failed() {
				return wrap("do what is due", err)
			}
			again = true
		}
		if did, err = h.compareCases(); err != nil || h.failed() {
			return wrap("compare cases and referrals", err)
		}
		again = again || did
		if !now.Before(h.tells) {
			h.tells = now.Add(tellEvery)
			if err := p.Tell(ctx); err != nil || h.failed() {
				return wrap("tell what flows", err)
			}
			again = true
		}
	}
	return nil
}

// callReferral asks the referral service what commands ask.
func (h *house) callReferral() (any bool, err error) {
	for did := true; did; any = any || did {
		if did, err = h.protection.Commands.Step(context.Background()); err != nil || h.failed() {
			return any, err
		}
	}
	h.commands = time.Time{}
	waiting, err := h.waiting()
	if waiting {
		h.commands = h.now().Add(30 * time.Second)
	}
	return any, err
}

// followReferral reads what the referral service has told.
func (h *house) followReferral() (any bool, err error) {
	r := h.c.house(h.node, "referral")
	h.follow = time.Time{}
	if r.down() || r.unsure || r.told() == h.followed {
		return false, nil
	}
	told := r.told()
	for n := 1; n > 0; any = any || n > 0 {
		if n, err = h.protection.Follower.Step(context.Background()); err != nil || h.failed() {
			h.follow = h.now().Add(2 * time.Second)
			return any, err
		}
	}
	h.followed = told
	return any, nil
}

// compareCases compares cases with what the referral service holds, until it is done, and when that service was opened again.
func (h *house) compareCases() (bool, error) {
	r := h.c.house(h.node, "referral")
	if h.now().Before(h.compared) {
		return false, nil
	}
	if h.compared = (time.Time{}); r.down() || r.unsure || h.comparedWith == r.opened {
		return false, nil
	}
	opened := r.opened
	whole, err := h.protection.Compare(context.Background())
	if err != nil || h.failed() {
		h.compared = h.now().Add(time.Minute)
		return false, err
	}
	if h.compared = h.now().Add(time.Minute); whole {
		h.comparedWith, h.compared = opened, time.Time{}
	}
	return true, nil
}

// heard notes what came of a call at a protection service, and lets it work a moment later.
func (c *country) heard(node, what string, err error) bool {
	h := c.house(node, "protection")
	c.tell("%s %s (child %d): %v", node, what, c.acting, reasonOf(err))
	c.did[what]++
	if h.failed() {
		return false
	}
	switch status.Code(err) {
	case codes.OK:
		c.did[what+" (done)"]++
	case codes.Internal, codes.Unknown, codes.DataLoss:
		c.breaks("INTERNAL: %s at %s: %v", what, node, err)
	}
	h.tick(time.Millisecond)
	return err == nil
}

// takeIn has a unit take children in and refer them, now and again until they are referred.
func (c *country) takeIn(all []*child, to string) {
	first := all[0]
	c.acting = first.number
	again := func() { c.after(time.Minute+about(first.chance, 5*time.Minute), func() { c.takeIn(all, to) }) }
	var files []*protectionv1.Case
	referred := 0
	for _, n := range all {
		file := c.openFile(n)
		if file == nil {
			again()
			return
		}
		if files = append(files, file); file.GetReferral() != "" {
			referred++
		}
	}
	switch {
	case referred == len(all):
		for i, n := range all {
			n.referral = files[i].GetReferral()
			c.after(about(n.chance, 2*time.Hour), func() { c.live(n) })
		}
		return
	case referred > 0: // the store was restored to between: who is left goes by itself
		for _, n := range all {
			c.goesAlone(n)
			c.takeIn([]*child{n}, to)
		}
		return
	}
	request := &protectionv1.ReferCaseRequest{
		Name: files[0].GetName(), Etag: files[0].GetEtag(), Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Reasons: []string{"NO_LOCAL_BED"}, ToUnit: unitOf(to), Needs: needs(), AnswerBy: timestamppb.New(c.house(first.origin, "protection").now().Add(24 * time.Hour)),
	}
	for _, file := range files[1:] {
		request.Others = append(request.Others, &protectionv1.OtherCase{Name: file.GetName(), Etag: file.GetEtag(), Needs: needs()})
	}
	_, err := c.cases(first.origin).ReferCase(context.Background(), request)
	c.heard(first.origin, "refers", err)
	again()
}

func needs() *custodyv1.Needs {
	return &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10, Languages: []string{"bal"}, Services: []string{"SHELTER"}}
}

// openFile is the case of a child, which is made where it is not there, with consent that holds; nil where it cannot be had now.
func (c *country) openFile(n *child) *protectionv1.Case {
	client, ctx := c.cases(n.origin), context.Background()
	if client == nil {
		return nil
	}
	if n.file == "" {
		made, err := client.CreateCase(ctx, &protectionv1.CreateCaseRequest{
			Parent: "nodes/" + n.origin, RequestId: n.key, Case: &protectionv1.Case{
				Unit: unitOf(n.origin), Urgency: custodyv1.Urgency(1 + n.urgent%3), FoundDistrict: "PK617", Narrative: "What happened.",
				Person: &protectionv1.Person{GivenName: fmt.Sprint("Child ", n.number), Gender: "Feminine", AgeFrom: 9, AgeTo: 10, Languages: []string{"bal"}},
			},
		})
		if !c.heard(n.origin, "takes in", err) {
			return nil
		}
		n.file = made.GetName()
	}
	file := c.readFile(n)
	if file == nil || file.GetConsent().GetDecision() == protectionv1.Consent_DECISION_GIVEN && file.GetConsent().GetEndTime() == nil {
		return file
	}
	if client = c.cases(n.origin); client == nil {
		return nil
	}
	file, err := client.RecordConsent(ctx, consentOf(file, protectionv1.Consent_DECISION_GIVEN))
	if !c.heard(n.origin, "records consent", err) {
		return nil
	}
	c.files.know(file)
	return file
}

func consentOf(file *protectionv1.Case, decision protectionv1.Consent_Decision) *protectionv1.RecordConsentRequest {
	return &protectionv1.RecordConsentRequest{Name: file.GetName(), Etag: file.GetEtag(), Consent: &protectionv1.Consent{
		Decision: decision, Basis: "ORAL_ASSENT_AND_CAREGIVER", GivenBy: "Her mother", Purposes: []string{"PLACEMENT"}, Scopes: []string{"IDENTITY", "BIRTH", "NARRATIVE"},
	}}
}

// readFile reads the case of a child at the node that took it in; nil where it does not answer, or does not have it any more.
func (c *country) readFile(n *child) *protectionv1.Case {
	client := c.cases(n.origin)
	if client == nil || n.file == "" {
		return nil
	}
	file, err := client.GetCase(context.Background(), &protectionv1.GetCaseRequest{Name: n.file})
	switch {
	case err == nil:
		c.files.know(file)
		return file
	case status.Code(err) == codes.NotFound:
		c.tell("the case of child %d is lost", n.number)
		c.did["cases lost"]++
		n.file = "" // the store was restored to before it
	default:
		c.heard(n.origin, "reads a case", err)
	}
	return nil
}

// hasCase looks after the case of a child. It is false where the child's life goes on as another's: nobody holds its referral any more, and
// its case knows it, or is gone with it.
func (c *country) hasCase(n *child) bool {
	file := c.readFile(n)
	switch {
	case file == nil:
		if n.file == "" && c.nowhere(n) {
			c.referAgain(n, n.key)
			return false
		}
	case file.GetReferral() == "":
		c.did["cases that lost their referral"]++
		c.referAgain(n, n.key)
		return false
	case file.GetReferral() != n.referral:
		c.did["referrals repeated"]++
		c.tell("the referral of child %d was asked for again", n.number)
		c.forget(n.referral)
		n.referral = file.GetReferral()
	case ended(file) && c.nowhere(n): // its end stands in the case, and went with the only copy of the chain
		n.over = true
		return false
	case left(file) && c.nowhere(n): // by what the case knows the child has left, and nobody knows where to
		c.did["cases whose child had left"]++
		c.referAgain(n, n.key+"-again")
		return false
	}
	often := 0.02
	if file.GetReferralState() == ready { // the dossier is on its way then, or there
		often = 0.15
	}
	if !c.calm && n.chance.Float64() < often {
		c.withdrawConsent(n, file)
	}
	return true
}

// left says that the child of a case has left, by what the case knows, and its referral goes on.
func left(file *protectionv1.Case) bool {
	switch file.GetReferralState() {
	case onTheRoad, arrived, inService:
		return true
	}
	return false
}

// ended says that the referral of a case has ended at home, by what the case knows.
func ended(file *protectionv1.Case) bool {
	switch file.GetReferralState() {
	case custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, custodyv1.ReferralState_REFERRAL_STATE_EXPIRED:
		return true
	}
	return false
}

// nowhere says that no referral service holds the referral of a child any more.
func (c *country) nowhere(n *child) bool {
	if !c.steady() {
		return false
	}
	for _, node := range c.nodes {
		_, err := c.client(node, "gateway").GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: n.referral})
		if status.Code(err) != codes.NotFound {
			return false
		}
	}
	return true
}

// referAgain has the unit that took a child in refer it again, by itself.
func (c *country) referAgain(n *child, key string) {
	c.did["referrals lost and made again"]++
	c.tell("child %d is referred again", n.number)
	c.forget(n.referral)
	n.over = true // its life goes on as another's
	fresh := *n
	fresh.over, fresh.where, fresh.travels, fresh.referral = false, n.origin, false, "" // who has gone first is brought back
	if fresh.key != key {
		fresh.key, fresh.file = key, ""
	}
	c.goesAlone(n)
	fresh.siblings = nil
	c.people[slices.Index(c.people, n)] = &fresh
	c.takeIn([]*child{&fresh}, c.other(n, n.origin))
}

// goesAlone takes a child from those with whom it was to go.
func (c *country) goesAlone(n *child) {
	rest := slices.DeleteFunc(slices.Clone(n.siblings), func(other *child) bool { return other == n })
	if len(rest) == 1 {
		rest[0].siblings = nil
	} else {
		for _, other := range rest {
			other.siblings = rest
		}
	}
	n.siblings = nil
}

// withdrawConsent has consent withdrawn at the node that took a child in, or where it is.
func (c *country) withdrawConsent(n *child, file *protectionv1.Case) {
	node := n.origin
	if n.where != n.origin {
		node, file = n.where, c.received(n.where, n.referral)
	}
	client := c.cases(node)
	if client == nil || file == nil || file.GetReferral() == "" {
		return
	}
	_, err := client.RecordConsent(context.Background(), consentOf(file, protectionv1.Consent_DECISION_REFUSED))
	c.heard(node, "withdraws consent", err)
}

// received is the case that a node can read of a dossier; nil for none.
func (c *country) received(node, referral string) *protectionv1.Case {
	client := c.cases(node)
	if client == nil {
		return nil
	}
	all, err := client.ListCases(context.Background(), &protectionv1.ListCasesRequest{
		Parent: "nodes/" + node, PageSize: 100, Filter: &protectionv1.ListCasesRequest_Filter{Referral: referral},
	})
	if err != nil {
		return nil
	}
	for _, file := range all.GetCases() {
		if readable(file) {
			return file
		}
	}
	return nil
}

// readable says that a case was made of a dossier, and what identifies the person can be read.
func readable(file *protectionv1.Case) bool {
	return file.GetSource() == protectionv1.Case_SOURCE_REFERRAL && file.GetReadingClosed() == ""
}

var errNoCase = status.Error(codes.Unavailable, "there is no case here")

// recordOutcome completes a referral in the case where the child is.
func (c *country) recordOutcome(n *child, node string) error {
	file := c.received(node, n.referral)
	if file == nil {
		return errNoCase
	}
	_, err := c.cases(node).RecordOutcome(context.Background(), &protectionv1.RecordOutcomeRequest{
		Name: file.GetName(), Etag: file.GetEtag(), Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: "Well.",
	})
	c.heard(node, "records an outcome", err)
	return err
}
