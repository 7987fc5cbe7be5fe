package ec2

import (
	"context"
	"slices"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// stoppedByDown is the state reason of an instance that ran when the cloud went down.
const stoppedByDown = "Server.ScheduledStop: the local cloud was down"

// Reconcile makes records and machines agree after a start: what ran is stopped, what was half made is gone.
func (s *Instances) Reconcile(ctx context.Context) error {
	items, err := s.moto.LivingInstances(ctx)
	if err != nil {
		return err
	}
	machines := s.machinery.Machines()
	present := map[string]bool{}
	for _, item := range items {
		id := item.Get("instanceId")
		record, known := s.records.Instance(id)
		_, hasMachine := machines[id]
		if !known || !hasMachine || record.State == "terminated" || record.State == "shutting-down" {
			s.log.Warn("an instance was half made or half ended; it is terminated", "instance", id, "known", known,
				"machine", hasMachine)
			if err := s.forget(ctx, id); err != nil {
				return err
			}
			continue
		}
		present[id] = true
		if _, err := s.moto.CallUnjournaled(ctx, awsquery.NewCall("ec2", "StopInstances",
			"InstanceId.1", id)); err != nil {
			return err
		}
		if record.State != "stopped" {
			s.setState(id, "stopped", stoppedByDown)
		}
	}
	for id := range s.machinery.Machines() {
		if !present[id] {
			if err := s.machinery.TerminateMachine(ctx, id, false); err != nil {
				return err
			}
		}
	}
	return s.tidy(present)
}

// tidy forgets the records of what is gone, and settles images that were being made.
func (s *Instances) tidy(instances map[string]bool) error {
	images := s.machinery.Images()
	return s.records.Update(func(o *records.State) {
		for id := range o.Instances {
			if !instances[id] {
				delete(o.Instances, id)
			}
		}
		for token, launched := range o.Launches {
			if !slices.ContainsFunc(launched.Instances, func(id string) bool { return instances[id] }) {
				delete(o.Launches, token)
			}
		}
		for id, image := range o.Images {
			switch {
			case image.Gone:
				delete(o.Images, id)
			case image.State == "pending" && slices.Contains(images, id):
				image.State = "available"
			case image.State == "pending":
				image.State, image.Reason = "failed", "the local cloud ended while the image was made"
			}
		}
	})
}

// terminatedFor is the time for which a terminated instance is still described.
const terminatedFor = time.Hour
