// Package ec2ops has the work with EC2 that the builder, the stack and the list of images share: tags, filters, lists
// of all pages, waits, ends of instances, removal of images. It knows nothing of builds and stacks.
//
// Each function asks for the few calls that it makes; *ec2.Client has them. How long a wait may take is said by its
// context. What an error of EC2 means is said by package awserr.
package ec2ops

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// TagValue is the value of a tag; empty where there is no such tag.
func TagValue(tags []types.Tag, key string) string {
	for _, tag := range tags {
		if aws.ToString(tag.Key) == key {
			return aws.ToString(tag.Value)
		}
	}
	return ""
}

// Tags are tags in the order of their keys. Of sets that have the same key the last one counts.
func Tags(sets ...map[string]string) []types.Tag {
	all := map[string]string{}
	for _, set := range sets {
		maps.Copy(all, set)
	}
	var tags []types.Tag
	for _, key := range slices.Sorted(maps.Keys(all)) {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(all[key])})
	}
	return tags
}

// TagPairs are tags of keys and values in turn.
func TagPairs(pairs ...string) []types.Tag {
	var tags []types.Tag
	for pair := range slices.Chunk(pairs, 2) {
		tags = append(tags, types.Tag{Key: aws.String(pair[0]), Value: aws.String(pair[1])})
	}
	return tags
}

// Spec has a resource be made with tags.
func Spec(kind types.ResourceType, tags []types.Tag) types.TagSpecification {
	return types.TagSpecification{ResourceType: kind, Tags: tags}
}

// Filter matches what has one of the values.
func Filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// TagFilter matches what has a tag with one of the values.
func TagFilter(key string, values ...string) types.Filter { return Filter("tag:"+key, values...) }

// Filters match what has all of the values, each under its name.
func Filters(values map[string]string) []types.Filter {
	var all []types.Filter
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, Filter(name, values[name]))
	}
	return all
}

// OnceKnown repeats a call for as long as it fails only because an instance profile, its role, or what a launch
// template names was made a moment ago and is not known to all services yet.
func OnceKnown(ctx context.Context, call func(context.Context) error) error {
	isNew := func(err error) bool { return awserr.ProfileIsNew(err) || awserr.TemplateIsNew(err) }
	return await.Retry(ctx, await.Settle, isNew, call)
}
