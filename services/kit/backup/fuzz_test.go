package backup

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"filippo.io/age"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/fuzztest"
)

// FuzzOpen: whatever somebody seals to a recipient, for which the public key is enough, it opens with a label that is sound and what stands
// behind it, to the last byte; what is cut, or is no backup, ends in ErrTorn or ErrNotOurs.
func FuzzOpen(f *testing.F) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	label := &backupv1.Label{Node: "punjab", Service: "referral", Part: backupv1.Part_PART_DATA, BeginTime: &timestamppb.Timestamp{Seconds: 1767225600}, Program: "v1"}
	var head bytes.Buffer
	if _, err := protodelim.MarshalTo(&head, label); err != nil {
		f.Fatal(err)
	}
	f.Add(append(head.Bytes(), "the rows"...), []byte{}, 0)
	f.Add(append(head.Bytes(), "the rows"...), []byte{}, 1)
	f.Add(head.Bytes(), []byte{}, 17)
	f.Add(append(head.Bytes(), make([]byte, 70_000)...), []byte{}, 1) // more than age verifies at once, so that the label is read
	f.Add(head.Bytes()[:head.Len()-1], []byte{}, 0)
	f.Add([]byte{}, []byte{}, 0)
	f.Add([]byte{0}, []byte{}, 0)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, []byte{}, 0)
	f.Add(append([]byte{0xff, 0x7f}, make([]byte, 1<<14)...), []byte{}, 0)
	for place := range byte(8) { // one field changed
		f.Add([]byte("the rows"), []byte{0, place, 1, 1}, 0)
		f.Add([]byte("the rows"), []byte{0, place, 2, 5}, 0)
	}
	f.Fuzz(func(t *testing.T, plain, changes []byte, cut int) {
		if _, _, err := Open(bytes.NewReader(plain), []age.Identity{key}); !errors.Is(err, ErrTorn) && !errors.Is(err, ErrNotOurs) {
			t.Errorf("what is not sealed gives %v", err)
		}
		if len(changes) > 0 {
			changed, head := proto.CloneOf(label), bytes.Buffer{}
			fuzztest.Mutate(changed, fuzztest.NewChoices(changes))
			if _, err := protodelim.MarshalTo(&head, changed); err != nil {
				t.Fatal(err)
			}
			plain = append(head.Bytes(), plain...)
		}
		var file bytes.Buffer
		sealed, err := age.Encrypt(&file, key.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sealed.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := sealed.Close(); err != nil {
			t.Fatal(err)
		}
		cut = max(cut, 0) % file.Len()
		got, body, err := Open(bytes.NewReader(file.Bytes()[:file.Len()-cut]), []age.Identity{key})
		var rest []byte
		if err == nil {
			if err := protovalidate.Validate(got); err != nil {
				t.Errorf("opened with the label %v: %v", got, err)
			}
			rest, err = io.ReadAll(body)
		}
		if err != nil {
			if !errors.Is(err, ErrTorn) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		said := &backupv1.Label{}
		reader := bytes.NewReader(plain)
		if err := protodelim.UnmarshalFrom(reader, said); err != nil || !proto.Equal(said, got) || !bytes.HasSuffix(plain, rest) || len(rest) != reader.Len() || cut > 0 {
			t.Errorf("%d bytes without the last %d of the file open as %v and %d bytes behind it", len(plain), cut, got, len(rest))
		}
	})
}

// FuzzKeyFiles: whatever stands in a file of recipients or of secret keys, an error names the file and repeats nothing of it, and a secret key is
// never taken for a recipient.
func FuzzKeyFiles(f *testing.F) {
	const recipient, secret = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj", "AGE-SECRET-KEY-184JMZMVQH3E6U0PSL869004Y3U2NYV7R30EU99CSEDNPH02YUVFSZW44VU"
	for _, file := range []string{
		"", "#", recipient, recipient + "\n" + recipient + "\r\n", "# " + secret, secret, secret + "\n", strings.ToLower(secret), " " + secret, "\ufeff" + secret,
		"key: " + secret, secret[:40], secret + "x", recipient + "\n" + fuzztest.Canary, "age1" + fuzztest.Canary, "AGE-SECRET-KEY-1" + strings.ToUpper(fuzztest.Canary),
		recipient + "\n\xff" + fuzztest.Canary, recipient + " " + fuzztest.Canary, "age-encryption.org/v1\n" + fuzztest.Canary, "ssh-ed25519 " + fuzztest.Canary,
		recipient + "\nage1pq1" + fuzztest.Canary, recipient[:30], recipient + recipient,
	} {
		f.Add([]byte(file))
	}
	path := filepath.Join(f.TempDir(), "keys")
	const own = "REASON_WRONG_STATE: BACKUP-RECIPIENTS: " + secretKey // long words of the errors themselves
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		recipients, notRecipients := ReadRecipients(path)
		identities, notIdentities := ReadIdentities(path)
		for _, c := range []struct {
			n   int
			err error
		}{{len(recipients), notRecipients}, {len(identities), notIdentities}} {
			if c.err == nil {
				if c.n == 0 {
					t.Error("taken, and nobody is named")
				}
				continue
			}
			if c.n > 0 || !strings.Contains(c.err.Error(), path) {
				t.Errorf("refused with %v, and %d keys", c.err, c.n)
			}
			for word := range strings.FieldsSeq(strings.ToValidUTF8(string(file), " ")) {
				if len(word) >= 12 && !strings.Contains(own+strings.ToUpper(path), strings.ToUpper(word)) && strings.Contains(strings.ToUpper(c.err.Error()), strings.ToUpper(word)) {
					t.Errorf("the error repeats %q: %v", word, c.err)
				}
			}
		}
		if notRecipients == nil && (notIdentities == nil || strings.Contains(strings.ToUpper(string(file)), secretKey)) {
			t.Error("a secret key stands among the recipients")
		}
	})
}
