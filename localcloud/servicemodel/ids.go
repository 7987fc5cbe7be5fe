package servicemodel

import (
	"regexp"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// prefixes are the members of EC2's requests that take ids, with the prefix of those. The model says only that they are
// strings.
var prefixes = map[string]string{
	"GroupId":             "sg",
	"ImageId":             "ami",
	"InstanceId":          "i",
	"InternetGatewayId":   "igw",
	"LaunchTemplateId":    "lt",
	"NatGatewayId":        "nat",
	"NetworkAclId":        "acl",
	"NetworkInterfaceId":  "eni",
	"RouteTableId":        "rtb",
	"SecurityGroupId":     "sg",
	"SecurityGroupRuleId": "sgr",
	"SnapshotId":          "snap",
	"SourceSnapshotId":    "snap",
	"SubnetId":            "subnet",
	"VolumeId":            "vol",
	"VpcEndpointId":       "vpce",
	"VpcId":               "vpc",
}

// hexadecimal matches an id's number: of 8 digits where it is old, of 17 else (EC2 User Guide, Resource IDs).
var hexadecimal = regexp.MustCompile(`^(?:[0-9a-f]{8}|[0-9a-f]{17})$`)

// id refuses a value that is no id of the kind that its member takes.
func (k *checker) id(path, value string) error {
	names := strings.Split(strings.TrimRight(path, ".0123456789"), ".")
	prefix, ok := prefixes[names[len(names)-1]]
	switch {
	case !ok, value == "", k.anyValue:
		return nil
	case strings.HasSuffix(path, "Placement.GroupId"): // of a placement group
		return nil
	case prefix == "ami" && strings.HasPrefix(value, "resolve:ssm:"):
		return nil
	}
	if number, is := strings.CutPrefix(value, prefix+"-"); is && hexadecimal.MatchString(number) {
		return nil
	}
	kind, _ := apierror.KindOf(prefix)
	return awsquery.Fault(kind.Malformed, value, prefix)
}
