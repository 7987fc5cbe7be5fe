package ec2ops

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

const (
	// minDelay and maxDelay are the times between two looks.
	minDelay = 300 * time.Millisecond
	maxDelay = 5 * time.Second
	// longest is how long a wait may take whose context has no end.
	longest = time.Hour
)

// Patience makes an SDK's waiter repeat calls after passing errors. The waiter's own rule ends a wait at once with most
// errors: here throttling and faults of the service are waited out, and so is NotFound of a thing that was made a
// moment ago.
type Patience[O any] struct {
	// Made is the time at which the awaited thing was created. Where it is zero, NotFound is final.
	Made time.Time
	// Pause, if it is given, is the time between two looks, and Looks how many there may be.
	Pause time.Duration
	Looks int

	looks int
	last  error // the last answer, if it was an error
	seen  O     // the last one that was none
}

// ErrLooks is the end of a wait that has looked as often as it may.
var ErrLooks = errors.New("looked as often as it may")

// retryable wraps what the SDK's waiter makes of an answer.
func retryable[I, O any](
	p *Patience[O], ask func(context.Context, I, O, error) (bool, error),
) func(context.Context, I, O, error) (bool, error) {
	return func(ctx context.Context, in I, out O, err error) (again bool, _ error) {
		p.looks++
		p.last = err
		switch {
		case err == nil:
			p.seen = out
			again, err = ask(ctx, in, out, nil)
		case awserr.Transient(err), awserr.NotFound(err) && time.Since(p.Made) < await.Settle:
			again, err = true, nil
		default:
			again, err = ask(ctx, in, out, err)
		}
		if again && err == nil && p.Looks > 0 && p.looks >= p.Looks {
			return false, fmt.Errorf("%w, %d times", ErrLooks, p.looks)
		}
		if end, ok := ctx.Deadline(); again && err == nil && ok {
			// The SDK's waiter would go on without a pause where no more than the least one is left.
			if least, _ := p.delays(); time.Until(end) <= least {
				return false, context.DeadlineExceeded
			}
		}
		return again, err
	}
}

func (p *Patience[O]) delays() (least, most time.Duration) {
	if p.Pause > 0 {
		return p.Pause, p.Pause
	}
	return minDelay, maxDelay
}

// limit is how long the context lets a waiter wait.
func limit(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return longest
	}
	return max(time.Until(end), time.Nanosecond)
}

// ended is the error of a wait: with what AWS said last, if the wait had to end for want of time.
func (p *Patience[O]) ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	end, timed := ctx.Deadline()
	least, _ := p.delays()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() == nil && (!timed || time.Until(end) > least): // the waiter ends that much before the context
		return err
	case p.last != nil && !errors.Is(p.last, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, p.last)
	}
	return context.DeadlineExceeded
}

// UntilRunning waits until an instance runs. The instance is as it was seen last, also where it runs no more or never
// did, which is an error.
func UntilRunning(
	ctx context.Context, api ec2.DescribeInstancesAPIClient, id string, made time.Time,
) (types.Instance, error) {
	p := &Patience[*ec2.DescribeInstancesOutput]{Made: made}
	waiter := ec2.NewInstanceRunningWaiter(api, func(o *ec2.InstanceRunningWaiterOptions) {
		o.MinDelay, o.MaxDelay = p.delays()
		o.Retryable = retryable(p, o.Retryable)
	})
	err := waiter.Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, limit(ctx))
	return lastInstance(ctx, p, id, "runs", err)
}

// UntilStopped waits until an instance is stopped. The instance is as it was seen last, as with UntilRunning.
func UntilStopped(
	ctx context.Context, api ec2.DescribeInstancesAPIClient, id string, made time.Time,
) (types.Instance, error) {
	p := &Patience[*ec2.DescribeInstancesOutput]{Made: made}
	waiter := ec2.NewInstanceStoppedWaiter(api, func(o *ec2.InstanceStoppedWaiterOptions) {
		o.MinDelay, o.MaxDelay = p.delays()
		o.Retryable = retryable(p, o.Retryable)
	})
	err := waiter.Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, limit(ctx))
	return lastInstance(ctx, p, id, "is stopped", err)
}

func lastInstance(
	ctx context.Context, p *Patience[*ec2.DescribeInstancesOutput], id, wanted string, err error,
) (types.Instance, error) {
	last := types.Instance{InstanceId: aws.String(id)}
	if all := instancesOf(p.seen); len(all) > 0 {
		last = all[0]
	}
	if err = p.ended(ctx, err); err != nil {
		err = fmt.Errorf("wait until %s %s: %w", id, wanted, err)
	}
	return last, err
}

// Terminator ends instances; *ec2.Client does.
type Terminator interface {
	ec2.DescribeInstancesAPIClient
	TerminateInstances(
		context.Context, *ec2.TerminateInstancesInput, ...func(*ec2.Options),
	) (*ec2.TerminateInstancesOutput, error)
}

// Terminate ends instances and waits until they are gone: what they had is free then.
func Terminate(ctx context.Context, api Terminator, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	if err == nil {
		err = UntilTerminated(ctx, api, ids...)
	}
	if err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	return nil
}

// UntilTerminated waits until instances are terminated. Those that EC2 has forgotten are.
func UntilTerminated(ctx context.Context, api ec2.DescribeInstancesAPIClient, ids ...string) error {
	for len(ids) > 0 {
		p := &Patience[*ec2.DescribeInstancesOutput]{}
		waiter := ec2.NewInstanceTerminatedWaiter(api, func(o *ec2.InstanceTerminatedWaiterOptions) {
			o.MinDelay, o.MaxDelay = p.delays()
			o.Retryable = retryable(p, o.Retryable)
		})
		err := waiter.Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids}, limit(ctx))
		if err == nil || !awserr.NotFound(err) {
			return p.ended(ctx, err)
		}
		if ids, err = remaining(ctx, api, ids); err != nil {
			return err
		}
	}
	return nil
}

// remaining are those of some instances that EC2 still knows. A filter, unlike an id, may match nothing.
func remaining(ctx context.Context, api ec2.DescribeInstancesAPIClient, ids []string) ([]string, error) {
	var all []types.Instance
	again := func(err error) bool { return awserr.Transient(err) || awserr.NotFound(err) }
	err := await.Retry(ctx, await.Settle, again, func(ctx context.Context) (err error) {
		all, err = Instances(ctx, api, &ec2.DescribeInstancesInput{
			Filters: []types.Filter{Filter("instance-id", ids...)},
		})
		return err
	})
	var left []string
	for _, i := range all {
		if state, _ := StateOf(i); state != types.InstanceStateNameTerminated {
			left = append(left, aws.ToString(i.InstanceId))
		}
	}
	return left, err
}

// UntilImage waits until an image can be launched. The image is as it was seen last, also where it has failed, which is
// an error. How to look may be said by patience.
func UntilImage(
	ctx context.Context,
	api ec2.DescribeImagesAPIClient,
	id string,
	patience Patience[*ec2.DescribeImagesOutput],
) (types.Image, error) {
	p := &patience
	waiter := ec2.NewImageAvailableWaiter(api, func(o *ec2.ImageAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = p.delays()
		o.Retryable = retryable(p, unlessFailed(o.Retryable))
	})
	err := p.ended(ctx, waiter.Wait(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}}, limit(ctx)))
	last := types.Image{ImageId: aws.String(id)}
	if p.seen != nil && len(p.seen.Images) > 0 {
		last = p.seen.Images[0]
	}
	if err != nil {
		err = fmt.Errorf("wait for %s: %w", id, err)
	}
	return last, err
}

type imageRetryable = func(
	context.Context, *ec2.DescribeImagesInput, *ec2.DescribeImagesOutput, error,
) (bool, error)

// unlessFailed ends the SDK's wait in each state that an image does not come back from: the SDK's own knows one of
// them.
func unlessFailed(ask imageRetryable) imageRetryable {
	return func(
		ctx context.Context, in *ec2.DescribeImagesInput, out *ec2.DescribeImagesOutput, err error,
	) (bool, error) {
		if err == nil && len(out.Images) > 0 && Failed(out.Images[0]) {
			image, why := out.Images[0], ""
			if image.StateReason != nil {
				why = ": " + aws.ToString(image.StateReason.Message)
			}
			return false, fmt.Errorf("it is %s%s", image.State, why)
		}
		return ask(ctx, in, out, err)
	}
}

// Failed tells whether an image will never be available.
func Failed(image types.Image) bool {
	switch image.State {
	case "", types.ImageStateAvailable, types.ImageStatePending, types.ImageStateTransient:
		return false
	}
	return true
}

type volumeRetryable = func(
	context.Context, *ec2.DescribeVolumesInput, *ec2.DescribeVolumesOutput, error,
) (bool, error)

// unlessLost ends the SDK's wait in each state that a volume does not come back from: the SDK's own knows one of them.
func unlessLost(ask volumeRetryable) volumeRetryable {
	return func(
		ctx context.Context, in *ec2.DescribeVolumesInput, out *ec2.DescribeVolumesOutput, err error,
	) (bool, error) {
		if err == nil && len(out.Volumes) > 0 {
			switch out.Volumes[0].State {
			case types.VolumeStateDeleting, types.VolumeStateDeleted, types.VolumeStateError:
				return false, errors.New("it does not come back from that")
			}
		}
		return ask(ctx, in, out, err)
	}
}

// UntilVolume waits until a volume can be attached.
func UntilVolume(ctx context.Context, api ec2.DescribeVolumesAPIClient, id string, made time.Time) error {
	p := &Patience[*ec2.DescribeVolumesOutput]{Made: made}
	waiter := ec2.NewVolumeAvailableWaiter(api, func(o *ec2.VolumeAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = p.delays()
		o.Retryable = retryable(p, unlessLost(o.Retryable))
	})
	err := p.ended(ctx, waiter.Wait(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}}, limit(ctx)))
	if err != nil && p.seen != nil && len(p.seen.Volumes) > 0 {
		err = fmt.Errorf("it is %s: %w", p.seen.Volumes[0].State, err)
	}
	if err != nil {
		return fmt.Errorf("wait for volume %s to be available: %w", id, err)
	}
	return nil
}

// UntilNATAvailable waits until a NAT gateway passes traffic on.
func UntilNATAvailable(ctx context.Context, api ec2.DescribeNatGatewaysAPIClient, id string, made time.Time) error {
	p := &Patience[*ec2.DescribeNatGatewaysOutput]{Made: made}
	waiter := ec2.NewNatGatewayAvailableWaiter(api, func(o *ec2.NatGatewayAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = p.delays()
		o.Retryable = retryable(p, o.Retryable)
	})
	err := p.ended(ctx, waiter.Wait(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{id}}, limit(ctx)))
	if err != nil {
		return fmt.Errorf("wait for NAT gateway %s: %w", id, err)
	}
	return nil
}

// UntilNATDeleted waits until a NAT gateway is deleted: its address is free then.
func UntilNATDeleted(ctx context.Context, api ec2.DescribeNatGatewaysAPIClient, id string) error {
	p := &Patience[*ec2.DescribeNatGatewaysOutput]{}
	waiter := ec2.NewNatGatewayDeletedWaiter(api, func(o *ec2.NatGatewayDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = p.delays()
		o.Retryable = retryable(p, o.Retryable)
	})
	err := p.ended(ctx, waiter.Wait(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{id}}, limit(ctx)))
	if err != nil && !awserr.NotFound(err) {
		return fmt.Errorf("wait until NAT gateway %s is deleted: %w", id, err)
	}
	return nil
}
