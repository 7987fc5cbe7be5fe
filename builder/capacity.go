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
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
)

// reach is how far a shortage goes.
type reach int

const (
	inSubnet reach = iota + 1
	inZone         // for the type
	anywhere       // for the type
)

// shortages are EC2's codes for having no room for an instance: another type or another subnet may do.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
var shortages = map[string]reach{
	"InsufficientFreeAddressesInSubnet":    inSubnet,
	"InsufficientInstanceCapacity":         inZone,
	"InsufficientHostCapacity":             inZone,
	"InsufficientCapacityOnHost":           inZone,
	"InsufficientReservedInstanceCapacity": inZone,
	"ReservationCapacityExceeded":          inZone,
	"UnfulfillableCapacity":                inZone,
	"Unsupported":                          inZone,
	"SpotMaxPriceTooLow":                   inZone,
	"InstanceLimitExceeded":                anywhere,
	"VcpuLimitExceeded":                    anywhere,
	"MaxSpotInstanceCountExceeded":         anywhere,
	"UnsupportedInstanceType":              anywhere,
}

// shortage tells whether an error is for want of room, and how far that goes; 0 if it is not.
func shortage(err error) reach {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return 0
	}
	return shortages[api.ErrorCode()]
}

// said is what EC2 said, without how it was asked.
func said(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return err.Error()
}

// candidate is one way to launch.
type candidate struct {
	kind  string
	where place
}

// candidates are all ways to launch, in the order in which they are tried: a type in each subnet before the next type,
// unless spot prices say otherwise.
func (b *bake) candidates(ctx context.Context) []candidate {
	var all []candidate
	for _, kind := range b.config.types() {
		for _, where := range b.places {
			all = append(all, candidate{kind, where})
		}
	}
	if len(b.config.SpotInstanceTypes) < 2 {
		return all
	}
	prices, err := b.spotPrices(ctx)
	if err != nil {
		b.ui.Message(fmt.Sprintf("spot prices are not known (%v): types are tried in the order of spot_instance_types", err))
		return all
	}
	slices.SortStableFunc(all, func(x, y candidate) int { return cmp.Compare(prices.of(x), prices.of(y)) })
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

func (b *bake) spotPrices(ctx context.Context) (prices, error) {
	input := &ec2.DescribeSpotPriceHistoryInput{StartTime: aws.Time(time.Now()), ProductDescriptions: []string{"Linux/UNIX"}}
	for _, kind := range b.config.SpotInstanceTypes {
		input.InstanceTypes = append(input.InstanceTypes, types.InstanceType(kind))
	}
	out, err := b.ec2.DescribeSpotPriceHistory(ctx, input)
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

// launchSomewhere runs the instance on the first type and in the first subnet that have room.
func (b *bake) launchSomewhere(ctx context.Context, input *ec2.RunInstancesInput) error {
	var errs []error
	var last string
	full := map[[2]string]bool{} // type and zone
	for _, c := range b.candidates(ctx) {
		if full[[2]string{c.kind, c.where.zone}] || full[[2]string{c.kind, ""}] {
			continue
		}
		if len(errs) > 0 {
			b.ui.Message("no room: " + last)
		}
		err := b.launchAt(ctx, input, c, len(errs))
		how := shortage(err)
		if how == 0 {
			return err
		}
		errs = append(errs, fmt.Errorf("%s in %s: %w", c.kind, strings.TrimSpace(c.where.subnet+" "+c.where.zone), err))
		last = fmt.Sprintf("%s in %s: %s", c.kind, strings.TrimSpace(c.where.subnet+" "+c.where.zone), said(err))
		switch {
		case how == anywhere:
			full[[2]string{c.kind, ""}] = true
		case how == inZone && c.where.zone != "":
			full[[2]string{c.kind, c.where.zone}] = true
		}
	}
	return fmt.Errorf("EC2 has no room for the instance: %w\nhint: name more types with instance_types, or subnets of other zones with subnet_ids", errors.Join(errs...))
}

// launchAt runs the instance of one type in one subnet and waits until it has a state that stays: EC2 may also find out
// after its answer that there is no room. The client token makes sure that a call that is repeated launches one.
func (b *bake) launchAt(ctx context.Context, input *ec2.RunInstancesInput, c candidate, attempt int) error {
	how := "an"
	if b.config.spot() {
		how = "a spot"
	}
	b.ui.Say(fmt.Sprintf("Launching %s instance of %s (%s) in %s...", how, b.source.id, c.kind, c.where.subnet))
	input.InstanceType, input.NetworkInterfaces[0].SubnetId = types.InstanceType(c.kind), aws.String(c.where.subnet)
	input.ClientToken = aws.String(fmt.Sprintf("goldsmith-%s-%d", b.id, attempt))
	whole, cancel := making(ctx)
	defer cancel()
	out, err := b.runInstances(whole, input)
	if err != nil {
		return err
	}
	b.instance, b.place = aws.ToString(out.Instances[0].InstanceId), c.where
	b.ui.Message("instance: " + b.instance)
	return b.waitForRoom(ctx)
}

// runInstances repeats the call while a profile that was just made is not known to EC2 yet, and never for want of room,
// which the SDK would: other types and subnets are nearer than seconds.
func (b *bake) runInstances(ctx context.Context, input *ec2.RunInstancesInput) (out *ec2.RunInstancesOutput, err error) {
	ignored := poll(ctx, await.Settle, func(ctx context.Context) (bool, error) {
		out, err = b.ec2.RunInstances(ctx, input, func(o *ec2.Options) { o.Retryer = roomless{o.Retryer} })
		return err == nil || !b.profileIsNew(ctx, err), nil
	})
	if err == nil && out == nil {
		err = ignored
	}
	return out, err
}

// roomless does not repeat a call for want of room.
type roomless struct{ aws.Retryer }

// IsErrorRetryable is false for want of room.
func (r roomless) IsErrorRetryable(err error) bool {
	return shortage(err) == 0 && r.Retryer.IsErrorRetryable(err)
}

// waitForRoom waits until the instance is no longer pending.
func (b *bake) waitForRoom(ctx context.Context) error {
	return poll(ctx, runDeadline, func(ctx context.Context) (bool, error) {
		instance, err := b.describeInstance(ctx)
		if isGone(err) {
			return false, nil // not known everywhere yet
		}
		if err != nil {
			return false, err
		}
		switch instance.State.Name {
		case types.InstanceStateNamePending:
			return false, nil
		case types.InstanceStateNameTerminated, types.InstanceStateNameShuttingDown:
			if reason := instance.StateReason; reason != nil {
				code := strings.TrimPrefix(aws.ToString(reason.Code), "Server.")
				if shortages[code] != 0 {
					return false, &smithy.GenericAPIError{Code: code, Message: aws.ToString(reason.Message)}
				}
			}
			return false, b.stopped(ctx, instance)
		}
		return true, nil
	})
}
