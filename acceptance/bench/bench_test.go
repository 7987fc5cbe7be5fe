//go:build acceptance

package bench

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
)

// BenchmarkBakeBothImages bakes, seals and proves db and web at the same time, with packages cached.
func BenchmarkBakeBothImages(b *testing.B) {
	rig.KeepRelease(b)
	for b.Loop() {
		rig.Must(b, rig.Packer(b), "build", "-var", "stack="+rig.StackName, "-var", "ami_prefix=bench", "-var",
			"force=true", ".")
		b.StopTimer()
		for _, tier := range []string{"db", "web"} {
			rig.DeregisterNow(b, rig.ImageNamed(b, "bench-"+tier+"-*"))
		}
		b.StartTimer()
	}
}

// BenchmarkBuildUnchanged runs the build of both images again.
func BenchmarkBuildUnchanged(b *testing.B) {
	for b.Loop() {
		rig.Must(b, rig.Packer(b), "build", "-var", "stack="+rig.StackName, "-var", "ami_prefix="+rig.StackName, ".")
	}
}

// BenchmarkLaunchToHTTPS launches both tiers anew and ends when the page answers from outside.
func BenchmarkLaunchToHTTPS(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		rig.Must(b, rig.Goldsmith(), "destroy", "--stack", rig.StackName, "--yes")
		rig.Must(b, rig.Goldsmith(), "network", "up", "--stack", rig.StackName)
		b.StartTimer()
		rig.Must(b, rig.Goldsmith(), "deploy", "--stack", rig.StackName)
	}
}

// BenchmarkRedeploy replaces each tier in turn, without watching or draining, and tells for how long nobody could
// write.
func BenchmarkRedeploy(b *testing.B) {
	for _, tier := range []string{"web", "db"} {
		b.Run(tier, func(b *testing.B) {
			var interrupted []float64
			for b.Loop() {
				out, err := exec.Command(rig.Goldsmith(), "deploy", "--stack", rig.StackName, "--replace", tier,
					"--bake-time", "0s", "--drain-time", "0s", "--json").
					Output()
				if err != nil {
					b.Fatal(err)
				}
				var deployed struct {
					Interruption float64 `json:"interruption_ms"`
				}
				rig.Decode(b, bytes.NewReader(out), &deployed)
				interrupted = append(interrupted, deployed.Interruption)
			}
			b.ReportMetric(median(interrupted), "interruption-ms")
		})
	}
}

// BenchmarkCloudUp starts the local cloud from its cached state.
func BenchmarkCloudUp(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		rig.Must(b, rig.Goldsmith(), "cloud", "down")
		b.StartTimer()
		rig.Must(b, rig.Goldsmith(), "cloud", "up")
	}
	b.StopTimer()
	rig.Must(b, rig.Goldsmith(), "deploy", "--stack", rig.StackName)
}

// BenchmarkLaunchToReady launches both tiers, from the call of RunInstances until /health answers 200 from outside: in
// turn from the baked images, and from a plain Debian whose user-data makes the same two machines at boot: the same
// packages, the same configuration, and the same secrets by the same role. That one has it easier than in earnest:
// packages come from a cache on this machine, and the application is in its image already.
func BenchmarkLaunchToReady(b *testing.B) {
	const wanted = 10.0
	web, db := rig.Tier(b, "web"), rig.Tier(b, "db")
	plain := *rig.BaseImage(b, "debian-13-amd64-*")
	out, err := rig.Bake{
		Provisioners: fmt.Sprintf(
			"provisioner \"goldsmith-tasks\" {\ntask {\nname = \"application\"\nfile {\n"+
				"path = \"/usr/local/bin/webapp\"\nsource = %q\nmode = \"0755\"\n}\n}\n}",
			filepath.Join(rig.Repository, ".build", "webapp-linux-amd64"),
		),
	}.Run(b)
	if err != nil {
		b.Fatalf("bake the plain image with the application: %v\n%s", err, rig.End(b, out))
	}
	layer := rig.ImageNamed(b, "t-*")
	rig.DeregisterAtEnd(b, layer)
	const address = "10.0.2.60"
	baked := func(s instance.Settings) []byte {
		s.Stack, s.Parameters = rig.StackName, "/goldsmith/"+rig.StackName
		userData, err := s.UserData("")
		if err != nil {
			b.Fatal(err)
		}
		return userData
	}
	ways := []struct {
		name string
		pair []launched
		took []float64 // seconds
	}{
		{name: "baked", pair: []launched{
			{
				like:    db,
				image:   *db.ImageId,
				address: address,
				userData: baked(
					instance.Settings{Tier: "db", Kind: instance.KindData, Clients: []string{"10.0.1.0/24"}},
				),
			},
			{
				like:  web,
				image: *web.ImageId,
				userData: baked(
					instance.Settings{
						Tier:  "web",
						Kind:  instance.KindService,
						Needs: []instance.TierAddress{{Tier: "db", Address: address}},
					},
				),
			},
		}},
		{name: "user-data", pair: []launched{
			{like: db, image: plain, address: address, userData: userData(b, "db", address)},
			{like: web, image: *layer.ImageId, userData: userData(b, "web", address)}}},
	}
	for b.Loop() {
		for i := range ways {
			ways[i].took = append(ways[i].took, launchPair(b, ways[i].name, ways[i].pair).Seconds())
		}
	}
	for _, way := range ways {
		b.ReportMetric(median(way.took), way.name+"-s")
		b.Logf("%-10s %6.1f s  %.1f", way.name, median(way.took), way.took)
	}
	ratio := median(ways[1].took) / median(ways[0].took)
	b.ReportMetric(ratio, "times-faster")
	b.ReportMetric(0, "ns/op")
	if ratio < wanted {
		b.Errorf(
			"the baked images are ready %.1f times faster than machines set up at boot, %.0f times are wanted",
			ratio,
			wanted,
		)
	}
}

// userData is the script that makes a machine of a tier, with the files that the images have. It is compressed: EC2
// takes 16 KB.
func userData(b *testing.B, tier, address string) []byte {
	b.Helper()
	rendered := func(name string) string {
		text, err := render.File(filepath.Join(rig.Repository, "files", name), map[string]any{
			"flavor":                  "mariadb",
			"bind_address":            address,
			"port":                    3306,
			"files":                   "/var/lib/mysql-files",
			"log":                     "/var/log/mysql/error.log",
			"program":                 "/usr/local/bin/webapp",
			"user":                    "goldsmith-webapp",
			"address":                 "127.0.0.1:5000",
			"upstream":                "127.0.0.1:5000",
			"server_name":             "_",
			"tls":                     "intermediate",
			"certificate":             "/run/goldsmith/tls/web.crt",
			"certificate_key":         "/run/goldsmith/tls/web.key",
			"connections_per_address": 100,
			"writes_per_second":       10,
			"curves":                  "X25519MLKEM768:X25519:prime256v1:secp384r1",
			"http2_directive":         true,
			"allow_tcp_forwarding":    tier == "web",
			"ipv6":                    false,
			"facts":                   render.Facts(render.SampleFacts()),
		})
		if err != nil {
			b.Fatal(err)
		}
		return string(text)
	}
	plain := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			b.Fatal(err)
		}
		return string(text)
	}
	values := []string{
		"@PARAMETERS@",
		"/goldsmith/" + rig.StackName,
		"@ADDRESS@",
		address,
		"@SYSCTL@",
		rendered("linux/sysctl.conf.tmpl"),
		"@SSHD@",
		rendered("ssh/sshd.conf.tmpl"),
	}
	if tier == "db" {
		values = append(values, "@PACKAGES@", "mariadb-server", "@SERVER@", rendered("mysql/goldsmith.cnf.tmpl"),
			"@UNIT@", rendered("mysql/hardening.conf.tmpl"), "@SEED@",
			plain(rig.Repository, "files", "mysql", "seed.sql"))
	} else {
		values = append(values, "@PACKAGES@", "nginx", "@UNIT@", rendered("systemd/goldsmith-webapp.service.tmpl"),
			"@SERVER@", rendered("nginx/nginx.conf.tmpl"), "@SITE@", rendered("nginx/site.conf.tmpl"), "@NGINX@",
			plain(rig.Repository, "provisioners", "nginx", "hardening.conf"))
	}
	script := strings.NewReplacer(values...).
		Replace(plain("testdata", "userdata", "common.sh") + plain("testdata", "userdata", tier+".sh"))
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write([]byte(script)); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return compressed.Bytes()
}

// launched is an instance to launch: in the subnet, the group and the role of one that there is.
type launched struct {
	like           types.Instance
	image, address string // address is the private one; empty for any
	userData       []byte
}

// launch runs the instance under a name and returns its id and its public address, if it has one.
func (l launched) launch(t testing.TB, name string) (id, public string) {
	t.Helper()
	eni := types.InstanceNetworkInterfaceSpecification{
		DeviceIndex:         aws.Int32(0),
		DeleteOnTermination: aws.Bool(true),
		SubnetId:            l.like.SubnetId,
		Groups: []string{
			*l.like.SecurityGroups[0].GroupId,
		},
		AssociatePublicIpAddress: aws.Bool(l.like.PublicIpAddress != nil),
	}
	if l.address != "" {
		eni.PrivateIpAddress = &l.address
	}
	out, err := rig.API.RunInstances(context.Background(), &ec2.RunInstancesInput{
		ImageId:            &l.image,
		InstanceType:       l.like.InstanceType,
		MinCount:           aws.Int32(1),
		MaxCount:           aws.Int32(1),
		KeyName:            l.like.KeyName,
		NetworkInterfaces:  []types.InstanceNetworkInterfaceSpecification{eni},
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Arn: l.like.IamInstanceProfile.Arn},
		UserData:           aws.String(base64.StdEncoding.EncodeToString(l.userData)),
		TagSpecifications: []types.TagSpecification{
			{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: &name}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	id = *out.Instances[0].InstanceId
	for range 100 {
		described, err := rig.API.DescribeInstances(
			context.Background(),
			&ec2.DescribeInstancesInput{InstanceIds: []string{id}},
		)
		if err != nil {
			t.Fatal(err)
		}
		if i := described.Reservations[0].Instances[0]; i.PublicIpAddress != nil || l.like.PublicIpAddress == nil {
			return id, aws.ToString(i.PublicIpAddress)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s has no public address", id)
	return "", ""
}

// launchPair launches instances, the last of which is the web tier's, and returns how long it took until that one was
// healthy. Then it ends them.
func launchPair(b *testing.B, name string, pair []launched) time.Duration {
	b.Helper()
	var ids []string
	var public string
	started := time.Now()
	for i, each := range pair {
		var id string
		id, public = each.launch(b, fmt.Sprintf("%s-%d", name, i))
		ids = append(ids, id)
	}
	defer rig.Terminate(b, ids...)
	defer func() {
		if b.Failed() {
			for i := range pair {
				out, err := rig.OnInstance(
					b,
					fmt.Sprintf("%s-%d", name, i),
					"sudo grep -v '^[|+]' /var/log/cloud-init-output.log | tail -n 30",
				)
				b.Logf("%s-%d: %v\n%s", name, i, err, out)
			}
		}
	}()
	rig.WaitHealthy(b, public, 2*time.Minute)
	return time.Since(started)
}

// median is the middle value; of an even number, the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
