// Package stacktest has stacks for tests whose AWS is the test's own.
package stacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Config is a configuration whose endpoint is a server of the test's.
func Config(t *testing.T, api http.Handler) aws.Config {
	t.Helper()
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	conf, err := awsconfig.Load(t.Context(), awsconfig.Options{
		Region:     "us-east-1",
		AccessKey:  "a",
		SecretKey:  "b",
		Endpoint:   server.URL,
		MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// Direct is a configuration whose calls are answered by a handler of the test's, without a network: in a bubble of
// testing/synctest time goes by.
func Direct(api http.Handler) aws.Config {
	return aws.Config{
		Region:      "us-east-1",
		HTTPClient:  direct{api},
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
}

type direct struct{ api http.Handler }

// Do implements aws.HTTPClient.
func (d direct) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	d.api.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil { // the caller gave up meanwhile
		return nil, err
	}
	return w.Result(), nil
}

// WithParameters is a default stack whose parameters are in a store of the test's, and which has nothing else.
func WithParameters(t *testing.T) *stack.Stack {
	t.Helper()
	conf := Config(t, &parameterStore{values: map[string]string{}})
	return defaultstack.New(conf, stackfile.Default(), t.Logf)
}

// parameterStore is as much of SSM as builds need to talk to each other.
type parameterStore struct {
	mu     sync.Mutex
	values map[string]string
}

func (p *parameterStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name, Value, Path string
		Overwrite         bool
	}
	err := json.NewDecoder(r.Body).Decode(&in)
	p.mu.Lock()
	defer p.mu.Unlock()
	value, there := p.values[in.Name]
	fault := ""
	switch action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM."); {
	case err != nil || !slices.Contains([]string{"GetParameter", "GetParametersByPath", "PutParameter",
		"AddTagsToResource"}, action):
		fault = apierror.UnknownOperation.Code
	case action == "GetParameter" && !there:
		fault = apierror.ParameterNotFound.Code
	case action == "PutParameter" && there && !in.Overwrite:
		fault = apierror.ParameterAlreadyExists.Code
	case action == "PutParameter":
		value, p.values[in.Name] = in.Value, in.Value
	}
	if fault == "" && in.Path != "" {
		var found []map[string]string
		for name, value := range p.values {
			if strings.HasPrefix(name, in.Path) {
				found = append(found, map[string]string{"Name": name, "Value": value})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Parameters": found}) // the client tells
		return
	}
	if fault != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q}`, fault)
		return
	}
	quoted, _ := json.Marshal(value)
	fmt.Fprintf(w, `{"Version":1,"Parameter":{"Version":1,"Value":%s}}`, quoted)
}
