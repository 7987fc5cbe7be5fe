//go:build acceptance

package deploys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// unreliable is an API that does to a call what decide says; it stands between the command and the local cloud.
type unreliable struct {
	*httptest.Server
	proxy *httputil.ReverseProxy

	mu     sync.Mutex
	counts map[string]int
	decide func(action string, form url.Values, n int) string
	hit    []string
}

// What can be done to a call.
const (
	throttle  = "throttle" // refused for now, as the service does
	serverErr = "500"      // an error of the server's
	refuse    = "refuse"   // an error that says that trying again is of no use
	lose      = "lose"     // done, and the answer lost
	cut       = "cut"      // not done, and the connection closed
	expire    = "expire"   // the credentials have expired
	pretend   = "pretend"  // not done, and said to be
)

// newUnreliable begins to listen. decide is told the action, its form, and how often it was called, from 1.
func newUnreliable(t *testing.T, decide func(action string, form url.Values, n int) string) *unreliable {
	t.Helper()
	target, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL"))
	if err != nil {
		t.Fatal(err)
	}
	u := &unreliable{
		proxy:  &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { signAnew(r, target) }},
		counts: map[string]int{},
		decide: decide,
	}
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

var signedService = regexp.MustCompile(`Credential=[^/]*/[^/]*/[^/]*/([^/]*)/`)

// signAnew sends a request on to the cloud, which answers only to its own name: the signature is of the name too.
func signAnew(r *httputil.ProxyRequest, target *url.URL) {
	var body []byte
	if r.Out.Body != nil { // as for a GET
		body, _ = io.ReadAll(r.Out.Body)
	}
	r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.SetURL(target)
	r.Out.Host = target.Host
	service := signedService.FindStringSubmatch(r.Out.Header.Get("Authorization"))
	if service == nil {
		return // and let the cloud say so
	}
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
		r.Out.Header.Del(name)
	}
	digest := sha256.Sum256(body)
	key := aws.Credentials{
		AccessKeyID:     os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
	}
	hash := hex.EncodeToString(digest[:])
	if err := v4.NewSigner().SignHTTP(r.Out.Context(), key, r.Out, hash, service[1], "us-east-1",
		time.Now()); err != nil {
		panic(err) // the key is ours: it can be signed with
	}
}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	action, ssm := form.Get("Action"), false
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		action, ssm = target[strings.LastIndexByte(target, '.')+1:], true
	}
	u.mu.Lock()
	u.counts[action]++
	what := u.decide(action, form, u.counts[action])
	if what != "" {
		u.hit = append(u.hit, action+" "+what)
	}
	u.mu.Unlock()
	fail := func(status int, code string) {
		if ssm {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"__type":%q,"message":"injected"}`, code)
			return
		}
		w.WriteHeader(status)
		if strings.Contains(r.Header.Get("Authorization"), "/iam/") {
			fmt.Fprintf(
				w,
				`<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>injected</Message></`+
					`Error><RequestId>r</RequestId></ErrorResponse>`,
				code,
			)
			return
		}
		fmt.Fprintf(
			w,
			`<Response><Errors><Error><Code>%s</Code><Message>injected</Message></Error></Errors><RequestID>r</`+
				`RequestID></Response>`,
			code,
		)
	}
	switch what {
	case throttle:
		if ssm {
			fail(http.StatusBadRequest, "ThrottlingException")
		} else {
			fail(http.StatusServiceUnavailable, "RequestLimitExceeded")
		}
	case serverErr:
		fail(http.StatusInternalServerError, "InternalError")
	case refuse:
		fail(http.StatusBadRequest, "OperationNotPermitted")
	case expire:
		if ssm {
			fail(http.StatusBadRequest, "ExpiredTokenException")
		} else {
			fail(http.StatusBadRequest, "RequestExpired")
		}
	case cut:
		hangUp(w)
	case lose:
		u.proxy.ServeHTTP(httptest.NewRecorder(), r)
		hangUp(w)
	case pretend:
		fmt.Fprintf(
			w,
			`<%[1]sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><return>true</return></%[1]sResponse>`,
			action,
		)
	default:
		u.proxy.ServeHTTP(w, r)
	}
}

func hangUp(w http.ResponseWriter) {
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		conn.Close()
	}
}

// run runs the command against the unreliable API.
func (u *unreliable) run(args ...string) (string, error) {
	cmd := exec.Command(rig.Goldsmith(), append(args, "--endpoint", u.URL)...)
	cmd.Dir = rig.Repository
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+u.URL)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// changing tells whether an action changes something.
func changing(action string) bool {
	return action != "" && !strings.HasPrefix(action, "Describe") && !strings.HasPrefix(action, "Get") &&
		!strings.HasPrefix(action, "List")
}

// removePolicies takes the policies of the stack's roles away: a deployment puts them only where they differ.
func removePolicies(t *testing.T) {
	t.Helper()
	query := fmt.Sprintf("Roles[?starts_with(RoleName, 'goldsmith-%s-')].RoleName", rig.StackName)
	roles := strings.Fields(rig.Must(t, "aws", "iam", "list-roles", "--query", query, "--output", "text"))
	if len(roles) == 0 {
		t.Fatal("the stack has no roles")
	}
	for _, role := range roles {
		rig.Must(t, "aws", "iam", "delete-role-policy", "--role-name", role, "--policy-name", "parameters")
	}
}

// TestUnreliableAPI fails each action of a deployment of both tiers the first time, throttled or by an error of the
// server's in turn, and loses the answers of those that make something: the deployment is good, and nothing is there
// twice.
func TestUnreliableAPI(t *testing.T) {
	removePolicies(t)
	before := withoutSnapshots(rig.Inventory(t))
	turn := 0
	u := newUnreliable(t, func(action string, _ url.Values, n int) string {
		switch {
		case n == 1 && (action == "RunInstances"):
			return lose
		case n == 1 && action != "":
			turn++
			return []string{throttle, serverErr}[turn%2]
		}
		return ""
	})
	out, err := u.run(rig.DeployArgs("--replace", "all")...)
	if err != nil {
		t.Fatalf("%v:\n%s", err, rig.End(t, out))
	}
	for _, action := range []string{
		"RunInstances lose", "CreateSnapshot ", "AttachVolume ", "DetachVolume ", "AssignPrivateIpAddresses ",
		"AssociateAddress ", "TerminateInstances ", "CreateTags ", "PutParameter ", "GetConsoleOutput ",
		"PutRolePolicy ",
	} {
		if !strings.Contains(strings.Join(u.hit, "\n"), action) {
			t.Errorf("no call of %sfailed: %q", action, u.hit)
		}
	}
	t.Logf("%d actions failed once", len(u.hit))
	if len(withoutSnapshots(rig.Inventory(t))) != len(before) {
		assertSame(t, before)
	}
	rig.AssertServes(t)
}

// refusedCall is a call that fails once for good in a deployment of a tier.
type refusedCall struct {
	action, how, tier string
	call              int  // the number of the one that fails, from 1
	more              bool // of a kind that another case shows too
}

func (c refusedCall) try(t *testing.T) {
	if c.action == "PutRolePolicy" {
		removePolicies(t)
	}
	db, web, before := *rig.Tier(t, "db").InstanceId, *rig.Tier(t, "web").InstanceId, withoutSnapshots(
		rig.Inventory(t),
	)
	u := newUnreliable(t, func(action string, _ url.Values, n int) string {
		if action == c.action && n == c.call {
			return c.how
		}
		return ""
	})
	args := rig.DeployArgs("--replace", c.tier)
	if c.how == pretend { // else EC2's time is waited for
		args = append(args, "--timeout", "20s")
	}
	out, err := u.run(args...)
	var exit *exec.ExitError
	if len(u.hit) != 1 || !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%q failed; %v, want exit code 1:\n%s", u.hit, err, rig.End(t, out))
	}
	if now := *rig.Tier(t, "db").InstanceId; now != db {
		t.Errorf("the database is %s, it was %s", now, db)
	}
	if now := *rig.Tier(t, "web").InstanceId; now != web {
		t.Errorf("the web instance is %s, it was %s", now, web)
	}
	rig.AssertServes(t)
	assertSame(t, before)
}

// TestRefusedCalls has one call of each kind that changes something fail for good. The deployment goes back, and what
// served before serves, with all that was written.
func TestRefusedCalls(t *testing.T) {
	w := &writer{prefix: fmt.Sprintf("f%d-", time.Now().Unix()%1e6)}
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	clients.Go(func() { w.run(ctx, aws.ToString(rig.Tier(t, "web").PublicIpAddress)) })
	for _, c := range []refusedCall{
		{"PutParameter", refuse, "all", 1, true},
		{"PutRolePolicy", refuse, "all", 1, true},
		{"RunInstances", refuse, "all", 2, false},
		{"CreateTags", refuse, "db", 1, true},
		{"CreateSnapshot", refuse, "db", 1, true},
		{"DetachVolume", refuse, "db", 1, true},
		{"AttachVolume", refuse, "db", 1, false},
		{"AssignPrivateIpAddresses", refuse, "db", 1, true},
		{"AssignPrivateIpAddresses", pretend, "db", 1, false},
		{"AssociateAddress", refuse, "web", 1, false},
		{"AssociateAddress", pretend, "web", 1, true},
		{"CreateTags", refuse, "web", 1, true},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.action+" "+c.how, func(t *testing.T) { c.try(t) })
	}
	t.Run("TerminateInstances", func(t *testing.T) {
		// When the old instances are to end, the new ones serve already: the next deployment ends them.
		u := newUnreliable(t, func(action string, _ url.Values, _ int) string {
			if action == "TerminateInstances" {
				return refuse
			}
			return ""
		})
		before := withoutSnapshots(rig.Inventory(t))
		if out, err := u.run(rig.DeployArgs("--replace", "web")...); err == nil || len(u.hit) == 0 {
			t.Errorf("%v; %q failed:\n%s", err, u.hit, rig.End(t, out))
		}
		rig.Must(t, rig.Goldsmith(), rig.DeployArgs()...)
		rig.AssertServes(t)
		if len(withoutSnapshots(rig.Inventory(t))) != len(before) {
			assertSame(t, before)
		}
	})
	stop()
	clients.Wait()
	assertAcknowledged(t, w)
}

// TestVolumeThatDoesNotDetach has EC2 say that it detaches the volume, and not do so.
func TestVolumeThatDoesNotDetach(t *testing.T) {
	db, before := *rig.Tier(t, "db").InstanceId, withoutSnapshots(rig.Inventory(t))
	u := newUnreliable(t, func(action string, _ url.Values, _ int) string {
		if action == "DetachVolume" {
			return pretend
		}
		return ""
	})
	out, err := u.run(rig.DeployArgs("--replace", "db", "--timeout", "15s")...)
	if err == nil || !strings.Contains(out, "wait for volume vol-") || !strings.Contains(out, "going back") {
		t.Errorf("%v:\n%s", err, rig.End(t, out))
	}
	if now := *rig.Tier(t, "db").InstanceId; now != db {
		t.Errorf("the database is %s, it was %s", now, db)
	}
	rig.AssertServes(t)
	assertSame(t, before)
}

// TestAPIGoneHalfWay loses the API, and in turn has the credentials expire, once the old database was stopped. Nothing
// can go back then; the next deployment, and in turn a rollback, puts it right.
func TestAPIGoneHalfWay(t *testing.T) {
	w := &writer{prefix: fmt.Sprintf("a%d-", time.Now().Unix()%1e6)}
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	clients.Go(func() { w.run(ctx, aws.ToString(rig.Tier(t, "web").PublicIpAddress)) })
	for _, c := range []struct {
		how  string
		want []string
		next []string
	}{
		{cut, []string{"a person is needed", "goldsmith rollback goes on with it"}, rig.DeployArgs()},
		{
			expire,
			[]string{"a person is needed", "hint: the credentials have expired; get new ones"},
			rollbackArgs(t),
		},
	} {
		t.Run(c.how, func(t *testing.T) {
			before, gone := withoutSnapshots(rig.Inventory(t)), false
			u := newUnreliable(t, func(action string, _ url.Values, _ int) string {
				if gone = gone || action == "DetachVolume"; gone {
					return c.how
				}
				return ""
			})
			t.Setenv("AWS_MAX_ATTEMPTS", "2") // each call takes its time to find out
			out, err := u.run(rig.DeployArgs("--replace", "all")...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 3 {
				t.Errorf("%v, want exit code 3", err)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, rig.End(t, out))
				}
			}
			rig.Must(t, rig.Goldsmith(), c.next...)
			rig.AssertServes(t)
			if len(withoutSnapshots(rig.Inventory(t))) != len(before) {
				assertSame(t, before)
			}
		})
	}
	stop()
	clients.Wait()
	assertAcknowledged(t, w)
}

// TestFullVolume fills the data volume. A server that cannot write does not stop: nothing is begun, and the database
// serves as far as it can; with room again it takes writes, and can be replaced.
func TestFullVolume(t *testing.T) {
	fill := "/var/lib/goldsmith/data/fill"
	rig.MustOnInstance(
		t,
		"db",
		fmt.Sprintf(
			"sudo sh -c 'fallocate -l $(($(df --output=avail -B1 /var/lib/mysql | tail -1) - 65536)) %s; cat "+
				"/dev/zero >>%s' 2>/dev/null; df /var/lib/mysql",
			fill,
			fill,
		),
	)
	t.Cleanup(func() {
		rig.Must(t, rig.Goldsmith(), "ssh", "--stack", rig.StackName, "db", "--", "sudo", "rm", "-f", fill)
	})
	if out := rig.MustOnInstance(t, "db", "df --output=avail /var/lib/mysql | tail -1"); strings.TrimSpace(out) != "0" {
		t.Fatalf("the volume is not full: %s", out)
	}
	db, before := *rig.Tier(t, "db").InstanceId, rig.Inventory(t)
	out, err := rig.Output(rig.Goldsmith(), rig.DeployArgs("--replace", "db")...)
	if err == nil || !strings.Contains(out, "no space left on the data volume: 0 MiB of ") ||
		!strings.Contains(out, "hint: make room") {
		t.Errorf("%v; it should name the cause:\n%s", err, rig.End(t, out))
	}
	if now := *rig.Tier(t, "db").InstanceId; now != db {
		t.Errorf("the database is %s, it was %s", now, db)
	}
	rig.AssertServes(t)
	rig.AssertNothingLeft(t, before)
	rig.MustOnInstance(t, "db", "sudo rm "+fill)
	w := &writer{prefix: fmt.Sprintf("v%d-", time.Now().Unix()%1e6)}
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	w.run(ctx, aws.ToString(rig.Tier(t, "web").PublicIpAddress))
	rig.Must(t, rig.Goldsmith(), rig.DeployArgs("--replace", "db")...)
	assertAcknowledged(t, w)
	rig.AssertServes(t)
}
