package awsquery

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

// filter is one filter of a Describe call: an item passes if one of its values matches one of the filter's.
type filter struct {
	paths    []string
	key      string // of tag:KEY
	patterns []*regexp.Regexp
}

// Filters are those of one Describe call.
type Filters []filter

// TakeFilters removes a call's filters from it. They are applied here, to the answer: moto does not know what is only
// known here, answers some of them with a failure, and ignores them beside ids. known says, by the filter's name, where
// in an item the values are.
func TakeFilters(c *Call, known map[string]string) (rest *Call, filters Filters, err error) {
	rest = c.Clone()
	rest.Drop("Filter.")
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("Filter.%d.", i)
		name := c.Get(prefix + "Name")
		if name == "" {
			return rest, filters, nil
		}
		f := filter{}
		for _, value := range c.List(prefix + "Value") {
			f.patterns = append(f.patterns, wildcards(value))
		}
		if key, ok := strings.CutPrefix(name, "tag:"); ok {
			f.key = key
		} else if path, ok := known[name]; ok {
			f.paths = strings.Fields(path)
		} else {
			return nil, nil, Fault(apierror.InvalidFilter, name).
				Adding("There are: %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		filters = append(filters, f)
	}
}

// wildcards is a pattern in which * and ? stand for any text and any character, unless after a backslash.
func wildcards(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
			continue
		case r == '\\':
			escaped = true
		case r == '*':
			b.WriteString(`.*`)
		case r == '?':
			b.WriteString(`.`)
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	b.WriteString(`$`)
	return regexp.MustCompile(b.String())
}

func (f filter) passes(item *Node) bool {
	var values []string
	for _, path := range f.paths {
		values = append(values, item.All(strings.Split(path, "/")...)...)
	}
	if f.key != "" {
		for _, tag := range item.Items("tagSet") {
			if tag.Get("key") == f.key {
				values = append(values, tag.Get("value"))
			}
		}
	}
	return slices.ContainsFunc(values, func(value string) bool {
		return slices.ContainsFunc(f.patterns, func(p *regexp.Regexp) bool { return p.MatchString(value) })
	})
}

// Pass tells whether an item passes all filters.
func (all Filters) Pass(item *Node) bool {
	return !slices.ContainsFunc(all, func(f filter) bool { return !f.passes(item) })
}

// Keep returns the items that pass all filters. The slice is used again.
func (all Filters) Keep(items []*Node) []*Node {
	return slices.DeleteFunc(items, func(item *Node) bool { return !all.Pass(item) })
}
