// Package deploy is the post-processor goldsmith-deploy: it has the stack run the release that a build was part of, so
// that images are baked and rolled out by one command. It is off unless the configuration says otherwise.
package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/hangup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
)

// PostProcessor is goldsmith-deploy.
type PostProcessor struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (p *PostProcessor) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Configure checks the configuration.
func (p *PostProcessor) Configure(raws ...any) error { return p.config.decode(raws) }

// PostProcess deploys the release that the artifact is part of, and passes the artifact on. The AMI stays whatever the
// configuration says: it is the artifact that is passed on.
func (p *PostProcessor) PostProcess(
	ctx context.Context,
	ui packersdk.Ui,
	a packersdk.Artifact,
) (packersdk.Artifact, bool, bool, error) {
	if !p.config.Enabled {
		ui.Say("Not deployed: goldsmith-deploy is off (enabled = true would)")
		return a, true, true, nil
	}
	ctx, done := hangup.Plugin.Begin(ctx)
	defer done()
	if err := p.deploy(ctx, remote.PlainUi(ui), a); err != nil {
		return nil, true, true, fmt.Errorf(
			"deploy stack %s after the build: %w",
			p.config.Stack,
			awsconfig.Explain(err),
		)
	}
	return a, true, true, nil
}

func (p *PostProcessor) deploy(ctx context.Context, ui packersdk.Ui, a packersdk.Artifact) error {
	conf, err := awsconfig.Load(ctx, p.config.Options("goldsmith-deploy"))
	if err != nil {
		return err
	}
	b, err := buildOf(a, p.config.Stack, conf.Region)
	if err != nil {
		return err
	}
	ui.Say(awsconfig.Account(ctx, conf))
	s := defaultstack.New(
		conf,
		p.config.file,
		func(format string, args ...any) { ui.Message(fmt.Sprintf(format, args...)) },
	)
	elected, err := release.ClaimDeployment(ctx, s, b.run, b.tier, b.image)
	if err != nil || !elected {
		return err
	}
	ui.Say(fmt.Sprintf("Deploying stack %s...", p.config.Stack))
	// Without images it is the current release's that are deployed.
	deployed, err := deploy.Run(ctx, s, deploy.Deployment{Kind: "deploy"})
	if deployed.Report != "" {
		ui.Say("Report: " + deployed.Report)
	}
	if err != nil {
		return fmt.Errorf("%w\nhint: the AMIs and their release stay; "+
			"this build once more, or goldsmith deploy --stack %s, tries again", err, p.config.Stack)
	}
	ui.Say("Deployed: " + deployed.URL)
	return nil
}

// build is the run, tier and image of an artifact's build.
type build struct{ run, tier, image string }

// buildOf reads an artifact. Only one that was proved in the stack can be part of its release.
func buildOf(a packersdk.Artifact, name, region string) (build, error) {
	said := func(key string) string { text, _ := a.State(key).(string); return text }
	b := build{run: said(release.ArtifactRelease), tier: said(release.ArtifactTier)}
	if b.run == "" {
		return b, fmt.Errorf(
			"%s is not of a goldsmith-ami build with a prove block; only such images become part of a release",
			a,
		)
	}
	if proved := said(release.ArtifactStack); proved != name {
		return b, fmt.Errorf("stack: %s was proved in stack %s and cannot be deployed in %s", a, proved, name)
	}
	for each := range strings.SplitSeq(a.Id(), ",") {
		if image, ok := strings.CutPrefix(each, region+":"); ok {
			b.image = image
			return b, nil
		}
	}
	return b, fmt.Errorf("region: the stack is looked for in %s, and the build made %s", region, a)
}
