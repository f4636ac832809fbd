package paging_test

import (
	"bytes"
	"errors"
	"testing"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/paging"
)

// A token is read where it was made, and nowhere else; one that nobody made says so, and does not repeat it.
func FuzzToken(f *testing.F) {
	tokens, filter := paging.New([]byte("secret")), &shelterv1.ListSheltersRequest_Filter{District: "PK617"}
	made, err := tokens.Make("shelters", filter, []byte("nodes/punjab/shelters/lahore"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(made, []byte("nodes/punjab/shelters/lahore"))
	f.Add(made[:len(made)-1], []byte{})
	f.Add(made+"=", []byte{0})
	f.Add(made[:9]+"\n"+made[9:], []byte{0})
	f.Fuzz(func(t *testing.T, token string, key []byte) {
		if read, err := tokens.Read("shelters", filter, token); err == nil && token != "" {
			if again, err := tokens.Make("shelters", filter, read); err != nil || again != token {
				t.Errorf("a token was read that is not the one made for its key: %v", err)
			}
		} else if err != nil && (!errors.Is(err, paging.ErrToken) || err.Error() != paging.ErrToken.Error() || read != nil) {
			t.Errorf("refused with %v", err)
		}
		made, err := tokens.Make("shelters", filter, key)
		read, failed := tokens.Read("shelters", filter, made)
		if err := errors.Join(err, failed); err != nil || !bytes.Equal(read, key) {
			t.Errorf("the key comes back as %x: %v", read, err)
		}
		if _, err := tokens.Read("holds", filter, made); made != "" && !errors.Is(err, paging.ErrToken) {
			t.Errorf("another list reads it: %v", err)
		}
	})
}
