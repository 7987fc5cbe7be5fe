package main

import (
	"fmt"
	"maps"
	"slices"
)

// The limits. Columns and complexity are held by .golangci.yml, and here only counted.
const (
	maxColumns       = 120
	maxFunctionLines = 80
	longFunction     = 60 // of which only one function in a hundred may have more lines
	maxCyclomatic    = 15
	maxMethods       = 40
	maxPackageLines  = 3000
	maxSharedFields  = 15
)

// manyAlike are packages that may be larger, as they are many files of one shape, one for each thing of a kind.
var manyAlike = map[string]string{
	"builder": "one step of the bake a file",
}

// faults are the excesses over limits, one a line, sorted by place.
func (t *tree) faults() []string {
	var all []string
	long := 0
	for _, fn := range t.functions {
		if fn.lines > longFunction {
			long++
		}
		if fn.lines > maxFunctionLines {
			all = append(
				all,
				fmt.Sprintf("%s: the function has %d lines, the limit is %d", fn.place, fn.lines, maxFunctionLines),
			)
		}
	}
	if long*100 > len(t.functions) {
		all = append(all, fmt.Sprintf("%d of %d functions have more than %d lines, the limit is one in a hundred",
			long, len(t.functions), longFunction))
	}
	for _, dir := range slices.Sorted(maps.Keys(t.packages)) {
		all = append(all, t.packages[dir].faults()...)
	}
	return all
}

func (p *pack) faults() []string {
	var all []string
	if p.code > maxPackageLines && manyAlike[p.dir] == "" {
		all = append(
			all,
			fmt.Sprintf("%s: the package has %d lines of code, the limit is %d", p.dir, p.code, maxPackageLines),
		)
	}
	for _, name := range slices.Sorted(maps.Keys(p.methods)) {
		if n := p.methods[name]; n > maxMethods {
			all = append(
				all,
				fmt.Sprintf("%s: the type %s has %d methods, the limit is %d", p.dir, name, n, maxMethods),
			)
		}
	}
	for _, s := range p.structs {
		if s.fields > maxSharedFields && s.used > 1 {
			all = append(
				all,
				fmt.Sprintf("%s: the struct %s has %d fields and is used in %d files, the limit for those is %d",
					p.dir, s.name, s.fields, s.used, maxSharedFields),
			)
		}
	}
	return all
}
