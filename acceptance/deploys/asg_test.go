//go:build acceptance

package deploys

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
	"regexp"
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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

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
		// Not verified: the test only looks at the certificates that are shown, and sends nothing.
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
	g := webGroup{file: filepath.Join(t.TempDir(), "stack.hcl")}
	rig.WriteSeveral(t, g.file, "count = 2", "min_healthy_percentage = 0")
	defer func() {
		g.run(t, "destroy", "--yes")
		assertNothingOfSeveral(t)
	}()
	plan := g.run(t, "stack", "plan")
	if !strings.Contains(plan, "web group of 2") || !strings.Contains(plan, "load balancer") {
		t.Errorf("the plan does not tell of the group:\n%s", plan)
	}
	// Each needs what the one before it has left.
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"deploy", g.deploy},
		{"replace", g.replaceWhileAsked},
		{"the database is replaced", g.replaceDatabase},
		{"interrupt", g.interrupt},
		{"resize", g.resize},
		{"to a single instance", g.toSingle},
		{"to a group", g.toGroup},
	} {
		if !t.Run(part.name, part.run) {
			return
		}
	}
}

// webGroup is the web tier of a stack with several instances of it.
type webGroup struct {
	file    string
	address string
	serving []string // ids, in order
}

func (g *webGroup) args(args ...string) []string { return append(args, "--file", g.file) }

func (g *webGroup) run(t *testing.T, args ...string) string {
	t.Helper()
	return rig.Must(t, rig.Goldsmith(), g.args(args...)...)
}

func (g *webGroup) deploy(t *testing.T) {
	var deployed struct {
		URL   string
		Group []struct{ ID string } `json:"web_group"`
	}
	began := time.Now()
	out, err := exec.Command(rig.Goldsmith(), g.args("deploy", "--json")...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	rig.AssertCalls(t, began, "deploy", "`deploy` of first instances, a group")
	rig.Decode(t, strings.NewReader(string(out)), &deployed)
	members := rig.Members(t)
	for _, i := range members {
		if i.IamInstanceProfile == nil || i.MetadataOptions == nil ||
			i.MetadataOptions.HttpTokens != types.HttpTokensStateRequired ||
			i.PublicIpAddress == nil ||
			i.KeyName == nil {
			t.Errorf("%s lacks a profile, a key, IMDSv2 or an address: %+v", *i.InstanceId, i)
		}
	}
	g.serving = idsOf(members)
	g.address = strings.Trim(strings.TrimPrefix(deployed.URL, "https://"), "/")
	shown := certificatesAt(t, g.address)
	if len(members) != 2 || len(deployed.Group) != 2 || len(shown) != 2 {
		t.Fatalf("%d instances, %d told, and %d certificates at %s; 2 are wanted",
			len(members), len(deployed.Group), len(shown), g.address)
	}
}

func (g *webGroup) replaceWhileAsked(t *testing.T) {
	failed, asked, began := 0, 0, time.Now()
	whileAsking(g.address, func() { g.run(t, "deploy", "--replace", "web") }, &asked, &failed)
	rig.AssertCalls(t, began, "deploy", "`deploy` that refreshes a group")
	t.Logf("%d requests during an instance refresh", asked)
	if failed > 0 || asked == 0 {
		t.Errorf("%d of %d requests failed while the instances were replaced", failed, asked)
	}
	first, second := g.serving, idsOf(rig.Members(t))
	if len(second) != 2 || slices.ContainsFunc(first, func(id string) bool { return slices.Contains(second, id) }) {
		t.Errorf("%v became %v; two others are wanted", first, second)
	}
	g.serving = second
}

// replaceDatabase: while the data tier moves, Auto Scaling replaces nothing for want of an answer from it.
func (g *webGroup) replaceDatabase(t *testing.T) {
	g.run(t, "deploy", "--replace", "db")
	if after := idsOf(rig.Members(t)); !slices.Equal(after, g.serving) {
		t.Errorf("after another database %v serve, before it %v", after, g.serving)
	}
	rig.WaitHealthy(t, g.address, time.Minute)
}

func (g *webGroup) interrupt(t *testing.T) {
	cmd := exec.Command(rig.Goldsmith(), g.args("deploy", "--replace", "web")...)
	told, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(io.TeeReader(told, &said)); lines.Scan(); {
		if strings.Contains(lines.Text(), "instance refresh: InProgress") {
			signalTo(t, cmd.Process, os.Interrupt)
		}
	}
	_ = cmd.Wait() // its exit code is looked at
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "RollbackSuccessful") {
		t.Errorf("interrupted: exit code %d\n%s", cmd.ProcessState.ExitCode(), rig.End(t, said.String()))
	}
	if after := idsOf(rig.Members(t)); !slices.Equal(after, g.serving) {
		t.Errorf("after an interrupt %v serve, before it %v", after, g.serving)
	}
}

func (g *webGroup) resize(t *testing.T) {
	rig.WriteSeveral(t, g.file, "count = 1", "")
	out, err := rig.Output(rig.Goldsmith(), g.args("deploy")...)
	if err == nil || !strings.Contains(out, "wants a single instance") {
		t.Errorf("from a group to a single instance: %v\n%s", err, rig.End(t, out))
	}
	rig.WriteSeveral(t, g.file, `scaling = "asg"`, "")
	plan := g.run(t, "stack", "plan")
	if !strings.Contains(plan, "it has 2 instances and not 1") ||
		!strings.Contains(plan, "1 to change, 0 to replace") {
		t.Errorf("the plan does not tell of the size alone:\n%s", plan)
	}
	g.run(t, "deploy")
	if left := idsOf(rig.Members(t)); len(left) != 1 || !slices.Contains(g.serving, left[0]) {
		t.Errorf("a group of one has %v; before it had %v", left, g.serving)
	}
	rig.WaitHealthy(t, g.address, time.Minute)
}

// toSingle goes the way to a single instance that the error names: what is left of the group goes.
func (g *webGroup) toSingle(t *testing.T) {
	conf, err := awsconfig.Load(context.Background(), awsconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	name := "goldsmith-" + rig.SeveralName + "-web"
	_, err = autoscaling.NewFromConfig(conf).DeleteAutoScalingGroup(context.Background(),
		&autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: &name, ForceDelete: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	rig.WriteSeveral(t, g.file, `count = 1`, "")
	g.run(t, "deploy")
	if left := rig.Members(t); len(left) > 0 {
		t.Errorf("instances of the group: %v", idsOf(left))
	}
	rig.WaitHealthy(t, g.address, time.Minute)
}

// toGroup goes the way back that the error names, and leaves a stack with a group to be removed.
func (g *webGroup) toGroup(t *testing.T) {
	rig.WriteSeveral(t, g.file, `scaling = "asg"`, "")
	out, err := rig.Output(rig.Goldsmith(), g.args("deploy")...)
	way := regexp.MustCompile(`aws ec2 terminate-instances --instance-ids \S+`).FindString(out)
	if err == nil || way == "" {
		t.Fatalf("from a single instance to a group: %v\n%s", err, rig.End(t, out))
	}
	argv := strings.Fields(strings.TrimSuffix(way, ","))
	rig.Must(t, argv[0], argv[1:]...)
	g.run(t, "deploy")
	if members := rig.Members(t); len(members) != 1 {
		t.Errorf("a group of one has %v", idsOf(members))
	}
}

// whileAsking has a client ask for the page, with a connection for each request, until work is done.
func whileAsking(address string, work func(), asked, failed *int) {
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		client := rig.Impatient()
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
	groups, err := autoscaling.NewFromConfig(conf).
		DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{})
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
	templates, err := rig.API.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{})
	if err != nil || len(templates.LaunchTemplates) > 0 {
		t.Errorf("launch templates: %v %v", templates, err)
	}
	addresses, err := rig.API.DescribeAddresses(
		ctx,
		&ec2.DescribeAddressesInput{
			Filters: []types.Filter{{Name: aws.String("tag:goldsmith:stack"), Values: []string{rig.SeveralName}}},
		},
	)
	if err != nil || len(addresses.Addresses) > 0 {
		t.Errorf("addresses: %v %v", addresses, err)
	}
	if left := rig.Members(t); len(left) > 0 {
		t.Errorf("instances: %v", idsOf(left))
	}
}
