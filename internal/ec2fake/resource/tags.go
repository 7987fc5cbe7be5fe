package resource

import (
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// tag is a tag with the time when it was set.
type tag struct {
	types.Tag
	set time.Time
}

// TagsOf are the tags of a thing that callers see: of one that was set a moment ago the value of before.
func (s *Store) TagsOf(id string) []types.Tag {
	var all []types.Tag
	for _, tag := range s.tags[id] {
		if !s.Behaviour.Visible(tag.set) {
			continue
		}
		all = slices.DeleteFunc(all, func(before types.Tag) bool { return *before.Key == *tag.Key })
		all = append(all, tag.Tag)
	}
	return all
}

// Tag is the value of a tag on a thing, whether callers see it already or not.
func (s *Store) Tag(id, key string) string {
	for _, tag := range slices.Backward(s.tags[id]) {
		if aws.ToString(tag.Key) == key {
			return aws.ToString(tag.Value)
		}
	}
	return ""
}

// SetTags gives tags to a resource that is there or, with a zero time, to one that is made with them.
func (s *Store) SetTags(id string, at time.Time, tags []types.Tag) {
	for _, given := range tags {
		if s.Behaviour.Visible(at) {
			s.DeleteTag(id, *given.Key)
		}
		s.tags[id] = append(s.tags[id], tag{given, at})
	}
}

// DeleteTag takes a tag from a thing.
func (s *Store) DeleteTag(id, key string) {
	s.tags[id] = slices.DeleteFunc(s.tags[id], func(is tag) bool { return *is.Key == key })
}

// Born gives a new resource the tags of the call that makes it.
func (s *Store) Born(id string, kind types.ResourceType, specs []types.TagSpecification) {
	for _, spec := range specs {
		if spec.ResourceType == kind {
			s.SetTags(id, time.Time{}, spec.Tags)
		}
	}
}
