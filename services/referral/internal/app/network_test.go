package app_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/chacha20poly1305"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// ring holds real keys of the nodes, and is their roster.
type ring map[string]ed25519.PrivateKey

type signer struct{ key ed25519.PrivateKey }

func (s signer) Sign(domain string, message []byte) []byte {
	return ed25519.Sign(s.key, append([]byte(domain+"\x00"), message...))
}

func (r ring) Verify(node, service, domain string, message, signature []byte) error {
	key, ok := r[node]
	if !ok || service != "referral" {
		return errors.New("unknown signer")
	}
	if !ed25519.Verify(key.Public().(ed25519.PublicKey), append([]byte(domain+"\x00"), message...), signature) {
		return errors.New("bad signature")
	}
	return nil
}

// Seal seals under a key that only the node's own private key gives: here all are in one hand.
func (r ring) Seal(node, service, info string, aad, plaintext []byte) ([]byte, error) {
	if service != "referral" {
		return nil, errors.New("unknown service")
	}
	box, err := r.box(node)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, box.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return box.Seal(nonce, nonce, plaintext, append([]byte(info+"\x00"), aad...)), nil
}

func (r ring) box(node string) (cipher.AEAD, error) {
	key := sha256.Sum256(r[node])
	return chacha20poly1305.NewX(key[:])
}

// members is the roster of a network in which nodes may be suspended.
type members struct {
	ring
	net *network
}

func (m members) Node(name string) (*identityv1.RosterNode, bool) {
	n, known := m.ring.Node(name)
	if m.net.suspended[name] {
		n.State = identityv1.RosterNode_STATE_SUSPENDED
	}
	if m.net.dropped[name] {
		n.Services = []*identityv1.RosterService{{Service: "shelter"}}
	}
	return n, known
}

func (m members) Nodes() (all []*identityv1.RosterNode) {
	for _, n := range m.ring.Nodes() {
		n, _ = m.Node(n.GetNode())
		all = append(all, n)
	}
	return all
}

// opener opens what was sealed to a node.
type opener struct {
	ring ring
	node string
}

func (o opener) Open(info string, aad, sealed []byte) ([]byte, error) {
	box, err := o.ring.box(o.node)
	if err != nil || len(sealed) < box.NonceSize() {
		return nil, errors.New("cannot open")
	}
	return box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], append([]byte(info+"\x00"), aad...))
}

func (r ring) Node(name string) (*identityv1.RosterNode, bool) {
	if _, ok := r[name]; !ok {
		return nil, false
	}
	province := map[string]string{"balochistan": "PK-BA", "punjab": "PK-PB", "sindh": "PK-SD"}[name]
	return &identityv1.RosterNode{
		Node: name, Province: province, State: identityv1.RosterNode_STATE_ACTIVE, Services: []*identityv1.RosterService{{Service: "referral"}},
	}, true
}

func (r ring) Nodes() (all []*identityv1.RosterNode) {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		node, _ := r.Node(name)
		all = append(all, node)
	}
	return all
}

// event is one that was appended and committed.
type event struct {
	kind, subject string
	data          proto.Message
}

// mail is a letter on its way.
type mail struct {
	from string
	out  post.Outgoing
	body []byte
	seen bool   // it was delivered before
	life uint64 // of the store that wrote it; 0 for one of the test's own
}

// network is three provinces with a carrier between them.
type network struct {
	t     testing.TB
	now   time.Time
	nodes map[string]*node
	// sent are letters not delivered yet; history is every letter there was.
	sent, history []mail
	refused       []string
	// again delivers each letter a second time at once, and holds that nothing changes.
	again bool
	// suspended are nodes that take no part for now.
	suspended map[string]bool
	// dropped are nodes whose referral service the roster does not name for now.
	dropped map[string]bool
	// later delivers each letter a second time, behind all that are on their way.
	later bool
}

// newNetwork keeps the stores in memory, which is ten times as quick as files.
func newNetwork(t testing.TB) *network { return makeNetwork(t, true) }

// newNetworkOnFiles is for tests that read the files, or open them again.
func newNetworkOnFiles(t testing.TB) *network { return makeNetwork(t, false) }

func makeNetwork(t testing.TB, memory bool) *network {
	net := &network{t: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), nodes: map[string]*node{}, suspended: map[string]bool{}, dropped: map[string]bool{}}
	keys := ring{}
	for _, name := range []string{"balochistan", "punjab", "sindh"} {
		_, key, err := ed25519.GenerateKey(nil)
		must(t, err)
		keys[name] = key
	}
	for name, key := range keys {
		n := &node{
			t: t, net: net, path: filepath.Join(t.TempDir(), name+".db"),
			refuse: map[string]*fault.Error{}, heard: map[string]uint64{}, holds: map[string]*shelterv1.Hold{}, released: map[string]bool{},
			admitted: map[string]bool{}, discharged: map[string]bool{},
			placed: map[string]placing{}, parked: map[string][]*postv1.Letter{},
		}
		n.App = &app.App{
			Node: name, Now: func() time.Time { return net.now }, Random: rand.Reader, Signer: signer{key}, Roster: members{keys, net}, Opener: opener{keys, name},
			NewID: func() (string, error) {
				id, err := uuid.NewV7()
				return id.String(), err
			},
			Federal: "federal", Limits: rules.DefaultLimits(), AutoConfirm: true, Annexes: app.Annexes{Keys: keyring(t, memory)}, Events: n,
			Post: poster{n}, Commands: commands{n}, Tokens: paging.New([]byte("secret")), Log: logging.Discard(),
			Wake: func() {}, WakeRecovery: func() {}, Listened: func() bool { return true },
		}
		if memory {
			n.engine = kitstore.NewMemory()
		}
		n.open()
		net.nodes[name] = n
		t.Cleanup(func() {
			report, err := n.DB.Check(context.Background())
			if err := errors.Join(err, report.Err()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !n.spoilt {
				for _, sentence := range n.broken() {
					t.Errorf("%s: %s", name, sentence)
				}
				n.checkHolds()
			}
			must(t, n.DB.Close())
		})
	}
	return net
}

func keyring(t testing.TB, memory bool) *privacy.Keyring {
	options := privacy.Options{Dir: t.TempDir()}
	if memory {
		options.Engine = kitstore.NewMemory()
	}
	keys, err := privacy.OpenKeyring(context.Background(), options)
	must(t, err)
	t.Cleanup(func() { must(t, keys.Close()) })
	return keys
}

// loseKeys puts the key file back to what it was before all that the store holds.
func (n *node) loseKeys() { n.Annexes = app.Annexes{Keys: keyring(n.t, true)} }

func (n *node) open() {
	options := kitstore.Options{Path: n.path, Schema: store.Schema}
	if n.engine != nil {
		options = kitstore.Options{Engine: n.engine, Schema: store.Schema}
	}
	db, err := kitstore.Open(context.Background(), options)
	must(n.t, err)
	n.DB = db
	must(n.t, n.BeginRecovery(context.Background()))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// deliver takes one letter out of sent and applies it.
func (net *network) deliver(i int) {
	net.t.Helper()
	m := net.sent[i]
	net.sent = append(net.sent[:i:i], net.sent[i+1:]...)
	net.history = append(net.history, m)
	n := net.nodes[m.out.To.GetNode()]
	if net.later && !m.seen {
		m.seen = true
		net.sent = append(net.sent, m)
	}
	if n == nil || !net.again {
		net.apply(m)
		return
	}
	first := n.dump()
	net.apply(m)
	before, letters, commands, events := n.dump(), len(net.sent), len(n.queue), len(n.events)
	answers := bytes.Equal(first, before) // what changed nothing, such as a reply that comes too late, is answered again
	net.apply(m)
	if !bytes.Equal(before, n.dump()) || letters != len(net.sent) && !answers || commands != len(n.queue) || events != len(n.events) {
		net.t.Errorf("%s from %s, delivered again, changed %s", m.out.Kind, m.from, n.Node)
	}
}

func (net *network) apply(m mail) {
	net.t.Helper()
	n := net.nodes[m.out.To.GetNode()]
	if n == nil || m.life > 0 && m.life < n.heard[m.from] { // the federal node, or from an earlier life of its writer
		return
	}
	n.heard[m.from] = max(m.life, n.heard[m.from])
	if about := m.from + m.out.Subject; m.out.Subject != "" && len(n.parked[about]) > 0 { // as the post does
		net.refused = append(net.refused, m.out.Kind+": waits")
		n.parked[about] = append(n.parked[about], &postv1.Letter{Kind: m.out.Kind, Subject: m.out.Subject, Body: m.body})
		return
	}
	from := &postv1.Address{Node: m.from, Service: "referral"}
	err := n.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
		return n.Handlers()[m.out.Kind](tx, from, &postv1.Letter{Kind: m.out.Kind, Subject: m.out.Subject, Body: m.body, Sealed: m.out.Sealed})
	})
	if refused, ok := errors.AsType[*app.Refused](err); ok {
		net.refused = append(net.refused, m.out.Kind+": "+refused.Reason)
		return
	}
	must(net.t, err)
}

// checkHolds holds that no bed is held for what is over, once the shelter has answered all.
func (n *node) checkHolds() {
	n.t.Helper()
	if len(n.queue) > 0 {
		return
	}
	must(n.t, n.DB.View(context.Background(), func(r kitstore.Reader) error {
		for _, h := range n.holds {
			if h.GetState() != shelterv1.Hold_STATE_HELD && h.GetState() != shelterv1.Hold_STATE_CONFIRMED {
				continue
			}
			o, err := store.Offers.Get(r, store.OfferKey(h.GetOffer()))
			if err != nil {
				return err
			}
			needed := !o.GetHoldOver() && mayNeed(o)
			for _, name := range o.GetHoldsFor() { // those who go together have one hold
				other, err := store.Offers.Get(r, store.OfferKey(name))
				if err != nil {
					return err
				}
				needed = needed || !o.GetHoldOver() && other.GetHoldOf() == h.GetOffer() && mayNeed(other)
			}
			if !needed {
				n.t.Errorf("%s: a bed is %v for an offer that is %v", n.Node, h.GetState(), o.GetState())
			}
		}
		return nil
	}))
}

// mayNeed says that an offer may lead, or has led, to somebody who needs its bed.
func mayNeed(o *referralv1.OfferRecord) bool {
	return rules.Open(o.GetState()) || o.GetState() == custodyv1.OfferState_OFFER_STATE_FULFILLED
}

// settle carries letters and answers commands until there is nothing left to do.
func (net *network) settle() {
	net.t.Helper()
	net.settleBut(func(mail) bool { return false })
}

// settleBut is settle while some letters are late.
func (net *network) settleBut(late func(mail) bool) {
	net.t.Helper()
	next := func() int { return slices.IndexFunc(net.sent, func(m mail) bool { return !late(m) }) }
	for worked := true; worked; {
		worked = next() >= 0
		for i := next(); i >= 0; i = next() {
			net.deliver(i)
		}
		for _, n := range net.nodes {
			worked = n.runCommands() || worked
			_, err := n.Recover(context.Background())
			must(net.t, err)
		}
		worked = worked || next() >= 0
	}
}

// deliverAny delivers one letter of some link; letters of one link and lane stay in order.
func (net *network) deliverAny(rnd *mathrand.Rand) {
	heads, seen := []int{}, map[string]bool{}
	for i, m := range net.sent {
		link := fmt.Sprint(m.from, m.out.To.GetNode(), m.out.To.GetService(), m.out.Lane)
		if !seen[link] {
			seen[link] = true
			heads = append(heads, i)
		}
	}
	if len(heads) > 0 {
		net.deliver(heads[rnd.IntN(len(heads))])
	}
}

// dump is all that the node's store holds.
func (n *node) dump() []byte {
	n.t.Helper()
	h := sha256.New()
	must(n.t, n.DB.View(context.Background(), func(r kitstore.Reader) error {
		return errors.Join(
			dumpTable(h, r, store.Links), dumpTable(h, r, store.Referrals), dumpTable(h, r, store.Offers),
			dumpTable(h, r, store.Replies), dumpTable(h, r, store.Deadlines),
			dumpTable(h, r, store.Forks), dumpTable(h, r, store.Counters), dumpTable(h, r, store.Arrivals), dumpTable(h, r, store.Refusals),
		)
	}))
	must(n.t, n.DB.View(context.Background(), func(r kitstore.Reader) error {
		return store.Annexes.ScanPublic(r, kitstore.Range{}, func(row privacy.Row[*custodyv1.AnnexLetter]) error {
			fmt.Fprintf(h, "%x %d\n", []byte(row.Key), row.Version)
			return nil
		})
	}))
	return h.Sum(nil)
}

func dumpTable[M proto.Message](w io.Writer, r kitstore.Reader, table *kitstore.Table[M]) error {
	return table.Scan(r, kitstore.Range{}, func(key kitstore.Key, m M) error {
		version, err := table.Version(r, key)
		if err != nil {
			return err
		}
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		fmt.Fprintf(w, "%s %x %d %x\n", table.Name(), []byte(key), version, raw)
		return err
	})
}

// file is the node's file as it lies on disk: of newNetworkOnFiles.
func (n *node) file() []byte {
	raw, err := os.ReadFile(n.path)
	must(n.t, err)
	return raw
}

// What people write, none of which may be seen outside sealed annexes.
const (
	theNote     = "Canary-Note-Gulmina"
	thePhone    = "+923009876543"
	theEscort   = "Canary-Escort-Bakhtawar"
	theMeeting  = "Canary-Meeting-Edhi-Centre"
	theWorker   = "Canary-Worker-Shazia"
	theFeedback = "Canary-Feedback-Well"
)

var canaries = []string{theNote, thePhone, theEscort, theMeeting, theWorker, theFeedback, shelterAddress}

var actor = &custodyv1.Actor{Person: "nodes/punjab/workers/1", Unit: "nodes/punjab/units/lahore", Service: "referral"}

func submitRequest() *referralv1.SubmitReferralRequest {
	return &referralv1.SubmitReferralRequest{
		Parent: "nodes/balochistan", Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Urgency: custodyv1.Urgency_URGENCY_HIGH, Reasons: []string{"NO_LOCAL_BED"},
		Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10, Languages: []string{"bal"}},
		Ground: &referralv1.SubmitReferralRequest_Consent{Consent: &custodyv1.ConsentReceipt{
			Commitment: make([]byte, 32), Basis: "ORAL_ASSENT_AND_CAREGIVER", Purposes: []string{"PLACEMENT"},
			RecordTime: timestamppb.New(time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC)),
		}},
		Unit: "nodes/balochistan/units/hub", ToUnit: "nodes/punjab/units/lahore", Note: theNote,
		RequestId: "request-1", Actor: &custodyv1.Actor{Unit: "nodes/balochistan/units/hub", Service: "protection"},
	}
}

func (net *network) submit() *referralv1.Referral {
	net.t.Helper()
	shown, err := net.nodes["balochistan"].SubmitReferral(context.Background(), submitRequest())
	must(net.t, err)
	return shown
}

func acceptRequest(offer string) *referralv1.AcceptOfferRequest {
	return &referralv1.AcceptOfferRequest{
		Name: offer, Group: "nodes/punjab/shelters/lahore-girls/groups/girls", Note: theNote,
		Worker: &identityv1.WorkerContact{DisplayName: theWorker, Phone: thePhone},
	}
}

func (net *network) dispatchRequest(name string) *referralv1.DispatchReferralRequest {
	return &referralv1.DispatchReferralRequest{
		Name: name, Documents: []string{"COURT_ORDER"}, ExpectTime: timestamppb.New(net.now.Add(24 * time.Hour)), Note: theNote,
		Escort: &custodyv1.Escort{DisplayName: theEscort, Phone: thePhone, MeetingPlace: theMeeting, MeetingTime: timestamppb.New(net.now)},
	}
}
