package stack

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// sshUser is the account of Debian's images that has the launch's key.
const sshUser = "admin"

// agentData is the agent's command for a database's data.
const agentData = "sudo -n " + instance.AgentPath + " data "

// bringDatabase has a database wait for its volume; the first one of a stack gets it at once. One that stays is ready.
func (r *rollout) bringDatabase(ctx context.Context, c change) error {
	if !c.replace {
		_, err := r.start(ctx, c.old)
		r.result.Database = r.latest(ctx, c.old.ID)
		return err
	}
	if err := r.checkRoom(ctx, c.old); err != nil {
		return err
	}
	launched, err := r.launchTier(ctx, c)
	if err != nil {
		return err
	}
	r.result.Database = launched
	var standby instance.Standby
	err = r.timed("db on standby", func() error { standby, err = r.waitStandby(ctx, launched.ID); return err })
	if err != nil {
		return err
	}
	if err := r.checkData(ctx, c.old, standby.Server); err != nil {
		return err
	}
	if err := r.setServer(ctx, standby.Server, launched.ID); err != nil {
		return err
	}
	if c.old.ID != "" {
		return nil
	}
	return r.takeOver(ctx, standby.Server)
}

// checkRoom refuses to replace a database whose volume is full: it could not be stopped cleanly. That it cannot be asked,
// as there is no way in or its image does not know the question, is no reason not to go on.
func (r *rollout) checkRoom(ctx context.Context, old Instance) error {
	if old.ID == "" || old.State != "running" {
		return nil
	}
	err := r.onDatabase(ctx, old, agentData+"room")
	if err != nil && strings.Contains(err.Error(), instance.NoRoom) {
		return fmt.Errorf("replace the database on %s: %w\nhint: make room, or a larger volume: size in data_volume of the stack file, and restart the instance", old.ID, err)
	}
	return nil
}

// waitStandby waits until an instance says that nothing is missing but its volume.
func (s *Stack) waitStandby(ctx context.Context, id string) (instance.Standby, error) {
	var found instance.Standby
	_, err := s.waitConsole(ctx, id, "waits for its volume", func(console []byte) (ok bool, err error) {
		if report, reported := instance.FindReport(console); reported && !report.Ready {
			return false, fmt.Errorf("wait for %s: it says that it is not ready: %s", id, failures(report))
		}
		found, ok = instance.FindStandby(console)
		return ok, nil
	})
	return found, err
}

// checkData refuses what would lose the data, before anything is stopped: a database server that could not open it, and an
// old instance that does not have it on the volume.
func (r *rollout) checkData(ctx context.Context, old Instance, server instance.Server) error {
	v, err := r.volumeByID(ctx, r.volume)
	if err != nil {
		return err
	}
	if holder := attachedTo(v); r.d.Snapshot == "" && old.ID != "" && holder != old.ID {
		return fmt.Errorf("replace %s: the data volume %s is attached to %q and not to it; its data is somewhere else and would be left behind", old.ID, r.volume, holder)
	}
	noted := tagOf(v.Tags, serverTag)
	if noted == "" {
		return nil
	}
	data, err := instance.ParseServer(noted)
	if err != nil {
		return fmt.Errorf("read the tag %s of %s: %w", serverTag, r.volume, err)
	}
	if err := server.Opens(data); err != nil {
		return fmt.Errorf("deploy %s: %w\nhint: deploy an image with %s or newer%s", r.d.DatabaseImage, err, data, r.snapshotHint(ctx))
	}
	return nil
}

// moveDatabase takes the data from the old instance to the new one.
func (r *rollout) moveDatabase(ctx context.Context, old Instance) error {
	server, err := instance.ParseServer(r.latest(ctx, r.result.Database.ID).server)
	if err != nil {
		return err
	}
	stopped := time.Now()
	r.stopped = true
	if err := r.timed("stop the old db", func() error { return r.handOver(ctx, old) }); err != nil {
		return err
	}
	err = r.timed("snapshot", func() (err error) {
		r.result.Snapshot, err = r.snapshot(ctx, r.heldVolume(), r.result.ID)
		return err
	})
	if err != nil {
		return err
	}
	r.set(func(record *Record) { record.Snapshot = r.result.Snapshot })
	if r.d.Snapshot == "" {
		if err := r.timed("detach", func() error { return r.detach(ctx, r.volume) }); err != nil {
			return err
		}
	}
	if err := r.takeOver(ctx, server); err != nil {
		return err
	}
	r.result.Interruption = time.Since(stopped).Milliseconds()
	r.set(func(record *Record) { record.Interruption = r.result.Interruption })
	r.say("the database moved to %s; no writes for %.1f s", r.result.Database.ID, time.Since(stopped).Seconds())
	return nil
}

// takeOver gives the new database its volume and, when it has verified itself, its address.
func (r *rollout) takeOver(ctx context.Context, server instance.Server) error {
	id := r.result.Database.ID
	err := r.timed("attach", func() error {
		// The tag comes first: a server may have changed the data from the moment on that it has it.
		if err := r.setServer(ctx, server, r.volume); err != nil {
			return err
		}
		return r.attach(ctx, r.volume, id)
	})
	if err != nil {
		return err
	}
	err = r.timed("db ready", func() error { _, err := r.waitReady(ctx, id, time.Time{}); return err })
	if err != nil {
		return err
	}
	return r.timed("move the db address", func() error {
		if err := r.giveServiceAddress(ctx, r.latest(ctx, id)); err != nil {
			return err
		}
		r.observer.writesGoOn()
		r.result.Database = r.latest(ctx, id)
		return nil
	})
}

// handOver stops a database cleanly and unmounts its volume. Over SSH that takes a second; where there is no way in, the
// instance is stopped, which does the same and takes longer.
func (s *Stack) handOver(ctx context.Context, old Instance) error {
	s.observer.writesStop()
	if old.State == "running" {
		if err := s.onDatabase(ctx, old, agentData+"hand-over"); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return fmt.Errorf("stop the database on %s: %w", old.ID, err)
		} else {
			s.say("the database on %s cannot be stopped over SSH (%v): stopping the instance", old.ID, err)
		}
	}
	return s.stopInstance(ctx, old.ID)
}

// resume has a database serve again that had handed its data over, and has it back.
func (s *Stack) resume(ctx context.Context, i Instance) error {
	if i.State == "running" {
		if err := s.onDatabase(ctx, i, agentData+"resume"); err == nil || ctx.Err() != nil {
			return err
		} else {
			s.say("the database on %s cannot be started over SSH (%v): restarting the instance", i.ID, err)
		}
		if err := s.stopInstance(ctx, i.ID); err != nil {
			return err
		}
	}
	console, err := s.console(ctx, i.ID)
	if err != nil {
		return err
	}
	last, _ := instance.FindReport(console)
	if _, err := s.ec2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{i.ID}}); err != nil {
		return fmt.Errorf("start %s: %w", i.ID, err)
	}
	_, err = s.waitReady(ctx, i.ID, last.Time)
	return err
}

func (s *Stack) stopInstance(ctx context.Context, id string) error {
	if _, err := s.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	if err := s.untilState(ctx, types.InstanceStateNameStopped, id); err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	return nil
}

// onDatabase runs a command on a database, by way of a web instance.
func (s *Stack) onDatabase(ctx context.Context, i Instance, command string) error {
	hops, err := s.Way(ctx, i)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	client, err := access.Dial(limited, hops, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Run(limited, command)
	return err
}

// Way is how an instance is entered over SSH: by its public address or, where it has none, through a web instance.
func (s *Stack) Way(ctx context.Context, target Instance) ([]access.Hop, error) {
	path, err := KeyPath(s.name)
	if err != nil {
		return nil, err
	}
	var public ssh.PublicKey
	if _, err := os.Stat(path); err != nil { // an ssh-agent may have it; that is found out before anything is waited for
		if public, err = s.registeredKey(ctx); err == nil {
			err = access.CheckIdentity(path, public)
		}
		if err != nil {
			return nil, fmt.Errorf("log in to %s: %w", target.ID, err)
		}
	}
	through := []Instance{target}
	if target.Public == "" {
		all, err := s.Instances(ctx)
		if err != nil {
			return nil, err
		}
		var gateway Instance
		for _, i := range all {
			if i.Tier == "web" && i.Public != "" && i.State == "running" && (gateway.ID == "" || i.Role == serving) {
				gateway = i
			}
		}
		if gateway.ID == "" {
			return nil, fmt.Errorf("log in to %s: it has no public address, and no web instance that has one is running", target.ID)
		}
		through = []Instance{gateway, target}
	}
	var hops []access.Hop
	for _, i := range through {
		keys, err := s.hostKeys(ctx, i.ID)
		if err != nil {
			return nil, err
		}
		hops = append(hops, access.Hop{
			ID:       i.ID,
			Address:  cmp.Or(i.Public, i.Private),
			User:     sshUser,
			HostKeys: keys,
			Identity: path,
			Public:   public,
		})
	}
	return hops, nil
}

// hostKeys are those that an instance printed on its console. On AWS the console is there some time after the launch.
func (s *Stack) hostKeys(ctx context.Context, id string) (keys []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = s.waitConsole(ctx, id, "shows its SSH host keys", func(console []byte) (bool, error) {
		keys = access.HostKeys(console)
		return len(keys) > 0, nil
	})
	return keys, err
}
