package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/gateway/session"
	"amanat.example/services/kit/identity"
)

// command runs the operator's command and answers what it printed.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := root()
	c.SetOut(&out)
	c.SetIn(strings.NewReader("yes\n")) // no terminal, so nobody is asked
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func done(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil {
		t.Fatalf("amanat %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func refused(t *testing.T, remedy string, args ...string) {
	t.Helper()
	if _, err := command(t, args...); err == nil || !strings.Contains(err.Error(), remedy) {
		t.Errorf("amanat %s: %v does not say: %s", strings.Join(args, " "), err, remedy)
	}
}

func reviewed(t *testing.T, out string) (r reviewResult) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// A province joins by commands and files alone, each command at its own node; what is wrong on the way is told with its remedy.
func TestJoin(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	away, desk := t.TempDir(), t.TempDir()
	file := filepath.Join(desk, "roster.pem")
	initNode := []string{"node", "init", "khyber", "--data", away, "--display-name", "Khyber", "--province", "PK-KP", "--hub", "hub.example:4230"}
	refused(t, "province", "node", "init", "khyber", "--data", away, "--display-name", "Khyber", "--province", "PK-XX", "--hub", "hub.example:4230")
	refused(t, "host:port", "node", "init", "khyber", "--data", away, "--display-name", "Khyber", "--province", "PK-KP", "--hub", "hub.example")
	refused(t, "4 to 9", append(initNode, "--number", "10")...)
	if left, err := os.ReadDir(away); err != nil || len(left) > 0 {
		t.Fatalf("a refused init left %v, %v", left, err)
	}
	out := done(t, initNode...)
	refused(t, "another number", initNode...)
	refused(t, "never overwritten", append(initNode, "--number", "5")...)
	if _, err := network.Load(away); err == nil || !strings.Contains(err.Error(), "amanat join") {
		t.Errorf("run before it joined: %v", err)
	}
	request := identity.RequestPath(away, "khyber")
	fingerprint := strings.TrimSpace(strings.Split(strings.Split(done(t, "roster", "show", request), "request: ")[1], "\n")[0])
	if !strings.Contains(out, fingerprint) {
		t.Errorf("the fingerprint %q is not what init said: %s", fingerprint, out)
	}

	at := func(node string, args ...string) []string {
		return append(args, "--data", l.Root, "--node", node, "--json")
	}
	refused(t, "say with --node", "roster", "draft", request, "--data", l.Root)
	refused(t, "there is no node", at("nowhere", "roster", "draft", request)...)
	refused(t, "name the other file", at("federal", "roster", "draft", writeRoster(t, l, desk), "--out", file)...)
	r := reviewed(t, done(t, at("federal", "roster", "draft", request, "--out", file)...))
	if r.Version != 2 || r.Needed != 3 || len(r.Changes) != 1 || !strings.Contains(r.Changes[0], fingerprint) {
		t.Errorf("drafted: %+v", r)
	}
	refused(t, "never overwritten", at("federal", "roster", "draft", request, "--out", file)...)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "--yes", at("federal", "roster", "sign", file)...)
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, before) {
		t.Errorf("signed without a yes: %v", err)
	}
	done(t, at("federal", "roster", "sign", file, "--yes")...)
	refused(t, "3 are needed", at("federal", "roster", "publish", file)...)
	// Two sign copies of their own, apart.
	var copies []string
	for _, node := range []string{"sindh", "punjab"} {
		own := filepath.Join(desk, node+".pem")
		if err := os.WriteFile(own, before, 0o600); err != nil {
			t.Fatal(err)
		}
		done(t, at(node, "roster", "sign", own, "--yes")...)
		copies = append(copies, own)
	}
	published := reviewed(t, done(t, at("federal", append([]string{"roster", "publish", file}, copies...)...)...))
	if !published.Complete || strings.Join(published.Signed, " ") != "federal punjab sindh" {
		t.Errorf("published: %+v", published)
	}
	whole := filepath.Join(desk, "whole.pem")
	done(t, at("federal", "roster", "export", "--out", whole)...)
	for _, node := range []string{"sindh", "punjab", "balochistan"} {
		done(t, at(node, "roster", "publish", whole)...)
	}
	refused(t, "amanat join", "roster", "publish", whole, "--data", away)
	refused(t, "do not join", "join", whole, "--data", away, "--network", published.Fingerprint)
	if _, err := identity.LoadRoster(away, "khyber"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("joined with a wrong fingerprint: %v", err)
	}
	done(t, "join", whole, "--data", away, "--network", published.Network)
	here, err := network.Load(away)
	if err != nil {
		t.Fatal(err)
	}
	if parts := here.Parts(); len(parts) != 5 || here.Config("khyber", network.Referral).HubURL != "tls://hub.example:4230" ||
		here.Address("khyber", network.Gateway) != "127.0.0.1:8084" || here.Nodes[0].Province != "PK-KP" {
		t.Errorf("what joined runs %v, %+v", parts, here.Config("khyber", network.Referral))
	}
	if out := done(t, "roster", "show", "--data", away); !strings.Contains(out, "khyber") || !strings.Contains(out, published.Network) {
		t.Errorf("%s", out)
	}
	token := []string{"node", "token", "w-1", "--data", away, "--unit", "nodes/khyber/units/peshawar", "--role"}
	refused(t, "role", append(token, "king")...)
	refused(t, "days", append(token, "supervisor", "--days", "0")...)
	refused(t, "worker", "node", "token", "Sana Khan", "--data", away, "--role", "supervisor")
	secret := strings.TrimSpace(done(t, append(token, "supervisor")...))
	tokens := session.Open(filepath.Join(away, "khyber", network.Gateway, "tokens.json"))
	if grant, err := tokens.Lookup("Bearer "+secret, time.Now()); err != nil || grant.Person != "nodes/khyber/workers/w-1" || grant.Roles[0] != "supervisor" {
		t.Errorf("the token stands for %+v, %v", grant, err)
	}
	if r := reviewed(t, done(t, at("sindh", "roster", "suspend", "khyber", "--out", filepath.Join(desk, "s.pem"))...)); len(r.Changes) != 1 ||
		r.Changes[0] != "khyber becomes suspended, before active" {
		t.Errorf("suspended: %+v", r)
	}
}

// writeRoster writes the roster of the network as a file.
func writeRoster(t *testing.T, l *network.Layout, desk string) string {
	t.Helper()
	path := filepath.Join(desk, "first.pem")
	done(t, "roster", "export", "--data", l.Root, "--node", "sindh", "--out", path)
	return path
}

// A node that joins may live beside others: under one root with ports of its own.
func TestNodeBesideOthers(t *testing.T) {
	l := network.Fixed(t.TempDir())
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	refused(t, "name that one", "node", "init", "khyber", "--data", l.Root, "--display-name", "K", "--province", "PK-KP", "--hub", "127.0.0.1:1")
	done(t, "node", "init", "khyber", "--data", l.Root, "--display-name", "K", "--province", "PK-KP", "--hub", "tls://127.0.0.1:4230")
	all, err := network.Load(l.Root)
	if err != nil || len(all.Nodes) != 4 {
		t.Fatalf("with one that has not joined yet: %v, %v", all, err)
	}
	for _, n := range []string{"federal", "punjab"} {
		if a := all.Address(n, network.Gateway); a != l.Address(n, network.Gateway) {
			t.Errorf("%s moved to %s", n, a)
		}
	}
	if a := all.Address("khyber", network.Bus); a != "127.0.0.1:4224" {
		t.Errorf("its bus is at %s", a)
	}
	lone := network.Fixed(t.TempDir())
	done(t, "node", "init", "khyber", "--data", lone.Root, "--display-name", "K", "--province", "PK-KP", "--hub", "127.0.0.1:4230")
	if err := lone.Init(); err == nil || !strings.Contains(err.Error(), "name another folder") {
		t.Errorf("a network was made over a node of another: %v", err)
	}
}
