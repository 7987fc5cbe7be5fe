// Package awserr says what an error of an AWS service means. Codes and messages are looked at here and nowhere else;
// they are rows of internal/apierror.
package awserr

import (
	"errors"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

// Code is the code of an API's error, or empty.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Is tells whether an error has the code of one of the rows, whatever its message says.
func Is(err error, rows ...*apierror.Row) bool {
	code := Code(err)
	return slices.ContainsFunc(rows, func(r *apierror.Row) bool { return r.Code == code })
}

// says finds the row whose code and message an error has.
func says(err error, rows ...*apierror.Row) (values []string, ok bool) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return nil, false
	}
	for _, r := range rows {
		if values, ok := r.Match(api.ErrorCode(), api.ErrorMessage()); ok {
			return values, true
		}
	}
	return nil, false
}

// NotFound tells whether a thing is not there: not any more, or, where it was made a moment ago, not yet.
func NotFound(err error) bool {
	return apierror.NotFound(Code(err)) || Is(err, apierror.InvalidAMIIDUnavailable)
}

// Throttled tells whether a call was one too many in its time.
func Throttled(err error) bool {
	return retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}.IsErrorThrottle(err) == aws.TrueTernary ||
		status(err) == http.StatusTooManyRequests
}

// serverFaults are EC2's and its neighbours' faults of their own.
var serverFaults = []*apierror.Row{
	apierror.InternalError,
	apierror.InternalFailure,
	apierror.InternalServiceError,
	apierror.ServerInternal,
	apierror.ServiceUnavailable,
	apierror.Unavailable,
}

// Transient tells whether the same question may be answered in a while: the caller asked too often, or the service
// has a fault of its own. It is meant for calls that change nothing: want of capacity is a server's fault, too.
func Transient(err error) bool {
	return Throttled(err) || Is(err, serverFaults...) || status(err) >= http.StatusInternalServerError
}

// Unanswered tells whether a call may have been done although it failed: nobody answered, or the service had a fault.
func Unanswered(err error) bool {
	return err != nil && (Code(err) == "" || Transient(err) && !Throttled(err) && Shortage(err) == NoShortage)
}

func status(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		return response.HTTPStatusCode()
	}
	return 0
}

// Reach is the scope of a shortage of capacity.
type Reach int

// NoShortage is of all other errors.
const (
	NoShortage Reach = iota
	ShortInSubnet
	ShortInZone   // for the type
	ShortAnywhere // for the type
)

// shortages are EC2's errors for having no room for an instance: another type or another subnet may do.
var shortages = map[*apierror.Row]Reach{
	apierror.InsufficientFreeAddressesInSubnet:     ShortInSubnet,
	apierror.InsufficientInstanceCapacity:          ShortInZone,
	apierror.InsufficientHostCapacity:              ShortInZone,
	apierror.InsufficientCapacityOnHost:            ShortInZone,
	apierror.InsufficientReservedInstanceCapacity:  ShortInZone,
	apierror.InsufficientReservedInstancesCapacity: ShortInZone,
	apierror.ReservationCapacityExceeded:           ShortInZone,
	apierror.UnfulfillableCapacity:                 ShortInZone,
	apierror.Unsupported:                           ShortInZone,
	apierror.SpotMaxPriceTooLow:                    ShortInZone,
	apierror.InstanceLimitExceeded:                 ShortAnywhere,
	apierror.VcpuLimitExceeded:                     ShortAnywhere,
	apierror.MaxSpotInstanceCountExceeded:          ShortAnywhere,
}

// Shortage tells whether an error is for want of room for an instance, and how far that goes.
func Shortage(err error) Reach {
	for row, reach := range shortages {
		if Is(err, row) {
			return reach
		}
	}
	return NoShortage
}

// VolumeNotYet tells whether a volume could not be changed because it was, a short while ago: "After modifying a
// volume, you must wait at least six hours and ensure that the volume is in the in-use or available state before you
// can modify the same volume." https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html
func VolumeNotYet(err error) bool {
	return Is(err, apierror.VolumeModificationTooSoon, apierror.IncorrectModificationState)
}

// UpdatesMeet tells whether a parameter could not be written since another update of it is not over yet: of its
// deletion, for one. https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
func UpdatesMeet(err error) bool { return Is(err, apierror.TooManyUpdates) }

// newProfile are the errors of EC2, of Auto Scaling and of IAM itself for an instance profile that not all of their
// servers know, or whose role they do not know.
var newProfile = []*apierror.Row{
	apierror.InvalidProfileNameUse,
	apierror.InvalidProfileArnUse,
	apierror.InvalidProfileName,
	apierror.ProfileWithoutRoles,
	apierror.InvalidIAMInstanceProfile,
	apierror.NoSuchInstanceProfile,
	apierror.NoSuchRole,
}

// ProfileIsNew tells whether a call may have failed only because an instance profile, or its role, was made a moment
// ago: IAM's answers take some seconds to be known to EC2, to Auto Scaling, and to all of IAM itself. A profile that
// is not there at all cannot be told from it.
func ProfileIsNew(err error) bool {
	_, ok := says(ofTemplate(err), newProfile...)
	return ok
}

// ofTemplate is EC2's error about a launch template, where Auto Scaling tells it, which asks EC2; all other errors are
// what they are. Its code is not told, but follows from the message.
func ofTemplate(err error) error {
	values, ok := says(err, apierror.LaunchTemplateInvalid)
	if !ok {
		return err
	}
	for _, row := range apierror.Rows() {
		if _, ok := row.Match(row.Code, values[0]); ok && row.Message != "" {
			return &smithy.GenericAPIError{Code: row.Code, Message: values[0]}
		}
	}
	return err
}

// TemplateIsNew tells whether Auto Scaling refused a launch template that may have been made a moment ago, or one that
// names a key pair, an image or a group that may: it asks EC2, which does not know them everywhere yet.
func TemplateIsNew(err error) bool {
	return Is(err, apierror.LaunchTemplateInvalid) && apierror.NotFound(Code(ofTemplate(err)))
}

// AddressAssigned tells whether a private address was not assigned because another interface has it, from which the
// caller did not ask to move it. EC2 has no code of its own for that.
func AddressAssigned(err error) bool {
	_, ok := says(err, apierror.AddressAssigned)
	return ok
}

// SnapshotInUse tells whether a snapshot could not be deleted for an AMI that is made of it, and for which, where the
// message names one. That of an AMI that was deregistered a moment ago is in use for a while still.
func SnapshotInUse(err error) (image string, inUse bool) {
	if !Is(err, apierror.InvalidSnapshotInUse) {
		return "", false
	}
	if values, ok := says(err, apierror.InvalidSnapshotInUse); ok {
		image = values[1]
	}
	return image, true
}
