package host

import (
	"cmp"
	"fmt"
	"regexp"
)

// Ids and device names come from callers of the API, and become parts of paths, of the names of network devices and of
// words of firewall rules. So each exported method checks what it is given before it does anything with it.

// kind is what an id is of; it begins the id.
type kind string

const (
	machineID   kind = "i"
	imageID     kind = "ami"
	volumeID    kind = "vol"
	snapshotID  kind = "snap"
	interfaceID kind = "eni"
	vpcID       kind = "vpc"
	subnetID    kind = "subnet"
	groupID     kind = "sg"
)

// validTail is what follows an id's kind. EC2 has 8 or 17 hexadecimal digits there.
var validTail = regexp.MustCompile(`^-[a-z0-9]{1,32}$`)

// check refuses what is no id of this kind.
func (k kind) check(id string) error {
	if len(id) > len(k) && id[:len(k)] == string(k) && validTail.MatchString(id[len(k):]) {
		return nil
	}
	return fmt.Errorf("id %.60q: one such as %s-0123456789abcdef0 is needed", id, k)
}

// validDevice are the names that EC2 takes for a block device. Others are of what a machine needs: null, for example.
var validDevice = regexp.MustCompile(`^/dev/(sd|hd|xvd)[a-z]{1,2}([1-9]|1[0-5])?$`)

// checkDevice refuses what is no name of a block device.
func checkDevice(device string) error {
	if validDevice.MatchString(device) {
		return nil
	}
	return fmt.Errorf("device %.60q: a name such as /dev/sdf is needed", device)
}

// validPinned is a make of a base image, on which machines stand that were launched from it: see state.pin.
var validPinned = regexp.MustCompile(`^([a-z]+)-[0-9a-f]{12}$`)

// checkImage refuses what is no id of an image and no make of a base image either.
func checkImage(id string) error {
	if found := validPinned.FindStringSubmatch(id); found != nil && recipes[found[1]].instance {
		return nil
	}
	return imageID.check(id)
}

// check refuses a machine of which a part would end up where it does not belong.
func (m Machine) check() error {
	err := cmp.Or(machineID.check(m.ID), checkImage(m.Image), volumeID.check(m.RootVolume), m.Interface.check())
	if err != nil {
		return err
	}
	if err := checkSize(m.RootSizeGB); err != nil {
		return fmt.Errorf("root volume %s: %w", m.RootVolume, err)
	}
	return nil
}

// maxSizeGB is the largest volume of EC2.
const maxSizeGB = 64 << 10

func checkSize(sizeGB int) error {
	if sizeGB < 1 || sizeGB > maxSizeGB {
		return fmt.Errorf("a size of %d GB is not between 1 and %d", sizeGB, maxSizeGB)
	}
	return nil
}
