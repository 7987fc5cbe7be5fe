package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// tree holds the data of all files, packages and functions.
type tree struct {
	files     []*file
	packages  map[string]*pack // by directory
	functions []function
}

// file is one Go file that no program wrote.
type file struct {
	path    string
	test    bool
	lines   int
	wide    []int // numbers of the lines of more than maxColumns
	code    int   // lines with code on them
	comment int   // lines with a comment and no code
	syntax  *ast.File
}

// pack has the counts of the declarations in a directory's files, without tests.
type pack struct {
	dir        string
	code       int
	files      int
	documented bool
	// methods are the numbers of methods by type, and spread the files that they are in.
	methods  map[string]int
	spread   map[string]map[string]bool
	exported int
	undoc    int
	structs  []structure
	largest  int // methods of the largest interface
	topLevel map[string]bool
	shadows  int
}

// structure is a struct type that is not a table of options: its fields have no tags.
type structure struct {
	name   string
	fields int
	// used are the files of its package that name it.
	used int
}

// function is one declared function.
type function struct {
	place      string
	test       bool
	lines      int
	nodes      int
	cyclomatic int
	nesting    int
}

// skipped are directories without code of this module.
var skipped = map[string]bool{".git": true, ".build": true, ".tools": true, "node_modules": true, "testdata": true}

// read parses all Go files below root.
func read(root string) (*tree, error) {
	t := &tree{packages: map[string]*pack{}}
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped[d.Name()] {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		return t.add(set, root, path)
	})
	if err != nil {
		return nil, fmt.Errorf("read the Go files: %w", err)
	}
	for _, f := range t.files {
		t.measureFunctions(set, f)
	}
	for _, p := range t.packages {
		p.countShadows(t.in(p.dir))
		p.countUses(t.in(p.dir))
	}
	return t, nil
}

func (t *tree) add(set *token.FileSet, root, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(set, path, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if ast.IsGenerated(syntax) {
		return nil
	}
	inside, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	f := &file{path: filepath.ToSlash(inside), test: strings.HasSuffix(path, "_test.go"), syntax: syntax}
	f.measureLines(content)
	t.files = append(t.files, f)
	if f.test {
		return nil
	}
	dir := filepath.ToSlash(filepath.Dir(inside))
	p := t.packages[dir]
	if p == nil {
		p = &pack{
			dir:      dir,
			methods:  map[string]int{},
			spread:   map[string]map[string]bool{},
			topLevel: map[string]bool{},
		}
		t.packages[dir] = p
	}
	p.add(f)
	return nil
}

// in are the files of a directory that are no tests.
func (t *tree) in(dir string) []*file {
	return slices.DeleteFunc(slices.Clone(t.files), func(f *file) bool {
		return f.test || filepath.ToSlash(filepath.Dir(f.path)) != dir
	})
}

// measureLines tells code from comments by the tokens that begin or end on a line, and finds wide lines.
func (f *file) measureLines(content []byte) {
	all := bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
	f.lines = len(all)
	for i, line := range all {
		if utf8.RuneCount(line)+3*bytes.Count(line, []byte("\t")) > maxColumns {
			f.wide = append(f.wide, i+1)
		}
	}
	set := token.NewFileSet()
	at := set.AddFile(f.path, -1, len(content))
	var s scanner.Scanner
	s.Init(at, content, nil, scanner.ScanComments)
	code, comment := map[int]bool{}, map[int]bool{}
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			break
		}
		first := at.Line(pos)
		for line := first; line <= first+strings.Count(text, "\n"); line++ {
			switch {
			case tok == token.COMMENT:
				comment[line] = true
			case tok != token.SEMICOLON || text == ";": // the others are those that the scanner puts in
				code[line] = true
			}
		}
	}
	f.code = len(code)
	for line := range comment {
		if !code[line] {
			f.comment++
		}
	}
}

func (p *pack) add(f *file) {
	p.files++
	p.code += f.code
	p.documented = p.documented || f.syntax.Doc != nil
	for _, decl := range f.syntax.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			p.addFunction(f, d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				p.addSpec(d, spec)
			}
		}
	}
}

func (p *pack) addFunction(f *file, d *ast.FuncDecl) {
	if d.Recv == nil {
		if d.Name.Name != "init" && d.Name.Name != "main" {
			p.topLevel[d.Name.Name] = true
			p.export(d.Name, d.Doc != nil)
		}
		return
	}
	receiver := baseType(d.Recv.List[0].Type)
	p.methods[receiver]++
	if p.spread[receiver] == nil {
		p.spread[receiver] = map[string]bool{}
	}
	p.spread[receiver][f.path] = true
	if ast.IsExported(receiver) && d.Name.IsExported() && d.Doc == nil {
		p.undoc++
	}
}

func (p *pack) addSpec(d *ast.GenDecl, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		p.topLevel[s.Name.Name] = true
		p.export(s.Name, d.Doc != nil || s.Doc != nil || s.Comment != nil)
		switch kind := s.Type.(type) {
		case *ast.InterfaceType:
			p.largest = max(p.largest, kind.Methods.NumFields())
		case *ast.StructType:
			if !hasTags(kind) {
				p.structs = append(p.structs, structure{name: s.Name.Name, fields: kind.Fields.NumFields()})
			}
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.Name != "_" {
				p.topLevel[name.Name] = true
				p.export(name, d.Doc != nil || s.Doc != nil || s.Comment != nil)
			}
		}
	}
}

func (p *pack) export(name *ast.Ident, documented bool) {
	if !name.IsExported() {
		return
	}
	p.exported++
	if !documented {
		p.undoc++
	}
}

func hasTags(s *ast.StructType) bool {
	return slices.ContainsFunc(s.Fields.List, func(f *ast.Field) bool { return f.Tag != nil })
}

// baseType is the name of a receiver's type, without pointer and type parameters.
func baseType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return baseType(e.X)
	case *ast.IndexExpr:
		return baseType(e.X)
	case *ast.IndexListExpr:
		return baseType(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
