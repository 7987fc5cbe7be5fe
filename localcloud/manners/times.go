package manners

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// How long things take on EC2.
var takes = map[string]span{
	"launch":    {8 * time.Second, 20 * time.Second},    // until an instance is running
	"check":     {60 * time.Second, 180 * time.Second},  // then until its status checks have passed
	"console":   {10 * time.Second, 40 * time.Second},   // then until the latest output can be read
	"post":      {60 * time.Second, 180 * time.Second},  // or until output is posted
	"stop":      {5 * time.Second, 30 * time.Second},    // until an instance is stopped
	"terminate": {5 * time.Second, 30 * time.Second},    // or terminated
	"image":     {60 * time.Second, 240 * time.Second},  // until an image is available, and its snapshot completed
	"snapshot":  {30 * time.Second, 120 * time.Second},  // until another snapshot is
	"create":    {1 * time.Second, 5 * time.Second},     // until a volume is available
	"attach":    {3 * time.Second, 10 * time.Second},    // until it is attached
	"detach":    {3 * time.Second, 10 * time.Second},    // or free again
	"address":   {1 * time.Second, 8 * time.Second},     // until an address is seen where it went
	"nat":       {60 * time.Second, 150 * time.Second},  // until a NAT gateway is available
	"nat end":   {30 * time.Second, 90 * time.Second},   // until it is deleted
	"balancer":  {120 * time.Second, 240 * time.Second}, // until a load balancer is active
	"target":    {60 * time.Second, 180 * time.Second},  // until a target may be healthy
	"refresh":   {60 * time.Second, 90 * time.Second},   // that a refresh waits for health once more
}

// times holds the work that takes time on EC2: it is done at once, and shown when it would be done there.
type times struct {
	draws *draws
	scale float64
	// sighted is told of instances that are new to a client.
	sighted func(id string, launched time.Time)

	mu     sync.Mutex
	work   map[string]work // by what it is and the id of what it is done to
	former map[string]view // by id
	// detached are instances and devices from which volumes are being detached, by their id.
	detached map[string][2]string
	// held are resources that what is being ended still has, and the work that ends it.
	held map[string]string
}

// work goes on for a while.
type work struct{ began, ends time.Time }

// view is a description as it was, in EC2's form.
type view struct {
	until time.Time
	text  []byte
}

func newTimes(d *draws, scale float64, sighted func(string, time.Time)) *times {
	return &times{
		draws:    d,
		scale:    scale,
		sighted:  sighted,
		work:     map[string]work{},
		former:   map[string]view{},
		detached: map[string][2]string{},
		held:     map[string]string{},
	}
}

// takes is how long something takes that is done to a thing.
func (t *times) takes(what, kind, id string) time.Duration {
	return time.Duration(t.scale * float64(takes[what].at(t.draws.number(what, kind, id))))
}

func (t *times) begin(what string, ids ...string) {
	now := time.Now()
	for _, id := range ids {
		w := work{began: now, ends: now.Add(t.takes(what, kindOf(id), id))}
		t.mu.Lock()
		t.work[what+" "+id] = w
		t.mu.Unlock()
	}
}

// under tells whether work on a thing goes on, and how much of it is done.
func (t *times) under(what, id string) (percent int, under bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, ok := t.work[what+" "+id]
	now := time.Now()
	if !ok || !now.Before(w.ends) {
		delete(t.work, what+" "+id)
		return 100, false
	}
	return int(100 * now.Sub(w.began) / w.ends.Sub(w.began)), true
}

// since tells whether something that began with an instance's launch goes on: one length after the other.
func (t *times) since(launched time.Time, id string, lengths ...string) bool {
	ends := launched
	for _, what := range lengths {
		key := what + " " + id + " " + launched.String()
		t.mu.Lock()
		w, ok := t.work[key]
		t.mu.Unlock()
		if !ok {
			w = work{ends: launched.Add(t.takes(what, kindOf(id), id))}
			t.mu.Lock()
			t.work[key] = w
			t.mu.Unlock()
		}
		ends = ends.Add(w.ends.Sub(launched))
	}
	return time.Now().Before(ends)
}

func (t *times) pending(id string, launched time.Time) bool { return t.since(launched, id, "launch") }

// forget drops what nobody waits for any more.
func (t *times) forget() {
	const longAgo = time.Hour
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(t.work, func(_ string, w work) bool { return now.Sub(w.ends) > longAgo })
	maps.DeleteFunc(t.former, func(_ string, v view) bool { return now.After(v.until) })
	maps.DeleteFunc(t.detached, func(id string, _ [2]string) bool { return t.work["detach "+id].ends.IsZero() })
	maps.DeleteFunc(t.held, func(_, by string) bool { return t.work[by].ends.IsZero() })
}

// launches are the times at which instances that run were launched.
func launches(ctx context.Context, carry Carry, ids ...string) (map[string]time.Time, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	described, err := carried(ctx, carry, awsquery.NewCall("ec2", "DescribeInstances").With("InstanceId", ids...))
	if err != nil {
		return nil, err
	}
	all := map[string]time.Time{}
	for _, item := range instancesOf(described) {
		if launched, ok := launchOf(item); ok {
			all[item.Get("instanceId")] = launched
		}
	}
	return all, nil
}

// launchOf is when an instance was launched that runs.
func launchOf(item *awsquery.Node) (time.Time, bool) {
	launched, err := time.Parse(time.RFC3339, item.Get("launchTime"))
	return launched, err == nil && item.Get("instanceState", "name") == "running"
}

// admit refuses what cannot be done yet.
func (t *times) admit(ctx context.Context, c *awsquery.Call, carry Carry) error {
	if c.Service != "ec2" {
		return nil
	}
	if err := t.admitHeld(c); err != nil {
		return err
	}
	switch c.Action() {
	case "RunInstances":
		if _, under := t.under("image", c.Get("ImageId")); under {
			return awsquery.Fault(apierror.InvalidAMIIDUnavailable, c.Get("ImageId")).Adding("It is pending.")
		}
	case "StartInstances":
		for _, id := range c.List("InstanceId") {
			if _, under := t.under("stop", id); under {
				return awsquery.Fault(apierror.InstanceNotStartable, id, "started")
			}
		}
	case "AttachVolume", "DeleteVolume":
		return t.admitVolume(ctx, c, carry)
	case "AssociateAddress":
		if id := c.Get("InstanceId"); id != "" {
			return t.admitRunning(ctx, carry, id, apierror.InvalidInstancePending)
		}
	}
	return nil
}

// needFree are calls for which nothing may have a resource, with the parameter that names it, and EC2's error.
var needFree = map[string]struct {
	parameter string
	refusal   func(id string) error
}{
	"DeleteSecurityGroup": {"GroupId", func(id string) error {
		return awsquery.Fault(apierror.DependencyViolation, id)
	}},
	"DeleteSubnet": {"SubnetId", func(id string) error {
		return awsquery.Fault(apierror.HasDependencies, "subnet", id)
	}},
	"ReleaseAddress": {"AllocationId", func(id string) error {
		return awsquery.Fault(apierror.InvalidIPAddressInUse, id)
	}},
}

// admitHeld refuses what would take a resource from what is still being ended.
func (t *times) admitHeld(c *awsquery.Call) error {
	needs, ok := needFree[c.Action()]
	if !ok {
		return nil
	}
	id := c.Get(needs.parameter)
	t.mu.Lock()
	defer t.mu.Unlock()
	if by := t.held[id]; by != "" && time.Now().Before(t.work[by].ends) {
		return needs.refusal(id)
	}
	return nil
}

// holdings are the resources that a NAT gateway has, or instances that run, each with who has it.
func holdings(ctx context.Context, c *awsquery.Call, carry Carry) map[string]string {
	all := map[string]string{}
	note := func(by string, item *awsquery.Node, paths ...string) {
		for _, path := range paths {
			for _, id := range item.All(strings.Split(path, "/")...) {
				all[id] = by
			}
		}
	}
	switch c.Action() {
	case "DeleteNatGateway":
		id := c.Get("NatGatewayId")
		described, err := ask(ctx, carry, "DescribeNatGateways", "NatGatewayId.1", id)
		if err != nil {
			return nil // who carries the call out says what is wrong
		}
		for _, item := range described.Items("natGatewaySet") {
			note("nat end "+id, item, "subnetId", "natGatewayAddressSet/*/allocationId")
		}
	case "TerminateInstances":
		described, err := carried(ctx, carry, awsquery.NewCall("ec2", "DescribeInstances").
			With("InstanceId", c.List("InstanceId")...))
		if err != nil {
			return nil // the same
		}
		for _, item := range instancesOf(described) {
			note("terminate "+item.Get("instanceId"), item, "subnetId", "groupSet/*/groupId",
				"networkInterfaceSet/*/groupSet/*/groupId")
		}
	}
	return all
}

func (t *times) admitVolume(ctx context.Context, c *awsquery.Call, carry Carry) error {
	volume := c.Get("VolumeId")
	if _, under := t.under("create", volume); under {
		return awsquery.Fault(apierror.VolumeIncorrectState, volume, "creating")
	}
	if _, under := t.under("detach", volume); under {
		return awsquery.Faultf(apierror.VolumeInUse, "Volume %s is still being detached from an instance", volume)
	}
	if c.Action() != "AttachVolume" {
		return nil
	}
	return t.admitRunning(ctx, carry, c.Get("InstanceId"), apierror.InstanceNotRunning)
}

// admitRunning refuses what an instance must run for.
func (t *times) admitRunning(ctx context.Context, carry Carry, id string, refusal *apierror.Row) error {
	known, err := launches(ctx, carry, id)
	if err != nil {
		return nil // who carries the call out says what is wrong
	}
	if launched, ok := known[id]; ok && t.pending(id, launched) {
		return awsquery.Fault(refusal, id)
	}
	return nil
}

// earlier is the state of the things that a call moves or ends, before the call.
type earlier struct {
	moved    map[string]*awsquery.Node // descriptions, by id
	holdings map[string]string
}

// before looks at what a call moves or ends, which is seen late.
func (t *times) before(ctx context.Context, c *awsquery.Call, carry Carry) earlier {
	if c.Service != "ec2" {
		return earlier{}
	}
	return earlier{moved: moved(ctx, c, carry), holdings: holdings(ctx, c, carry)}
}

func moved(ctx context.Context, c *awsquery.Call, carry Carry) map[string]*awsquery.Node {
	q, id, by := descriptions["DescribeAddresses"], c.Get("AllocationId"), "DescribeAddresses"
	switch c.Action() {
	case "AssociateAddress":
	case "AssignPrivateIpAddresses":
		by, id = "DescribeNetworkInterfaces", c.Get("NetworkInterfaceId")
		q = descriptions[by]
	default:
		return nil
	}
	if id == "" {
		return nil
	}
	described, err := ask(ctx, carry, by, q.by+".1", id)
	if err != nil {
		return nil // who carries the call out says what is wrong
	}
	for _, item := range described.Items(q.set) {
		if item.Get(q.id) == id {
			return map[string]*awsquery.Node{id: item}
		}
	}
	return nil
}

// note begins what a call began.
func (t *times) note(ctx context.Context, c *awsquery.Call, a *awsquery.Answer, before earlier, carry Carry) {
	t.forget()
	for id, item := range before.moved {
		until := time.Now().Add(t.takes("address", kindOf(id), id))
		t.mu.Lock()
		t.former[id] = view{until, item.Bytes()}
		t.mu.Unlock()
	}
	t.mu.Lock()
	maps.Copy(t.held, before.holdings)
	t.mu.Unlock()
	made := moto.Made(c, a.Body)
	switch c.Service + " " + c.Action() {
	case "ec2 StopInstances":
		t.begin("stop", c.List("InstanceId")...)
	case "ec2 TerminateInstances":
		t.begin("terminate", c.List("InstanceId")...)
	case "ec2 CreateImage":
		t.beginImage(ctx, made, carry)
	case "ec2 CreateSnapshot":
		t.begin("snapshot", made...)
	case "ec2 CreateVolume":
		t.begin("create", made...)
	case "ec2 AttachVolume":
		t.begin("attach", c.Get("VolumeId"))
	case "ec2 DetachVolume":
		t.noteDetached(c, a)
	case "ec2 CreateNatGateway":
		t.begin("nat", made...)
	case "ec2 DeleteNatGateway":
		t.begin("nat end", c.Get("NatGatewayId"))
	case "elasticloadbalancing CreateLoadBalancer":
		if root, err := a.XML(); err == nil {
			t.begin("balancer", root.All("CreateLoadBalancerResult", "LoadBalancers", "*", "LoadBalancerArn")...)
		}
	}
}

// beginImage has an image and its snapshot take the same time.
func (t *times) beginImage(ctx context.Context, ids []string, carry Carry) {
	t.begin("image", ids...)
	for _, id := range ids {
		described, err := ask(ctx, carry, "DescribeImages", "ImageId.1", id)
		if err != nil {
			continue // its snapshot is there before it
		}
		t.mu.Lock()
		for _, snapshot := range described.All("imagesSet", "*", "blockDeviceMapping", "*", "ebs", "snapshotId") {
			t.work["snapshot "+snapshot] = t.work["image "+id]
		}
		t.mu.Unlock()
	}
}

// noteDetached keeps a volume in use.
func (t *times) noteDetached(c *awsquery.Call, a *awsquery.Answer) {
	root, err := a.XML()
	if err != nil {
		return
	}
	t.begin("detach", c.Get("VolumeId"))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detached[c.Get("VolumeId")] = [2]string{root.Get("instanceId"), root.Get("device")}
}

// look makes a description of what a thing would be on EC2 by now.
func (t *times) look(action string, item *awsquery.Node, id string) *awsquery.Node {
	t.mu.Lock()
	old, ok := t.former[id]
	t.mu.Unlock()
	if ok && time.Now().Before(old.until) {
		if seen, err := awsquery.ParseXML(old.text); err == nil {
			return seen
		}
	}
	switch action {
	case "DescribeInstances":
		t.lookAtInstance(item, id)
	case "DescribeImages":
		t.mask(item, "image", id, "pending", "imageState")
	case "DescribeNatGateways":
		t.mask(item, "nat", id, "pending", "state")
		if _, under := t.under("nat end", id); under {
			item.Set("deleting", "state")
		}
	case "DescribeLoadBalancers":
		t.mask(item, "balancer", id, "provisioning", "State", "Code")
	case "DescribeSnapshots":
		if percent, under := t.under("snapshot", id); under {
			item.Set("pending", "status")
			item.Set(strconv.Itoa(percent)+"%", "progress")
		}
	case "DescribeVolumes":
		t.lookAtVolume(item, id)
	}
	return item
}

// mask shows a state while work goes on, but for one that says that it failed.
func (t *times) mask(item *awsquery.Node, what, id, state string, path ...string) {
	if _, under := t.under(what, id); under && !slices.Contains([]string{"failed", "deleted"}, item.Get(path...)) {
		item.Set(state, path...)
	}
}

func (t *times) lookAtInstance(item *awsquery.Node, id string) {
	shown := ""
	switch item.Get("instanceState", "name") {
	case "running":
		if launched, ok := launchOf(item); ok && t.pending(id, launched) {
			shown = "pending"
		}
	case "stopped":
		if _, under := t.under("stop", id); under {
			shown = "stopping"
		}
	case "terminated":
		if _, under := t.under("terminate", id); under {
			shown = "shutting-down"
		}
	}
	if shown != "" {
		item.Set(shown, "instanceState", "name")
		item.Set(map[string]string{"pending": "0", "stopping": "64", "shutting-down": "32"}[shown],
			"instanceState", "code")
	}
}

func (t *times) lookAtVolume(item *awsquery.Node, id string) {
	t.mask(item, "create", id, "creating", "status")
	if _, under := t.under("attach", id); under {
		for _, attached := range item.Items("attachmentSet") {
			attached.Set("attaching", "status")
		}
	}
	if _, under := t.under("detach", id); under && len(item.Items("attachmentSet")) == 0 {
		t.mu.Lock()
		from := t.detached[id]
		t.mu.Unlock()
		item.Set("in-use", "status")
		item.Remove("attachmentSet")
		item.Children = append(item.Children, awsquery.Element("attachmentSet", awsquery.Element("item",
			awsquery.Text("volumeId", id), awsquery.Text("instanceId", from[0]), awsquery.Text("device", from[1]),
			awsquery.Text("status", "detaching"))))
	}
}

// after changes answers that tell of instances what follows from their launch.
func (t *times) after(
	ctx context.Context,
	c *awsquery.Call,
	a *awsquery.Answer,
	carry Carry,
) (*awsquery.Answer, error) {
	var change func(*awsquery.Node, map[string]time.Time)
	var ids func(*awsquery.Node) []string
	switch c.Service + " " + c.Action() {
	case "ec2 GetConsoleOutput":
		ids = func(*awsquery.Node) []string { return []string{c.Get("InstanceId")} }
		change = func(root *awsquery.Node, launched map[string]time.Time) {
			t.lookAtConsole(c, root, launched)
		}
	case "ec2 DescribeInstanceStatus":
		ids = func(root *awsquery.Node) []string { return root.All("instanceStatusSet", "*", "instanceId") }
		change = func(root *awsquery.Node, launched map[string]time.Time) { t.lookAtStatus(c, root, launched) }
	case "autoscaling DescribeAutoScalingGroups":
		path := []string{"DescribeAutoScalingGroupsResult", "AutoScalingGroups", "*", "Instances", "*", "InstanceId"}
		ids = func(root *awsquery.Node) []string { return root.All(path...) }
		change = t.lookAtMembers
	default:
		return a, nil
	}
	root, err := awsquery.ParseXML(a.Body)
	if err != nil {
		return nil, err
	}
	launched, err := launches(ctx, carry, ids(root)...)
	if err != nil {
		return nil, err
	}
	change(root, launched)
	return &awsquery.Answer{Status: a.Status, Header: a.Header, Body: root.Bytes()}, nil
}

func (t *times) lookAtConsole(c *awsquery.Call, root *awsquery.Node, launched map[string]time.Time) {
	id, until := c.Get("InstanceId"), "post"
	if c.Get("Latest") == "true" {
		until = "console"
	}
	if at, ok := launched[id]; ok && t.since(at, id, "launch", until) {
		root.Remove("output")
		root.Remove("timestamp")
	}
}

func (t *times) lookAtStatus(c *awsquery.Call, root *awsquery.Node, launched map[string]time.Time) {
	set := root.At("instanceStatusSet")
	set.Children = slices.DeleteFunc(set.Children, func(item *awsquery.Node) bool {
		id := item.Get("instanceId")
		at, ok := launched[id]
		switch {
		case !ok:
		case t.pending(id, at):
			item.Set("0", "instanceState", "code")
			item.Set("pending", "instanceState", "name")
			item.Set("not-applicable", "instanceStatus", "status")
			item.Set("not-applicable", "systemStatus", "status")
			return !strings.EqualFold(c.Get("IncludeAllInstances"), "true")
		case t.since(at, id, "launch", "check"):
			item.Set("initializing", "instanceStatus", "status")
			item.Set("initializing", "systemStatus", "status")
		}
		return false
	})
}

func (t *times) lookAtMembers(root *awsquery.Node, launched map[string]time.Time) {
	for _, group := range root.Items("DescribeAutoScalingGroupsResult", "AutoScalingGroups") {
		for _, member := range group.Items("Instances") {
			at, ok := launched[member.Get("InstanceId")]
			if ok {
				t.sighted(member.Get("InstanceId"), at)
			}
			if ok && member.Get("LifecycleState") == "InService" && t.pending(member.Get("InstanceId"), at) {
				member.Set("Pending", "LifecycleState")
			}
		}
	}
}
