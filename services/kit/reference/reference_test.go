package reference_test

import (
	"strings"
	"testing"
	"time"

	"amanat.example/services/kit/reference"
)

var at = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func TestForm(t *testing.T) {
	got := reference.New("PK-BA", at, 4173)
	if !strings.HasPrefix(got, "BA-26-04173-") || reference.Check(got) != nil {
		t.Fatalf("%s", got)
	}
	if long := reference.New("PK-SD", at, 1234567); !strings.HasPrefix(long, "SD-26-1234567-") || reference.Check(long) != nil {
		t.Fatalf("%s", long)
	}
	if reference.Check(" "+strings.ToLower(got)+" ") != nil {
		t.Fatal("small letters and spaces matter")
	}
}

func TestYearIsPakistans(t *testing.T) {
	if got := reference.New("PK-BA", time.Date(2026, 12, 31, 20, 0, 0, 0, time.UTC), 1); !strings.HasPrefix(got, "BA-27-") {
		t.Fatal(got)
	}
}

// The standard's hybrid systems find every wrong character, and all but a few swaps: those in
// which the two characters meet the running product in a certain way.
func TestWrongCharactersAndSwaps(t *testing.T) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	swaps, missed := 0, 0
	for number := range uint64(500) {
		good := reference.New("PK-BA", at, number*977+1)
		for i := range good {
			for _, c := range []byte(alphabet) {
				bad := good[:i] + string(c) + good[i+1:]
				if bad != good && reference.Check(bad) == nil {
					t.Fatalf("%s passes for %s", bad, good)
				}
			}
			if i > 0 && good[i-1] != good[i] && good[i-1] != '-' && good[i] != '-' {
				swaps++
				if reference.Check(good[:i-1]+string(good[i])+string(good[i-1])+good[i+1:]) == nil {
					missed++
				}
			}
		}
	}
	t.Logf("%d of %d swaps of neighbours pass unseen", missed, swaps)
	if missed*20 > swaps {
		t.Fatal("more than one swap in twenty passes unseen")
	}
}
