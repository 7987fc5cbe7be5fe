package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
)

// Release is two images that were proved together.
type Release struct {
	// Name is what its builds were told, for example 20261123-101112.
	Name     string    `json:"name"`
	Database string    `json:"db"`
	Web      string    `json:"web"`
	Created  time.Time `json:"created"`
	// Revision is the git revision that the images were built from, where there was one.
	Revision string `json:"revision,omitempty"`
}

func (r Release) image(tier string) string {
	return map[string]string{"db": r.Database, "web": r.Web}[tier]
}

func (s *Stack) releaseParameter() string { return s.parameters() + "/release" }

// CurrentRelease is the release that deploys take; ok is false where there never was one.
func (s *Stack) CurrentRelease(ctx context.Context) (r Release, ok bool, err error) {
	text, err := s.parameter(ctx, s.releaseParameter())
	if err != nil || text == "" {
		return Release{}, false, err
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Release{}, false, fmt.Errorf("read the release in %s: %w", s.releaseParameter(), err)
	}
	return r, true, nil
}

// ReleasedImages are the images of the current releases of all stacks in an account.
func ReleasedImages(ctx context.Context, conf aws.Config) ([]string, error) {
	var all []string
	for pages := ssm.NewGetParametersByPathPaginator(ssm.NewFromConfig(conf), &ssm.GetParametersByPathInput{Path: aws.String("/goldsmith/"), Recursive: aws.Bool(true)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the releases: %w", err)
		}
		for _, p := range page.Parameters {
			if parts := strings.Split(aws.ToString(p.Name), "/"); len(parts) != 4 || parts[3] != "release" {
				continue
			}
			var r Release
			if err := json.Unmarshal([]byte(aws.ToString(p.Value)), &r); err != nil {
				return nil, fmt.Errorf("read the release in %s: %w", aws.ToString(p.Name), err)
			}
			all = append(all, r.Database, r.Web)
		}
	}
	return all, nil
}

// publish marks a release's images as proved and makes it the current one.
func (s *Stack) publish(ctx context.Context, r Release) error {
	if err := s.markProved(ctx, r.Name, r.Database, r.Web); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.putParameter(ctx, s.releaseParameter(), string(text), types.ParameterTypeString)
}

func (s *Stack) markProved(ctx context.Context, release string, ids ...string) error {
	_, err := s.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []ec2types.Tag{
		{Key: aws.String(images.ProvedTag), Value: aws.String(time.Now().UTC().Format(time.RFC3339))}, {Key: aws.String(images.ReleaseTag), Value: aws.String(release)}}})
	if err != nil {
		return fmt.Errorf("mark %s as proved: %w", strings.Join(ids, " and "), err)
	}
	return nil
}

// Candidate is an image on its way into a release. The builds of one release find each other by it: they are processes
// of their own, perhaps on several machines, and have the account in common.
type Candidate struct {
	// State is baking, baked, proved or failed.
	State string `json:"state"`
	Image string `json:"image,omitempty"`
	// Reason is why it failed.
	Reason  string    `json:"reason,omitempty"`
	Updated time.Time `json:"updated"`
}

// States of a candidate, and of the proof that two of them share.
const (
	Baking  = "baking"
	Baked   = "baked"
	Proving = "proving"
	Proved  = "proved"
	Failed  = "failed"
)

const (
	// heartbeat is how often who is at work says so.
	heartbeat = 15 * time.Second
	// silence is how long after its last word somebody counts as dead: killed, say.
	silence = 4 * heartbeat
)

func (s *Stack) candidateParameter(release, part string) string {
	return s.parameters() + "/builds/" + release + "/" + part
}

// say writes a candidate, or the proof.
func (s *Stack) announce(ctx context.Context, release, part string, c Candidate) error {
	c.Updated = time.Now().UTC()
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.putParameter(ctx, s.candidateParameter(release, part), string(text), types.ParameterTypeString)
}

// candidate reads one. Who has been silent for too long has failed.
func (s *Stack) candidate(ctx context.Context, release, part string) (c Candidate, ok bool, err error) {
	text, err := s.parameter(ctx, s.candidateParameter(release, part))
	if err != nil || text == "" {
		return Candidate{}, false, err
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return Candidate{}, false, fmt.Errorf("read %s: %w", s.candidateParameter(release, part), err)
	}
	if (c.State == Baking || c.State == Baked || c.State == Proving) && time.Since(c.Updated) > silence {
		c.State, c.Reason = Failed, "its build has not been heard of since "+c.Updated.Format(time.RFC3339)
	}
	return c, true, nil
}

// claimProof makes one of several builds the one that proves; it is the one for which this returns true.
func (s *Stack) claimProof(ctx context.Context, release string) (bool, error) {
	return s.claim(ctx, release, "proof", Candidate{State: Proving})
}

// claim writes a part of a release that nobody has written yet; of several who try, it returns true for one.
func (s *Stack) claim(ctx context.Context, release, part string, c Candidate) (bool, error) {
	c.Updated = time.Now().UTC()
	text, err := json.Marshal(c)
	if err != nil {
		return false, err
	}
	_, err = s.ssm.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String(s.candidateParameter(release, part)), Value: aws.String(string(text)), Type: types.ParameterTypeString,
		Tags: []types.Tag{{Key: aws.String(stackTag), Value: aws.String(s.name)}}})
	var taken *types.ParameterAlreadyExists
	if errors.As(err, &taken) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("claim the %s of release %s: %w", part, release, err)
	}
	return true, nil
}

// forget removes what builds of other releases said to each other, once nobody can wait for it any more.
func (s *Stack) forget(ctx context.Context, current string) error {
	path := s.parameters() + "/builds/"
	var old []string
	for pages := ssm.NewGetParametersByPathPaginator(s.ssm, &ssm.GetParametersByPathInput{Path: aws.String(path), Recursive: aws.Bool(true)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list %s: %w", path, err)
		}
		for _, p := range page.Parameters {
			name := aws.ToString(p.Name)
			if !strings.HasPrefix(name, path+current+"/") && time.Since(aws.ToTime(p.LastModifiedDate)) > time.Hour {
				old = append(old, name)
			}
		}
	}
	for ; len(old) > 0; old = old[min(10, len(old)):] { // DeleteParameters takes ten at a time
		if _, err := s.ssm.DeleteParameters(ctx, &ssm.DeleteParametersInput{Names: old[:min(10, len(old))]}); err != nil {
			return fmt.Errorf("forget old builds in %s: %w", path, err)
		}
	}
	return nil
}
