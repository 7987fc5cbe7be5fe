package stack

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// slowAWS is AWS in its first minutes: each action fails with its fault until so much time has gone by. It answers without
// a network, so that a test can let time go by.
type slowAWS struct {
	t      *testing.T
	began  time.Time
	faults map[string]fault
	// bodies are what is answered then, by action: what stands in the response.
	bodies map[string]string
	calls  map[string]int
}

type fault struct {
	lasts         time.Duration
	code, message string
}

func (a *slowAWS) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	action := form.Get("Action")
	a.calls[action]++
	if f, ok := a.faults[action]; ok && time.Since(a.began) < f.lasts {
		text := fmt.Sprintf(`<Error><Code>%s</Code><Message>%s</Message></Error>`, f.code, f.message)
		if form.Get("Version") == "2016-11-15" {
			return respond(http.StatusBadRequest, "<Response><Errors>"+text+"</Errors></Response>"), nil
		}
		return respond(http.StatusBadRequest, "<ErrorResponse>"+text+"</ErrorResponse>"), nil
	}
	answer, ok := a.bodies[action]
	if !ok {
		a.t.Errorf("nobody told of %s", action)
	}
	if form.Get("Version") == "2010-05-08" {
		answer = fmt.Sprintf("<%[1]sResult>%[2]s</%[1]sResult>", action, answer)
	}
	return respond(http.StatusOK, fmt.Sprintf("<%[1]sResponse>%[2]s</%[1]sResponse>", action, answer)), nil
}

func respond(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// slowly is a stack whose AWS has these faults.
func slowly(t *testing.T, bodies map[string]string, faults map[string]fault) (*Stack, *slowAWS) {
	a := &slowAWS{t: t, began: time.Now(), faults: faults, bodies: bodies, calls: map[string]int{}}
	conf := aws.Config{
		Region:      "us-east-1",
		HTTPClient:  a,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
	s := New(conf, stackfile.Default(), func(string, ...any) {})
	s.consoles = &console.Reader{} // the time of one test is not that of another
	return s, a
}

const (
	badProfile = "Value (goldsmith-golden-db) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
	anInstance = "<item><instanceId>%s</instanceId><instanceState><name>%s</name></instanceState></item>"
)

func described(id, state string) string {
	return "<reservationSet><item><instancesSet>" + fmt.Sprintf(anInstance, id, state) + "</instancesSet></item></reservationSet>"
}

func TestLaunchWithAProfileThatIsNew(t *testing.T) {
	bodies := map[string]string{"RunInstances": "<instancesSet>" + fmt.Sprintf(anInstance, "i-1", "pending") + "</instancesSet>"}
	for _, c := range []struct {
		name  string
		fault fault
		want  string
	}{
		{"some seconds", fault{40 * time.Second, "InvalidParameterValue", badProfile}, ""},
		{"it is not there at all", fault{time.Hour, "InvalidParameterValue", badProfile}, "Invalid IAM Instance Profile name"},
		{"another fault", fault{time.Hour, "InvalidParameterValue", "Value (t9) for parameter instanceType is invalid"}, "instanceType"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a := slowly(t, bodies, map[string]fault{"RunInstances": c.fault})
				n := Network{DatabaseSG: "sg-1"}
				i, err := s.launch(t.Context(), n, launch{tier: "db", image: "ami-1", instanceType: "t3.micro", subnet: Subnet{ID: "subnet-1"}, service: "10.0.2.10", clients: netip.MustParsePrefix("10.0.1.0/24")})
				if c.want == "" && (err != nil || i.ID != "i-1") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("got %q, %v", i.ID, err)
				}
				took := time.Since(a.began)
				if c.name == "another fault" && a.calls["RunInstances"] != 1 || took > 3*time.Minute {
					t.Errorf("%d calls in %s", a.calls["RunInstances"], took)
				}
			})
		})
	}
}

func TestRolesThatAreNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bodies := map[string]string{"CreateRole": "<Role/>", "PutRolePolicy": "", "CreateInstanceProfile": "<InstanceProfile/>", "AddRoleToInstanceProfile": "", "GetInstanceProfile": "<InstanceProfile/>"}
		s, a := slowly(t, bodies, map[string]fault{
			"PutRolePolicy":            {5 * time.Second, "NoSuchEntity", "The role with name goldsmith-golden-db cannot be found."},
			"AddRoleToInstanceProfile": {10 * time.Second, "NoSuchEntity", "Instance Profile goldsmith-golden-db cannot be found."},
			"GetInstanceProfile":       {20 * time.Second, "NoSuchEntity", "Instance Profile goldsmith-golden-db cannot be found."},
		})
		if err := s.ensureRoles(t.Context()); err != nil {
			t.Errorf("after %v: %v", a.calls, err)
		}
	})
}

// TestGroupWithAProfileThatIsNew has Auto Scaling learn of the profile later than EC2.
func TestGroupWithAProfileThatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := slowly(t, map[string]string{"StartInstanceRefresh": "<StartInstanceRefreshResult><InstanceRefreshId>r-1</InstanceRefreshId></StartInstanceRefreshResult>"},
			map[string]fault{"StartInstanceRefresh": {30 * time.Second, "ValidationError", "You must use a valid fully-formed launch template. " + badProfile}})
		id, err := s.startRefresh(t.Context(), &webGroup{name: "g", template: "lt-1"}, "2", nil)
		if err != nil || id != "r-1" {
			t.Errorf("got %q, %v after %d calls", id, err, a.calls["StartInstanceRefresh"])
		}
	})
}

// TestWaitForAnInstanceThatIsNew has EC2 not know the instance, and be asked too much, and the console come late.
func TestWaitForAnInstanceThatIsNew(t *testing.T) {
	report := "\nGOLDSMITH-READY " + `{"ready":true,"time":"2026-06-02T18:11:27Z"}` + "\n"
	bodies := map[string]string{"DescribeInstances": described("i-1", "running"),
		"GetConsoleOutput": "<output>" + base64.StdEncoding.EncodeToString([]byte(report)) + "</output>"}
	for name, faults := range map[string]map[string]fault{
		"unknown":              {"DescribeInstances": {50 * time.Second, "InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist"}},
		"its console, too":     {"GetConsoleOutput": {50 * time.Second, "InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist"}},
		"too many calls":       {"DescribeInstances": {3 * time.Minute, "RequestLimitExceeded", "Request limit exceeded."}},
		"of its console":       {"GetConsoleOutput": {3 * time.Minute, "RequestLimitExceeded", "Request limit exceeded."}},
		"a fault of EC2's own": {"GetConsoleOutput": {time.Minute, "InternalError", "An internal error has occurred"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a := slowly(t, bodies, faults)
				if _, err := s.waitReady(t.Context(), "i-"+strings.ReplaceAll(name, " ", "-"), time.Time{}); err != nil {
					t.Errorf("after %v calls: %v", a.calls, err)
				}
			})
		})
	}
}

func TestWaitThatHasToEnd(t *testing.T) {
	bodies := map[string]string{"DescribeInstances": described("i-1", "running"), "GetConsoleOutput": "<output></output>"}
	for _, c := range []struct {
		name   string
		faults map[string]fault
		most   time.Duration
		want   string
	}{
		{"never known", map[string]fault{"DescribeInstances": {time.Hour, "InvalidInstanceID.NotFound", "i-1"}}, 3 * time.Minute, "InvalidInstanceID.NotFound"},
		{"not allowed", map[string]fault{"GetConsoleOutput": {time.Hour, "UnauthorizedOperation", "no"}}, time.Second, "UnauthorizedOperation"},
		{"never asked in time", map[string]fault{"DescribeInstances": {time.Hour, "RequestLimitExceeded", "too many"}}, 16 * time.Minute, "RequestLimitExceeded"},
		{"never ready", nil, 16 * time.Minute, "it has not said that it is ready"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a := slowly(t, bodies, c.faults)
				_, err := s.waitReady(t.Context(), "i-"+strings.ReplaceAll(c.name, " ", "-"), time.Time{})
				if took := time.Since(a.began); err == nil || !strings.Contains(err.Error(), c.want) || took > c.most {
					t.Errorf("after %s and %v calls: %v", took, a.calls, err)
				}
				if most := 12 + int(time.Since(a.began)/(3*time.Second)) + 2; a.calls["GetConsoleOutput"] > most {
					t.Errorf("the console was asked for %d times, %d are due", a.calls["GetConsoleOutput"], most)
				}
			})
		})
	}
}

func TestOtherWaits(t *testing.T) {
	volume := map[string]string{"DescribeVolumes": "<volumeSet><item><volumeId>vol-1</volumeId><status>available</status></item></volumeSet>"}
	for _, c := range []struct {
		name   string
		bodies map[string]string
		faults map[string]fault
		wait   func(context.Context, *Stack) error
	}{
		{"a volume that is new", volume, map[string]fault{"DescribeVolumes": {30 * time.Second, "InvalidVolume.NotFound", "The volume 'vol-1' does not exist."}},
			func(ctx context.Context, s *Stack) error { return s.volumeAvailable(ctx, "vol-1") }},
		{"a volume, too many calls", volume, map[string]fault{"DescribeVolumes": {2 * time.Minute, "RequestLimitExceeded", "Request limit exceeded."}},
			func(ctx context.Context, s *Stack) error { return s.volumeAvailable(ctx, "vol-1") }},
		{"an instance that stops, too many calls", map[string]string{"StopInstances": "", "DescribeInstances": described("i-1", "stopped")},
			map[string]fault{"DescribeInstances": {2 * time.Minute, "RequestLimitExceeded", "Request limit exceeded."}},
			func(ctx context.Context, s *Stack) error { return s.stopInstance(ctx, "i-1") }},
		{"an instance that ends, too many calls", map[string]string{"TerminateInstances": "", "DescribeInstances": described("i-1", "terminated")},
			map[string]fault{"DescribeInstances": {2 * time.Minute, "Unavailable", "The server is overloaded."}},
			func(ctx context.Context, s *Stack) error { return s.terminate(ctx, "i-1") }},
		{"an instance that is forgotten", map[string]string{"TerminateInstances": "", "DescribeInstances": "<reservationSet/>"},
			map[string]fault{"DescribeInstances": {time.Millisecond, "InvalidInstanceID.NotFound", "i-1"}},
			func(ctx context.Context, s *Stack) error { return s.terminate(ctx, "i-1") }},
		{"a NAT gateway, too many calls", map[string]string{"DescribeNatGateways": "<natGatewaySet><item><natGatewayId>nat-1</natGatewayId><state>deleted</state></item></natGatewaySet>"},
			map[string]fault{"DescribeNatGateways": {time.Minute, "RequestLimitExceeded", "Request limit exceeded."}},
			func(ctx context.Context, s *Stack) error { return s.natGatewaysDeleted(ctx, "nat-1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a := slowly(t, c.bodies, c.faults)
				if err := c.wait(t.Context(), s); err != nil {
					t.Errorf("after %s and %v calls: %v", time.Since(a.began), a.calls, err)
				}
			})
		})
	}
}
