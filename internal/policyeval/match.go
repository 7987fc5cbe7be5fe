package policyeval

import "strings"

// Context are the values of condition keys, by the key in lower case: keys differ in no letter's case alone.
type Context map[string][]string

// Of makes a context of keys and values, each key with one value.
func Of(pairs ...string) Context {
	c := Context{}
	for i := 0; i+1 < len(pairs); i += 2 {
		c.Set(pairs[i], pairs[i+1])
	}
	return c
}

// Set gives a key its values.
func (c Context) Set(key string, values ...string) { c[strings.ToLower(key)] = values }

// Wildcards, as a pattern has them after its variables were replaced: a value's * and ? are not wildcards.
const (
	anyText = '\x01'
	anyOne  = '\x02'
)

var wildcards = strings.NewReplacer("*", string(anyText), "?", string(anyOne), string(anyText), "", string(anyOne), "")

// asText takes from a value what would be a wildcard in a pattern.
var asText = strings.NewReplacer(string(anyText), "", string(anyOne), "")

// pattern replaces the variables of a policy's text, ${aws:username} for example, and marks its wildcards. ok is false
// where a variable has no value, or more than one: then nothing matches (IAM User Guide, Policy variables).
func (d *Document) pattern(text string, c Context) (p string, ok bool) {
	var b strings.Builder
	for d.variables {
		before, rest, found := strings.Cut(text, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			break
		}
		b.WriteString(wildcards.Replace(before))
		value, ok := variable(name, c)
		if !ok {
			return "", false
		}
		b.WriteString(asText.Replace(value))
		text = after
	}
	b.WriteString(wildcards.Replace(text))
	return b.String(), true
}

// variable is the value of a policy variable, or its default: ${aws:PrincipalTag/team, 'none'}.
func variable(name string, c Context) (string, bool) {
	switch name {
	case "*", "?", "$":
		return name, true
	}
	name, fallback, hasFallback := strings.Cut(name, ",")
	if values := c[strings.ToLower(strings.TrimSpace(name))]; len(values) == 1 {
		return values[0], true
	}
	fallback = strings.TrimSpace(fallback)
	if !hasFallback || len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
		return "", false
	}
	return fallback[1 : len(fallback)-1], true
}

// glob tells whether a text is what a pattern with marked wildcards says.
func glob(p, text string) bool {
	// After a mismatch the last * takes one character more: no earlier one ever needs to.
	star, resume := -1, 0
	i, j := 0, 0
	for j < len(text) {
		switch {
		case i < len(p) && p[i] == anyText:
			star, resume = i, j
			i++
		case i < len(p) && p[i] == anyOne:
			i++
			j += runeLength(text[j:])
		case i < len(p) && p[i] == text[j]:
			i++
			j++
		case star >= 0:
			resume += runeLength(text[resume:])
			i, j = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(p[i:], string(anyText)) == ""
}

// runeLength is the number of bytes of a text's first character.
func runeLength(text string) int {
	for i := range text {
		if i > 0 {
			return i
		}
	}
	return len(text)
}

// arnParts is the number of an ARN's parts: arn, partition, service, region, account, and what is in it.
const arnParts = 6

// arnLike compares ARNs part by part, as a wildcard does not stand for a colon between two of them (IAM User Guide, ARN
// condition operators).
func arnLike(p, arn string) bool {
	patterns, parts := strings.SplitN(p, ":", arnParts), strings.SplitN(arn, ":", arnParts)
	if len(patterns) != arnParts || len(parts) != arnParts {
		return p == string(anyText)
	}
	for i := range patterns {
		if !glob(patterns[i], parts[i]) {
			return false
		}
	}
	return true
}

// resourceLike compares a resource with one of a statement: as ARNs, but that a * which ends a part may stand for all
// that follows (IAM User Guide, IAM JSON policy elements: Resource).
func resourceLike(p, resource string) bool {
	if arnLike(p, resource) {
		return true
	}
	patterns, parts := strings.SplitN(p, ":", arnParts), strings.SplitN(resource, ":", arnParts)
	for i := range min(len(patterns), len(parts)) {
		last := len(patterns[i]) - 1
		open := last >= 0 && patterns[i][last] == anyText
		if open && glob(strings.Join(patterns[i:], ":"), strings.Join(parts[i:], ":")) {
			return true
		}
		if !glob(patterns[i], parts[i]) {
			return false
		}
	}
	return len(patterns) == 1 && p == resource
}

func matchesAction(patterns []string, action string) bool {
	for _, text := range patterns {
		if glob(wildcards.Replace(strings.ToLower(text)), strings.ToLower(action)) {
			return true
		}
	}
	return false
}

func (d *Document) matchesResource(patterns []string, resource string, c Context) bool {
	for _, text := range patterns {
		if p, ok := d.pattern(text, c); ok && (p == string(anyText) || resourceLike(p, resource)) {
			return true
		}
	}
	return false
}
