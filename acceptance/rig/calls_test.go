//go:build acceptance

package rig

import (
	"testing"
)

// TestCountOf tells calls from polls and from what is tried again.
func TestCountOf(t *testing.T) {
	call := func(source, name, code string, parameters ...string) Call {
		c := Call{
			Source:     source + ".amazonaws.com",
			Name:       name,
			UserAgent:  "aws-sdk-go-v2/1 md/command#deploy goldsmith/1",
			Parameters: map[string]string{},
			ErrorCode:  code,
			Attempt:    1,
		}
		for i := 0; i+1 < len(parameters); i += 2 {
			c.Parameters[parameters[i]] = parameters[i+1]
		}
		return c
	}
	retried := call("ec2", "RunInstances", "", "ImageId", "ami-1")
	retried.Attempt = 2
	other := call("ec2", "DescribeVpcs", "")
	other.UserAgent = "aws-sdk-go-v2/1 md/command#status goldsmith/1"
	calls := []Call{
		call("ec2", "DescribeVpcs", ""), // a call
		call("ec2", "DescribeVpcs", ""), // and a superfluous one
		other,                           // of another command
		call("ec2", "DescribeInstances", "", "InstanceId.1", "i-1"),                           // a call
		call("ec2", "DescribeInstances", "InvalidInstanceID.NotFound", "InstanceId.1", "i-1"), // a poll
		call("ec2", "DescribeInstances", "", "InstanceId.1", "i-1"),                           // a poll
		call("ec2", "DescribeInstances", "", "InstanceId.1", "i-2"),                           // a call
		call("ssm", "PutParameter", "", "Name", "/goldsmith/x/lock"),                          // a call
		call("ssm", "PutParameter", "", "Name", "/goldsmith/x/lock"),                          // a heartbeat
		call("ssm", "PutParameter", "", "Name", "/goldsmith/x/history/1"),                     // a call
		call("ssm", "PutParameter", "", "Name", "/goldsmith/x/history/1"),                     // a call
		call("ec2", "CreateRoute", "InvalidRouteTableID.NotFound", "RouteTableId", "rtb-1"),   // a call
		call("ec2", "CreateRoute", "", "RouteTableId", "rtb-1"),                               // again
		call("ec2", "RunInstances", "RequestLimitExceeded", "ImageId", "ami-1"),               // a call
		retried, // again
	}
	if got, want := CountOf(calls), (Count{Calls: 10, Polls: 3, Again: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
