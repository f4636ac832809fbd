package services_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a corpus that lies beside its target may have at most: it is read again in every run of the tests.
const mostInputs, mostInputBytes = 20, 4 << 10

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]*)\(`)

// fuzzTargets are the fuzz targets of a folder's test files.
func fuzzTargets(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range fuzzTarget.FindAllSubmatch(raw, -1) {
			names = append(names, string(found[1]))
		}
	}
	return names
}

// Every fuzz target is run by `make fuzz`, which `make soak` makes too and which looks for them in the modules; and beside each lies a small
// corpus, so that what once went wrong is tried in every run of the tests. A corpus without a target is one that nobody reads.
func TestFuzzTargetsAreRunAndHaveCorpora(t *testing.T) {
	raw, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	makefile := string(raw)
	_, modules, _ := strings.Cut(makefile, "MODULES := ")
	modules, _, _ = strings.Cut(modules, "\n")
	_, soak, _ := strings.Cut(makefile, "\nsoak:")
	soak, _, _ = strings.Cut(soak, "\n\n")
	if !strings.Contains(soak, "$(MAKE) fuzz") || !strings.Contains(makefile, "'^func Fuzz' $(MODULES)") {
		t.Error("make soak does not look for fuzz targets in the modules")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	targets := 0
	for _, p := range listAll(t) {
		names := fuzzTargets(t, p.Dir)
		targets += len(names)
		within, err := filepath.Rel(root, p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if module, _, _ := strings.Cut(within, "/"); len(names) > 0 && !slices.Contains(strings.Fields(modules), module) {
			t.Errorf("%s: its fuzz targets are in no module that make fuzz looks into", p.ImportPath)
		}
		for _, name := range names {
			inputs, err := filepath.Glob(filepath.Join(p.Dir, "testdata/fuzz", name, "*"))
			if err != nil {
				t.Fatal(err)
			}
			if len(inputs) == 0 || len(inputs) > mostInputs {
				t.Errorf("%s: testdata/fuzz/%s has %d inputs, want 1 to %d", p.ImportPath, name, len(inputs), mostInputs)
			}
			for _, input := range inputs {
				if info, err := os.Stat(input); err != nil || info.Size() > mostInputBytes {
					t.Errorf("%s: at most %d bytes: %v", input, mostInputBytes, err)
				}
			}
		}
		kept, err := filepath.Glob(filepath.Join(p.Dir, "testdata/fuzz/*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range kept {
			if !slices.Contains(names, filepath.Base(folder)) {
				t.Errorf("%s: there is no such fuzz target", folder)
			}
		}
	}
	if targets < 20 { // a search that finds too little would pass
		t.Errorf("only %d fuzz targets are found", targets)
	}
}
