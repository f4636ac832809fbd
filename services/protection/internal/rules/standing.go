package rules

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/mutant"
)

// This node's duties as a receiver, short.
const (
	Promised = protectionv1.ReceivedDossier_DUTY_PROMISED
	Care     = protectionv1.ReceivedDossier_DUTY_CARE
	Over     = protectionv1.ReceivedDossier_DUTY_OVER
	unheard  = protectionv1.ReceivedDossier_DUTY_UNSPECIFIED
)

// Times of a dossier that did not come, and of one that nobody here awaits.
const (
	// FirstAsked is when a dossier is asked for after it became due; it is usually on its way.
	FirstAsked = 15 * time.Minute
	// AskedSoon is FirstAsked of a store that was restored [Lately]: what was on its way to the life that is lost is not, or is sealed to keys that are
	// gone. AskedSoonAgain is its AskedAgain: who owes it may have been restored too.
	AskedSoon      = 15 * time.Second
	AskedSoonAgain = time.Hour
	Lately         = 24 * time.Hour
	// AskedAgain is how long after that it is asked for again.
	AskedAgain = 6 * time.Hour
	// Unclaimed is how long a dossier is kept whose referral nothing was heard of.
	Unclaimed = 14 * 24 * time.Hour
)

// Hear takes in what an event says of this node's part as the receiver of a person. It says whether reading has to end now, and why, a
// code of the list `dossier_closing`; heard is false where the event is nothing new.
func Hear(d *protectionv1.ReceivedDossier, e *referralv1.ReferralChanged, own string) (closing string, heard bool) {
	if e.GetSequence() <= d.GetReferralSequence() {
		return "", false
	}
	was := d.GetDuty()
	duty, why := standing(d, e, own)
	d.ReferralState, d.ReferralSequence, d.ReferralKind = e.GetState(), e.GetSequence(), e.GetKind()
	d.OwnerNodes, d.GiverNode, d.ConsentEnded = slices.Clone(e.GetOwnerNodes()), e.GetGiverNode(), e.GetConsentEnded()
	d.Duty = duty
	switch {
	case duty == Over && was != Care && fellHere(e) && !closedOn(d, e.GetOffer()):
		d.PromisedOffer = e.GetOffer() // also where another was promised before it: nothing that comes on it is kept
		return codes.DossierClosingOfferEnded, true
	case duty == Over && isPromise(e.GetState()) && why == codes.DossierClosingConsentEnded && !closedOn(d, e.GetOffer()):
		d.PromisedOffer = e.GetOffer() // likewise
		return why, true
	case duty == Over && was != Over:
		return why, true
	case duty == Promised && e.GetOffer() != d.GetPromisedOffer():
		if was == Promised { // the end of the one before was not heard of
			closing = codes.DossierClosingOfferEnded
		}
		d.PromisedOffer = e.GetOffer()
	}
	if duty == Care || duty == Promised && Service(e.GetKind()) {
		d.Arrived, d.Unit = true, e.GetUnit()
	}
	return closing, true
}

// closedOn says that a tombstone of an offer stands.
func closedOn(d *protectionv1.ReceivedDossier, offer string) bool {
	return slices.ContainsFunc(d.GetClosings(), func(c *protectionv1.ReceivedDossier_Closing) bool { return c.GetOffer() == offer })
}

// standing is this node's duty by an event, and why reading ends where it has none any more. An event may tell of an early step of a
// chain that came whole, so that only what is certain ends anything.
func standing(d *protectionv1.ReceivedDossier, e *referralv1.ReferralChanged, own string) (duty protectionv1.ReceivedDossier_Duty, why string) {
	awaited := e.GetToNode() == own && !e.GetReturning()
	switch {
	case Service(e.GetKind()):
		return serving(d, e, awaited && e.GetOriginNode() != own)
	case e.GetCareNode() == own && (e.GetOriginNode() != own || stays(d, e) || awaited && e.GetOwnerNode() == own && came(e.GetState())):
		return Care, ""
	case d.GetDuty() == Care && !mutant.Off("moved"):
		return Over, codes.DossierClosingMovedOn
	case awaited && fellHere(e):
		return Over, codes.DossierClosingOfferEnded
	case !promises(e, own, awaited):
		if d.GetDuty() == unheard && had(e, own) {
			return Over, codes.DossierClosingMovedOn
		}
		return ended(d, e)
	case e.GetConsentEnded() && !mutant.Off("consent"):
		return Over, codes.DossierClosingConsentEnded
	}
	return Promised, ""
}

// stays says that who came from another unit of the node at which the referral began is there still.
func stays(d *protectionv1.ReceivedDossier, e *referralv1.ReferralChanged) bool {
	return d.GetDuty() == Care && e.GetState() != custodyv1.ReferralState_REFERRAL_STATE_RETURNED
}

// had says that a person was here, or on the way here, and is not any more, of whom this node heard only now: it was restored, or its
// events came late. Where the referral began that is who came back and was given on.
func had(e *referralv1.ReferralChanged, own string) bool {
	nodes := e.GetOwnerNodes()
	if e.GetOriginNode() == own && len(nodes) > 0 {
		if e.GetOwnerNode() == own {
			return false
		}
		nodes = nodes[1:]
	}
	return slices.Contains(nodes, own) && e.GetState() != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
}

// promises says that a place here is promised to a person, or the person is on the way to it.
func promises(e *referralv1.ReferralChanged, own string, awaited bool) bool {
	if e.GetState() == custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT {
		return e.GetOwnerNode() == own && (e.GetOriginNode() != own || awaited)
	}
	return awaited && isPromise(e.GetState())
}

// fellHere says that what a chain holds for promised here has ended here.
func fellHere(e *referralv1.ReferralChanged) bool { return e.GetOfferOver() && isPromise(e.GetState()) }

// isPromise says that a place is asked for, or promised, to a person who has not left.
func isPromise(s custodyv1.ReferralState) bool {
	return s == custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED || s == custodyv1.ReferralState_REFERRAL_STATE_READY
}

// ended is the duty of a node to which an event promises nobody.
func ended(d *protectionv1.ReceivedDossier, e *referralv1.ReferralChanged) (protectionv1.ReceivedDossier_Duty, string) {
	if d.GetDuty() != Promised || e.GetState() == custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED {
		return d.GetDuty(), ""
	}
	return Over, codes.DossierClosingOfferEnded
}

// serving is the duty of a node that was asked for a service. It never has the person.
func serving(d *protectionv1.ReceivedDossier, e *referralv1.ReferralChanged, chosen bool) (protectionv1.ReceivedDossier_Duty, string) {
	switch {
	case chosen && e.GetState() == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED && d.GetDuty() == Promised:
		return Over, codes.DossierClosingCompleted
	case !chosen || !served(e.GetState()):
		return ended(d, e)
	case fellHere(e):
		return Over, codes.DossierClosingOfferEnded
	case e.GetConsentEnded():
		return Over, codes.DossierClosingConsentEnded
	}
	return Promised, ""
}

func served(s custodyv1.ReferralState) bool {
	switch s {
	case custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED, custodyv1.ReferralState_REFERRAL_STATE_READY, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE:
		return true
	}
	return false
}

// Concerns says that an event gives this node a part as receiver, of whom it knows nothing yet; also one that is over, so that what comes
// late is not kept.
func Concerns(e *referralv1.ReferralChanged, own string) bool {
	duty, _ := standing(&protectionv1.ReceivedDossier{}, e, own)
	return duty != unheard
}

// EndOffer takes in that an offer made to this node is over without the person. It says whether that ends anything here.
func EndOffer(d *protectionv1.ReceivedDossier, offer string) bool {
	if mutant.Off("doss") || d.GetDuty() == Care || d.GetDuty() == Over || offer == "" || offer != d.GetPromisedOffer() && offer != d.GetDossier().GetOffer() {
		return false
	}
	d.Duty = Over
	return true
}

// Late says that a dossier came after its end: nothing of it may be kept.
func Late(d *protectionv1.ReceivedDossier, came *protectionv1.Dossier) bool {
	if d.GetDuty() == Care || d.GetDuty() == Promised && came.GetOffer() == d.GetPromisedOffer() {
		return false
	}
	return Tombstone(d, came) != nil
}

// Tombstone is the closing of what a dossier belongs to: of its offer, or of all that was sent by what the chain said when this node's duty
// ended, for a restored node may never have heard of the offer; and of all that comes once consent has ended. nil where it is not closed.
func Tombstone(d *protectionv1.ReceivedDossier, came *protectionv1.Dossier) *protectionv1.ReceivedDossier_Closing {
	for _, c := range slices.Backward(d.GetClosings()) {
		sent := came.GetSequence() > 0 || came.GetOffer() == "" // what an older version sent on an offer does not say when
		if came.GetOffer() != "" && c.GetOffer() == came.GetOffer() || d.GetDuty() == Over && (d.GetConsentEnded() || sent && came.GetSequence() <= d.GetReferralSequence()) {
			return c
		}
	}
	return nil
}

// Trusts says that a dossier may come from a node: it began the referral, or owns it or owned it. While nothing was heard of the
// referral it is believed for now.
func Trusts(d *protectionv1.ReceivedDossier, from string) bool {
	return strings.HasPrefix(d.GetDossier().GetReferral(), "nodes/"+from+"/referrals/") || len(d.GetOwnerNodes()) == 0 || slices.Contains(d.GetOwnerNodes(), from)
}

// MayHold are the nodes that may hold a dossier which is owed to this one: who gives the person, and who took the person in first.
func MayHold(d *protectionv1.ReceivedDossier) []string {
	origin, _, _ := strings.Cut(strings.TrimPrefix(d.GetDossier().GetReferral(), "nodes/"), "/")
	if d.GetGiverNode() == "" || d.GetGiverNode() == origin {
		return []string{origin}
	}
	return []string{d.GetGiverNode(), origin}
}

// Due is when something is to be done about a dossier: one that is owed is asked for, one that nobody here awaits is dropped; nil for
// never. What was due before and still is, stays due at its time. first is how long it is waited for
// before it is asked for.
func Due(d *protectionv1.ReceivedDossier, now time.Time, first time.Duration) *timestamppb.Timestamp {
	here := d.GetReceiveTime() != nil || d.GetCase() != ""
	switch {
	case (d.GetDuty() == unheard || d.GetDuty() == Over) && d.GetReceiveTime() != nil: // or of a later promise, that may never be made
		return timestamppb.New(d.GetReceiveTime().AsTime().Add(Unclaimed))
	case here || d.GetDuty() != Promised && d.GetDuty() != Care:
		return nil
	case d.GetDueTime() != nil:
		return d.GetDueTime()
	}
	return timestamppb.New(now.Add(first))
}

// Holder is the node that has a person, or is promised to have the person, by an event, and on which offer; empty for none. The
// dossier is owed to it.
func Holder(e *referralv1.ReferralChanged) (node, offer string) {
	state := e.GetState()
	if mutant.Off("early") && state == custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED { // it leaves with CONFIRM, which only asks for a place
		state = custodyv1.ReferralState_REFERRAL_STATE_READY
	}
	if mutant.Off("owed") {
		return "", ""
	}
	switch state {
	case custodyv1.ReferralState_REFERRAL_STATE_READY:
		if e.GetReturning() || e.GetToNode() == "" { // the way back, or to an agency outside the network
			return "", ""
		}
		return e.GetToNode(), e.GetOffer()
	case custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE:
	default:
		return "", ""
	}
	switch {
	case Service(e.GetKind()), e.GetToNode() == e.GetOwnerNode() && !e.GetReturning():
		return e.GetToNode(), e.GetOffer()
	case e.GetOwnerNode() == e.GetOriginNode(): // the person is back, or on the way back: the case is there
		return "", ""
	}
	return e.GetOwnerNode(), ""
}
