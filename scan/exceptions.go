package main

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsimple"
)

// exceptions are the findings that are accepted, each with its reason.
type exceptions struct {
	List []struct {
		Scanner string `hcl:"scanner,label"`
		ID      string `hcl:"id,label"`
		// Tiers that it is accepted on; the default is both.
		Tiers  []string `hcl:"tiers,optional"`
		Reason string   `hcl:"reason"`
		// Sometimes is whether it comes and goes with what is not the image's: it may stay listed when it is not found.
		Sometimes bool `hcl:"sometimes,optional"`
	} `hcl:"exception,block"`
}

func readExceptions(path string) (*exceptions, error) {
	var e exceptions
	if err := hclsimple.DecodeFile(path, nil, &e); err != nil {
		return nil, err
	}
	for _, x := range e.List {
		if x.Reason == "" {
			return nil, fmt.Errorf("%s: exception %q of %s gives no reason", path, x.ID, x.Scanner)
		}
	}
	return &e, nil
}

// settle divides findings into those that are listed and those that are not, and names the exceptions that nothing
// needed.
func (e *exceptions) settle(s scanner, found []finding) (unlisted []finding, excused int, stale []string) {
	applies := map[string]bool{} // and whether it has been needed
	for _, x := range e.List {
		if x.Scanner == s.name && (len(x.Tiers) == 0 || slices.Contains(x.Tiers, s.tier)) {
			applies[x.ID] = x.Sometimes
		}
	}
	for _, f := range found {
		if _, listed := applies[f.id]; listed {
			applies[f.id] = true
			excused++
			continue
		}
		unlisted = append(unlisted, f)
	}
	for id, used := range applies {
		if !used {
			stale = append(stale, id)
		}
	}
	slices.Sort(stale)
	return unlisted, excused, stale
}
