package codes_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"amanat.example/services/kit/codes"
)

func TestEveryListLoads(t *testing.T) {
	for _, list := range codes.Lists() {
		if len(codes.All(list)) == 0 {
			t.Errorf("list %q does not load: %v", list, codes.Check(list, ""))
		}
		if codes.Version(list) < 1 {
			t.Errorf("list %q has no version", list)
		}
	}
	if !slices.IsSorted(codes.Lists()) {
		t.Error("Lists is not in order of name")
	}
	files, err := filepath.Glob("lists/*.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		list := codes.List(strings.TrimSuffix(filepath.Base(file), ".csv"))
		if !slices.Contains(codes.Lists(), list) {
			t.Errorf("%s belongs to no list: add it to Lists", file)
		}
	}
}

// The fields that hold codes are bounded in the protos: 20 characters for districts, 40 for roles,
// 3 for languages, 60 for all others.
func TestCodesFitTheirFields(t *testing.T) {
	bounds := map[codes.List]int{codes.District: 20, codes.Role: 40, codes.Language: 3}
	form := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	for _, list := range codes.Lists() {
		bound := 60
		if b, ok := bounds[list]; ok {
			bound = b
		}
		for _, entry := range codes.All(list) {
			if len(entry.Code) > bound || !form.MatchString(entry.Code) {
				t.Errorf("%s: code %q must be at most %d of letters, digits, - and _", list, entry.Code, bound)
			}
		}
	}
}

func TestLabelsAreComplete(t *testing.T) {
	missing := 0
	arabic := regexp.MustCompile(`\p{Arabic}`)
	for _, list := range codes.Lists() {
		seen := map[string]string{}
		for _, entry := range codes.All(list) {
			for _, lang := range []codes.Lang{codes.English, codes.Urdu, codes.Sindhi} {
				label := entry.Labels[lang]
				switch {
				case label == "" && list == codes.District:
					missing++
				case label == "":
					t.Errorf("%s %s has no label in %q", list, entry.Code, lang)
				case label != strings.TrimSpace(label):
					t.Errorf("%s %s: label in %q has blanks around it", list, entry.Code, lang)
				case (lang != codes.English) != arabic.MatchString(label):
					t.Errorf("%s %s: label in %q is in the wrong script", list, entry.Code, lang)
				}
				key := string(lang) + label
				if other, twice := seen[key]; twice && label != "" {
					t.Errorf("%s: %s and %s have the same label in %q", list, other, entry.Code, lang)
				}
				seen[key] = entry.Code
			}
		}
	}
	t.Logf("%d labels of districts are missing and show the English", missing)
}

// Urdu and Sindhi share a script but not all letters; the wrong ones show a label in the wrong column.
func TestLabelsUseTheirOwnLetters(t *testing.T) {
	foreign := map[codes.Lang]string{
		codes.Urdu:   "ڪڳڻڄڃٻٺٽٿڀڇڏڊڍڌڦ\u064a\u0643",
		codes.Sindhi: "ںےۓٹڈڑ\u06cc\u06c1",
	}
	for _, list := range codes.Lists() {
		for _, entry := range codes.All(list) {
			for lang, letters := range foreign {
				if i := strings.IndexAny(entry.Labels[lang], letters); i >= 0 {
					t.Errorf("%s %s: %q letter in the label of language %q", list, entry.Code, entry.Labels[lang][i:], lang)
				}
			}
		}
	}
}

func TestSuccessionStaysInTheList(t *testing.T) {
	for _, list := range codes.Lists() {
		for _, entry := range codes.All(list) {
			for _, next := range entry.Successors {
				if !codes.Valid(list, next) {
					t.Errorf("%s %s: successor %s is not in the list", list, entry.Code, next)
				}
			}
			if len(entry.Successors) > 0 && entry.ValidTo.IsZero() {
				t.Errorf("%s %s has a successor and no end", list, entry.Code)
			}
			farOff := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
			if len(entry.Successors) > 0 && len(codes.Current(list, entry.Code, farOff)) == 0 {
				t.Errorf("%s %s has successors, and none that holds", list, entry.Code)
			}
			if !entry.ValidTo.IsZero() && !entry.ValidFrom.Before(entry.ValidTo) {
				t.Errorf("%s %s ends before it begins", list, entry.Code)
			}
		}
	}
	for _, district := range codes.All(codes.District) {
		if err := codes.Check(codes.Province, district.Province); err != nil {
			t.Errorf("district %s: %v", district.Code, err)
		}
		if district.Predecessor != "" && !codes.Valid(codes.District, district.Predecessor) {
			t.Errorf("district %s: predecessor %s is not in the list", district.Code, district.Predecessor)
		}
		ours := strings.HasPrefix(district.Code, "PK-")
		if ours && (district.Predecessor == "" || district.ValidFrom.IsZero()) {
			t.Errorf("district %s is ours and lacks valid_from or predecessor", district.Code)
		}
		if ours && !strings.HasPrefix(district.Code, district.Province+"-") {
			t.Errorf("district %s is not named for its province %s", district.Code, district.Province)
		}
	}
}

// Each constant of constants.go begins with the name of its list and is a code of it.
func TestConstantsAreCodes(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "constants.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		found++
		name := spec.Names[0].Name
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		list, ok := listOfConstant(name)
		if !ok {
			t.Errorf("constant %s does not begin with the name of a list", name)
		} else if err := codes.Check(list, code); err != nil {
			t.Errorf("constant %s: %v", name, err)
		}
		return true
	})
	if found == 0 {
		t.Error("constants.go holds no constants")
	}
}

// listOfConstant compares names as the file names have them: consent_scope is ConsentScope.
func listOfConstant(name string) (codes.List, bool) {
	for _, list := range codes.Lists() {
		if strings.HasPrefix(strings.ToLower(name), strings.ReplaceAll(string(list), "_", "")) {
			return list, true
		}
	}
	return "", false
}

// Every list that a proto's comment names exists here.
func TestListsNamedInProtosExist(t *testing.T) {
	files, err := filepath.Glob("../../../proto/amanat/*/v1/*.proto")
	if err != nil || len(files) == 0 {
		t.Fatalf("no protos found: %v", err)
	}
	named := regexp.MustCompile("list `([a-z_]+)`")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range named.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(codes.Lists(), codes.List(match[1])) {
				t.Errorf("%s names the list %q, which does not exist", file, match[1])
			}
		}
	}
}

func TestCheckNamesListAndRemedyAndNeverTheValue(t *testing.T) {
	if err := codes.Check(codes.Decline, codes.DeclineNoCapacity); err != nil {
		t.Fatal(err)
	}
	const name = "Ayesha"
	err := codes.Check(codes.Decline, name)
	if err == nil {
		t.Fatal("a name passed as a code")
	}
	for _, part := range []string{`"decline"`, "6 characters", "NO_CAPACITY"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %s", err, part)
		}
	}
	if strings.Contains(err.Error(), name) {
		t.Errorf("%q repeats what was given", err)
	}
	if err := codes.Check(codes.Gender, "feminine "); err == nil || !strings.Contains(err.Error(), "write it as Feminine") {
		t.Errorf("a code in other letters: %v", err)
	}
	if err := codes.Check("colour", "red"); !errors.Is(err, codes.ErrUnknownList) {
		t.Errorf("an unknown list: %v", err)
	}
}

func TestValidityOnADate(t *testing.T) {
	day := func(text string) time.Time {
		d, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, test := range []struct {
		code, on, fault string
	}{
		{"PK217", "2026-01-01", ""},
		{"PK-BA-HUB", "2022-08-31", "begins on 2022-09-01"},
		{"PK-BA-HUB", "2022-09-01", ""},
		{"PK530", "2022-09-30", ""},
		{"PK530", "2022-10-01", "use PK-KP-SWZ-UPPER or PK-KP-SWZ-LOWER"},
		{"nowhere", "2026-01-01", "is not in the list"},
	} {
		err := codes.CheckOn(codes.District, test.code, day(test.on))
		if test.fault == "" && err != nil || test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)) {
			t.Errorf("%s on %s: %v, want %q", test.code, test.on, err, test.fault)
		}
	}
	if !codes.Valid(codes.District, "PK530") {
		t.Error("a retired code is no longer readable")
	}
	if got := codes.Current(codes.District, "PK218", day("2026-01-01")); !slices.Equal(got, []string{"PK228"}) {
		t.Errorf("Lehri is now %v, want Sibi", got)
	}
	if got := codes.Current(codes.District, "PK218", day("2015-01-01")); !slices.Equal(got, []string{"PK218"}) {
		t.Errorf("Lehri was %v in 2015, want itself", got)
	}
	if got := codes.Current(codes.District, "nowhere", day("2026-01-01")); got != nil {
		t.Errorf("an unknown code is now %v", got)
	}
}

func TestLabelFallsBack(t *testing.T) {
	for _, test := range []struct {
		list codes.List
		code string
		lang codes.Lang
		want string
	}{
		{codes.District, "PK-BA-HUB", codes.Urdu, "حب"},
		{codes.District, "PK303", codes.Sindhi, "Ghanche"},
		{codes.Province, "PK-SD", codes.Sindhi, "سنڌ"},
		{codes.Province, "PK-SD", "fr", "Sindh"},
		{codes.Service, "FROM_A_NEWER_NODE", codes.Urdu, "FROM_A_NEWER_NODE"},
	} {
		if got := codes.Label(test.list, test.code, test.lang); got != test.want {
			t.Errorf("label of %s %s in %q is %q, want %q", test.list, test.code, test.lang, got, test.want)
		}
	}
}
