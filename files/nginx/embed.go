// Package nginx holds the templates of the web tier's Nginx.
package nginx

import _ "embed"

// Config is the template of nginx.conf.
//
//go:embed nginx.conf.tmpl
var Config []byte
