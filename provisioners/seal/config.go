//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package seal

import "github.com/hashicorp/packer-plugin-sdk/common"

// Config is the provisioner's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// Values that must be nowhere in the image, in no form: plain, base64, hexadecimal, or escaped for URLs, JSON or a
	// shell. Each is 8 characters or longer. They are sent to the machine over the encrypted connection, held in
	// memory, and never printed.
	Secrets []string `mapstructure:"secrets"`
	// Names of environment variables of this machine whose values must be nowhere in the image; those that are not set
	// are passed over.
	SecretEnvironment []string `mapstructure:"secret_environment"`
	// Paths that stay although they are usually removed, as patterns: `/root/.cache/*`.
	Keep []string `mapstructure:"keep"`
	// Findings of the secret scanner's rules (those of gitleaks) that are no secrets, as `RULE PATH` with a pattern for
	// the path: `generic-api-key /etc/app/*.conf`.
	Allow []string `mapstructure:"allow"`
	// Fill the free blocks with zeros before they are looked through. What the seal itself removes is overwritten in
	// any case; this is for what was removed earlier. An EBS snapshot then has all blocks of the volume, and is billed
	// so. The default is false.
	ZeroFreeSpace bool `mapstructure:"zero_free_space"`
	// A directory of this machine that gets the manifest and the bills of materials too, as `NAME.manifest.json`,
	// `NAME.sbom.cdx.json` and `NAME.sbom.spdx.json`, NAME being that of the AMI or,
	// with other builders, of the source.
	ManifestDir string `mapstructure:"manifest_dir"`
}
