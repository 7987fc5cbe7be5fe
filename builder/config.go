//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,SourceFilter,SubnetFilter,VPCFilter,MetadataOptions,BlockDevice,Polling,Prove,Unchanged,Placement,DeregistrationProtection,PolicyDocument,Statement

package builder

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
)

// Config is the builder's configuration. Names are amazon-ebs's wherever the meaning is the same.
type Config struct {
	common.PackerConfig `mapstructure:",squash" json:"-"`
	awsaccess.Access    `mapstructure:",squash"`
	Comm                communicator.Config `mapstructure:",squash" json:"-"`

	// How long to wait for the AMI.
	PollingConfig Polling `mapstructure:"aws_polling"`

	// The name of the AMI: 3 to 128 letters, digits and ()[] ./-'@_. It must not exist yet.
	AMIName string `mapstructure:"ami_name" required:"true"`
	// The description of the AMI.
	AMIDescription string `mapstructure:"ami_description"`
	// The type of the instance that the image is baked on, for example `t3.small`. This, `instance_types` or
	// `spot_instance_types` is needed.
	InstanceType string `mapstructure:"instance_type"`
	// The AMI to start from, by its id. Either this or `source_ami_filter`.
	SourceAmi string `mapstructure:"source_ami"`
	// The AMI to start from, by a filter. Either this or `source_ami`.
	SourceAmiFilter SourceFilter `mapstructure:"source_ami_filter"`

	// The VPC to bake in. The default is that of the subnet, else the default VPC.
	VpcId string `mapstructure:"vpc_id"`
	// The VPC, by a filter.
	VpcFilter VPCFilter `mapstructure:"vpc_filter"`
	// The subnet to bake in. The default is one of the default VPC's.
	SubnetId string `mapstructure:"subnet_id"`
	// The subnet, by a filter.
	SubnetFilter SubnetFilter `mapstructure:"subnet_filter"`
	// The availability zone, where no subnet is named.
	AvailabilityZone string `mapstructure:"availability_zone"`
	// Whether the instance gets a public address. The default is the subnet's.
	AssociatePublicIpAddress config.Trilean `mapstructure:"associate_public_ip_address"`
	// Which address SSH goes to: `public_ip` or `private_ip`. The default is the public one if there is one.
	SSHInterface string `mapstructure:"ssh_interface"`
	// A security group of your own, in place of the temporary one.
	SecurityGroupId string `mapstructure:"security_group_id"`
	// Several security groups of your own.
	SecurityGroupIds []string `mapstructure:"security_group_ids"`
	// Who may reach the temporary security group. The default is the address that this machine is seen under.
	TemporarySGSourceCidrs []string `mapstructure:"temporary_security_group_source_cidrs"`
	// The instance profile that the instance gets.
	IamInstanceProfile string `mapstructure:"iam_instance_profile"`
	// User-data for the instance. What the builder needs itself is added to it.
	UserData string `mapstructure:"user_data"`
	// A file of user-data.
	UserDataFile string `mapstructure:"user_data_file"`
	// Options of the metadata service.
	Metadata MetadataOptions `mapstructure:"metadata_options"`
	// Whether the AMI's disk is encrypted; the default is the account's.
	AMIEncryptBootVolume config.Trilean `mapstructure:"encrypt_boot"`
	// The KMS key for `encrypt_boot`.
	AMIKmsKeyId string `mapstructure:"kms_key_id"`
	// Disks of the instance. The one with the source AMI's root device name is the root volume.
	LaunchMappings []BlockDevice `mapstructure:"launch_block_device_mappings"`

	// Tags of the AMI and of its snapshots: 25 at most, as EC2 takes 50 and the builder gives up to 25.
	Tags map[string]string `mapstructure:"tags"`
	// Tags of the snapshots, beside `tags`: with them 47 at most.
	SnapshotTags map[string]string `mapstructure:"snapshot_tags"`
	// Tags of what only lives while the image is baked: 47 at most.
	RunTags map[string]string `mapstructure:"run_tags"`
	// Tags of the instance's volumes, beside `run_tags`: with them 47 at most.
	RunVolumeTags map[string]string `mapstructure:"run_volume_tags"`

	// Prove the AMI before it is published: a fresh instance of it in its target subnet must report itself ready.
	// Without this block the AMI is published as soon as it is there.
	Prove *Prove `mapstructure:"prove"`
	// End at once with an AMI that is there already, if this build would make the same: of the same inputs and, with a
	// `prove` block, proved. Without this block every build bakes.
	Unchanged *Unchanged `mapstructure:"unchanged"`

	// Types to fall back to, in this order, where EC2 has no capacity for `instance_type`.
	InstanceTypes []string `mapstructure:"instance_types"`
	// Several subnets of one VPC, in place of `subnet_id`: the next is tried where one's zone has no capacity. The
	// other subnets that `subnet_filter` matches are tried too, if `most_free` or `random` lets it match several.
	SubnetIds []string `mapstructure:"subnet_ids"`
	// Bake on a spot instance, at this price in dollars an hour at most; `auto` is at most the on-demand price. A spot
	// instance cannot be stopped: it is imaged while EC2 reboots it. The default, also `0`, is an on-demand instance.
	SpotPrice string `mapstructure:"spot_price"`
	// Types for the spot instance, in place of `instance_type`. The cheapest of them is tried first.
	SpotInstanceTypes []string `mapstructure:"spot_instance_types"`
	// Tags of the spot request.
	SpotTags map[string]string `mapstructure:"spot_tags"`
	// The hardware that the instance runs on.
	Placement Placement `mapstructure:"placement"`
	// `default`, `dedicated` or `host`. The same as `placement.tenancy`, which is looked at first.
	Tenancy string `mapstructure:"tenancy"`
	// Whether the instance may use a capacity reservation: `open` or `none`. The default is EC2's, `open`.
	CapacityReservationPreference string `mapstructure:"capacity_reservation_preference"`
	// The capacity reservation that the instance uses, by its id.
	CapacityReservationId string `mapstructure:"capacity_reservation_id"`
	// The group of capacity reservations that the instance uses, by its ARN.
	CapacityReservationGroupArn string `mapstructure:"capacity_reservation_group_arn"`
	// Whether the instance is EBS-optimized. The default is the type's.
	EbsOptimized bool `mapstructure:"ebs_optimized"`
	// Whether a burstable instance (t2, t3, t3a, t4g) may burst without limit, at a price. The default is the
	// account's.
	EnableUnlimitedCredits bool `mapstructure:"enable_unlimited_credits"`
	// What happens when the instance shuts itself down: `stop` or `terminate`. The default is `stop`.
	InstanceInitiatedShutdownBehavior string `mapstructure:"shutdown_behavior"`
	// What the instance may do, where there is no `iam_instance_profile`. A role and a profile are made for it, and
	// removed in every case.
	TemporaryInstanceProfilePolicy *PolicyDocument `mapstructure:"temporary_iam_instance_profile_policy_document"`
	// The ARN of a policy that roles get as their permissions boundary: the instance's own, and those of the stack that
	// a proof makes where there are none yet.
	PermissionsBoundary string `mapstructure:"permissions_boundary"`
	// Set or clear the AMI's attribute for enhanced networking with ENA. The default is the source AMI's.
	AMIENASupport config.Trilean `mapstructure:"ena_support"`
	// Set the AMI's attribute for enhanced networking with SR-IOV.
	AMISriovNetSupport bool `mapstructure:"sriov_support"`

	// Do everything but make the AMI.
	AMISkipCreateImage bool `mapstructure:"skip_create_ami"`
	// Disks that the AMI has beside those of the instance, or in place of one of them.
	AMIMappings []BlockDevice `mapstructure:"ami_block_device_mappings"`
	// Replace an AMI of this name, here and in `ami_regions`. It is deregistered when the new one's disk is ready to be
	// imaged, as two cannot have one name, and registered again, under a new id, if the new one is not made. The
	// default is an error before anything is made. `packer build -force` says the same.
	AMIForceDeregister bool `mapstructure:"force_deregister"`
	// Delete the snapshots of the AMI that was replaced, once the new one is whole.
	AMIForceDeleteSnapshot bool `mapstructure:"force_delete_snapshot"`
	// Accounts that may launch the AMI, by their 12 digits.
	AMIUsers []string `mapstructure:"ami_users"`
	// Groups that may launch the AMI. EC2 has one, `all`: everybody. No AMI is public without it.
	AMIGroups []string `mapstructure:"ami_groups"`
	// Organizations whose accounts may launch the AMI, by their ARNs.
	AMIOrgArns []string `mapstructure:"ami_org_arns"`
	// Organizational units whose accounts may launch the AMI, by their ARNs.
	AMIOuArns []string `mapstructure:"ami_ou_arns"`
	// Accounts that may make volumes of the AMI's snapshots.
	SnapshotUsers []string `mapstructure:"snapshot_users"`
	// Groups that may make volumes of the AMI's snapshots. EC2 has one, `all`: everybody.
	SnapshotGroups []string `mapstructure:"snapshot_groups"`
	// Regions that the AMI is copied to. A copy has the AMI's name, tags, permissions and dates. If one cannot be made,
	// none stays.
	AMIRegions []string `mapstructure:"ami_regions"`
	// The KMS keys of the copies, by region, with `encrypt_boot = true`. An empty one is the region's default key. The
	// build's own region may be among them, and goes before `kms_key_id` then.
	AMIRegionKMSKeyIDs map[string]string `mapstructure:"region_kms_key_ids"`
	// Do not ask EC2 whether the regions of `ami_regions` exist and are open to the account.
	AMISkipRegionValidation bool `mapstructure:"skip_region_validation"`
	// `v2.0`: instances of the AMI are launched with IMDSv2 only, if the launch does not say otherwise. It is the
	// default, and nothing else is taken.
	AMIIMDSSupport string `mapstructure:"imds_support"`
	// When the AMI is deprecated, for example `2027-06-30T00:00:00Z`: in the future, within ten years. EC2 rounds to
	// the minute.
	DeprecationTime string `mapstructure:"deprecate_at"`
	// Protect the AMI from being deregistered.
	DeregistrationProtection DeregistrationProtection `mapstructure:"deregistration_protection"`

	ctx interpolate.Context
}

// Prove is the proof of an AMI: a fresh instance of it in a stack.
type Prove struct {
	// The stack whose network, roles and parameters the fresh instance gets.
	Stack string `mapstructure:"stack" required:"true"`
	// The tier of the stack that the AMI is for, as `db`. AMIs of several tiers that are built at the same time are
	// proved together, and are released only if all are good; one that is built alone is proved with those of the
	// current release.
	Tier string `mapstructure:"tier" required:"true"`
	// The name of the release, the same for all tiers, and new in every build. The default is the id of Packer's run.
	Release string `mapstructure:"release"`
	// How long a fresh instance may take until it is ready, for example `3m`. The default is `5m`.
	Timeout string `mapstructure:"timeout"`
	// The type of the fresh instance, one of the Nitro system. The default is `instance_type` and, where EC2 has no
	// room for it, the others that the build may be launched on.
	InstanceType string `mapstructure:"instance_type"`
	// The treatment of an AMI that is not proved: `deregister` removes it with its snapshots, `keep` leaves it there
	// with the tag `goldsmith:unproved`. The build fails either way. The default is `deregister`.
	OnUnproved string `mapstructure:"on_unproved"`

	timeout time.Duration
	types   []string // that will do for the fresh instance
}

// Unchanged is when a build is not needed. Its inputs are the source AMI, this plugin with the agent in it, the
// builder's options that the image depends on, and all options, templates, seeds and programs of Goldsmith's
// provisioners. What other provisioners do cannot be seen: name their files in `inputs`.
type Unchanged struct {
	// More files and directories of this machine whose content counts, the template itself for one.
	Inputs []string `mapstructure:"inputs"`
	// How old the AMI may be, for the sake of packages that have become newer since: a duration such as `72h`. The
	// default is `168h`, a week.
	MaxAge string `mapstructure:"max_age"`
	// Bake anyway. Packer's own `-force` does the same. The default is false.
	Force bool `mapstructure:"force"`

	maxAge time.Duration
}

// SourceFilter finds the source AMI.
type SourceFilter struct {
	// Filters of DescribeImages, by name.
	Filters map[string]string `mapstructure:"filters"`
	// Whose images: account ids, `self` or `amazon`. At least one is needed: anybody can name an image like another.
	Owners []string `mapstructure:"owners"`
	// Take the youngest of several. Without it, several are an error.
	MostRecent bool `mapstructure:"most_recent"`
	// Take deprecated images too. The default is false.
	IncludeDeprecated bool `mapstructure:"include_deprecated"`
}

// SubnetFilter finds the subnet.
type SubnetFilter struct {
	// Filters of DescribeSubnets, by name.
	Filters map[string]string `mapstructure:"filters"`
	// Take the one with the most free addresses of several. Without it and `random`, several are an error.
	MostFree bool `mapstructure:"most_free"`
	// Take any of several.
	Random bool `mapstructure:"random"`
}

// VPCFilter finds the VPC.
type VPCFilter struct {
	// Filters of DescribeVpcs, by name. Several VPCs are an error.
	Filters map[string]string `mapstructure:"filters"`
}

// MetadataOptions are the instance's.
type MetadataOptions struct {
	// `enabled` or `disabled`. The default is `enabled`.
	HttpEndpoint string `mapstructure:"http_endpoint"`
	// `required`: only IMDSv2. It is the default, and nothing else is taken.
	HttpTokens string `mapstructure:"http_tokens"`
	// How many hops an answer may travel, 1 to 64. The default is 1.
	HttpPutResponseHopLimit int32 `mapstructure:"http_put_response_hop_limit"`
	// Whether the instance may read its tags there: `enabled` or `disabled`. The default is `disabled`.
	InstanceMetadataTags string `mapstructure:"instance_metadata_tags"`
}

// BlockDevice is a disk of the instance.
type BlockDevice struct {
	// The device's name, for example `/dev/xvda`.
	DeviceName string `mapstructure:"device_name" required:"true"`
	// The size in GiB. The default is the snapshot's.
	VolumeSize int32 `mapstructure:"volume_size"`
	// `gp3`, `gp2`, `io1`, `io2`, `st1`, `sc1` or `standard`. The default is `gp3`.
	VolumeType string `mapstructure:"volume_type"`
	// Operations a second, for `gp3`, `io1` and `io2`.
	IOPS int32 `mapstructure:"iops"`
	// MiB a second, for `gp3`.
	Throughput int32 `mapstructure:"throughput"`
	// Whether the volume is encrypted; the default is the account's.
	Encrypted config.Trilean `mapstructure:"encrypted"`
	// The KMS key for `encrypted`.
	KmsKeyId string `mapstructure:"kms_key_id"`
	// The snapshot that the volume is made from.
	SnapshotId string `mapstructure:"snapshot_id"`
	// Whether the volume goes with the instance. The default is true.
	DeleteOnTermination config.Trilean `mapstructure:"delete_on_termination"`
	// Leave out this disk of the source AMI's. Nothing else goes with it.
	NoDevice bool `mapstructure:"no_device"`
}

// Placement is the hardware that the instance runs on.
type Placement struct {
	// `default`, `dedicated` or `host`. The default is the VPC's; with a host it is `host`.
	Tenancy string `mapstructure:"tenancy"`
	// The dedicated host, by its id.
	HostId string `mapstructure:"host_id"`
	// The group of dedicated hosts, by its ARN.
	HostResourceGroupArn string `mapstructure:"host_resource_group_arn"`
}

// DeregistrationProtection keeps the AMI from being deregistered.
type DeregistrationProtection struct {
	// Protect it.
	Enabled bool `mapstructure:"enabled"`
	// Keep it protected for 24 hours after the protection was taken off.
	WithCooldown bool `mapstructure:"with_cooldown"`
}

// PolicyDocument is an IAM policy.
type PolicyDocument struct {
	// The version of the policy language. The default is `2012-10-17`.
	Version string `mapstructure:"Version"`
	// What is allowed and what is not; at least one.
	Statement []Statement `mapstructure:"Statement"`
}

// Statement allows actions on resources, or denies them.
type Statement struct {
	// `Allow` or `Deny`.
	Effect string `mapstructure:"Effect"`
	// Actions, for example `s3:GetObject`.
	Action []string `mapstructure:"Action"`
	// The ARNs of the resources that the actions are on.
	Resource []string `mapstructure:"Resource"`
}

// Polling is the wait for the AMI.
type Polling struct {
	// Seconds between two looks. The default is from 0.5 on, growing to 15.
	DelaySeconds int `mapstructure:"delay_seconds"`
	// How many looks. The default is as many as fit in 30 minutes.
	MaxAttempts int `mapstructure:"max_attempts"`
}

// decode reads the configuration, fills in defaults, and reports everything that is wrong.
func (c *Config) decode(raws []any) (warnings []string, err error) {
	err = config.Decode(c, &config.DecodeOpts{
		PluginType:         builderID,
		Interpolate:        true,
		InterpolateContext: &c.ctx,
		InterpolateFilter: &interpolate.RenderFilter{
			Exclude: []string{"run_tags", "tags", "snapshot_tags", "run_volume_tags", "spot_tags"},
		},
	}, raws...)
	if err != nil {
		return nil, err
	}
	c.defaults()
	return nil, errors.Join(slices.Concat(c.Prepare(), c.Comm.Prepare(&c.ctx), c.faults())...)
}

func (c *Config) defaults() {
	fallBack(&c.Metadata.HttpEndpoint, "enabled")
	fallBack(&c.Metadata.HttpTokens, "required")
	if c.Metadata.HttpPutResponseHopLimit == 0 {
		c.Metadata.HttpPutResponseHopLimit = 1
	}
	for _, disks := range [][]BlockDevice{c.LaunchMappings, c.AMIMappings} {
		for i := range disks {
			if disks[i].VolumeType == "" {
				disks[i].VolumeType = "gp3"
			}
		}
	}
	c.optionDefaults()
	if c.Unchanged != nil && c.Unchanged.MaxAge == "" {
		c.Unchanged.MaxAge = "168h"
	}
	if c.Prove != nil {
		fallBack(&c.Prove.Timeout, "5m")
		fallBack(&c.Prove.OnUnproved, "deregister")
		if c.Prove.types = []string{c.Prove.InstanceType}; c.Prove.InstanceType == "" {
			c.Prove.InstanceType, c.Prove.types = c.firstType(), c.nitroTypes()
		}
		fallBack(&c.Prove.Release, os.Getenv("PACKER_RUN_UUID"))
	}
	if c.SecurityGroupId != "" {
		c.SecurityGroupIds = append(c.SecurityGroupIds, c.SecurityGroupId)
	}
	if c.Comm.Type == "" {
		c.Comm.Type = "ssh"
	}
	if c.Comm.SSHTimeout == 0 {
		c.Comm.SSHTimeout = 5 * time.Minute
	}
	if c.Comm.SSHFileTransferMethod == "" {
		c.Comm.SSHFileTransferMethod = "sftp" // the newest OpenSSH servers come without scp
	}
	// The temporary key is always ours, and of this type.
	c.Comm.SSHTemporaryKeyPairType = "ed25519"
	c.Comm.SSHTemporaryKeyPairName = fmt.Sprintf("packer_%s", c.PackerBuildName)
}

// fallBack sets what the configuration leaves out.
func fallBack(value *string, otherwise string) {
	if *value == "" {
		*value = otherwise
	}
}
