package status

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

const region = "us-east-1"

// world is a stack of a database and a page, and what they say.
type world struct {
	*ec2fake.Account
	stack   *stack.Stack
	db, web string
	// said is the console output by instance id, of those that are not ready.
	said map[string]string
	// bad are the errors of failed health checks, by URL.
	bad map[string]error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Account: ec2fake.New(t), said: map[string]string{}, bad: map[string]error{}}
	w.Console = func(i types.Instance) string {
		if text, ok := w.said[*i.InstanceId]; ok {
			return text
		}
		line, err := instance.ConsoleLine(instance.ReportPrefix, instance.Report{
			Ready:   true,
			Checks:  []instance.Check{{Name: "certificate", OK: true, Detail: "sha256:c0ffee"}},
			Answers: []instance.Answer{{Port: 80, Path: "/old", Status: 301}, {Port: 9000, Path: "/", Status: 200}},
		})
		if err != nil {
			t.Error(err)
		}
		return line + "\n"
	}
	w.In(region).AddSubnet(types.Subnet{SubnetId: aws.String("subnet-0a")})
	w.stack = defaultstack.New(w.Config(), stackfile.Default(), t.Logf)
	w.stack.Consoles = &console.Reader{} // the time of one test is not that of another
	w.db = w.launch(t, "db", stack.Serving)
	w.web = w.launch(t, "web", stack.Serving)
	allocated, err := w.stack.EC2.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{
		TagSpecifications: w.stack.TagsFor(types.ResourceTypeElasticIp, "page", stack.AddressTag, "web"),
	})
	if err == nil {
		_, err = w.stack.EC2.AssociateAddress(t.Context(), &ec2.AssociateAddressInput{
			AllocationId: allocated.AllocationId,
			InstanceId:   aws.String(w.web),
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) launch(t *testing.T, tier, role string) string {
	t.Helper()
	image := "ami-0" + map[string]string{"db": "db", "web": "eb"}[tier]
	if w.In(region).Image(image) == nil {
		w.In(region).AddImage(types.Image{ImageId: aws.String(image), Tags: ec2ops.TagPairs(images.ReleaseTag, "r1")})
	}
	out, err := w.stack.EC2.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId:  aws.String(image),
		SubnetId: aws.String("subnet-0a"),
		MinCount: aws.Int32(1),
		MaxCount: aws.Int32(1),
		TagSpecifications: w.stack.TagsFor(types.ResourceTypeInstance, tier, stack.TierTag, tier, stack.RoleTag, role,
			stack.AddressTag, map[string]string{"db": "10.0.2.10", "web": ""}[tier]),
	})
	if err != nil {
		t.Fatal(err)
	}
	id := *out.Instances[0].InstanceId
	if _, err := w.stack.EC2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil { // it runs
		t.Fatal(err)
	}
	return id
}

func (w *world) get(_ context.Context, q probe.Question, fingerprints ...string) error {
	if strings.Join(fingerprints, " ") != "c0ffee" {
		return errors.New("another certificate")
	}
	return w.bad[q.URL]
}

// health is that of an instance, and why.
func (w *world) health(t *testing.T, id string) (health, reason string) {
	t.Helper()
	now, err := of(t.Context(), w.stack, w.get)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range now.Instances {
		if i.ID == id {
			return i.Health, i.Reason
		}
	}
	t.Fatalf("%s is not among %+v", id, now.Instances)
	return "", ""
}

func TestStatusOfAStackThatIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		now, err := of(t.Context(), w.stack, w.get)
		if err != nil || now.URL != "https://198.51.100.1/" || now.Addresses["db"] != "10.0.2.10" ||
			len(now.Instances) != 2 || now.Deploying != nil {
			t.Fatalf("%v: got %+v", err, now)
		}
		for _, i := range now.Instances {
			if i.Health != Good || i.Release != "r1" {
				t.Errorf("got %+v", i)
			}
		}
		text, err := json.Marshal(now)
		for _, want := range []string{`"db_address":"10.0.2.10"`, `"url":"https://198.51.100.1/"`, `"health":"good"`} {
			if err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%v: %s has no %s", err, text, want)
			}
		}
		if strings.Contains(string(text), "release\":\"\"") || strings.Contains(string(text), "deploying") {
			t.Errorf("%s has what is empty", text)
		}
	})
}

func TestHealthOfInstances(t *testing.T) {
	const page, old, closed = "https://198.51.100.1/health", "http://198.51.100.1/old", "http://198.51.100.1:9000/"
	broken := errors.New(`503: {"database":"gone"}`)
	sick, err := instance.ConsoleLine(instance.ReportPrefix, instance.Report{
		Checks: []instance.Check{{Name: "unit y", Detail: "failed"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name                  string
		tier                  string
		bad                   map[string]error
		console               string // of the instance; empty is that it is ready
		health, reason, other string // other is the health of the other tier's
	}{
		{"the page is sick", "web", map[string]error{page: errors.New("500")}, "", Bad, "500", Unknown},
		{"the page misses its database", "db", map[string]error{page: broken}, "", Bad, "as i-", Bad},
		{"what the image describes", "web", map[string]error{old: errors.New("404")}, "", Bad, "404", Unknown},
		{"what nobody else can ask", "web", map[string]error{closed: errors.New("404")}, "", Good, "", Good},
		{
			"no answer in time", "web", map[string]error{page: context.DeadlineExceeded}, "", Bad,
			"no answer in 5s", Unknown,
		},
		{"no report yet", "web", nil, instance.WaitingPrefix + "unit x\n", Unknown, "it waits for: unit x", Unknown},
		{
			"not ready", "db", nil, sick + "\n", Bad,
			"unit y: failed", Good,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.bad = c.bad
				own, other := w.web, w.db
				if c.tier == "db" {
					own, other = w.db, w.web
				}
				if c.console != "" {
					w.said[own] = c.console
				}
				if health, reason := w.health(t, own); health != c.health || !strings.Contains(reason, c.reason) {
					t.Errorf("got %s, %s", health, reason)
				}
				if health, reason := w.health(t, other); health != c.other {
					t.Errorf("the other: got %s, %s", health, reason)
				}
			})
		})
	}
}

func TestStoppedInstanceIsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.stack.EC2.StopInstances(t.Context(), &ec2.StopInstancesInput{
			InstanceIds: []string{w.web},
		}); err != nil {
			t.Fatal(err)
		}
		if health, reason := w.health(t, w.web); health != Bad ||
			!strings.HasPrefix(reason, "it is stopped; goldsmith deploy --stack ") {
			t.Errorf("got %s, %s", health, reason)
		}
		if _, err := Find(t.Context(), w.stack, "web"); err == nil || !strings.Contains(err.Error(), "it is stopped") {
			t.Errorf("got %v", err)
		}
	})
}

func TestFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		time.Sleep(time.Minute)
		candidate := w.launch(t, "web", stack.Candidate)
		for name, want := range map[string]string{"web": w.web, "db": w.db, candidate: candidate} {
			if found, err := Find(t.Context(), w.stack, name); err != nil || found.ID != want {
				t.Errorf("%s: got %s, %v", name, found.ID, err)
			}
		}
		_, err := Find(t.Context(), w.stack, "cache")
		if err == nil || !strings.Contains(err.Error(), "hint: goldsmith status --stack golden") {
			t.Errorf("got %v", err)
		}
	})
}

func TestPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		url, fingerprint, err := Page(t.Context(), w.stack)
		if err != nil || url != "https://198.51.100.1/" || fingerprint != "c0ffee" {
			t.Errorf("got %s, %s, %v", url, fingerprint, err)
		}
	})
}
