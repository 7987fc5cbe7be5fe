package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// patience is how long Account waits for an answer.
const patience = 5 * time.Second

// Account names what the calls go to, in one line: the account, the region, and the endpoint where one is set. It is
// told before anything is changed there. Who may not ask for the account, which needs no permission but can be
// denied, or gets no answer, is told the rest.
func Account(ctx context.Context, conf aws.Config) string {
	where := conf.Region
	if endpoint := Endpoint(conf); endpoint != "" {
		where += ", at " + endpoint
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := sts.NewFromConfig(conf, func(o *sts.Options) {
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts = 2 })
	})
	caller, err := client.GetCallerIdentity(ctx, nil)
	if err == nil && caller.Account == nil {
		err = errors.New("the answer names none")
	}
	if err != nil {
		return fmt.Sprintf("AWS account unknown (%s), %s", reason(err), where)
	}
	return fmt.Sprintf("AWS account %s, %s", *caller.Account, where)
}

// reason is an error in a word or two: what follows has it whole.
func reason(err error) string {
	var api smithy.APIError
	switch {
	case errors.As(err, &api):
		return api.ErrorCode()
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return "no answer"
}
