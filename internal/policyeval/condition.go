package policyeval

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is one operator with one key, and the policy's values for it.
type condition struct {
	operator
	key    string // in lower case
	values []string
}

// operator compares a key's values with a policy's (IAM User Guide, IAM JSON policy elements: Condition operators).
type operator struct {
	// set is ForAllValues or ForAnyValue, for keys with several values, or empty.
	set string
	// ifExists says that a key without a value meets the condition.
	ifExists bool
	// not says that no value of the policy's may match; null that it is about whether the key has a value.
	not, null bool
	// matches compares a value of the policy's, its variables replaced, with the key's.
	matches func(pattern, value string) bool
	// reads tells whether a value of the policy's is of the operator's type.
	reads func(value string) bool
}

const (
	forAll = "ForAllValues"
	forAny = "ForAnyValue"
)

var operators = map[string]operator{
	"StringEquals":              {matches: plain(same), reads: anything},
	"StringNotEquals":           {matches: plain(same), reads: anything, not: true},
	"StringEqualsIgnoreCase":    {matches: plain(strings.EqualFold), reads: anything},
	"StringNotEqualsIgnoreCase": {matches: plain(strings.EqualFold), reads: anything, not: true},
	"StringLike":                {matches: glob, reads: anything},
	"StringNotLike":             {matches: glob, reads: anything, not: true},
	"NumericEquals":             {matches: compared(number, equal), reads: is(number)},
	"NumericNotEquals":          {matches: compared(number, equal), reads: is(number), not: true},
	"NumericLessThan":           {matches: compared(number, less), reads: is(number)},
	"NumericLessThanEquals":     {matches: compared(number, lessOrEqual), reads: is(number)},
	"NumericGreaterThan":        {matches: compared(number, greater), reads: is(number)},
	"NumericGreaterThanEquals":  {matches: compared(number, greaterOrEqual), reads: is(number)},
	"DateEquals":                {matches: compared(date, equal), reads: is(date)},
	"DateNotEquals":             {matches: compared(date, equal), reads: is(date), not: true},
	"DateLessThan":              {matches: compared(date, less), reads: is(date)},
	"DateLessThanEquals":        {matches: compared(date, lessOrEqual), reads: is(date)},
	"DateGreaterThan":           {matches: compared(date, greater), reads: is(date)},
	"DateGreaterThanEquals":     {matches: compared(date, greaterOrEqual), reads: is(date)},
	"Bool":                      {matches: plain(strings.EqualFold), reads: isBool},
	"BinaryEquals":              {matches: binaryEquals, reads: isBinary},
	"IpAddress":                 {matches: inPrefix, reads: isPrefix},
	"NotIpAddress":              {matches: inPrefix, reads: isPrefix, not: true},
	"ArnEquals":                 {matches: arnLike, reads: anything},
	"ArnLike":                   {matches: arnLike, reads: anything},
	"ArnNotEquals":              {matches: arnLike, reads: anything, not: true},
	"ArnNotLike":                {matches: arnLike, reads: anything, not: true},
	"Null":                      {null: true, reads: isBool},
}

// operatorOf reads an operator's name, with what stands before and behind it.
func operatorOf(name string) (operator, error) {
	set, rest, found := strings.Cut(name, ":")
	if !found {
		set, rest = "", name
	}
	base, ifExists := strings.CutSuffix(rest, "IfExists")
	o, ok := operators[base]
	if !ok || found && set != forAll && set != forAny || ifExists && o.null || found && o.null {
		return o, fmt.Errorf("there is no condition operator %q", name)
	}
	o.set, o.ifExists = set, ifExists
	return o, nil
}

func readConditions(raw json.RawMessage) ([]condition, error) {
	byOperator, err := object(raw, "Condition")
	if err != nil {
		return nil, err
	}
	var all []condition
	for _, name := range slices.Sorted(maps.Keys(byOperator)) {
		o, err := operatorOf(name)
		if err != nil {
			return nil, err
		}
		keys, err := object(byOperator[name], name)
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			values, err := scalars(keys[key], name+" of "+key)
			if err != nil {
				return nil, err
			}
			for _, value := range values {
				if !o.reads(value) && !strings.Contains(value, "${") {
					return nil, fmt.Errorf("%s of %s: %q is no value for it", name, key, value)
				}
			}
			all = append(all, condition{operator: o, key: strings.ToLower(key), values: values})
		}
	}
	return all, nil
}

// scalars reads a condition's values: a string, number or Boolean, or a list of some.
func scalars(raw json.RawMessage, what string) ([]string, error) {
	list := []json.RawMessage{raw}
	if bytes.HasPrefix(raw, []byte("[")) {
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	var values []string
	for _, item := range list {
		decoder := json.NewDecoder(bytes.NewReader(item))
		decoder.UseNumber()
		var value any
		if err := decoder.Decode(&value); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		switch value := value.(type) {
		case string:
			values = append(values, value)
		case json.Number:
			values = append(values, value.String())
		case bool:
			values = append(values, strconv.FormatBool(value))
		default:
			return nil, fmt.Errorf("%s has text, numbers or Booleans as its values", what)
		}
	}
	return values, nil
}

// met tells whether a condition holds.
func (c condition) met(d *Document, context Context) bool {
	values, there := context[c.key]
	if c.null {
		missing := strconv.FormatBool(!there)
		return slices.ContainsFunc(c.values, func(v string) bool { return strings.EqualFold(v, missing) })
	}
	if !there && c.ifExists {
		return true
	}
	switch c.set {
	case forAll: // also where there is none
		return !slices.ContainsFunc(values, func(v string) bool { return !c.holds(d, context, v) })
	case forAny:
		return slices.ContainsFunc(values, func(v string) bool { return c.holds(d, context, v) })
	}
	matched := slices.ContainsFunc(values, func(v string) bool { return c.matched(d, context, v) })
	return matched != c.not
}

// holds tells whether the condition holds for one of a key's values.
func (c condition) holds(d *Document, context Context, value string) bool {
	return c.matched(d, context, value) != c.not
}

func (c condition) matched(d *Document, context Context, value string) bool {
	return slices.ContainsFunc(c.values, func(text string) bool {
		p, ok := d.pattern(text, context)
		return ok && c.matches(p, value)
	})
}

func anything(string) bool  { return true }
func same(a, b string) bool { return a == b }
func isBool(value string) bool {
	return strings.EqualFold(value, "true") || strings.EqualFold(value, "false")
}
func equal(c int) bool           { return c == 0 }
func less(c int) bool            { return c < 0 }
func lessOrEqual(c int) bool     { return c <= 0 }
func greater(c int) bool         { return c > 0 }
func greaterOrEqual(c int) bool  { return c >= 0 }
func isBinary(value string) bool { _, err := base64.StdEncoding.DecodeString(value); return err == nil }
func isPrefix(value string) bool { _, ok := prefix(value); return ok }

// literally undoes the marking of wildcards, for operators that know none.
var literally = strings.NewReplacer(string(anyText), "*", string(anyOne), "?")

func plain(alike func(a, b string) bool) func(pattern, value string) bool {
	return func(pattern, value string) bool { return alike(literally.Replace(pattern), value) }
}

// compared compares a key's value with the policy's, if both can be read.
func compared(read func(string) (*big.Rat, bool), says func(int) bool) func(pattern, value string) bool {
	return func(pattern, value string) bool {
		wanted, ok := read(pattern)
		got, okToo := read(value)
		return ok && okToo && says(got.Cmp(wanted))
	}
}

func is(read func(string) (*big.Rat, bool)) func(string) bool {
	return func(value string) bool { _, ok := read(value); return ok }
}

// longestNumber keeps exponents from being written out: no key has such numbers.
const longestNumber = 40

func number(text string) (*big.Rat, bool) {
	if len(text) > longestNumber || strings.ContainsAny(text, "eE/_xXpP") {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// date reads a date of ISO 8601, as far as it says, or seconds since 1970.
func date(text string) (*big.Rat, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return big.NewRat(t.UnixMilli(), 1000), true
		}
	}
	return number(text)
}

func binaryEquals(pattern, value string) bool {
	a, err := base64.StdEncoding.DecodeString(literally.Replace(pattern))
	b, errToo := base64.StdEncoding.DecodeString(value)
	return err == nil && errToo == nil && bytes.Equal(a, b)
}

func prefix(text string) (netip.Prefix, bool) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil
}

func inPrefix(pattern, value string) bool {
	p, ok := prefix(pattern)
	address, err := netip.ParseAddr(value)
	return ok && err == nil && p.Contains(address.Unmap())
}
