package awserr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
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

// of is an error with a row's code and message.
func of(r *apierror.Row, values ...any) error { return api(r.Code, r.Text(values...)) }

// inTemplate is an error of Auto Scaling's about a launch template, with what EC2 says of it.
func inTemplate(r *apierror.Row, values ...any) error {
	return of(apierror.LaunchTemplateInvalid, r.Text(values...))
}

// every are errors of all rows, by the row.
func every() map[*apierror.Row]error {
	all := map[*apierror.Row]error{}
	for _, r := range apierror.Rows() {
		message := strings.NewReplacer("%d", "12", "%s", "x").Replace(r.Message)
		all[r] = fmt.Errorf("launch: %w", api(r.Code, message))
	}
	return all
}

// TestPredicates feeds each predicate the error of each row: it takes those that it is for, and no other.
func TestPredicates(t *testing.T) {
	is := func(rows ...*apierror.Row) func(*apierror.Row) bool {
		return func(r *apierror.Row) bool { return slices.Contains(rows, r) }
	}
	code := func(codes ...string) func(*apierror.Row) bool {
		return func(r *apierror.Row) bool { return slices.Contains(codes, r.Code) }
	}
	for _, c := range []struct {
		name string
		says func(error) bool
		want func(*apierror.Row) bool
	}{
		{"ProfileIsNew", ProfileIsNew, is(
			apierror.InvalidProfileNameUse, apierror.InvalidProfileArnUse, apierror.InvalidProfileName,
			apierror.ProfileWithoutRoles, apierror.InvalidIAMInstanceProfile, apierror.NoSuchInstanceProfile,
			apierror.NoSuchRole,
		)},
		{"TemplateIsNew", TemplateIsNew, is()},
		{"AddressAssigned", AddressAssigned, is(apierror.AddressAssigned)},
		{
			"SnapshotInUse", func(err error) bool { _, in := SnapshotInUse(err); return in },
			is(apierror.InvalidSnapshotInUse),
		},
		{"UpdatesMeet", UpdatesMeet, is(apierror.TooManyUpdates)},
		{"VolumeNotYet", VolumeNotYet, is(apierror.VolumeModificationTooSoon, apierror.IncorrectModificationState)},
		{"Throttled", Throttled, code("RequestLimitExceeded", "Throttling", "ThrottlingException")},
		{"Transient", Transient, code(
			"RequestLimitExceeded", "Throttling", "ThrottlingException", "InternalError", "InternalFailure",
			"InternalServiceError", "ServerInternal", "ServiceUnavailable", "Unavailable",
		)},
		{"Unanswered", Unanswered, code(
			"InternalError", "InternalFailure", "InternalServiceError", "ServerInternal", "ServiceUnavailable",
			"Unavailable",
		)},
		{"NotFound", NotFound, func(r *apierror.Row) bool {
			return strings.Contains(r.Code, "NotFound") || r.Code == "NoSuchEntity" ||
				r.Code == "InvalidAMIID.Unavailable"
		}},
		{"Shortage", func(err error) bool { return Shortage(err) != NoShortage }, code(
			"InsufficientCapacityOnHost", "InsufficientFreeAddressesInSubnet", "InsufficientHostCapacity",
			"InsufficientInstanceCapacity", "InsufficientReservedInstanceCapacity",
			"InsufficientReservedInstancesCapacity", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded",
			"ReservationCapacityExceeded", "SpotMaxPriceTooLow", "UnfulfillableCapacity", "Unsupported",
			"VcpuLimitExceeded",
		)},
	} {
		for row, err := range every() {
			if got, want := c.says(err), c.want(row); got != want {
				t.Errorf("%s of %v: got %v", c.name, err, got)
			}
		}
		for _, err := range []error{nil, errors.New("Invalid IAM Instance Profile name"), context.Canceled} {
			if c.says(err) && (err == nil || c.name != "Unanswered") {
				t.Errorf("%s of %v", c.name, err)
			}
		}
	}
}

// TestLaunchTemplates has what EC2 says of what a template names, as Auto Scaling tells it.
func TestLaunchTemplates(t *testing.T) {
	for _, c := range []struct {
		err               error
		template, profile bool
	}{
		{inTemplate(apierror.InvalidLaunchTemplateIDNotFound, "lt-0123456789abcdef0"), true, false},
		{inTemplate(apierror.InvalidLaunchTemplateNameNotFound, "golden"), true, false},
		{inTemplate(apierror.InvalidKeyPairNotFound, "goldsmith-golden"), true, false},
		{inTemplate(apierror.InvalidAMIIDNotFound, "ami-04c61f099db4b898d"), true, false},
		{inTemplate(apierror.InvalidGroupNotFound, "sg-04c61f099db4b898d"), true, false},
		{inTemplate(apierror.InvalidProfileNameUse, "goldsmith-golden-web"), false, true},
		{inTemplate(apierror.InvalidProfileArnUse, "arn:aws:iam::123456789012:instance-profile/x"), false, true},
		{inTemplate(apierror.Unsupported, "t3.nano", "us-east-1e"), false, false},
		{of(apierror.InvalidKeyPairNotFound, "goldsmith-golden"), false, false},
		{of(apierror.LaunchTemplateInvalid, "The architecture 'arm64' does not match."), false, false},
	} {
		err := fmt.Errorf("make the group: %w", c.err)
		if got := TemplateIsNew(err); got != c.template {
			t.Errorf("%v: the template is new: %v", err, got)
		}
		if got := ProfileIsNew(err); got != c.profile {
			t.Errorf("%v: the profile is new: %v", err, got)
		}
	}
}

func TestTransient(t *testing.T) {
	for code := range retry.DefaultThrottleErrorCodes {
		if err := api(code, "m"); !Throttled(err) || !Transient(err) {
			t.Errorf("%s is not taken for throttling", code)
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
		of(apierror.InvalidSnapshotInUse, "snap-0ab", "ami-0fe12"),
	)
	if image != "ami-0fe12" || !inUse {
		t.Errorf("got %q, %v", image, inUse)
	}
	for _, err := range []error{
		nil, of(apierror.InvalidSnapshotNotFound, "ami-0fe12"), api(apierror.VolumeInUse.Code, "in use by ami-0fe12"),
	} {
		if _, inUse := SnapshotInUse(err); inUse {
			t.Errorf("%v is taken for a snapshot in use", err)
		}
	}
}

func TestShortage(t *testing.T) {
	for row, want := range map[*apierror.Row]Reach{
		apierror.InsufficientInstanceCapacity:      ShortInZone,
		apierror.Unsupported:                       ShortInZone,
		apierror.InsufficientFreeAddressesInSubnet: ShortInSubnet,
		apierror.VcpuLimitExceeded:                 ShortAnywhere,
		apierror.UnauthorizedOperation:             NoShortage,
		apierror.InternalError:                     NoShortage,
	} {
		if got := Shortage(fmt.Errorf("launch: %w", api(row.Code, ""))); got != want {
			t.Errorf("%s goes %d far, want %d", row.Code, got, want)
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
		{of(apierror.InternalError), true},
		{of(apierror.RequestLimitExceeded), false},
		{of(apierror.InsufficientInstanceCapacity, "t3.nano", "us-east-1a"), false},
		{api(apierror.InvalidParameterValue.Code, ""), false},
	} {
		if got := Unanswered(c.err); got != c.want {
			t.Errorf("%v: got %v", c.err, got)
		}
	}
}
