// Package ec2id checks ids and device names of EC2. They come from callers of the API, and become parts of paths, of
// the names of network devices and of words of firewall rules. So whoever is given one checks it before doing anything.
package ec2id

import (
	"fmt"
	"regexp"
)

// Kind is the kind of resource that an id is of; it begins the id.
type Kind string

// The kinds of resources.
const (
	Machine   Kind = "i"
	Image     Kind = "ami"
	Volume    Kind = "vol"
	Snapshot  Kind = "snap"
	Interface Kind = "eni"
	VPC       Kind = "vpc"
	Subnet    Kind = "subnet"
	Group     Kind = "sg"
)

// validTail matches what follows an id's kind. EC2 has 8 or 17 hexadecimal digits there.
var validTail = regexp.MustCompile(`^-[a-z0-9]{1,32}$`)

// Check refuses what is no id of this kind.
func (k Kind) Check(id string) error {
	if len(id) > len(k) && id[:len(k)] == string(k) && validTail.MatchString(id[len(k):]) {
		return nil
	}
	return fmt.Errorf("id %.60q: one such as %s-0123456789abcdef0 is needed", id, k)
}

// validDevice matches the names that EC2 takes for a block device. Others are of what a machine needs: null, for
// example.
var validDevice = regexp.MustCompile(`^/dev/(sd|hd|xvd)[a-z]{1,2}([1-9]|1[0-5])?$`)

// CheckDevice refuses what is no name of a block device.
func CheckDevice(device string) error {
	if validDevice.MatchString(device) {
		return nil
	}
	return fmt.Errorf("device %.60q: a name such as /dev/sdf is needed", device)
}
