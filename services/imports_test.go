// Package services_test holds the rooms of DESIGN section 7: what each package may import, over all four
// modules, and that pure rules read no clock and draw no lots. It knows no package by heart: a new service
// or a new kit package is under the rules from its first file.
package services_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// listed is a package as `go list -json` tells it.
type listed struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func TestImports(t *testing.T) {
	packages := listAll(t)
	for _, r := range importRules() {
		t.Run(r.name, func(t *testing.T) {
			for _, fault := range r.faults(packages) {
				t.Errorf("%s: %s", fault, r.reason)
			}
		})
	}
}

func TestPureCodeReadsNoClock(t *testing.T) {
	for _, p := range listAll(t) {
		if !isTimeless(p.ImportPath) {
			continue
		}
		for _, file := range p.GoFiles {
			faults, err := clockCalls(filepath.Join(p.Dir, file), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range faults {
				t.Errorf("%s: %s: time comes in as an argument or from the service's Config, so that a test or the simulation can set it", p.ImportPath, fault)
			}
		}
	}
}

// listAll asks the go command for every package of the workspace's four modules.
func listAll(t *testing.T) []listed {
	t.Helper()
	workspace, err := filepath.Abs("../go.work")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "list", "-e",
		"-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports,Deps", "work")
	command.Env = append(os.Environ(), "GOWORK="+workspace) // also where each module is built alone
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	// A listing that found too little would pass every rule.
	for _, sure := range []string{services + "kit/codes", contract + "custody/v1"} {
		if !slices.ContainsFunc(all, func(p listed) bool { return p.ImportPath == sure }) {
			t.Fatalf("go list does not find %s", sure)
		}
	}
	return all
}

// clockFuncs are the functions of package time that read the clock or wait for it.
var clockFuncs = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

// clockCalls finds uses of the clock in one file; src as parser.ParseFile takes it.
func clockCalls(path string, src any) ([]string, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	local := ""
	for _, spec := range file.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err == nil && imported == "time" {
			local = "time"
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "." {
		return []string{"imports package time as ., which hides what reads the clock"}, nil
	}
	var faults []string
	ast.Inspect(file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && local != "" && x.Name == local && slices.Contains(clockFuncs, selector.Sel.Name) {
			faults = append(faults, fmt.Sprintf("%s uses time.%s", fset.Position(selector.Pos()), selector.Sel.Name))
		}
		return true
	})
	return faults, nil
}
