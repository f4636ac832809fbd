package privacy_test

import (
	"bytes"
	"errors"
	"testing"

	"amanat.example/services/kit/privacy"
)

func TestSealedBytesOpenForTheirNameAndPurposeAlone(t *testing.T) {
	keys, err := privacy.OpenKeyring(t.Context(), privacy.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	if _, err := keys.Seal("cases/1", "outbox", []byte("x")); !errors.Is(err, privacy.ErrNotPrepared) {
		t.Fatalf("sealed without a key: %v", err)
	}
	if err := keys.Prepare(t.Context(), "cases/1", "cases/2"); err != nil {
		t.Fatal(err)
	}
	plain := []byte("canary-of-a-note")
	sealed, err := keys.Seal("cases/1", "outbox", plain)
	if err != nil || bytes.Contains(sealed, plain) {
		t.Fatalf("%q, %v", sealed, err)
	}
	if got, err := keys.Open("cases/1", "outbox", sealed); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%q, %v", got, err)
	}
	for _, other := range [][2]string{{"cases/2", "outbox"}, {"cases/1", "other"}} {
		if _, err := keys.Open(other[0], other[1], sealed); !errors.Is(err, privacy.ErrUnreadable) {
			t.Errorf("%v: %v", other, err)
		}
	}
	if err := keys.Erase(t.Context(), "cases/1"); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open("cases/1", "outbox", sealed); !errors.Is(err, privacy.ErrErased) {
		t.Errorf("after erasure: %v", err)
	}
}
