// Package awserr says what an error of an AWS service means. Codes and messages are looked at here and nowhere else.
// They are those of https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html or were seen in the
// wild.
package awserr

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Code is the code of an API's error, or empty.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// NotFound tells whether a thing is not there: not any more, or, where it was made a moment ago, not yet.
func NotFound(err error) bool {
	code := Code(err)
	switch code {
	case "NoSuchEntity", "NoSuchEntityException", "InvalidAMIID.Unavailable":
		return true
	}
	return strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(code, "Exception"), "Fault"), "NotFound")
}

// Throttled tells whether a call was one too many in its time.
func Throttled(err error) bool {
	return retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}.IsErrorThrottle(err) == aws.TrueTernary ||
		status(err) == http.StatusTooManyRequests
}

// serverFaults are codes that EC2 and its neighbours document for faults of their own.
var serverFaults = []string{
	"InternalError",
	"InternalFailure",
	"InternalServiceError",
	"ServerInternal",
	"ServiceUnavailable",
	"Unavailable",
}

// Transient tells whether the same question may be answered in a while: the caller asked too often, or the service
// has a fault of its own. It is meant for calls that change nothing: want of capacity is a server's fault, too.
func Transient(err error) bool {
	return Throttled(err) || slices.Contains(serverFaults, Code(err)) || status(err) >= http.StatusInternalServerError
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

// shortages are EC2's codes for having no room for an instance: another type or another subnet may do.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
var shortages = map[string]Reach{
	"InsufficientFreeAddressesInSubnet":    ShortInSubnet,
	"InsufficientInstanceCapacity":         ShortInZone,
	"InsufficientHostCapacity":             ShortInZone,
	"InsufficientCapacityOnHost":           ShortInZone,
	"InsufficientReservedInstanceCapacity": ShortInZone,
	"ReservationCapacityExceeded":          ShortInZone,
	"UnfulfillableCapacity":                ShortInZone,
	"Unsupported":                          ShortInZone,
	"SpotMaxPriceTooLow":                   ShortInZone,
	"InstanceLimitExceeded":                ShortAnywhere,
	"VcpuLimitExceeded":                    ShortAnywhere,
	"MaxSpotInstanceCountExceeded":         ShortAnywhere,
	"UnsupportedInstanceType":              ShortAnywhere,
}

// Shortage tells whether an error is for want of room for an instance, and how far that goes.
func Shortage(err error) Reach { return shortages[Code(err)] }

// VolumeNotYet tells whether a volume could not be changed because it was, a short while ago: "After modifying a
// volume, you must wait at least six hours and ensure that the volume is in the in-use or available state before you
// can modify the same volume." https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html
func VolumeNotYet(err error) bool {
	code := Code(err)
	return code == "VolumeModificationRateExceeded" || code == "IncorrectModificationState"
}

// UpdatesMeet tells whether a parameter could not be written since another update of it is not over yet: of its
// deletion, for one. https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
func UpdatesMeet(err error) bool { return Code(err) == "TooManyUpdates" }

// newProfile are messages for an instance profile that another service does not know, or whose role it does not know
// yet.
var newProfile = regexp.MustCompile(
	`(?i)invalid iam ?instance ?profile|parameter iaminstanceprofile(\.(name|arn))? is invalid|iam instance profile ` +
		`.* has no associated iam roles`,
)

// newRole are IAM's own messages for a profile, or a role, that not all of its servers know.
var newRole = regexp.MustCompile(`(?i)^(instance ?profile|(the )?role) `)

// ProfileIsNew tells whether a call may have failed only because an instance profile, or its role, was made a moment
// ago: IAM's answers take some seconds to be known to EC2, to Auto Scaling, and to all of IAM itself. A profile that
// is not there at all cannot be told from it.
func ProfileIsNew(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "InvalidIamInstanceProfileName", "InvalidIamInstanceProfileArn":
		return true
	case "InvalidParameterValue", "ValidationError":
		return newProfile.MatchString(api.ErrorMessage())
	case "NoSuchEntity", "NoSuchEntityException":
		return newRole.MatchString(strings.TrimSpace(api.ErrorMessage()))
	}
	return false
}

// newTemplate are Auto Scaling's messages for a launch template, or for what one names, that it does not know.
var newTemplate = regexp.MustCompile(`(?is)valid fully-formed launch template\..* does not exist`)

// TemplateIsNew tells whether Auto Scaling refused a launch template that may have been made a moment ago, or one that
// names a key pair, an image or a group that may: it asks EC2, which does not know them everywhere yet.
func TemplateIsNew(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "ValidationError" && newTemplate.MatchString(api.ErrorMessage())
}

// AddressAssigned tells whether a private address was not assigned because another interface has it, from which the
// caller did not ask to move it. EC2 has no code of its own for that: "[10.0.2.10] assigned, but move is not allowed."
func AddressAssigned(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "InvalidParameterValue" &&
		strings.Contains(api.ErrorMessage(), "assigned, but move is not allowed")
}

var imageID = regexp.MustCompile(`\bami-[0-9a-f]+\b`)

// SnapshotInUse tells whether a snapshot could not be deleted for an AMI that is made of it, and for which, where the
// message names one. That of an AMI that was deregistered a moment ago is in use for a while still.
func SnapshotInUse(err error) (image string, inUse bool) {
	if Code(err) != "InvalidSnapshot.InUse" {
		return "", false
	}
	return imageID.FindString(err.Error()), true
}
