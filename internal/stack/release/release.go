// Package release has releases, which are images that were proved together, and the coordination of their builds: these
// find each other, prove their images, and elect the one that deploys. They communicate by the stack's parameters, as
// they are separate processes, perhaps on several machines, with one account.
package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
)

// Release is images, one of each tier, that were proved together.
type Release struct {
	// Name is the release that its builds were given, for example 20261123-101112.
	Name string
	// Images are by tier; in JSON each is a member that is named for its tier.
	Images  map[string]string
	Created time.Time
	// Revision is the git revision that the images were built from, where there was one.
	Revision string
}

// header has the members of a Release's JSON that are no images.
type header struct {
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	Revision string    `json:"revision,omitempty"`
}

// MarshalJSON has the images beside the other members.
func (r Release) MarshalJSON() ([]byte, error) {
	members := map[string]any{"name": r.Name, "created": r.Created}
	if r.Revision != "" {
		members["revision"] = r.Revision
	}
	for tier, image := range r.Images {
		members[tier] = image
	}
	return json.Marshal(members)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Release) UnmarshalJSON(text []byte) error {
	var h header
	var members map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(text, &h), json.Unmarshal(text, &members)); err != nil {
		return err
	}
	*r = Release{
		Name:     h.Name,
		Images:   map[string]string{},
		Created:  h.Created,
		Revision: h.Revision,
	}
	for _, known := range []string{"name", "created", "revision"} {
		delete(members, known)
	}
	for tier, raw := range members {
		var image string
		if json.Unmarshal(raw, &image) == nil && image != "" { // what a later version adds may be no text
			r.Images[tier] = image
		}
	}
	return nil
}

const parameterName = "/release"

// Current is the release that deploys take; ok is false where there never was one.
func Current(ctx context.Context, s *stack.Stack) (r Release, ok bool, err error) {
	name := s.ParameterPath() + parameterName
	text, err := parameters.Get(ctx, s, name)
	if err != nil || text == "" {
		return Release{}, false, err
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Release{}, false, fmt.Errorf("read the release in %s: %w", name, err)
	}
	return r, true, nil
}

// Remove deletes the release of a stack that is removed, and what builds said to each other that have ended. The images
// stay.
func Remove(ctx context.Context, s *stack.Stack) error {
	found, err := parameters.Below(ctx, s.SSM, buildsPath(s))
	if err != nil {
		return err
	}
	names := []string{s.ParameterPath() + parameterName}
	for _, p := range found {
		if c, err := parseCandidate(aws.ToString(p.Value)); err != nil || !c.underWay() {
			names = append(names, aws.ToString(p.Name))
		}
	}
	return parameters.DeleteAll(ctx, s, names)
}

// ImagesInUse are the images of the current releases of all stacks in an account.
func ImagesInUse(ctx context.Context, conf aws.Config) ([]string, error) {
	found, err := parameters.Below(ctx, ssm.NewFromConfig(conf), "/goldsmith/")
	if err != nil {
		return nil, fmt.Errorf("list the releases: %w", err)
	}
	var all []string
	for _, p := range found {
		if parts := strings.Split(aws.ToString(p.Name), "/"); len(parts) != 4 || "/"+parts[3] != parameterName {
			continue
		}
		var r Release
		if err := json.Unmarshal([]byte(aws.ToString(p.Value)), &r); err != nil {
			return nil, fmt.Errorf("read the release in %s: %w", aws.ToString(p.Name), err)
		}
		all = append(all, r.ids()...)
	}
	return all, nil
}

func (r Release) ids() []string {
	var all []string
	for _, tier := range slices.Sorted(maps.Keys(r.Images)) {
		all = append(all, r.Images[tier])
	}
	return all
}

// described are the images for people, in the order of the stack's tiers.
func (r Release) described(s *stack.Stack) string {
	var all []string
	for _, t := range s.Tiers {
		if image := r.Images[t.Name]; image != "" {
			all = append(all, t.Name+" "+image)
		}
	}
	return strings.Join(all, ", ")
}

// publish marks a release's images as proved and makes it the current one.
func publish(ctx context.Context, s *stack.Stack, r Release) error {
	if err := markProved(ctx, s, r.Name, r.ids()...); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return parameters.Put(ctx, s, s.ParameterPath()+parameterName, string(text), types.ParameterTypeString)
}

func markProved(ctx context.Context, s *stack.Stack, name string, ids ...string) error {
	_, err := s.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []ec2types.Tag{
		{Key: aws.String(images.ProvedTag), Value: aws.String(time.Now().UTC().Format(time.RFC3339))},
		{Key: aws.String(images.ReleaseTag), Value: aws.String(name)},
	}})
	if err != nil {
		return fmt.Errorf("mark %s as proved: %w", strings.Join(ids, " and "), err)
	}
	return nil
}
