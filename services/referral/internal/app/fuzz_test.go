package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fuzztest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
)

// bodies are what letters hold, by kind.
var bodies = map[string]proto.Message{
	"custody.offer.v1": &custodyv1.OfferLetter{}, "custody.reply.v1": &custodyv1.ReplyLetter{}, "custody.chain.v1": &custodyv1.ChainLetter{},
	"custody.head.v1": &custodyv1.HeadQuery{}, "custody.annex.v1": &custodyv1.AnnexLetter{}, "custody.head.digest.v1": &custodyv1.HeadDigest{},
	"custody.head.list.v1": &custodyv1.HeadList{}, "custody.recovery.query.v1": &custodyv1.RecoveryQuery{}, "custody.recovery.part.v1": &custodyv1.RecoveryPart{},
	"custody.recovery.answer.v1": &custodyv1.RecoveryAnswer{}, "custody.offer.void.v1": &custodyv1.OfferVoid{},
}

// attacked is a network in which much has happened, with every letter that went round, and who may get a hostile one.
type attacked struct {
	*network
	letters   []mail
	receivers []receiver
	loaded    map[string]int // which of the receivers a node is
}

// receiver is a node with one of the stores that it may have.
type receiver struct {
	*node
	kept copied
	sum  []byte
}

func (a *attacked) addReceiver(n *node) {
	a.loaded[n.Node] = len(a.receivers)
	a.receivers = append(a.receivers, receiver{n, n.copy(), sumOf(n.engine)})
}

// load gives the node of a receiver its store, as it was before any hostile letter.
func (a *attacked) load(which int) receiver {
	r := a.receivers[which]
	a.history, r.queue, r.events, r.parked, r.heard = nil, nil, nil, map[string][]*postv1.Letter{}, maps.Clone(r.kept.heard)
	must(a.t, r.DB.Close())
	r.engine = r.kept.engine.Clone()
	r.open()
	a.loaded[r.Node] = which
	return r
}

func newAttacked(f *testing.F) *attacked {
	net := newNetwork(f)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY).GetName()
	older := punjab.copy()
	_, err := origin.DispatchReferral(context.Background(), net.dispatchRequest(name), actor)
	must(f, err)
	net.settle()
	for _, name := range []string{"balochistan", "sindh"} {
		must(f, net.nodes[name].CompareHeads(context.Background()))
	}
	net.settle()
	// Balochistan asks what it lost: questions, parts and answers go round.
	must(f, origin.DB.RaiseIncarnation(context.Background(), origin.DB.Incarnation()))
	must(f, origin.BeginRecovery(context.Background()))
	net.settle()
	another := submitRequest()
	another.RequestId = "request-2"
	_, err = origin.SubmitReferral(context.Background(), another)
	must(f, err)
	net.settle()
	for kind := range punjab.Handlers() {
		if bodies[kind] == nil {
			f.Fatalf("nobody writes %s here", kind)
		}
	}
	a := &attacked{network: net, loaded: map[string]int{}}
	for _, m := range net.history {
		if bodies[m.out.Kind] != nil { // else it is for the federal cell
			a.letters = append(a.letters, m)
		}
	}
	for kind := range bodies { // also those that did not go round
		if !slices.ContainsFunc(a.letters, func(m mail) bool { return m.out.Kind == kind }) {
			m := mail{from: "balochistan"}
			m.out.Kind = kind
			a.letters = append(a.letters, m)
		}
	}
	slices.SortStableFunc(a.letters, func(a, b mail) int { return strings.Compare(a.out.Kind, b.out.Kind) })
	a.addReceiver(punjab)
	a.addReceiver(origin)
	a.addReceiver(net.nodes["sindh"]) // which has no part in it
	// Punjab restored from before the person left, while nobody has told it yet what it lost.
	punjab.restore(older, true, false)
	a.addReceiver(punjab)
	if !punjab.Recovering() {
		f.Fatal("punjab does not recover")
	}
	f.Cleanup(func() { a.load(0) })
	return a
}

func sumOf(m *kitstore.Memory) []byte {
	h := sha256.New()
	if err := m.Each(func(bucket string, key, payload []byte) { fmt.Fprintf(h, "%s %x %x\n", bucket, key, payload) }); err != nil {
		panic(err)
	}
	return h.Sum(nil)
}

// hostile makes of a letter what a node with good keys might write in its place: what is signed within is changed and signed again.
func (a *attacked) hostile(m mail, by string, choices *fuzztest.Choices) []byte {
	body := proto.Clone(bodies[m.out.Kind])
	if proto.Unmarshal(m.body, body) != nil {
		return m.body
	}
	if choices.Next(2) == 0 {
		fuzztest.Mutate(body, choices)
	} else {
		a.resign(body.ProtoReflect(), by, choices)
	}
	raw, err := proto.Marshal(body)
	if err != nil {
		return m.body
	}
	return raw
}

// resign changes the last event, or the last reply, of a message and signs it.
func (a *attacked) resign(m protoreflect.Message, by string, choices *fuzztest.Choices) {
	key := a.nodes[by].Signer
	switch signed := m.Interface().(type) {
	case *custodyv1.SignedEvent:
		e := &custodyv1.Event{}
		_ = proto.Unmarshal(signed.GetEvent(), e)
		fuzztest.Mutate(e, choices)
		if raw, err := proto.Marshal(e); err == nil {
			signed.Event, signed.Signature = raw, key.Sign(custody.DomainEvent, raw)
		}
		return
	case *custodyv1.SignedReply:
		r := &custodyv1.Reply{}
		_ = proto.Unmarshal(signed.GetReply(), r)
		fuzztest.Mutate(r, choices)
		if raw, err := proto.Marshal(r); err == nil {
			signed.Reply, signed.Signature = raw, key.Sign(custody.DomainReply, raw)
		}
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind || f.IsMap():
		case !f.IsList():
			a.resign(v.Message(), by, choices)
		case v.List().Len() > 0:
			a.resign(v.List().Get(v.List().Len()-1).Message(), by, choices)
		}
		return true
	})
}

// rename gives all that a message names a name longer than a key may be, and fills what else it needs to be looked at.
func rename(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		switch f := fields.Get(i); {
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			list := m.Mutable(f).List()
			if list.Len() == 0 {
				list.Append(list.NewElement())
			}
			for n := range list.Len() {
				rename(list.Get(n).Message())
			}
		case f.IsList() || f.IsMap():
		case f.Kind() == protoreflect.BytesKind && !m.Has(f):
			m.Set(f, protoreflect.ValueOfBytes(make([]byte, 32)))
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(strings.Repeat("x", kitstore.MaxKeySize+1)))
		case f.Kind() == protoreflect.MessageKind && m.Has(f):
			rename(m.Mutable(f).Message())
		}
	}
}

// Whatever a node with good keys writes in place of a letter, to the node that it went to, to the origin or to one that was restored, it is
// applied or refused for a reason that repeats none of it; what is refused has changed nothing, nothing that is written makes the receiver try
// for ever, or stops its recovery, and every chain, view and row is sound afterwards.
func FuzzLetters(f *testing.F) {
	a := newAttacked(f)
	for i := range a.letters {
		for to := range a.receivers {
			which := uint16(to*len(a.letters) + i)
			f.Add(which, false, []byte{}, []byte{})
			f.Add(which, false, []byte{0, byte(i), 1, 2}, []byte{})
			f.Add(which, true, []byte{1, 0, byte(i), 5, 0, 9, 2}, []byte{})
		}
	}
	f.Add(uint16(0), false, []byte{}, []byte("\xff"))
	for i, m := range a.letters {
		if i > 0 && a.letters[i-1].out.Kind == m.out.Kind {
			continue
		}
		body := proto.Clone(bodies[m.out.Kind])
		must(f, proto.Unmarshal(m.body, body))
		rename(body.ProtoReflect())
		raw, err := proto.Marshal(body)
		must(f, err)
		for to := range a.receivers {
			f.Add(uint16(to*len(a.letters)+i), false, []byte{}, raw)
		}
	}
	f.Fuzz(func(t *testing.T, which uint16, other bool, choices, raw []byte) {
		a.t = t
		for _, n := range a.nodes {
			n.t = t
		}
		defer func() {
			a.t = f
			for _, n := range a.nodes {
				n.t = f
			}
		}()
		m, to := a.letters[int(which)%len(a.letters)], int(which)/len(a.letters)%len(a.receivers)
		r := a.receivers[to]
		if a.loaded[r.Node] != to {
			a.load(to)
		}
		a.sent = slices.Clone(r.kept.sent) // of one that was restored: what it asks
		from := m.from
		if other || from == r.Node {
			from = "sindh"
		}
		if m.body = a.hostile(m, from, fuzztest.NewChoices(choices)); len(raw) > 0 {
			m.body = raw
		}
		err := r.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
			return r.Handlers()[m.out.Kind](tx, &postv1.Address{Node: from, Service: "referral"}, &postv1.Letter{Kind: m.out.Kind, Subject: m.out.Subject, Body: m.body})
		})
		refused, ok := errors.AsType[*app.Refused](err)
		changed := !bytes.Equal(sumOf(r.engine), r.sum)
		switch {
		case ok && (changed || strings.Contains(refused.Reason, " ") || strings.Contains(refused.Reason, fuzztest.Canary)):
			t.Errorf("%s is refused for %q, changed %v", m.out.Kind, refused.Reason, changed)
		case err != nil && !ok:
			t.Errorf("%s would be tried again for ever: %v", m.out.Kind, err)
		}
		report, err := r.DB.Check(context.Background())
		if err := errors.Join(err, report.Err()); err != nil {
			t.Error(err)
		}
		if !changed {
			return
		}
		defer a.load(to)
		for _, sentence := range r.broken() {
			t.Error(sentence)
		}
		if !r.Recovering() {
			return
		}
		defer a.load(1)
		defer a.load(2)
		a.settle()                                                                 // the others answer, and what waited is applied
		if r.Recovering() && !strings.HasPrefix(m.out.Kind, "custody.recovery.") { // who lies about what it will tell is waited for
			t.Errorf("after %s the recovery does not end", m.out.Kind)
		}
		for _, sentence := range r.broken() {
			t.Errorf("after the recovery: %s", sentence)
		}
	})
}
