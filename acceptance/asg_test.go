//go:build acceptance

package acceptance

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// severalName is a stack of its own, whose web tier is an Auto Scaling group.
const severalName = "several"

// writeSeveral writes its stack file, with the images of the tests' stack.
func writeSeveral(t testing.TB, path, web, deploy string) {
	t.Helper()
	text := fmt.Sprintf(`name = %q
tier "db" { ami = %q }
tier "web" {
  ami = %q
  %s
}
health_check { healthy_threshold = 2 }
deploy {
  bake_time  = "1s"
  drain_time = "1s"
  %s
}
`, severalName, *tier(t, "db").ImageId, *tier(t, "web").ImageId, web, deploy)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// members are the group's instances.
func members(t testing.TB) []types.Instance {
	t.Helper()
	out, err := api.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:aws:autoscaling:groupName"), Values: []string{"goldsmith-" + severalName + "-web"}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var all []types.Instance
	for _, reservation := range out.Reservations {
		all = append(all, reservation.Instances...)
	}
	return all
}

func idsOf(instances []types.Instance) []string {
	var ids []string
	for _, i := range instances {
		ids = append(ids, *i.InstanceId)
	}
	slices.Sort(ids)
	return ids
}

// certificatesAt are the digests of the certificates that an address shows in some connections.
func certificatesAt(t testing.TB, address string) map[string]bool {
	t.Helper()
	shown := map[string]bool{}
	for range 8 {
		// Not verified: which certificates are shown is what is asked for, and nothing is sent.
		conn, err := tls.Dial("tcp", address+":443", &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		shown[fmt.Sprintf("%x", sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw))] = true
		conn.Close()
	}
	return shown
}

// TestSeveralWebInstances deploys a web tier of several instances, replaces them while a client asks for the page,
// interrupts a second time, resizes the group, and removes everything. The local cloud's groups have real machines.
func TestSeveralWebInstances(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stack.hcl")
	with := func(args ...string) []string { return append(args, "--file", file) }
	writeSeveral(t, file, "count = 2", "min_healthy_percentage = 0")
	defer func() {
		must(t, goldsmith(), with("destroy", "--yes")...)
		assertNothingOfSeveral(t)
	}()
	if plan := must(t, goldsmith(), with("stack", "plan")...); !strings.Contains(plan, "web group of 2") || !strings.Contains(plan, "load balancer") {
		t.Errorf("the plan does not tell of the group:\n%s", plan)
	}
	var deployed struct {
		URL   string
		Group []struct{ ID string } `json:"web_group"`
	}
	out, err := exec.Command(goldsmith(), with("deploy", "--json")...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	decode(t, strings.NewReader(string(out)), &deployed)
	first := members(t)
	for _, i := range first {
		if i.IamInstanceProfile == nil || i.MetadataOptions == nil || i.MetadataOptions.HttpTokens != types.HttpTokensStateRequired || i.PublicIpAddress == nil || i.KeyName == nil {
			t.Errorf("%s lacks a profile, a key, IMDSv2 or an address: %+v", *i.InstanceId, i)
		}
	}
	address := strings.Trim(strings.TrimPrefix(deployed.URL, "https://"), "/")
	if shown := certificatesAt(t, address); len(first) != 2 || len(deployed.Group) != 2 || len(shown) != 2 {
		t.Fatalf("%d instances, %d told, and %d certificates at %s; 2 are wanted", len(first), len(deployed.Group), len(shown), address)
	}

	failed := 0
	asked := 0
	whileAsking(address, func() { must(t, goldsmith(), with("deploy", "--replace", "web")...) }, &asked, &failed)
	t.Logf("%d requests during an instance refresh", asked)
	second := members(t)
	if failed > 0 || asked == 0 {
		t.Errorf("%d of %d requests failed while the instances were replaced", failed, asked)
	}
	if len(second) != 2 || slices.ContainsFunc(idsOf(first), func(id string) bool { return slices.Contains(idsOf(second), id) }) {
		t.Errorf("%v became %v; two others are wanted", idsOf(first), idsOf(second))
	}

	cmd := exec.Command(goldsmith(), with("deploy", "--replace", "web")...)
	told, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(io.TeeReader(told, &said)); lines.Scan(); {
		if strings.Contains(lines.Text(), "instance refresh: InProgress") {
			cmd.Process.Signal(os.Interrupt)
		}
	}
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "RollbackSuccessful") {
		t.Errorf("interrupted: exit code %d\n%s", cmd.ProcessState.ExitCode(), said.String())
	}
	if after := idsOf(members(t)); !slices.Equal(after, idsOf(second)) {
		t.Errorf("after an interrupt %v serve, before it %v", after, idsOf(second))
	}

	writeSeveral(t, file, "count = 1", "")
	if out, err := output(goldsmith(), with("deploy")...); err == nil || !strings.Contains(out, "wants a single instance") {
		t.Errorf("from a group to a single instance: %v\n%s", err, out)
	}
	writeSeveral(t, file, `scaling = "asg"`, "")
	if plan := must(t, goldsmith(), with("stack", "plan")...); !strings.Contains(plan, "it has 2 instances and not 1") || !strings.Contains(plan, "1 to change, 0 to replace") {
		t.Errorf("the plan does not tell of the size alone:\n%s", plan)
	}
	must(t, goldsmith(), with("deploy")...)
	if left := idsOf(members(t)); len(left) != 1 || !slices.Contains(idsOf(second), left[0]) {
		t.Errorf("a group of one has %v; before it had %v", left, idsOf(second))
	}
	waitHealthy(t, address, 5*time.Second)

	// The way to a single instance that the error names: what is left of the group goes.
	conf, err := awsconfig.Load(context.Background(), awsconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	name := "goldsmith-" + severalName + "-web"
	if _, err := autoscaling.NewFromConfig(conf).DeleteAutoScalingGroup(context.Background(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: &name, ForceDelete: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	writeSeveral(t, file, `count = 1`, "")
	must(t, goldsmith(), with("deploy")...)
	if left := members(t); len(left) > 0 {
		t.Errorf("instances of the group: %v", idsOf(left))
	}
	waitHealthy(t, address, 5*time.Second)
}

// whileAsking has a client ask for the page, with a connection for each request, until work is done.
func whileAsking(address string, work func(), asked, failed *int) {
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		client := impatient()
		for ; ctx.Err() == nil; *asked++ {
			response, err := client.Get("https://" + address + "/health")
			if err == nil {
				response.Body.Close()
			}
			if err != nil || response.StatusCode != http.StatusOK {
				*failed++
			}
		}
	})
	defer group.Wait()
	defer stop()
	work()
}

// assertNothingOfSeveral looks for what the stack might have left.
func assertNothingOfSeveral(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	conf, err := awsconfig.Load(ctx, awsconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := autoscaling.NewFromConfig(conf).DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{})
	if err != nil || len(groups.AutoScalingGroups) > 0 {
		t.Errorf("groups: %v %v", groups, err)
	}
	balancing := elb.NewFromConfig(conf)
	balancers, err := balancing.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{})
	if err != nil || len(balancers.LoadBalancers) > 0 {
		t.Errorf("load balancers: %v %v", balancers, err)
	}
	targets, err := balancing.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{})
	if err != nil || len(targets.TargetGroups) > 0 {
		t.Errorf("target groups: %v %v", targets, err)
	}
	templates, err := api.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{})
	if err != nil || len(templates.LaunchTemplates) > 0 {
		t.Errorf("launch templates: %v %v", templates, err)
	}
	addresses, err := api.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: []types.Filter{{Name: aws.String("tag:goldsmith:stack"), Values: []string{severalName}}}})
	if err != nil || len(addresses.Addresses) > 0 {
		t.Errorf("addresses: %v %v", addresses, err)
	}
	if left := members(t); len(left) > 0 {
		t.Errorf("instances: %v", idsOf(left))
	}
}
