package custody

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

type kind int

const (
	unknown kind = iota
	received
	accepted
	declined
	acceptanceWithdrawn
	ready
)

// replyMoves says to which state a reply moves an offer; where there is no entry the reply is
// not possible. After READY the destination can no longer withdraw by itself (DESIGN section 3).
var replyMoves = map[kind]map[custodyv1.OfferState]custodyv1.OfferState{
	received: {
		custodyv1.OfferState_OFFER_STATE_SENT: custodyv1.OfferState_OFFER_STATE_RECEIVED,
	},
	accepted: {
		custodyv1.OfferState_OFFER_STATE_RECEIVED: custodyv1.OfferState_OFFER_STATE_ACCEPTED,
	},
	declined: {
		custodyv1.OfferState_OFFER_STATE_RECEIVED: custodyv1.OfferState_OFFER_STATE_DECLINED,
	},
	acceptanceWithdrawn: {
		custodyv1.OfferState_OFFER_STATE_ACCEPTED:  custodyv1.OfferState_OFFER_STATE_DECLINED,
		custodyv1.OfferState_OFFER_STATE_CONFIRMED: custodyv1.OfferState_OFFER_STATE_DECLINED,
	},
	ready: {
		custodyv1.OfferState_OFFER_STATE_CONFIRMED: custodyv1.OfferState_OFFER_STATE_READY,
	},
}

func replyKind(r *custodyv1.Reply) kind {
	switch r.GetBody().(type) {
	case *custodyv1.Reply_Received:
		return received
	case *custodyv1.Reply_Accepted:
		return accepted
	case *custodyv1.Reply_Declined:
		return declined
	case *custodyv1.Reply_AcceptanceWithdrawn:
		return acceptanceWithdrawn
	case *custodyv1.Reply_Ready:
		return ready
	}
	return unknown
}

// ReplyName is a reply's kind in the field's words, for errors and logs.
func ReplyName(r *custodyv1.Reply) string {
	return map[kind]string{
		unknown: "a reply of a later version", received: "received", accepted: "accepted",
		declined: "declined", acceptanceWithdrawn: "acceptance withdrawn", ready: "ready",
	}[replyKind(r)]
}

// SignReply writes a reply as this node. The caller fills it whole.
func SignReply(s Signer, r *custodyv1.Reply) (*custodyv1.SignedReply, error) {
	raw, err := proto.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("marshal the reply: %w", err)
	}
	return &custodyv1.SignedReply{Reply: raw, Signature: s.Sign(DomainReply, raw)}, nil
}

// OpenReply checks a reply's signature by the node it names and decodes it.
func OpenReply(v Verifier, signed *custodyv1.SignedReply) (*custodyv1.Reply, error) {
	r, err := decodeReply(signed)
	if err != nil {
		return nil, err
	}
	if err := v.Verify(r.GetNode(), service, DomainReply, signed.GetReply(), signed.GetSignature()); err != nil {
		return nil, fmt.Errorf("signature of the reply by %s: %w", r.GetNode(), err)
	}
	return r, nil
}

func decodeReply(signed *custodyv1.SignedReply) (*custodyv1.Reply, error) {
	r := &custodyv1.Reply{}
	if err := proto.Unmarshal(signed.GetReply(), r); err != nil {
		return nil, fmt.Errorf("the reply's bytes are not a reply: %w", err)
	}
	if r.GetReferral() == "" || r.GetNode() == "" || len(r.GetOffer()) != len(Hash{}) {
		return nil, errors.New("a reply must name referral, offer and node")
	}
	return r, nil
}

// Holds says whether the chain has recorded a reply of the same kind to the same offer: then
// another one is a no-op, for ever (I3).
func (c *Chain) Holds(r *custodyv1.Reply) bool {
	for _, l := range c.links {
		recorded := l.Event.GetReplyRecorded()
		if recorded == nil {
			continue
		}
		other, err := decodeReply(recorded.GetReply())
		if err == nil && replyKind(other) == replyKind(r) && string(other.GetOffer()) == string(r.GetOffer()) {
			return true
		}
	}
	return false
}

// StateName is a referral's state in plain words, such as "in transit".
func StateName(s custodyv1.ReferralState) string {
	return plain(s.String(), "REFERRAL_STATE_")
}

// OfferStateName is an offer's state in plain words.
func OfferStateName(s custodyv1.OfferState) string {
	return plain(s.String(), "OFFER_STATE_")
}

func plain(name, prefix string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", " "))
}
