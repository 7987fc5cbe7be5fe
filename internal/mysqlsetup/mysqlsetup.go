// Package mysqlsetup is the contract between the provisioner of a MySQL or MariaDB server and its first boot: the
// settings in the image's description, and the line of the server's configuration that first boot replaces.
package mysqlsetup

import (
	"fmt"
	"regexp"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Name is the setup's name in a description.
const Name = "mysql"

// Parameters of the tier that first boot reads.
const (
	PasswordParameter = "app_password"
	CAParameter       = "ca"
	CAKeyParameter    = "ca_key"
)

// Files that first boot writes, all in memory.
const (
	PasswordPath       = instance.RunDir + "/credentials/db_password"
	CAPath             = instance.RunDir + "/tls/ca.crt"
	CertificatePath    = instance.RunDir + "/tls/db.crt"
	CertificateKeyPath = instance.RunDir + "/tls/db.key"
)

// Settings are a server's settings for first boot, in the image's description.
type Settings struct {
	Flavor   string `json:"flavor"`  // mysql or mariadb
	Config   string `json:"config"`  // the file with the bind-address line
	DropDir  string `json:"drop_in"` // where the server reads more configuration
	Database string `json:"database"`
	Username string `json:"username"`
	// Bind has first boot write the instance's address into the bind-address line.
	Bind bool `json:"bind,omitempty"`
}

var bindLine = regexp.MustCompile(`(?m)^bind-address\s*=.*$`)

// IsBindLine tells whether a line is one that SetBindAddress would replace.
func IsBindLine(line []byte) bool { return bindLine.Match(line) }

// SetBindAddress replaces the one bind-address line of a configuration.
func SetBindAddress(config []byte, address string) ([]byte, error) {
	if n := len(bindLine.FindAll(config, -1)); n != 1 {
		return nil, fmt.Errorf("it should have one bind-address line, and has %d", n)
	}
	return bindLine.ReplaceAll(config, []byte("bind-address = "+address)), nil
}
