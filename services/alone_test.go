package services_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// What a test leaves out under the race detector, `make test` does in its run without: the Makefile names every such test.
func TestWhatIsDoneInPartIsDoneWholeToo(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ALONE := (.+)$`).FindSubmatch(makefile)
	if line == nil {
		t.Fatal("the Makefile has no line ALONE")
	}
	named, found := regexp.MustCompile(string(line[1])), 0
	for _, p := range listAll(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			callers, err := callersOfAlone(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range callers {
				if found++; !named.MatchString(name) {
					t.Errorf("%s: %s calls soaktest.Alone, and ALONE in the Makefile does not name it", p.ImportPath, name)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d tests were found: the rule looks in the wrong place", found)
	}
}

// callersOfAlone are the functions of a file that call soaktest.Alone themselves; src as parser.ParseFile takes it.
func callersOfAlone(path string, src any) (names []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		calls := false
		ast.Inspect(f, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "Alone" {
				x, ok := selector.X.(*ast.Ident)
				calls = calls || ok && x.Name == "soaktest"
			}
			return true
		})
		if calls {
			names = append(names, f.Name.Name)
		}
	}
	return names, nil
}
