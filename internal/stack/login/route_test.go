package login

import (
	"maps"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// TestUserIsTheImages: Ubuntu's images have another one than Debian's.
func TestUserIsTheImages(t *testing.T) {
	a := ec2fake.New(t)
	conf := a.Config()
	for id, user := range map[string]string{"ami-0db1": "ubuntu", "ami-0eb1": ""} {
		image := types.Image{ImageId: aws.String(id), Name: aws.String(id)}
		if user != "" {
			image.Tags = []types.Tag{{Key: aws.String(images.UserTag), Value: aws.String(user)}}
		}
		a.In(conf.Region).AddImage(image)
	}
	s := defaultstack.New(conf, stackfile.Default(), t.Logf)
	got, err := s.ImageTags(t.Context(), images.UserTag, []stack.Instance{
		{ID: "i-1", Image: "ami-0eb1"},
		{ID: "i-2", Image: "ami-0db1"},
		{ID: "i-3", Image: "ami-0db1"},
		{ID: "i-4", Image: "ami-9999"}, // deregistered since
	}...)
	want := map[string]string{"ami-0db1": "ubuntu", "ami-0eb1": ""}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
