package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// print writes one figure a line.
func (t *tree) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	t.printLines(row)
	t.printFunctions(row)
	t.printPackages(row)
	t.printErrors(row)
}

func (t *tree) printLines(row func(name, format string, args ...any)) {
	var code, test, lines, comment, wide int
	for _, f := range t.files {
		if f.test {
			test += f.code
			continue
		}
		code += f.code
		lines += f.lines
		comment += f.comment
		wide += len(f.wide)
	}
	row("files", "%d", len(t.files))
	row("code lines, tests", "%d, %d (test : code %.2f)", code, test, ratio(test, code))
	row("comment share of lines", "%.1f %%", 100*ratio(comment, lines))
	row("lines over 120 columns", "%d (%.2f %%)", wide, 100*ratio(wide, lines))
}

func (t *tree) printFunctions(row func(name, format string, args ...any)) {
	all := slices.DeleteFunc(slices.Clone(t.functions), func(f function) bool { return f.test })
	if len(all) == 0 {
		return
	}
	longest := slices.MaxFunc(all, func(a, b function) int { return cmp.Compare(a.lines, b.lines) })
	tangled := slices.MaxFunc(all, func(a, b function) int { return cmp.Compare(a.cyclomatic, b.cyclomatic) })
	long := count(all, func(f function) bool { return f.lines > longFunction })
	lines := sorted(all, func(f function) int { return f.lines })
	nodes := sorted(all, func(f function) int { return f.nodes })
	row("functions", "%d", len(all))
	row("function lines, median / p90 / over 60", "%d / %d / %d (%.1f %%)",
		at(lines, 50), at(lines, 90), long, 100*ratio(long, len(all)))
	row("longest function", "%d lines, %s", longest.lines, longest.place)
	row("AST nodes a function, median / p90 / p99", "%d / %d / %d", at(nodes, 50), at(nodes, 90), at(nodes, 99))
	row("cyclomatic complexity over 15", "%d (most %d, %s)",
		count(all, func(f function) bool { return f.cyclomatic > maxCyclomatic }), tangled.cyclomatic, tangled.place)
	row("nesting of 4 and more", "%d", count(all, func(f function) bool { return f.nesting >= 4 }))
}

func (t *tree) printPackages(row func(name, format string, args ...any)) {
	var sizes, exported []int
	var shadows, undocumented, names, documented, interfaces int
	var largest *pack
	most, mostMethods, mostFiles := "", 0, 0
	for _, p := range t.packages {
		sizes, exported = append(sizes, p.code), append(exported, p.exported)
		shadows, undocumented, names = shadows+p.shadows, undocumented+p.undoc, names+p.exported
		interfaces = max(interfaces, p.largest)
		if p.documented {
			documented++
		}
		if largest == nil || p.code > largest.code {
			largest = p
		}
		for name, n := range p.methods {
			if n > mostMethods {
				most, mostMethods, mostFiles = p.dir+"."+name, n, len(p.spread[name])
			}
		}
	}
	if largest == nil {
		return
	}
	slices.Sort(sizes)
	slices.Sort(exported)
	row("packages", "%d (%d with a package comment)", len(t.packages), documented)
	row("largest package", "%s: %d code lines in %d files", largest.dir, largest.code, largest.files)
	row("package code lines, median", "%d", at(sizes, 50))
	row("exported names, median / most", "%d / %d", at(exported, 50), exported[len(exported)-1])
	row("exported names undocumented", "%d of %d", undocumented, names)
	row("most methods on one type", "%d on %s in %d files", mostMethods, most, mostFiles)
	row("largest interface", "%d methods", interfaces)
	row("local names that hide a name of the package", "%d", shadows)
}

// printErrors counts how errors are worded.
func (t *tree) printErrors(row func(name, format string, args ...any)) {
	var wrapped, lost, failedTo, hints int
	for _, f := range t.files {
		if f.test {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					failedTo += strings.Count(n.Value, "failed to ")
					hints += strings.Count(n.Value, "hint: ")
				}
			case *ast.CallExpr:
				switch wraps, has := wrapping(n); {
				case wraps:
					wrapped++
				case has:
					lost++
				}
			}
			return true
		})
	}
	row("errors wrapped by %w", "%d of %d", wrapped, wrapped+lost)
	row(`"failed to"; hint lines`, "%d; %d", failedTo, hints)
}

// wrapping says whether a call is an fmt.Errorf with %w, or one that is given an error, by its name.
func wrapping(call *ast.CallExpr) (wraps, has bool) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fun.Sel.Name != "Errorf" || len(call.Args) == 0 {
		return false, false
	}
	if from, ok := fun.X.(*ast.Ident); !ok || from.Name != "fmt" {
		return false, false
	}
	if format, ok := call.Args[0].(*ast.BasicLit); ok && strings.Contains(format.Value, "%w") {
		return true, true
	}
	return false, slices.ContainsFunc(call.Args[1:], func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && (id.Name == "err" || strings.HasSuffix(id.Name, "Err"))
	})
}

func ratio(a, b int) float64 { return float64(a) / float64(max(b, 1)) }

func count(all []function, want func(function) bool) int {
	n := 0
	for _, f := range all {
		if want(f) {
			n++
		}
	}
	return n
}

func sorted(all []function, value func(function) int) []int {
	values := make([]int, len(all))
	for i, f := range all {
		values[i] = value(f)
	}
	slices.Sort(values)
	return values
}

// at is the value below which a share of the sorted values lies.
func at(values []int, percent int) int { return values[min(len(values)-1, len(values)*percent/100)] }
