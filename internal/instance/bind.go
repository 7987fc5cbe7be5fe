package instance

import "regexp"

// BindLine matches the line of the database's configuration that the first boot replaces with the instance's own address.
// The mysql provisioner bakes exactly one, so that the first boot finds it.
var BindLine = regexp.MustCompile(`(?m)^bind-address\s*=.*$`)
