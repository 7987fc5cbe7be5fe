//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,SourceFilter,SubnetFilter,VPCFilter,MetadataOptions,BlockDevice,AssumeRole,Polling,Prove,Unchanged

package builder

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// Config is the builder's configuration. Names are amazon-ebs's wherever the meaning is the same.
type Config struct {
	common.PackerConfig `mapstructure:",squash" json:"-"`
	Comm                communicator.Config `mapstructure:",squash" json:"-"`

	// The region to build in. The default is what the AWS SDK finds: `AWS_REGION`, or the profile's.
	Region string `mapstructure:"region"`
	// The profile of the shared configuration files whose credentials are used.
	Profile string `mapstructure:"profile"`
	// The access key, where no profile or environment gives one.
	AccessKey string `mapstructure:"access_key"`
	// The secret key that belongs to `access_key`.
	SecretKey string `mapstructure:"secret_key"`
	// The session token that belongs to temporary keys.
	Token string `mapstructure:"token"`
	// A role to assume with these credentials.
	AssumeRole AssumeRole `mapstructure:"assume_role"`
	// The URL of another EC2 API than AWS's own, of the local cloud for example. `AWS_ENDPOINT_URL` says the same. No
	// call goes to AWS then.
	CustomEndpointEc2 string `mapstructure:"custom_endpoint_ec2"`
	// How often a call to the API is repeated. The default is 4.
	MaxRetries int `mapstructure:"max_retries"`
	// How long to wait for the AMI.
	PollingConfig Polling `mapstructure:"aws_polling"`

	// The name of the AMI: 3 to 128 letters, digits and ()[] ./-'@_. It must not exist yet.
	AMIName string `mapstructure:"ami_name" required:"true"`
	// The description of the AMI.
	AMIDescription string `mapstructure:"ami_description"`
	// The type of the instance that the image is baked on, for example `t3.small`.
	InstanceType string `mapstructure:"instance_type" required:"true"`
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

	// Tags of the AMI and of its snapshots.
	Tags map[string]string `mapstructure:"tags"`
	// Tags of the snapshots, beside `tags`.
	SnapshotTags map[string]string `mapstructure:"snapshot_tags"`
	// Tags of what only lives while the image is baked.
	RunTags map[string]string `mapstructure:"run_tags"`
	// Tags of the instance's volumes, beside `run_tags`.
	RunVolumeTags map[string]string `mapstructure:"run_volume_tags"`

	// Prove the AMI before it is published: a fresh instance of it in its target subnet must report itself ready. Without
	// this block the AMI is published as soon as it is there.
	Prove *Prove `mapstructure:"prove"`
	// End at once with an AMI that is there already, if this build would make the same: of the same inputs and, with a
	// `prove` block, proved. Without this block every build bakes.
	Unchanged *Unchanged `mapstructure:"unchanged"`

	ctx interpolate.Context
}

// Prove is how an AMI is proved.
type Prove struct {
	// The stack whose network, roles and parameters the fresh instance gets.
	Stack string `mapstructure:"stack" required:"true"`
	// `db` or `web`: what the AMI is for. A db and a web AMI that are built at the same time are proved together, and are
	// released only if both are good; one that is built alone is proved with its counterpart of the current release.
	Tier string `mapstructure:"tier" required:"true"`
	// The name of the release, the same for both tiers, and new in every build. The default is the id of Packer's run.
	Release string `mapstructure:"release"`
	// How long a fresh instance may take until it is ready, for example `3m`. The default is `5m`.
	Timeout string `mapstructure:"timeout"`
	// The type of the fresh instance. The default is `instance_type`.
	InstanceType string `mapstructure:"instance_type"`
	// What becomes of an AMI that is not proved: `deregister` removes it with its snapshots, `keep` leaves it there with
	// the tag `goldsmith:unproved`. The build fails either way. The default is `deregister`.
	OnUnproved string `mapstructure:"on_unproved"`

	timeout time.Duration
}

// Unchanged is when a build is not needed. Its inputs are the source AMI, this plugin with the agent in it, the builder's
// options that the image depends on, and all options, templates, seeds and programs of Goldsmith's provisioners. What
// other provisioners do cannot be seen: name their files in `inputs`.
type Unchanged struct {
	// More files and directories of this machine whose content counts, the template itself for one.
	Inputs []string `mapstructure:"inputs"`
	// How old the AMI may be, for the sake of packages that have become newer since: a duration such as `72h`. The default
	// is `168h`, a week.
	MaxAge string `mapstructure:"max_age"`
	// Bake anyway. Packer's own `-force` does the same. The default is false.
	Force bool `mapstructure:"force"`

	maxAge time.Duration
}

// AssumeRole is a role to assume.
type AssumeRole struct {
	// The role's ARN.
	RoleARN string `mapstructure:"role_arn"`
	// The name of the session. The default is `goldsmith`.
	SessionName string `mapstructure:"session_name"`
	// The external id that the role wants.
	ExternalID string `mapstructure:"external_id"`
	// How long credentials of the role last, in seconds. The default is AWS's, an hour.
	DurationSeconds int `mapstructure:"duration_seconds"`
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
}

// Polling is how long to wait for the AMI.
type Polling struct {
	// Seconds between two looks. The default is from 0.5 on, growing to 15.
	DelaySeconds int `mapstructure:"delay_seconds"`
	// How many looks. The default is as many as fit in 30 minutes.
	MaxAttempts int `mapstructure:"max_attempts"`
}

// awsOptions are the configuration of the AWS SDK.
func (c *Config) awsOptions() awsconfig.Options {
	return awsconfig.Options{
		Region: c.Region, Profile: c.Profile, AccessKey: c.AccessKey, SecretKey: c.SecretKey, Token: c.Token, Endpoint: c.CustomEndpointEc2, MaxRetries: c.MaxRetries,
		Role: awsconfig.Role{ARN: c.AssumeRole.RoleARN, SessionName: c.AssumeRole.SessionName, ExternalID: c.AssumeRole.ExternalID, Duration: time.Duration(c.AssumeRole.DurationSeconds) * time.Second},
	}
}

// decode reads the configuration, fills in defaults, and reports everything that is wrong.
func (c *Config) decode(raws []any) (warnings []string, err error) {
	err = config.Decode(c, &config.DecodeOpts{PluginType: builderID, Interpolate: true, InterpolateContext: &c.ctx,
		InterpolateFilter: &interpolate.RenderFilter{Exclude: []string{"run_tags", "tags", "snapshot_tags", "run_volume_tags"}}}, raws...)
	if err != nil {
		return nil, err
	}
	c.defaults()
	packersdk.LogSecretFilter.Set(c.SecretKey, c.Token)
	return nil, errors.Join(append(c.Comm.Prepare(&c.ctx), c.faults()...)...)
}

func (c *Config) defaults() {
	for value, fallback := range map[*string]string{&c.Metadata.HttpEndpoint: "enabled", &c.Metadata.HttpTokens: "required", &c.AssumeRole.SessionName: "goldsmith"} {
		if *value == "" {
			*value = fallback
		}
	}
	if c.Metadata.HttpPutResponseHopLimit == 0 {
		c.Metadata.HttpPutResponseHopLimit = 1
	}
	for i := range c.LaunchMappings {
		if c.LaunchMappings[i].VolumeType == "" {
			c.LaunchMappings[i].VolumeType = "gp3"
		}
	}
	if c.Unchanged != nil && c.Unchanged.MaxAge == "" {
		c.Unchanged.MaxAge = "168h"
	}
	if c.Prove != nil {
		for value, fallback := range map[*string]string{&c.Prove.Timeout: "5m", &c.Prove.OnUnproved: "deregister", &c.Prove.InstanceType: c.InstanceType, &c.Prove.Release: os.Getenv("PACKER_RUN_UUID")} {
			if *value == "" {
				*value = fallback
			}
		}
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
