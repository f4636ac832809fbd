package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"google.golang.org/protobuf/encoding/protojson"

	"amanat.example/deploy/network"
	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/backup"
	"amanat.example/services/kit/store"
	"amanat.example/services/shelter"
)

// vault is a node of Punjab, its backups, and who opens them.
type vault struct {
	layout           *network.Layout
	secret           *age.X25519Identity
	identity         string // file of secret
	data, keys, home string // folders of the backups, and a root that is empty
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{data: filepath.Join(t.TempDir(), "data"), keys: filepath.Join(t.TempDir(), "keys"), home: filepath.Join(t.TempDir(), "home")}
	var err error
	if v.layout, err = network.Free(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := v.layout.Init(); err != nil {
		t.Fatal(err)
	}
	if v.secret, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	v.identity = filepath.Join(t.TempDir(), "age.txt")
	writeTo(t, v.identity, "# created: today\n"+v.secret.String()+"\n")
	return v
}

func writeTo(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs the node in this process until the function it answers is called.
func (v *vault) run(t *testing.T) (stop func()) {
	t.Helper()
	only, err := v.layout.Only("punjab")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- only.RunAll(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	for { // until every service answers
		all, err := only.Status(t.Context(), "punjab")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(all, func(s network.ServiceStatus) bool { return s.Down != "" }) {
			return stop
		}
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func operate(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := root()
	c.SetOut(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func (v *vault) backUp(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return operate(t, append([]string{"backup", "--data", v.layout.Root, "--node", "punjab", "--to", v.data, "--keys-to", v.keys}, args...)...)
}

func (v *vault) restore(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return operate(t, append([]string{"restore", "--from", v.data, "--keys-from", v.keys, "--identity", v.identity}, args...)...)
}

// names are those of the files in a folder that end so.
func names(t *testing.T, dir, suffix string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// content is what lies under a folder: the sum of each file, by path.
func content(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	all := map[string][sha256.Size]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			all[path] = [sha256.Size]byte{}
			return err
		}
		raw, err := os.ReadFile(path)
		all[path] = sha256.Sum256(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A node that runs is backed up: of the data as many stay as were asked for, of the keys one. Without recipients nothing is written.
func TestBackup(t *testing.T) {
	v := newVault(t)
	stop := v.run(t)
	defer func() { stop() }()
	_, err := v.backUp(t)
	if err == nil || !strings.Contains(err.Error(), "backup-recipients") || !strings.Contains(err.Error(), "age1") {
		t.Errorf("without recipients: %v", err)
	}
	if left := append(names(t, v.data, "*"), names(t, v.keys, "*")...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	recipients := backup.RecipientsPath(v.layout.Root, "punjab")
	writeTo(t, recipients, v.secret.Recipient().String())
	if _, err := v.backUp(t, "--keep", "0"); err == nil || !strings.Contains(err.Error(), "keep") {
		t.Errorf("keep none: %v", err)
	}
	for n := range 3 {
		if n == 2 { // what a backup that was killed has left, and what is of others
			writeTo(t, filepath.Join(v.keys, "punjab-referral-20200101T000000.000Z-7.keys.age"), "old")
			writeTo(t, filepath.Join(v.keys, ".new-123"), "half")
			writeTo(t, filepath.Join(v.keys, "punjab-b-referral-20200101T000000.000Z-7.keys.age"), "of another node")
		}
		out, err := v.backUp(t, "--keep", "2", "--json")
		if err != nil {
			t.Fatal(err)
		}
		var told struct{ Data, Keys []struct{ Path string } }
		if err := json.Unmarshal([]byte(out), &told); err != nil || len(told.Data) != 3 || len(told.Keys) != 4 {
			t.Errorf("%v: %s", err, out)
		}
		for _, f := range append(told.Data, told.Keys...) {
			raw, err := os.ReadFile(f.Path)
			if err != nil || !bytes.HasPrefix(raw, []byte("age-encryption.org/v1")) {
				t.Errorf("%s: %v", f.Path, err)
			}
		}
	}
	if data, keys := names(t, v.data, ".data.json"), names(t, v.keys, ".keys.json"); len(data) != 2 || len(keys) != 1 {
		t.Errorf("manifests: %v, %v", data, keys)
	}
	if data, keys := names(t, v.data, ".age"), names(t, v.keys, ".age"); len(data) != 2*3 || len(keys) != 4+1 || len(names(t, v.keys, ".new-*")) > 0 {
		t.Errorf("files: %v, %v", data, keys)
	}
	if _, err := v.restore(t, "--data", v.layout.Root, "--replace"); err == nil || !strings.Contains(err.Error(), "stop the node") {
		t.Errorf("restored over a node that runs: %v", err)
	}
	if _, err := operate(t, "compact", "--data", v.layout.Root, "punjab"); err == nil || !strings.Contains(err.Error(), "stop the node") {
		t.Errorf("compacted a node that runs: %v", err)
	}
	if err := os.Remove(recipients); err != nil {
		t.Fatal(err)
	}
	before := content(t, v.keys)
	if _, err := v.backUp(t); err == nil || !maps.Equal(before, content(t, v.keys)) {
		t.Errorf("a backup that failed changed what was there: %v", err)
	}
}

// A node is brought back on an empty machine, and in the place of one that is broken; every store begins a new life, and all is sound.
func TestRestore(t *testing.T) {
	v := newVault(t)
	writeTo(t, backup.RecipientsPath(v.layout.Root, "punjab"), v.secret.Recipient().String())
	stop := v.run(t)
	defer func() { stop() }()
	for range 2 {
		if _, err := v.backUp(t); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	stop = func() {}
	out, err := v.restore(t, "--data", v.home)
	if err != nil || !strings.Contains(out, "amanat node run punjab") {
		t.Fatalf("%v: %s", err, out)
	}
	away, err := network.Load(v.home)
	if err != nil || len(away.Nodes) != 1 || away.Address("punjab", network.Referral) != v.layout.Address("punjab", network.Referral) ||
		away.Address(network.FederalNode, network.Hub) != v.layout.Address(network.FederalNode, network.Hub) || away.Address("sindh", network.Referral) != "" {
		t.Errorf("where it is: %v, %+v", err, away)
	}
	lives := map[string]uint64{}
	for _, path := range names(t, v.data, ".data.json") {
		for _, a := range readManifest(t, path).GetArtefacts() {
			lives[a.GetLabel().GetService()] = a.GetLabel().GetIncarnation()
		}
	}
	s, err := shelter.New(t.Context(), shelter.Config{Service: away.Config("punjab", network.Shelter)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := operate(t, "check", "--data", v.home); err != nil || strings.Count(out, "sound") != 6 {
		t.Errorf("check: %v: %s", err, out)
	}
	if out, err = operate(t, "compact", "--data", v.home); err != nil || strings.Count(out, "->") != 6 {
		t.Errorf("compact: %v: %s", err, out)
	}
	if out, err := operate(t, "check", "--data", v.home); err != nil || strings.Count(out, "sound") != 6 {
		t.Errorf("check after compact: %v: %s", err, out)
	}

	// In the place of one that is broken. The other nodes of the folder, and their addresses, stay.
	others, addresses := content(t, filepath.Join(v.layout.Root, "sindh")), filepath.Join(v.layout.Root, "network.json")
	before, err := os.ReadFile(addresses)
	if err != nil {
		t.Fatal(err)
	}
	writeTo(t, filepath.Join(v.layout.Root, "punjab", "referral", "referral.db"), "broken")
	if _, err := v.restore(t, "--data", v.layout.Root, "--replace"); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(addresses)
	if err != nil || !bytes.Equal(before, after) || !maps.Equal(others, content(t, filepath.Join(v.layout.Root, "sindh"))) {
		t.Errorf("what is of others was changed: %v", err)
	}
	if len(names(t, filepath.Join(v.layout.Root, "replaced"), "punjab-*")) != 1 || len(names(t, v.layout.Root, ".restoring-*")) != 0 {
		t.Error("what was there before was not kept, or what was made on the way was")
	}
	stop = v.run(t)
	all, err := v.layout.Status(t.Context(), "punjab")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Told != nil && s.Told.GetIncarnation() <= lives[s.Service] {
			t.Errorf("%s goes on in its old life", s.Service)
		}
	}
}

func readManifest(t *testing.T, path string) *backupv1.Manifest {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &backupv1.Manifest{}
	if err := protojson.Unmarshal(raw, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func writeManifest(t *testing.T, path string, m *backupv1.Manifest) {
	t.Helper()
	raw, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	writeTo(t, path, string(raw))
}

// Whatever is wrong with a backup, or with where it is to go, is told with what to do, and changes nothing.
func TestRestoreRefuses(t *testing.T) {
	v := newVault(t)
	writeTo(t, backup.RecipientsPath(v.layout.Root, "punjab"), v.secret.Recipient().String())
	stop := v.run(t)
	oldKeys, oldData := filepath.Join(t.TempDir(), "keys"), ""
	for n := range 2 {
		if _, err := v.backUp(t); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			if err := os.CopyFS(oldKeys, os.DirFS(v.keys)); err != nil {
				t.Fatal(err)
			}
			oldData = filepath.Base(names(t, v.data, ".data.json")[0])
		}
	}
	stop()
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(t.TempDir(), "stranger.txt")
	writeTo(t, stranger, other.String())
	// damage makes folders of data and keys with a fault in them.
	type folders struct{ data, keys string }
	damage := func(change func(f folders)) []string {
		f := folders{filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "keys")}
		for to, from := range map[string]string{f.data: v.data, f.keys: v.keys} {
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
		}
		change(f)
		return []string{"--from", f.data, "--keys-from", f.keys}
	}
	last := func(dir, suffix string) string { all := names(t, dir, suffix); return all[len(all)-1] }
	cut := func(path string) {
		info, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, info.Size()-1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	flip := func(path string) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		writeTo(t, path, string(raw))
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a node that is there": {[]string{"--data", v.layout.Root}, "--replace"},
		"a foreign node":       {[]string{"--node", "sindh"}, "none of sindh"},
		"another's secret":     {[]string{"--identity", stranger}, "no key of the identity file"},
		"no secret":            {[]string{"--identity", filepath.Join(v.data, filepath.Base(last(v.data, ".data.json")))}, "no file of age-keygen"},
		"an encrypted secret":  {[]string{"--identity", last(v.data, ".data.age")}, "age -d"},
		"no backup":            {[]string{"--from", t.TempDir()}, "holds no backup"},
		"no keys":              {[]string{"--keys-from", t.TempDir()}, "holds no keys of punjab"},
		"another time":         {[]string{"--time", "20200101T000000.000Z"}, strings.TrimSuffix(strings.TrimPrefix(oldData, "punjab-"), ".data.json")},
		"older keys":           {[]string{"--keys-from", oldKeys}, "older than the data"},
		"cut data":             {damage(func(f folders) { cut(last(f.data, ".data.age")) }), "not a whole backup"},
		"changed data":         {damage(func(f folders) { flip(last(f.data, ".data.age")) }), "not a whole backup"},
		"cut keys":             {damage(func(f folders) { cut(last(f.keys, ".keys.age")) }), "not a whole backup"},
		"a changed identity":   {damage(func(f folders) { flip(last(f.keys, ".node.age")) }), "not a whole backup"},
		"a missing file": {damage(func(f folders) {
			if err := os.Remove(last(f.data, ".data.age")); err != nil {
				t.Fatal(err)
			}
		}), "is missing"},
		"a torn manifest": {damage(func(f folders) { cut(last(f.data, ".data.json")); cut(last(f.data, ".data.json")) }), "is no manifest"},
		"exchanged files": {damage(func(f folders) {
			path := last(f.data, ".data.json")
			m := readManifest(t, path)
			m.Artefacts[0].Label, m.Artefacts[1].Label = m.Artefacts[1].Label, m.Artefacts[0].Label
			writeManifest(t, path, m)
		}), "renamed or exchanged"},
		"a renamed node": {damage(func(f folders) {
			path := last(f.data, ".data.json")
			m := readManifest(t, path)
			m.Artefacts[0].Label.Node = "sindh"
			writeManifest(t, path, m)
		}), "another node"},
		"a newer program": {damage(func(f folders) { v.newer(t, f.data, last(f.data, ".data.json")) }), "written by a newer program"},
	} {
		t.Run(name, func(t *testing.T) {
			here := v.home
			for i, arg := range c.args {
				if arg == "--data" {
					here = c.args[i+1]
				}
			}
			before := content(t, here)
			_, err := v.restore(t, append([]string{"--data", here}, c.args...)...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v does not say: %s", err, c.want)
			}
			after := content(t, here)
			delete(after, here) // an empty folder
			delete(before, here)
			if !maps.Equal(before, after) {
				t.Errorf("something was changed: %v", slices.Sorted(maps.Keys(after)))
			}
		})
	}
	// The same keys are good for older data.
	if _, err := v.restore(t, "--data", v.home, "--time", strings.TrimSuffix(strings.TrimPrefix(oldData, "punjab-"), ".data.json")); err != nil {
		t.Error(err)
	}
}

// newer puts shelter data of a program that is to come into a backup.
func (v *vault) newer(t *testing.T, dir, manifest string) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "new.db"), Schema: store.NewSchema("shelter", 999)})
	if err != nil {
		t.Fatal(err)
	}
	m := readManifest(t, manifest)
	for _, a := range m.GetArtefacts() {
		if a.GetLabel().GetService() != network.Shelter {
			continue
		}
		a.Label.SchemaVersion, a.Label.Program = 999, "v99.0.0"
		var file bytes.Buffer
		if err := backup.Seal(&file, []age.Recipient{v.secret.Recipient()}, a.GetLabel(), func(w io.Writer) error { return db.Backup(t.Context(), w) }); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(file.Bytes())
		a.Size, a.Sha256 = int64(file.Len()), sum[:]
		writeTo(t, filepath.Join(dir, a.GetFile()), file.String())
	}
	writeManifest(t, manifest, m)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
