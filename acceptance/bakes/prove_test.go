//go:build acceptance

package bakes

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

func imageTags(t testing.TB, id string) map[string]string {
	t.Helper()
	out, err := rig.API.DescribeImages(context.Background(), &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil || len(out.Images) != 1 {
		t.Fatalf("describe %s: %v", id, err)
	}
	tags := map[string]string{}
	for _, tag := range out.Images[0].Tags {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return tags
}

// TestRelease looks at what the bake of both images left in the account.
func TestRelease(t *testing.T) {
	r := rig.CurrentRelease(t)
	if r.DB != aws.ToString(rig.Tier(t, "db").ImageId) || r.Web != aws.ToString(rig.Tier(t, "web").ImageId) {
		t.Errorf("the release is %+v, and something else runs", r)
	}
	for _, image := range []string{r.DB, r.Web} {
		tags := imageTags(t, image)
		if tags["goldsmith:release"] != r.Name {
			t.Errorf("%s is tagged with release %q, not %q", image, tags["goldsmith:release"], r.Name)
		}
		for tag, prefix := range map[string]string{
			"goldsmith:proved":     "20",
			"goldsmith:source-ami": "ami-",
			"goldsmith:ssh-user":   "admin",
			"goldsmith:manifest":   "sha256:",
			"goldsmith:digest":     "sha256:",
		} {
			if !strings.HasPrefix(tags[tag], prefix) {
				t.Errorf("%s: tag %s is %q", image, tag, tags[tag])
			}
		}
	}
}

// TestUnprovedIsNotPublished breaks images in ways that only an instance of them shows.
func TestUnprovedIsNotPublished(t *testing.T) {
	r := rig.CurrentRelease(t)
	for _, c := range []struct{ name, provisioner, want string }{
		{"unit that fails at boot",
			"provisioner \"goldsmith-systemd\" {\nunit {\nname = \"broken.service\"\n" +
				"content = \"[Service]\\nType=oneshot\\nExecStart=/bin/sh -c 'echo the reason; exit " +
				"3'\\n[Install]\\nWantedBy=multi-user.target\\n\"\nenabled = true\n}\n}",
			`broken.service`},
		{"assertion that does not hold",
			"provisioner \"goldsmith-tasks\" {\ntask {\nname = \"the moon\"\nassert {\n" +
				"shell = \"echo it is made of stone; exit 1\"\n}\n}\n}",
			`assert the moon (exit status 1: it is made of stone)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := rig.Bake{
				Source:       rig.Proving("web", `timeout = "25s"`),
				Provisioners: rig.WebProvisioners(c.provisioner),
			}.Run(t)
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%v; the output should say %q:\n%s", err, c.want, rig.End(t, out))
			}
		})
	}
	t.Cleanup(func() {
		if now := rig.CurrentRelease(t); now != r {
			t.Errorf("the release was %+v and is %+v", r, now)
		}
		if left := unproved(t); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// unproved are the images of tests that are still there.
func unproved(t testing.TB) []string {
	t.Helper()
	out, err := rig.API.DescribeImages(
		context.Background(),
		&ec2.DescribeImagesInput{
			Owners:  []string{"self"},
			Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"t-*"}}},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, image := range out.Images {
		left = append(left, aws.ToString(image.ImageId))
	}
	return left
}

// TestUnprovedIsKept keeps an image that is not proved, and says on it why. The instance's words are part of the
// output.
func TestUnprovedIsKept(t *testing.T) {
	before := rig.Inventory(t)
	out, err := rig.Bake{
		Source:       rig.Proving("web", "timeout = \"25s\"\non_unproved = \"keep\""),
		Provisioners: rig.WebProvisioners(rig.Command("rm /usr/local/lib/goldsmith/webapp")),
	}.Run(t)
	left := unproved(t)
	if err == nil || len(left) != 1 {
		t.Fatalf("%v, kept %v:\n%s", err, left, rig.End(t, out))
	}
	tags := imageTags(t, left[0])
	rig.DeregisterNow(t, rig.ImageNamed(t, tags["Name"]))
	if tags["goldsmith:unproved"] == "" || tags["goldsmith:proved"] != "" {
		t.Errorf("the image's tags do not say that it is not proved: %v", tags)
	}
	if !strings.Contains(out, "Keeping the AMI "+left[0]) || !strings.Contains(out, "it waits for: ") ||
		!strings.Contains(out, "goldsmith-webapp.service") {
		t.Errorf("the output does not say what is kept and why:\n%s", rig.End(t, out))
	}
	rig.AssertNothingLeft(t, before)
}

// TestProvedWithTheCurrentRelease bakes a web image alone: it is proved with the release's database and becomes part of
// a new release, with the user's own assertions in the report.
func TestProvedWithTheCurrentRelease(t *testing.T) {
	old := rig.KeepRelease(t)
	assertion := "provisioner \"goldsmith-tasks\" {\ntask {\nname = \"the database is far\"\nassert {\n" +
		"shell = \"grep -c . /etc/hosts\"\noutput = \"^[0-9]+$\"\n}\n}\n}"
	began := time.Now()
	out, err := rig.Bake{
		Source:       rig.Proving("web", `release = "alone-1"`),
		Provisioners: rig.WebProvisioners(assertion),
	}.Run(t)
	if err != nil {
		t.Fatalf("%v:\n%s", err, rig.End(t, out))
	}
	if !strings.Contains(out, "assert the database is far") {
		t.Errorf("the report has no assertion:\n%s", rig.End(t, out))
	}
	rig.AssertCalls(t, began, "goldsmith-ami", "`packer build` of one image")
	now := rig.CurrentRelease(t)
	if now.Name != "alone-1" || now.DB != old.DB || now.Web == old.Web {
		t.Errorf("the release is %+v, before it was %+v", now, old)
	}
	t.Cleanup(func() { rig.DeregisterNow(t, rig.ImageNamed(t, imageTags(t, now.Web)["Name"])) })
	// A name is good for one build.
	if out, err := (rig.Bake{Source: rig.Proving("web", `release = "alone-1"`)}).Run(t); err == nil ||
		!strings.Contains(out, "alone-1") {
		t.Errorf("the name of a release was taken twice: %v\n%s", err, rig.End(t, out))
	}
}

func TestProveIsChecked(t *testing.T) {
	out, err := rig.Bake{Source: "prove {\nstack = \"no-such-stack\"\ntier = \"db\"\n}"}.Run(t)
	if err == nil || !strings.Contains(out, "goldsmith network up --stack no-such-stack") {
		t.Errorf("%v:\n%s", err, rig.End(t, out))
	}
	out, err = rig.Bake{
		Validate: true,
		Source:   "prove {\nstack = \"Golden!\"\ntier = \"app\"\non_unproved = \"shrug\"\ntimeout = \"soon\"\n}",
	}.Run(t)
	for _, attribute := range []string{"prove.stack", "prove.tier", "prove.on_unproved", "prove.timeout"} {
		if err == nil || !strings.Contains(out, attribute) {
			t.Errorf("%v: the output does not name %s:\n%s", err, attribute, rig.End(t, out))
		}
	}
}

// TestUnchanged builds both images once more, with nothing changed, and then with one input changed.
func TestUnchanged(t *testing.T) {
	r := rig.CurrentRelease(t)
	out := rig.Must(t, rig.Packer(t), "build", "-color=false", "-var", "stack="+rig.StackName, ".")
	for _, image := range []string{r.DB, r.Web} {
		if !strings.Contains(out, "Unchanged: "+image) {
			t.Errorf("%s was not taken as it is:\n%s", image, rig.End(t, out))
		}
	}
	if strings.Contains(out, "Launching") {
		t.Errorf("an instance was launched for nothing:\n%s", rig.End(t, out))
	}
	if now := rig.CurrentRelease(t); now != r {
		t.Errorf("the release was %+v and is %+v", r, now)
	}
	// An age limit that the images are past.
	cmd := []string{
		"build",
		"-color=false",
		"-only=goldsmith-ami.db",
		"-var",
		"stack=" + rig.StackName,
		"-var",
		"max_age=1s",
		"-var",
		"ami_prefix=t",
		".",
	}
	out = rig.Must(t, rig.Packer(t), cmd...)
	if !strings.Contains(out, "unchanged.max_age is 1s") {
		t.Errorf("an old image was taken, or it was not said why not:\n%s", rig.End(t, out))
	}
	// That image is the release's now; the old one is proved again with what is there, and takes its place back.
	now := rig.CurrentRelease(t)
	if now.DB == r.DB || now.Web != r.Web {
		t.Errorf("the release is %+v, before it was %+v", now, r)
	}
	rig.DeregisterNow(t, rig.ImageNamed(t, "t-db-*"))
	out = rig.Must(t, rig.Packer(t), "build", "-color=false", "-only=goldsmith-ami.db", "-var",
		"stack="+rig.StackName, ".")
	if now := rig.CurrentRelease(t); now.DB != r.DB || now.Web != r.Web {
		t.Errorf("the release is %+v and not %+v again:\n%s", now, r, rig.End(t, out))
	}
}
