package identity

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

// Files that were cut, are of the other kind or hold too much are told apart.
func TestFilesAsText(t *testing.T) {
	root := network(t)
	_, request := newcomer(t, "khyber", "PK-KP")
	asked, err := EncodeRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	roster, err := EncodeRoster(propose(t, root, Draft{Requests: []*identityv1.NodeRequest{request}}))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		says []string
	}{
		"cut":       {asked[:len(asked)/2], []string{"cut", "ask for it again"}},
		"empty":     {nil, []string{"ask for it again"}},
		"a roster":  {roster, []string{"name the other file"}},
		"twice":     {append(bytes.Clone(asked), asked...), []string{"more than one"}},
		"no proto":  {encodePEM(pemRequest, []byte{0xff}), []string{"changed on the way"}},
		"too large": {make([]byte, MaxFile+1), []string{"at most"}},
	} {
		_, err := DecodeRequest(c.data)
		says(t, name, err, c.says...)
	}
	if _, err := DecodeRequest(append([]byte("Dear colleague,\r\nthe request:\r\n\r\n"), asked...)); err != nil {
		t.Errorf("below a greeting: %v", err)
	}
	if a, b := NetworkFingerprint(&identityv1.RosterLog{}), RequestFingerprint(request); a != "" || len(b) != 35 {
		t.Errorf("fingerprints %q and %q", a, b)
	}
}

// The files in testdata were written once and hold public keys alone: a request, and a draft that suspends Sindh in a network of
// two. They must open for ever, and each process of a fuzz run sees the same ones.
func kept(tb testing.TB) (*identityv1.NodeRequest, *identityv1.RosterFile) {
	tb.Helper()
	asked, err := os.ReadFile("testdata/join-request.pem")
	if err != nil {
		tb.Fatal(err)
	}
	drafted, err := os.ReadFile("testdata/roster.pem")
	if err != nil {
		tb.Fatal(err)
	}
	request, err := DecodeRequest(asked)
	if err != nil {
		tb.Fatal(err)
	}
	file, err := DecodeRoster(drafted)
	if err != nil {
		tb.Fatal(err)
	}
	return request, file
}

func TestKeptFilesOpen(t *testing.T) {
	request, file := kept(t)
	if node, err := OpenRequest(request); err != nil || node.GetNode() != "khyber" {
		t.Errorf("%v, %v", node.GetNode(), err)
	}
	if review, err := Examine(file); err != nil || review.Complete() || fmt.Sprint(review.Changes) != "[sindh becomes suspended, before active]" {
		t.Errorf("%+v, %v", review, err)
	}
}

// No bytes make the decoders fall over, and nothing but the request that was written is believed.
func FuzzRequestFile(f *testing.F) {
	request, _ := kept(f)
	raw, err := proto.Marshal(request)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encodePEM(pemRequest, raw), raw)
	f.Add([]byte("-----BEGIN "+pemRequest), raw[:len(raw)/2])
	f.Fuzz(func(t *testing.T, text, raw []byte) {
		_, _ = DecodeRequest(text)
		read, err := DecodeRequest(encodePEM(pemRequest, raw))
		if err != nil {
			return
		}
		if _, err := OpenRequest(read); err == nil && !bytes.Equal(read.GetNode(), request.GetNode()) {
			t.Error("a forged request is believed")
		}
	})
}

func FuzzRosterFile(f *testing.F) {
	_, file := kept(f)
	raw, err := proto.Marshal(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		read, err := DecodeRoster(encodePEM(pemRoster, raw))
		if err != nil {
			return
		}
		if review, err := Examine(read); err == nil && review.Complete() && review.Network != NetworkFingerprint(file.GetLog()) {
			t.Error("a forged roster is believed")
		}
		if _, err := VerifyLog(read.GetLog()); err == nil && len(read.GetLog().GetVersions()) > 1 {
			t.Error("a version without a majority is believed")
		}
	})
}
