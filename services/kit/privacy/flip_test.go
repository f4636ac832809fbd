package privacy

import (
	"os"
	"testing"
)

// Whatever bit of the wrapping key's file turns around, the keyring refuses to open or gives the right keys: of what it reads there, only the
// date is not sealed into anything, and a wrong one turns the key over at another day.
func TestABitTurnsAroundInTheWrappingKey(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	k := openKeyring(t, o)
	if err := k.Prepare(t.Context(), "person/1"); err != nil {
		t.Fatal(err)
	}
	sealed, err := k.Seal("person/1", "note", []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	blind := string(k.BlindIndex("name", []byte("token")))
	path := k.path
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused, harmless := 0, 0
	for bit := range 8 * len(sound) {
		damaged := append([]byte(nil), sound...)
		damaged[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := OpenKeyring(t.Context(), o)
		if err != nil {
			refused++
			continue
		}
		harmless++
		plain, err := k.Open("person/1", "note", sealed)
		if err != nil || string(plain) != "plain" || string(k.BlindIndex("name", []byte("token"))) != blind {
			t.Errorf("bit %d, %q: opened and gave %q, %v", bit, damaged[bit/8], plain, err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	reopened := openKeyring(t, o)
	if plain, err := reopened.Open("person/1", "note", sealed); err != nil || string(plain) != "plain" {
		t.Errorf("the file as it was gives %q, %v", plain, err)
	}
	t.Logf("%d bits: %d refused, %d change nothing but the date", 8*len(sound), refused, harmless)
	if refused == 0 || harmless == 0 {
		t.Error("the file is not what the test wants")
	}
}
