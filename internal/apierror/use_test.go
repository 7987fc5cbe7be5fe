package apierror

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// parsed are the tree's Go files, without those of this package.
func parsed(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	fset, files := token.NewFileSet(), map[string]*ast.File{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" ||
				name == "tools" || name == "apierror") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		files[file], err = parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fset, files
}

// names are the rows by the variables that have them: those are set in the order in which they stand.
func names(t *testing.T) map[string]*Row {
	t.Helper()
	var found []string
	for _, name := range []string{"ec2.go", "services.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if group, ok := d.(*ast.GenDecl); ok && group.Tok == token.VAR {
				for _, spec := range group.Specs {
					if id := spec.(*ast.ValueSpec).Names[0]; id.IsExported() {
						found = append(found, id.Name)
					}
				}
			}
		}
	}
	rows := Rows()
	if len(found) != len(rows) {
		t.Fatalf("%d variables for %d rows", len(found), len(rows))
	}
	byName := map[string]*Row{}
	for i, name := range found {
		byName[name] = rows[i]
	}
	if byName["DryRunOperation"] != DryRunOperation || byName["TargetGroupNotFound"] != TargetGroupNotFound {
		t.Fatal("the variables are not in the order of the rows")
	}
	return byName
}

// rowOf is the name of the row that an expression is.
func rowOf(e ast.Expr) string {
	if selected, ok := e.(*ast.SelectorExpr); ok {
		if from, ok := selected.X.(*ast.Ident); ok && from.Name == "apierror" {
			return selected.Sel.Name
		}
	}
	return ""
}

// wrongUse says what is wrong with a call that makes an error of a row, or nothing.
func wrongUse(call *ast.CallExpr, rows map[string]*Row) string {
	made, name := "", ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		made = f.Name
	case *ast.SelectorExpr:
		made, name = f.Sel.Name, rowOf(f.X)
	}
	given := len(call.Args)
	if made != "Text" && given > 0 {
		name, given = rowOf(call.Args[0]), given-1
	}
	r := rows[name]
	if r == nil || call.Ellipsis.IsValid() {
		return ""
	}
	wanted := len(verb.FindAllString(r.Message, -1))
	switch made {
	case "Faultf", "Errf":
		if r.Message != "" {
			return fmt.Sprintf("%s has a message of its own", name)
		}
	case "Text", "Fault", "Err":
		if r.Message == "" {
			return fmt.Sprintf("%s has no message: the caller has to say what is wrong", name)
		}
		if given != wanted {
			return fmt.Sprintf("%s has %d values, %d are given", name, wanted, given)
		}
	}
	return ""
}

// TestMessages holds whoever answers with a row to its message.
func TestMessages(t *testing.T) {
	rows := names(t)
	fset, files := parsed(t)
	uses := 0
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				uses++
				if wrong := wrongUse(call, rows); wrong != "" && !test(fset, call) {
					t.Errorf("%s: %s", fset.Position(call.Pos()), wrong)
				}
			}
			return true
		})
	}
	if uses < 1000 {
		t.Fatalf("only %d calls were looked at", uses)
	}
}

// test says whether a node is in a test, which may make an error without a message.
func test(fset *token.FileSet, n ast.Node) bool {
	return strings.HasSuffix(fset.Position(n.Pos()).Filename, "_test.go")
}

// words are codes that mean something else too, where it is not an error that they are of.
var words = []string{"LimitExceeded", "Unavailable", "Unsupported", "AlreadyExists", "Throttling"}

// TestCodes holds the tree to the table: codes are not written anywhere else, but in tests.
func TestCodes(t *testing.T) {
	codes := map[string]bool{}
	for _, r := range Rows() {
		codes[r.Code] = true
	}
	fset, files := parsed(t)
	for name, file := range files {
		inside, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(inside, "acceptance") || test(fset, file) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err == nil && codes[text] && !slices.Contains(words, text) {
				t.Errorf("%s: %q is a row of internal/apierror", fset.Position(literal.Pos()), text)
			}
			return true
		})
	}
}

// TestComparisons has no code compared with text: what is looked for is a row.
func TestComparisons(t *testing.T) {
	fset, files := parsed(t)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if b, ok := n.(*ast.BinaryExpr); ok && comparesCode(b) && !test(fset, n) {
				t.Errorf("%s: a code is compared with text: use awserr.Is", fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// TestWrongUses has the defects that the tests above look for.
func TestWrongUses(t *testing.T) {
	rows := names(t)
	for text, want := range map[string]string{
		`awsquery.Fault(apierror.InvalidVpcIDNotFound)`:       "InvalidVpcIDNotFound has 1 values, 0 are given",
		`awsquery.Fault(apierror.InvalidVpcIDNotFound, a, b)`: "InvalidVpcIDNotFound has 1 values, 2 are given",
		`Faultf(apierror.InvalidVpcIDNotFound, "no", id)`:     "InvalidVpcIDNotFound has a message of its own",
		`Err(apierror.UnsupportedOperation)`: "UnsupportedOperation has no message: " +
			"the caller has to say what is wrong",
		`apierror.DependencyViolation.Text()`:                      "DependencyViolation has 1 values, 0 are given",
		`awsquery.Fault(apierror.InvalidVpcIDNotFound, id)`:        "",
		`awsquery.Faultf(apierror.UnsupportedOperation, "no", id)`: "",
		`awserr.Is(err, apierror.DependencyViolation)`:             "",
	} {
		e, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := wrongUse(e.(*ast.CallExpr), rows); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		`awserr.Code(err) == "X"`: true,
		`"X" != api.ErrorCode()`:  true,
		`awserr.Code(err) == ""`:  false,
		`a == "X"`:                false,
		`api.ErrorCode() + ": "`:  false,
	} {
		e, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := comparesCode(e.(*ast.BinaryExpr)); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

// comparesCode tells whether an error's code is compared with text.
func comparesCode(b *ast.BinaryExpr) bool {
	return (b.Op == token.EQL || b.Op == token.NEQ) && (literal(b.X) && codeOf(b.Y) || literal(b.Y) && codeOf(b.X))
}

// literal tells whether an expression is text that is not empty.
func literal(e ast.Expr) bool {
	l, ok := e.(*ast.BasicLit)
	return ok && l.Kind == token.STRING && len(l.Value) > 2
}

// codeOf tells whether an expression is an error's code.
func codeOf(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	selected, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	if selected.Sel.Name == "ErrorCode" {
		return true
	}
	from, ok := selected.X.(*ast.Ident)
	return ok && from.Name == "awserr" && selected.Sel.Name == "Code"
}
