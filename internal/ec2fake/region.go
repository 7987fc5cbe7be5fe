package ec2fake

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Region is what an account has in one region.
type Region struct {
	account *Account
	name    string
	tags    map[string][]tag // by what they are on

	compute    compute
	storage    storage
	network    network
	scaling    scaling
	balancing  balancing
	parameters map[string]*parameter
}

func newRegion(a *Account, name string) *Region {
	return &Region{
		account:    a,
		name:       name,
		tags:       map[string][]tag{},
		compute:    newCompute(),
		storage:    newStorage(),
		network:    newNetwork(),
		scaling:    newScaling(),
		balancing:  newBalancing(),
		parameters: map[string]*parameter{},
	}
}

func (r *Region) things() []string {
	all := slices.Concat(r.compute.things(), r.storage.things(), r.network.things(), r.scaling.things(),
		r.balancing.things())
	for name := range r.parameters {
		all = append(all, name)
	}
	return all
}

// table are resources of one kind, in the order in which they were made.
type table[T any] struct {
	rows []*row[T]
	// missing is EC2's code for an id that is not there.
	missing string
	// tags is where a resource has its tags.
	tags func(*T) *[]types.Tag
	// values are what a filter compares with; nil is of a filter that is not known.
	values func(*T, string) []string
}

type row[T any] struct {
	id    string
	made  time.Time // zero for what was there from the start
	value *T
}

func (t *table[T]) ids() []string {
	var ids []string
	for _, row := range t.rows {
		ids = append(ids, row.id)
	}
	return ids
}

func (t *table[T]) put(id string, made time.Time, value *T) {
	t.rows = append(t.rows, &row[T]{id, made, value})
}

// get is a resource, whether it is seen or not, or nil.
func (t *table[T]) get(id string) *T {
	for _, row := range t.rows {
		if row.id == id {
			return row.value
		}
	}
	return nil
}

func (t *table[T]) remove(id string) {
	t.rows = slices.DeleteFunc(t.rows, func(row *row[T]) bool { return row.id == id })
}

// find is a resource that a caller may know of.
func find[T any](r *Region, t *table[T], id *string) (*T, error) {
	for _, row := range t.rows {
		if row.id == aws.ToString(id) && r.visible(row.made) {
			return row.value, nil
		}
	}
	return nil, Err(t.missing, fmt.Sprintf("The ID '%s' does not exist", aws.ToString(id)))
}

// describe are copies of resources, with their tags: those of some ids, all of which have to be there, that pass
// filters.
func describe[T any](r *Region, t *table[T], ids []string, filters []types.Filter) ([]T, error) {
	for _, id := range ids {
		if _, err := find(r, t, aws.String(id)); err != nil {
			return nil, err
		}
	}
	var found []T
	for _, row := range t.rows {
		if len(ids) > 0 && !slices.Contains(ids, row.id) || !r.visible(row.made) {
			continue
		}
		copied := *row.value
		if t.tags != nil {
			*t.tags(&copied) = r.tagsOf(row.id)
		}
		fails := func(filter types.Filter) bool { return !matches(r, t, row, filter) }
		if !slices.ContainsFunc(filters, fails) {
			found = append(found, copied)
		}
	}
	return found, nil
}

func matches[T any](r *Region, t *table[T], row *row[T], filter types.Filter) bool {
	name := aws.ToString(filter.Name)
	var have []string
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		for _, tag := range r.tagsOf(row.id) {
			if aws.ToString(tag.Key) == key {
				have = append(have, aws.ToString(tag.Value))
			}
		}
	} else if name == "tag-key" {
		for _, tag := range r.tagsOf(row.id) {
			have = append(have, aws.ToString(tag.Key))
		}
	} else if have = t.values(row.value, name); have == nil {
		r.account.t.Errorf("ec2fake: nobody told of the filter %s of %T", name, *row.value)
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

// page is a part of the results, from where a token says, and the token of the next part.
func page[T any](r *Region, all []T, token *string) ([]T, *string) {
	size := r.account.Page
	if size == 0 {
		return all, nil
	}
	from, _ := strconv.Atoi(aws.ToString(token))
	to := min(from+size, len(all))
	if to == len(all) {
		return all[min(from, to):], nil
	}
	return all[from:to], aws.String(strconv.Itoa(to))
}

// visible tells whether what was made then is found now.
func (r *Region) visible(made time.Time) bool { return time.Since(made) >= r.account.Lag }

// tag is a tag with the time when it was set.
type tag struct {
	types.Tag
	set time.Time
}

func (r *Region) tagsOf(id string) []types.Tag {
	var all []types.Tag
	for _, tag := range r.tags[id] {
		if r.visible(tag.set) {
			all = append(all, tag.Tag)
		}
	}
	return all
}

// setTags gives tags to what is there, or, with a zero time, to what is made with them.
func (r *Region) setTags(id string, at time.Time, tags []types.Tag) {
	for _, given := range tags {
		r.tags[id] = slices.DeleteFunc(r.tags[id], func(old tag) bool { return *old.Key == *given.Key })
		r.tags[id] = append(r.tags[id], tag{given, at})
	}
}

// born gives what is made the tags that its maker asked for.
func (r *Region) born(id string, kind types.ResourceType, specs []types.TagSpecification) {
	for _, spec := range specs {
		if spec.ResourceType == kind {
			r.setTags(id, time.Time{}, spec.Tags)
		}
	}
}

// create puts a resource with a new id, of which set tells the resource, into its table.
func create[T any](
	r *Region,
	t *table[T],
	prefix string,
	kind types.ResourceType,
	specs []types.TagSpecification,
	set func(id string) *T,
) *T {
	id := r.account.newID(prefix)
	value := set(id)
	t.put(id, time.Now(), value)
	r.born(id, kind, specs)
	return value
}

// tagged is a copy of what was made, with its tags.
func tagged[T any](r *Region, t *table[T], id string) *T {
	copied := *t.get(id)
	if t.tags != nil {
		*t.tags(&copied) = r.tagsOf(id)
	}
	return &copied
}

// Tag is the value of a tag on a thing, whether callers see it already or not.
func (r *Region) Tag(id, key string) string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	for _, tag := range r.tags[id] {
		if aws.ToString(tag.Key) == key {
			return aws.ToString(tag.Value)
		}
	}
	return ""
}

// SetTags gives tags to a thing, in pairs of key and value.
func (r *Region) SetTags(id string, pairs ...string) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	for pair := range slices.Chunk(pairs, 2) {
		r.setTags(id, time.Time{}, []types.Tag{{Key: aws.String(pair[0]), Value: aws.String(pair[1])}})
	}
}

// some is a string that may be left out.
func some(text string) *string {
	if text == "" {
		return nil
	}
	return aws.String(text)
}
