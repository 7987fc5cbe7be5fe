package webapp

import (
	"net/netip"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// databaseTier is the default stack's tier that the application needs.
const databaseTier = "db"

// webPort is the name of the port through which the application is reached: the one of the server in front of it,
// which goldsmith-nginx describes.
const webPort = "https"

// describe is the task that writes what the image says of the application.
func (c *Config) describe() (task.Task, error) {
	address, err := netip.ParseAddrPort(c.Address)
	if err != nil {
		return task.Task{}, err
	}
	return imagespec.Task("webapp", imagespec.Description{
		Kind:  instance.KindService,
		Units: []imagespec.Unit{{Name: unit}},
		Ports: []imagespec.Port{{Name: "webapp", Port: int(address.Port()), Address: address.Addr().String()}},
		Probes: []imagespec.Probe{
			{Name: "livez", Port: webPort, Path: "/livez"},
			{Name: "health", Port: webPort, Path: "/health"},
		},
		Secrets: []imagespec.Secret{
			{Tier: databaseTier, Parameter: "app_password", Path: instance.RunDir + "/credentials/db_password"},
			{Tier: databaseTier, Parameter: "ca", Path: instance.RunDir + "/credentials/db_ca"},
		},
		Logs:  []imagespec.Log{{Name: "app", Unit: unit}},
		Needs: []imagespec.Need{{Tier: databaseTier, Port: 3306, Units: []string{unit}}},
		Environments: []imagespec.Environment{{
			Path: instance.RunDir + "/web.env",
			Variables: []imagespec.Variable{
				{Name: "DB_HOST", AddressOf: databaseTier},
				{Name: "DB_PORT", PortOf: databaseTier},
				{Name: "DB_NAME", Value: c.Database},
				{Name: "DB_USER", Value: c.Username},
				{Name: "DB_TLS", Value: "verify"},
			},
		}},
	})
}
