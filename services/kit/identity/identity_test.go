package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/durable"
)

var allServices = []string{"protection", "referral", "shelter", "gateway"}

func network(t testing.TB) (root string) {
	t.Helper()
	root = t.TempDir()
	err := InitNetwork(
		Options{Root: root, Node: "federal", DisplayName: "Federal cell", Services: []string{"federal", "gateway"}, Hub: true},
		Options{Root: root, Node: "sindh", DisplayName: "Sindh", Province: "PK-SD", Services: allServices},
		Options{Root: root, Node: "punjab", DisplayName: "Punjab", Province: "PK-PB", Services: allServices},
	)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func load(t testing.TB, root, node, service string) *Service {
	t.Helper()
	s, err := Load(root, node, service)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFilesArePrivateAndNeverOverwritten(t *testing.T) {
	root := network(t)
	before := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]os.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		if !d.IsDir() {
			before[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(before) < 40 {
		t.Fatalf("only %d files were made", len(before))
	}
	for _, services := range [][]string{allServices, {"federal"}} {
		if _, err := InitNode(Options{Root: root, Node: "punjab", Services: services}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second init answered %v, want fs.ErrExist", err)
		}
	}
	if err := durable.Create(CACertificatePath(root, "punjab"), []byte("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file answered %v", err)
	}
	for path, want := range before {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s changed (%v)", path, err)
		}
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	for _, o := range []Options{
		{Node: "Punjab"},
		{Node: ".."},
		{Node: "punjab", Province: "Punjab"},
		{Node: "punjab", Services: []string{"operator"}},
		{Node: "punjab", Services: []string{"hub"}},
		{Node: "punjab", Services: []string{"../x"}},
		{Node: "punjab", Services: []string{"referral", "referral"}},
		{Node: "punjab", Province: "PK-PB", Hub: true},
	} {
		o.Root = t.TempDir()
		if _, err := InitNode(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
		if entries, _ := os.ReadDir(o.Root); len(entries) > 0 {
			t.Errorf("%+v left files behind", o)
		}
	}
}

func TestSignaturesAreForOneServiceAndDomain(t *testing.T) {
	root := network(t)
	s := load(t, root, "sindh", "referral")
	r := load(t, root, "punjab", "referral").Roster()
	message := []byte("event")
	signature := s.Sign("custody", message)
	if err := r.Verify("sindh", "referral", "custody", message, signature); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ node, service, domain, message string }{
		{"sindh", "referral", "post", "event"},
		{"sindh", "referral", "custodye", "vent"},
		{"sindh", "shelter", "custody", "event"},
		{"punjab", "referral", "custody", "event"},
		{"nowhere", "referral", "custody", "event"},
		{"sindh", "referral", "custody", "other"},
	} {
		if err := r.Verify(c.node, c.service, c.domain, []byte(c.message), signature); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%+v answered %v", c, err)
		}
	}
}

func TestSealOpensOnlyForReceiverAndPurpose(t *testing.T) {
	root := network(t)
	r := load(t, root, "sindh", "protection").Roster()
	to := load(t, root, "punjab", "protection")
	sealed, err := r.Seal("punjab", "protection", "dossier", []byte("aad"), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != len("secret")+SealOverhead {
		t.Errorf("sealed to %d bytes, SealOverhead is %d", len(sealed), SealOverhead)
	}
	if got, err := to.Open("dossier", []byte("aad"), sealed); err != nil || string(got) != "secret" {
		t.Fatalf("opened %q, %v", got, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	other := load(t, root, "punjab", "shelter")
	for name, open := range map[string]func() ([]byte, error){
		"other service": func() ([]byte, error) { return other.Open("dossier", []byte("aad"), sealed) },
		"other info":    func() ([]byte, error) { return to.Open("annex", []byte("aad"), sealed) },
		"other aad":     func() ([]byte, error) { return to.Open("dossier", []byte("xyz"), sealed) },
		"changed":       func() ([]byte, error) { return to.Open("dossier", []byte("aad"), changed) },
		"short":         func() ([]byte, error) { return to.Open("dossier", nil, sealed[:20]) },
	} {
		if _, err := open(); !errors.Is(err, ErrCannotOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Seal("punjab", "federal", "dossier", nil, nil); !errors.Is(err, ErrUnknownService) {
		t.Errorf("sealing to nobody answered %v", err)
	}
}

func TestTokens(t *testing.T) {
	root := network(t)
	gateway := load(t, root, "sindh", "gateway")
	protection := load(t, root, "sindh", "protection")
	referral := load(t, root, "sindh", "referral")
	start := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	token := &identityv1.PersonToken{
		Person: "nodes/sindh/workers/1", Roles: []string{"case-worker"}, Purpose: "casework",
		Audience: []string{"protection"}, IssueTime: timestamppb.New(start),
	}
	issue := func(s *Service, token *identityv1.PersonToken) []byte {
		t.Helper()
		raw, err := s.IssueToken(token)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	raw := issue(gateway, token)
	got, err := protection.VerifyToken(raw, start.Add(time.Minute), []string{"gateway"})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetTokenId() == "" || got.GetNode() != "sindh" || !got.GetExpireTime().AsTime().Equal(start.Add(TokenLife)) {
		t.Errorf("filled in %v", got)
	}
	forged := &identityv1.SignedPersonToken{}
	if err := proto.Unmarshal(raw, forged); err != nil {
		t.Fatal(err)
	}
	forged.Service = "referral"
	forgedRaw, err := proto.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	foreign := issue(load(t, root, "punjab", "gateway"), token)
	for _, c := range []struct {
		name    string
		s       *Service
		raw     []byte
		at      time.Duration
		issuers []string
		want    error
	}{
		{"last moment", protection, raw, TokenLife - 1, []string{"gateway"}, nil},
		{"forwarded", protection, issue(referral, token), 0, []string{"gateway", "referral"}, nil},
		{"expired", protection, raw, TokenLife, []string{"gateway"}, ErrTokenExpired},
		{"from the future", protection, raw, -time.Minute, []string{"gateway"}, ErrTokenExpired},
		{"other audience", referral, raw, 0, []string{"gateway"}, ErrTokenAudience},
		{"other node", protection, foreign, 0, []string{"gateway"}, ErrTokenForeignNode},
		{"issuer that may not", protection, issue(referral, token), 0, []string{"gateway"}, ErrTokenIssuer},
		{"signed by another", protection, forgedRaw, 0, []string{"referral"}, ErrTokenSignature},
		{"issuer that may no longer", protection, raw, 0, []string{"referral"}, ErrTokenIssuer},
		{"a byte changed", protection, append(slices.Clone(raw[:len(raw)-1]), raw[len(raw)-1]^1), 0, []string{"gateway"}, ErrTokenSignature},
		{"known all the while", protection, raw, 0, []string{"gateway"}, nil},
		{"not a token", protection, []byte("\xff\xff"), 0, []string{"gateway"}, ErrTokenMalformed},
	} {
		if _, err := c.s.VerifyToken(c.raw, start.Add(c.at), c.issuers); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	// More people than it remembers: those it has forgotten are verified anew.
	for range 2*mostKnown + 1 {
		if _, err := protection.VerifyToken(issue(gateway, token), start, []string{"gateway"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(protection.tokens.young) + len(protection.tokens.old); n > 2*mostKnown {
		t.Errorf("%d tokens are remembered", n)
	}
	if _, err := protection.VerifyToken(raw, start, []string{"gateway"}); err != nil {
		t.Errorf("a token that was forgotten: %v", err)
	}
	long := proto.CloneOf(token)
	long.ExpireTime = timestamppb.New(start.Add(TokenLife + 1))
	if _, err := gateway.IssueToken(long); !errors.Is(err, ErrTokenMalformed) {
		t.Errorf("a token of more than 5 minutes: %v", err)
	}
	foreignNode := proto.CloneOf(token)
	foreignNode.Node = "punjab"
	if _, err := gateway.IssueToken(foreignNode); !errors.Is(err, ErrTokenForeignNode) {
		t.Errorf("a token of another node: %v", err)
	}
}

func TestHubNKeyAnswersChallenge(t *testing.T) {
	s := load(t, network(t), "sindh", "referral")
	public, sign := s.HubNKey()
	entry, _ := s.Roster().Node("sindh")
	for _, named := range entry.GetServices() {
		if named.GetService() == "referral" && named.GetHubNkey() != public {
			t.Errorf("the roster names %s", named.GetHubNkey())
		}
	}
	signature, err := sign([]byte("nonce"))
	if err != nil || s.hub.Verify([]byte("nonce"), signature) != nil {
		t.Errorf("the challenge is not answered: %v", err)
	}
}
