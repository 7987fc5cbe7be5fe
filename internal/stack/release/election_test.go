package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

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
	case err != nil || !slices.Contains([]string{"GetParameter", "GetParametersByPath", "PutParameter", "AddTagsToResource"}, action):
		fault = "InvalidAction"
	case action == "GetParameter" && !there:
		fault = "ParameterNotFound"
	case action == "PutParameter" && there && !in.Overwrite:
		fault = "ParameterAlreadyExists"
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
		json.NewEncoder(w).Encode(map[string]any{"Parameters": found})
		return
	}
	if fault != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q}`, fault)
		return
	}
	quoted, _ := json.Marshal(value)
	fmt.Fprintf(w, `{"Version":1,"Parameter":{"Value":%s}}`, quoted)
}

// talking is a stack whose parameters are in a store of the test's.
func talking(t *testing.T) *Stack {
	t.Helper()
	server := httptest.NewServer(&parameterStore{values: map[string]string{}})
	t.Cleanup(server.Close)
	conf, err := awsconfig.Load(t.Context(), awsconfig.Options{Region: "us-east-1", AccessKey: "a", SecretKey: "b", Endpoint: server.URL, MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return New(conf, stackfile.Default(), t.Logf)
}

func (s *Stack) release(t *testing.T, database, web string) {
	t.Helper()
	text, err := json.Marshal(Release{Name: "r", Database: database, Web: web})
	if err == nil {
		err = s.putParameter(t.Context(), s.releaseParameter(), string(text), "String")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *Stack) is(t *testing.T, run, tier, state string) {
	t.Helper()
	if err := s.announce(t.Context(), run, tier, Candidate{State: state}); err != nil {
		t.Fatal(err)
	}
}

func (s *Stack) claims(t *testing.T, run, tier, image string, want bool) {
	t.Helper()
	if got, err := s.ClaimDeployment(t.Context(), run, tier, image); err != nil || got != want {
		t.Errorf("%s of run %s, %s: claimed %v, %v; want %v", tier, run, image, got, err, want)
	}
}

func TestOneOfTwoBuildsDeploys(t *testing.T) {
	s := talking(t)
	s.release(t, "ami-db", "ami-web")
	s.is(t, "run-1", "db", Proved)
	s.is(t, "run-1", "web", Proved)
	var mu sync.Mutex
	claimed := 0
	var group sync.WaitGroup
	for tier, image := range map[string]string{"db": "ami-db", "web": "ami-web"} {
		group.Go(func() {
			mine, err := s.ClaimDeployment(t.Context(), "run-1", tier, image)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if mine {
				claimed++
			}
		})
	}
	group.Wait()
	if claimed != 1 {
		t.Errorf("%d of two builds deploy", claimed)
	}
	// The same images in the next run: what was deployed may have failed.
	s.claims(t, "run-2", "web", "ami-web", true)
}

// TestDeploymentWaitsForTheOtherBuild has the database unchanged while a web image is being baked.
func TestDeploymentWaitsForTheOtherBuild(t *testing.T) {
	s := talking(t)
	s.release(t, "ami-db", "ami-old")
	s.is(t, "run", "db", Proved)
	s.is(t, "run", "web", Baking)
	soon, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if mine, err := s.ClaimDeployment(soon, "run", "db", "ami-db"); mine || err == nil {
		t.Errorf("claimed %v, %v while the web image is being baked", mine, err)
	}
	s.release(t, "ami-db", "ami-new")
	s.is(t, "run", "web", Proved)
	s.claims(t, "run", "db", "ami-db", true)
	s.claims(t, "run", "web", "ami-new", false)
}

func TestWhatIsNotDeployed(t *testing.T) {
	s := talking(t)
	s.claims(t, "run", "db", "ami-db", false) // there is no release
	s.release(t, "ami-db", "ami-web")
	s.claims(t, "run", "db", "ami-other", false)
	s.is(t, "run", "web", Failed)
	s.claims(t, "run", "db", "ami-db", true)
	// Builds of one run that come one after the other make two releases.
	s.release(t, "ami-db", "ami-later")
	s.claims(t, "run", "web", "ami-later", true)
}
