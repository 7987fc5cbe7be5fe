package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
)

const (
	// inputsTag carries the inputs' names with the beginnings of their digests. One tag is too short for all: the next
	// ones are inputsTag-2 and so on.
	inputsTag     = "goldsmith:inputs"
	inputsTagSize = 250 // EC2 takes 256 characters
	inputsTagsMax = 12  // of 50 tags that an image may have
)

// series names what images replace each other.
func (c *Config) series() string {
	if p := c.Prove; p != nil {
		return p.Stack + "/" + p.Tier
	}
	return c.PackerBuildName
}

// gatherInputs finds out what goes into the image, where that is asked for.
func (b *bake) gatherInputs(context.Context) (err error) {
	if b.job.config.Unchanged != nil {
		b.inputs, err = inputsOf(b.job, b.source)
	}
	return err
}

// inputsOf are all that goes into the image; nil where they cannot be known.
func inputsOf(j *job, source sourceImage) (inputs.Inputs, error) {
	in, known, err := inputs.Provisioners()
	if err != nil {
		return nil, err
	}
	if !known {
		j.ui.Message("what the provisioners do is not known outside of Packer's run: baking")
		return nil, nil
	}
	in.Add("source AMI", []byte(source.id))
	if err = addConfig(in, *j.config, j.region, source.arch); err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := in.AddFile("plugin", program); err != nil {
		return nil, err
	}
	for _, path := range j.config.Unchanged.Inputs {
		if err := in.AddFile("file "+inputs.Name(path), path); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// addConfig adds the builder's own options, but for those that say how to get at the account and the machine, and what
// the image is called. An option that is new here counts until somebody finds that it need not.
func addConfig(in inputs.Inputs, c Config, region string, arch types.ArchitectureValues) error {
	path := c.UserDataFile
	for _, option := range []*string{
		&c.AMIName, &c.AMIDescription, &c.InstanceType, &c.SourceAmi, &c.VpcId, &c.SubnetId, &c.AvailabilityZone,
		&c.SSHInterface, &c.SecurityGroupId, &c.IamInstanceProfile,
		&c.PermissionsBoundary,
		// What is in the file counts, not where it lies.
		&c.UserDataFile,
		// Where the instance runs; who may use the image and where it is copied to does count, as an image that is
		// there already is not shared or copied anew.
		&c.Tenancy, &c.SpotPrice, &c.CapacityReservationPreference, &c.CapacityReservationId,
		&c.CapacityReservationGroupArn, &c.InstanceInitiatedShutdownBehavior,
	} {
		*option = ""
	}
	c.Access, c.PollingConfig = awsaccess.Access{}, Polling{}
	c.SourceAmiFilter, c.VpcFilter, c.SubnetFilter = SourceFilter{}, VPCFilter{}, SubnetFilter{}
	c.SecurityGroupIds, c.TemporarySGSourceCidrs = nil, nil
	c.Tags, c.SnapshotTags, c.RunTags, c.RunVolumeTags = nil, nil, nil, nil
	c.Unchanged = nil
	c.InstanceTypes, c.SubnetIds, c.SpotInstanceTypes, c.SpotTags, c.Placement = nil, nil, nil, nil, Placement{}
	c.EbsOptimized, c.EnableUnlimitedCredits = false, false
	c.AMIForceDeregister, c.AMIForceDeleteSnapshot, c.AMISkipRegionValidation = false, false, false
	if c.Prove != nil {
		c.Prove = &Prove{Stack: c.Prove.Stack, Tier: c.Prove.Tier}
	}
	text, err := json.Marshal(struct{ Region, Architecture, Options any }{region, arch, c})
	if err != nil {
		return err
	}
	in.Add("builder options", text)
	if path != "" {
		return in.AddFile("builder user_data_file", path)
	}
	return nil
}

// reuseUnchanged ends the build with an image of the same inputs, if there is one.
func (b *bake) reuseUnchanged(ctx context.Context) error {
	found, ok, err := unchanged(ctx, b.job, b.inputs)
	if err != nil || !ok {
		return err
	}
	b.image.id = aws.ToString(found.ImageId)
	b.job.ui.Say(fmt.Sprintf("Unchanged: %s has the same %d inputs and was made %s ago; nothing to bake "+
		"(unchanged.force = true would)", b.image.id, len(b.inputs), age(found).Round(time.Second)))
	if err := b.proveReused(ctx); err != nil {
		return err
	}
	b.reused = true
	return errHalt
}

// unchanged is the image that the build would make once more, if there is one. Else it tells why not.
func unchanged(ctx context.Context, j *job, in inputs.Inputs) (types.Image, bool, error) {
	c := j.config
	if in == nil {
		return types.Image{}, false, nil
	}
	if c.forced() {
		j.ui.Message("baking although nothing may have changed: it is forced")
		return types.Image{}, false, nil
	}
	found, err := ec2ops.OwnImages(ctx, j.ec2, ec2ops.TagFilter(images.SeriesTag, c.series()),
		ec2ops.Filter("state", "available"))
	if err != nil {
		return types.Image{}, false, err
	}
	slices.SortFunc(found, func(x, y types.Image) int { // youngest first
		return strings.Compare(aws.ToString(y.CreationDate), aws.ToString(x.CreationDate))
	})
	same := slices.IndexFunc(found, func(image types.Image) bool { return isFinished(image, c, in.Digest()) })
	if same < 0 {
		j.ui.Say("Baking: " + whyBake(found, c.series(), in))
		return types.Image{}, false, nil
	}
	if old := age(found[same]); old > c.Unchanged.maxAge {
		j.ui.Say(fmt.Sprintf("Baking: %s has the same inputs, but was made %s ago, and unchanged.max_age is %s",
			aws.ToString(found[same].ImageId), old.Round(time.Minute), c.Unchanged.MaxAge))
		return types.Image{}, false, nil
	}
	return found[same], true, nil
}

// isFinished tells whether an image is of these inputs, and all is done with it that the build would do.
func isFinished(image types.Image, c *Config, digest string) bool {
	tag := func(key string) string { return ec2ops.TagValue(image.Tags, key) }
	return tag(images.DigestTag) == digest && tag(images.UnprovedTag) == "" && tag(images.UnfinishedTag) == "" &&
		(c.Prove == nil || tag(images.ProvedTag) != "")
}

// whyBake says why none of the images will do: the inputs that changed since the youngest.
func whyBake(found []types.Image, series string, in inputs.Inputs) string {
	if len(found) == 0 {
		return "there is no earlier image of " + series
	}
	last := aws.ToString(found[0].ImageId)
	changed := inputs.Changed(taggedInputs(found[0]), inTags(in))
	if len(changed) == 0 {
		return last + " has the same inputs, but is not proved"
	}
	names := strings.ReplaceAll(strings.Join(changed, ", "), "_", " ")
	return fmt.Sprintf("since %s these inputs changed: %s", last, names)
}

func age(image types.Image) time.Duration {
	made, err := time.Parse(time.RFC3339, aws.ToString(image.CreationDate))
	if err != nil {
		return 0
	}
	return time.Since(made)
}

// confirmInputs makes sure that the inputs are those of the provisioners that ran. If not, the image is not taken for
// one of them later.
func (b *bake) confirmInputs(context.Context) error {
	if b.inputs == nil {
		return nil
	}
	ok, err := inputs.Confirm(b.job.id)
	if err != nil {
		return err
	}
	if !ok {
		b.job.ui.Error("what goes into this image could not be told for certain; the next build will bake again")
		b.inputs = nil
	}
	return nil
}

// notInTag are characters that EC2 does not take in a tag's value, and those that part one input from the next.
var notInTag = regexp.MustCompile(`[^\pL\pN+.:/@-]+`)

// inTags are inputs by names that a tag can carry.
func inTags(in inputs.Inputs) inputs.Inputs {
	named := inputs.Inputs{}
	for name, digest := range in {
		named[notInTag.ReplaceAllString(name, "_")] = digest
	}
	return named
}

// inputTags are the AMI's tags by which the next build knows what this one was made of.
func inputTags(series string, in inputs.Inputs) map[string]string {
	tags := map[string]string{images.SeriesTag: series}
	if in == nil {
		return tags
	}
	tags[images.DigestTag] = in.Digest()
	number, text := 1, ""
	flush := func() {
		if key := inputsTag; text != "" && number <= inputsTagsMax {
			if number > 1 {
				key = fmt.Sprintf("%s-%d", inputsTag, number)
			}
			tags[key] = text
		}
		number, text = number+1, ""
	}
	named := inTags(in)
	for _, name := range slices.Sorted(maps.Keys(named)) {
		entry := name + "=" + named[name][:8]
		if len(text)+1+len(entry) > inputsTagSize {
			flush()
		}
		text = strings.TrimSpace(text + " " + entry)
	}
	flush()
	return tags
}

// taggedInputs reads the tags back.
func taggedInputs(image types.Image) inputs.Inputs {
	in := inputs.Inputs{}
	for _, tag := range image.Tags {
		if key := aws.ToString(tag.Key); key != inputsTag && !strings.HasPrefix(key, inputsTag+"-") {
			continue
		}
		for entry := range strings.FieldsSeq(aws.ToString(tag.Value)) {
			if name, digest, ok := strings.Cut(entry, "="); ok {
				in[name] = digest
			}
		}
	}
	return in
}
