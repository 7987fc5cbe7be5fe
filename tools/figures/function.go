package main

import (
	"go/ast"
	"go/token"
)

func (t *tree) measureFunctions(set *token.FileSet, f *file) {
	for _, decl := range f.syntax.Decls {
		d, ok := decl.(*ast.FuncDecl)
		if !ok || d.Body == nil {
			continue
		}
		from, to := set.Position(d.Pos()), set.Position(d.End())
		fn := function{place: from.String(), test: f.test, lines: to.Line - from.Line + 1, cyclomatic: 1}
		if f.test {
			fn.lines -= tableLines(set, d.Body)
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if n != nil {
				fn.nodes++
				fn.cyclomatic += branches(n)
			}
			return true
		})
		fn.nesting = nesting(d.Body)
		t.functions = append(t.functions, fn)
	}
}

// tableLines are the lines of the composite literals in a body, which in a test are its table.
func tableLines(set *token.FileSet, body ast.Node) int {
	lines := 0
	ast.Inspect(body, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if ok {
			lines += set.Position(literal.End()).Line - set.Position(literal.Pos()).Line
		}
		return !ok
	})
	return lines
}

// branches is the amount that a node adds to the cyclomatic complexity.
func branches(n ast.Node) int {
	switch n := n.(type) {
	case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
		return 1
	case *ast.CaseClause:
		if n.List != nil {
			return 1
		}
	case *ast.CommClause:
		if n.Comm != nil {
			return 1
		}
	case *ast.BinaryExpr:
		if n.Op == token.LAND || n.Op == token.LOR {
			return 1
		}
	}
	return 0
}

// nesting is the largest depth of nested loops, conditions and selections; else if counts as its if.
func nesting(n ast.Node) int {
	deepest := 0
	var walk func(n ast.Node, depth int)
	walk = func(n ast.Node, depth int) {
		ast.Inspect(n, func(inner ast.Node) bool {
			if inner == nil || inner == n {
				return true
			}
			switch inner := inner.(type) {
			case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt:
				deepest = max(deepest, depth+1)
				walk(inner, depth+1)
				return false
			case *ast.IfStmt:
				if outer, ok := n.(*ast.IfStmt); ok && outer.Else == inner {
					walk(inner, depth)
					return false
				}
				deepest = max(deepest, depth+1)
				walk(inner, depth+1)
				return false
			}
			return true
		})
	}
	walk(n, 0)
	return deepest
}

// countShadows counts the local names that hide a name of the package.
func (p *pack) countShadows(files []*file) {
	for _, f := range files {
		for _, decl := range f.syntax.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				for _, name := range defined(n) {
					if id, ok := name.(*ast.Ident); ok && p.topLevel[id.Name] {
						p.shadows++
					}
				}
				return true
			})
		}
	}
}

// defined are the names that a node declares inside a function.
func defined(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			return n.Lhs
		}
	case *ast.RangeStmt:
		if n.Tok == token.DEFINE {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.ValueSpec:
		return expressions(n.Names)
	case *ast.FuncType:
		var all []ast.Expr
		for _, list := range []*ast.FieldList{n.Params, n.Results} {
			if list == nil {
				continue
			}
			for _, field := range list.List {
				all = append(all, expressions(field.Names)...)
			}
		}
		return all
	}
	return nil
}

func expressions(names []*ast.Ident) []ast.Expr {
	all := make([]ast.Expr, len(names))
	for i, name := range names {
		all[i] = name
	}
	return all
}

// countUses notes in how many files each struct is named.
func (p *pack) countUses(files []*file) {
	for _, f := range files {
		named := map[string]bool{}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				named[id.Name] = true
			}
			return true
		})
		for i := range p.structs {
			if named[p.structs[i].name] {
				p.structs[i].used++
			}
		}
	}
}
