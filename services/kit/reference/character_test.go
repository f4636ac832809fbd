package reference

import "testing"

// The worked example of the Global Release Identifier, which uses the same check character.
func TestCharacterOfTheStandard(t *testing.T) {
	if got := character("A12425GABC1234002"); got != 'M' {
		t.Fatalf("%c", got)
	}
}
