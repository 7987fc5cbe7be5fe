package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
)

const (
	// inputsTag carries the inputs' names with the beginnings of their digests. One tag is too short for all: the next ones
	// are inputsTag-2 and so on.
	inputsTag     = "goldsmith:inputs"
	inputsTagSize = 250 // EC2 takes 256 characters
	inputsTagsMax = 12  // of 50 tags that an image may have
)

// series names what images replace each other.
func (b *bake) series() string {
	if p := b.config.Prove; p != nil {
		return p.Stack + "/" + p.Tier
	}
	return b.config.PackerBuildName
}

// gatherInputs finds out what goes into the image.
func (b *bake) gatherInputs(context.Context) error {
	if b.config.Unchanged == nil {
		return nil
	}
	in, known, err := inputs.Provisioners()
	if err != nil {
		return err
	}
	if !known {
		b.ui.Message("what the provisioners do is not known outside of Packer's run: baking")
		return nil
	}
	in.Add("source AMI", []byte(b.source.id))
	if err := b.addOptions(in); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := in.AddFile("plugin", program); err != nil {
		return err
	}
	for _, path := range b.config.Unchanged.Inputs {
		if err := in.AddFile("file "+inputs.Name(path), path); err != nil {
			return err
		}
	}
	b.inputs = in
	return nil
}

// addOptions adds the builder's own options, but for those that say how to get at the account and the machine, and what
// the image is called. An option that is new here counts until somebody finds that it need not.
func (b *bake) addOptions(in inputs.Inputs) error {
	c := *b.config
	for _, option := range []*string{&c.AMIName, &c.AMIDescription, &c.InstanceType, &c.SourceAmi,
		&c.VpcId, &c.SubnetId, &c.AvailabilityZone, &c.SSHInterface, &c.SecurityGroupId, &c.IamInstanceProfile} {
		*option = ""
	}
	c.Access, c.PollingConfig = awsaccess.Access{}, Polling{}
	c.SourceAmiFilter, c.VpcFilter, c.SubnetFilter = SourceFilter{}, VPCFilter{}, SubnetFilter{}
	c.SecurityGroupIds, c.TemporarySGSourceCidrs = nil, nil
	c.Tags, c.SnapshotTags, c.RunTags, c.RunVolumeTags = nil, nil, nil, nil
	c.Unchanged = nil
	c.UserDataFile = "" // what is in it counts, not where it lies
	// Where the instance runs; who may use the image and where it is copied to does count, as an image that is there
	// already is not shared or copied anew.
	c.Tenancy, c.SpotPrice, c.CapacityReservationPreference, c.CapacityReservationId, c.CapacityReservationGroupArn, c.InstanceInitiatedShutdownBehavior = "", "", "", "", "", ""
	c.InstanceTypes, c.SubnetIds, c.SpotInstanceTypes, c.SpotTags, c.Placement = nil, nil, nil, nil, Placement{}
	c.EbsOptimized, c.EnableUnlimitedCredits, c.AMIForceDeregister, c.AMIForceDeleteSnapshot, c.AMISkipRegionValidation = false, false, false, false, false
	if c.Prove != nil {
		c.Prove = &Prove{Stack: c.Prove.Stack, Tier: c.Prove.Tier}
	}
	text, err := json.Marshal(struct{ Region, Architecture, Options any }{b.region, runtime.GOARCH, c})
	if err != nil {
		return err
	}
	in.Add("builder options", text)
	if path := b.config.UserDataFile; path != "" {
		return in.AddFile("builder user_data_file", path)
	}
	return nil
}

// unchangedStep ends the build if there is nothing to do.
type unchangedStep struct{ b *bake }

// Run looks for an image of the same inputs.
func (s *unchangedStep) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	b := s.b
	done, err := b.unchanged(ctx)
	if err != nil {
		return b.fail(state, fmt.Errorf("look for an image of the same inputs: %w", err))
	}
	if done {
		b.reused = true
		return multistep.ActionHalt
	}
	return multistep.ActionContinue
}

// Cleanup has nothing to undo.
func (*unchangedStep) Cleanup(multistep.StateBag) {}

func (b *bake) unchanged(ctx context.Context) (bool, error) {
	if b.inputs == nil {
		return false, nil
	}
	if b.config.Unchanged.Force || b.config.PackerForce {
		b.ui.Message("baking although nothing may have changed: it is forced")
		return false, nil
	}
	found, err := b.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filters(map[string]string{"tag:" + images.SeriesTag: b.series(), "state": "available"})})
	if err != nil {
		return false, err
	}
	slices.SortFunc(found.Images, func(x, y types.Image) int { // youngest first
		return strings.Compare(aws.ToString(y.CreationDate), aws.ToString(x.CreationDate))
	})
	digest := b.inputs.Digest()
	for _, image := range found.Images {
		if tagOf(image, images.DigestTag) != digest || tagOf(image, images.UnprovedTag) != "" || tagOf(image, images.UnfinishedTag) != "" || b.config.Prove != nil && tagOf(image, images.ProvedTag) == "" {
			continue
		}
		age := age(image)
		if age > b.config.Unchanged.maxAge {
			b.ui.Say(fmt.Sprintf("Baking: %s has the same inputs, but was made %s ago, and unchanged.max_age is %s", aws.ToString(image.ImageId), age.Round(time.Minute), b.config.Unchanged.MaxAge))
			return false, nil
		}
		return true, b.reuse(ctx, image, age)
	}
	if len(found.Images) == 0 {
		b.ui.Say("Baking: there is no earlier image of " + b.series())
		return false, nil
	}
	last := found.Images[0]
	changed := inputs.Changed(inputsOf(last), inTags(b.inputs))
	if len(changed) == 0 {
		b.ui.Say(fmt.Sprintf("Baking: %s has the same inputs, but is not proved", aws.ToString(last.ImageId)))
	} else {
		b.ui.Say(fmt.Sprintf("Baking: since %s these inputs changed: %s", aws.ToString(last.ImageId), strings.ReplaceAll(strings.Join(changed, ", "), "_", " ")))
	}
	return false, nil
}

// reuse ends the build with an image that is there. One that is not the current release's is proved again, with what is.
func (b *bake) reuse(ctx context.Context, image types.Image, age time.Duration) error {
	b.image = aws.ToString(image.ImageId)
	b.ui.Say(fmt.Sprintf("Unchanged: %s has the same %d inputs and was made %s ago; nothing to bake (unchanged.force = true would)", b.image, len(b.inputs), age.Round(time.Second)))
	if b.proof == nil {
		return nil
	}
	released, ok, err := release.Current(ctx, b.stack)
	if err != nil {
		return err
	}
	if current := released.Images[b.config.Prove.Tier]; ok && current != b.image {
		b.ui.Say(fmt.Sprintf("The current release has %s: proving %s anew", current, b.image))
		return b.proof.Prove(ctx, b.image)
	}
	return b.proof.Unchanged(ctx, b.image)
}

func age(image types.Image) time.Duration {
	made, err := time.Parse(time.RFC3339, aws.ToString(image.CreationDate))
	if err != nil {
		return 0
	}
	return time.Since(made)
}

func tagOf(image types.Image, key string) string {
	for _, tag := range image.Tags {
		if aws.ToString(tag.Key) == key {
			return aws.ToString(tag.Value)
		}
	}
	return ""
}

// confirmInputs makes sure that the inputs are those of the provisioners that ran. If not, the image is not taken for one
// of them later.
func (b *bake) confirmInputs(context.Context) error {
	if b.inputs == nil {
		return nil
	}
	ok, err := inputs.Confirm(b.id)
	if err != nil {
		return err
	}
	if !ok {
		b.ui.Error("what goes into this image could not be told for certain; the next build will bake again")
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
func (b *bake) inputTags() map[string]string {
	tags := map[string]string{images.SeriesTag: b.series()}
	if b.inputs == nil {
		return tags
	}
	tags[images.DigestTag] = b.inputs.Digest()
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
	named := inTags(b.inputs)
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

// inputsOf reads the tags back.
func inputsOf(image types.Image) inputs.Inputs {
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
