package mysql

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
)

// description is the server's fragment of the image's description. config is the path of its configuration.
func (c *Config) description(f flavor, config string) (imagespec.Description, error) {
	settings, err := json.Marshal(mysqlsetup.Settings{
		Flavor:   f.name,
		Config:   config,
		DropDir:  f.configDir,
		Database: c.Database,
		Username: c.Username,
		Bind:     c.BindAddress == "instance",
	})
	if err != nil {
		return imagespec.Description{}, err
	}
	address := c.BindAddress
	if address == "instance" {
		address = imagespec.InstanceAddress
	}
	return imagespec.Description{
		Kind:   instance.KindData,
		Units:  []imagespec.Unit{{Name: f.unit, Clients: true}},
		Ports:  []imagespec.Port{{Name: "mysql", Port: c.Port, Address: address}},
		Probes: c.probes(f),
		Secrets: []imagespec.Secret{
			{Parameter: mysqlsetup.PasswordParameter, Path: mysqlsetup.PasswordPath, Mode: "0600"},
			{Parameter: mysqlsetup.CAParameter, Path: mysqlsetup.CAPath, Mode: "0644"},
			{Parameter: mysqlsetup.CAKeyParameter},
		},
		Logs:  []imagespec.Log{{Name: "mysql", Unit: f.unit, Path: errorLog}},
		Data:  &imagespec.Data{Unit: f.unit, Path: dataDir, Name: "mysql", User: "mysql"},
		Setup: &imagespec.Setup{Name: mysqlsetup.Name, Settings: settings},
	}, nil
}

// probes ask the server as root, over the local socket.
func (c *Config) probes(f flavor) []imagespec.Probe {
	client := []string{f.name, "--no-defaults", "--protocol=socket", "--user=root", "--batch", "--skip-column-names"}
	ask := func(name, query, want string) imagespec.Probe {
		argv := append(append([]string(nil), client...), "--execute="+query)
		return imagespec.Probe{Name: name, Argv: argv, Output: "^" + regexp.QuoteMeta(want) + "$"}
	}
	const bound = "SELECT @@bind_address"
	binding := ask("bind-address", bound, c.BindAddress)
	if c.BindAddress == "instance" {
		binding = imagespec.Probe{
			Name: "bind-address",
			Shell: fmt.Sprintf(
				`found=$(%s --no-defaults --protocol=socket --user=root --batch --skip-column-names --execute='%s')
echo "$found"
test "$found" = "$GOLDSMITH_ADDRESS"`,
				f.name,
				bound,
			),
		}
	}
	probes := []imagespec.Probe{
		ask("sql", "SELECT 1", "1"),
		binding,
		ask("tls", "SELECT @@ssl_cert", mysqlsetup.CertificatePath),
		ask("account", fmt.Sprintf("SELECT COUNT(*) > 0 FROM mysql.user WHERE user = '%s'", c.Username), "1"),
	}
	if c.Seed != "" {
		const tables = "SELECT COUNT(*) > 0 FROM information_schema.tables WHERE table_schema = '%s'"
		probes = append(probes, ask("seed", fmt.Sprintf(tables, c.Database), "1"))
	}
	return probes
}
