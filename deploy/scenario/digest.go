package scenario

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// Digest is of everything in a year: two programs that make years of the same digest make the same people, and the same happens to them.
func (y *Year) Digest() (string, error) {
	sum := sha256.New()
	err := writeAll(sum, y.Options, y.Start, y.End, y.Cuts)
	for i := 0; i < len(y.Units) && err == nil; i++ {
		u := y.Units[i]
		err = writeAll(sum, u.Node, u.Source, u.Unit)
	}
	for i := 0; i < len(y.Shelters) && err == nil; i++ {
		s := y.Shelters[i]
		err = writeAll(sum, s.Node, s.Source, s.Shelter)
	}
	for i := 0; i < len(y.Cases) && err == nil; i++ {
		c := y.Cases[i]
		if err = writeAll(sum, c.Case, c.Consent); err == nil && c.Referral != nil {
			r := *c.Referral
			r.Request = nil
			err = writeAll(sum, c.Referral.Request, r)
		}
		if err == nil {
			c.Case, c.Consent, c.Referral = nil, nil, nil
			err = writeAll(sum, c)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

// writeAll writes values as they are printed, and messages by their bytes.
func writeAll(to io.Writer, values ...any) error {
	for _, v := range values {
		if m, ok := v.(proto.Message); ok {
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				return err
			}
			v = fmt.Sprintf("%d %x", len(raw), raw)
		}
		if _, err := fmt.Fprintf(to, "%+v\n", v); err != nil {
			return err
		}
	}
	return nil
}
