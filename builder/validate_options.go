package builder

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/template/config"
)

var (
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
	regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
	orgARN     = regexp.MustCompile(`^arn:aws[a-z-]*:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}$`)
	ouARN      = regexp.MustCompile(`^arn:aws[a-z-]*:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}/ou-[a-z0-9-]+$`)
	arn        = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:.+$`)
)

// optionFaults are the errors in the options of instance and image.
func (c *Config) optionFaults() []error {
	return slices.Concat(c.typeFaults(), c.launchFaults(), c.shareFaults(), c.copyFaults(), c.imageFaults())
}

// each holds every value of a list to a form.
func each(attribute, form string, pattern *regexp.Regexp, values []string) []error {
	var errs []error
	for _, value := range values {
		if !pattern.MatchString(value) {
			add(&errs, "%s: %q should be %s", attribute, value, form)
		}
	}
	return errs
}

// oneOf holds a value that may be left out to a list.
func oneOf(attribute, value string, allowed ...string) []error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return []error{fmt.Errorf("%s: %q should be %s", attribute, value, strings.Join(allowed, " or "))}
}

func (c *Config) typeFaults() []error {
	var errs []error
	switch {
	case len(c.types()) == 0:
		add(&errs, "instance_type: it is missing; name one, such as t3.small")
	case c.InstanceType != "":
		errs = append(errs, each("instance_type", "a type such as t3.small", instanceType, []string{c.InstanceType})...)
	}
	errs = append(errs, each("instance_types", "a type such as t3.small", instanceType, c.InstanceTypes)...)
	errs = append(errs, each("spot_instance_types", "a type such as t3.small", instanceType, c.SpotInstanceTypes)...)
	if len(c.SpotInstanceTypes) > 0 && c.InstanceType != "" {
		add(&errs, "spot_instance_types: it cannot go with instance_type; take one out")
	}
	if price, err := strconv.ParseFloat(c.SpotPrice, 64); c.SpotPrice != "" && c.SpotPrice != "auto" &&
		(err != nil || !(price >= 0 && price < 1000)) {
		add(&errs, "spot_price: %q should be auto or dollars an hour such as 0.05", c.SpotPrice)
	}
	errs = append(errs, c.spotFaults()...)
	return append(errs, c.creditFaults()...)
}

// spotFaults is about what goes with spot instances only, and what does not.
func (c *Config) spotFaults() []error {
	var errs []error
	if !c.spot() {
		if len(c.SpotInstanceTypes) > 0 {
			add(&errs, "spot_instance_types: it goes with spot_price")
		}
		if len(c.SpotTags) > 0 {
			add(&errs, "spot_tags: it goes with spot_price")
		}
	}
	if c.spot() && c.AMIENASupport != config.TriUnset {
		add(&errs, "ena_support: it cannot go with spot_price: a spot instance cannot be stopped to change it")
	}
	if c.spot() && c.AMISriovNetSupport {
		add(&errs, "sriov_support: it cannot go with spot_price: a spot instance cannot be stopped to change it")
	}
	return errs
}

// creditFaults is about types that have CPU credits.
func (c *Config) creditFaults() []error {
	var errs []error
	if c.EnableUnlimitedCredits {
		for _, kind := range c.types() {
			if !isBurstable(kind) {
				add(
					&errs,
					"enable_unlimited_credits: %s has no CPU credits; %s have",
					kind,
					strings.Join(burstable, ", "),
				)
			} else if c.spot() && strings.HasPrefix(kind, "t2.") {
				add(&errs, "enable_unlimited_credits: %s has none as a spot instance", kind)
			}
		}
	}
	return errs
}

// launchFaults is about where and as what the instance is launched.
func (c *Config) launchFaults() []error {
	errs := ids("subnet_ids", "subnet-", c.SubnetIds...)
	if len(c.SubnetIds) > 0 && (c.SubnetId != "" || len(c.SubnetFilter.Filters) > 0) {
		add(&errs, "subnet_ids: it cannot go with subnet_id or subnet_filter; take one out")
	}
	errs = append(errs, oneOf("metadata_options.instance_metadata_tags", c.Metadata.InstanceMetadataTags, "enabled",
		"disabled")...)
	errs = append(errs, oneOf("shutdown_behavior", c.InstanceInitiatedShutdownBehavior, "stop", "terminate")...)
	errs = append(errs, oneOf("tenancy", c.Tenancy, "default", "dedicated", "host")...)
	p := c.Placement
	errs = append(errs, oneOf("placement.tenancy", p.Tenancy, "default", "dedicated", "host")...)
	errs = append(errs, ids("placement.host_id", "h-", p.HostId)...)
	if p.HostId != "" && p.HostResourceGroupArn != "" {
		add(&errs, "placement.host_id: it cannot go with host_resource_group_arn; take one out")
	}
	if (p.HostId != "" || p.HostResourceGroupArn != "") && p.Tenancy != "host" {
		add(&errs, "placement.tenancy: %q cannot go with a host; it should be host", p.Tenancy)
	}
	if c.spot() && p.Tenancy == "host" {
		add(&errs, "placement.tenancy: host cannot go with spot_price")
	}
	for _, named := range [][2]string{
		{"placement.host_resource_group_arn", p.HostResourceGroupArn},
		{"capacity_reservation_group_arn", c.CapacityReservationGroupArn},
	} {
		if named[1] != "" {
			errs = append(errs, each(named[0], "an ARN", arn, named[1:])...)
		}
	}
	errs = append(errs, c.reservationFaults()...)
	return append(errs, c.policyFaults()...)
}

// reservationFaults is about the capacity reservation.
func (c *Config) reservationFaults() []error {
	errs := oneOf("capacity_reservation_preference", c.CapacityReservationPreference, "open", "none")
	errs = append(errs, ids("capacity_reservation_id", "cr-", c.CapacityReservationId)...)
	count := 0
	for _, value := range []string{
		c.CapacityReservationPreference,
		c.CapacityReservationId,
		c.CapacityReservationGroupArn,
	} {
		if value != "" {
			count++
		}
	}
	if count > 1 {
		add(&errs, "capacity_reservation_id: it, capacity_reservation_group_arn and capacity_reservation_preference "+
			"cannot go together; take all but one out")
	}
	if count > 0 && c.spot() && c.CapacityReservationPreference != "none" {
		add(&errs, "capacity_reservation_preference: spot instances use no capacity reservation; "+
			"take it or spot_price out")
	}
	return errs
}

func (c *Config) policyFaults() []error {
	p := c.TemporaryInstanceProfilePolicy
	if p == nil {
		return nil
	}
	const attribute = "temporary_iam_instance_profile_policy_document"
	var errs []error
	if c.IamInstanceProfile != "" {
		add(&errs, attribute+": it cannot go with iam_instance_profile; take one out")
	}
	errs = append(errs, oneOf(attribute+".Version", p.Version, "2012-10-17", "2008-10-17")...)
	if len(p.Statement) == 0 {
		add(&errs, attribute+".Statement: at least one is needed")
	}
	for i, s := range p.Statement {
		at := fmt.Sprintf("%s.Statement[%d]", attribute, i)
		if s.Effect != "Allow" && s.Effect != "Deny" {
			add(&errs, "%s.Effect: %q should be Allow or Deny", at, s.Effect)
		}
		if len(s.Action) == 0 {
			add(&errs, "%s.Action: at least one is needed, such as s3:GetObject", at)
		}
		if len(s.Resource) == 0 {
			add(&errs, "%s.Resource: at least one is needed, such as an ARN", at)
		}
	}
	return errs
}

// shareFaults is about who may use the AMI. It is public only if ami_groups says so.
func (c *Config) shareFaults() []error {
	var errs []error
	errs = append(errs, each("ami_users", "an account's 12 digits (for everybody: ami_groups)", accountID,
		c.AMIUsers)...)
	errs = append(errs, each("snapshot_users", "an account's 12 digits", accountID, c.SnapshotUsers)...)
	errs = append(errs, each("ami_org_arns", "an organization's ARN", orgARN, c.AMIOrgArns)...)
	errs = append(errs, each("ami_ou_arns", "an organizational unit's ARN", ouARN, c.AMIOuArns)...)
	for _, shared := range []struct {
		attribute string
		groups    []string
	}{{"ami_groups", c.AMIGroups}, {"snapshot_groups", c.SnapshotGroups}} {
		for _, name := range shared.groups {
			errs = append(errs, oneOf(shared.attribute, name, "all")...)
		}
		if len(shared.groups) > 0 && c.AMIEncryptBootVolume.True() {
			add(&errs, "%s: what is encrypted cannot be public; take it or encrypt_boot out", shared.attribute)
		}
	}
	if c.AMIEncryptBootVolume.True() {
		errs = append(errs, c.keyFaults()...)
	}
	return errs
}

// keyFaults is about the keys of what is encrypted and shared: nobody but the account itself can use its default keys.
func (c *Config) keyFaults() []error {
	var errs []error
	for _, shared := range []struct {
		attribute string
		count     int
	}{
		{"ami_users", len(c.AMIUsers)},
		{"ami_org_arns", len(c.AMIOrgArns)},
		{"ami_ou_arns", len(c.AMIOuArns)},
		{"snapshot_users", len(c.SnapshotUsers)},
	} {
		if shared.count == 0 {
			continue
		}
		if c.AMIKmsKeyId == "" && len(c.AMIRegionKMSKeyIDs) == 0 {
			add(
				&errs,
				"%s: what is encrypted with the account's default key cannot be shared; name one with kms_key_id",
				shared.attribute,
			)
		}
		for _, region := range c.AMIRegions {
			if region != c.Region && c.AMIRegionKMSKeyIDs[region] == "" {
				add(&errs, "%s: what is encrypted with the default key of %s cannot be shared; "+
					"name one in region_kms_key_ids", shared.attribute, region)
			}
		}
	}
	return errs
}

func (c *Config) copyFaults() []error {
	errs := each("ami_regions", "a region such as eu-central-1", regionName, c.AMIRegions)
	if len(c.AMIRegionKMSKeyIDs) > 0 && !c.AMIEncryptBootVolume.True() {
		add(&errs, "region_kms_key_ids: it goes with encrypt_boot = true")
	}
	for _, region := range slices.Sorted(maps.Keys(c.AMIRegionKMSKeyIDs)) {
		if !slices.Contains(c.AMIRegions, region) && c.Region != "" && region != c.Region {
			add(&errs, "region_kms_key_ids: %q is not in ami_regions", region)
		}
	}
	return errs
}

// imageFaults is about the AMI itself.
func (c *Config) imageFaults() []error {
	errs := oneOf("imds_support", c.AMIIMDSSupport, "v2.0")
	if c.DeprecationTime != "" {
		at, err := time.Parse(time.RFC3339, c.DeprecationTime)
		switch {
		case err != nil || !strings.HasSuffix(c.DeprecationTime, "Z"):
			add(&errs, "deprecate_at: %q should be a time such as 2027-06-30T00:00:00Z", c.DeprecationTime)
		case at.Before(time.Now()) || at.After(time.Now().AddDate(10, 0, 0)):
			add(&errs, "deprecate_at: %s should be in the future, within ten years", c.DeprecationTime)
		}
	}
	if c.DeregistrationProtection.WithCooldown && !c.DeregistrationProtection.Enabled {
		add(&errs, "deregistration_protection.with_cooldown: it goes with enabled = true")
	}
	if c.AMIForceDeleteSnapshot && !c.AMIForceDeregister {
		add(&errs, "force_delete_snapshot: it goes with force_deregister = true")
	}
	if c.AMISkipCreateImage && c.Prove != nil {
		add(&errs, "skip_create_ami: without an AMI there is nothing to prove; take out the prove block")
	}
	if c.AMISkipCreateImage && (len(c.AMIRegions) > 0 || len(c.launchPermissions()) > 0) {
		add(
			&errs,
			"skip_create_ami: without an AMI there is nothing to copy or share; take out ami_regions, ami_users, "+
				"ami_groups, ami_org_arns and ami_ou_arns",
		)
	}
	return errs
}
