package servicemodel

import (
	_ "embed"
	"strings"
	"sync"
)

// newerMembers has the members that the pinned SDK has and the model of Debian's botocore has not, a line each: the
// service, the action and the path. The acceptance test TestCloud holds it to both, and writes it anew.
//
//go:embed newer.txt
var newerMembers string

var newer = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(newerMembers) {
		all[strings.TrimSpace(line)] = true
	}
	return all
})
