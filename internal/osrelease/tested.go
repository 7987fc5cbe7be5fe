package osrelease

import (
	"cmp"
	"fmt"
)

// systems are those that images are made of, by ID and VERSION_ID, and whether the acceptance tests bake and boot them.
// Debian's sid has no VERSION_ID.
var systems = map[string]bool{
	"debian 12":    true,
	"debian 13":    true,
	"debian ":      true,
	"ubuntu 22.04": false,
	"ubuntu 24.04": false,
}

// tested names those that are.
const tested = "tested are Debian 12, 13 and sid"

// Untested is a note, for people, about a system on which no test runs; empty for one that is tested.
func Untested(release map[string]string) string {
	is, known := systems[release["ID"]+" "+release["VERSION_ID"]]
	name := cmp.Or(release["PRETTY_NAME"], release["ID"], "a system without a name")
	switch {
	case is:
		return ""
	case known:
		return fmt.Sprintf("note: this is %s: Goldsmith is prepared for it and not tested on it; %s", name, tested)
	}
	return fmt.Sprintf("note: this is %s: Goldsmith is neither prepared for it nor tested on it; %s", name, tested)
}
