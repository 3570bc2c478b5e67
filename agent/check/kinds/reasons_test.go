package kinds

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"egovmon/agent/check"
)

// reasonNames are the constants of package check that are reasons, with what they stand for.
func reasonNames(t *testing.T) map[string]check.Reason {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]check.Reason{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Names) != 1 || len(v.Values) != 1 {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && check.Reason(s).State() == check.Down {
				out[v.Names[0].Name] = check.Reason(s)
			}
		}
		return true
	})
	if len(out) < 25 {
		t.Fatalf("%d reasons of down in reason.go: it is not read as it stands", len(out))
	}
	return out
}

// named are the reasons that the files of a folder name, outside comments and comparisons.
func named(t *testing.T, dir string, tests bool, reasons map[string]check.Reason) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %d files", dir, err, len(files))
	}
	out := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if b, ok := n.(*ast.BinaryExpr); ok && !tests && (b.Op == token.EQL || b.Op == token.NEQ) {
				return false // it is compared with, not said
			}
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "check" && reasons[s.Sel.Name] != "" {
					out[s.Sel.Name] = true
				}
			}
			return true
		})
	}
	return out
}

// TestReasonsAreTested: a reason for down that the code of a family names stands in a test of that family. What the common
// classification of errors adds is in each kind's own table.
func TestReasonsAreTested(t *testing.T) {
	reasons := reasonNames(t)
	for _, family := range []string{"network", "dns", "mail", "signature", "portal", "onestop", "machine", "control"} {
		tested := named(t, filepath.Join("..", family), true, reasons)
		for _, name := range slices.Sorted(maps.Keys(named(t, filepath.Join("..", family), false, reasons))) {
			if !tested[name] {
				t.Errorf("family %s can say %s, and none of its tests asks for it", family, reasons[name])
			}
		}
	}
}
