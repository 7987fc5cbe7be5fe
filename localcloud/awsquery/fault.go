package awsquery

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

// Error is an error as AWS tells it: a code that programs know and a message for people.
type Error struct {
	Code, Message string
	Status        int // 400 if it is not said
}

// Error is the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Fault is an error with the message that AWS has for it.
func Fault(row *apierror.Row, values ...any) *Error {
	return &Error{Code: row.Code, Message: row.Text(values...), Status: row.Status}
}

// Faultf is an error whose text AWS leaves open.
func Faultf(row *apierror.Row, format string, args ...any) *Error {
	return &Error{Code: row.Code, Message: fmt.Sprintf(format, args...), Status: row.Status}
}

// Adding is the error with more of an explanation, after the message that AWS has.
func (e *Error) Adding(format string, args ...any) *Error {
	message := strings.TrimSpace(e.Message + " " + fmt.Sprintf(format, args...))
	return &Error{Code: e.Code, Message: message, Status: e.Status}
}

// CodeOf is the code of an error as a caller sees it. What failed here, and is no error of AWS's, is an operation that
// the local cloud does not support.
func CodeOf(err error) string {
	var known *Error
	if errors.As(err, &known) {
		return known.Code
	}
	return apierror.UnsupportedOperation.Code
}

// JSONServices speak JSON; all others that are known here speak the query protocol.
var JSONServices = map[string]bool{"ssm": true, "ebs": true, "servicequotas": true}
