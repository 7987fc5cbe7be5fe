// Package builder is the builder goldsmith-ami: it launches an instance of a source AMI, has it provisioned, and makes
// an AMI of it. Everything that it makes on the way is tagged with the build's id from the start, and removed on every
// way out.
//
// A build is a job, which does not change, and steps. A step is a function that takes values and returns values; bake
// keeps them from one step to the next, and is the only place where steps meet.
package builder

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/packerbuilderdata"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/hangup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/packerstep"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/quotas"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

const (
	builderID = "goldsmith.ami"
	// buildTag is on everything that a build makes, with the build's id.
	buildTag = images.BuildTag
)

// generated are the names of the build's variables for provisioners and post-processors, as build.NAME.
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
	conf, err := awsconfig.Load(ctx, b.config.Options("goldsmith-ami"))
	if err != nil {
		return nil, awsconfig.Explain(err)
	}
	plain, clientIn := remote.PlainUi(ui), clients(conf)
	run := newBake(&job{
		config:  &b.config,
		ui:      plain,
		ec2:     clientIn(conf.Region),
		iam:     iam.NewFromConfig(conf),
		region:  conf.Region,
		id:      newID(),
		started: time.Now().UTC(),
		quotas:  quotas.Open(conf),
		caller: func(ctx context.Context) (string, error) {
			address, callErr := awsconfig.CallerAddress(ctx, conf)
			return address.String(), callErr
		},
		elsewhere: clientIn,
	})
	// What provisioners are handed: their colours are their own.
	run.state.Put("ui", ui)
	run.state.Put("hook", hook)
	if b.config.Prove != nil {
		if run.proof, err = newProof(conf, run.job); err != nil {
			return nil, err
		}
	}
	ui.Say(awsconfig.Account(ctx, conf))
	return run.run(ctx)
}

// clients are the clients of EC2, one for each region: what one has made it knows to be new.
func clients(conf aws.Config) func(region string) *ec2.Client {
	known := map[string]*ec2.Client{}
	return func(region string) *ec2.Client {
		if known[region] == nil {
			known[region] = ec2.NewFromConfig(conf, ec2ops.AwaitNew, func(o *ec2.Options) { o.Region = region })
		}
		return known[region]
	}
}

func newID() string {
	var id [8]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// bake is one run of the builder: a job, and what its steps have returned so far.
type bake struct {
	job   *job
	state multistep.StateBag // the SDK's steps meet there

	source  sourceImage
	places  []location // that the instance can be launched in, the best first
	machine machine
	inputs  inputs.Inputs
	proof   *proof // nil where none is asked for
	image   builtImage
	copies  map[string]string // of the image, by region
	retired []retiredImage

	reused  bool // the image was there already
	done    bool // all that was asked for is there
	failure error
}

// newBake is a run that has done nothing yet.
func newBake(j *job) *bake {
	b := &bake{job: j, state: new(multistep.BasicStateBag), image: builtImage{name: j.config.AMIName, owner: j.id}}
	b.state.Put("ui", j.ui)
	b.state.Put("debug", j.config.PackerDebug)
	return b
}

// owner is the id of the build that the AMI is of.
func (b *bake) owner() string { return cmp.Or(b.image.owner, b.job.id) }

func (b *bake) run(ctx context.Context) (packersdk.Artifact, error) {
	runner := packerstep.NewRunner(b.steps(), b.job.config.PackerConfig, b.job.ui)
	runner.Run(ctx, b.state)
	if b.reused && b.failure == nil {
		return b.artifact(map[string]any{}), nil
	}
	if err := b.outcome(ctx); err != nil {
		return nil, awsconfig.Explain(err)
	}
	if b.job.config.AMISkipCreateImage {
		return nil, nil
	}
	return b.artifact(map[string]any{"generated_data": b.state.Get("generated_data")}), nil
}

// steps are all of a bake, in their order.
func (b *bake) steps() []multistep.Step {
	all := b.preparingSteps()
	all = append(all, b.launchingSteps()...)
	all = append(all,
		b.step("wait for SSH", func(ctx context.Context) error {
			return waitForSSH(ctx, b.job, b.machine)
		}, nil).unlessAdopted(),
		b.connectStep(),
		b.step("wait for the end of cloud-init", func(ctx context.Context) error {
			return waitForCloudInit(ctx, b.job, b.state)
		}, nil).unlessAdopted(),
		b.step("provision", func(ctx context.Context) error {
			return provision(ctx, b.job, b.state, b.machine.instance)
		}, nil).unlessAdopted(),
		b.step("confirm the inputs", b.confirmInputs, nil).unlessAdopted(),
		b.step("seal the instance", b.seal, nil).unlessAdopted(),
	)
	return append(all, b.imageSteps()...)
}

// preparingSteps make nothing in the account.
func (b *bake) preparingSteps() []multistep.Step {
	return []multistep.Step{
		b.step("check the request", b.check, nil),
		b.step("gather the inputs", b.gatherInputs, nil),
		b.step("look for an unfinished AMI", b.adoptOrCheckNames, nil),
		b.step("begin the proof", b.beginProof, b.endProof),
		b.step("look for an image of the same inputs", b.reuseUnchanged, nil).unlessAdopted(),
		b.step("compare with the quotas", b.compareQuotas, nil).unlessAdopted(),
	}
}

// launchingSteps make the instance and what it needs. All of it goes in the end.
func (b *bake) launchingSteps() []multistep.Step {
	return []multistep.Step{
		b.step("make a key pair", b.makeKeyPair, func(ctx context.Context) error {
			return removeKeyPair(ctx, b.job)
		}).unlessAdopted(),
		b.step("make a security group", b.makeSecurityGroup, func(ctx context.Context) error {
			return removeSecurityGroup(ctx, b.job, b.machine.groups, isLost(b.failure))
		}).unlessAdopted(),
		b.step("make an instance profile", b.makeProfile, func(ctx context.Context) error {
			return removeProfile(ctx, b.job)
		}).unlessAdopted(),
		b.step("launch an instance", b.launch, func(ctx context.Context) error {
			return terminate(ctx, b.job, b.machine.instance, isLost(b.failure))
		}).unlessAdopted(),
	}
}

// imageSteps create the AMI and, in the last of them, release it to whoever may have it.
func (b *bake) imageSteps() []multistep.Step {
	if b.job.config.AMISkipCreateImage {
		return []multistep.Step{b.step("leave the AMI out", func(context.Context) error {
			b.job.ui.Say("Making no AMI: skip_create_ami is set")
			b.done = true
			return nil
		}, nil)}
	}
	return []multistep.Step{
		b.step("stop the instance", func(ctx context.Context) error {
			return stopInstance(ctx, b.job, b.machine.instance, b.machine.launched)
		}, nil).unlessAdopted(),
		b.step("set the instance's attributes", func(ctx context.Context) error {
			return setNetworking(ctx, b.job, b.machine.instance)
		}, nil).unlessAdopted(),
		b.step("set the old AMI aside", func(ctx context.Context) error {
			return b.setAsideIn(ctx, b.job.region)
		}, b.restore),
		b.step("make the image", b.createImage, b.removeImage),
		b.step("prove the image", b.prove, nil),
		b.step("set the old copies aside", b.setCopiesAside, func(ctx context.Context) error {
			return b.restoreIf(ctx, func(region string) bool { return region != b.job.region })
		}),
		b.step("copy the image", b.copyImage, b.removeCopies),
		b.step("share the image", func(ctx context.Context) error { return share(ctx, b.job, b.published()) }, nil),
		b.step("finish the image", b.finish, nil),
	}
}

// outcome is the first thing that went wrong: ours, or that of one of the SDK's steps.
func (b *bake) outcome(ctx context.Context) error {
	if b.failure != nil {
		return b.failure
	}
	if b.done { // an interrupt after that must not make the image nobody's
		return nil
	}
	if err, ok := b.state.GetOk("error"); ok {
		return err.(error)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the build was interrupted: %w", ctx.Err())
	}
	if _, halted := b.state.GetOk(multistep.StateHalted); halted {
		return errors.New("the build was halted")
	}
	if _, cancelled := b.state.GetOk(multistep.StateCancelled); cancelled {
		return errors.New("the build was interrupted")
	}
	return nil
}

// describe tells provisioners what they may want to know.
func (b *bake) describe() {
	data := &packerbuilderdata.GeneratedData{State: b.state}
	for _, known := range [][2]string{
		{"SourceAMI", b.source.id},
		{"SourceAMIName", b.source.name},
		{"AMIName", b.image.name},
		{"BuildRegion", b.job.region},
		{"BuildID", b.job.id},
		{"InstanceID", b.machine.instance},
		// For goldsmith-seal, which looks whether it is gone. It is a secret of this build alone.
		{seal.HostKeyData, b.machine.keys.hostPrivate},
	} {
		data.Put(known[0], known[1])
	}
}
