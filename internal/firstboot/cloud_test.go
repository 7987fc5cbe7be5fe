package firstboot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// metadataService answers IMDSv2 with these items; an item that is "500" fails. What is asked for without a token is
// an error.
func metadataService(t *testing.T, items map[string]string) *cloud {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
			w.Write([]byte("token"))
			return
		}
		if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token" {
			t.Errorf("%s was asked for without a token", r.URL.Path)
		}
		switch value, ok := items[r.URL.Path]; {
		case !ok:
			http.NotFound(w, r)
		case value == "500":
			http.Error(w, "broken", http.StatusInternalServerError)
		default:
			w.Write([]byte(value))
		}
	}))
	t.Cleanup(server.Close)
	client := imds.New(imds.Options{
		Endpoint:          server.URL,
		EnableFallback:    aws.FalseTernary,
		Retryer:           aws.NopRetryer{},
		ClientEnableState: imds.ClientEnabled, // whatever the shell says, as one that uses a local cloud does
	})
	return &cloud{metadata: client, region: "us-east-1"}
}

func TestIdentity(t *testing.T) {
	const meta = "/latest/meta-data/"
	private := map[string]string{
		meta + "instance-id":    "i-1",
		meta + "ami-id":         "ami-1",
		meta + "local-ipv4":     "10.0.2.10",
		meta + "local-hostname": "ip-10-0-2-10\n",
	}
	public := map[string]string{
		meta + "instance-id":     "i-2",
		meta + "ami-id":          "ami-2",
		meta + "local-ipv4":      "10.0.1.5",
		meta + "public-ipv4":     "192.0.2.7",
		meta + "local-hostname":  "a",
		meta + "public-hostname": "b",
	}
	for _, c := range []struct {
		name  string
		items map[string]string
		want  Identity
		fault string
	}{
		{
			"private",
			private,
			Identity{
				InstanceID: "i-1",
				ImageID:    "ami-1",
				Region:     "us-east-1",
				Private:    "10.0.2.10",
				Names:      []string{"ip-10-0-2-10"},
			},
			"",
		},
		{
			"public",
			public,
			Identity{
				InstanceID: "i-2",
				ImageID:    "ami-2",
				Region:     "us-east-1",
				Private:    "10.0.1.5",
				Public:     "192.0.2.7",
				Names:      []string{"a", "b"},
			},
			"",
		},
		{"no address", map[string]string{meta + "instance-id": "i-3"}, Identity{}, "no private address"},
		{
			"broken",
			map[string]string{meta + "local-ipv4": "10.0.1.5", meta + "public-ipv4": "500"},
			Identity{},
			"metadata public-ipv4",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := metadataService(t, c.items).identity(t.Context())
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("got %v, want an error with %q", err, c.fault)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestUserData(t *testing.T) {
	for _, c := range []struct {
		name  string
		items map[string]string
		want  string
		fault bool
	}{
		{"none", nil, "", false},
		{"some", map[string]string{"/latest/user-data": "#cloud-config\n"}, "#cloud-config\n", false},
		{"broken", map[string]string{"/latest/user-data": "500"}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := metadataService(t, c.items).userData(t.Context())
			if string(got) != c.want || (err != nil) != c.fault {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// handlerClient has a handler answer each request, without a network: only so is its time the bubble's.
type handlerClient struct{ http.Handler }

func (c handlerClient) Do(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	c.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// TestMetadataServiceThatComesLate answers nothing at first, and later refuses each item once before it gives it.
func TestMetadataServiceThatComesLate(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]int{}
		service := handlerClient{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked[r.URL.Path]++
			n := asked[r.URL.Path]
			switch {
			case r.Method == http.MethodPut && n <= 3, r.Method == http.MethodGet && n == 1:
				http.Error(w, "not yet", http.StatusServiceUnavailable)
			case r.Method == http.MethodPut:
				w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
				w.Write([]byte("token"))
			case r.URL.Path == "/latest/dynamic/instance-identity/document":
				w.Write([]byte(`{"region":"us-east-1"}`))
			case r.URL.Path == "/latest/user-data":
				w.Write([]byte("settings"))
			case r.URL.Path == "/latest/meta-data/local-ipv4":
				w.Write([]byte("10.0.1.5"))
			default:
				http.NotFound(w, r)
			}
		})}
		c, err := connectBy(t.Context(), func(time.Duration) imds.HTTPClient { return service })
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.userData(t.Context()); err != nil || string(got) != "settings" {
			t.Errorf("user-data: %q, %v", got, err)
		}
		if id, err := c.identity(t.Context()); err != nil || id.Private != "10.0.1.5" {
			t.Errorf("identity: %+v, %v", id, err)
		}
	})
}

// TestNoMetadataService: a machine that never gets an answer is no instance, and its first boot goes on.
func TestNoMetadataService(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	synctest.Test(t, func(t *testing.T) {
		silent := handlerClient{http.NotFoundHandler()}
		began := time.Now()
		_, err := connectBy(t.Context(), func(time.Duration) imds.HTTPClient { return silent })
		if err == nil || !onEC2() && !errors.Is(err, errNoMetadata) {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(began); waited < patience {
			t.Errorf("it gave up after %s", waited)
		}
	})
}

func TestConnectObeysItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := connect(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, errNoMetadata) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

// secretsAt asks a server of the test's, as an instance with a role asks SSM.
func secretsAt(url string) *ssm.Client {
	return ssm.NewFromConfig(aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(url),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "x"}, nil
		}),
	})
}

// parameterStore is SSM with these parameters; it takes one request alone, for decrypted values. A nil store denies.
func parameterStore(t *testing.T, stored map[string]string) *cloud {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Names          []string
			WithDecryption bool
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		if target := r.Header.Get("X-Amz-Target"); target != "AmazonSSM.GetParameters" || !request.WithDecryption {
			t.Errorf("%s with decryption %v was called", target, request.WithDecryption)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if stored == nil {
			w.WriteHeader(http.StatusBadRequest)
			w.Write([]byte(`{"__type":"AccessDeniedException","message":"not for you"}`))
			return
		}
		type parameter struct{ Name, Value string }
		var answer struct{ Parameters []parameter }
		for _, name := range request.Names {
			if value, ok := stored[name]; ok {
				answer.Parameters = append(answer.Parameters, parameter{name, value})
			}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return &cloud{secrets: secretsAt(server.URL)}
}

func TestParameters(t *testing.T) {
	for _, c := range []struct {
		name   string
		stored map[string]string
		want   map[string]string
		faults []string
	}{
		{
			"all",
			map[string]string{"/s/a": "1", "/s/b": "2", "/s/c": "3", "/other": "4"},
			map[string]string{"/s/a": "1", "/s/b": "2", "/s/c": "3"},
			nil,
		},
		{
			"no optional one",
			map[string]string{"/s/a": "1", "/s/b": "2"},
			map[string]string{"/s/a": "1", "/s/b": "2"},
			nil,
		},
		{"one missing", map[string]string{"/s/a": "1", "/s/c": "3"}, nil, []string{"there is no /s/b"}},
		{"two missing", map[string]string{}, nil, []string{"there is no /s/a, /s/b"}},
		{"denied", nil, nil, []string{"/s/a, /s/b, /s/c", "AccessDenied"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parameterStore(t, c.stored).parameters(t.Context(), []string{"/s/a", "/s/b"}, []string{"/s/c"})
			if (err == nil) != (c.faults == nil) || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %v, %v, want %v", got, err, c.want)
			}
			for _, fault := range c.faults {
				if !strings.Contains(err.Error(), fault) {
					t.Errorf("%v does not name %q", err, fault)
				}
			}
		})
	}
}

// TestParameterStoreOfTheEnvironment asks the endpoint that the instance's environment names, and none of AWS.
func TestParameterStoreOfTheEnvironment(t *testing.T) {
	for _, variable := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM"} {
		t.Run(variable, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.Write([]byte(`{"Parameter":{"Value":"from here"}}`))
			}))
			defer server.Close()
			t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
			t.Setenv(variable, server.URL)
			client := secretsClient("us-east-1", aws.AnonymousCredentials{})
			out, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/a")})
			if err != nil || aws.ToString(out.Parameter.Value) != "from here" {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}
