package resource

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

// Table are resources of one kind, in the order in which they were made.
type Table[T any] struct {
	Store *Store
	Rows  []*Row[T]
	// Missing is EC2's error for an id that is not there.
	Missing *apierror.Row
	// Tags returns a pointer to a resource's tags.
	Tags func(*T) *[]types.Tag
	// Values returns a resource's values that a filter, by its name, compares with; nil for an unknown filter.
	Values func(*T, string) []string
}

// Row is one resource.
type Row[T any] struct {
	ID    string
	Value *T

	made time.Time // zero for what was there from the start
}

// IDs are the ids of all resources, whether they are seen or not.
func (t *Table[T]) IDs() []string {
	var ids []string
	for _, row := range t.Rows {
		ids = append(ids, row.ID)
	}
	return ids
}

// Put puts a resource into the table that was made at a time, or was always there, if it is zero.
func (t *Table[T]) Put(id string, made time.Time, value *T) {
	t.Rows = append(t.Rows, &Row[T]{ID: id, Value: value, made: made})
}

// Get is a resource, whether it is seen or not, or nil.
func (t *Table[T]) Get(id string) *T {
	for _, row := range t.Rows {
		if row.ID == id {
			return row.Value
		}
	}
	return nil
}

// Remove takes a resource out of the table.
func (t *Table[T]) Remove(id string) {
	t.Rows = slices.DeleteFunc(t.Rows, func(row *Row[T]) bool { return row.ID == id })
}

// Find is a resource that a caller may know of.
func (t *Table[T]) Find(id *string) (*T, error) {
	for _, row := range t.Rows {
		if row.ID == aws.ToString(id) && t.Store.Behaviour.Visible(row.made) {
			return row.Value, nil
		}
	}
	return nil, Err(t.Missing, aws.ToString(id))
}

// Describe are copies of resources, with their tags: those of some ids, all of which have to be there, that pass
// filters.
func (t *Table[T]) Describe(ids []string, filters []types.Filter) ([]T, error) {
	for _, id := range ids {
		if _, err := t.Find(aws.String(id)); err != nil {
			return nil, err
		}
	}
	var found []T
	for _, row := range t.Rows {
		if len(ids) > 0 && !slices.Contains(ids, row.ID) || !t.Store.Behaviour.Visible(row.made) {
			continue
		}
		fails := func(filter types.Filter) bool { return !t.matches(row, filter) }
		if !slices.ContainsFunc(filters, fails) {
			found = append(found, *t.Tagged(row.ID))
		}
	}
	return found, nil
}

func (t *Table[T]) matches(row *Row[T], filter types.Filter) bool {
	name := aws.ToString(filter.Name)
	var have []string
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		for _, tag := range t.Store.TagsOf(row.ID) {
			if aws.ToString(tag.Key) == key {
				have = append(have, aws.ToString(tag.Value))
			}
		}
	} else if name == "tag-key" {
		for _, tag := range t.Store.TagsOf(row.ID) {
			have = append(have, aws.ToString(tag.Key))
		}
	} else if have = t.Values(row.Value, name); have == nil {
		t.Store.t.Errorf("ec2fake: nobody told of the filter %s of %T", name, *row.Value)
	}
	return slices.ContainsFunc(filter.Values, func(wanted string) bool {
		return slices.ContainsFunc(have, func(is string) bool { return like(wanted, is) })
	})
}

// like compares as EC2 does, for which * and ? stand for others.
func like(pattern, value string) bool {
	// path.Match has * stop at slashes.
	noSlash := strings.NewReplacer("/", "\x00", "[", "\\[")
	ok, err := path.Match(noSlash.Replace(pattern), strings.ReplaceAll(value, "/", "\x00"))
	return err == nil && ok
}

// Create puts a resource with a new id, of which set tells the resource, into the table, with the tags that its maker
// asked for.
func (t *Table[T]) Create(
	prefix string,
	kind types.ResourceType,
	specs []types.TagSpecification,
	set func(id string) *T,
) *T {
	id := t.Store.Numbers.ID(prefix)
	value := set(id)
	t.Put(id, time.Now(), value)
	t.Store.Born(id, kind, specs)
	return value
}

// Tagged is a copy of a resource that is there, with its tags.
func (t *Table[T]) Tagged(id string) *T {
	copied := *t.Get(id)
	if t.Tags != nil {
		*t.Tags(&copied) = t.Store.TagsOf(id)
	}
	return &copied
}
