//go:build acceptance

package daemon

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

const testCloud = "daemontest"

// TestMain is also the daemon: Start runs this test's program again.
func TestMain(m *testing.M) {
	if os.Getenv("GOLDSMITH_TEST_DAEMON") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	say, ready := FromStarter()
	if err := Serve(ctx, Config{Name: testCloud, Bases: []string{"trixie"}, Progress: say, Ready: ready}); err != nil {
		say(err.Error())
		os.Exit(1)
	}
}

type cloud struct {
	*testing.T
	ec2 *ec2.Client
}

func (c *cloud) up() Running {
	c.Helper()
	c.Setenv("GOLDSMITH_TEST_DAEMON", "1")
	started := time.Now()
	running, err := Start(c.Context(), testCloud, []string{"/proc/self/exe"}, func(line string) { c.Log(line) })
	if err != nil {
		c.Fatal(err)
	}
	c.Logf("up in %s", time.Since(started).Round(time.Millisecond))
	return running
}

// newCloud returns the test's cloud, which is not up yet and is destroyed at the end.
func newCloud(t *testing.T) *cloud {
	endpoint, err := Endpoint(testCloud)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Destroy(context.Background(), testCloud); err != nil {
			t.Error(err)
		}
		if left := leftovers(); len(left) > 0 {
			t.Errorf("left on the host:\n%s", strings.Join(left, "\n"))
		}
	})
	return &cloud{t, ec2.New(ec2.Options{
		Region:       awsquery.Region,
		BaseEndpoint: &endpoint,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			key, err := OperatorKey(testCloud) // there is none before the cloud is up
			return aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, err
		}),
	})}
}

// TestCloud takes an instance through its life, and the cloud through a stop and a crash.
func TestCloud(t *testing.T) {
	c := newCloud(t)
	up := c.up()
	c.allowWeb()
	const servePage = "systemd-run --unit=page /usr/bin/python3 -m http.server 80 --directory /etc\n"
	id := c.launch(moto.BaseImages["trixie"].ID, "#!/bin/sh\necho made >/etc/note\n"+servePage)
	if got := c.page(id); got != "made\n" {
		t.Fatalf("the instance says %q", got)
	}
	c.stop(id)
	image := c.bake(id)
	second := c.launch(image, "#!/bin/sh\ncp /etc/note /etc/first\necho second >>/etc/note\n"+servePage)
	if got := c.page(second); got != "made\nsecond\n" {
		t.Errorf("an instance of the image says %q", got)
	}
	before := c.everything()

	t.Run("the SDK is known", func(t *testing.T) { (&cloud{t, c.ec2}).theSDKIsKnown(up) })
	t.Run("down and up", func(t *testing.T) { (&cloud{t, c.ec2}).downAndUp(before, second) })
	t.Run("crash", func(t *testing.T) { (&cloud{t, c.ec2}).crash(before, second) })
	t.Run("poweroff from within", func(t *testing.T) {
		within := &cloud{t, c.ec2}
		within.powersItselfOff(types.ShutdownBehaviorStop, types.InstanceStateNameStopped)
		within.powersItselfOff(types.ShutdownBehaviorTerminate, types.InstanceStateNameTerminated)
	})
	_, err := c.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id, second}})
	if err != nil {
		t.Fatal(err)
	}
	c.waitFor(second, types.InstanceStateNameTerminated)
	_, err = c.ec2.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: []string{id}})
	if err == nil {
		t.Error("a terminated instance was started")
	}
}

// downAndUp checks that a stop leaves nothing on the host, and that a start brings back what there was before.
func (c *cloud) downAndUp(before []string, instance string) {
	if err := Stop(c.Context(), testCloud); err != nil {
		c.Fatal(err)
	}
	if left := leftovers(); len(left) > 0 {
		c.Errorf("left on the host:\n%s", strings.Join(left, "\n"))
	}
	if _, err := Find(testCloud); !errors.Is(err, ErrDown) {
		c.Errorf("after down: %v", err)
	}
	c.up()
	if after := c.everything(); !slices.Equal(before, after) {
		c.Errorf("before %v\nafter  %v", before, after)
	}
	c.start(instance)
}

// crash kills the daemon and checks that a start brings back what there was before.
func (c *cloud) crash(before []string, instance string) {
	running, err := Find(testCloud)
	if err != nil {
		c.Fatal(err)
	}
	if err = syscall.Kill(running.PID, syscall.SIGKILL); err != nil {
		c.Fatal(err)
	}
	if c.up().PID == running.PID {
		c.Error("it is the same process")
	}
	if after := c.everything(); !slices.Equal(before, after) {
		c.Errorf("before %v\nafter  %v", before, after)
	}
	c.start(instance)
}

// allowWeb opens the default group to the operator.
func (c *cloud) allowWeb() {
	c.Helper()
	groups, err := c.ec2.DescribeSecurityGroups(
		c.Context(),
		&ec2.DescribeSecurityGroupsInput{
			Filters: []types.Filter{{Name: aws.String("group-name"), Values: []string{"default"}}},
		},
	)
	if err != nil {
		c.Fatal(err)
	}
	_, err = c.ec2.AuthorizeSecurityGroupIngress(
		c.Context(),
		&ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: groups.SecurityGroups[0].GroupId,
			IpPermissions: []types.IpPermission{
				{
					IpProtocol: aws.String("tcp"),
					FromPort:   aws.Int32(80),
					ToPort:     aws.Int32(80),
					IpRanges:   []types.IpRange{{CidrIp: aws.String("198.51.100.1/32")}},
				},
			},
		},
	)
	if err != nil {
		c.Fatal(err)
	}
}

func (c *cloud) launch(image, userData string) string {
	c.Helper()
	out, err := c.ec2.RunInstances(
		c.Context(),
		&ec2.RunInstancesInput{
			ImageId:      &image,
			InstanceType: types.InstanceTypeT3Micro,
			MinCount:     aws.Int32(1),
			MaxCount:     aws.Int32(1),
			UserData:     aws.String(base64.StdEncoding.EncodeToString([]byte(userData))),
		},
	)
	if err != nil {
		c.Fatal(err)
	}
	c.waitFor(*out.Instances[0].InstanceId, types.InstanceStateNameRunning)
	return *out.Instances[0].InstanceId
}

func (c *cloud) describe(id string) types.Instance {
	c.Helper()
	out, err := c.ec2.DescribeInstances(c.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		c.Fatal(err)
	}
	return out.Reservations[0].Instances[0]
}

// patience is how long a machine may take for what it does in a second where nothing else runs.
const patience = 2 * time.Minute

func (c *cloud) waitFor(id string, state types.InstanceStateName) {
	c.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if c.describe(id).State.Name == state {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	i := c.describe(id)
	c.Fatalf("%s is %s (%s), want %s", id, i.State.Name, aws.ToString(i.StateTransitionReason), state)
}

func (c *cloud) stop(id string) {
	c.Helper()
	if _, err := c.ec2.StopInstances(
		c.Context(),
		&ec2.StopInstancesInput{InstanceIds: []string{id}},
	); err != nil {
		c.Fatal(err)
	}
	c.waitFor(id, types.InstanceStateNameStopped)
}

func (c *cloud) start(id string) {
	c.Helper()
	if _, err := c.ec2.StartInstances(
		c.Context(),
		&ec2.StartInstancesInput{InstanceIds: []string{id}},
	); err != nil {
		c.Fatal(err)
	}
	c.waitFor(id, types.InstanceStateNameRunning)
}

func (c *cloud) bake(id string) string {
	c.Helper()
	out, err := c.ec2.CreateImage(
		c.Context(),
		&ec2.CreateImageInput{InstanceId: &id, Name: aws.String("baked")},
	)
	if err != nil {
		c.Fatal(err)
	}
	available := ec2.NewImageAvailableWaiter(c.ec2, func(o *ec2.ImageAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = 100*time.Millisecond, time.Second
	})
	err = available.Wait(c.Context(), &ec2.DescribeImagesInput{ImageIds: []string{*out.ImageId}}, patience)
	if err != nil {
		c.Fatal(err)
	}
	return *out.ImageId
}

// page is the note that an instance serves at its public address.
func (c *cloud) page(id string) string {
	c.Helper()
	client := &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       (&net.Dialer{Timeout: time.Second}).DialContext,
		},
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		response, err := client.Get("http://" + aws.ToString(c.describe(id).PublicIpAddress) + "/note")
		if err == nil {
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil && response.StatusCode == http.StatusOK {
				return string(body)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	out, err := c.ec2.GetConsoleOutput(c.Context(), &ec2.GetConsoleOutputInput{InstanceId: &id})
	if err != nil {
		c.Fatal(err)
	}
	console, _ := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	c.Fatalf("%s serves no page; its console:\n%s", id, console)
	return ""
}

// powersItselfOff launches an instance that ends from within, as if somebody had typed poweroff.
func (c *cloud) powersItselfOff(behaviour types.ShutdownBehavior, want types.InstanceStateName) {
	c.Helper()
	out, err := c.ec2.RunInstances(
		c.Context(),
		&ec2.RunInstancesInput{
			ImageId:                           aws.String(moto.BaseImages["trixie"].ID),
			InstanceType:                      types.InstanceTypeT3Micro,
			MinCount:                          aws.Int32(1),
			MaxCount:                          aws.Int32(1),
			InstanceInitiatedShutdownBehavior: behaviour,
			UserData: aws.String(
				base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\nsystemctl --no-block poweroff\n")),
			),
		},
	)
	if err != nil {
		c.Fatal(err)
	}
	id := *out.Instances[0].InstanceId
	c.waitFor(id, want)
	if reason := c.describe(
		id,
	).StateReason; reason == nil ||
		aws.ToString(reason.Code) != "Client.InstanceInitiatedShutdown" {
		c.Errorf("the reason is %+v", reason)
	}
	if _, err := c.ec2.TerminateInstances(
		c.Context(),
		&ec2.TerminateInstancesInput{InstanceIds: []string{id}},
	); err != nil {
		c.Error(err)
	}
}

// everything is the ids of all that there is, with what must outlast a restart.
func (c *cloud) everything() []string {
	c.Helper()
	ctx := c.Context()
	var all []string
	instances, err := c.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	if err != nil {
		c.Fatal(err)
	}
	for _, reservation := range instances.Reservations {
		for _, i := range reservation.Instances {
			all = append(
				all,
				fmt.Sprint(
					*i.InstanceId,
					*i.ImageId,
					*i.PrivateIpAddress,
					*i.SubnetId,
					*i.NetworkInterfaces[0].NetworkInterfaceId,
					*i.BlockDeviceMappings[0].Ebs.VolumeId,
				),
			)
		}
	}
	images, err := c.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{})
	if err != nil {
		c.Fatal(err)
	}
	for _, i := range images.Images {
		all = append(all, fmt.Sprint(*i.ImageId, i.State, *i.BlockDeviceMappings[0].Ebs.SnapshotId))
	}
	vpcs, err := c.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
	if err != nil {
		c.Fatal(err)
	}
	for _, v := range vpcs.Vpcs {
		all = append(all, *v.VpcId)
	}
	return all
}

// leftovers are the processes, loop devices and firewall tables of the test's cloud.
func leftovers() []string {
	var left []string
	for _, probe := range [][]string{
		{"ps", "-eo", "args"},
		{"losetup", "--list", "--noheadings", "--output", "BACK-FILE"},
		{"cat", "/proc/self/mounts"},
	} {
		out, _ := exec.Command(probe[0], probe[1:]...).Output()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "goldsmith/"+testCloud+"/") {
				left = append(left, strings.TrimSpace(line))
			}
		}
	}
	return left
}
