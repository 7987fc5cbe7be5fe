package daemon

import (
	"fmt"
	"strings"
)

// programs are those of the host that a cloud runs, each with the Debian package that has it; mmdebstrap runs the last
// two.
var programs = []struct{ name, debian string }{
	{"apt-cacher-ng", "apt-cacher-ng"},
	{"ip", "iproute2"},
	{"mkfs.ext4", "e2fsprogs"},
	{"mmdebstrap", "mmdebstrap"},
	{"nft", "nftables"},
	{"setpriv", "util-linux"},
	{"systemd-nspawn", "systemd-container"},
	{"arch-test", "arch-test"},
	{"newuidmap", "uidmap"},
}

// checkPrograms names the programs that this host lacks, with the command that installs them. look finds a program, as
// exec.LookPath does.
func checkPrograms(look func(name string) (string, error)) error {
	var names, packages []string
	for _, p := range programs {
		if _, err := look(p.name); err != nil {
			names, packages = append(names, p.name), append(packages, p.debian)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("this host lacks %s\nhint: on Debian: apt-get install %s", strings.Join(names, ", "),
		strings.Join(packages, " "))
}
