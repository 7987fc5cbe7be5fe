package stacktest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// SlowAWS is AWS in its first minutes: each action fails with its fault until so much time has gone by. It answers
// without a network, so that a test can let time go by.
type SlowAWS struct {
	t      *testing.T
	Began  time.Time
	faults map[string]Fault
	// bodies are the answers after the faults: the content of each action's response element, by action.
	bodies map[string]string
	Calls  map[string]int
}

// Fault is the answer to an action for some time.
type Fault struct {
	Lasts         time.Duration
	Code, Message string
}

// For is a fault that lasts for a while.
func For(lasts time.Duration, code, message string) Fault {
	return Fault{Lasts: lasts, Code: code, Message: message}
}

// Do implements aws.HTTPClient.
func (a *SlowAWS) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	action := form.Get("Action")
	a.Calls[action]++
	if f, ok := a.faults[action]; ok && time.Since(a.Began) < f.Lasts {
		text := fmt.Sprintf(`<Error><Code>%s</Code><Message>%s</Message></Error>`, f.Code, f.Message)
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
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {"text/xml"}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
}

// Slowly is a default stack whose AWS has these faults.
func Slowly(t *testing.T, bodies map[string]string, faults map[string]Fault) (*stack.Stack, *SlowAWS) {
	a := &SlowAWS{
		t:      t,
		Began:  time.Now(),
		faults: faults,
		bodies: bodies,
		Calls:  map[string]int{},
	}
	conf := aws.Config{
		Region:      "us-east-1",
		HTTPClient:  a,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
	s := defaultstack.New(conf, stackfile.Default(), func(string, ...any) {})
	s.Consoles = &console.Reader{} // the time of one test is not that of another
	return s, a
}

// Parts of answers.
const (
	BadProfile = "Value (goldsmith-golden-db) for parameter iamInstanceProfile.name is invalid. Invalid IAM " +
		"Instance Profile name"
	AnInstance = "<item><instanceId>%s</instanceId><instanceState><name>%s</name></instanceState></item>"
)

// Described is the answer to DescribeInstances.
func Described(id, state string) string {
	return "<reservationSet><item><instancesSet>" + fmt.Sprintf(AnInstance, id,
		state) + "</instancesSet></item></reservationSet>"
}
