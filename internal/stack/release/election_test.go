package release

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
)

func setRelease(t *testing.T, s *stack.Stack, database, web string) {
	t.Helper()
	text, err := json.Marshal(Release{Name: "r", Images: map[string]string{"db": database, "web": web}})
	if err == nil {
		err = parameters.Put(t.Context(), s, s.ParameterPath()+parameterName, string(text), "String")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, s *stack.Stack, run, tier, state string) {
	t.Helper()
	if err := announce(t.Context(), s, run, tier, Candidate{State: state}); err != nil {
		t.Fatal(err)
	}
}

func claims(t *testing.T, s *stack.Stack, run, tier, image string, want bool) {
	t.Helper()
	if got, err := ClaimDeployment(t.Context(), s, run, tier, image); err != nil || got != want {
		t.Errorf("%s of run %s, %s: claimed %v, %v; want %v", tier, run, image, got, err, want)
	}
}

func TestOneOfTwoBuildsDeploys(t *testing.T) {
	s := stacktest.WithParameters(t)
	setRelease(t, s, "ami-db", "ami-web")
	is(t, s, "run-1", "db", Proved)
	is(t, s, "run-1", "web", Proved)
	var mu sync.Mutex
	claimed := 0
	var group sync.WaitGroup
	for tier, image := range map[string]string{"db": "ami-db", "web": "ami-web"} {
		group.Go(func() {
			elected, err := ClaimDeployment(t.Context(), s, "run-1", tier, image)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if elected {
				claimed++
			}
		})
	}
	group.Wait()
	if claimed != 1 {
		t.Errorf("%d of two builds deploy", claimed)
	}
	// The same images in the next run: what was deployed may have failed.
	claims(t, s, "run-2", "web", "ami-web", true)
}

// TestDeploymentWaitsForTheOtherBuild has the database unchanged while a web image is being baked.
func TestDeploymentWaitsForTheOtherBuild(t *testing.T) {
	s := stacktest.WithParameters(t)
	setRelease(t, s, "ami-db", "ami-old")
	is(t, s, "run", "db", Proved)
	is(t, s, "run", "web", Baking)
	soon, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if elected, err := ClaimDeployment(soon, s, "run", "db", "ami-db"); elected || err == nil {
		t.Errorf("claimed %v, %v while the web image is being baked", elected, err)
	}
	setRelease(t, s, "ami-db", "ami-new")
	is(t, s, "run", "web", Proved)
	claims(t, s, "run", "db", "ami-db", true)
	claims(t, s, "run", "web", "ami-new", false)
}

func TestWhatIsNotDeployed(t *testing.T) {
	s := stacktest.WithParameters(t)
	claims(t, s, "run", "db", "ami-db", false) // there is no release
	setRelease(t, s, "ami-db", "ami-web")
	claims(t, s, "run", "db", "ami-other", false)
	is(t, s, "run", "web", Failed)
	claims(t, s, "run", "db", "ami-db", true)
	// Builds of one run that come one after the other make two releases.
	setRelease(t, s, "ami-db", "ami-later")
	claims(t, s, "run", "web", "ami-later", true)
}
