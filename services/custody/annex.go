package custody

import (
	"bytes"
	"crypto/sha256"
	"errors"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// annexDomain keeps a commitment from being the hash of anything else.
const annexDomain = "amanat.custody.annex.v1"

// Commit is the commitment to an annex that stands in the chain: SHA-256 over a domain, the 32
// byte salt and the content. The salt keeps short texts from being guessed.
func Commit(a *custodyv1.Annex) Hash {
	h := sha256.New()
	h.Write([]byte(annexDomain))
	h.Write(a.GetSalt())
	h.Write(a.GetContent())
	return Hash(h.Sum(nil))
}

// CheckAnnex says whether an annex is the one that a commitment names.
func CheckAnnex(a *custodyv1.Annex, commitment []byte) error {
	if len(a.GetSalt()) != sha256.Size {
		return errors.New("an annex needs a salt of 32 bytes")
	}
	if c := Commit(a); !bytes.Equal(c[:], commitment) {
		return errors.New("the annex is not the one the chain names")
	}
	return nil
}
