package deploy

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// TestMostTags has the most tags that the stack file takes be no more than EC2 takes, with Goldsmith's own: 50.
func TestMostTags(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(f *stackfile.File) {
			f.Database.Tags, f.Web.Tags = map[string]string{}, map[string]string{}
			for i := range 41 {
				f.Database.Tags[fmt.Sprint("a", i)], f.Web.Tags[fmt.Sprint("b", i)] = "x", "x"
			}
		})
		w.mustDeploy("1")
		w.mustDeploy("2")
		instances, err := w.stack.Instances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		most := 0
		for _, i := range instances {
			if most = max(most, len(i.Detail.Tags)); len(i.Detail.Tags) > 50 {
				t.Errorf("%s of %s has %d tags", i.ID, i.Tier, len(i.Detail.Tags))
			}
		}
		if most != 50 {
			t.Errorf("the most tags of an instance are %d: the limit is too low", most)
		}
		volumes, err := ec2ops.Volumes(t.Context(), w.stack.EC2, &ec2.DescribeVolumesInput{})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range volumes {
			if len(v.Tags) > 50 {
				t.Errorf("%s has %d tags", *v.VolumeId, len(v.Tags))
			}
		}
	})
}
