package awsquery

import (
	_ "embed"
	"strings"
	"sync"
)

// actionNames has the actions of each service, one a line, as the service's model names them. Moto takes
// other spellings for the same ones, RUN_INSTANCES for example, which nothing here would know.
//
//go:embed actions.txt
var actionNames string

var readActions = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(actionNames) {
		all[strings.TrimSpace(line)] = true
	}
	return all
})

// known tells whether a service has an action of exactly this name.
func known(service, action string) bool { return readActions()[service+" "+action] }

// Actions are the names of all of a service's actions, in order.
func Actions(service string) []string {
	var names []string
	for line := range strings.Lines(actionNames) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), service+" "); ok {
			names = append(names, name)
		}
	}
	return names
}
