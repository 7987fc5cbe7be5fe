// Package awsconfig makes the AWS SDK's configuration as the SDK itself does, from environment and shared files, with
// what a user says over it. Where an endpoint is set, no call goes anywhere else.
package awsconfig

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/version"
)

// Options are a user's settings for AWS; everything is optional.
type Options struct {
	Region    string
	Profile   string
	AccessKey string
	SecretKey string
	Token     string
	// Endpoint is the URL of every service's API. It is AWS_ENDPOINT_URL said in a file.
	Endpoint string
	// Role is assumed with the credentials found.
	Role Role
	// MaxRetries is how often a call is repeated; 0 is AWS_MAX_ATTEMPTS less one, or else 4.
	MaxRetries int
	// Command is the name of the command, "deploy" or "network up" for example. The user agent of each call has it, so
	// that CloudTrail tells what a call was for.
	Command string
}

// Role is a role to assume.
type Role struct {
	ARN         string
	SessionName string
	ExternalID  string
	Duration    time.Duration
}

// Validate reports what contradicts itself.
func (o Options) Validate() []error {
	var errs []error
	if (o.AccessKey == "") != (o.SecretKey == "") {
		errs = append(errs, errors.New("access_key and secret_key: either both or neither are needed"))
	}
	if o.Token != "" && o.AccessKey == "" {
		errs = append(errs, errors.New("token: it goes with access_key and secret_key, which are missing"))
	}
	if o.AccessKey != "" && o.Profile != "" {
		errs = append(errs, errors.New("profile: it cannot go with access_key"))
	}
	if o.Endpoint != "" {
		if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("custom_endpoint_ec2: %q should be a URL such as http://127.66.0.1:4566",
				o.Endpoint))
		}
	}
	return errs
}

// ErrNoRegion says that neither the options nor the environment nor the profile name a region.
var ErrNoRegion = errors.New("region: it is missing")

// dialTimeout is how long an endpoint may take to answer a connection. The SDK's own 30 seconds, at each attempt, would
// have a user wait minutes for an endpoint that is not there.
const dialTimeout = 3 * time.Second

// Load makes the configuration. It asks nobody, but for a role's credentials when they are first used.
func Load(ctx context.Context, o Options) (aws.Config, error) {
	attempts := o.MaxRetries + 1
	if o.MaxRetries == 0 {
		attempts = 5
		// The retryer below is in place of the SDK's own, which reads this.
		if n, err := strconv.Atoi(os.Getenv("AWS_MAX_ATTEMPTS")); err == nil && n > 0 {
			attempts = n
		}
	}
	load := []func(*config.LoadOptions) error{
		// What the SDK would log, a broken connection at an interrupt say, comes as an error too, where it matters.
		config.WithLogger(logging.Nop{}),
		config.WithAPIOptions(append(userAgent(o.Command), KeepConnection)),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) {
			d.Timeout = dialTimeout
		})),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(s *retry.StandardOptions) {
				s.MaxAttempts, s.MaxBackoff = attempts, 3*time.Second
			})
		}),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.AccessKey != "" {
		given := credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, o.Token)
		load = append(load, config.WithCredentialsProvider(given))
	}
	if o.Endpoint != "" {
		load = append(load, config.WithBaseEndpoint(o.Endpoint))
	}
	conf, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if conf.Region == "" {
		const hint = "set region, AWS_REGION, or a region in the profile; for the local cloud: " +
			`eval "$(goldsmith cloud env)"`
		return aws.Config{}, fmt.Errorf("%w\nhint: %s", ErrNoRegion, hint)
	}
	if o.Role.ARN != "" {
		assume := func(a *stscreds.AssumeRoleOptions) {
			a.RoleSessionName, a.Duration = o.Role.SessionName, o.Role.Duration
			if o.Role.ExternalID != "" {
				a.ExternalID = aws.String(o.Role.ExternalID)
			}
		}
		provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(conf), o.Role.ARN, assume)
		conf.Credentials = aws.NewCredentialsCache(provider)
	}
	return conf, nil
}

// notInToken matches what a user agent's words have not.
var notInToken = regexp.MustCompile(`[^\w.-]+`)

// userAgent are API options that add "goldsmith/1.2.3" and "md/command#deploy" to the user agent, as the AWS CLI adds
// its command.
func userAgent(command string) []func(*middleware.Stack) error {
	options := []func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue("goldsmith", version.Number())}
	if command != "" {
		options = append(options, awsmiddleware.AddSDKAgentKeyValue(awsmiddleware.AdditionalMetadata, "command",
			notInToken.ReplaceAllString(command, "-")))
	}
	return options
}

// KeepConnection is an API option that keeps the connection until the answer is read. The SDK closes a request's body
// as soon as an answer comes, which may be before the HTTP client has seen the body's end; the SDK's closed body is
// then an error to the client where it has the method WriteTo, and the client ends the connection in the middle of
// the answer. An endpoint on the same machine is quick enough for that.
func KeepConnection(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KeepConnection",
		func(
			ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
		) (middleware.DeserializeOutput, middleware.Metadata, error) {
			if request, ok := in.Request.(*smithyhttp.Request); ok {
				if body, ok := request.GetStream().(io.ReadSeeker); ok {
					copied, err := request.SetStream(struct{ io.ReadSeeker }{body})
					if err != nil {
						return middleware.DeserializeOutput{}, middleware.Metadata{}, err
					}
					in.Request = copied
				}
			}
			return next.HandleDeserialize(ctx, in)
		}), middleware.After)
}

// Endpoint is the URL that all calls go to; empty for AWS itself.
func Endpoint(conf aws.Config) string {
	if conf.BaseEndpoint != nil {
		return *conf.BaseEndpoint
	}
	return os.Getenv("AWS_ENDPOINT_URL")
}

// checkIP is AWS's own service that answers with the caller's address.
const checkIP = "https://checkip.amazonaws.com/"

// CallerAddress is the address that instances see this machine under. Where an endpoint is set, it is asked, and not
// AWS.
func CallerAddress(ctx context.Context, conf aws.Config) (netip.Addr, error) {
	address, err := askAddress(ctx, conf)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find out the own address: %w", err)
	}
	return address, nil
}

func askAddress(ctx context.Context, conf aws.Config) (netip.Addr, error) {
	from := checkIP
	endpoint := Endpoint(conf)
	if endpoint != "" {
		from = strings.TrimSuffix(endpoint, "/") + "/latest/checkip"
	}
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return netip.Addr{}, err
	}
	if endpoint != "" {
		if err = sign(ctx, conf, request); err != nil {
			return netip.Addr{}, err
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return netip.Addr{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 256))
	if err != nil {
		return netip.Addr{}, err
	}
	address, err := netip.ParseAddr(strings.TrimSpace(string(text)))
	if err != nil || response.StatusCode != http.StatusOK {
		return netip.Addr{}, fmt.Errorf("%s answers %s: %q; give the range yourself", from, response.Status, text)
	}
	return address, nil
}

// sign signs a request without a body. An endpoint that is not AWS's may answer only to who has a key; AWS's own
// service needs none, and gets none.
func sign(ctx context.Context, conf aws.Config, request *http.Request) error {
	if conf.Credentials == nil {
		return nil
	}
	key, err := conf.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	empty := sha256.Sum256(nil)
	return v4.NewSigner().SignHTTP(ctx, key, request, hex.EncodeToString(empty[:]), "checkip", conf.Region, time.Now())
}
