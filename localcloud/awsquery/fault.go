package awsquery

import (
	"errors"
	"fmt"
)

// Error is an error as AWS tells it: a code that programs know and a message for people.
type Error struct {
	Code, Message string
	Status        int // 400 if it is not said
}

// Error is the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Fault is an error with status 400.
func Fault(code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of an error as a caller sees it. What failed here and is no error of AWS's has one of its own.
func CodeOf(err error) string {
	var known *Error
	if errors.As(err, &known) {
		return known.Code
	}
	return "LocalCloudFailure"
}

// NoInstance is EC2's error for an instance that is not there.
func NoInstance(id string) error {
	return Fault("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

// JSONServices speak JSON; all others that are known here speak the query protocol.
var JSONServices = map[string]bool{"ssm": true, "ebs": true}
