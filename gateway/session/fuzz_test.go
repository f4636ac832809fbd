package session

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whatever a header Authorization holds, it stands for somebody only if it is the secret that was given out; what is said of another does
// not repeat it.
func FuzzAuthorization(f *testing.F) {
	path, now := filepath.Join(f.TempDir(), "tokens.json"), time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	secret, err := Create(path, Grant{Person: "nodes/sindh/workers/1", Roles: []string{"case-worker"}, Purpose: "casework", ExpireTime: now.Add(time.Hour)}, now)
	if err != nil {
		f.Fatal(err)
	}
	tokens := Open(path)
	for _, value := range []string{"", "Bearer", "Bearer ", "bearer amanat_" + strings.Repeat("A", 43), "Basic YTpi", "Bearer amanat_=", "Bearer \x00", "Bearer  amanat_a b"} {
		f.Add(value, 0)
	}
	f.Add("x", 5)
	f.Add("\n", 15)
	f.Fuzz(func(t *testing.T, value string, at int) {
		grant, err := tokens.Lookup(value, now)
		if err == nil || grant != nil {
			t.Errorf("%q is taken", value)
		}
		if !errors.Is(err, ErrMissing) && !errors.Is(err, ErrUnknown) || err.Error() != ErrMissing.Error() && err.Error() != ErrUnknown.Error() {
			t.Errorf("refused with %v", err)
		}
		if grant, err := tokens.Lookup("Bearer "+secret, now); err != nil || grant.Person != "nodes/sindh/workers/1" {
			t.Errorf("the secret itself: %v", err)
		}
		at = max(at%len(secret), 0)
		changed := secret[:at] + value + secret[at:]
		same := strings.TrimPrefix(strings.TrimSpace(changed), secretPrefix) == strings.TrimPrefix(secret, secretPrefix)
		if grant, err := tokens.Lookup("Bearer "+changed, now); (err == nil) != same {
			t.Errorf("%q in the secret, and it is taken for %v: %v", value, grant, err)
		}
	})
}
