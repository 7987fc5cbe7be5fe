package ec2ops

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
)

// vpc makes a VPC that is not found for a while.
func vpc(t *testing.T, lag time.Duration) (api *ec2.Client, id string) {
	t.Helper()
	a := ec2fake.New(t)
	a.Lag = lag
	api = ec2.NewFromConfig(a.Config(), AwaitNew)
	made, err := api.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	return api, *made.Vpc.VpcId
}

func attribute(ctx context.Context, api *ec2.Client, id string) error {
	_, err := api.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{
		VpcId:     aws.String(id),
		Attribute: types.VpcAttributeNameEnableDnsHostnames,
	})
	return err
}

func TestNewIsNotYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := vpc(t, 30*time.Second)
		subnet, err := api.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: aws.String(id)})
		if err != nil || attribute(t.Context(), api, id) != nil {
			t.Fatalf("got %v", err)
		}
		tags := &ec2.CreateTagsInput{Resources: []string{*subnet.Subnet.SubnetId}, Tags: TagPairs("a", "b")}
		if _, err := api.CreateTags(t.Context(), tags); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsNotNewIsNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := vpc(t, time.Hour)
		began := time.Now()
		if err := attribute(t.Context(), api, "vpc-0123abcd"); !awserr.NotFound(err) || time.Since(began) > 0 {
			t.Errorf("of another: after %s got %v", time.Since(began), err)
		}
		ctx, interrupt := context.WithTimeout(t.Context(), 10*time.Second)
		defer interrupt()
		if err := attribute(ctx, api, id); err == nil || time.Since(began) != 10*time.Second {
			t.Errorf("interrupted: after %s got %v", time.Since(began), err)
		}
		if err := attribute(t.Context(), api, id); !awserr.NotFound(err) || time.Since(began) > 2*await.Settle {
			t.Errorf("never: after %s got %v", time.Since(began), err)
		}
	})
}

// TestWhatIsDeletedIsNotAwaited: who waits until something is gone would wait for it to come.
func TestWhatIsDeletedIsNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := vpc(t, 0)
		remove := &ec2.DeleteVpcInput{VpcId: aws.String(id)}
		if _, err := api.DeleteVpc(t.Context(), remove); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, again := api.DeleteVpc(t.Context(), remove)
		if err := errors.Join(again, attribute(t.Context(), api, id)); !awserr.NotFound(err) || time.Since(began) > 0 {
			t.Errorf("after %s got %v", time.Since(began), err)
		}
	})
}

// TestKeyPairIsNew: calls know a key pair by its name, with which it was asked for.
func TestKeyPairIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		a.Lag = 30 * time.Second
		a.In("us-east-1").AddImage(types.Image{ImageId: aws.String("ami-0aaaaaaaa")})
		a.In("us-east-1").AddSubnet(types.Subnet{SubnetId: aws.String("subnet-0aaaaaaaa")})
		api := ec2.NewFromConfig(a.Config(), AwaitNew)
		launch := func(key string) error {
			_, err := api.RunInstances(t.Context(), &ec2.RunInstancesInput{
				ImageId:  aws.String("ami-0aaaaaaaa"),
				SubnetId: aws.String("subnet-0aaaaaaaa"),
				KeyName:  aws.String(key),
				MinCount: aws.Int32(1),
				MaxCount: aws.Int32(1),
			})
			return err
		}
		_, err := api.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{
			KeyName:           aws.String("mine"),
			PublicKeyMaterial: []byte("ssh-ed25519 AAAA"),
		})
		if err = errors.Join(err, launch("mine")); err != nil {
			t.Error(err)
		}
		began := time.Now()
		if err = launch("nobody's"); !awserr.NotFound(err) || time.Since(began) > 0 {
			t.Errorf("after %s got %v", time.Since(began), err)
		}
	})
}

// TestNewIsDeleted: what is not known yet would stay.
func TestNewIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := vpc(t, 10*time.Second)
		if _, err := api.DeleteVpc(t.Context(), &ec2.DeleteVpcInput{VpcId: aws.String(id)}); err != nil {
			t.Error(err)
		}
	})
}

// TestMade has a filter show something from a look on.
func TestMade(t *testing.T) {
	refused := errors.New("refused")
	for _, c := range []struct {
		name  string
		known string
		lost  bool
		from  time.Duration
		err   error
		want  []string
		took  time.Duration
	}{
		{"it is shown", "", true, 0, nil, []string{"i-1"}, 0},
		{"it is shown late", "", true, 7 * time.Second, nil, []string{"i-1"}, 10 * time.Second},
		{"nothing was made", "", true, time.Hour, nil, nil, 15 * time.Second},
		{"nobody asked for it", "", false, time.Hour, nil, nil, 0},
		{"it is known", "i-1", true, time.Hour, nil, []string{"i-1"}, 0},
		{"it is known, and another is there", "i-2", true, 0, nil, []string{"i-1", "i-2"}, 0},
		{"it is known, and nobody can look", "i-2", true, time.Hour, refused, []string{"i-2"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got, err := Made(t.Context(), c.lost, func(context.Context) ([]string, error) {
					if time.Since(began) < c.from {
						return nil, c.err
					}
					return []string{"i-1"}, c.err
				}, c.known)
				if took := time.Since(began); !slices.Equal(got, c.want) || !errors.Is(err, c.err) || took != c.took {
					t.Errorf("after %s got %v, %v", took, got, err)
				}
			})
		})
	}
}

// TestTemplateThatIsNotThere: that there is no launch template of a name is known at once, also where a call names a
// key pair or a group beside it that was made just now.
func TestTemplateThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := vpc(t, 0)
		group, err := api.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{
			GroupName:   aws.String("g"),
			Description: aws.String("g"),
			VpcId:       aws.String(id),
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = api.CreateLaunchTemplateVersion(t.Context(), &ec2.CreateLaunchTemplateVersionInput{
			LaunchTemplateName: aws.String("none"),
			LaunchTemplateData: &types.RequestLaunchTemplateData{SecurityGroupIds: []string{*group.GroupId}},
		})
		if !awserr.NotFound(err) || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}
