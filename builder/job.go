package builder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/quotas"
)

const (
	cleanupDeadline = 5 * time.Minute
	runDeadline     = 10 * time.Minute
	imageDeadline   = 30 * time.Minute
	createDeadline  = 2 * time.Minute
)

// job is a build as it was asked for. Nothing of it changes while it runs.
type job struct {
	config *Config
	ui     packersdk.Ui
	ec2    *ec2.Client
	iam    *iam.Client
	region string
	// id is on everything that the build makes, in buildTag.
	id      string
	started time.Time
	// caller is the address that this machine's connections come from.
	caller func(context.Context) (string, error)
	quotas *quotas.Account
	// elsewhere is EC2 in another region.
	elsewhere func(region string) *ec2.Client
}

// clientFor is EC2 in a region.
func (j *job) clientFor(region string) *ec2.Client {
	if region == j.region {
		return j.ec2
	}
	return j.elsewhere(region)
}

// createContext is for a call that makes something. It is let end, also when the build is interrupted: what is made by
// a call whose answer nobody reads would be left behind.
func createContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), createDeadline)
}

// tags are the tags of what the build makes: those of the sets, and its own.
func (j *job) tags(name string, sets ...map[string]string) []types.Tag {
	return j.tagsOf(j.id, name, sets...)
}

// tagsOf are the tags of what is made for the AMI of a build, which may be an earlier one.
func (j *job) tagsOf(build, name string, sets ...map[string]string) []types.Tag {
	own := map[string]string{buildTag: build, images.StartedTag: j.started.Format(time.RFC3339)}
	return ec2ops.Tags(slices.Concat([]map[string]string{{"Name": name}}, sets, []map[string]string{own})...)
}

// runName is the Name tag of temporary resources.
func (j *job) runName() string { return "goldsmith build " + j.config.AMIName }

// temporaryName names the temporary key pair, security group, role and instance profile.
func (j *job) temporaryName() string { return profilePrefix + j.id }

const profilePrefix = "goldsmith-build-"

// runSpecs have temporary resources of some kinds be made with their tags.
func (j *job) runSpecs(kinds ...types.ResourceType) []types.TagSpecification {
	var all []types.TagSpecification
	for _, kind := range kinds {
		all = append(all, ec2ops.Spec(kind, j.tags(j.runName(), j.config.RunTags)))
	}
	return all
}

// copyRegions are the regions that the AMI is copied to, each once and without the build's own.
func (j *job) copyRegions() []string {
	regions := slices.DeleteFunc(slices.Sorted(slices.Values(j.config.AMIRegions)), func(region string) bool {
		return region == j.region
	})
	return slices.Compact(regions)
}

// notRunning is the error of an instance that does not run though it should, with what it said last.
func (j *job) notRunning(ctx context.Context, instance types.Instance) error {
	why := ""
	if instance.StateReason != nil {
		why = ": " + aws.ToString(instance.StateReason.Message)
	}
	id, state := aws.ToString(instance.InstanceId), types.InstanceStateName("")
	if instance.State != nil {
		state = instance.State.Name
	}
	return fmt.Errorf("instance %s is %s%s%s", id, state, why, j.consoleTail(ctx, id))
}

// tailLimit is how long the end of the console is waited for, which only adds to an error.
const tailLimit = 10 * time.Second

// consoleTail is the end of an instance's console, to be added to an error.
func (j *job) consoleTail(ctx context.Context, instance string) string {
	limited, cancel := context.WithTimeout(ctx, tailLimit)
	defer cancel()
	return console.Shared.Tail(limited, j.ec2, instance)
}
