package stackfile

import (
	"math"
	"regexp"
)

// volumeType has EC2's limits for a type of volume.
type volumeType struct {
	minSize          int32 // GiB
	minIOPS, maxIOPS int32 // none where it is 0
	perGiB           int32 // operations
}

var volumeTypes = map[string]volumeType{
	"gp3": {minSize: 1, minIOPS: 3000, maxIOPS: 80000, perGiB: 500},
	"gp2": {minSize: 1},
	"io1": {minSize: 4, minIOPS: 100, maxIOPS: 64000, perGiB: 50},
	"io2": {minSize: 4, minIOPS: 100, maxIOPS: 256000, perGiB: 1000},
}

const maxVolumeSize = 16384

var kmsKey = regexp.MustCompile(
	`^((arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?alias/[A-Za-z0-9/_-]+|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/` +
		`[A-Za-z0-9-]+|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`,
)

// checkVolume checks a volume against EC2's limits, and sets the defaults of gp3.
func (r *reader) checkVolume(v *DataVolume, b *block) {
	r.oneOf(b, "type", v.Type, "gp3", "gp2", "io1", "io2")
	if !b.good("type") {
		return
	}
	is := volumeTypes[v.Type]
	within(r, b, "size", v.Size, is.minSize, maxVolumeSize)
	r.checkIOPS(v, is, b)
	switch {
	case v.Type == "gp3" && !b.given("throughput"):
		v.Throughput = 125
	case v.Type == "gp3" && b.good("throughput"):
		within(r, b, "throughput", v.Throughput, 125, 2000)
		if most := v.IOPS / 4; b.good("iops", "throughput") && v.Throughput > most {
			r.fault(b, "throughput",
				"%d is too much for %d iops; it should be a quarter of them at most, %d, or iops %d or more",
				v.Throughput, v.IOPS, most, v.Throughput*4)
		}
	case b.given("throughput"):
		r.fault(b, "throughput", "it goes with gp3, and not with %s; take it out", v.Type)
	}
	r.matches(b, "kms_key_id", v.KMSKeyID, kmsKey, "a key's id, an alias such as alias/db, or the ARN of either")
	if b.given("kms_key_id") && !v.Encrypted {
		r.fault(b, "kms_key_id", "it goes with encrypted = true; take one out")
	}
}

func (r *reader) checkIOPS(v *DataVolume, is volumeType, b *block) {
	switch {
	case is.maxIOPS == 0:
		if b.given("iops") {
			r.fault(b, "iops", "it goes with gp3, io1 and io2, and not with %s; take it out", v.Type)
		}
		return
	case v.Type == "gp3" && !b.given("iops"):
		v.IOPS = is.minIOPS
	case !b.given("iops"):
		r.fault(b, "iops", "it is missing; %s needs it: %d to %d", v.Type, is.minIOPS, is.maxIOPS)
	case b.good("iops"):
		within(r, b, "iops", v.IOPS, is.minIOPS, is.maxIOPS)
	}
	most := int32(min(int64(v.Size)*int64(is.perGiB), math.MaxInt32))
	if v.Type == "gp3" {
		most = max(most, is.minIOPS) // which every size has
	}
	if b.good("size", "iops") && v.IOPS > most {
		r.fault(b, "iops", "%d is too much for %d GiB of %s; it should be %d at most, or size %d or more", v.IOPS,
			v.Size, v.Type, most, (v.IOPS+is.perGiB-1)/is.perGiB)
	}
}
