// Package firstboot is the agent's work on an instance of a Goldsmith image: it reads the instance's settings and
// secrets with its role, makes keys and certificates that must be unique, takes the data volume, and verifies from
// inside that the instance is ready. The image's description, package imagespec, says which units, ports and probes
// that means; a Setup has the steps for one kind of server. It runs as root, from the units of package instance.
package firstboot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// patience is how long a metadata service may be silent before the machine is taken for one without any. An instance
// of EC2 has one for certain, so there its silence is a failure, and it gets longer.
const (
	patience      = 10 * time.Second
	patienceOnEC2 = 60 * time.Second
)

// onEC2 tells by the firmware's vendor whether this is an instance of EC2:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
func onEC2() bool {
	vendor, err := os.ReadFile("/sys/class/dmi/id/sys_vendor")
	return err == nil && strings.HasPrefix(string(vendor), "Amazon EC2")
}

// cloud reads an instance's settings, from the metadata service, and its secrets, from Parameter Store.
type cloud struct {
	metadata *imds.Client
	// secrets is asked with the instance's own role.
	secrets *ssm.Client
	region  string
	// ahead is how far the cloud's clock is ahead of this machine's, as its last answer says.
	ahead time.Duration
}

// errNoMetadata says that the machine is on no cloud that has EC2's metadata service.
var errNoMetadata = errors.New("there is no metadata service")

// connect finds the metadata service; right after the start it may still be silent.
func connect(ctx context.Context) (*cloud, error) {
	return connectBy(ctx, func(timeout time.Duration) imds.HTTPClient {
		return awshttp.NewBuildableClient().WithTimeout(timeout)
	})
}

func connectBy(ctx context.Context, httpClient func(timeout time.Duration) imds.HTTPClient) (*cloud, error) {
	// The first call is repeated here, at short intervals; all others as the SDK does it.
	probe := imds.New(imds.Options{
		HTTPClient:     httpClient(2 * time.Second),
		EnableFallback: aws.FalseTernary,
		Retryer:        aws.NopRetryer{},
	})
	patient := retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 5, time.Second })
	client := imds.New(imds.Options{
		HTTPClient:     httpClient(5 * time.Second),
		EnableFallback: aws.FalseTernary,
		Retryer:        patient,
	})
	wait, silent := patience, errNoMetadata
	if onEC2() {
		wait, silent = patienceOnEC2, errors.New("the metadata service does not answer")
	}
	var last error
	for deadline := time.Now().Add(wait); time.Now().Before(deadline); {
		out, err := probe.GetRegion(ctx, &imds.GetRegionInput{})
		if err == nil {
			// The SDK's default chain would link sign-in, SSO and STS into the agent, and nothing but the role is
			// meant.
			role := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client })
			secrets := secretsClient(out.Region, aws.NewCredentialsCache(role))
			return &cloud{metadata: client, secrets: secrets, region: out.Region}, nil
		}
		last = err
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("%w: %w", silent, last)
}

// secretsClient is a client of SSM, at the endpoint that the instance's environment names, as the SDK's default
// configuration reads it: an account may have a VPC endpoint or another service in SSM's stead.
func secretsClient(region string, credentials aws.CredentialsProvider) *ssm.Client {
	return ssm.NewFromConfig(aws.Config{Region: region, Credentials: credentials}, func(o *ssm.Options) {
		if url := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_SSM"), os.Getenv("AWS_ENDPOINT_URL")); url != "" {
			o.BaseEndpoint = &url
		}
	})
}

// userData is empty where the instance has none.
func (c *cloud) userData(ctx context.Context) ([]byte, error) {
	out, err := c.metadata.GetUserData(ctx, &imds.GetUserDataInput{})
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read user-data: %w", err)
	}
	defer out.Content.Close()
	return io.ReadAll(out.Content)
}

func (c *cloud) identity(ctx context.Context) (Identity, error) {
	id := Identity{Region: c.region}
	for _, item := range []struct {
		path string
		into *string
	}{
		{"instance-id", &id.InstanceID},
		{"ami-id", &id.ImageID},
		{"local-ipv4", &id.Private},
		{"public-ipv4", &id.Public},
	} {
		value, err := c.value(ctx, item.path)
		if err != nil {
			return id, err
		}
		*item.into = value
	}
	for _, path := range []string{"local-hostname", "public-hostname"} {
		value, err := c.value(ctx, path)
		if err != nil {
			return id, err
		}
		if value != "" {
			id.Names = append(id.Names, value)
		}
	}
	if id.Private == "" {
		return id, errors.New("read the instance's metadata: it has no private address")
	}
	return id, nil
}

// value is one item of metadata, empty where there is none.
func (c *cloud) value(ctx context.Context, path string) (string, error) {
	out, err := c.metadata.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if isNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read metadata %s: %w", path, err)
	}
	defer out.Content.Close()
	text, err := io.ReadAll(out.Content)
	return strings.TrimSpace(string(text)), err
}

func isNotFound(err error) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == http.StatusNotFound
}

// mostParameters is the largest number of names in one GetParameters call.
const mostParameters = 10

// parameters reads parameters with the instance's role. Those of required that are not there are an error that names
// them.
func (c *cloud) parameters(ctx context.Context, required, optional []string) (map[string]string, error) {
	values := map[string]string{}
	names := append(append([]string(nil), required...), optional...)
	if len(names) == 0 {
		return values, nil
	}
	for part := range slices.Chunk(names, mostParameters) {
		out, err := c.secrets.GetParameters(ctx, &ssm.GetParametersInput{Names: part, WithDecryption: aws.Bool(true)})
		if err != nil {
			return nil, fmt.Errorf("read parameters %s with the instance's role: %w", strings.Join(part, ", "), err)
		}
		c.ahead, _ = awsmiddleware.GetAttemptSkew(out.ResultMetadata)
		for _, parameter := range out.Parameters {
			values[aws.ToString(parameter.Name)] = aws.ToString(parameter.Value)
		}
	}
	var missing []string
	for _, name := range required {
		if values[name] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("read parameters: there is no %s", strings.Join(missing, ", "))
	}
	return values, nil
}

// withClock adds to an error of a certificate's time that it is the clock here which is wrong, if it is.
func (c *cloud) withClock(err error) error {
	switch ahead := c.ahead.Round(time.Second); {
	case err == nil || ahead.Abs() < 5*time.Minute:
		return err
	case ahead > 0:
		return fmt.Errorf("%w; the clock of this machine is %s behind AWS's", err, ahead)
	default:
		return fmt.Errorf("%w; the clock of this machine is %s ahead of AWS's", err, -ahead)
	}
}
