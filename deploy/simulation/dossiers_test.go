package simulation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

const kindDossier = "protection.dossier.v1"

// lookEvery is how often is judged who can read what.
const lookEvery = 3 * time.Hour

// files are what is known of cases and dossiers from all that was seen of them.
type files struct {
	grounds   map[string]string // cases by the commitment to the consent on which they are referred
	referrals map[string]string // the grounds of referrals
	came      map[[2]string]int // dossiers that were received, by node and referral: in which life of the service
}

func newFiles() files {
	return files{grounds: map[string]string{}, referrals: map[string]string{}, came: map[[2]string]int{}}
}

// know notes on which consent a case is referred.
func (f *files) know(file *protectionv1.Case) {
	if commitment := file.GetConsent().GetCommitment(); len(commitment) > 0 && file.GetSource() == protectionv1.Case_SOURCE_INTAKE {
		f.grounds[string(commitment)] = file.GetName()
	}
}

func (c *country) look() {
	c.after(lookEvery, c.look)
	for _, node := range c.nodes {
		c.judgeDossiers(node)
		c.judgeOwed(c.house(node, "protection"))
	}
	c.judgeCases()
}

// judgeArrival: a dossier comes to a node only after that node's promise stands in the chain of who gives the person, or the person was handed
// over to it.
func (c *country) judgeArrival(h *house, from string, letter *postv1.Letter) {
	d := &protectionv1.Dossier{}
	if err := proto.Unmarshal(letter.GetBody(), d); err != nil {
		c.breaks("DOSSIER: what %s has received is none: %v", h, err)
		return
	}
	c.did["dossiers received"]++
	c.tell("%s receives a dossier of %s (%s)", h, from, c.whose(d.GetReferral()))
	c.files.came[[2]string{h.node, d.GetReferral()}] = h.life
	for _, node := range c.nodes {
		if f := c.chain(node, d.GetReferral()); f != nil && entitled(f, h.node, d) {
			return
		}
	}
	// Who gave it may not know any more why.
	if giver := c.house(from, "referral"); !giver.down() && giver.life == 0 && c.house(from, "protection").life == 0 {
		c.breaks("DOSSIER (READY): %s has received a dossier of %s before it had promised a place (%s)", h, from, d.GetReferral())
	}
}

// entitled says that a chain says, or once said, that a node has promised a place on a dossier's offer, or that it has the person.
func entitled(f *chainFacts, node string, d *protectionv1.Dossier) bool {
	offer := d.GetOffer()[strings.LastIndexByte(d.GetOffer(), '/')+1:]
	for _, l := range f.chain.Links() {
		if b := promisedBy(l.Event); len(b) == len(custody.Hash{}) && custody.Hash(b).String() == offer {
			return true
		}
	}
	return f.state.Owned(node)
}

// current says that the protection service of a node has heard all that its referral service knows, and that this is all it ever knew.
func (c *country) current(p *house) bool {
	r := c.house(p.node, "referral")
	return !p.down() && !p.unsure && !r.down() && !r.unsure && !r.referral.Recovering() && p.followed == r.told() && p.comparedWith == r.opened
}

// readAt are the referrals of which a node can read what came from others, with the offer while it is no case yet.
func (c *country) readAt(p *house) map[string]string {
	open := map[string]string{}
	err := p.protection.Dossiers(context.Background(), func(d *protectionv1.ReceivedDossier, erased bool) {
		if d.GetReceiveTime() != nil && d.GetCase() == "" && !erased {
			open[d.GetDossier().GetReferral()] = d.GetDossier().GetOffer()
		}
	})
	if err != nil {
		c.breaks("STORE: %s: %v", p, err)
	}
	for token := ""; ; {
		page, err := c.cases(p.node).ListCases(context.Background(), &protectionv1.ListCasesRequest{Parent: "nodes/" + p.node, PageSize: 500, PageToken: token})
		if err != nil {
			c.breaks("INTERNAL: list the cases of %s: %v", p, err)
			return open
		}
		for _, file := range page.GetCases() {
			if readable(file) {
				open[file.GetReferral()] = ""
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			return open
		}
	}
}

// judgeDossiers: who can read a dossier has the duty of care, or has promised a place to a person who is to come, by all that the node knows.
func (c *country) judgeDossiers(node string) {
	p := c.house(node, "protection")
	if c.broken != "" || !c.current(p) {
		return
	}
	c.did["looks at dossiers"]++
	read := c.readAt(p)
	for _, referral := range slices.Sorted(maps.Keys(read)) {
		f := c.chain(node, referral)
		c.did["dossiers judged"]++
		if f == nil && (read[referral] != "" || c.house(node, "referral").life > 0 || c.has(node, referral)) {
			continue // it has overtaken the chain, also of who went first and is there, or nobody has that any more
		}
		if f == nil || !c.mayRead(node, f) {
			c.breaks("DOSSIER (duty): %s can read what came of %s, has not the duty of care, and has not promised a place (%s)", p, c.whose(referral), referral)
		}
	}
}

func (c *country) whose(referral string) string {
	for _, n := range c.people {
		if n.referral == referral {
			return fmt.Sprint("child ", n.number)
		}
	}
	return "nobody"
}

// mayRead says that a node may read a dossier, by a chain.
func (c *country) mayRead(node string, f *chainFacts) bool {
	if f.state.Care == node || f.state.Owner == node && f.state.State == onTheRoad || c.has(node, f.state.Referral) {
		return true
	}
	return !f.state.ConsentEnded && c.promises(node, f)
}

// promises says that a node has promised a place, or is asked to, on an offer that has not ended there.
func (c *country) promises(node string, f *chainFacts) bool {
	for _, o := range f.state.Offers {
		if o.Offered.GetToNode() != node || o.Return || !promising(o.State) {
			continue
		}
		own, err := c.client(node, "gateway").GetOffer(context.Background(), &referralv1.GetOfferRequest{Name: f.state.Referral + "/offers/" + o.Hash.String()})
		if err != nil || promising(own.GetState()) {
			return true
		}
	}
	return false
}

func promising(s custodyv1.OfferState) bool {
	return s == custodyv1.OfferState_OFFER_STATE_CONFIRMED || s == custodyv1.OfferState_OFFER_STATE_READY
}

// has says that a node asserts that it has a person, and waits for the referral.
func (c *country) has(node, referral string) bool {
	due, err := c.client(node, "gateway").ListDeadlines(context.Background(), &referralv1.ListDeadlinesRequest{Parent: "nodes/" + node, PageSize: 500})
	return err != nil || slices.ContainsFunc(due.GetDeadlines(), func(d *referralv1.Deadline) bool {
		return d.GetKind() == referralv1.Deadline_KIND_FOLLOW_PERSON && d.GetReferral() == referral
	})
}

// judgeCases: a case has at most one live referral, and it is one that the node's referral service holds.
func (c *country) judgeCases() {
	if c.broken != "" {
		return
	}
	for _, node := range c.nodes {
		p := c.house(node, "protection")
		if !c.current(p) {
			continue
		}
		live, ok := c.liveReferrals(node)
		if !ok {
			continue
		}
		byCase := map[string]string{}
		for _, referral := range slices.Sorted(maps.Keys(live)) {
			file := c.files.grounds[live[referral]]
			if other := byCase[file]; other != "" && file != "" {
				c.breaks("CASE (one referral): %s has two live referrals: %s and %s", file, other, referral)
			}
			byCase[file] = referral
		}
		c.did["cases judged"] += len(byCase)
		c.judgeHeld(p, live)
	}
}

// judgeOwed: who was taken in, and is here or is here again, is owed what the law of Lahore wants, where all units are; who is with somebody else
// is owed nothing here.
func (c *country) judgeOwed(p *house) {
	if c.broken != "" || p.down() || p.unsure {
		return
	}
	ctx, client, parent := context.Background(), c.cases(p.node), "nodes/"+p.node
	owed := map[string]int{}
	for token := ""; ; {
		page, err := client.ListCaseDeadlines(ctx, &protectionv1.ListCaseDeadlinesRequest{Parent: parent, PageSize: 500, PageToken: token})
		if !c.answered(err) {
			return
		}
		for _, d := range page.GetCaseDeadlines() {
			owed[d.GetSubject()]++
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	for token := ""; ; {
		page, err := client.ListCases(ctx, &protectionv1.ListCasesRequest{Parent: parent, PageSize: 500, PageToken: token})
		if !c.answered(err) {
			return
		}
		for _, file := range page.GetCases() {
			want := 0
			if file.GetSource() == protectionv1.Case_SOURCE_INTAKE && file.GetState() == protectionv1.Case_STATE_ACTIVE {
				want = 1
				if file.GetReferralState() == custodyv1.ReferralState_REFERRAL_STATE_RETURNED {
					c.did["cases judged of children that are back"]++
				}
			}
			if got := owed[file.GetName()]; got != want {
				c.breaks("CASE (owed): of %s, %v, the law wants %d things, and %d are owed", file.GetName(), file.GetReferralState(), want, got)
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			return
		}
	}
}

// liveReferrals are those that began at a node and are not over there, with their grounds.
func (c *country) liveReferrals(node string) (live map[string]string, ok bool) {
	live = map[string]string{}
	for token := ""; ; {
		page, err := c.client(node, "gateway").ListReferrals(context.Background(), &referralv1.ListReferralsRequest{
			Parent: "nodes/" + node, PageSize: 500, PageToken: token, Filter: &referralv1.ListReferralsRequest_Filter{OriginNode: node},
		})
		if err != nil {
			return nil, false
		}
		for _, r := range page.GetReferrals() {
			if over(r) {
				continue
			}
			if _, known := c.files.referrals[r.GetName()]; !known {
				if f := c.chain(node, r.GetName()); f != nil {
					c.files.referrals[r.GetName()] = string(f.state.Submitted.GetConsent().GetCommitment())
				}
			}
			live[r.GetName()] = c.files.referrals[r.GetName()]
		}
		if token = page.GetNextPageToken(); token == "" {
			return live, true
		}
	}
}

// judgeHeld: the referral service holds what the cases of its node are referred as, unless the child has left, by what the case knows.
func (c *country) judgeHeld(p *house, live map[string]string) {
	for token := ""; ; {
		page, err := c.cases(p.node).ListCases(context.Background(), &protectionv1.ListCasesRequest{Parent: "nodes/" + p.node, PageSize: 500, PageToken: token})
		if err != nil {
			c.breaks("INTERNAL: list the cases of %s: %v", p, err)
			return
		}
		for _, file := range page.GetCases() {
			if file.GetSource() != protectionv1.Case_SOURCE_INTAKE || file.GetReferral() == "" || live[file.GetReferral()] != "" || left(file) {
				continue
			}
			_, err := c.client(p.node, "gateway").GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: file.GetReferral()})
			if err != nil && !over(&referralv1.Referral{State: file.GetReferralState()}) {
				c.breaks("CASE (held): %s is referred as %s (%s), which the referral service does not hold: %v", file.GetName(), file.GetReferral(), c.whose(file.GetReferral()), err)
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			return
		}
	}
}

// agreeCases holds what must be so of cases and dossiers when all has been calm for long.
func (c *country) agreeCases() {
	for range 5 { // who follows hears a moment later
		if slices.ContainsFunc(c.nodes, func(node string) bool { return !c.current(c.house(node, "protection")) }) {
			c.run(time.Minute)
		}
	}
	for _, node := range c.nodes {
		if p := c.house(node, "protection"); !c.current(p) && c.broken == "" {
			r := c.house(node, "referral")
			c.breaks("HEAL (cases): %s has heard %d of %d that the referral service told, and has compared with start %d of %d (recovering: %v)", p, p.followed,
				r.told(), p.comparedWith, r.opened, !r.down() && r.referral.Recovering())
		}
	}
	c.look()
	for _, node := range c.nodes {
		if c.broken != "" {
			return
		}
		p := c.house(node, "protection")
		read, closed := c.readAt(p), c.closedAt(p)
		for _, n := range c.people {
			if f := c.writer(n); f != nil && node != n.origin {
				c.judgeEnd(p, n, f, read, closed[n.referral])
			}
		}
	}
}

// writer is the chain of who owns the referral of a child; nil where nobody does.
func (c *country) writer(n *child) *chainFacts {
	for _, node := range c.nodes {
		if f := c.chain(node, n.referral); f != nil && f.state.Owner == node {
			return f
		}
	}
	return nil
}

// closedAt are the dossiers of which a tombstone stands at a node, by referral.
func (c *country) closedAt(p *house) map[string]*protectionv1.ReceivedDossier {
	closed := map[string]*protectionv1.ReceivedDossier{}
	err := p.protection.Dossiers(context.Background(), func(d *protectionv1.ReceivedDossier, _ bool) {
		if len(d.GetClosings()) > 0 {
			closed[d.GetDossier().GetReferral()] = d
		}
	})
	if err != nil {
		c.breaks("STORE: %s: %v", p, err)
	}
	return closed
}

// judgeEnd: who has the duty can read, who has not cannot, and says so to all by the chain.
func (c *country) judgeEnd(p *house, n *child, f *chainFacts, read map[string]string, closed *protectionv1.ReceivedDossier) {
	_, reads := read[n.referral]
	may := c.mayRead(p.node, f)
	life, came := c.files.came[[2]string{p.node, n.referral}]
	switch {
	case reads && !may:
		c.breaks("DOSSIER (closed): %s can still read what came of child %d, which is in the care of %s (%s)", p, n.number, f.state.Care, n.referral)
	case !reads && f.state.Care == p.node && n.where == p.node && c.owed(p, n, f):
		c.breaks("DOSSIER (here): %s has child %d and no dossier (%s)", p, n.number, n.referral)
	case !reads && came && life == p.life && !may && closed == nil:
		c.breaks("DOSSIER (tombstone): nothing says at %s that what came of child %d was closed (%s)", p, n.number, n.referral)
	case closed != nil && slices.ContainsFunc(closed.GetClosings(), (*protectionv1.ReceivedDossier_Closing).GetTold):
		c.did["dossiers closed"]++
		restored := func(node string) bool { return c.house(node, "referral").life > 0 }
		switch {
		case saysClosed(f, p.node):
		case restored(p.node) && slices.ContainsFunc(c.nodes, func(node string) bool { return f.state.Owned(node) && restored(node) }):
			c.did["closings that all have lost"]++ // with the chain's tail (DESIGN section 4)
		default:
			c.breaks("DOSSIER (told): %s has closed what came of child %d, and its chain does not say so (%s)", p, n.number, n.referral)
		}
	}
	if reads {
		c.did["dossiers open"]++
	}
}

// owed says that a node that has a child is to have its dossier: consent holds, and who gave the child still has the case. It is sent once more
// to a node that was restored while the referral is open.
func (c *country) owed(p *house, n *child, f *chainFacts) bool {
	if f.state.ConsentEnded || p.life > 0 && f.state.Terminal() {
		return false
	}
	for _, node := range append([]string{f.state.Origin}, f.state.Former...) {
		if c.house(node, "protection").life > 0 {
			return false
		}
	}
	return c.readFile(n) != nil
}

// saysClosed says that a chain has the word of a node that reading has ended there.
func saysClosed(f *chainFacts, node string) bool {
	return slices.ContainsFunc(f.chain.Links(), func(l custody.Link) bool {
		r := custody.Recorded(l.Event)
		return r.GetNode() == node && r.GetDossierClosed() != nil
	})
}
