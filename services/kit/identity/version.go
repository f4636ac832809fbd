package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/nats-io/nkeys"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

const (
	maxNodes       = 1000
	maxServices    = 16
	maxDisplayName = 120
	maxCertificate = 8192
)

func active(n *identityv1.RosterNode) bool {
	return n.GetState() == identityv1.RosterNode_STATE_ACTIVE
}

func find(nodes []*identityv1.RosterNode, name string) *identityv1.RosterNode {
	for _, n := range nodes {
		if n.GetNode() == name {
			return n
		}
	}
	return nil
}

// checkForm judges everything of a version but its signatures. previous is nil for the first.
func (r *Roster) checkForm(next *identityv1.Roster, previousHash []byte) error {
	previous := r.current
	if next.GetVersion() != previous.GetVersion()+1 {
		return fmt.Errorf("field version: it calls itself version %d", next.GetVersion())
	}
	if !bytes.Equal(next.GetPreviousHash(), previousHash) {
		return errors.New("field previous_hash: its previous hash is not that of the version before")
	}
	if err := checkNodes(next.GetNodes()); err != nil {
		return err
	}
	for _, old := range previous.GetNodes() {
		now := find(next.GetNodes(), old.GetNode())
		switch {
		case now == nil:
			return fmt.Errorf("node %s is gone; a node that leaves stays as retired", old.GetNode())
		case now.GetProvince() != old.GetProvince():
			return fmt.Errorf("node %s: field province: it stays %q for ever; a node for another province takes another name", old.GetNode(), old.GetProvince())
		case old.GetProvince() == "" && active(old) && !active(now):
			return fmt.Errorf("node %s: field state: the federal node vouches for the hub and stays active", old.GetNode())
		}
	}
	return r.checkKeys(next)
}

// checkNodes judges the entries of one version.
func checkNodes(nodes []*identityv1.RosterNode) error {
	if len(nodes) == 0 {
		return errors.New("it names no node")
	}
	if len(nodes) > maxNodes {
		return fmt.Errorf("it names %d nodes, at most %d are allowed", len(nodes), maxNodes)
	}
	federal := ""
	for i, n := range nodes {
		if i > 0 && nodes[i-1].GetNode() >= n.GetNode() {
			return fmt.Errorf("field nodes: they are not ordered by name, each once, at %q", n.GetNode())
		}
		if err := checkNode(n); err != nil {
			return fmt.Errorf("node %q: %w", n.GetNode(), err)
		}
		if n.GetProvince() != "" || !active(n) {
			continue
		}
		if federal != "" {
			return fmt.Errorf("node %q: field province: only the federal node, %s, has none; give the code of its province", n.GetNode(), federal)
		}
		federal = n.GetNode()
	}
	return nil
}

func checkNode(n *identityv1.RosterNode) error {
	switch {
	case !nodePattern.MatchString(n.GetNode()):
		return errors.New("field node: use 2 to 31 lower case letters, digits and hyphens, a letter first")
	case !provincePattern.MatchString(n.GetProvince()):
		return errors.New("field province: use an ISO 3166-2 code such as PK-PB, or nothing for the federal node")
	case n.GetState() < identityv1.RosterNode_STATE_ACTIVE || n.GetState() > identityv1.RosterNode_STATE_SUSPENDED:
		return errors.New("field state: use active, suspended or retired")
	case len(n.GetRosterKey()) != ed25519.PublicKeySize:
		return errors.New("field roster_key: 32 bytes are needed")
	case len(n.GetCaCertificate()) > maxCertificate:
		return fmt.Errorf("field ca_certificate: at most %d bytes are allowed", maxCertificate)
	case len(n.GetServices()) > maxServices:
		return fmt.Errorf("field services: at most %d are allowed", maxServices)
	}
	if err := checkDisplayName(n.GetDisplayName()); err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(n.GetCaCertificate())
	if err != nil || !ca.IsCA || len(ca.URIs) != 1 || *ca.URIs[0] != *spiffeID(n.GetNode(), "") || ca.CheckSignatureFrom(ca) != nil {
		return errors.New("field ca_certificate: a self-signed CA for exactly this node is needed")
	}
	seen := map[string]bool{}
	for _, s := range n.GetServices() {
		name := s.GetService()
		if !servicePattern.MatchString(name) || seen[name] || reserved(name) {
			return fmt.Errorf("service %q: use 3 to 20 lower case letters, each name once, not operator or hub", name)
		}
		seen[name] = true
		if len(s.GetSigningKey()) != ed25519.PublicKeySize {
			return fmt.Errorf("service %s: field signing_key: 32 bytes are needed", name)
		}
		if _, err := kem().NewPublicKey(s.GetHpkeKey()); err != nil {
			return fmt.Errorf("service %s: field hpke_key: no ML-KEM-768 + X25519 key", name)
		}
		if !nkeys.IsValidPublicUserKey(s.GetHubNkey()) {
			return fmt.Errorf("service %s: field hub_nkey: no public NATS user key", name)
		}
	}
	return nil
}

// checkDisplayName refuses what could mislead the eye of who reads it before signing.
func checkDisplayName(name string) error {
	if len([]rune(name)) > maxDisplayName {
		return fmt.Errorf("field display_name: at most %d characters are allowed", maxDisplayName)
	}
	if strings.ContainsFunc(name, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) }) {
		return errors.New("field display_name: leave out control characters")
	}
	return nil
}

func reserved(service string) bool { return service == operatorService || service == hubService }

// place is where a key stands in the roster: node, and field, with the service in it.
type place struct{ node, field string }

func (p place) String() string { return p.field + " of node " + p.node }

// keysOf are all keys that an entry names, by place. Those of different kinds never meet: each is told apart by its kind.
func keysOf(n *identityv1.RosterNode) (map[place]string, error) {
	ca, err := x509.ParseCertificate(n.GetCaCertificate())
	if err != nil {
		return nil, err
	}
	keys := map[place]string{
		{n.GetNode(), "field ca_certificate"}: "ca:" + string(ca.RawSubjectPublicKeyInfo),
		// Both are Ed25519: one key must not sign rosters and letters.
		{n.GetNode(), "field roster_key"}: "ed:" + string(n.GetRosterKey()),
	}
	for _, s := range n.GetServices() {
		in := "service " + s.GetService() + ": field "
		keys[place{n.GetNode(), in + "signing_key"}] = "ed:" + string(s.GetSigningKey())
		keys[place{n.GetNode(), in + "hpke_key"}] = "hpke:" + string(s.GetHpkeKey())
		keys[place{n.GetNode(), in + "hub_nkey"}] = "hub:" + s.GetHubNkey()
	}
	return keys, nil
}

// checkKeys lets a key stand at one place only, for ever: not at two, and not again after it was replaced there. So an old
// request that is shown again cannot bring back keys that were lost or stolen.
func (r *Roster) checkKeys(next *identityv1.Roster) error {
	here := map[string]place{}
	for _, n := range next.GetNodes() {
		keys, err := keysOf(n)
		if err != nil {
			return err
		}
		now := map[place]string{}
		if old := find(r.current.GetNodes(), n.GetNode()); old != nil {
			if now, err = keysOf(old); err != nil {
				return err
			}
		}
		for at, key := range keys {
			if other, twice := here[key]; twice {
				return fmt.Errorf("%s: this key is used twice, also as %s; have the node made anew with keys of its own", at, other)
			}
			here[key] = at
			before, known := r.holders[key]
			switch {
			case known && before != at:
				return fmt.Errorf("%s: this key is used twice, in an earlier version as %s; have the node made anew with keys of its own", at, before)
			case known && now[at] != key:
				return fmt.Errorf("%s: this key was replaced in an earlier version and counts no more; have the node made anew", at)
			}
		}
	}
	return nil
}

// tally are the signatures of a version.
type tally struct {
	signed, missing []string // nodes entitled to sign, by name
	needed          int
}

func (t tally) enough() bool { return len(t.signed) >= t.needed }

func (t tally) String() string {
	return fmt.Sprintf("%d of the nodes entitled to sign have signed (%s), %d are needed; have it signed also by one of %s",
		len(t.signed), listed(t.signed), t.needed, listed(t.missing))
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// count verifies a version's signatures. Every one must be good, of a node entitled to sign, and its only one.
func (r *Roster) count(next *identityv1.Roster, signed []byte, signatures []*identityv1.RosterSignature) (tally, error) {
	voters := r.current.GetNodes()
	if r.current == nil {
		voters = next.GetNodes()
	}
	voters = slices.DeleteFunc(slices.Clone(voters), func(n *identityv1.RosterNode) bool { return !active(n) })
	t := tally{needed: len(voters)}
	if r.current != nil {
		t.needed = len(voters)/2 + 1
	}
	for _, s := range signatures {
		voter := find(voters, s.GetNode())
		switch {
		case voter == nil:
			return t, fmt.Errorf("field signatures: node %.31q is not entitled to sign; remove its signature, or have the file sent again", s.GetNode())
		case slices.Contains(t.signed, s.GetNode()):
			return t, fmt.Errorf("field signatures: node %s signed twice; have the file sent again", s.GetNode())
		case !verifyDomain(voter.GetRosterKey(), rosterDomain, signed, s.GetSignature()):
			return t, fmt.Errorf("field signatures: the signature of node %s is not for this version; have it sign again", s.GetNode())
		}
		t.signed = append(t.signed, s.GetNode())
	}
	for _, v := range voters {
		if !slices.Contains(t.signed, v.GetNode()) {
			t.missing = append(t.missing, v.GetNode())
		}
	}
	slices.Sort(t.signed)
	return t, nil
}
