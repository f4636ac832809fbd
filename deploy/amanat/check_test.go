package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"amanat.example/deploy/network"
	"amanat.example/services/shelter"
)

// The command tells a sound file from one in which a byte has changed, and says what to do where it cannot look.
func TestCheck(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		c := root()
		c.SetOut(&out)
		c.SetArgs(append([]string{"check"}, args...))
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}
	refused := func(err error, remedy string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%v does not say: %s", err, remedy)
		}
	}
	_, err = run("--data", filepath.Join(l.Root, "nowhere"))
	refused(err, "--data")
	_, err = run("--data", l.Root, "punjab")
	refused(err, "--data")

	s, err := shelter.New(t.Context(), shelter.Config{Service: l.Config("punjab", network.Shelter)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = run("--data", l.Root, "punjab")
	refused(err, "stop the node first")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	out, err := run("--data", l.Root, "punjab")
	if err != nil || strings.Count(out, "sound") != 2 || strings.Contains(out, "DAMAGED") {
		t.Fatalf("%v: %s", err, out)
	}
	// The last page of the tree that is in use, whichever it is: change bytes until the check minds.
	path := filepath.Join(l.Root, "punjab", network.Shelter, network.Shelter+".db")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 16; i < len(raw); i += 4096 {
		raw[i] ^= 0xff
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = run("--data", l.Root, "--json", "punjab")
	refused(err, "restore")
	var result struct {
		Sound bool
		Files []struct {
			Path     string
			Problems []string
		}
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if result.Sound || len(result.Files) != 2 || len(result.Files[0].Problems) != 0 || len(result.Files[1].Problems) == 0 || result.Files[1].Path != path {
		t.Errorf("%s", out)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(after, raw) {
		t.Errorf("the check has changed the file: %v", err)
	}
}
