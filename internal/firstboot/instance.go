package firstboot

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Identity is the instance's ids, addresses and names, from the metadata service.
type Identity struct {
	InstanceID string `json:"instance_id"`
	ImageID    string `json:"image_id"`
	Region     string `json:"region"`
	Private    string `json:"private"`
	Public     string `json:"public,omitempty"`
	// Service is the address that moves from instance to instance, if the instance is to have one.
	Service string   `json:"service,omitempty"`
	Names   []string `json:"names,omitempty"`
}

// Address is the IP address that servers of a tier without public addresses listen on.
func (i Identity) Address() string { return cmp.Or(i.Service, i.Private) }

// PublicName is the address by which others reach the instance.
func (i Identity) PublicName() string { return cmp.Or(i.Service, i.Public, i.Private) }

// Instance is first boot's note of the settings and identity of the stack's instance that it runs on; later units read
// it.
type Instance struct {
	Settings instance.Settings `json:"settings"`
	Identity Identity          `json:"identity"`
	// OwnCertificate says that the server's certificate is one that the instance made, for its addresses; one that the
	// user gave is for names of the user's.
	OwnCertificate bool `json:"own_certificate,omitempty"`
}

func instancePath() string { return filepath.Join(instance.RunDir, "instance.json") }

// readInstance reads the file that Run wrote; fs.ErrNotExist if the machine is no instance of a stack.
func readInstance() (Instance, error) {
	var i Instance
	text, err := os.ReadFile(instancePath())
	if err != nil {
		return i, err
	}
	return i, json.Unmarshal(text, &i)
}

func (i Instance) write() error {
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return WriteFile(instancePath(), text, 0o644, 0, 0)
}

// describe is the image's description for the instance's kind of tier.
func (i Instance) describe() (imagespec.Description, error) {
	d, err := imagespec.Read(instance.DescriptionDir, i.Settings.Kind)
	if errors.Is(err, imagespec.ErrNotForKind) {
		return d, fmt.Errorf(
			"become tier %s of stack %s: image %s: %w\nhint: deploy an image that was baked for the tier",
			i.Settings.Tier,
			i.Settings.Stack,
			i.Identity.ImageID,
			err,
		)
	}
	return d, err
}

// dataTier is an instance of a data tier, with the data block of its image's description.
type dataTier struct {
	Instance
	data      imagespec.Data
	setup     Setup
	volumeDir string
}

// readDataTier is nil on a machine that is no instance of a data tier.
func readDataTier(setups Setups) (*dataTier, error) {
	i, err := readInstance()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if i.Settings.Kind != instance.KindData {
		return nil, nil
	}
	d, err := i.describe()
	if err != nil {
		return nil, err
	}
	setup, err := setups.of(d)
	if err != nil || setup == nil || d.Data == nil {
		return nil, err
	}
	return &dataTier{Instance: i, data: *d.Data, setup: setup, volumeDir: VolumeDir}, nil
}

// Boot is one first boot: the instance, and the secrets that its image's description names.
type Boot struct {
	Instance
	values map[string]string
}

// Secret is the value of a parameter of a tier, of the instance's own where that is empty. It is empty for a parameter
// that is not there.
func (b Boot) Secret(tier, parameter string) string { return b.values[b.parameter(tier, parameter)] }

func (b Boot) parameter(tier, parameter string) string {
	return strings.Join([]string{b.Settings.Parameters, cmp.Or(tier, b.Settings.Tier), parameter}, "/")
}
