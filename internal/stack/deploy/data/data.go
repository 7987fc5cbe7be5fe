// Package data redeploys a data tier: one instance whose state is on a volume of its own and which is reached at a
// service address. Both move from one instance to the next, and a snapshot is made in between.
package data

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// agentData is the agent's command for a database's data.
const agentData = "sudo -n " + instance.AgentPath + " data "

// data is the tier in one deployment.
type data struct {
	volumes  *volumes
	run      *tier.Run
	stack    *stack.Stack
	tier     stack.Tier
	decision tier.Decision
	volume   string          // the data volume
	zone     string          // where that is
	held     string          // the one that the old instance has, if that is another
	server   instance.Server // of the new instance
	took     bool            // the new instance has the volume and the address
	outcome  tier.Outcome
}

// New returns a data tier of a deployment, and refuses one whose service address would move. all are the stack's
// instances.
func New(run *tier.Run, t stack.Tier, all []stack.Instance) (tier.Tier, error) {
	d := made(run, t)
	if !t.Data.Address.IsValid() {
		return d, nil // the subnet is not known yet, nor is the address in it
	}
	return d, d.checkStays(stack.ServingOf(all, t.Name), t.Data.Address.String())
}

// Removable returns a tier that is only to be removed, whatever the stack file says of it.
func Removable(run *tier.Run, t stack.Tier) tier.Tier { return made(run, t) }

func made(run *tier.Run, t stack.Tier) *data {
	return &data{
		volumes: &volumes{run: run, stack: run.Stack, tier: t},
		run:     run,
		stack:   run.Stack,
		tier:    t,
	}
}

// Outcome implements tier.Tier.
func (d *data) Outcome() tier.Outcome { return d.outcome }

// Plan implements tier.Tier.
func (d *data) Plan(ctx context.Context) (err error) {
	if d.volume, d.zone, err = d.volumes.ensure(ctx); err != nil {
		return err
	}
	if err := d.decide(); err != nil {
		return err
	}
	return d.checkAddress(ctx)
}

// decide decides what happens to the instance, for the data volume that there is now.
func (d *data) decide() error {
	old := stack.ServingOf(d.run.Instances, d.tier.Name)
	clients, err := d.run.Network.Clients(d.stack, d.tier)
	if err != nil {
		return err
	}
	subnet, err := d.run.Network.SubnetOf(d.stack, d.tier, d.zone)
	if err != nil {
		return err
	}
	address, err := subnet.ServiceAddress(d.tier)
	if err != nil {
		return err
	}
	if err = d.checkStays(old, address); err != nil {
		return err
	}
	d.run.Addresses[d.tier.Name] = address
	d.decision, err = d.run.Decide(d.tier, old, launch.Launch{
		Subnet:  subnet,
		Clients: clients,
		Service: address,
		Volume:  d.volume,
	})
	if d.run.Snapshot != "" && !d.decision.Replace {
		d.decision.Replace, d.decision.Reason = true, "it is asked for"
	}
	d.outcome.Old, d.outcome.Replaced = old, d.decision.Replace
	return err
}

// checkStays refuses a service address that is not the one of the instance which serves.
func (d *data) checkStays(old stack.Instance, address string) error {
	is := old.Detail.Service
	if is == "" || is == address {
		return nil
	}
	return fmt.Errorf("service_address: the %s tier of stack %s is found at %s, and the stack file wants %s; "+
		"it cannot be changed while the %s tier uses it\n"+
		"hint: write %[3]s into the stack file, or make the stack anew after goldsmith destroy",
		d.tier.Name, d.stack.Name, is, address, strings.Join(d.clientTiers(), " or "))
}

// clientTiers are the names of the tiers that need this one.
func (d *data) clientTiers() []string {
	var names []string
	for _, t := range d.stack.Tiers {
		for _, needed := range t.Needs {
			if needed == d.tier.Name {
				names = append(names, t.Name)
			}
		}
	}
	return names
}

func (d *data) step(id, title string) plan.Step { return tier.StepOf(d.tier, id, title) }

// Bring implements tier.Tier: a new instance waits for its volume; the first one of a stack gets it at once.
func (d *data) Bring(ctx context.Context) error {
	if d.decision.Replace {
		if err := d.restore(ctx); err != nil {
			return err
		}
		return d.run.Act.Do(d.decision.Change(), func() (string, error) {
			err := d.bringNew(ctx)
			return d.newest().ID, err
		})
	}
	if _, err := d.run.Keep(ctx, d.tier, d.decision.Old); err != nil || d.run.Act.Dry() {
		return err
	}
	return d.noteServing(ctx, d.decision.Old.ID)
}

// newest is the instance that this deployment launched.
func (d *data) newest() stack.Instance {
	if n := len(d.outcome.Launched); n > 0 {
		return d.outcome.Launched[n-1]
	}
	return stack.Instance{}
}

// noteServing notes an instance that serves, as it is now.
func (d *data) noteServing(ctx context.Context, id string) error {
	found, err := launch.Latest(ctx, d.stack, id)
	if err != nil {
		return err
	}
	d.outcome.Serving = []stack.Instance{found}
	return nil
}

func (d *data) bringNew(ctx context.Context) error {
	if err := d.checkRoom(ctx); err != nil {
		return err
	}
	l := d.decision.Launch
	launched, err := d.run.Launch(ctx, d.tier, d.decision, stack.AddressTag, l.Service, stack.VolumeTag, l.Volume)
	if err != nil {
		return err
	}
	d.outcome.Launched = append(d.outcome.Launched, launched)
	if launched.Private == l.Service { // which would keep it: a primary address cannot move
		return fmt.Errorf("launch %s: EC2 gave it the service address %s as its primary one\nhint: run this again, or "+
			"reserve that address in %s: aws ec2 create-subnet-cidr-reservation --reservation-type explicit "+
			"--subnet-id %[3]s --cidr %[2]s/32", launched.ID, l.Service, l.Subnet.ID)
	}
	err = d.run.Timed(d.step("standby", d.tier.Name+" on standby"), func() error {
		standby, failed := d.waitStandby(ctx, launched.ID)
		d.server = standby.Server
		return failed
	})
	if err != nil {
		return err
	}
	if err := d.checkData(ctx); err != nil {
		return err
	}
	if err := d.volumes.noteServer(ctx, launched.ID, d.server); err != nil {
		return err
	}
	if d.decision.Old.ID != "" {
		return nil
	}
	return d.takeOver(ctx)
}

// checkRoom refuses to replace a database whose volume is full: it could not be stopped cleanly. That it cannot be
// asked, as there is no way in or its image does not know the question, is no reason not to go on.
func (d *data) checkRoom(ctx context.Context) error {
	old := d.decision.Old
	if old.ID == "" || old.State != "running" {
		return nil
	}
	if err := d.run.Reach.Command(ctx, d.stack, old, agentData+"room"); saysNoRoom(err) {
		return fmt.Errorf("replace the %s tier's %s: %w\n"+
			"hint: make room, or a larger volume: size in data_volume of the stack file, and restart the instance",
			d.tier.Name, old.ID, err)
	}
	return nil
}

// saysNoRoom tells whether the agent answered that the data volume is full.
func saysNoRoom(err error) bool {
	var exit interface{ ExitStatus() int } // as *ssh.ExitError is
	return errors.As(err, &exit) && exit.ExitStatus() == instance.ExitNoRoom
}

// waitStandby waits until an instance says that nothing is missing but its volume.
func (d *data) waitStandby(ctx context.Context, id string) (instance.Standby, error) {
	var found instance.Standby
	_, err := launch.WaitConsole(ctx, d.stack, id, "waits for its volume", func(text []byte) (ok bool, err error) {
		if report, reported := instance.FindReport(text); reported && !report.Ready {
			return false, fmt.Errorf("wait for %s: it says that it is not ready: %s", id, launch.Failures(report))
		}
		found, ok = instance.FindStandby(text)
		return ok, nil
	})
	return found, err
}

// checkData refuses what would lose the data, before anything is stopped: a database server that could not open it, and
// an old instance that does not have it on the volume.
func (d *data) checkData(ctx context.Context) error {
	v, err := d.volumes.byID(ctx, d.volume)
	if err != nil {
		return err
	}
	old := d.decision.Old
	if holder := attachedTo(v); d.run.Snapshot == "" && old.ID != "" && holder != old.ID {
		return fmt.Errorf("replace %s: the data volume %s is attached to %q and not to it; "+
			"its data is somewhere else and would be left behind", old.ID, d.volume, holder)
	}
	noted := ec2ops.TagValue(v.Tags, stack.ServerTag)
	if noted == "" {
		return nil
	}
	written, err := instance.ParseServer(noted)
	if err != nil {
		return fmt.Errorf("read the tag %s of %s: %w", stack.ServerTag, d.volume, err)
	}
	if err := d.server.Opens(written); err != nil {
		return fmt.Errorf("deploy %s: %w\nhint: deploy an image with %s or newer%s",
			d.decision.Launch.Image, err, written, d.snapshotHint(ctx))
	}
	return nil
}

// Shift implements tier.Tier: it takes the data from the old instance to the new one.
func (d *data) Shift(ctx context.Context) error {
	old := d.decision.Old
	if !d.decision.Replace || old.ID == "" {
		return nil
	}
	stopped := time.Now()
	d.outcome.Stopped = true
	err := d.run.Timed(d.step("stop", "stop the old "+d.tier.Name), func() error { return d.handOver(ctx, old) })
	if err != nil {
		return err
	}
	err = d.run.Timed(d.step(plan.Snapshot, "snapshot"), func() (err error) {
		d.outcome.Snapshot, err = d.volumes.snapshot(ctx, d.heldVolume())
		return err
	})
	if err != nil {
		return err
	}
	d.run.Set(func(r *record.Record) { r.Snapshot = d.outcome.Snapshot })
	if d.run.Snapshot == "" {
		detach := func() error { return d.volumes.detach(ctx, d.volume) }
		if err := d.run.Timed(d.step("detach", "detach"), detach); err != nil {
			return err
		}
	}
	if err := d.takeOver(ctx); err != nil {
		return err
	}
	d.outcome.Interruption = time.Since(stopped)
	d.run.Set(func(r *record.Record) { r.Interruption = d.outcome.Interruption.Milliseconds() })
	d.stack.Logf("the %s tier moved to %s; no writes for %.1f s", d.tier.Name, d.newest().ID,
		d.outcome.Interruption.Seconds())
	return nil
}

// takeOver gives the new instance its volume and, when it has verified itself, its address.
func (d *data) takeOver(ctx context.Context) error {
	id := d.newest().ID
	err := d.run.Timed(d.step("attach", "attach"), func() error {
		// The tag comes first: a server may have changed the data from the moment on that it has it.
		if err := d.volumes.noteServer(ctx, d.volume, d.server); err != nil {
			return err
		}
		return d.volumes.attach(ctx, d.volume, id)
	})
	if err != nil {
		return err
	}
	err = d.run.Ready(d.tier, func() error {
		_, failed := launch.WaitReady(ctx, d.stack, id, time.Time{})
		return failed
	})
	if err != nil {
		return err
	}
	return d.run.Timed(d.step("address", "move the "+d.tier.Name+" address"), func() error {
		now, err := launch.Latest(ctx, d.stack, id)
		if err != nil {
			return err
		}
		// What it was launched with is known; EC2 may not show its tags yet.
		now.Detail.Service = d.decision.Launch.Service
		if err := d.giveAddress(ctx, now); err != nil {
			return err
		}
		d.took = true
		d.run.Observer.WritesResume()
		return d.noteServing(ctx, id)
	})
}

// handOver stops a database cleanly and unmounts its volume. Over SSH that takes a second; where there is no way in,
// the instance is stopped, which does the same and takes longer.
func (d *data) handOver(ctx context.Context, old stack.Instance) error {
	d.run.Observer.WritesStop()
	if old.State == "running" {
		err := d.run.Reach.Command(ctx, d.stack, old, agentData+"hand-over")
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("stop the server on %s: %w", old.ID, err)
		}
		d.stack.Logf("the server on %s cannot be stopped over SSH (%v): stopping the instance", old.ID, err)
	}
	return launch.Stop(ctx, d.stack, old.ID)
}

// resume has a database serve again that had handed its data over, and has it back.
func (d *data) resume(ctx context.Context, i stack.Instance) error {
	if i.State == "running" {
		err := d.run.Reach.Command(ctx, d.stack, i, agentData+"resume")
		if err == nil || ctx.Err() != nil {
			return err
		}
		d.stack.Logf("the server on %s cannot be started over SSH (%v): restarting the instance", i.ID, err)
		if err := launch.Stop(ctx, d.stack, i.ID); err != nil {
			return err
		}
	}
	last, err := launch.Start(ctx, d.stack, i.ID)
	if err != nil {
		return err
	}
	_, err = launch.WaitReady(ctx, d.stack, i.ID, last)
	return err
}

// Remove implements tier.Tier.
func (d *data) Remove(ctx context.Context, all []stack.Instance) error {
	if err := d.run.End(ctx, d.run.Act, stack.Others(all, d.tier.Name, stack.Instance{})); err != nil {
		return err
	}
	found, err := d.volumes.tagged(ctx, d.tier.Name+","+stack.Candidate)
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range found {
		id := aws.ToString(v.VolumeId)
		if err := d.volumes.remove(ctx, id); err != nil {
			errs = append(errs, err)
			continue
		}
		d.stack.Logf("removed data volume %s of the %s tier", id, d.tier.Name)
	}
	return errors.Join(errs...)
}
