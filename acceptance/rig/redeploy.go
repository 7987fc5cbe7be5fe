//go:build acceptance

package rig

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Impatient opens a connection for each request and tries nothing again. Instances make their certificates themselves,
// and the address moves from one to another: which of them answers does not matter here.
func Impatient() *http.Client {
	// No certificate is verified: see above.
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
}

// DeployArgs are those of a deployment that does not take its time.
func DeployArgs(more ...string) []string {
	return append([]string{"deploy", "--stack", StackName, "--bake-time", "2s", "--drain-time", "1s"}, more...)
}

// AssertServes wants both tiers to run, and the page to answer with the database.
func AssertServes(t *testing.T) {
	t.Helper()
	Tier(t, "db")
	WaitHealthy(t, aws.ToString(Tier(t, "web").PublicIpAddress), time.Minute)
}
