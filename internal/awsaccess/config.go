//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Access,AssumeRole

// Package awsaccess is the options by which each component of the plugin gets at an AWS account. They have the same
// names and the same meaning everywhere. What they mean is awsconfig's, which the command links too: only this package
// knows Packer's SDK.
package awsaccess

import (
	"errors"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// Unknown is the value that `packer validate` has in place of the output of a data source that it does not ask.
const Unknown = "<unknown>"

// Access is the account and the region, and how to get at them.
type Access struct {
	// The region. The default is the AWS SDK's: `AWS_REGION`, or the profile's.
	Region string `mapstructure:"region"`
	// The profile of the shared configuration files whose credentials are used.
	Profile string `mapstructure:"profile"`
	// The access key, where no profile or environment gives one.
	AccessKey string `mapstructure:"access_key"`
	// The secret key that belongs to `access_key`.
	SecretKey string `mapstructure:"secret_key"`
	// The session token that belongs to temporary keys.
	Token string `mapstructure:"token"`
	// A role to assume with these credentials.
	AssumeRole AssumeRole `mapstructure:"assume_role"`
	// The URL of another EC2 API than AWS's own, of the local cloud for example. `AWS_ENDPOINT_URL` says the same. No
	// call goes to AWS then.
	CustomEndpointEc2 string `mapstructure:"custom_endpoint_ec2"`
	// How often a call to the API is repeated. The default is 4.
	MaxRetries int `mapstructure:"max_retries"`
}

// AssumeRole is a role to assume.
type AssumeRole struct {
	// The role's ARN.
	RoleARN string `mapstructure:"role_arn"`
	// The name of the session. The default is `goldsmith`.
	SessionName string `mapstructure:"session_name"`
	// The external id that the role wants.
	ExternalID string `mapstructure:"external_id"`
	// How long credentials of the role last, in seconds. The default is AWS's, an hour.
	DurationSeconds int `mapstructure:"duration_seconds"`
}

// Prepare fills in defaults, keeps secrets out of logs, and reports everything that is wrong.
func (a *Access) Prepare() []error {
	if a.AssumeRole.SessionName == "" {
		a.AssumeRole.SessionName = "goldsmith"
	}
	packersdk.LogSecretFilter.Set(a.SecretKey, a.Token)
	errs := a.Options("").Validate()
	if a.MaxRetries < 0 {
		errs = append(errs, errors.New("max_retries: negative numbers mean nothing here"))
	}
	return errs
}

// Options are the configuration of the AWS SDK for the component of this name.
func (a *Access) Options(component string) awsconfig.Options {
	return awsconfig.Options{
		Command:    component,
		Region:     a.Region,
		Profile:    a.Profile,
		AccessKey:  a.AccessKey,
		SecretKey:  a.SecretKey,
		Token:      a.Token,
		Endpoint:   a.CustomEndpointEc2,
		MaxRetries: a.MaxRetries,
		Role: awsconfig.Role{
			ARN:         a.AssumeRole.RoleARN,
			SessionName: a.AssumeRole.SessionName,
			ExternalID:  a.AssumeRole.ExternalID,
			Duration:    time.Duration(a.AssumeRole.DurationSeconds) * time.Second,
		},
	}
}
