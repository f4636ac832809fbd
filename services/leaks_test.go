package services_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const goleak = "go.uber.org/goleak"

// A package that starts goroutines has tests that end with none left over: what goes on after its owner has closed it writes into files
// that another may have opened.
func TestWhoStartsGoroutinesLooksForLeaks(t *testing.T) {
	for _, p := range listAll(t) {
		tests := slices.Concat(p.TestImports, p.XTestImports)
		if len(tests) == 0 || slices.Contains(tests, goleak) {
			continue
		}
		for _, file := range p.GoFiles {
			if strings.HasSuffix(file, ".pb.go") || strings.HasSuffix(file, ".pb.gw.go") {
				continue
			}
			starts, err := startsGoroutines(filepath.Join(p.Dir, file), nil)
			if err != nil {
				t.Fatal(err)
			}
			if starts {
				t.Errorf("%s: %s starts goroutines, and no test looks for those left over: func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }", p.ImportPath, file)
				break
			}
		}
	}
}

// startsGoroutines finds go statements, and calls of the method Go that groups of them have; src as parser.ParseFile takes it.
func startsGoroutines(path string, src any) (found bool, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
	if err != nil {
		return false, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = true
		case *ast.CallExpr:
			if selector, ok := n.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "Go" {
				found = true
			}
		}
		return !found
	})
	return found, nil
}

func TestGoroutinesAreFound(t *testing.T) {
	for src, want := range map[string]bool{
		"package p\nfunc f() { go f() }":                                         true,
		"package p\nimport \"sync\"\nvar w sync.WaitGroup\nfunc f() { w.Go(f) }": true,
		"package p\nfunc Go() { Go() }":                                          false,
	} {
		if found, err := startsGoroutines("p.go", src); err != nil || found != want {
			t.Errorf("%q: found %v, %v", src, found, err)
		}
	}
}
