//go:build acceptance

package rig

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// waitTerminated waits until instances are terminated. It asks each second, as the local cloud is quick.
func waitTerminated(ctx context.Context, ids ...string) error {
	waiter := ec2.NewInstanceTerminatedWaiter(
		API,
		func(o *ec2.InstanceTerminatedWaiterOptions) { o.MinDelay = time.Second },
	)
	return waiter.Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids}, time.Minute)
}

// WaitAvailable waits until volumes are available, and asks each second too.
func WaitAvailable(ctx context.Context, volumes *ec2.DescribeVolumesInput) error {
	waiter := ec2.NewVolumeAvailableWaiter(API, func(o *ec2.VolumeAvailableWaiterOptions) { o.MinDelay = time.Second })
	return waiter.Wait(ctx, volumes, time.Minute)
}

func Terminate(t testing.TB, ids ...string) {
	t.Helper()
	ctx := context.Background()
	if _, err := API.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	if err := waitTerminated(ctx, ids...); err != nil {
		t.Fatal(err)
	}
}

// WaitHealthy waits until /health of a public address answers 200, and returns the answer.
func WaitHealthy(t testing.TB, address string, limit time.Duration) string {
	t.Helper()
	// Who answers does not matter here, only when; the tests pin the certificate.
	client := &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	last := ""
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		response, err := client.Get("https://" + address + "/health")
		if err != nil {
			last = err.Error()
			continue
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(response.Body)
		response.Body.Close()
		if err == nil && response.StatusCode == http.StatusOK {
			return body.String()
		}
		last = response.Status + " " + body.String()
	}
	t.Fatalf("%s was not healthy within %s: %s", address, limit, last)
	return ""
}
