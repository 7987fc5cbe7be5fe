package ec2ops

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
)

const region = "us-east-1"

// land is an account with an instance that was launched just now.
func land(t *testing.T, lag, pace time.Duration) (a *ec2fake.Account, api *ec2.Client, id string) {
	t.Helper()
	a = ec2fake.New(t)
	a.Lag, a.Pace = lag, pace
	image := a.In(region).AddImage(types.Image{Name: aws.String("debian")})
	subnet := a.In(region).AddSubnet(types.Subnet{})
	api = ec2.NewFromConfig(a.Config())
	out, err := api.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId:  image.ImageId,
		SubnetId: aws.String(subnet),
		MinCount: aws.Int32(1),
		MaxCount: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, api, *out.Instances[0].InstanceId
}

func TestInstanceFromItsLaunchToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, api, id := land(t, 50*time.Second, 70*time.Second)
		for _, row := range []*apierror.Row{apierror.RequestLimitExceeded, apierror.InternalError} {
			a.Fail(ec2fake.Fault{Call: "DescribeInstances", Nth: 3, Err: ec2fake.Err(row)})
		}
		i, err := UntilRunning(t.Context(), api, id, time.Now())
		if err != nil || i.State.Name != types.InstanceStateNameRunning {
			t.Fatalf("got %+v, %v", i.State, err)
		}
		if _, err = api.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
			t.Fatal(err)
		}
		if i, err = UntilStopped(
			t.Context(),
			api,
			id,
			time.Time{},
		); err != nil ||
			i.State.Name != types.InstanceStateNameStopped {
			t.Errorf("got %+v, %v", i.State, err)
		}
		if err := Terminate(t.Context(), api, id); err != nil || len(a.In(region).Instances()) > 0 {
			t.Errorf("got %v, there are %v", err, a.In(region).Instances())
		}
	})
}

func TestInstanceThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, api, id := land(t, 0, time.Minute)
		a.In(region).End(id, "Server.InsufficientInstanceCapacity", "no room")
		i, err := UntilRunning(t.Context(), api, id, time.Now())
		if err == nil || !strings.Contains(err.Error(), id) || aws.ToString(i.StateReason.Message) != "no room" {
			t.Errorf("got %+v, %v", i.StateReason, err)
		}
	})
}

// TestNotFound has an id be unknown: for a while that is no answer, and it is never one where nothing was made.
func TestNotFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		made  time.Duration // ago
		least time.Duration
		most  time.Duration
	}{
		{"made now", 0, 2 * time.Minute, 3 * time.Minute},
		{"made a minute ago", time.Minute, time.Minute, 2 * time.Minute},
		{"made long ago", time.Hour, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, api, _ := land(t, 0, 0)
				began := time.Now()
				made := began.Add(-c.made)
				none := Patience[*ec2.DescribeImagesOutput]{Made: made}
				_, image := UntilImage(t.Context(), api, "ami-0ffffffff", none)
				if took := time.Since(began); !awserr.NotFound(image) || took < c.least || took > c.most {
					t.Errorf("image: got %v after %s", image, took)
				}
				// The SDK's waiter for instances takes NotFound for "not yet" by itself.
				err := UntilVolume(t.Context(), api, "vol-0ffffffff", made.Add(-time.Hour))
				if !awserr.NotFound(err) {
					t.Errorf("volume: got %v", err)
				}
			})
		})
	}
}

func TestWaitThatHasToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, api, id := land(t, 0, time.Hour)
		limited, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		_, err := UntilRunning(limited, api, id, time.Now())
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), id) {
			t.Errorf("got %v", err)
		}
		a.Fail(ec2fake.Fault{Call: "DescribeInstances", Err: ec2fake.Err(apierror.RequestLimitExceeded)})
		limited, cancel = context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		_, err = UntilRunning(limited, api, id, time.Now())
		if !errors.Is(err, context.DeadlineExceeded) || awserr.Code(err) != "RequestLimitExceeded" {
			t.Errorf("AWS is busy for ever: got %v", err)
		}
		interrupted, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := UntilRunning(interrupted, api, id, time.Now()); !errors.Is(err, context.Canceled) {
			t.Errorf("an interrupt: got %v", err)
		}
	})
}

func TestLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, api, id := land(t, 0, time.Hour)
		a.In(region).SetImage("ami-00000001", func(i *types.Image) { i.State = types.ImageStatePending })
		began := time.Now()
		few := Patience[*ec2.DescribeImagesOutput]{Pause: 10 * time.Second, Looks: 3}
		image, err := UntilImage(t.Context(), api, "ami-00000001", few)
		if !errors.Is(err, ErrLooks) || image.State != types.ImageStatePending || len(a.Calls("DescribeImages")) != 3 ||
			time.Since(began) != 20*time.Second {
			t.Errorf("got %v after %s and %d looks", err, time.Since(began), len(a.Calls("DescribeImages")))
		}
		a.In(region).SetImage("ami-00000001", func(i *types.Image) {
			i.State, i.StateReason = types.ImageStateFailed, &types.StateReason{Message: aws.String("lost")}
		})
		image, err = UntilImage(t.Context(), api, "ami-00000001", Patience[*ec2.DescribeImagesOutput]{})
		if err == nil || aws.ToString(image.StateReason.Message) != "lost" {
			t.Errorf("an image that failed: got %+v, %v, of instance %s", image.StateReason, err, id)
		}
	})
}

// TestTerminateSome has EC2 have forgotten one of two instances, while the other is on its way out.
func TestTerminateSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, api, id := land(t, 0, time.Minute)
		began := time.Now()
		if _, err := api.TerminateInstances(
			t.Context(),
			&ec2.TerminateInstancesInput{InstanceIds: []string{id}},
		); err != nil {
			t.Fatal(err)
		}
		err := UntilTerminated(t.Context(), api, "i-0fffffff", id)
		if err != nil || time.Since(began) < time.Minute || len(a.In(region).Instances()) > 0 {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestVolumesAndSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, api, _ := land(t, 30*time.Second, time.Minute)
		volume, err := api.CreateVolume(t.Context(), &ec2.CreateVolumeInput{
			AvailabilityZone: aws.String(region + "a"),
			Size:             aws.Int32(1),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err = UntilVolume(t.Context(), api, *volume.VolumeId, time.Now()); err != nil {
			t.Error(err)
		}
	})
}

// oneVolume is EC2 with a volume in a state.
type oneVolume types.VolumeState

func (v oneVolume) DescribeVolumes(
	context.Context, *ec2.DescribeVolumesInput, ...func(*ec2.Options),
) (*ec2.DescribeVolumesOutput, error) {
	return &ec2.DescribeVolumesOutput{Volumes: []types.Volume{{State: types.VolumeState(v)}}}, nil
}

// TestVolumeThatIsLost: the SDK's waiter would wait for it until the end.
func TestVolumeThatIsLost(t *testing.T) {
	for _, state := range []types.VolumeState{
		types.VolumeStateError, types.VolumeStateDeleting, types.VolumeStateDeleted,
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := UntilVolume(t.Context(), oneVolume(state), "vol-1", time.Time{})
			if err == nil || !strings.Contains(err.Error(), "vol-1") || !strings.Contains(err.Error(), string(state)) ||
				time.Since(began) > time.Second {
				t.Errorf("%s: after %s got %v", state, time.Since(began), err)
			}
		})
	}
}

func TestTagsAndFilters(t *testing.T) {
	tags := Tags(map[string]string{"b": "1", "a": "2"}, map[string]string{"b": "3"})
	if len(tags) != 2 || *tags[0].Key != "a" || TagValue(tags, "b") != "3" || TagValue(tags, "c") != "" {
		t.Errorf("got %+v", tags)
	}
	if pairs := TagPairs("x", "1", "a", "2"); len(pairs) != 2 || *pairs[0].Key != "x" || *pairs[1].Value != "2" {
		t.Errorf("got %+v", pairs)
	}
	filters := Filters(map[string]string{"tag:x": "1", "name": "n"})
	if len(filters) != 2 || *filters[0].Name != "name" || *TagFilter("x", "1", "2").Name != "tag:x" {
		t.Errorf("got %+v", filters)
	}
}
