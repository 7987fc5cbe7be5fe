// Package parameters is SSM's parameter store of the fake account, in one region.
package parameters

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

// State are the parameters of a region.
type State struct {
	behaviour *resource.Behaviour
	byName    map[string]*parameter
	// deleted are the times when parameters were.
	deleted map[string]time.Time
}

// New is a store without parameters.
func New(behaviour *resource.Behaviour) *State {
	return &State{behaviour: behaviour, byName: map[string]*parameter{}, deleted: map[string]time.Time{}}
}

// deletedFor is how long a parameter that was deleted cannot be made again: "After deleting a parameter, wait
// for at least 30 seconds to create a parameter with the same name."
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DeleteParameter.html
const deletedFor = 30 * time.Second

// parameter is one of SSM's.
type parameter struct {
	types.Parameter
	tags   map[string]string
	before []string // the values of its earlier versions
}

// Operations are those of SSM.
var Operations = resource.Join(
	resource.Op(putParameter), resource.Op(getParameter), resource.Op(getParameters),
	resource.Op(getParametersByPath), resource.Op(deleteParameter), resource.Op(deleteParameters),
	resource.Op(addTagsToResource),
)

func putParameter(s *State, in *ssm.PutParameterInput) (*ssm.PutParameterOutput, error) {
	name := aws.ToString(in.Name)
	if len([]rune(aws.ToString(in.Value))) > 4096 {
		return nil, resource.Err(apierror.ParameterTooLong, 4096)
	}
	version := int64(1)
	old := s.byName[name]
	if at, ok := s.deleted[name]; ok && old == nil && time.Since(at) < deletedFor {
		if aws.ToBool(in.Overwrite) {
			return nil, &types.TooManyUpdates{Message: aws.String("There are concurrent updates")}
		}
		return nil, &types.ParameterAlreadyExists{Message: aws.String(apierror.ParameterAlreadyExists.Text())}
	}
	if old != nil {
		if !aws.ToBool(in.Overwrite) {
			return nil, &types.ParameterAlreadyExists{Message: aws.String(apierror.ParameterAlreadyExists.Text())}
		}
		if len(in.Tags) > 0 {
			return nil, resource.Err(apierror.TagsAndOverwrite)
		}
		version = old.Version + 1
	}
	made := &parameter{tags: map[string]string{}}
	made.Name, made.Value, made.Type, made.Version = in.Name, in.Value, in.Type, version
	made.LastModifiedDate = aws.Time(time.Now())
	if old != nil {
		made.tags = old.tags
		made.before = append(slices.Clone(old.before), aws.ToString(old.Value))
	}
	for _, tag := range in.Tags {
		made.tags[*tag.Key] = *tag.Value
	}
	s.byName[name] = made
	return &ssm.PutParameterOutput{Version: version}, nil
}

func getParameter(s *State, in *ssm.GetParameterInput) (*ssm.GetParameterOutput, error) {
	name, selector, versioned := strings.Cut(aws.ToString(in.Name), ":")
	found := s.byName[name]
	if found == nil {
		return nil, &types.ParameterNotFound{Message: in.Name}
	}
	copied := found.Parameter
	if version, err := strconv.Atoi(selector); versioned && selector != strconv.FormatInt(copied.Version, 10) {
		if err != nil || version < 1 || version > len(found.before) {
			return nil, &types.ParameterVersionNotFound{Message: in.Name}
		}
		copied.Value, copied.Version = aws.String(found.before[version-1]), int64(version)
	}
	return &ssm.GetParameterOutput{Parameter: &copied}, nil
}

func getParameters(s *State, in *ssm.GetParametersInput) (*ssm.GetParametersOutput, error) {
	out := &ssm.GetParametersOutput{}
	for _, name := range in.Names {
		if found := s.byName[name]; found != nil {
			out.Parameters = append(out.Parameters, found.Parameter)
		} else {
			out.InvalidParameters = append(out.InvalidParameters, name)
		}
	}
	return out, nil
}

func getParametersByPath(s *State, in *ssm.GetParametersByPathInput) (*ssm.GetParametersByPathOutput, error) {
	var found []types.Parameter
	path := strings.TrimSuffix(aws.ToString(in.Path), "/") + "/"
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		rest, under := strings.CutPrefix(name, path)
		if under && (aws.ToBool(in.Recursive) || !strings.Contains(rest, "/")) {
			found = append(found, s.byName[name].Parameter)
		}
	}
	found, next := resource.Page(s.behaviour, found, in.NextToken)
	return &ssm.GetParametersByPathOutput{Parameters: found, NextToken: next}, nil
}

func deleteParameter(s *State, in *ssm.DeleteParameterInput) (*ssm.DeleteParameterOutput, error) {
	if s.byName[aws.ToString(in.Name)] == nil {
		return nil, &types.ParameterNotFound{Message: in.Name}
	}
	delete(s.byName, *in.Name)
	s.deleted[*in.Name] = time.Now()
	return nil, nil
}

func deleteParameters(s *State, in *ssm.DeleteParametersInput) (*ssm.DeleteParametersOutput, error) {
	if len(in.Names) > 10 {
		return nil, resource.Errf(apierror.ValidationException, "10 names at most")
	}
	out := &ssm.DeleteParametersOutput{}
	for _, name := range in.Names {
		if s.byName[name] == nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		delete(s.byName, name)
		s.deleted[name] = time.Now()
		out.DeletedParameters = append(out.DeletedParameters, name)
	}
	return out, nil
}

func addTagsToResource(s *State, in *ssm.AddTagsToResourceInput) (*ssm.AddTagsToResourceOutput, error) {
	found := s.byName[aws.ToString(in.ResourceId)]
	if found == nil {
		return nil, &types.InvalidResourceId{Message: in.ResourceId}
	}
	for _, tag := range in.Tags {
		found.tags[*tag.Key] = *tag.Value
	}
	return nil, nil
}

// Things are the names of the parameters.
func (s *State) Things() []string { return slices.Collect(maps.Keys(s.byName)) }

// Value is the value of a parameter, or empty.
func (s *State) Value(name string) string {
	if found := s.byName[name]; found != nil {
		return aws.ToString(found.Value)
	}
	return ""
}

// Set sets a parameter.
func (s *State) Set(name, value string) {
	made := &parameter{tags: map[string]string{}}
	made.Name, made.Value, made.Version = aws.String(name), aws.String(value), 1
	made.Type = types.ParameterTypeString
	made.LastModifiedDate = aws.Time(time.Now())
	s.byName[name] = made
}
