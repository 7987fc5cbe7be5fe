package nginx

import (
	"net/http"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// description is the server's fragment of the image's description. The application behind it is probed by its own
// fragment, through the port https.
var description = imagespec.Description{
	Kind:  instance.KindService,
	Units: []imagespec.Unit{{Name: "nginx.service"}},
	Ports: []imagespec.Port{
		{Name: "http", Port: 80, Address: imagespec.AnyAddress},
		{Name: "https", Port: 443, Address: imagespec.AnyAddress, TLS: true},
	},
	Probes: []imagespec.Probe{{Name: "http", Port: "http", Path: "/", Status: http.StatusMovedPermanently}},
	Certificate: &imagespec.Certificate{
		Parameter:    "tls_certificate",
		KeyParameter: "tls_key",
		Path:         certificate + ".crt",
		KeyPath:      certificate + ".key",
		Group:        "www-data",
	},
	Logs: []imagespec.Log{{Name: "nginx", Unit: "nginx.service", Path: "/var/log/nginx/*.log"}},
}
