package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/identity"
)

var now = time.Date(2027, 1, 1, 8, 0, 0, 0, time.UTC)

func aGrant(end time.Duration) Grant {
	return Grant{
		Person: "nodes/sindh/workers/0192f0a1-0000-7000-8000-0000000000aa", Roles: []string{"case-worker"},
		Unit: "nodes/sindh/units/karachi", Purpose: "casework", ExpireTime: now.Add(end),
	}
}

func create(t *testing.T, path string, g Grant) string {
	t.Helper()
	secret, err := Create(path, g, now)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestSecretIsNotInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway", "tokens.json")
	secret := create(t, path, aGrant(time.Hour))
	second := create(t, path, aGrant(time.Hour))
	if secret == second || len(secret) != len("amanat_")+43 {
		t.Fatalf("secrets %q and %q", secret, second)
	}
	data, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(data), strings.TrimPrefix(secret, secretPrefix)) {
		t.Fatalf("%v: %s", err, data)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v: mode %v", err, info.Mode())
	}
}

func TestLookup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	tokens := Open(path)
	if _, err := tokens.Lookup("Bearer amanat_x", now); !errors.Is(err, ErrUnknown) {
		t.Fatalf("without a file: %v", err)
	}
	secret := create(t, path, aGrant(time.Hour))
	g, err := tokens.Lookup("bearer "+secret, now)
	if err != nil || g.Person != aGrant(0).Person || g.Roles[0] != "case-worker" || g.Unit == "" {
		t.Fatalf("%v, %v", g, err)
	}
	if _, err := tokens.Lookup("Bearer "+secret, now.Add(time.Hour)); !errors.Is(err, ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
	if _, err := tokens.Lookup("Bearer "+secret[:len(secret)-4]+"AAAA", now); !errors.Is(err, ErrUnknown) {
		t.Errorf("changed: %v", err)
	}
	for _, header := range []string{"", "Basic " + secret, secret} {
		if _, err := tokens.Lookup(header, now); !errors.Is(err, ErrMissing) {
			t.Errorf("another scheme: %v", err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Lookup("Bearer "+secret, now); !errors.Is(err, ErrUnknown) {
		t.Errorf("after the file was taken away: %v", err)
	}
}

func TestFileThatIsNotInOrderAdmitsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	secret := create(t, path, aGrant(time.Hour))
	tokens := Open(path)
	if _, err := tokens.Lookup("Bearer "+secret, now); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"cut":           string(good[:len(good)/2]),
		"unknown field": strings.Replace(string(good), `"unit"`, `"team"`, 1),
		"short digest":  strings.Replace(string(good), `"sha256": "`, `"sha256": "0`, 1),
		"no roles":      strings.Replace(string(good), `"case-worker"`, ``, 1),
		"null":          `{"tokens":[null]}`,
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Lookup("Bearer "+secret, now); err == nil || errors.Is(err, ErrUnknown) || tokens.Err() == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := tokens.Err(); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("readable by others: %v", err)
	}
}

func TestCreateRefusesAndTidies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	for field, change := range map[string]func(*Grant){
		"person":      func(g *Grant) { g.Person = "" },
		"roles":       func(g *Grant) { g.Roles = nil },
		"purpose":     func(g *Grant) { g.Purpose = "" },
		"expire_time": func(g *Grant) { g.ExpireTime = time.Time{} },
	} {
		g := aGrant(time.Hour)
		change(&g)
		if _, err := Create(path, g, now); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	old := create(t, path, aGrant(-time.Hour))
	create(t, path, aGrant(time.Hour))
	if _, err := Open(path).Lookup("Bearer "+old, now); !errors.Is(err, ErrUnknown) {
		t.Errorf("an expired token stayed in the file: %v", err)
	}
}

func TestIssuer(t *testing.T) {
	root := t.TempDir()
	err := identity.InitNetwork(identity.Options{Root: root, Node: "sindh", Province: "PK-SD", Services: []string{"gateway", "shelter", "referral"}})
	if err != nil {
		t.Fatal(err)
	}
	services := map[string]*identity.Service{}
	for _, name := range []string{"gateway", "shelter", "referral"} {
		if services[name], err = identity.Load(root, "sindh", name); err != nil {
			t.Fatal(err)
		}
	}
	clock := now
	issuer := NewIssuer(services["gateway"], func() time.Time { return clock })
	g := aGrant(time.Hour)
	verify := func(raw []byte, as string) (*identityv1.PersonToken, error) {
		return services[as].VerifyToken(raw, clock, []string{"gateway"})
	}
	if _, err := issuer.Token(&g, "referral"); err != nil { // Never asked for again.
		t.Fatal(err)
	}
	first, err := issuer.Token(&g, "shelter")
	if err != nil {
		t.Fatal(err)
	}
	p, err := verify(first, "shelter")
	if err != nil || p.GetUnit() != g.Unit || p.GetPerson() != g.Person || fmt.Sprint(p.GetRoles()) != "[case-worker]" {
		t.Fatalf("%v, %v", p, err)
	}
	if _, err := verify(first, "referral"); !errors.Is(err, identity.ErrTokenAudience) {
		t.Errorf("another service took the token: %v", err)
	}
	again, err := issuer.Token(&g, "shelter")
	if err != nil || string(again) != string(first) {
		t.Errorf("a token that is good was not used again (%v)", err)
	}
	clock = clock.Add(identity.TokenLife - renewBefore)
	fresh, err := issuer.Token(&g, "shelter")
	if err != nil || string(fresh) == string(first) {
		t.Errorf("a token near its end was used again (%v)", err)
	}
	clock = g.ExpireTime.Add(-time.Second)
	last, err := issuer.Token(&g, "shelter")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := verify(last, "shelter"); err != nil || p.GetExpireTime().AsTime().After(g.ExpireTime) {
		t.Errorf("the person token outlives the API token: %v, %v", p, err)
	}
	if len(issuer.issued) != 1 {
		t.Errorf("%d tokens are kept, of which one is good", len(issuer.issued))
	}
}
