package builder

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instancetype"
)

var (
	amiName      = regexp.MustCompile(`^[A-Za-z0-9()\[\] ./\-'@_]{3,128}$`)
	instanceType = regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`)
	deviceName   = regexp.MustCompile(`^(/dev/)?[a-z0-9/]+$`)
)

// userDataLimit is the largest user-data in bytes: EC2's 16 KiB less the 2 KiB that are left for the builder's own.
const userDataLimit = 14 << 10

// faults are the errors of a configuration that can be found without a call to EC2.
func (c *Config) faults() []error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.AMIName == "":
		fault("ami_name: it is missing; name the image to be made")
	case !amiName.MatchString(c.AMIName):
		fault("ami_name: %q should be 3 to 128 letters, digits and ()[] ./-'@_", c.AMIName)
	}
	if c.Comm.Type != "ssh" {
		fault("communicator: %q should be ssh: images of this builder run Linux", c.Comm.Type)
	}
	if c.Comm.SSHUsername == "" {
		fault("ssh_username: it is missing; name the source image's user, such as admin for Debian's")
	}
	if c.Comm.SSHPassword != "" {
		fault("ssh_password: instances are entered with a key only")
	}
	if c.PermissionsBoundary != "" && !arn.MatchString(c.PermissionsBoundary) {
		fault("permissions_boundary: %q should be the ARN of a policy", c.PermissionsBoundary)
	}
	errs = append(errs, c.sourceFaults()...)
	errs = append(errs, c.networkFaults()...)
	errs = append(errs, c.userDataFaults()...)
	errs = append(errs, c.diskFaults()...)
	errs = append(errs, c.tagFaults()...)
	errs = append(errs, c.Prove.faults()...)
	errs = append(errs, c.Unchanged.faults()...)
	errs = append(errs, c.optionFaults()...)
	if c.Metadata.HttpTokens != "required" {
		fault("metadata_options.http_tokens: %q should be required: instances are launched with IMDSv2 only",
			c.Metadata.HttpTokens)
	}
	if c.Metadata.HttpEndpoint != "enabled" && c.Metadata.HttpEndpoint != "disabled" {
		fault("metadata_options.http_endpoint: %q should be enabled or disabled", c.Metadata.HttpEndpoint)
	}
	if n := c.Metadata.HttpPutResponseHopLimit; n < 1 || n > 64 {
		fault("metadata_options.http_put_response_hop_limit: %d should be within 1 and 64", n)
	}
	if c.PollingConfig.DelaySeconds < 0 || c.PollingConfig.MaxAttempts < 0 {
		fault("aws_polling: negative numbers mean nothing here")
	}
	return errs
}

func (c *Config) sourceFaults() []error {
	filtered := len(c.SourceAmiFilter.Filters) > 0 || len(c.SourceAmiFilter.Owners) > 0
	var errs []error
	switch {
	case c.SourceAmi == "" && !filtered:
		add(&errs, "source_ami: either source_ami or source_ami_filter is needed")
	case c.SourceAmi != "" && filtered:
		add(&errs, "source_ami: it cannot go with source_ami_filter; take one out")
	case filtered && len(c.SourceAmiFilter.Owners) == 0:
		add(&errs, "source_ami_filter.owners: at least one is needed: anybody can name an image like another")
	case filtered && len(c.SourceAmiFilter.Filters) == 0:
		add(&errs, "source_ami_filter.filters: at least one is needed, such as name")
	}
	return append(errs, ids("source_ami", "ami-", c.SourceAmi)...)
}

func (c *Config) networkFaults() []error {
	var errs []error
	if c.SubnetId != "" && len(c.SubnetFilter.Filters) > 0 {
		add(&errs, "subnet_id: it cannot go with subnet_filter; take one out")
	}
	if c.VpcId != "" && len(c.VpcFilter.Filters) > 0 {
		add(&errs, "vpc_id: it cannot go with vpc_filter; take one out")
	}
	if c.SubnetFilter.MostFree && c.SubnetFilter.Random {
		add(&errs, "subnet_filter.most_free: it cannot go with random; take one out")
	}
	errs = append(errs, ids("subnet_id", "subnet-", c.SubnetId)...)
	errs = append(errs, ids("vpc_id", "vpc-", c.VpcId)...)
	errs = append(errs, ids("security_group_ids", "sg-", c.SecurityGroupIds...)...)
	if len(c.SecurityGroupIds) > 0 && len(c.TemporarySGSourceCidrs) > 0 {
		add(&errs, "temporary_security_group_source_cidrs: it is for the temporary group, "+
			"and security_group_ids takes its place")
	}
	for _, cidr := range c.TemporarySGSourceCidrs {
		if prefix, err := netip.ParsePrefix(cidr); err != nil || prefix != prefix.Masked() {
			add(&errs, "temporary_security_group_source_cidrs: %q should be a range such as 192.0.2.1/32", cidr)
		}
	}
	return append(errs, c.interfaceFaults()...)
}

func (c *Config) interfaceFaults() []error {
	var errs []error
	if c.SSHInterface != "" && c.SSHInterface != "public_ip" && c.SSHInterface != "private_ip" {
		add(&errs, "ssh_interface: %q should be public_ip or private_ip", c.SSHInterface)
	}
	if c.SSHInterface == "public_ip" && c.AssociatePublicIpAddress.False() {
		add(&errs, "ssh_interface: public_ip cannot go with associate_public_ip_address = false")
	}
	return errs
}

// ids checks the form of resource ids, where they are known.
func ids(attribute, prefix string, values ...string) []error {
	pattern := regexp.MustCompile("^" + prefix + "[0-9a-f]{8,17}$")
	var errs []error
	for _, value := range values {
		if value != "" && value != awsaccess.Unknown && !pattern.MatchString(value) {
			add(&errs, "%s: %q should be an id such as %s0123456789abcdef0", attribute, value, prefix)
		}
	}
	return errs
}

func (c *Config) userDataFaults() []error {
	if c.UserData != "" && c.UserDataFile != "" {
		return []error{errors.New("user_data: it cannot go with user_data_file; take one out")}
	}
	text := []byte(c.UserData)
	if c.UserDataFile != "" {
		var err error
		if text, err = os.ReadFile(c.UserDataFile); err != nil {
			return []error{fmt.Errorf("user_data_file: %w", err)}
		}
	}
	if len(text) > userDataLimit {
		return []error{fmt.Errorf("user_data: it has %d bytes, at most %d are taken", len(text), userDataLimit)}
	}
	return nil
}

func (c *Config) diskFaults() []error {
	errs := mappingFaults("launch_block_device_mappings", c.LaunchMappings)
	errs = append(errs, mappingFaults("ami_block_device_mappings", c.AMIMappings)...)
	if c.AMIKmsKeyId != "" && !c.AMIEncryptBootVolume.True() {
		add(&errs, "kms_key_id: it goes with encrypt_boot = true")
	}
	return errs
}

func mappingFaults(mappings string, disks []BlockDevice) []error {
	var errs []error
	seen := map[string]bool{}
	for i, d := range disks {
		at := fmt.Sprintf("%s[%d]", mappings, i)
		if !deviceName.MatchString(d.DeviceName) {
			add(&errs, "%s.device_name: %q should be a name such as /dev/xvda", at, d.DeviceName)
		}
		if seen[d.DeviceName] {
			add(&errs, "%s.device_name: %s is there twice", at, d.DeviceName)
		}
		seen[d.DeviceName] = true
		errs = append(errs, d.volumeFaults(at)...)
		if d.KmsKeyId != "" && !d.Encrypted.True() {
			add(&errs, "%s.kms_key_id: it goes with encrypted = true", at)
		}
		if d.NoDevice && (d.VolumeSize != 0 || d.SnapshotId != "" || d.Encrypted != config.TriUnset) {
			add(&errs, "%s.no_device: it leaves the disk out; nothing else can be said of it", at)
		}
		errs = append(errs, ids(at+".snapshot_id", "snap-", d.SnapshotId)...)
	}
	return errs
}

// volumeFaults is about what EC2 makes volumes of.
func (d BlockDevice) volumeFaults(at string) []error {
	var errs []error
	if !slices.Contains([]string{"gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"}, d.VolumeType) {
		add(&errs, "%s.volume_type: %q should be one of gp3, gp2, io1, io2, st1, sc1, standard", at, d.VolumeType)
	}
	if d.VolumeSize < 0 || d.VolumeSize > 65536 {
		add(&errs, "%s.volume_size: %d should be within 1 and 65536 GiB", at, d.VolumeSize)
	}
	if d.IOPS != 0 && !slices.Contains([]string{"gp3", "io1", "io2"}, d.VolumeType) {
		add(&errs, "%s.iops: it goes with gp3, io1 and io2, not with %s", at, d.VolumeType)
	}
	if d.IOPS == 0 && strings.HasPrefix(d.VolumeType, "io") {
		add(&errs, "%s.iops: %s needs it", at, d.VolumeType)
	}
	if d.Throughput != 0 && d.VolumeType != "gp3" {
		add(&errs, "%s.throughput: it goes with gp3, not with %s", at, d.VolumeType)
	}
	return errs
}

const (
	// tagsMax is the largest number of tags of a resource of EC2 or IAM (EC2 User Guide, Tag your resources: Tag
	// restrictions).
	tagsMax = 50
	// ownRunTags are those of all that a build makes: Name, goldsmith:build and goldsmith:started.
	ownRunTags = 3
	// ownImageTags are those of a finished AMI: these; its source, digest, description, manifest, revision, series and
	// user; whether it is finished, when it was proved and for which release; and its inputs.
	ownImageTags = ownRunTags + 10 + inputsTagsMax
)

// tagFaults holds tags to EC2's limits, with the tags that the builder gives beside them:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
func (c *Config) tagFaults() []error {
	var errs []error
	for _, set := range []struct {
		attribute string
		tags      map[string]string
		beside    map[string]string // of the same things
		own       int
	}{
		{"tags", c.Tags, nil, ownImageTags},
		{"snapshot_tags", c.SnapshotTags, c.Tags, ownRunTags},
		{"run_tags", c.RunTags, nil, ownRunTags},
		{"run_volume_tags", c.RunVolumeTags, c.RunTags, ownRunTags},
		{"spot_tags", c.SpotTags, c.RunTags, ownRunTags},
	} {
		all := map[string]bool{"Name": true} // which counts as own, whoever gives it
		for key := range set.tags {
			all[key] = true
		}
		for key := range set.beside {
			all[key] = true
		}
		if most := tagsMax - set.own; len(all)-1 > most && len(set.tags) > 0 {
			add(&errs, "%s: there are %d with those that they go with; at most %d are taken, as EC2 takes %d and the "+
				"builder gives %d", set.attribute, len(all)-1, most, tagsMax, set.own)
		}
		for _, key := range slices.Sorted(maps.Keys(set.tags)) {
			value := set.tags[key]
			switch {
			case key == "" || len(key) > 128 || len(value) > 256:
				add(&errs, "%s: %q: a key has 1 to 128 characters, a value at most 256", set.attribute, key)
			case strings.HasPrefix(strings.ToLower(key), "aws:"):
				add(&errs, "%s: %q: names that begin with aws: are Amazon's", set.attribute, key)
			case strings.HasPrefix(key, buildTag), key == unfinishedTag:
				add(&errs, "%s: %q is the builder's own", set.attribute, key)
			}
		}
	}
	return errs
}

var (
	stackName   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	releaseName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

func (p *Prove) faults() []error {
	if p == nil {
		return nil
	}
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("prove."+format, args...)) }
	if !stackName.MatchString(p.Stack) {
		fault("stack: %q should be a stack's name: 1 to 32 lower-case letters, digits and dashes", p.Stack)
	}
	if names := tierNames(); !slices.Contains(names, p.Tier) {
		fault("tier: %q should be %s", p.Tier, strings.Join(names, " or "))
	}
	if !releaseName.MatchString(p.Release) {
		fault("release: %q should be 1 to 64 letters, digits and ._-", p.Release)
	}
	if p.OnUnproved != "deregister" && p.OnUnproved != "keep" {
		fault("on_unproved: %q should be deregister or keep", p.OnUnproved)
	}
	if !instanceType.MatchString(p.InstanceType) {
		fault("instance_type: %q should be a type such as t3.small", p.InstanceType)
	}
	if err := instancetype.NotNitro(p.InstanceType); err != nil {
		fault("instance_type: %w", err)
	}
	var err error
	if p.timeout, err = time.ParseDuration(p.Timeout); err != nil || p.timeout <= 0 {
		fault("timeout: %q should be a duration such as 5m", p.Timeout)
	}
	return errs
}

func (u *Unchanged) faults() []error {
	if u == nil {
		return nil
	}
	var errs []error
	for i, path := range u.Inputs {
		if _, err := os.Stat(path); err != nil {
			add(&errs, "unchanged.inputs[%d]: %w", i, err)
		}
	}
	var err error
	if u.maxAge, err = time.ParseDuration(u.MaxAge); err != nil || u.maxAge <= 0 {
		add(&errs, "unchanged.max_age: %q should be a duration such as 72h", u.MaxAge)
	}
	return errs
}

// add adds a fault.
func add(errs *[]error, format string, args ...any) {
	*errs = append(*errs, fmt.Errorf(format, args...))
}
