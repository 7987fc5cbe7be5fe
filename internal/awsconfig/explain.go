package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// Explain puts what an AWS call says in the user's terms, with what to do next, where it is about the account and not
// about the call. Other errors come back as they are.
func Explain(err error) error { return plaintext.Error(explain(err)) }

func explain(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return &interrupted{err}
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if hint := hintOf(api.ErrorCode()); hint != "" {
			return fmt.Errorf("%w\nhint: %s", err, hint)
		}
		return err
	}
	var refused *net.OpError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the endpoint does not answer: %w\nhint: %s", err,
			"is it up? for the local cloud: goldsmith cloud up")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &refused) && refused.Timeout():
		return fmt.Errorf("the endpoint does not answer in time: %w\nhint: %s", err,
			"check the endpoint's address and the way to it")
	case strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "no EC2 IMDS role found"):
		return fmt.Errorf("%w\nhint: %s", err, noCredentials)
	}
	return err
}

// interrupted is an error of work that was ended from outside, in words for whoever pressed ctrl-C.
type interrupted struct{ error }

var canceled = regexp.MustCompile(`(?:(?:canceled|request canceled), )?context canceled`)

func (i *interrupted) Error() string {
	return canceled.ReplaceAllString(i.error.Error(), "interrupted")
}

func (i *interrupted) Unwrap() error { return i.error }

// hints are the remedies of errors that every service has.
var hints = map[*apierror.Row]string{
	apierror.ExpiredToken:               expired,
	apierror.ExpiredTokenException:      expired,
	apierror.RequestExpired:             expired,
	apierror.AuthFailure:                unknownKey,
	apierror.InvalidClientTokenID:       unknownKey,
	apierror.UnrecognizedClient:         unknownKey,
	apierror.MissingAuthenticationToken: unknownKey,
	apierror.MissingAuthenticationJSON:  unknownKey,
	apierror.SignatureDoesNotMatch:      mismatch,
	apierror.InvalidSignatureException:  mismatch,
	apierror.UnauthorizedOperation:      unauthorized,
	apierror.AccessDenied:               unauthorized,
	apierror.AccessDeniedException:      unauthorized,
	apierror.OptInRequired:              "the account is not signed up for this service or region",
}

// hintOf is the remedy of an error with this code; empty if there is none.
func hintOf(code string) string {
	for row, hint := range hints {
		if row.Code == code {
			return hint
		}
	}
	return ""
}

const expired = "the credentials have expired; get new ones, with aws sso login for example, and run this again"

const (
	unauthorized = "the credentials lack a permission; goldsmith iam-policy prints all that are needed"
	unknownKey   = "the access key is not known; check AWS_ACCESS_KEY_ID, AWS_PROFILE and the region; " +
		`for the local cloud: eval "$(goldsmith cloud env)"`
	noCredentials = "no credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; " +
		`for the local cloud: eval "$(goldsmith cloud env)"`
	mismatch = "the secret key does not belong to the access key"
)
