package rules

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"amanat.example/services/kit/codes"
)

var argument = regexp.MustCompile(`\{[a-z]+\}`)

// TestCataloguesAreComplete holds that all is said in every language, with the same arguments, in its own letters.
func TestCataloguesAreComplete(t *testing.T) {
	latin, arabic := regexp.MustCompile(`[A-Za-z]`), regexp.MustCompile(`[\p{Arabic}،]`)
	catalogues := map[codes.Lang]catalogue{codes.English: english, codes.Urdu: urdu, codes.Sindhi: sindhi}
	if !slices.Equal(slices.Sorted(maps.Keys(catalogues)), slices.Sorted(maps.Keys(tongues))) {
		t.Fatal("the test does not know every language")
	}
	for lang, all := range catalogues {
		for k, p := range all {
			want := slices.Compact(slices.Sorted(slices.Values(argument.FindAllString(english[k].many, -1))))
			for form, said := range map[string]string{"one": p.one, "many": p.many} {
				if said == "" {
					if form == "many" {
						t.Errorf("%s has no sentence %d, in English: %s", lang, k, english[k].many)
					}
					continue
				}
				if got := slices.Compact(slices.Sorted(slices.Values(argument.FindAllString(said, -1)))); !slices.Equal(got, want) {
					t.Errorf("%s: %q has the arguments %v, the English %v", lang, said, got, want)
				}
				bare := argument.ReplaceAllString(said, "")
				if lang != codes.English && (latin.MatchString(bare) || !arabic.MatchString(bare)) {
					t.Errorf("%s: %q is in the wrong letters", lang, said)
				}
				if i := strings.IndexAny(bare, foreign[lang]); i >= 0 {
					t.Errorf("%s: %q has a letter of another language before %q", lang, said, bare[i:])
				}
			}
		}
	}
}

// foreign letters of a language: Urdu and Sindhi share a script, but not all its letters.
var foreign = map[codes.Lang]string{
	codes.Urdu:   "ڪڳڻڄڃٻٺٽٿڀڇڏڊڍڌڦ۾۽\u064a\u0643",
	codes.Sindhi: "ںےۓٹڈڑ۔\u06cc\u06c1",
}

// TestSindhiDistrictsAreInflected holds the names that change against the code list.
func TestSindhiDistrictsAreInflected(t *testing.T) {
	for code, inflected := range sindhiDistricts {
		named := codes.Label(codes.District, code, codes.Sindhi)
		from, to := strings.Fields(named), strings.Fields(inflected)
		if len(from) != len(to) || strings.TrimSuffix(from[0], "و")+"ي" != to[0] || !slices.Equal(from[1:], to[1:]) {
			t.Errorf("%s: %q becomes %q", code, named, inflected)
		}
	}
	if got := tongues[codes.Sindhi].district("PK713"); got != "لاڙڪاڻي" {
		t.Errorf("Larkana is %q where something is in it", got)
	}
	if got := tongues[codes.Urdu].district("PK713"); got != "لاڑکانہ" {
		t.Errorf("Larkana in Urdu is %q", got)
	}
}
