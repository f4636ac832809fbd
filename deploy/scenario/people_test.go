package scenario_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"amanat.example/services/kit/codes"
)

// An identity number has its form, its last digit and its region right, is in no division that there is, and stands once.
func TestIdentityNumbers(t *testing.T) {
	y := makeSurge(t)
	form := regexp.MustCompile(`^([345])9[0-9]{3}-[0-9]{7}-([0-9])$`)
	seen, regions := map[string]bool{}, map[string]int{}
	for _, c := range y.Cases {
		p := c.Case.GetPerson()
		if p.GetCnic() == "" {
			continue
		}
		parts := form.FindStringSubmatch(p.GetCnic())
		if parts == nil || (parts[2][0]%2 == 0) != (p.GetGender() == codes.GenderFeminine) {
			t.Fatalf("case %d: a number that is in no form, or of the other sex", c.Number)
		}
		key := p.GetCnic()[6:13] // alone tells them apart
		if seen[key] {
			t.Fatalf("case %d: a number that somebody else has", c.Number)
		}
		seen[key] = true
		regions[parts[1]]++
	}
	if len(seen) < 20000 || regions["3"] == 0 || regions["4"] == 0 || regions["5"] == 0 {
		t.Errorf("%d numbers of regions %v", len(seen), regions)
	}
}

// Names are written in the letters of a province's workers, and each language has letters that the other has not.
func TestNamesAndLetters(t *testing.T) {
	y := make5000(t)
	latin, arabic := regexp.MustCompile(`^[A-Za-z .,'()-]+$`), regexp.MustCompile(`^[\p{Arabic}\p{Mn} .,؛،۔()]+$`)
	const notSindhi, notUrdu = "ںےۓٹڈڑ\u06cc\u06c1", "ڪڳڻڄڃٻٺٽٿـڀڇڏڊڍڌڦ\u064a\u0643"
	scripts, punjab, sindh := map[string]map[string]int{}, 0, 0
	for _, c := range y.Cases {
		p := c.Case.GetPerson()
		written := strings.Join([]string{p.GetGivenName(), p.GetFatherName(), p.GetFamilyName(), p.GetHomePlace()}, " ")
		script := "urdu"
		switch {
		case latin.MatchString(written):
			script = "roman"
		case !arabic.MatchString(written):
			t.Fatalf("case %d: names in two scripts", c.Number)
		case strings.HasPrefix(c.Case.GetNarrative(), "هٿرادو. "):
			script = "sindhi"
		}
		foreign := map[string]string{"roman": "", "urdu": notUrdu, "sindhi": notSindhi}[script]
		if strings.ContainsAny(written+c.Case.GetNarrative(), foreign) {
			t.Errorf("case %d: letters that are not %s", c.Number, script)
		}
		begins := map[string]string{"roman": "Synthetic. ", "urdu": "مصنوعی۔ ", "sindhi": "هٿرادو. "}[script]
		if !strings.HasPrefix(c.Case.GetNarrative(), begins) {
			t.Errorf("case %d: the narrative does not say in %s that it is synthetic", c.Number, script)
		}
		if of := p.GetFamilyName(); slices.Contains([]string{"Masih", "مسیح", "مسيح", "Kolhi", "کولہی", "ڪولهي"}, of) && regexp.MustCompile(`Muham|Moham|Mohd|محمد`).MatchString(p.GetGivenName()+" "+p.GetFatherName()) {
			t.Errorf("case %d: names of two communities", c.Number)
		}
		if scripts[c.Node] == nil {
			scripts[c.Node] = map[string]int{}
		}
		scripts[c.Node][script]++
		if slices.Contains(p.GetLanguages(), "pan") || slices.Contains(p.GetLanguages(), "skr") {
			punjab++
		}
		if slices.Contains(p.GetLanguages(), "snd") {
			sindh++
		}
	}
	if scripts["punjab"]["sindhi"]+scripts["balochistan"]["sindhi"] > 0 || scripts["punjab"]["urdu"] == 0 || scripts["sindh"]["sindhi"] == 0 || scripts["sindh"]["roman"] == 0 {
		t.Errorf("scripts by province: %v", scripts)
	}
	if punjab < len(y.Cases)/2 || sindh < len(y.Cases)/20 {
		t.Errorf("%d speak Punjabi or Saraiki and %d Sindhi, of %d", punjab, sindh, len(y.Cases))
	}
}

// Nobody of note: not by given and family name, nor by given, father's and family name.
func TestNobodyOfNote(t *testing.T) {
	notable := []string{
		"Abdul Rehman Malik", "Abdul Sattar Edhi", "Ali Hassan Zardari", "Allah Bakhsh Soomro", "Arfa Karim", "Asif Ali Zardari", "Asma Jahangir", "Ayesha Malik",
		"Benazir Bhutto", "Fatima Bhutto", "Fatima Jinnah", "Ghulam Ishaq Khan", "Hina Rabbani Khar", "Imran Khan", "Iqbal Masih", "Kainat Soomro", "Liaquat Ali Khan",
		"Malala Yousafzai", "Maryam Nawaz", "Mukhtaran Bibi", "Muhammad Ali", "Muhammad Ali Jinnah", "Muhammad Asif", "Muhammad Yousaf", "Nadeem Malik", "Nawaz Sharif",
		"Noor Jehan", "Pervez Musharraf", "Rahman Malik", "Shahbaz Sharif", "Tariq Malik", "Zainab Ansari", "Zubair Soomro", "Zulfikar Ali Bhutto",
	}
	for _, c := range make5000(t).Cases {
		p := c.Case.GetPerson()
		for _, name := range []string{
			p.GetGivenName(), p.GetFatherName(), strings.TrimSpace(p.GetGivenName() + " " + p.GetFamilyName()),
			strings.TrimSpace(p.GetFatherName() + " " + p.GetFamilyName()),
		} {
			if slices.Contains(notable, name) {
				t.Errorf("case %d: the name of somebody of note, %s", c.Number, name)
			}
		}
	}
}
