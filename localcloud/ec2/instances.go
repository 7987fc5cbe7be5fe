package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/eni"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/metadata"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/vpc"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// Instances answers the calls for instances that are there.
type Instances struct {
	moto           *moto.Client
	records        *records.Store
	queue          *workqueue.Queue
	network        *vpc.Network
	addresses      *vpc.Addresses
	securityGroups *vpc.SecurityGroups
	metadata       *metadata.Service
	machinery      Machinery
	change         *sync.Mutex
	gone           func(records.Instance)
	log            *slog.Logger
}

// Handlers answer the calls of EC2 for instances that are more than a record.
func (s *Instances) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"StartInstances":                s.start,
		"StopInstances":                 s.stop,
		"RebootInstances":               s.reboot,
		"TerminateInstances":            s.Terminate,
		"DescribeInstances":             s.describe,
		"DescribeInstanceStatus":        s.describeStatus,
		"GetConsoleOutput":              s.getConsoleOutput,
		"ModifyInstanceAttribute":       s.modifyAttribute,
		"ModifyInstanceMetadataOptions": s.modifyMetadataOptions,
		"CreateTags":                    s.changeTags,
		"DeleteTags":                    s.changeTags,
	}
}

// BringUp makes the machine of a pending instance.
func (s *Instances) BringUp(ctx context.Context, id string, volumes []launchVolume) error {
	if record, _ := s.records.Instance(id); record.State != "pending" {
		return nil // ended before it began
	}
	err := s.makeMachine(ctx, id, volumes)
	if err == nil {
		return s.noteRunning(id)
	}
	s.setState(id, "shutting-down", "Server.InternalError: "+tool.Public(err))
	return errors.Join(fmt.Errorf("launch instance %s: %w", id, err), s.forget(ctx, id))
}

// noteRunning notes that a pending instance runs; who terminated it meanwhile does not see it run again.
func (s *Instances) noteRunning(id string) error {
	return s.records.ChangeInstance(id, func(record *records.Instance) {
		if record.State == "pending" {
			record.State, record.Reason = "running", ""
		}
	})
}

func (s *Instances) makeMachine(ctx context.Context, id string, volumes []launchVolume) error {
	item, err := s.moto.Instance(ctx, id)
	if err != nil {
		return err
	}
	if err = s.network.Apply(ctx); err != nil {
		return err
	}
	if err = s.metadata.Refresh(ctx, id); err != nil {
		return err
	}
	machine, err := s.machineOf(item)
	if err != nil {
		return err
	}
	if err := s.machinery.RunMachine(ctx, machine); err != nil {
		return err
	}
	for _, v := range volumes {
		volume := volumeAt(item, v.device)
		if err := s.machinery.CreateVolume(ctx, volume, v.sizeGB, v.snapshot); err != nil {
			return err
		}
		if err := s.machinery.AttachVolume(ctx, volume, id, v.device); err != nil {
			return err
		}
	}
	return nil
}

// machineOf is the machine that an instance should have.
func (s *Instances) machineOf(item *awsquery.Node) (host.Machine, error) {
	id := item.Get("instanceId")
	record, _ := s.records.Instance(id)
	i, err := eni.InterfaceOf(item)
	if err != nil {
		return host.Machine{}, err
	}
	m := host.Machine{
		ID:         id,
		Image:      item.Get("imageId"),
		RootVolume: record.RootVolume,
		RootSizeGB: record.RootSizeGB,
		Hostname:   "ip-" + strings.ReplaceAll(i.PrivateIPs[0].String(), ".", "-"),
		Interface:  i,
		UserData:   record.UserData,
	}
	if record.PublicKey != "" {
		m.SSHKeys = []string{record.PublicKey}
	}
	return m, nil
}

// volumeAt is the volume that an instance has at a device.
func volumeAt(item *awsquery.Node, device string) string {
	for _, mapping := range item.Items("blockDeviceMapping") {
		if mapping.Get("deviceName") == device {
			return mapping.Get("ebs", "volumeId")
		}
	}
	return ""
}

// transition takes instances that are in none of the settled states to a passing one, goes on with the work for each
// after the answer, and answers with what was and what is.
func (s *Instances) transition(action string, ids []string, passing string, settled []string,
	work func(context.Context, string) error) *awsquery.Node {
	set := awsquery.Element("instancesSet")
	for _, id := range ids {
		before, _ := s.records.Instance(id)
		current := before.State
		if !slices.Contains(settled, before.State) {
			current = passing
			s.setState(id, passing, before.Reason)
			s.queue.Enqueue(id, func(ctx context.Context) error { return work(ctx, id) })
		}
		set.Children = append(set.Children, awsquery.Element("item", awsquery.Text("instanceId", id),
			awsquery.Element("currentState", awsquery.Text("code", records.StateCodes[current]),
				awsquery.Text("name", current)),
			awsquery.Element("previousState", awsquery.Text("code", records.StateCodes[before.State]),
				awsquery.Text("name", before.State))))
	}
	return awsquery.Reply(action, set)
}

// Starts and stops are not in the journal: after a start of the cloud all instances are stopped, and Reconcile tells
// moto.

func (s *Instances) start(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	ids := c.List("InstanceId")
	if err := s.records.InStates(ids, "started", "stopped", "pending", "running"); err != nil {
		return nil, err
	}
	if _, err := s.moto.CallUnjournaled(ctx, c); err != nil {
		return nil, err
	}
	return s.transition("StartInstances", ids, "pending", []string{"pending", "running"}, s.startMachine), nil
}

// startMachine brings a stopped instance's machine back, with a new automatic public address.
func (s *Instances) startMachine(ctx context.Context, id string) error {
	err := s.records.Update(func(o *records.State) {
		record, ok := o.Instances[id]
		if !ok {
			return
		}
		record.Launched = time.Now()
		if record.WantPublic && !o.HasElastic(id) {
			record.Public = o.FreePublic()
		}
	})
	if err == nil {
		err = s.network.Apply(ctx)
	}
	if err == nil {
		err = s.metadata.Refresh(ctx, id)
	}
	if err == nil {
		err = s.machinery.StartMachine(ctx, id)
	}
	if err == nil {
		return s.noteRunning(id)
	}
	s.setState(id, "stopped", "Server.InternalError: "+tool.Public(err))
	_, told := s.moto.CallUnjournaled(ctx, awsquery.NewCall("ec2", "StopInstances", "InstanceId.1", id))
	return errors.Join(fmt.Errorf("start instance %s: %w", id, err), told)
}

const userInitiated = "Client.UserInitiatedShutdown: User initiated shutdown"

func (s *Instances) stop(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	ids := c.List("InstanceId")
	if err := s.records.InStates(ids, "stopped", "pending", "running", "stopping", "stopped"); err != nil {
		return nil, err
	}
	if _, err := s.moto.CallUnjournaled(ctx, c); err != nil {
		return nil, err
	}
	force := c.Get("Force") == "true"
	return s.transition("StopInstances", ids, "stopping", []string{"stopping", "stopped"},
		func(ctx context.Context, id string) error {
			if err := s.machinery.StopMachine(ctx, id, force); err != nil {
				s.setState(id, "running", "Server.InternalError: "+tool.Public(err))
				return err
			}
			s.setState(id, "stopped", userInitiated)
			return s.network.Apply(ctx)
		}), nil
}

func (s *Instances) reboot(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	ids := c.List("InstanceId")
	if err := s.records.InStates(ids, "rebooted", "running"); err != nil {
		return nil, err
	}
	for _, id := range ids {
		s.queue.Enqueue(id, func(ctx context.Context) error {
			err := s.machinery.RebootMachine(ctx, id)
			if err != nil {
				state := "stopped"
				if s.machinery.Machines()[id] { // it could not be stopped
					state = "running"
				}
				s.setState(id, state, "Server.InternalError: "+tool.Public(err))
			}
			return err
		})
	}
	return awsquery.Done("RebootInstances"), nil
}

// Terminate ends instances.
func (s *Instances) Terminate(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	ids := c.List("InstanceId")
	if err := s.records.InStates(ids, "terminated", "pending", "running", "stopping", "stopped", "shutting-down",
		"terminated"); err != nil {
		return nil, err
	}
	volumes := map[string][]string{}
	for _, id := range ids {
		if record, _ := s.records.Instance(id); record.State == "terminated" || record.State == "shutting-down" {
			continue
		}
		var err error
		if volumes[id], err = s.terminateRecord(ctx, id, c); err != nil {
			return nil, err
		}
	}
	return s.transition("TerminateInstances", ids, "shutting-down", []string{"shutting-down", "terminated"},
		func(ctx context.Context, id string) error {
			return s.terminateMachine(ctx, id, volumes[id], userInitiated)
		}), nil
}

// terminateRecord ends an instance in moto: one call for each, so that the journal can forget one without
// the others. It returns the data volumes that go with the instance.
func (s *Instances) terminateRecord(ctx context.Context, id string, c *awsquery.Call) (volumes []string, err error) {
	item, err := s.moto.Instance(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, mapping := range item.Items("blockDeviceMapping") {
		if mapping.Get("deviceName") != moto.RootDevice && mapping.Get("ebs", "deleteOnTermination") == "true" {
			volumes = append(volumes, mapping.Get("ebs", "volumeId"))
		}
	}
	if err = s.addresses.FreeInstance(ctx, id); err != nil {
		return nil, err
	}
	_, err = s.moto.Forward(ctx, c.With("InstanceId", id))
	return volumes, err
}

// terminateAgain is how long a machine goes on running that could not be ended, until it is tried again.
const terminateAgain = time.Second

func (s *Instances) terminateMachine(ctx context.Context, id string, volumes []string, reason string) error {
	record, _ := s.records.Instance(id)
	var errs []error
	if err := s.machinery.TerminateMachine(ctx, id, record.KeepRoot); err != nil && s.machinery.Machines()[id] {
		s.setState(id, "shutting-down", "Server.InternalError: "+tool.Public(err))
		s.queue.EnqueueAfter(terminateAgain, id, func(ctx context.Context) error {
			return s.terminateMachine(ctx, id, volumes, reason)
		})
		return err
	} else if err != nil {
		errs = append(errs, err)
	}
	for _, volume := range volumes {
		errs = append(errs, s.machinery.DeleteVolume(ctx, volume))
	}
	s.setState(id, "terminated", reason)
	return errors.Join(append(errs, s.network.Apply(ctx))...)
}

// forget terminates what could not be made real, or has ended by itself; its record says why.
func (s *Instances) forget(ctx context.Context, id string) error {
	record, _ := s.records.Instance(id)
	s.change.Lock()
	volumes, err := s.terminateRecord(ctx, id, awsquery.NewCall("ec2", "TerminateInstances"))
	s.change.Unlock()
	return errors.Join(err, s.terminateMachine(ctx, id, volumes, record.Reason))
}

// WatchExits follows machines that power themselves off.
func (s *Instances) WatchExits(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case exit := <-s.machinery.Exits():
			s.queue.Enqueue(exit.ID, func(ctx context.Context) error { return s.ended(ctx, exit) })
		}
	}
}

func (s *Instances) ended(ctx context.Context, exit host.Exit) error {
	record, ok := s.records.Instance(exit.ID)
	if !ok || record.State != "running" && record.State != "pending" || s.machinery.Machines()[exit.ID] {
		return nil // it was told to, or runs again
	}
	reason := "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
	if exit.Err != nil {
		reason = "Server.InternalError: " + exit.Err.Error()
	}
	if record.TerminateOnShutdown {
		s.setState(exit.ID, "shutting-down", reason)
		return s.forget(ctx, exit.ID)
	}
	_, err := s.moto.CallUnjournaled(ctx, awsquery.NewCall("ec2", "StopInstances", "InstanceId.1", exit.ID))
	s.setState(exit.ID, "stopped", reason)
	return errors.Join(err, s.network.Apply(ctx))
}

func (s *Instances) getConsoleOutput(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("InstanceId")
	if _, ok := s.records.Instance(id); !ok {
		return nil, awsquery.Fault(apierror.InvalidInstanceIDNotFound, id)
	}
	output, written, err := s.machinery.Console(id)
	if err != nil {
		return nil, err
	}
	answer := awsquery.Reply("GetConsoleOutput", awsquery.Text("instanceId", id))
	if len(output) > 0 {
		answer.Children = append(answer.Children, awsquery.Text("timestamp", awsquery.Timestamp(written)),
			awsquery.Text("output", base64.StdEncoding.EncodeToString(output)))
	}
	return answer, nil
}

// modifyAttribute follows the attributes that are more than a record.
func (s *Instances) modifyAttribute(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("InstanceId")
	if err := s.records.InStates([]string{id}, "modified", "pending", "running", "stopping", "stopped"); err != nil {
		return nil, err
	}
	if err := s.securityGroups.Exist(ctx, c.List("GroupId")); err != nil {
		return nil, err
	}
	userData, err := base64.StdEncoding.DecodeString(attribute(c, "UserData"))
	if err != nil {
		return nil, awsquery.Fault(apierror.InvalidUserDataMalformed)
	}
	if record, _ := s.records.Instance(id); len(userData) > 0 && record.State != "stopped" {
		return nil, awsquery.Faultf(apierror.IncorrectInstanceState,
			"The instance '%s' must be stopped before its user data can be modified", id)
	}
	item, err := s.moto.Instance(ctx, id)
	if err != nil {
		return nil, err
	}
	answered, err := s.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	err = s.records.ChangeInstance(id, func(record *records.Instance) {
		if behaviour := attribute(c, "InstanceInitiatedShutdownBehavior"); behaviour != "" {
			record.TerminateOnShutdown = behaviour == "terminate"
		}
		if len(userData) > 0 {
			record.UserData = userData
		}
		keepRoot(c, item, record)
	})
	if err == nil && len(userData) > 0 {
		err = s.machinery.UpdateMachine(id, func(m *host.Machine) { m.UserData = userData })
	}
	if err != nil {
		return nil, err
	}
	return answered, errors.Join(s.network.Apply(ctx), s.metadata.Refresh(ctx, id))
}

// attribute is the value that a request gives an attribute, in either of the two ways.
func attribute(c *awsquery.Call, name string) string {
	if direct := c.Get(name + ".Value"); direct != "" {
		return direct
	}
	if strings.EqualFold(c.Get("Attribute"), name) {
		return c.Get("Value")
	}
	return ""
}

// keepRoot follows what a request says of the root volume's end.
func keepRoot(c *awsquery.Call, item *awsquery.Node, record *records.Instance) {
	for i := 1; c.Get(fmt.Sprintf("BlockDeviceMapping.%d.DeviceName", i)) != ""; i++ {
		prefix := fmt.Sprintf("BlockDeviceMapping.%d.", i)
		if volumeAt(item, c.Get(prefix+"DeviceName")) == record.RootVolume {
			record.KeepRoot = c.Get(prefix+"Ebs.DeleteOnTermination") == "false"
		}
	}
}
