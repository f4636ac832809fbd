package app_test

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/post"
)

// These tests play a node of the network that has valid keys and means harm.

// brings applies a letter of one node at another, as the post does: what it says, it signed.
func (net *network) brings(from, to, kind string, body proto.Message) {
	net.t.Helper()
	raw, err := proto.Marshal(body)
	must(net.t, err)
	net.apply(mail{from: from, body: raw, out: post.Outgoing{Kind: kind, To: &postv1.Address{Node: to, Service: "referral"}}})
}

// signed is a reply of a node, as its letter.
func (net *network) signed(by, referral string, r *custodyv1.Reply) *custodyv1.ReplyLetter {
	net.t.Helper()
	r.Referral, r.Node, r.Time = referral, by, timestamppb.New(net.now)
	signed, err := custody.SignReply(net.nodes[by].Signer, r)
	must(net.t, err)
	return &custodyv1.ReplyLetter{Reply: signed}
}

// unmoved holds that a node refused a letter, changed nothing and answered nothing.
func (net *network) unmoved(at *node, want string, do func()) {
	net.t.Helper()
	net.refused = nil
	before, letters := at.dump(), len(net.sent)
	do()
	if !slices.Equal(net.refused, []string{want}) || !bytes.Equal(before, at.dump()) || len(net.sent) != letters {
		net.t.Errorf("want %s, got %v; %d letters in answer", want, net.refused, len(net.sent)-letters)
	}
	net.refused = nil
}

// A unit that was asked in vain "refuses" a handover that nobody gave it: it learns nothing by that, and the letter is no jam.
func TestWhoWasOnlyAskedRefusesNoHandover(t *testing.T) {
	for _, state := range []custodyv1.ReferralState{submitted, inTransit} {
		net := newNetwork(t)
		origin := net.nodes["balochistan"]
		v := net.walk(submitted)
		_, err := origin.ask(v.GetName(), karachi)
		must(t, err)
		net.settle()
		hash := make([]byte, 32)
		if state == inTransit {
			net.nodes["punjab"].accept(v.GetOffers()[0].GetName())
			net.settle()
			must(t, origin.confirm(v.GetOffers()[0].GetName()))
			net.settle()
			must(t, origin.dispatch(v.GetName()))
			hash = net.chain(origin, v.GetName()).State().Handover.Event.Bytes()
			net.sent = nil
		}
		letter := net.signed("sindh", v.GetName(), &custodyv1.Reply{Body: &custodyv1.Reply_Refused{Refused: &custodyv1.Refused{Dispatched: hash}}})
		net.unmoved(origin, "custody.reply.v1: sender-not-allowed", func() { net.brings("sindh", "balochistan", "custody.reply.v1", letter) })
		net.sent = nil
	}
}
