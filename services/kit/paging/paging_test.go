package paging_test

import (
	"bytes"
	"errors"
	"testing"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/paging"
)

func TestTokens(t *testing.T) {
	tokens := paging.New([]byte("secret"))
	filter := &shelterv1.ListSheltersRequest_Filter{District: "PK617"}
	key := []byte("nodes/punjab/shelters/lahore")
	token, err := tokens.Make("shelters", filter, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tokens.Read("shelters", filter, token); err != nil || !bytes.Equal(got, key) {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := tokens.Read("shelters", filter, ""); err != nil || got != nil {
		t.Fatalf("no token is the beginning, not %q, %v", got, err)
	}
	var none *shelterv1.ListSheltersRequest_Filter
	changed := []byte(token)
	changed[len(changed)/2] ^= 1
	for name, read := range map[string]func() ([]byte, error){
		"another filter": func() ([]byte, error) { return tokens.Read("shelters", none, token) },
		"another list":   func() ([]byte, error) { return tokens.Read("holds", filter, token) },
		"another secret": func() ([]byte, error) { return paging.New([]byte("other")).Read("shelters", filter, token) },
		"changed":        func() ([]byte, error) { return tokens.Read("shelters", filter, string(changed)) },
		"short":          func() ([]byte, error) { return tokens.Read("shelters", filter, "AAAA") },
		"not base64":     func() ([]byte, error) { return tokens.Read("shelters", filter, "!!") },
	} {
		if _, err := read(); !errors.Is(err, paging.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
