package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// apiMessage is the code and message of EC2's error, without the SDK's text about the call.
func apiMessage(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return err.Error()
}

// candidate is one way to launch.
type candidate struct {
	kind  string
	where location
}

func (c candidate) String() string {
	return fmt.Sprintf("%s in %s", c.kind, strings.TrimSpace(c.where.subnet+" "+c.where.zone))
}

// candidates are all ways to launch, in the order in which they are tried: a type in each subnet before the next type,
// unless spot prices say otherwise.
func candidates(ctx context.Context, j *job, places []location) []candidate {
	var all []candidate
	for _, kind := range j.config.types() {
		for _, where := range places {
			all = append(all, candidate{kind, where})
		}
	}
	if len(j.config.SpotInstanceTypes) < 2 {
		return all
	}
	known, err := spotPrices(ctx, j)
	if err != nil {
		j.ui.Message(fmt.Sprintf("spot prices are not known (%v): types are tried in the order of spot_instance_types",
			err))
		return all
	}
	slices.SortStableFunc(all, func(x, y candidate) int { return cmp.Compare(known.of(x), known.of(y)) })
	return all
}

// prices are spot prices in dollars an hour, by type and zone.
type prices map[[2]string]float64

// of is the price of a candidate; what has none comes last.
func (p prices) of(c candidate) float64 {
	if price, ok := p[[2]string{c.kind, c.where.zone}]; ok {
		return price
	}
	return 1e9
}

func spotPrices(ctx context.Context, j *job) (prices, error) {
	input := &ec2.DescribeSpotPriceHistoryInput{
		StartTime:           aws.Time(time.Now()),
		ProductDescriptions: []string{"Linux/UNIX"},
	}
	for _, kind := range j.config.SpotInstanceTypes {
		input.InstanceTypes = append(input.InstanceTypes, types.InstanceType(kind))
	}
	out, err := j.ec2.DescribeSpotPriceHistory(ctx, input)
	if err != nil {
		return nil, err
	}
	found := prices{}
	for _, entry := range out.SpotPriceHistory {
		price, err := strconv.ParseFloat(aws.ToString(entry.SpotPrice), 64)
		if err != nil {
			return nil, fmt.Errorf("price %q of %s", aws.ToString(entry.SpotPrice), entry.InstanceType)
		}
		found[[2]string{string(entry.InstanceType), aws.ToString(entry.AvailabilityZone)}] = price
	}
	return found, nil
}

// launchSomewhere runs the instance on the first type and in the first subnet that have room. The instance runs; with
// an error it is one that was launched and does not, if there is one.
func launchSomewhere(
	ctx context.Context, j *job, input *ec2.RunInstancesInput, places []location,
) (types.Instance, error) {
	var errs []error
	last := ""
	full := map[[2]string]bool{} // type and zone
	for _, c := range candidates(ctx, j, places) {
		if full[[2]string{c.kind, c.where.zone}] || full[[2]string{c.kind, ""}] {
			continue
		}
		if len(errs) > 0 {
			j.ui.Message("no room: " + last)
		}
		instance, err := launchAt(ctx, j, input, c, len(errs))
		how := awserr.Shortage(err)
		if how == awserr.NoShortage {
			return instance, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", c, err))
		last = fmt.Sprintf("%s: %s", c, apiMessage(err))
		switch {
		case how == awserr.ShortAnywhere:
			full[[2]string{c.kind, ""}] = true
		case how == awserr.ShortInZone && c.where.zone != "":
			full[[2]string{c.kind, c.where.zone}] = true
		}
	}
	return types.Instance{}, fmt.Errorf("EC2 has no room for the instance: %w\n"+
		"hint: name more types with instance_types, or subnets of other zones with subnet_ids", errors.Join(errs...))
}

// launchAt runs the instance of one type in one subnet and waits until it runs: EC2 may also find out after its answer
// that there is no room. The client token makes sure that a call that is repeated launches one.
func launchAt(
	ctx context.Context, j *job, input *ec2.RunInstancesInput, c candidate, attempt int,
) (types.Instance, error) {
	how := "an"
	if j.config.spot() {
		how = "a spot"
	}
	source := aws.ToString(input.ImageId)
	j.ui.Say(fmt.Sprintf("Launching %s instance of %s (%s) in %s...", how, source, c.kind, c.where.subnet))
	asked := *input
	asked.InstanceType = types.InstanceType(c.kind)
	asked.NetworkInterfaces = slices.Clone(input.NetworkInterfaces)
	asked.NetworkInterfaces[0].SubnetId = aws.String(c.where.subnet)
	asked.ClientToken = aws.String(fmt.Sprintf("goldsmith-%s-%d", j.id, attempt))
	detached, cancel := createContext(ctx)
	defer cancel()
	out, err := runInstances(detached, j, &asked)
	if err != nil {
		return types.Instance{}, lost(err)
	}
	launched := out.Instances[0]
	j.ui.Message("instance: " + aws.ToString(launched.InstanceId))
	limited, end := context.WithTimeout(ctx, runDeadline)
	defer end()
	running, err := ec2ops.UntilRunning(limited, j.ec2, aws.ToString(launched.InstanceId), time.Now())
	if _, over := ec2ops.StateOf(running); over {
		return launched, ended(ctx, j, running)
	}
	return running, err
}

// ended is the error of an instance that did not come to run.
func ended(ctx context.Context, j *job, instance types.Instance) error {
	if reason := instance.StateReason; reason != nil {
		code := strings.TrimPrefix(aws.ToString(reason.Code), "Server.")
		err := &smithy.GenericAPIError{Code: code, Message: aws.ToString(reason.Message)}
		if awserr.Shortage(err) != awserr.NoShortage {
			return err
		}
	}
	return j.notRunning(ctx, instance)
}

// runInstances repeats the call while a profile that was just made is not known to EC2 yet, and never for want of room,
// which the SDK would: other types and subnets are nearer than seconds.
func runInstances(
	ctx context.Context, j *job, input *ec2.RunInstancesInput,
) (out *ec2.RunInstancesOutput, err error) {
	isNew := func(err error) bool { return profileIsNew(ctx, j, err) }
	err = await.Retry(ctx, await.Settle, isNew, func(ctx context.Context) (err error) {
		out, err = j.ec2.RunInstances(ctx, input, func(o *ec2.Options) { o.Retryer = noCapacityRetry{o.Retryer} })
		return err
	})
	return out, err
}

// profileIsNew tells whether an instance could not be launched only because EC2 does not know the profile yet. One that
// the user named may be new as well; IAM knows whether there is such a one at all.
func profileIsNew(ctx context.Context, j *job, err error) bool {
	if !awserr.ProfileIsNew(err) || j.config.wantsProfile() {
		return awserr.ProfileIsNew(err)
	}
	_, err = j.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{
		InstanceProfileName: aws.String(j.config.IamInstanceProfile),
	})
	return err == nil
}

// noCapacityRetry does not repeat a call for want of room.
type noCapacityRetry struct{ aws.Retryer }

// IsErrorRetryable is false for want of room.
func (r noCapacityRetry) IsErrorRetryable(err error) bool {
	return awserr.Shortage(err) == awserr.NoShortage && r.Retryer.IsErrorRetryable(err)
}
