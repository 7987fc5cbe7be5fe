//go:build acceptance

package deploys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// request is one that failed: when it began and when that was known.
type request struct {
	began, ended time.Time
	fault        string
}

func TestNoRequestFailsWhileTheWebTierIsReplaced(t *testing.T) {
	const wanted, clients = 2000, 4
	before := rig.Tier(t, "web")
	address := aws.ToString(before.PublicIpAddress)
	var asked atomic.Int64
	var mu sync.Mutex
	var failed []request
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			client := rig.Impatient()
			for ctx.Err() == nil || asked.Load() < wanted {
				began := time.Now()
				response, err := client.Get("https://" + address + "/users?limit=1")
				asked.Add(1)
				if err == nil {
					response.Body.Close()
				}
				if err != nil || response.StatusCode != http.StatusOK {
					mu.Lock()
					failed = append(failed, request{began, time.Now(), fmt.Sprint(err, response)})
					mu.Unlock()
				}
			}
		})
	}
	out, err := rig.Output(rig.Goldsmith(), rig.DeployArgs("--replace", "web")...)
	stop()
	group.Wait()
	if err != nil {
		t.Fatalf("%v:\n%s", err, rig.End(t, out))
	}
	// Who has a connection to the old instance when the address moves may lose it, as on EC2; who connects does not.
	from, to := stepOfLastDeployment(t, "move the web address")
	cut := 0
	for _, r := range failed {
		if r.began.After(to) || r.ended.Before(from) {
			t.Errorf("a request failed that did not meet the swap: %s", r.fault)
			continue
		}
		cut++
	}
	t.Logf("%d requests, %d of them cut at the swap", asked.Load(), cut)
	if cut > clients {
		t.Errorf("%d requests were cut, and no more than %d were open", cut, clients)
	}
	after := rig.Tier(t, "web")
	if *after.InstanceId == *before.InstanceId || aws.ToString(after.PublicIpAddress) != address {
		t.Errorf("%s at %s became %s at %s; another instance at the same address is wanted", *before.InstanceId,
			address, *after.InstanceId, aws.ToString(after.PublicIpAddress))
	}
}

// stepOfLastDeployment is when a step began and ended.
func stepOfLastDeployment(t *testing.T, name string) (from, to time.Time) {
	t.Helper()
	var records []struct {
		Started time.Time
		Steps   []struct {
			Name     string
			At, Took int64
		}
	}
	rig.Decode(
		t,
		strings.NewReader(rig.Must(t, rig.Goldsmith(), "history", "--stack", rig.StackName, "--json")),
		&records,
	)
	for _, step := range records[0].Steps {
		if step.Name == name {
			from = records[0].Started.Add(time.Duration(step.At) * time.Millisecond)
			return from, from.Add(time.Duration(step.Took+1) * time.Millisecond)
		}
	}
	t.Fatalf("the last deployment has no step %q: %+v", name, records[0])
	return from, to
}

// writer adds numbered users as fast as one client may, until it is stopped, and knows which were acknowledged.
type writer struct {
	prefix  string
	enough  int // rows; 0 for as many as there is time for
	acked   []string
	longest time.Duration
}

func (w *writer) run(ctx context.Context, address string) {
	client := rig.Impatient()
	good := time.Now()
	for n := 0; ctx.Err() == nil && (w.enough == 0 || len(w.acked) < w.enough); n++ {
		name := w.prefix + strconv.Itoa(n)
		response, err := client.Post(
			"https://"+address+"/users",
			"application/json",
			strings.NewReader(fmt.Sprintf(`{"username":%q,"email":"%s@example.com"}`, name, name)),
		)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusCreated {
				w.acked = append(w.acked, name)
				w.longest, good = max(w.longest, time.Since(good)), time.Now()
			}
		}
		time.Sleep(110 * time.Millisecond) // a client may write ten times a second
	}
}

// assertAcknowledged looks for every row that was acknowledged.
func assertAcknowledged(t *testing.T, w *writer) {
	t.Helper()
	there := map[string]bool{}
	for _, name := range strings.Fields(
		rig.MustOnInstance(t, "db",
			fmt.Sprintf(
				`sudo mysql --batch --skip-column-names --execute "SELECT username FROM app.users WHERE username `+
					`LIKE '%s%%'"`,
				w.prefix,
			)),
	) {
		there[name] = true
	}
	// Other tests look at the first page.
	rig.MustOnInstance(
		t,
		"db",
		fmt.Sprintf(`sudo mysql --execute "DELETE FROM app.users WHERE username LIKE '%s%%'"`, w.prefix),
	)
	lost := 0
	for _, name := range w.acked {
		if !there[name] {
			lost++
		}
	}
	t.Logf("%d writes acknowledged, none for at most %s", len(w.acked), w.longest.Round(time.Millisecond))
	if len(w.acked) == 0 || lost > 0 {
		t.Errorf("%d of %d acknowledged rows are lost", lost, len(w.acked))
	}
}

func TestNoWriteIsLostWhileTheDatabaseIsReplaced(t *testing.T) {
	before, address := rig.Tier(t, "db"), aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	w := &writer{prefix: fmt.Sprintf("w%d-", time.Now().Unix()%1e6)}
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	clients.Go(func() { w.run(ctx, address) })
	out, err := rig.Output(rig.Goldsmith(), rig.DeployArgs("--replace", "db")...)
	time.Sleep(2 * time.Second)
	stop()
	clients.Wait()
	if err != nil {
		t.Fatalf("%v:\n%s", err, rig.End(t, out))
	}
	after := *rig.Tier(t, "db").InstanceId
	if after == *before.InstanceId {
		t.Error("the database was not replaced")
	}
	assertAcknowledged(t, w)
	rig.AssertServes(t)
	assertReport(t, out, *before.InstanceId, "Writes were interrupted for",
		"the data volume "+dataVolume(t)+" to "+after, "the db tier's address 10.0.2.10 to "+after)
}

// dataVolume is the id of the volume with the stack's data.
func dataVolume(t *testing.T) string {
	t.Helper()
	volumes, err := rig.API.DescribeVolumes(context.Background(), &ec2.DescribeVolumesInput{Filters: []types.Filter{
		{
			Name:   aws.String("tag:goldsmith:stack"),
			Values: []string{rig.StackName},
		},
		{Name: aws.String("tag:goldsmith:data"), Values: []string{"db"}},
	}})
	if err != nil || len(volumes.Volumes) != 1 {
		t.Fatal(err, volumes)
	}
	return *volumes.Volumes[0].VolumeId
}

// TestDeployGoesBack has deployments fail at different places: what served before serves, with what was written in the
// meantime, and nothing is left of the new instances.
func TestDeployGoesBack(t *testing.T) {
	broken := "" // an image of the cases that are in the whole matrix only
	if !rig.Sampled() {
		broken = bakedWith(
			t,
			rig.Proving("web", ""),
			rig.WebProvisioners(rig.Command("rm /usr/local/lib/goldsmith/webapp")),
		)
	}
	// It is well until some time after it got the stack's address.
	late := bakedWith(t, rig.Proving("web", ""), rig.WebProvisioners(fmt.Sprintf(`
provisioner "goldsmith-systemd" {
  unit {
    name    = "late.service"
    enabled = true
    content = <<-EOT
      [Unit]
      After=goldsmith-ready.service
      [Service]
      ExecStart=/bin/sh -c '\
        imds() { path=$$1; shift; curl --silent "$$@" "http://169.254.169.254/latest/$$path"; }; \
        token=$$(imds api/token --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 3600"); \
        address() { imds meta-data/public-ipv4 --header "X-aws-ec2-metadata-token: $$token"; }; \
        until [ "$$(address)" = %s ]; do sleep 0.2; done; \
        sleep 5; systemctl stop goldsmith-webapp nginx'
      [Install]
      WantedBy=multi-user.target
    EOT
  }
}`, aws.ToString(rig.Tier(t, "web").PublicIpAddress))))
	mute := bakedWith(
		t,
		fmt.Sprintf("source_ami = %q", rig.CurrentRelease(t).DB),
		rig.Command(`printf '[mysqld]\nno_such_option = 1\n' >/etc/mysql/mariadb.conf.d/zz-mute.cnf`),
	)
	for _, c := range []struct {
		name, want string
		args       []string
		more       bool // of a kind that another case shows too
	}{
		{
			"a web image that never gets healthy", "it waits for",
			[]string{"--web-ami", broken, "--timeout", "25s"}, true,
		},
		{
			"a web image that is healthy and then is not", "was healthy and then was not",
			[]string{"--web-ami", late, "--bake-time", "2m"}, true,
		},
		{"a db image whose server does not start", "not ready", []string{"--db-ami", mute}, false},
		{
			"both tiers, and the web image is bad", "was healthy and then was not",
			[]string{"--web-ami", late, "--bake-time", "2m", "--replace", "db"}, false,
		},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			db, web := rig.Tier(t, "db"), rig.Tier(t, "web")
			before := withoutSnapshots(rig.Inventory(t))
			w := &writer{prefix: fmt.Sprintf("b%d-", time.Now().Unix()%1e6)}
			ctx, stop := context.WithCancel(context.Background())
			var clients sync.WaitGroup
			clients.Go(func() { w.run(ctx, aws.ToString(web.PublicIpAddress)) })
			out, err := rig.Output(rig.Goldsmith(), rig.DeployArgs(c.args...)...)
			stop()
			clients.Wait()
			if err == nil || !strings.Contains(out, c.want) || !strings.Contains(out, "going back") {
				t.Errorf("%v; the output should say %q:\n%s", err, c.want, rig.End(t, out))
			}
			if now := rig.Tier(t, "db"); *now.InstanceId != *db.InstanceId {
				t.Errorf("the database is %s, it was %s", *now.InstanceId, *db.InstanceId)
			}
			if now := rig.Tier(t, "web"); *now.InstanceId != *web.InstanceId {
				t.Errorf("the web instance is %s, it was %s", *now.InstanceId, *web.InstanceId)
			}
			rig.AssertServes(t)
			assertAcknowledged(t, w)
			assertSame(t, before)
			if slices.Contains(c.args, "db") { // both had moved, and came back
				assertReport(t, out, "was healthy and then was not",
					"the data volume "+dataVolume(t)+" to "+*db.InstanceId,
					"the db tier's address 10.0.2.10 to "+*db.InstanceId,
					"the web tier's address "+aws.ToString(web.PublicIpAddress)+" to "+*web.InstanceId)
			} else if !strings.Contains(out, "\nreport: ") {
				t.Errorf("it left no report:\n%s", rig.End(t, out))
			}
		})
	}
}

// bakedWith bakes an image that is not proved, and removes it at the end.
func bakedWith(t *testing.T, source, provisioners string) string {
	t.Helper()
	source, _, _ = strings.Cut(source, "prove {")
	name := fmt.Sprintf("t-redeploy-%d", time.Now().UnixNano())
	out, err := rig.Bake{Name: name, Source: source, Provisioners: provisioners}.Run(t)
	if err != nil {
		t.Fatalf("%v:\n%s", err, rig.End(t, out))
	}
	image := rig.ImageNamed(t, name)
	rig.DeregisterAtEnd(t, image)
	return *image.ImageId
}

// withoutSnapshots leaves out what a deployment of the database keeps on purpose.
func withoutSnapshots(all []string) []string {
	var rest []string
	for _, thing := range all {
		if !strings.Contains(thing, "snap-") {
			rest = append(rest, thing)
		}
	}
	return rest
}

func assertSame(t *testing.T, before []string) {
	t.Helper()
	var after []string
	for range 120 {
		if after = withoutSnapshots(rig.Inventory(t)); strings.Join(after, "\n") == strings.Join(before, "\n") {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
}

// TestKilledDeploy kills a deployment of both tiers with kill -9 after each of its steps. The next deployment, or a
// rollback, brings the stack to a working state, whatever it finds.
func TestKilledDeploy(t *testing.T) {
	w := &writer{prefix: fmt.Sprintf("k%d-", time.Now().Unix()%1e6)}
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	clients.Go(func() { w.run(ctx, aws.ToString(rig.Tier(t, "web").PublicIpAddress)) })
	stride := 1
	if rig.Sampled() {
		stride = 5
	}
	for n := 1; ; n += stride {
		last := killAfter(t, n)
		if last == "" {
			if n < 10 {
				t.Errorf("the deployment had %d steps only", n-1)
			}
			break
		}
		args := rig.DeployArgs()
		if n%2 == 0 {
			args = rollbackArgs(t)
		}
		if out, err := rig.Output(rig.Goldsmith(), args...); err != nil {
			t.Fatalf("killed after step %d (%s), %s: %v\n%s", n, last, args[0], err, rig.End(t, out))
		}
		rig.AssertServes(t)
		if all := stackInstances(t); len(all) != 2 {
			t.Errorf("killed after step %d (%s): %d instances run", n, last, len(all))
		}
	}
	stop()
	clients.Wait()
	assertAcknowledged(t, w)
}

// killAfter runs a deployment and kills it after so many steps; it returns the last one, or nothing if it had no more.
func killAfter(t *testing.T, steps int) string {
	t.Helper()
	timings := filepath.Join(t.TempDir(), "steps")
	cmd := exec.Command(rig.Goldsmith(), rig.DeployArgs("--replace", "all", "--timings", timings)...)
	cmd.Dir = rig.Repository
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		text, _ := os.ReadFile(timings)
		if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); len(text) > 0 && len(lines) >= steps {
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
			err := <-ended
			t.Logf("killed after %d steps: %v", len(lines), err)
			return lines[len(lines)-1]
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v:\n%s", err, out.String())
			}
			return ""
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// rollbackArgs are those of a rollback to the youngest good deployment that watches and drains as briefly as it can.
func rollbackArgs(t *testing.T, more ...string) []string {
	return append([]string{
		"rollback",
		"--stack", rig.StackName,
		"--to", doneDeployment(t),
		"--bake-time", "1s",
		"--drain-time", "0s",
	}, more...)
}

// doneDeployment is the id of the youngest deployment that was good.
func doneDeployment(t *testing.T) string {
	t.Helper()
	var records []struct{ ID, Result string }
	rig.Decode(
		t,
		strings.NewReader(rig.Must(t, rig.Goldsmith(), "history", "--stack", rig.StackName, "--json")),
		&records,
	)
	for _, r := range records {
		if r.Result == "done" {
			return r.ID
		}
	}
	t.Fatal("no deployment was good")
	return ""
}

func stackInstances(t *testing.T) []string {
	t.Helper()
	out, err := rig.API.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{
			Name:   aws.String("tag:goldsmith:stack"),
			Values: []string{rig.StackName},
		},
		{Name: aws.String("tag-key"), Values: []string{"goldsmith:tier"}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			ids = append(ids, *i.InstanceId)
		}
	}
	return ids
}

func signalTo(t *testing.T, p *os.Process, signal os.Signal) {
	t.Helper()
	if err := p.Signal(signal); err != nil {
		t.Errorf("send %s to process %d: %v", signal, p.Pid, err)
	}
}

// TestTwoDeploysAtOnce tries a second deployment while the first stands still in the middle.
func TestTwoDeploysAtOnce(t *testing.T) {
	var second string
	var refused error
	out, err := rig.RunUntil(t, regexp.MustCompile(`launched web `), func(first *os.Process) {
		signalTo(t, first, syscall.SIGSTOP)
		defer signalTo(t, first, syscall.SIGCONT)
		second, refused = rig.Output(rig.Goldsmith(), rig.DeployArgs("--replace", "web")...)
	}, rig.DeployArgs("--replace", "web")...)
	if refused == nil || !strings.Contains(second, "another deployment is under way: by ") ||
		!strings.Contains(second, " since ") {
		t.Errorf("%v:\n%s", refused, second)
	}
	if err != nil {
		t.Errorf("%v:\n%s", err, rig.End(t, out))
	}
	rig.AssertServes(t)
}

func TestInterruptedDeploy(t *testing.T) {
	web := rig.Tier(t, "web")
	// A closed terminal, after all has moved; the web tier's group is interrupted by ctrl-C.
	out, err := rig.RunUntil(t, regexp.MustCompile(`watching for 10m`),
		func(p *os.Process) { signalTo(t, p, syscall.SIGHUP) },
		rig.DeployArgs("--replace", "all", "--bake-time", "10m", "--timeout", "20m")...)
	if err == nil || !strings.Contains(out, "going back") {
		t.Errorf("%v:\n%s", err, rig.End(t, out))
	}
	if now := rig.Tier(t, "web"); *now.InstanceId != *web.InstanceId {
		t.Errorf("%s serves, and %s did", *now.InstanceId, *web.InstanceId)
	}
	rig.AssertServes(t)
}

// TestOlderServerIsRefused has data that a newer server wrote: nothing is stopped for an image that could not open it.
func TestOlderServerIsRefused(t *testing.T) {
	rig.Must(t, rig.Goldsmith(), rig.DeployArgs("--replace", "db")...) // which leaves a snapshot to go back to
	volumes, err := rig.API.DescribeVolumes(context.Background(), &ec2.DescribeVolumesInput{Filters: []types.Filter{
		{
			Name:   aws.String("tag:goldsmith:stack"),
			Values: []string{rig.StackName},
		},
		{Name: aws.String("tag:goldsmith:data"), Values: []string{"db"}},
	}})
	if err != nil || len(volumes.Volumes) != 1 {
		t.Fatal(err, volumes)
	}
	server := ""
	for _, tag := range volumes.Volumes[0].Tags {
		if *tag.Key == "goldsmith:server" {
			server = *tag.Value
		}
	}
	if !strings.HasPrefix(server, "mariadb ") {
		t.Fatalf("the data volume's server is %q", server)
	}
	note := func(value string) {
		rig.Must(t, "aws", "ec2", "create-tags", "--resources", *volumes.Volumes[0].VolumeId, "--tags",
			"Key=goldsmith:server,Value="+value)
	}
	note("mariadb 99.1.2")
	t.Cleanup(func() { note(server) })
	started := rig.MustOnInstance(t, "db", "systemctl show -P ActiveEnterTimestampMonotonic mysql")
	before := rig.Inventory(t)
	out, err := rig.Output(rig.Goldsmith(), rig.DeployArgs("--replace", "db")...)
	if err == nil || !strings.Contains(out, "the data is of mariadb 99.1.2, and "+server+" is older") ||
		!strings.Contains(out, " --snapshot snap-") {
		t.Errorf("%v:\n%s", err, rig.End(t, out))
	}
	if now := rig.MustOnInstance(t, "db", "systemctl show -P ActiveEnterTimestampMonotonic mysql"); now != started {
		t.Error("the database was stopped all the same")
	}
	rig.AssertNothingLeft(t, before)
}

// TestTerminatedByHand ends instances that serve: the next deployment launches others, with the same address and data.
func TestTerminatedByHand(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	w := &writer{prefix: fmt.Sprintf("h%d-", time.Now().Unix()%1e6), enough: 10}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	w.run(ctx, address)
	stop()
	for _, name := range []string{"web", "db"} {
		rig.Terminate(t, *rig.Tier(t, name).InstanceId)
		rig.Must(t, rig.Goldsmith(), rig.DeployArgs()...)
	}
	if now := aws.ToString(rig.Tier(t, "web").PublicIpAddress); now != address {
		t.Errorf("the page is at %s, it was at %s", now, address)
	}
	rig.AssertServes(t)
	assertAcknowledged(t, w)
}
