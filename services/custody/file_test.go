package custody_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// A file from a stick is what was written, or is refused with what to do; whatever stands in it.
func FuzzDecodeFile(f *testing.F) {
	whole, err := custody.EncodeFile(path(f, newRing(f, nodes...), 3).Message())
	if err != nil {
		f.Fatal(err)
	}
	for _, raw := range [][]byte{whole, whole[:len(whole)-1], whole[:30], append(bytes.Clone(whole), 0), make([]byte, custody.MaxFile+1), nil} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := &custodyv1.Chain{}
		switch err := custody.DecodeFile(raw, m); {
		case err == nil:
			again, err := custody.EncodeFile(m)
			other := &custodyv1.Chain{}
			if err := errors.Join(err, custody.DecodeFile(again, other)); err != nil || !proto.Equal(m, other) {
				t.Errorf("what was read is not what is written: %v", err)
			}
		case !errors.Is(err, custody.ErrNoHandover) && !errors.Is(err, custody.ErrFileCut):
			t.Errorf("refused without a remedy: %v", err)
		}
	})
}
