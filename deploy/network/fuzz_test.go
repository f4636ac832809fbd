package network

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/fuzztest"
	"amanat.example/services/kit/identity"
)

// Whatever a folder holds in the place of a manifest, and whatever a manifest is changed into, what is chosen is files of one node that lie in
// the two folders, each of a service that can be restored with its keys; a manifest that is taken reads the same when it is written again, and
// one that is refused is named.
func FuzzManifests(f *testing.F) {
	at := timestamppb.New(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))
	artefact := func(service string, part backupv1.Part, file string) *backupv1.Artefact {
		label := &backupv1.Label{Node: "punjab", Service: service, Part: part, BeginTime: at, Incarnation: 1, SchemaVersion: 1, Program: "v1"}
		return &backupv1.Artefact{File: file, Size: 7, Sha256: make([]byte, 32), Label: label}
	}
	data := &backupv1.Manifest{Node: "punjab", BeginTime: at, Artefacts: []*backupv1.Artefact{
		artefact(Referral, backupv1.Part_PART_DATA, "punjab-referral-20260301T080000.000Z-1.data.age"),
		artefact(Shelter, backupv1.Part_PART_DATA, "punjab-shelter-20260301T080000.000Z-1.data.age"),
	}}
	keys := &backupv1.Manifest{Node: "punjab", BeginTime: at, Artefacts: []*backupv1.Artefact{
		artefact(Referral, backupv1.Part_PART_KEYS, "punjab-referral-20260301T080000.000Z-1.keys.age"),
		artefact(Shelter, backupv1.Part_PART_KEYS, "punjab-shelter-20260301T080000.000Z-1.keys.age"),
		artefact(Gateway, backupv1.Part_PART_KEYS, "punjab-gateway-20260301T080000.000Z-1.keys.age"), // which has no store
		artefact("", backupv1.Part_PART_NODE, "punjab-20260301T080000.000Z.node.age"),
	}}
	good := protojson.Format(data)
	for _, file := range []string{"../x", "/etc/passwd", "a/../../b", "..", ".hidden", "a\\b", "a\x00b", "a\n", strings.Repeat("a", 300)} {
		raw, err := protojson.Marshal(&backupv1.Manifest{Node: "punjab", BeginTime: at, Artefacts: []*backupv1.Artefact{artefact(Referral, backupv1.Part_PART_DATA, file)}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, []byte{}, []byte{})
	}
	for _, raw := range []string{
		good, "", "{}", "null", "[]", good[:len(good)/2], good + good, strings.Replace(good, `"punjab"`, `"sindh"`, 1), strings.ReplaceAll(good, "referral", "gateway"),
		strings.Replace(good, "2026", "99999", 1), strings.Repeat(`{"artefacts":[`, 20000), `{"unknown":1}`,
	} {
		f.Add([]byte(raw), []byte{}, []byte{})
	}
	for place := range byte(24) { // one field changed, in either manifest
		f.Add([]byte{}, []byte{0, place, 1, place, 1}, []byte{})
		f.Add([]byte{}, []byte{}, []byte{0, place, 3, 1, place})
	}
	from, keysFrom := filepath.Join(f.TempDir(), "data"), filepath.Join(f.TempDir(), "keys")
	for _, dir := range []string{from, keysFrom} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			f.Fatal(err)
		}
	}
	dataPath, keysPath := filepath.Join(from, "a"+dataManifest), filepath.Join(keysFrom, "a"+keysManifest)
	f.Fuzz(func(t *testing.T, raw, changeData, changeKeys []byte) {
		write := func(path string, m *backupv1.Manifest, change, instead []byte) {
			m = proto.CloneOf(m)
			fuzztest.Mutate(m, fuzztest.NewChoices(change))
			file, err := protojson.Marshal(m)
			if err != nil || len(instead) > 0 { // a time that JSON cannot write
				file = instead
			}
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(dataPath, data, changeData, raw)
		write(keysPath, keys, changeKeys, nil)
		for _, of := range []struct{ dir, suffix, path string }{{from, dataManifest, dataPath}, {keysFrom, keysManifest, keysPath}} {
			all, err := manifests(of.dir, of.suffix, "")
			if err != nil {
				if !strings.Contains(err.Error(), of.path) || !strings.Contains(err.Error(), "move it away") {
					t.Errorf("the error names neither file nor remedy: %v", err)
				}
				continue
			}
			again, err := protojson.Marshal(all[0])
			if err != nil {
				t.Fatalf("taken, and cannot be written: %v", err)
			}
			if err := os.WriteFile(of.path, again, 0o600); err != nil {
				t.Fatal(err)
			}
			if second, err := manifests(of.dir, of.suffix, all[0].GetNode()); err != nil || len(second) != 1 || !proto.Equal(second[0], all[0]) {
				t.Errorf("written again, it reads %v, %v", second, err)
			}
		}
		b, err := Restoration{From: from, KeysFrom: keysFrom}.choose()
		if err != nil {
			return
		}
		for _, a := range b.files() {
			if dir := filepath.Dir(a.path); dir != from && dir != keysFrom || filepath.Base(a.path) != a.GetFile() {
				t.Errorf("%q leads to %s", a.GetFile(), a.path)
			}
			if a.GetLabel().GetNode() != b.node || a.GetSize() <= 0 || len(a.GetSha256()) != 32 {
				t.Errorf("of %s is chosen %v", b.node, a.Artefact)
			}
		}
		for _, service := range b.services() {
			if restores[service] == nil || b.sealed[service].Artefact == nil {
				t.Errorf("%s is chosen, and cannot be restored", service)
			}
		}
	})
}

// Whatever an archive of a node's own files holds, what is unpacked lies in the folder as the archive has it, plain files of this node alone;
// nothing is written outside it or over another.
func FuzzNodeFiles(f *testing.F) {
	packed := func(headers ...*tar.Header) []byte {
		var raw bytes.Buffer
		archive := tar.NewWriter(&raw)
		for _, h := range headers {
			if h.Typeflag == 0 {
				h.Typeflag, h.Size = tar.TypeReg, 3
			}
			if err := archive.WriteHeader(h); err != nil {
				f.Fatalf("%s: %v", h.Name, err)
			}
			if h.Typeflag == tar.TypeReg && h.Size == 3 {
				if _, err := archive.Write([]byte("abc")); err != nil {
					f.Fatal(err)
				}
			}
		}
		_ = archive.Flush() // fails where less was written than a header says
		return append(raw.Bytes(), make([]byte, 1024)...)
	}
	f.Add(packed(&tar.Header{Name: "punjab/identity/node.pem"}, &tar.Header{Name: layoutFile}))
	for _, name := range []string{
		"../punjab/x", "/punjab/x", "punjab/../x", "punjab/../../x", "punjab/./x", "punjab//x", "punjab", "sindh/x", "punjabi/x", "x", "punjab/..", "punjab/\x7f",
		"./" + layoutFile, layoutFile + "/x", ".restoring-punjab/x", "punjab/" + strings.Repeat("a", 300), "punjab/" + strings.Repeat("a/", 200) + "b", "punjab\\..\\x",
	} {
		f.Add(packed(&tar.Header{Name: name}))
	}
	f.Add(packed(&tar.Header{Name: "punjab/x"}, &tar.Header{Name: "punjab/x"}))
	f.Add(packed(&tar.Header{Name: "punjab/x"}, &tar.Header{Name: "punjab/x/y"}))
	f.Add(packed(&tar.Header{Name: "punjab/x/y"}, &tar.Header{Name: "punjab/x"}))
	f.Add(packed(&tar.Header{Name: "punjab/x"}, &tar.Header{Name: "../x"}))
	for _, kind := range []byte{tar.TypeSymlink, tar.TypeLink, tar.TypeDir, tar.TypeChar, tar.TypeBlock, tar.TypeFifo} {
		f.Add(packed(&tar.Header{Name: "punjab/link", Typeflag: kind, Linkname: ".."}, &tar.Header{Name: "punjab/link/x"}))
	}
	f.Add(packed(&tar.Header{Name: "punjab/x", Typeflag: tar.TypeReg, Size: identity.MaxFile + 1}))
	f.Add(packed(&tar.Header{Name: "punjab/x", Typeflag: tar.TypeReg, Size: 4})) // less than it says
	f.Add(packed(&tar.Header{Name: "punjab/x"})[:700])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		outer := t.TempDir()
		stage := filepath.Join(outer, "stage")
		if err := os.Mkdir(stage, 0o700); err != nil {
			t.Fatal(err)
		}
		err := unpack(bytes.NewReader(body), stage, "punjab")
		if err != nil && err.Error() == "" {
			t.Error("refused without a reason")
		}
		says, never := map[string]string{}, "" // what it has, and what must not be taken
		for archive := tar.NewReader(bytes.NewReader(body)); ; {
			header, end := archive.Next()
			if end != nil {
				break
			}
			_, twice := says[header.Name]
			switch {
			case header.Size > identity.MaxFile && len(says) == 0 && never == "" && !strings.Contains(fmt.Sprint(err), "no file of this node"):
				t.Errorf("the first file has %d bytes, and is refused with %v", header.Size, err)
			case twice || header.Size > identity.MaxFile || header.Typeflag != tar.TypeReg:
				never = header.Name
			default:
				raw, _ := io.ReadAll(archive)
				says[header.Name] = string(raw)
			}
		}
		found := map[string]string{}
		walk := filepath.WalkDir(outer, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			name, err := filepath.Rel(stage, path)
			if err != nil {
				return err
			}
			raw, err := os.ReadFile(path)
			found[filepath.ToSlash(name)] = string(raw)
			if info, _ := e.Info(); !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
				t.Errorf("%s is %v", name, info.Mode())
			}
			return err
		})
		if walk != nil {
			t.Fatal(walk)
		}
		for name, content := range found {
			if name != layoutFile && !strings.HasPrefix(name, "punjab/") {
				t.Errorf("%s is written, and is none of punjab's", name)
			}
			if said, ok := says[name]; !ok || said != content {
				t.Errorf("%s is written with %d bytes; the archive has %d, %v", name, len(content), len(said), ok)
			}
		}
		if err == nil && (never != "" || !maps.Equal(found, says)) {
			t.Errorf("taken, with %q, and of %d files there are %d", never, len(says), len(found))
		}
	})
}

// Whatever a backup holds in the place of the addresses, those that are there stay, what is refused changes nothing, and what is taken is read
// again.
func FuzzAddresses(f *testing.F) {
	for _, file := range []string{
		`{"punjab/referral":"127.0.0.1:9202","federal/hub":"127.0.0.1:4230"}`, `{"punjab/referral":"10.0.0.1:1"}`, "{}", "null", "", "[]", `{"a":1}`, `{"a":null}`, `{"a":"b"}x`,
		`{"a":"b","a":"c"}`, `{"":""}`, "{\"\xff\":\"\xfe\"}", `{"a":{}}`, `{"sindh/shelter":"\u0000"}`,
	} {
		f.Add([]byte(file), true)
		f.Add([]byte(file), false)
	}
	f.Fuzz(func(t *testing.T, file []byte, some bool) {
		root := t.TempDir()
		path, there := filepath.Join(root, "restored.json"), map[string]string{}
		if some {
			there = map[string]string{"punjab/referral": "127.0.0.1:9999", "sindh/shelter": "127.0.0.1:9103"}
			if err := saveAddresses(root, there); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		err := addAddresses(root, path)
		after, missing := loadAddresses(root)
		if missing != nil && (some || !errors.Is(missing, fs.ErrNotExist)) {
			t.Fatalf("the addresses cannot be read any more: %v", missing)
		}
		if err != nil && !maps.Equal(after, there) {
			t.Errorf("refused with %v, and there are %v", err, after)
		}
		var said map[string]string
		if (json.Unmarshal(file, &said) != nil || said == nil) && err == nil {
			t.Errorf("%q is taken", file)
		}
		for at, address := range there {
			if after[at] != address {
				t.Errorf("%s was %s and is %s", at, address, after[at])
			}
		}
		for at, address := range said {
			if _, before := there[at]; err == nil && !before && after[at] != address {
				t.Errorf("%s is %q in the backup and %q here", at, address, after[at])
			}
		}
	})
}
