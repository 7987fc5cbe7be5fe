// Package acceptance looks at Goldsmith from the outside: it runs `make golden` on a local cloud of its own and then
// asks, as a user would, with HTTP, SSH, the AWS CLI and Packer, whether what the README promises is so. Its tests
// need root and are built with the tag acceptance.
package acceptance
