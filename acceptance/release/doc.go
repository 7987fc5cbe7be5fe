// Package release has Packer install the plugin from what `make release` made. Its tests are built with the tag
// acceptance; `make test-release` runs them.
package release
