package process

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/backup"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/kit/store"
)

// recipient writes the recipients' file of sindh and answers who opens what is made for it.
func recipient(t *testing.T, root string) age.Identity {
	t.Helper()
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	text := "# the focal point's\n" + secret.Recipient().String() + "\n"
	if err := os.WriteFile(backup.RecipientsPath(root, "sindh"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return secret
}

// A service that runs writes its data and its keys, each only for the recipients, and both are restored to what was there. A key that was
// erased after the data were written, and before the keys were, stays erased.
func TestBackupOfARunningService(t *testing.T) {
	p, _, place := statusPlace(t, func() error { return errors.New("the service answers nothing yet") })
	secret := recipient(t, place.Root)
	conn := place.Dial(t, p.Address().String(), rpctest.Operator)
	if err := p.Keys.Prepare(t.Context(), "amna", "bilal"); err != nil {
		t.Fatal(err)
	}
	const secretWord = "amna lives in the second house"
	sealed, err := p.Keys.Seal("amna", "test", []byte(secretWord))
	if err != nil {
		t.Fatal(err)
	}
	of := func(part backupv1.Part) []byte {
		t.Helper()
		var out bytes.Buffer
		label, err := backup.Fetch(t.Context(), conn, part, &out)
		if err != nil {
			t.Fatal(err)
		}
		if label.GetNode() != "sindh" || label.GetService() != "referral" || label.GetPart() != part ||
			label.GetIncarnation() != p.DB.Incarnation() || label.GetSchemaVersion() != 1 || label.GetBeginTime() == nil {
			t.Errorf("label: %v", label)
		}
		return out.Bytes()
	}
	data := of(backupv1.Part_PART_DATA)
	if err := p.Keys.Erase(t.Context(), "bilal"); err != nil {
		t.Fatal(err)
	}
	keys := of(backupv1.Part_PART_KEYS)
	if bytes.Contains(data, []byte("amanat store")) || bytes.Contains(keys, []byte("amanat keys")) {
		t.Error("a backup left in the clear")
	}

	dir := t.TempDir()
	open := func(file []byte, part backupv1.Part) io.Reader {
		t.Helper()
		label, body, err := backup.Open(bytes.NewReader(file), []age.Identity{secret})
		if err != nil || label.GetPart() != part {
			t.Fatal(label, err)
		}
		return body
	}
	if err := privacy.RestoreKeys(t.Context(), dir, open(keys, backupv1.Part_PART_KEYS)); err != nil {
		t.Fatal(err)
	}
	restored, err := privacy.OpenKeyring(t.Context(), privacy.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := restored.Open("amna", "test", sealed); err != nil || string(got) != secretWord {
		t.Errorf("what was sealed opens as %q, %v", got, err)
	}
	if err := restored.Prepare(t.Context(), "bilal"); !errors.Is(err, privacy.ErrErased) {
		t.Errorf("who was erased: %v", err)
	}
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}
	schema := store.NewSchema("referral", 1)
	events.Declare(schema, "referral", nil)
	post.Declare(schema)
	audit.Declare(schema)
	file := filepath.Join(dir, "referral.db")
	if err := store.Restore(t.Context(), open(data, backupv1.Part_PART_DATA), store.Options{Path: file, Schema: schema}, false); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Options{Path: file, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	if db.Incarnation() <= p.DB.Incarnation() {
		t.Error("the restored store goes on in its old life")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Torn files, and files for others, are told as what they are, wherever they are torn.
func TestTornBackups(t *testing.T) {
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	label := &backupv1.Label{Node: "sindh", Service: "referral", Part: backupv1.Part_PART_DATA, BeginTime: timestamppb.Now()}
	body := bytes.Repeat([]byte("rows"), 50_000)
	write := func(w io.Writer) error { _, err := w.Write(body); return err }
	if err := backup.Seal(&file, []age.Recipient{secret.Recipient()}, label, write); err != nil {
		t.Fatal(err)
	}
	read := func(raw []byte, who age.Identity) ([]byte, error) {
		got, in, err := backup.Open(bytes.NewReader(raw), []age.Identity{who})
		if err != nil {
			return nil, err
		}
		if !proto.Equal(got, label) {
			t.Errorf("label: %v", got)
		}
		return io.ReadAll(in)
	}
	if got, err := read(file.Bytes(), secret); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := read(file.Bytes(), other); !errors.Is(err, backup.ErrNotOurs) {
		t.Errorf("with another's key: %v", err)
	}
	for at := 0; at < file.Len(); at += 997 {
		if _, err := read(file.Bytes()[:at], secret); !errors.Is(err, backup.ErrTorn) {
			t.Errorf("cut at %d: %v", at, err)
		}
		changed := bytes.Clone(file.Bytes())
		changed[at] ^= 1
		if _, err := read(changed, secret); !errors.Is(err, backup.ErrTorn) && !errors.Is(err, backup.ErrNotOurs) {
			t.Errorf("changed at %d: %v", at, err)
		}
	}
}

// A file of recipients that is none gives no backup, and says what to do.
func TestRecipientsThatAreNone(t *testing.T) {
	p, _, place := statusPlace(t, nil)
	conn := place.Dial(t, p.Address().String(), rpctest.Operator)
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path := backup.RecipientsPath(place.Root, "sindh")
	refused := func(name, want string) {
		t.Helper()
		var out bytes.Buffer
		_, err := backup.Fetch(t.Context(), conn, backupv1.Part_PART_KEYS, &out)
		message := status.Convert(err).Message()
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(message, want) || !strings.Contains(message, path) || out.Len() > 0 {
			t.Errorf("%s: %d bytes, %v", name, out.Len(), err)
		}
		if strings.Contains(message, secret.String()) {
			t.Errorf("%s: the answer repeats a secret", name)
		}
	}
	refused("no file", "there is no file")
	if err := backup.MakeRecipients(place.Root, "sindh"); err != nil {
		t.Fatal(err)
	}
	refused("as it is made", "names nobody")
	for name, c := range map[string]struct{ text, want string }{
		"a secret key": {secret.Recipient().String() + "\n" + secret.String(), "holds a secret key"},
		"misspelt":     {secret.Recipient().String()[:40], "line 1"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(name, c.want)
		if err := backup.MakeRecipients(place.Root, "sindh"); err != nil { // as a second init would
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != c.text {
			t.Errorf("%s: the operator's file was overwritten: %v", name, err)
		}
	}
}

// Bad requests for a backup change nothing, and nobody but the operator gets one.
func TestBadRequestsForBackups(t *testing.T) {
	p, _, place := statusPlace(t, nil)
	recipient(t, place.Root)
	s := &rpctest.Suite{
		Place: place, Descriptor: &backupv1.BackupService_ServiceDesc, Policy: p.policy, Writes: rpctest.Watch(p.DB, p.Keys.Store()),
		Address: p.Address().String(),
		Calls: map[string]rpctest.Call{"WriteBackup": {
			Requests: func(testing.TB) []proto.Message {
				return []proto.Message{&backupv1.WriteBackupRequest{Part: backupv1.Part_PART_DATA}, &backupv1.WriteBackupRequest{Part: backupv1.Part_PART_KEYS}}
			},
		}},
	}
	t.Run("input", s.BadInput)
	t.Run("callers", func(t *testing.T) { s.Callers(t, "gateway", "shelter") })
}
