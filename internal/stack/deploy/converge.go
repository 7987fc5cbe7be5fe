package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// settle brings the stack to what its tags say: in each tier one instance serves, with the volume and the address, and
// there is no other. A failed deployment goes back this way, what a killed one left is put right this way, and the old
// instances of a good one end this way: what differs is only who has the role. broken says that the database may have
// been stopped, also where nothing else shows it.
func (s *Stack) settle(ctx context.Context, broken bool) error {
	all, err := s.Instances(ctx)
	if err != nil {
		return err
	}
	// The database first: the web tier is of no use without.
	if err := s.settleDatabase(ctx, all, broken); err != nil {
		return err
	}
	if err := s.settleWeb(ctx, all); err != nil {
		return err
	}
	return s.settleVolumes(ctx)
}

func (s *Stack) settleWeb(ctx context.Context, all []Instance) error {
	keeper := servingOf(all, "web")
	if s.scaled() {
		if err := s.settleGroup(ctx); err != nil {
			return err
		}
	}
	address, err := s.webAddress(ctx)
	if err != nil {
		return err
	}
	if !s.scaled() && address != nil && aws.ToString(address.AssociationId) != "" && aws.ToString(address.InstanceId) == "" {
		// What is left of a group that somebody deleted: its load balancer has the address.
		if err := s.removeGroup(ctx); err != nil {
			return err
		}
	}
	if keeper.ID != "" && address != nil && aws.ToString(address.InstanceId) != keeper.ID {
		s.say("%s goes to %s", aws.ToString(address.PublicIp), keeper.ID)
		if err := s.giveAddress(ctx, *address, keeper.ID); err != nil {
			return err
		}
	}
	return s.end(ctx, others(all, "web", keeper))
}

// others are the instances of a tier but for one, and but for those that an Auto Scaling group keeps.
func others(all []Instance, tier string, keeper Instance) []Instance {
	return slices.DeleteFunc(slices.Clone(all), func(i Instance) bool { return i.Tier != tier || i.ID == keeper.ID || i.group != "" })
}

func (s *Stack) end(ctx context.Context, instances []Instance) error {
	var ids []string
	for _, i := range instances {
		s.say("ending %s %s, which is %s", i.Tier, i.ID, i.Role)
		ids = append(ids, i.ID)
	}
	return s.terminate(ctx, ids...)
}

func (s *Stack) settleDatabase(ctx context.Context, all []Instance, broken bool) error {
	keeper := servingOf(all, "db")
	rest := others(all, "db", keeper)
	if keeper.ID == "" || len(rest) == 0 && keeper.State != "running" {
		return s.end(ctx, rest)
	}
	v, err := s.dataVolume(ctx)
	if err != nil || v == nil {
		return errors.Join(err, s.end(ctx, rest))
	}
	volume, holder := aws.ToString(v.VolumeId), attachedTo(v)
	found, err := s.hasServiceAddress(ctx, keeper)
	if err != nil {
		return err
	}
	if holder == keeper.ID && found && !broken {
		return s.end(ctx, rest)
	}
	if holder != keeper.ID {
		if err := s.giveBack(ctx, v, keeper, all); err != nil {
			return err
		}
		s.say("%s goes to %s", volume, keeper.ID)
		if err := s.attach(ctx, volume, keeper.ID); err != nil {
			return err
		}
	}
	if err := s.giveServiceAddress(ctx, keeper); err != nil {
		return err
	}
	// One that never stopped is not touched by this.
	if err := s.resume(ctx, keeper); err != nil {
		return fmt.Errorf("have the database on %s serve again: %w", keeper.ID, err)
	}
	s.observer.writesGoOn()
	return s.end(ctx, rest)
}

// giveBack takes the data volume from whoever has it. Data that the keeper cannot open any more is not forced on it.
func (s *Stack) giveBack(ctx context.Context, v *types.Volume, keeper Instance, all []Instance) error {
	volume := aws.ToString(v.VolumeId)
	var holder Instance
	for _, i := range all {
		if i.ID == attachedTo(v) {
			holder = i
		}
	}
	own, err1 := instance.ParseServer(keeper.server)
	data, err2 := instance.ParseServer(tagOf(v.Tags, serverTag))
	if err1 == nil && err2 == nil && own.Opens(data) != nil {
		return fmt.Errorf("the data on %s is of %s by now, and %s on %s cannot open it\nhint: to keep %s, tag it: aws ec2 create-tags --resources %s --tags Key=%s,Value=%s; the data of before is in the snapshot with the tag %s=%s, to which goldsmith rollback --snapshot goes back then",
			volume, data, own, keeper.ID, holder.ID, holder.ID, roleTag, serving, deployTag, holder.deploy)
	}
	if holder.ID != "" {
		if err := s.handOver(ctx, holder); err != nil {
			return err
		}
	}
	if attachedTo(v) == "" {
		return nil
	}
	return s.detach(ctx, volume)
}
