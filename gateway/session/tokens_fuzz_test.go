package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whatever the file of the tokens holds, it is taken for what all of it says, or refused, told without what it says of anybody, and left as it
// is: then nobody is let in, and no token can be added to it.
func FuzzTokensFile(f *testing.F) {
	dir, now := f.TempDir(), time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	path := filepath.Join(dir, "tokens.json")
	grant := Grant{Person: "nodes/sindh/workers/1", Roles: []string{"case-worker"}, Purpose: "casework", ExpireTime: now.Add(time.Hour)}
	raw := bytes.Repeat([]byte{7}, secretBytes) // as in every process of a run
	digest, secret := sha256.Sum256(raw), secretPrefix+base64.RawURLEncoding.EncodeToString(raw)
	file, err := json.MarshalIndent(content{[]*entry{{Digest: hex.EncodeToString(digest[:]), Grant: grant}}}, "", "  ")
	if err != nil {
		f.Fatal(err)
	}
	good := string(file)
	for _, seed := range []string{
		good, good + good, good + "x", "", "null", "[]", "{}", `{"tokens":null}`, `{"tokens":[null]}`, `{"tokens":[{}]}`, good[:len(good)/2],
		strings.Replace(good, `"person"`, `"persons"`, 1), strings.Replace(good, "2026", "1999", 1), strings.Replace(good, "2026-03-01T", "nodes/sindh/workers/1", 1),
		strings.Replace(good, `"case-worker"`, `""`, 1), strings.Replace(good, `"case-worker"`, "7", 1), strings.Replace(good, hex.EncodeToString(digest[:]), "ab", 1),
		strings.Replace(good, `"tokens"`, `"TOKENS"`, 1), strings.Replace(good, "{", `{"tokens":[],`, 1), strings.Repeat("[", 20000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		tokens := Open(path)
		found, err := tokens.Lookup("Bearer "+secret, now)
		if stranger, err := tokens.Lookup("Bearer "+secretPrefix+strings.Repeat("A", 43), now); err == nil {
			t.Errorf("a secret that nobody was given stands for %v", stranger)
		}
		if found != nil && (err != nil || found.check() != nil || !now.Before(found.ExpireTime) || found.Token != hex.EncodeToString(digest[:])) {
			t.Errorf("the secret stands for %+v, %v", found, err)
		}
		broken := tokens.Err()
		if broken != nil {
			if found != nil || err == nil || errors.Is(err, ErrUnknown) {
				t.Errorf("the file is refused with %v, and the secret stands for %v, %v", broken, found, err)
			}
			for _, ours := range []string{hex.EncodeToString(digest[:]), grant.Person} {
				if strings.Contains(broken.Error(), ours) && !strings.Contains(broken.Error(), "unknown field") { // where it is a name, not a value
					t.Errorf("the error repeats %s: %v", ours, broken)
				}
			}
			if !strings.Contains(broken.Error(), path) {
				t.Errorf("the error does not name the file: %v", broken)
			}
		} else if json.Unmarshal(file, new(any)) != nil {
			t.Errorf("%q is taken, and more of it than one value of JSON is passed over", file)
		}
		added, err := Create(path, grant, now)
		after, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if (err == nil) != (broken == nil) || err != nil && !bytes.Equal(after, file) {
			t.Fatalf("a token is added: %v; the file itself: %v", err, broken)
		}
		if err != nil {
			return
		}
		if g, err := Open(path).Lookup("Bearer "+added, now); err != nil || g.Person != grant.Person {
			t.Errorf("the token that was added stands for %v, %v", g, err)
		}
		if again, err := Open(path).Lookup("Bearer "+secret, now); (again == nil) != (found == nil) || found != nil && again.Person != found.Person {
			t.Errorf("after another was added, the secret stands for %v, %v; before for %v", again, err, found)
		}
	})
}
