package moto

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// RootDevice is the name of the root device, as on Debian's own images.
const RootDevice = "/dev/xvda"

// BaseImage is an image that the cloud comes with.
type BaseImage struct {
	ID, Name, Owner, Description string
}

// BaseImages have Debian's own names and owners, so that one filter finds the image here and on AWS. Their ids are
// fixed: what stands on them outlives moto.
var BaseImages = map[string]BaseImage{
	"trixie": {"ami-0d13000000000001a", "debian-13-" + runtime.GOARCH + "-20260101-local", "136693071363",
		"Debian 13, made on this host"},
	"sid": {"ami-051d000000000001a", "debian-sid-" + runtime.GOARCH + "-daily-20260101-local", "903794441882",
		"Debian sid, made on this host"},
	"bookworm": {"ami-0d12000000000001a", "debian-12-" + runtime.GOARCH + "-20260101-local", "136693071363",
		"Debian 12, made on this host"},
}

// IsBase tells whether an image is one that the cloud comes with.
func IsBase(image string) bool {
	for _, base := range BaseImages {
		if base.ID == image {
			return true
		}
	}
	return false
}

// architecture is EC2's name for what this host's processor, and so each instance's, is.
func architecture() string {
	if runtime.GOARCH == "amd64" {
		return "x86_64"
	}
	return runtime.GOARCH
}

// Files are the files of moto, below /etc/moto. It knows of all base images; those that were not made are not shown.
func Files() (map[string][]byte, error) {
	images := []map[string]any{}
	// In this order: ids that the server makes depend on it.
	for _, release := range []string{"trixie", "sid", "bookworm"} {
		image := BaseImages[release]
		images = append(images, map[string]any{
			"ami_id":              image.ID,
			"name":                image.Name,
			"description":         image.Description,
			"owner_id":            image.Owner,
			"image_location":      image.Owner + "/" + image.Name,
			"public":              true,
			"virtualization_type": "hvm",
			"architecture":        architecture(),
			"state":               "available",
			"image_type":          "machine",
			"hypervisor":          "xen",
			"root_device_name":    RootDevice,
			"root_device_type":    "ebs",
			"sriov":               "simple",
			"creation_date":       "2026-01-01T00:00:00.000Z",
		})
	}
	content, err := json.Marshal(images)
	if err != nil {
		return nil, fmt.Errorf("describe the base images: %w", err)
	}
	return map[string][]byte{"amis.json": content}, nil
}

// Environment is the environment of moto; it makes it check what EC2 checks.
func Environment() map[string]string {
	return map[string]string{
		"MOTO_AMIS_PATH":                           "/etc/moto/amis.json",
		"MOTO_ENABLE_AMI_VALIDATION":               "true",
		"MOTO_ENABLE_KEYPAIR_VALIDATION":           "true",
		"MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
		"MOTO_ACCOUNT_ID":                          awsquery.Account,
		"MOTO_DISABLE_GLOBAL_CORS":                 "true",
		"MOTO_IAM_LOAD_MANAGED_POLICIES":           "true",
	}
}
