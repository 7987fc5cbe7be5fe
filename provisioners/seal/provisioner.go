// Package seal is the provisioner goldsmith-seal: the last of a build. It removes what belongs to the machine or to the
// build, checks that it is gone, looks for secrets, and writes the image's manifest. With any other builder than
// goldsmith-ami it is the only check that keeps keys out of an image.
package seal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/manifest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// Provisioner is goldsmith-seal.
type Provisioner struct {
	config Config
	ctx    interpolate.Context
}

// ConfigSpec describes the configuration to Packer.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare checks the configuration.
func (p *Provisioner) Prepare(raws ...any) error {
	if err := config.Decode(
		&p.config,
		&config.DecodeOpts{PluginType: "goldsmith-seal", Interpolate: true, InterpolateContext: &p.ctx},
		raws...); err != nil {
		return err
	}
	packersdk.LogSecretFilter.Set(p.config.Secrets...)
	var errs []error
	for i, secret := range p.config.Secrets {
		if len(secret) < seal.MinimumSecret {
			errs = append(
				errs,
				fmt.Errorf("secrets[%d]: it has %d characters, and less than %d are found everywhere", i, len(secret),
					seal.MinimumSecret),
			)
		}
	}
	for i, pattern := range p.config.Keep {
		if _, err := filepath.Match(pattern, "/"); err != nil || !filepath.IsAbs(pattern) {
			errs = append(errs, fmt.Errorf("keep[%d] %q: a pattern of an absolute path is needed", i, pattern))
		}
	}
	for i, entry := range p.config.Allow {
		if err := remote.ParseAllow(entry); err != nil {
			errs = append(errs, fmt.Errorf("allow[%d] %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	recorded := p.config
	recorded.Secrets = nil // they are not in the image, that is the point
	return inputs.Record("seal", recorded)
}

// Provision seals the machine.
func (p *Provisioner) Provision(
	ctx context.Context,
	ui packersdk.Ui,
	comm packersdk.Communicator,
	generated map[string]any,
) error {
	if err := inputs.Ran(generated); err != nil {
		return err
	}
	request := seal.Request{Keep: p.config.Keep, ZeroFreeSpace: p.config.ZeroFreeSpace}
	for _, secret := range p.config.Secrets {
		request.Secrets = append(request.Secrets, []byte(secret))
	}
	request.Source, _ = generated["SourceAMI"].(string)
	request.Name, _ = generated["AMIName"].(string)
	for _, name := range p.config.SecretEnvironment {
		if value := os.Getenv(name); len(value) >= seal.MinimumSecret {
			request.Secrets = append(request.Secrets, []byte(value))
		}
	}
	// What the builder used to get in, and by which it knew the machine, must not be in the image either.
	for _, name := range []string{"SSHPrivateKey", "Password", seal.HostKeyData} {
		if value, _ := generated[name].(string); len(value) >= seal.MinimumSecret {
			request.Secrets = append(request.Secrets, []byte(value))
		}
	}
	ui.Say("Sealing: removing and checking for keys, identities and traces of this build; looking for secrets...")
	result, err := remote.Seal(ctx, ui, comm, request, p.config.Allow)
	if err != nil {
		return err
	}
	if p.config.ManifestDir != "" {
		name := request.Name
		if name == "" {
			name = p.config.PackerBuildName
		}
		return save(p.config.ManifestDir, name, result.Manifest)
	}
	return nil
}

// save writes the manifest and the bills of materials to this machine.
func save(dir, name string, m *manifest.Manifest) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save the manifest: %w", err)
	}
	documents, _, err := m.Documents()
	if err != nil {
		return err
	}
	for document, content := range documents {
		if err := os.WriteFile(filepath.Join(dir, name+"."+document), content, 0o644); err != nil {
			return fmt.Errorf("save the manifest: %w", err)
		}
	}
	return nil
}
