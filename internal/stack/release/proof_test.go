package release

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

const region = "us-east-1"

// account is one with a stack's network and images, whose instances are ready, but for those of broken images.
type account struct {
	*ec2fake.Account
	stack *stack.Stack
}

func newAccount(t *testing.T, broken ...string) *account {
	t.Helper()
	a := &account{Account: ec2fake.New(t)}
	a.Pace = 3 * time.Second
	a.Console = func(i types.Instance) string {
		report := instance.Report{Ready: !slices.Contains(broken, *i.ImageId), Time: time.Now()}
		report.Checks = []instance.Check{{Name: "unit x", OK: report.Ready, Detail: "as it is"}}
		line, err := instance.ConsoleLine(instance.ReportPrefix, report)
		if err != nil {
			t.Error(err)
		}
		return line + "\n"
	}
	for _, image := range []string{"ami-0db1", "ami-0db2", "ami-0eb1", "ami-0eb2"} {
		a.In(region).AddImage(types.Image{ImageId: aws.String(image), Name: aws.String(image)})
	}
	file := stackfile.Default()
	if err := file.Operator.UnmarshalText([]byte("192.0.2.1/32")); err != nil {
		t.Fatal(err)
	}
	a.stack = defaultstack.New(a.Config(), file, func(string, ...any) {})
	a.stack.Consoles = &console.Reader{} // the time of one test is not that of another
	if _, _, err := network.Up(t.Context(), a.stack); err != nil {
		t.Fatal(err)
	}
	return a
}

// begin is a build that says that it is at work.
func (a *account) begin(t *testing.T, release, tier string) *Proof {
	t.Helper()
	p, err := Begin(t.Context(), a.stack, Proof{
		Release:       release,
		Tier:          tier,
		BuildTag:      "build",
		Build:         release + "-" + tier,
		InstanceTypes: []string{"t3.micro", "t3a.micro"},
		Timeout:       5 * time.Minute,
		Step:          func(string, time.Duration) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// together proves the two images of a release at the same time, as their builds do, and returns both results.
func (a *account) together(t *testing.T, release, database, web string) (ofDatabase, ofWeb error) {
	t.Helper()
	db, page := a.begin(t, release, "db"), a.begin(t, release, "web")
	var builds sync.WaitGroup
	builds.Go(func() { ofDatabase = db.Prove(t.Context(), database) })
	builds.Go(func() {
		time.Sleep(10 * time.Second) // one build takes longer
		ofWeb = page.Prove(t.Context(), web)
	})
	builds.Wait()
	return ofDatabase, ofWeb
}

// clean wants nothing to run any more.
func (a *account) clean(t *testing.T) {
	t.Helper()
	if left := a.In(region).Instances(); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// is wants the current release to have these images, or that there is none.
func (a *account) is(t *testing.T, name, database, web string) {
	t.Helper()
	r, ok, err := Current(t.Context(), a.stack)
	if err != nil || ok != (name != "") || r.Name != name || r.Images["db"] != database || r.Images["web"] != web {
		t.Errorf("%v: the release is %+v", err, r)
	}
}

func TestTwoImagesAreProvedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		ofDatabase, ofWeb := a.together(t, "r1", "ami-0db1", "ami-0eb1")
		if err := errors.Join(ofDatabase, ofWeb); err != nil {
			t.Fatal(err)
		}
		a.is(t, "r1", "ami-0db1", "ami-0eb1")
		a.clean(t)
		if launched := len(a.Calls("RunInstances")); launched != 2 {
			t.Errorf("%d instances were launched", launched)
		}
		for _, image := range []string{"ami-0db1", "ami-0eb1"} {
			if a.In(region).Tag(image, images.ProvedTag) == "" || a.In(region).Tag(image, images.ReleaseTag) != "r1" {
				t.Errorf("%s is not marked", image)
			}
		}
		used, err := ImagesInUse(t.Context(), a.stack.Config)
		if err != nil || !slices.Equal(used, []string{"ami-0db1", "ami-0eb1"}) {
			t.Errorf("in use are %v, %v", used, err)
		}
		_, err = Begin(t.Context(), a.stack, Proof{Release: "r1", Tier: "db"})
		if err == nil || !strings.Contains(err.Error(), "each build needs a new name") {
			t.Errorf("the same name again: got %v", err)
		}
	})
}

// TestOneOfTwoIsBroken: neither is released, and both builds learn it.
func TestOneOfTwoIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t, "ami-0eb2")
		ofDatabase, ofWeb := a.together(t, "r1", "ami-0db1", "ami-0eb2")
		for _, err := range []error{ofDatabase, ofWeb} {
			if !errors.Is(err, ErrUnproved) || !strings.Contains(err.Error(), "unit x: as it is") {
				t.Errorf("got %v", err)
			}
		}
		a.is(t, "", "", "")
		a.clean(t)
	})
}

func TestAnImageIsProvedWithTheCurrentRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		first := a.begin(t, "r0", "web")
		err := first.Prove(t.Context(), "ami-0eb1")
		if !errors.Is(err, ErrUnproved) || !strings.Contains(err.Error(), "build both images at once") {
			t.Errorf("a page without a database: got %v", err)
		}
		if err := a.begin(t, "r1", "db").Prove(t.Context(), "ami-0db1"); err != nil {
			t.Errorf("a database alone: got %v", err)
		}
		a.is(t, "", "", "")
		ofDatabase, ofWeb := a.together(t, "r2", "ami-0db1", "ami-0eb1")
		if err := errors.Join(ofDatabase, ofWeb); err != nil {
			t.Fatal(err)
		}
		if err := a.begin(t, "r3", "web").Prove(t.Context(), "ami-0eb2"); err != nil {
			t.Error(err)
		}
		a.is(t, "r3", "ami-0db1", "ami-0eb2")
		a.clean(t)
	})
}

// TestTheOtherBuildFails: this one is proved with what the current release has, or not at all.
func TestTheOtherBuildFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		db, page := a.begin(t, "r1", "db"), a.begin(t, "r1", "web")
		if err := page.End(t.Context(), errors.New("no disk")); err != nil {
			t.Fatal(err)
		}
		if err := db.Prove(t.Context(), "ami-0db1"); err != nil {
			t.Error(err)
		}
		a.is(t, "", "", "")

		db, page = a.begin(t, "r2", "db"), a.begin(t, "r2", "web")
		if err := page.Unchanged(t.Context(), "ami-0eb1"); err != nil {
			t.Fatal(err)
		}
		if err := db.Prove(t.Context(), "ami-0db2"); err != nil {
			t.Error(err)
		}
		a.is(t, "r2", "ami-0db2", "ami-0eb1")
		a.clean(t)
	})
}

func TestInterruptedProofLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.Console = nil // it never says anything
		ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
		defer interrupt()
		p := a.begin(t, "r1", "db")
		if err := p.Prove(ctx, "ami-0db1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		a.clean(t)
		p = a.begin(t, "r2", "db")
		began := time.Now()
		if err := p.Prove(t.Context(), "ami-0db1"); !errors.Is(err, ErrUnproved) || time.Since(began) < p.Timeout {
			t.Errorf("after %s got %v", time.Since(began), err)
		}
		a.clean(t)
	})
}

// TestLongReasonIsTold: a parameter holds 4096 characters, and the other build waits for what is in it.
func TestLongReasonIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		db, page := a.begin(t, "r1", "db"), a.begin(t, "r1", "web")
		if err := page.End(t.Context(), errors.New(strings.Repeat("the end of its console\n", 400))); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := db.Prove(t.Context(), "ami-0db1"); err != nil || time.Since(began) > stack.Silence/2 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestProofThatIsNotReadYet: another build made the parameter a moment ago, or this one could have.
func TestProofThatIsNotReadYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.Fail(ec2fake.Fault{
			Call: "GetParameter",
			When: func(in any) bool {
				return strings.HasSuffix(*in.(*ssm.GetParameterInput).Name, "/"+proofPart)
			},
			Nth: 1,
			Err: &ssmtypes.ParameterNotFound{},
		})
		ofDatabase, ofWeb := a.together(t, "r1", "ami-0db1", "ami-0eb1")
		if err := errors.Join(ofDatabase, ofWeb); err != nil {
			t.Error(err)
		}
		a.is(t, "r1", "ami-0db1", "ami-0eb1")
	})
}

// TestProofWithoutRoom takes the next type, as the bake does.
func TestProofWithoutRoom(t *testing.T) {
	for name, c := range map[string]struct {
		full []types.InstanceType
		want string
	}{
		"for the first type": {[]types.InstanceType{"t3.micro"}, ""},
		"for any":            {[]types.InstanceType{"t3.micro", "t3a.micro"}, "t3a.micro: "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				a.Fail(ec2fake.Fault{
					Call: "RunInstances",
					When: func(in any) bool {
						return slices.Contains(c.full, in.(*ec2.RunInstancesInput).InstanceType)
					},
					Err: ec2fake.Err(apierror.InsufficientInstanceCapacity, "t3", "a"),
				})
				err := a.begin(t, "r1", "db").Prove(t.Context(), "ami-0db1")
				if c.want == "" && err != nil ||
					c.want != "" && (!errors.Is(err, ErrUnproved) || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("got %v", err)
				}
				a.clean(t)
			})
		})
	}
}

func TestProofNeedsANetwork(t *testing.T) {
	s := defaultstack.New(ec2fake.New(t).Config(), stackfile.Default(), t.Logf)
	_, err := Begin(t.Context(), s, Proof{Release: "r", Tier: "db"})
	if err == nil || !strings.Contains(err.Error(), "goldsmith network up --stack golden") {
		t.Errorf("got %v", err)
	}
}

// TestOldBuildsAreForgotten: what builds told each other is of use for an hour.
func TestOldBuildsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		for _, name := range []string{"r1", "r2"} {
			ofDatabase, ofWeb := a.together(t, name, "ami-0db1", "ami-0eb1")
			if err := errors.Join(ofDatabase, ofWeb); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Hour)
		}
		found, err := parameters.Below(t.Context(), a.stack.SSM, buildsPath(a.stack))
		if err != nil || len(found) == 0 {
			t.Fatalf("%v: there are %v", err, found)
		}
		for _, p := range found {
			if !strings.HasPrefix(*p.Name, buildsPath(a.stack)+"r2/") {
				t.Errorf("%s is left", *p.Name)
			}
		}
	})
}

// TestReleaseOfAStackThatIsRemoved: with the stack goes the release, and what builds said that came to their end.
func TestReleaseOfAStackThatIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		ofDatabase, ofWeb := a.together(t, "r1", "ami-0db1", "ami-0eb1")
		if err := errors.Join(ofDatabase, ofWeb); err != nil {
			t.Fatal(err)
		}
		is(t, a.stack, "r2", "web", Baking) // and killed
		time.Sleep(2 * stack.Silence)
		is(t, a.stack, "r3", "web", Baking)
		if err := Remove(t.Context(), a.stack); err != nil {
			t.Fatal(err)
		}
		found, err := parameters.Below(t.Context(), a.stack.SSM, buildsPath(a.stack))
		if err != nil || len(found) != 1 || *found[0].Name != buildsPath(a.stack)+"r3/web" {
			t.Errorf("%v: of the builds there are left %v", err, found)
		}
		if r, ok, err := Current(t.Context(), a.stack); err != nil || ok {
			t.Errorf("%v: the release is left: %v", err, r)
		}
		if err := Remove(t.Context(), a.stack); err != nil {
			t.Errorf("of a stack without a release: %v", err)
		}
	})
}

func TestWhichImageATierRuns(t *testing.T) {
	a := ec2fake.New(t)
	s := defaultstack.New(a.Config(), stackfile.Default(), t.Logf)
	add := func(id, tier, release, made string, state types.ImageState, more ...string) {
		pairs := append([]string{stack.StackTag, "golden", stack.TierTag, tier, images.ReleaseTag, release}, more...)
		tags := ec2ops.TagPairs(pairs...)
		a.In(region).AddImage(types.Image{
			ImageId:      aws.String(id),
			CreationDate: aws.String(made),
			State:        state,
			Tags:         tags,
		})
	}
	add("ami-01", "web", "r1", "2026-01-01T00:00:00.000Z", types.ImageStateAvailable)
	add("ami-02", "web", "r2", "2026-02-01T00:00:00.000Z", types.ImageStateAvailable)
	add("ami-03", "web", "r3", "2026-03-01T00:00:00.000Z", types.ImageStatePending)
	add("ami-04", "db", "r2", "2026-04-01T00:00:00.000Z", types.ImageStateAvailable)
	add("ami-05", "db", "r3", "2026-03-01T00:00:00.000Z", types.ImageStateAvailable, images.ProvedTag, "2026-03-01")
	current := Release{Name: "r2", Images: map[string]string{"web": "ami-02"}}
	for _, c := range []struct {
		name, asked, image, release string
		current                     Release
		want, fault                 string
	}{
		{"the current release's", "", "", "", current, "ami-02", ""},
		{"no release yet: the youngest", "", "", "", Release{}, "ami-02", ""},
		{"no release, of proved images and others", "", "", "", Release{}, "ami-05", ""},
		{"asked for", "ami-01", "", "", current, "ami-01", ""},
		{"named by the stack file", "", "ami-01", "", current, "ami-01", ""},
		{"of a release that the file names", "", "", "r1", current, "ami-01", ""},
		{"of one that is not there", "", "", "r9", current, "", "no image has the tag"},
		{"of another tier", "ami-04", "", "", current, "", "it is an image of tier db"},
		{"not available yet", "ami-03", "", "", current, "", "it is pending"},
		{"not there", "ami-09", "", "", current, "", "region us-east-1 has none of this id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tier := s.Tier("web")
			if c.want == "ami-05" {
				tier = s.Tier("db")
			}
			tier.Image, tier.Release = c.image, c.release
			got, err := FindImage(t.Context(), s, tier, c.asked, c.current)
			if c.fault == "" && (err != nil || got != c.want) ||
				c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}
