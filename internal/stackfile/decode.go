package stackfile

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
)

// field is a field of a struct under its name in the file. gohcl's own structs can hold neither addresses nor
// durations.
type field struct {
	name  string // of an attribute, or a block's type
	block bool
	label string // of a block that has one
	value reflect.Value
}

// fieldsOf are a struct's fields, with those of the structs that it embeds.
func fieldsOf(v reflect.Value) []field {
	var all []field
	for i := range v.NumField() {
		of := v.Type().Field(i)
		if of.Anonymous {
			all = append(all, fieldsOf(v.Field(i))...)
			continue
		}
		name, rest, _ := strings.Cut(of.Tag.Get("hcl"), ",")
		kind, label, _ := strings.Cut(rest, ",")
		all = append(all, field{name: name, block: kind == "block", label: label, value: v.Field(i)})
	}
	return all
}

func schemaOf(fields []field) *hcl.BodySchema {
	schema := &hcl.BodySchema{}
	for _, f := range fields {
		switch {
		case !f.block:
			schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: f.name})
		case f.label == "":
			schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: f.name})
		default:
			schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: f.name, LabelNames: []string{"name"}})
		}
	}
	return schema
}

// decode fills a struct from a body; what the body does not say stays as it is.
func (r *reader) decode(b *block, body hcl.Body, into reflect.Value) {
	fields := fieldsOf(into)
	content, diags := body.Content(schemaOf(fields))
	r.faults = append(r.faults, diags...)
	for _, f := range fields {
		if attribute := content.Attributes[f.name]; attribute != nil {
			b.values[f.name] = attribute.Expr.Range()
			r.value(b, f.name, attribute.Expr, f.value)
		}
	}
	for _, inner := range content.Blocks {
		r.decodeBlock(b, inner, fields)
	}
}

// decodeBlock fills the field that a block is for.
func (r *reader) decodeBlock(b *block, from *hcl.Block, fields []field) {
	var wanted []string
	for _, f := range fields {
		if !f.block || f.name != from.Type {
			continue
		}
		head := f.head()
		if f.label != "" && f.label != from.Labels[0] {
			wanted = append(wanted, head)
			continue
		}
		inner := newBlock(strings.TrimPrefix(b.title+": "+head, ": "), from.DefRange)
		others := b.blocks[head]
		b.blocks[head] = append(others, inner)
		switch {
		case f.value.Kind() == reflect.Slice:
			one := reflect.New(f.value.Type().Elem()).Elem()
			r.decode(inner, from.Body, one)
			f.value.Set(reflect.Append(f.value, one))
		case len(others) > 0:
			r.fault(inner, "", "there is one in line %d already; there should be one at most",
				others[0].place.Start.Line)
		default:
			r.decode(inner, from.Body, f.value)
		}
		return
	}
	r.faultAt(from.LabelRanges[0], newBlock(b.title, b.place), fmt.Sprintf("%s %q", from.Type, from.Labels[0]),
		"it should be %s", strings.Join(wanted, " or "))
}

// head is the head of a block of this field, such as `tier "db"`.
func (f field) head() string {
	if f.label == "" {
		return f.name
	}
	return fmt.Sprintf("%s %q", f.name, f.label)
}

// value decodes an attribute's value, or an element's. It tells whether that went well; if not, the target is as
// before.
func (r *reader) value(b *block, name string, expr hcl.Expression, target reflect.Value) bool {
	if !r.literal(b, name, expr) {
		return false
	}
	decoded := reflect.New(target.Type())
	form, isText := forms[target.Type()]
	good := false
	switch {
	case target.Kind() == reflect.Slice:
		good = r.list(b, name, expr, decoded.Elem())
	case target.Kind() == reflect.Map:
		good = r.mapping(b, name, expr, decoded.Interface().(*map[string]string))
	case isText:
		var text string
		good = r.scalar(b, name, expr, &text) && r.parsed(b, name, text, form, decoded.Interface())
	default:
		good = r.scalar(b, name, expr, decoded.Interface())
	}
	if good {
		target.Set(decoded.Elem())
	}
	return good
}

// forms describe the valid texts of a type, for messages.
var forms = map[reflect.Type]string{
	reflect.TypeFor[time.Duration](): "a duration such as 90s, 5m or 1h30m",
	reflect.TypeFor[netip.Prefix]():  "a CIDR range such as 10.0.0.0/16",
	reflect.TypeFor[netip.Addr]():    "an IP address such as 10.0.2.10",
	reflect.TypeFor[Operator]():      "auto, or a CIDR range such as 192.0.2.7/32",
}

func (r *reader) parsed(b *block, name, text, form string, into any) bool {
	var err error
	switch into := into.(type) {
	case *time.Duration:
		*into, err = time.ParseDuration(text)
	case encoding.TextUnmarshaler:
		err = into.UnmarshalText([]byte(text))
	}
	if err != nil || text == "" { // of which netip makes its zero value
		r.fault(b, name, "%q should be %s", text, form)
		return false
	}
	prefix, ok := into.(interface {
		IsValid() bool
		Masked() netip.Prefix
		String() string
	})
	if ok && prefix.IsValid() && prefix.Masked().String() != prefix.String() {
		r.fault(b, name, "%q has bits set beyond its length; the range is %s", text, prefix.Masked())
		return false
	}
	return true
}

// scalar decodes a text, a number, or true and false.
func (r *reader) scalar(b *block, name string, expr hcl.Expression, into any) bool {
	if !gohcl.DecodeExpression(expr, nil, into).HasErrors() {
		return true
	}
	form := "a text in quotes"
	switch into.(type) {
	case *int32:
		form = fmt.Sprintf("a whole number of at most %d", math.MaxInt32)
	case *bool:
		form = "true or false"
	}
	r.fault(b, name, "it should be %s", form)
	return false
}

func (r *reader) list(b *block, name string, expr hcl.Expression, into reflect.Value) bool {
	elements, diags := hcl.ExprList(expr)
	if diags.HasErrors() {
		r.fault(b, name, "it should be a list, in [ ]")
		return false
	}
	good := true
	for i, element := range elements {
		one, called := reflect.New(into.Type().Elem()).Elem(), fmt.Sprintf("%s[%d]", name, i)
		b.values[called] = element.Range()
		good = r.value(b, called, element, one) && good
		into.Set(reflect.Append(into, one))
	}
	return good
}

func (r *reader) mapping(b *block, name string, expr hcl.Expression, into *map[string]string) bool {
	pairs, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		r.fault(b, name, "it should be a map, in { }")
		return false
	}
	*into = map[string]string{}
	good := true
	for _, pair := range pairs {
		var key, value string
		if gohcl.DecodeExpression(pair.Key, nil, &key).HasErrors() {
			r.faultAt(pair.Key.Range(), b, name, "a key should be a word, or a text in quotes")
			return false
		}
		called := fmt.Sprintf("%s[%q]", name, key)
		if b.given(called) {
			r.faultAt(pair.Key.Range(), b, called, "it is there twice")
			good = false
			continue
		}
		b.values[called] = pair.Key.Range()
		good = r.value(b, called, pair.Value, reflect.ValueOf(&value).Elem()) && good
		(*into)[key] = value
	}
	return good
}
