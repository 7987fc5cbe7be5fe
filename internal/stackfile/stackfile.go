// Package stackfile decodes and checks the stack file, a user's description of a stack. It calls no API, so that EC2
// can still refuse a file that it accepts: it does not know whether an id, a release or an instance type is there.
package stackfile

import (
	"net/netip"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

//go:generate go run ./gendoc

// File is a stack file, in HCL: the description of a stack, where it differs from the default. Everything in it is
// optional; an empty file, and none at all, is the stack `golden` with one instance of each tier.
//
// Values are literals: text in quotes or as a heredoc, numbers, true and false, lists and maps of them. Variables,
// functions and operators are not taken; a `${` that belongs to a text is written `$${`. A duration is a text such as
// `"90s"`, `"5m"` or `"1h30m"`. A CIDR range is one such as `"10.0.0.0/16"`, with no bit set beyond its length.
type File struct {
	// The stack's name: 1 to 32 lower-case letters, digits and dashes. The default is `golden`.
	Name string `hcl:"name"`
	// The region. The default is the AWS SDK's: `AWS_REGION`, or the profile's.
	Region string `hcl:"region"`
	// The profile of the shared configuration files whose credentials are used.
	Profile string `hcl:"profile"`
	// The URL of another EC2 API than AWS's own, of the local cloud for example. `AWS_ENDPOINT_URL` says the same.
	CustomEndpointEC2 string `hcl:"custom_endpoint_ec2"`
	// The ARN of an IAM policy that the roles of the tiers get as their permissions boundary when they are made.
	PermissionsBoundary string `hcl:"permissions_boundary"`
	// Who may log in to the web tier: a CIDR range, or `auto` for the address that this machine is seen under. The
	// default is `auto`.
	Operator Operator `hcl:"operator"`
	// The network.
	Network Network `hcl:"network,block"`
	// The database tier.
	Database Database `hcl:"tier,block,db"`
	// The web tier.
	Web Web `hcl:"tier,block,web"`
	// The check that a new web instance must pass.
	HealthCheck HealthCheck `hcl:"health_check,block"`
	// The replacement of instances in a deployment.
	Deploy Deploy `hcl:"deploy,block"`
}

// AWS is the configuration of the AWS SDK that the file asks for.
func (f *File) AWS() awsconfig.Options {
	return awsconfig.Options{Region: f.Region, Profile: f.Profile, Endpoint: f.CustomEndpointEC2}
}

// Network is either made by Goldsmith, in the ranges given here, or is there already, and found by ids or tags. A
// network that is there needs a VPC, and the subnets that the tiers are in.
type Network struct {
	// The VPC's range: IPv4, /16 to /28. The default is `10.0.0.0/16`.
	CIDR netip.Prefix `hcl:"cidr"`
	// The public subnet's range, inside the VPC's: /16 to /28. The default is `10.0.1.0/24`.
	PublicCIDR netip.Prefix `hcl:"public_cidr"`
	// The private subnet's range, inside the VPC's and apart from the public one: /16 to /28. The default is
	// `10.0.2.0/24`.
	PrivateCIDR netip.Prefix `hcl:"private_cidr"`
	// The zone that both subnets are made in, by its name, such as `eu-central-1a`. The default is the first zone of
	// the region that has the instance types of both tiers. A subnet that is there cannot move to another zone.
	AvailabilityZone string `hcl:"availability_zone"`
	// The VPC that is there, by its id. Either this or `vpc_tags`.
	VPCID string `hcl:"vpc_id"`
	// The VPC that is there, by its tags; all of them must match, and one VPC only.
	VPCTags map[string]string `hcl:"vpc_tags"`
	// The public subnets that are there, by their ids. Either this or `public_subnet_tags`.
	PublicSubnetIDs []string `hcl:"public_subnet_ids"`
	// The public subnets that are there, by their tags; all of them must match.
	PublicSubnetTags map[string]string `hcl:"public_subnet_tags"`
	// The private subnets that are there, by their ids. Either this or `private_subnet_tags`.
	PrivateSubnetIDs []string `hcl:"private_subnet_ids"`
	// The private subnets that are there, by their tags; all of them must match.
	PrivateSubnetTags map[string]string `hcl:"private_subnet_tags"`
}

// Existing tells whether the network is there already; it has no ranges then, and is not to be made.
func (n Network) Existing() bool { return !n.CIDR.IsValid() }

// rangeOf is the range of the subnet, public or private, of a network that Goldsmith makes.
func (n Network) rangeOf(subnet string) netip.Prefix {
	if subnet == "public" {
		return n.PublicCIDR
	}
	return n.PrivateCIDR
}

// Tier is a tier's block, with the attributes that both tiers have.
type Tier struct {
	// The subnet that its instances are in: `public` or `private`. The default is `private` for db and `public` for
	// web, which needs it with `scaling = "single"`.
	Subnet string `hcl:"subnet"`
	// The instance type, one of the Nitro system. The default is `t3.small`.
	InstanceType string `hcl:"instance_type"`
	// The release whose image it runs, by name. The default is the current one.
	Release string `hcl:"release"`
	// The image that it runs, by its AMI's id, in place of a release's.
	AMI string `hcl:"ami"`
	// User-data for its instances, beside Goldsmith's own: a cloud-config, which begins with `#cloud-config`, or a
	// script, which begins with `#!`; 14 KiB at most. Whoever is on an instance can read it: no place for a secret.
	UserData string `hcl:"user_data"`
	// A file of user-data, in place of `user_data`. Its path is relative to the stack file.
	UserDataFile string `hcl:"user_data_file"`
	// Tags of its instances and their volumes, beside Goldsmith's own: 41 at most, keys of 1 to 128 characters, values
	// of at most 256. Keys that begin with `goldsmith:` or `aws:` are not taken.
	Tags map[string]string `hcl:"tags"`
	// Ingress rules of its security group, beside those that it always has: in web, 22 from the operator, 80 and 443
	// from anywhere; in db, 22, 3306 and ICMP from web.
	Rules []Rule `hcl:"rule,block"`
}

// Rule lets one port in from one peer; there can be several. Either `cidr` or `from_tier` is needed.
type Rule struct {
	// `tcp`, `udp` or `icmp`. The default is `tcp`.
	Protocol string `hcl:"protocol"`
	// The port, 1 to 65535. It is needed, but with `icmp`, which has none: all of it is let in, and the port is -1.
	Port int32 `hcl:"port"`
	// A CIDR range, IPv4 or IPv6, that is let in.
	CIDR netip.Prefix `hcl:"cidr"`
	// The tier whose instances are let in: `db` or `web`.
	FromTier string `hcl:"from_tier"`
	// The description of the rule: at most 255 letters, digits, spaces and `._-:/()#,@[]+=&;{}!$*`.
	Description string `hcl:"description"`
}

// Database is the block of the db tier, with the attributes that only it has.
type Database struct {
	Tier
	// The private address that the web tier finds the database at, whichever instance that is: IPv4, inside the tier's
	// subnet, and none of the five that AWS keeps for itself there. In a network that Goldsmith makes it is reserved;
	// elsewhere one that somebody else has is refused, not taken. The default is ten after the subnet's first:
	// `10.0.2.10`.
	ServiceAddress netip.Addr `hcl:"service_address"`
	// The volume of the data.
	DataVolume DataVolume `hcl:"data_volume,block"`
}

// DataVolume is the EBS volume of the data; it outlives the instance that it is attached to.
type DataVolume struct {
	// The size in GiB: 1 to 16384, from 4 on with `io1` and `io2`. The default is 8.
	Size int32 `hcl:"size"`
	// `gp3`, `gp2`, `io1` or `io2`. The default is `gp3`.
	Type string `hcl:"type"`
	// Operations a second. `gp3`: 3000 to 80000, beyond 3000 at most 500 for each GiB; the default is 3000. `io1`: 100
	// to 64000, at most 50 for each GiB; `io2`: 100 to 256000, at most 1000 for each GiB; both need it. `gp2` takes
	// none.
	IOPS int32 `hcl:"iops"`
	// MiB a second, for `gp3` alone: 125 to 2000, at most a quarter of `iops`. The default is 125.
	Throughput int32 `hcl:"throughput"`
	// Whether it is encrypted. The default is true.
	Encrypted bool `hcl:"encrypted"`
	// The KMS key that it is encrypted with: an id, an alias such as `alias/db`, or the ARN of either. The default is
	// the account's key for EBS.
	KMSKeyID string `hcl:"kms_key_id"`
}

// Web is the block of the web tier, with the attributes that only it has.
type Web struct {
	Tier
	// How many instances; in a network that Goldsmith makes, no more than there are addresses in the subnet. The
	// default is 1.
	Count int32 `hcl:"count"`
	// Who keeps the number of instances: `single`, Goldsmith itself, or `asg`, an Auto Scaling group. The default is
	// `single` for one instance, and `asg` for several, which need it.
	Scaling string `hcl:"scaling"`
}

// HealthCheck is the check that a new web instance must pass: HTTPS answers with status 200, so many in a row.
type HealthCheck struct {
	// The path that is asked for. The default is `/health`.
	Path string `hcl:"path"`
	// The duration between two checks: 100ms to 5m. The default is `500ms`. A load balancer asks every 5s at most.
	Interval time.Duration `hcl:"interval"`
	// The duration that an answer may take: 100ms to 5m. The default is `5s`.
	Timeout time.Duration `hcl:"timeout"`
	// How many good answers in a row it takes: 1 to 100. The default is 3. A load balancer takes 2 to 10.
	HealthyThreshold int32 `hcl:"healthy_threshold"`
	// The duration after which an instance that is not good has failed: 1s to 24h, and time enough for
	// `healthy_threshold` checks. The default is `5m`, and `10m` with `scaling = "asg"`: a load balancer takes minutes
	// to find its first targets healthy.
	Deadline time.Duration `hcl:"deadline"`
}

// Deploy is the replacement of old instances by new ones in a deployment.
type Deploy struct {
	// The duration that a new instance is watched after the traffic moved to it; if it fails, the old one comes back:
	// 0s to 24h. The default is `10s`.
	BakeTime time.Duration `hcl:"bake_time"`
	// The duration that the old instance may go on with what it has begun: 0s to 1h. The default is `5s`.
	DrainTime time.Duration `hcl:"drain_time"`
	// How many snapshots of the data volume are kept: 1 or more. The default is 3.
	KeepSnapshots int32 `hcl:"keep_snapshots"`
	// The duration after which the whole deployment has failed: 1s to 24h, longer than `bake_time` and `drain_time`
	// together, and than `bake_time` and the pauses at `checkpoints`. The default is `10m`; with `scaling = "asg"`,
	// whose instances are replaced one after the other, `6m` more for each, and the pauses and `bake_time`.
	Timeout time.Duration `hcl:"timeout"`
	// With `scaling = "asg"`: the percentage of the instances that stays healthy meanwhile, 0 to 100. The default is
	// 90.
	MinHealthyPercentage int32 `hcl:"min_healthy_percentage"`
	// With `scaling = "asg"`: the percentages of new instances, 1 to 100 and ascending, at which there is a pause.
	// After the last one the rest follows. The default is none.
	Checkpoints []int32 `hcl:"checkpoints"`
	// With `checkpoints`: the duration of each pause, in whole seconds, 0s to 48h. The default is that of `bake_time`.
	CheckpointDelay time.Duration `hcl:"checkpoint_delay"`
	// With `scaling = "asg"`: whether a deployment that fails goes back by itself. The default is true.
	AutoRollback bool `hcl:"auto_rollback"`
}

// defaults is an empty file's settings. Those that depend on others are set when a file is checked.
func defaults() *File {
	tier := func(subnet string) Tier { return Tier{Subnet: subnet, InstanceType: "t3.small"} }
	return &File{
		Name: "golden",
		Network: Network{
			CIDR:        netip.MustParsePrefix("10.0.0.0/16"),
			PublicCIDR:  netip.MustParsePrefix("10.0.1.0/24"),
			PrivateCIDR: netip.MustParsePrefix("10.0.2.0/24"),
		},
		Database: Database{Tier: tier("private"), DataVolume: DataVolume{Size: 8, Type: "gp3", Encrypted: true}},
		Web:      Web{Tier: tier("public"), Count: 1},
		HealthCheck: HealthCheck{
			Path:             "/health",
			Interval:         500 * time.Millisecond,
			Timeout:          5 * time.Second,
			HealthyThreshold: 3,
			Deadline:         5 * time.Minute,
		},
		Deploy: Deploy{
			BakeTime:             10 * time.Second,
			DrainTime:            5 * time.Second,
			KeepSnapshots:        3,
			Timeout:              10 * time.Minute,
			MinHealthyPercentage: 90,
			AutoRollback:         true,
		},
	}
}
