// Package builder is the builder goldsmith-ami: it launches an instance of a source AMI, has it provisioned, and makes
// an AMI of it. Everything that it makes on the way is tagged with the build's id from the start, and removed on every
// way out.
package builder

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/packerbuilderdata"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/hangup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
)

const (
	builderID = "goldsmith.ami"
	// buildTag is on everything that a build makes, with the build's id.
	buildTag = images.BuildTag
	stateKey = "goldsmith"
)

// generated are what provisioners and post-processors learn of the build, by name.
var generated = []string{"SourceAMI", "SourceAMIName", "AMIName", "BuildRegion", "BuildID", "InstanceID"}

// Builder is goldsmith-ami.
type Builder struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (b *Builder) ConfigSpec() hcldec.ObjectSpec { return b.config.FlatMapstructure().HCL2Spec() }

// Prepare checks the configuration; nobody is asked anything.
func (b *Builder) Prepare(raws ...any) ([]string, []string, error) {
	warnings, err := b.config.decode(raws)
	if err == nil {
		err = inputs.Begin()
	}
	return generated, warnings, err
}

// Run bakes the image.
func (b *Builder) Run(ctx context.Context, ui packersdk.Ui, hook packersdk.Hook) (packersdk.Artifact, error) {
	ctx, done := hangup.Plugin.Begin(ctx)
	defer done()
	conf, err := awsconfig.Load(ctx, b.config.Access.Options())
	if err != nil {
		return nil, awsconfig.Explain(err)
	}
	plain := remote.PlainUi(ui)
	bk := &bake{
		config: &b.config, ui: plain, packerUi: ui, hook: hook, ec2: ec2.NewFromConfig(conf), iam: iam.NewFromConfig(conf), region: conf.Region, id: newID(), started: time.Now().UTC(),
		elsewhere: func(region string) ec2API {
			return ec2.NewFromConfig(conf, func(o *ec2.Options) { o.Region = region })
		},
		caller: func(ctx context.Context) (string, error) {
			address, err := awsconfig.CallerAddress(ctx, conf)
			return address.String(), err
		},
	}
	if p := b.config.Prove; p != nil {
		if bk.stack, err = defaultstack.Named(conf, p.Stack, func(format string, args ...any) { plain.Message(fmt.Sprintf(format, args...)) }); err != nil {
			return nil, err
		}
	}
	ui.Say(awsconfig.Account(ctx, conf))
	return bk.run(ctx)
}

func newID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// bake is one run of the builder. It is what the steps share.
type bake struct {
	config *Config
	ui     packersdk.Ui
	// packerUi is what provisioners are handed: their colours are their own.
	packerUi packersdk.Ui
	hook     packersdk.Hook
	ec2      ec2API
	iam      iamAPI
	region   string
	id       string
	// started is when the build began.
	started time.Time
	caller  func(context.Context) (string, error)
	// elsewhere is EC2 in another region.
	elsewhere func(region string) ec2API

	source   source
	places   []place // that the instance can be launched in, the best first
	place    place   // the one that it is launched in
	keys     keys
	groups   []string
	profile  string // the instance profile's name
	instance string
	host     string // SSH goes there
	manifest string // its digest
	inputs   inputs.Inputs
	reused   bool // the image was there already
	stack    *stack.Stack
	proof    *release.Proof
	image    string
	proved   bool
	adopted  bool              // the image is of an earlier run: nothing is baked
	copies   map[string]string // of the image, by region
	retired  []retired
	done     bool // all that was asked for is there
	failure  error
}

func (b *bake) run(ctx context.Context) (packersdk.Artifact, error) {
	state := new(multistep.BasicStateBag)
	state.Put(stateKey, b)
	state.Put("ui", cmp.Or(b.packerUi, b.ui))
	state.Put("hook", b.hook)
	state.Put("debug", b.config.PackerDebug)
	data := &packerbuilderdata.GeneratedData{State: state}
	steps := []multistep.Step{
		step{"check the request", (*bake).check, nil},
		step{"look for what is there already", (*bake).gatherInputs, nil},
		step{"look for an unfinished AMI", (*bake).adoptOrCheckNames, nil},
		step{"begin the proof", (*bake).beginProof, (*bake).endProof},
		baking{&unchangedStep{b}},
		baking{step{"make a key pair", (*bake).makeKeyPair, (*bake).removeKeyPair}},
		baking{step{"make a security group", (*bake).makeSecurityGroup, (*bake).removeSecurityGroup}},
		baking{step{"make an instance profile", (*bake).makeProfile, (*bake).removeProfile}},
		baking{step{"launch an instance", (*bake).launch, (*bake).terminate}},
		baking{step{"wait for the instance", func(b *bake, ctx context.Context) error { b.describe(data); return b.waitForSSH(ctx) }, nil}},
		baking{b.connectStep()},
		baking{&settleStep{b}},
		baking{&provisionStep{b}},
		baking{step{"confirm the inputs", (*bake).confirmInputs, nil}},
		baking{&sealStep{b}},
	}
	steps = append(steps, b.imageSteps()...)
	runner := commonsteps.NewRunner(steps, b.config.PackerConfig, b.ui)
	runner.Run(ctx, state)
	if b.reused && b.failure == nil {
		return b.artifact(map[string]any{}), nil
	}
	if err := b.outcome(ctx, state); err != nil {
		return nil, awsconfig.Explain(err)
	}
	if b.config.AMISkipCreateImage {
		return nil, nil
	}
	return b.artifact(map[string]any{"generated_data": state.Get("generated_data")}), nil
}

// imageSteps are what is done once the machine is as it should be. The image is made by the first of them and everybody's
// by the last.
func (b *bake) imageSteps() []multistep.Step {
	if b.config.AMISkipCreateImage {
		return []multistep.Step{step{"leave the AMI out", (*bake).skipImage, nil}}
	}
	return []multistep.Step{
		baking{step{"stop the instance", (*bake).stop, nil}},
		baking{step{"set the instance's attributes", (*bake).setNetworking, nil}},
		step{"set the old AMI aside", (*bake).setAside, (*bake).restore},
		step{"make the image", (*bake).createImage, (*bake).removeImage},
		step{"prove the image", (*bake).prove, nil},
		step{"set the old copies aside", (*bake).setCopiesAside, (*bake).restoreCopies},
		step{"copy the image", (*bake).copyImage, (*bake).removeCopies},
		step{"share the image", (*bake).share, nil},
		step{"finish the image", (*bake).finish, nil},
	}
}

// outcome is the first thing that went wrong: ours, or that of one of the SDK's steps.
func (b *bake) outcome(ctx context.Context, state multistep.StateBag) error {
	if b.failure != nil {
		return b.failure
	}
	if b.done { // an interrupt after that must not make the image nobody's
		return nil
	}
	if err, ok := state.GetOk("error"); ok {
		return err.(error)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the build was interrupted: %w", ctx.Err())
	}
	if _, halted := state.GetOk(multistep.StateHalted); halted {
		return errors.New("the build was halted")
	}
	if _, cancelled := state.GetOk(multistep.StateCancelled); cancelled {
		return errors.New("the build was interrupted")
	}
	return nil
}

// step is a stage of the bake, as multistep has it.
type step struct {
	name string
	do   func(*bake, context.Context) error
	undo func(*bake, context.Context) error
}

// Run does the stage.
func (s step) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	b := state.Get(stateKey).(*bake)
	if err := s.do(b, ctx); err != nil {
		return b.fail(state, fmt.Errorf("%s: %w", s.name, err))
	}
	return multistep.ActionContinue
}

// Cleanup undoes the stage, also when the build was interrupted: with a deadline of its own.
func (s step) Cleanup(state multistep.StateBag) {
	b := state.Get(stateKey).(*bake)
	if s.undo == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupDeadline)
	defer cancel()
	if err := s.undo(b, ctx); err != nil {
		err = fmt.Errorf("clean up after %q: %w\nhint: what is left has the tag %s=%s", s.name, awsconfig.Explain(err), buildTag, b.id)
		b.ui.Error(err.Error())
		b.failure = errors.Join(b.failure, err)
	}
}

// fail halts the build; the first failure is the one that counts.
func (b *bake) fail(state multistep.StateBag, err error) multistep.StepAction {
	if b.failure == nil {
		b.failure = err
	}
	state.Put("error", b.failure)
	b.ui.Error(awsconfig.Explain(err).Error())
	return multistep.ActionHalt
}

// describe tells provisioners what they may want to know.
func (b *bake) describe(data *packerbuilderdata.GeneratedData) {
	for name, value := range map[string]string{"SourceAMI": b.source.id, "SourceAMIName": b.source.name, "AMIName": b.config.AMIName, "BuildRegion": b.region, "BuildID": b.id, "InstanceID": b.instance} {
		data.Put(name, value)
	}
	// For goldsmith-seal, which looks whether it is gone. It is a secret of this build alone.
	data.Put(seal.HostKeyData, b.keys.hostPrivate)
}
