package awsaccess

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

func TestPrepareNamesTheAttribute(t *testing.T) {
	for want, a := range map[string]Access{
		"secret_key":          {AccessKey: "x"},
		"token":               {Token: "x"},
		"profile":             {AccessKey: "x", SecretKey: "y", Profile: "z"},
		"custom_endpoint_ec2": {CustomEndpointEc2: "nowhere"},
		"max_retries":         {MaxRetries: -1},
	} {
		if err := errors.Join(a.Prepare()...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want an error that names %s", a, err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	a := Access{
		Region:            "r",
		Profile:           "p",
		CustomEndpointEc2: "http://127.0.0.1:1",
		MaxRetries:        2,
		AssumeRole: AssumeRole{
			RoleARN:         "arn",
			ExternalID:      "e",
			DurationSeconds: 900,
		},
	}
	if errs := a.Prepare(); len(errs) > 0 {
		t.Fatal(errs)
	}
	want := awsconfig.Options{
		Command:    "goldsmith-ami",
		Region:     "r",
		Profile:    "p",
		Endpoint:   "http://127.0.0.1:1",
		MaxRetries: 2,
		Role: awsconfig.Role{
			ARN:         "arn",
			SessionName: "goldsmith",
			ExternalID:  "e",
			Duration:    15 * time.Minute,
		},
	}
	if got := a.Options("goldsmith-ami"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
