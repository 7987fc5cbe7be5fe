package awserr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// api is an error as a client of the SDK returns it.
func api(code, message string) error {
	return &smithy.OperationError{
		ServiceID:     "EC2",
		OperationName: "Call",
		Err:           &retry.MaxAttemptsError{Attempt: 3, Err: &smithy.GenericAPIError{Code: code, Message: message}},
	}
}

// answer is an error of an answer with this status.
func answer(status int) error {
	return &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
		Err:      errors.New("no body"),
	}
}

func TestProfileIsNew(t *testing.T) {
	for _, c := range []struct {
		code, message string
		want          bool
	}{
		{
			"InvalidParameterValue",
			"Value (goldsmith-golden-db) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance " +
				"Profile name",
			true,
		},
		{
			"InvalidParameterValue",
			"Value (arn:aws:iam::123456789012:instance-profile/x) for parameter iamInstanceProfile.arn is invalid. " +
				"Invalid IAM Instance Profile ARN",
			true,
		},
		{
			"InvalidParameterValue",
			`IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/x" has no associated IAM Roles`, true,
		},
		{"InvalidParameterValue", "Invalid IAM Instance Profile name", true},
		{"InvalidIamInstanceProfileName", "x", true},
		{
			"ValidationError",
			"You must use a valid fully-formed launch template. Value (goldsmith-golden-web) for parameter " +
				"iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
			true,
		},
		{"ValidationError", "Invalid IamInstanceProfile: goldsmith-golden-web", true},
		{"NoSuchEntity", "Instance Profile goldsmith-golden-db cannot be found.", true},
		{"NoSuchEntity", "The role with name goldsmith-golden-db cannot be found.", true},
		{"NoSuchEntityException", "Role goldsmith-golden-db not found", true},

		{"InvalidParameterValue", "Value (t9.huge) for parameter instanceType is invalid.", false},
		{"InvalidParameterValue", "Value (sg-1) for parameter groupId is invalid. The value cannot be empty", false},
		{
			"InvalidParameterCombination",
			"The parameter iamInstanceProfile.name may not be used in combination with iamInstanceProfile.arn",
			false,
		},
		{
			"ValidationError",
			"You must use a valid fully-formed launch template. The image id '[ami-1]' does not exist", false,
		},
		{"ValidationError", "1 validation error detected: Value '0' at 'maxSize' failed to satisfy constraint", false},
		{
			"UnauthorizedOperation",
			"You are not authorized to perform: iam:PassRole on the iamInstanceProfile.name", false,
		},
		{
			"AccessDenied",
			"User: x is not authorized to perform: iam:PassRole on resource: role/goldsmith-golden-db; Invalid IAM " +
				"Instance Profile name",
			false,
		},
		{"NoSuchEntity", "The user with name x cannot be found.", false},
		{"NoSuchEntity", "Policy arn:aws:iam::aws:policy/x does not exist or is not attachable.", false},
	} {
		if got := ProfileIsNew(fmt.Errorf("launch: %w", api(c.code, c.message))); got != c.want {
			t.Errorf("%s: %s: got %v", c.code, c.message, got)
		}
	}
	for _, err := range []error{nil, errors.New("Invalid IAM Instance Profile name"), context.Canceled} {
		if ProfileIsNew(err) {
			t.Errorf("%v: it is taken for that of a new profile", err)
		}
	}
}

// TestTemplateIsNew has messages of Auto Scaling as others have published them.
func TestTemplateIsNew(t *testing.T) {
	const invalid = "You must use a valid fully-formed launch template. "
	for _, c := range []struct {
		code, message string
		want          bool
	}{
		{
			"ValidationError",
			invalid + "The specified launch template, with template ID lt-0123456789abcdef0, does not exist.", true,
		},
		{"ValidationError", invalid + "The key pair 'goldsmith-golden' does not exist", true},
		{"ValidationError", invalid + "The image id '[ami-04c61f099db4b898d]' does not exist", true},
		{"ValidationError", invalid + "The architecture 'arm64' does not match the architecture 'x86_64'", false},
		{"ValidationError", "The security group 'sg-1' does not exist", false},
		{"InvalidParameterValue", invalid + "The key pair 'goldsmith-golden' does not exist", false},
	} {
		if got := TemplateIsNew(fmt.Errorf("make the group: %w", api(c.code, c.message))); got != c.want {
			t.Errorf("%s: %s: got %v", c.code, c.message, got)
		}
	}
}

func TestNotFound(t *testing.T) {
	for code, want := range map[string]bool{
		"InvalidInstanceID.NotFound": true, "InvalidVolume.NotFound": true, "InvalidSnapshot.NotFound": true,
		"InvalidAMIID.NotFound": true,
		"InvalidGroup.NotFound": true, "InvalidKeyPair.NotFound": true, "InvalidAllocationID.NotFound": true,
		"InvalidNetworkInterfaceID.NotFound": true,
		"NatGatewayNotFound":                 true, "InvalidLaunchTemplateName.NotFoundException": true,
		"InvalidLaunchTemplateId.NotFound": true, "LoadBalancerNotFound": true,
		"ParameterNotFound": true, "ActiveInstanceRefreshNotFoundFault": true, "NoSuchEntity": true,
		"InvalidAMIID.Unavailable": true,
		"":                         false, "Unavailable": false, "ServiceUnavailable": false,
		"InvalidInstanceID.Malformed": false,
		"InvalidSnapshot.InUse":       false, "DependencyViolation": false,
		"RequestLimitExceeded": false, "UnauthorizedOperation": false,
	} {
		if got := NotFound(api(code, "m")); got != want {
			t.Errorf("%s: got %v", code, got)
		}
	}
}

func TestTransient(t *testing.T) {
	for code := range retry.DefaultThrottleErrorCodes {
		if err := api(code, "m"); !Throttled(err) || !Transient(err) {
			t.Errorf("%s is not taken for throttling", code)
		}
	}
	for code, want := range map[string]bool{
		"RequestLimitExceeded": true, "SlowDown": true, "Throttling": true, "ThrottlingException": true,
		"RequestThrottled": true, "TooManyRequestsException": true,
		"EC2ThrottledException": true, "InternalError": true, "InternalFailure": true, "ServiceUnavailable": true,
		"Unavailable": true,
		"":            false, "InstanceLimitExceeded": false, "LimitExceeded": false, "AuthFailure": false,
		"ExpiredToken": false, "InvalidInstanceID.NotFound": false,
		"InvalidAMIID.Unavailable": false, "UnauthorizedOperation": false,
	} {
		if got := Transient(api(code, "m")); got != want {
			t.Errorf("%s: got %v", code, got)
		}
	}
	for status, want := range map[int]bool{
		400: false,
		403: false,
		404: false,
		429: true,
		500: true,
		502: true,
		503: true,
		504: true,
	} {
		if got := Transient(fmt.Errorf("ask: %w", answer(status))); got != want {
			t.Errorf("status %d: got %v", status, got)
		}
	}
	if Transient(nil) || Transient(errors.New("Throttling")) {
		t.Error("what is no answer of a service is taken for throttling")
	}
}

func TestSnapshotInUse(t *testing.T) {
	image, inUse := SnapshotInUse(
		api("InvalidSnapshot.InUse", "The snapshot snap-0ab is currently in use by ami-0fe12"),
	)
	if image != "ami-0fe12" || !inUse {
		t.Errorf("got %q, %v", image, inUse)
	}
	for _, err := range []error{
		nil, api("InvalidSnapshot.NotFound", "ami-0fe12"), api("VolumeInUse", "in use by ami-0fe12"),
	} {
		if _, inUse := SnapshotInUse(err); inUse {
			t.Errorf("%v is taken for a snapshot in use", err)
		}
	}
}

func TestShortage(t *testing.T) {
	for code, want := range map[string]Reach{
		"InsufficientInstanceCapacity":      ShortInZone,
		"Unsupported":                       ShortInZone,
		"InsufficientFreeAddressesInSubnet": ShortInSubnet,
		"VcpuLimitExceeded":                 ShortAnywhere,
		"UnauthorizedOperation":             NoShortage,
		"InternalError":                     NoShortage,
	} {
		if got := Shortage(fmt.Errorf("launch: %w", api(code, ""))); got != want {
			t.Errorf("%s goes %d far, want %d", code, got, want)
		}
	}
}

func TestUnanswered(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("read tcp: connection reset by peer"), true},
		{context.DeadlineExceeded, true},
		{api("InternalError", "An internal error has occurred"), true},
		{api("RequestLimitExceeded", ""), false},
		{api("InsufficientInstanceCapacity", ""), false},
		{api("InvalidParameterValue", ""), false},
	} {
		if got := Unanswered(c.err); got != c.want {
			t.Errorf("%v: got %v", c.err, got)
		}
	}
}
