package release

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
)

// Candidate is an image on its way into a release. The builds of one release find each other by it.
type Candidate struct {
	// State is baking, baked, proved or failed.
	State string `json:"state"`
	Image string `json:"image,omitempty"`
	// Reason is why it failed.
	Reason  string    `json:"reason,omitempty"`
	Updated time.Time `json:"updated"`
}

// States of a candidate, and of the proof that several of them share.
const (
	Baking  = "baking"
	Baked   = "baked"
	Proving = "proving"
	Proved  = "proved"
	Failed  = "failed"
)

// proofPart is the part of a release that is the proof of all of its candidates.
const proofPart = "proof"

// poll is the time between two reads of another build's candidate.
const poll = 300 * time.Millisecond

func buildsPath(s *stack.Stack) string { return s.ParameterPath() + "/builds/" }

func partParameter(s *stack.Stack, name, part string) string {
	return buildsPath(s) + name + "/" + part
}

// announce writes a candidate, or the proof.
func announce(ctx context.Context, s *stack.Stack, name, part string, c Candidate) error {
	c.Updated, c.Reason = time.Now().UTC(), parameters.Shortened(c.Reason)
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return parameters.Put(ctx, s, partParameter(s, name, part), string(text), types.ParameterTypeString)
}

// readCandidate reads a candidate, or the proof. One whose build has been silent for too long has failed.
func readCandidate(ctx context.Context, s *stack.Stack, name, part string) (c Candidate, ok bool, err error) {
	parameter := partParameter(s, name, part)
	text, err := parameters.Get(ctx, s, parameter)
	if err != nil || text == "" {
		return Candidate{}, false, err
	}
	if c, err = parseCandidate(text); err != nil {
		return Candidate{}, false, fmt.Errorf("read %s: %w", parameter, err)
	}
	return c, true, nil
}

func parseCandidate(text string) (c Candidate, err error) {
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return Candidate{}, err
	}
	if c.underWay() && time.Since(c.Updated) > stack.Silence {
		c.State, c.Reason = Failed, "its build has not been heard of since "+c.Updated.Format(time.RFC3339)
	}
	return c, nil
}

// underWay tells whether a candidate, or a proof, is still to come to its end.
func (c Candidate) underWay() bool {
	return c.State == Baking || c.State == Baked || c.State == Proving
}

// claim writes a part of a release that nobody has written yet; of several who try, it returns true for one.
func claim(ctx context.Context, s *stack.Stack, name, part string, c Candidate) (bool, error) {
	c.Updated = time.Now().UTC()
	text, err := json.Marshal(c)
	if err != nil {
		return false, err
	}
	taken, err := parameters.Claim(ctx, s, partParameter(s, name, part), string(text))
	if err != nil {
		return false, fmt.Errorf("claim the %s of release %s: %w", part, name, err)
	}
	return taken, nil
}

// forget removes what builds of other releases said to each other, once nobody can wait for it any more.
func forget(ctx context.Context, s *stack.Stack, current string) error {
	found, err := parameters.Below(ctx, s.SSM, buildsPath(s))
	if err != nil {
		return err
	}
	var old []string
	for _, p := range found {
		name := aws.ToString(p.Name)
		other := !strings.HasPrefix(name, buildsPath(s)+current+"/")
		if other && time.Since(aws.ToTime(p.LastModifiedDate)) > time.Hour {
			old = append(old, name)
		}
	}
	return parameters.DeleteAll(ctx, s, old)
}
