package tasks

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/mitchellh/mapstructure"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Kind is a block that says what a task is about.
type Kind struct {
	// Name is the block's.
	Name string
	// Block is the zero value of the struct whose tags name the attributes.
	Block any
}

// Kinds are the kinds of task in HCL: those of the table of package task, and assert.
func Kinds() []Kind {
	var all []Kind
	for _, k := range task.Kinds() {
		all = append(all, Kind{Name: k.Name(), Block: k.HCL()})
	}
	return append(all, Kind{Name: assertKind, Block: Assert{}})
}

const assertKind = "assert"

// FlatTask stands in the generated FlatConfig for the flat struct of Task that packer-sdc would make: the blocks of a
// task are those of Kinds.
type FlatTask struct{}

// HCL2Spec is the specification of a task or handler.
func (*FlatTask) HCL2Spec() map[string]hcldec.Spec {
	spec := attributes(reflect.TypeFor[Task]())
	for _, k := range Kinds() {
		nested := hcldec.ObjectSpec(attributes(reflect.TypeOf(k.Block)))
		spec[k.Name] = &hcldec.BlockSpec{TypeName: k.Name, Nested: nested}
	}
	return spec
}

// attributes are the fields of a struct that have a name in HCL.
func attributes(of reflect.Type) map[string]hcldec.Spec {
	all := map[string]hcldec.Spec{}
	for i := range of.NumField() {
		field := of.Field(i)
		name := field.Tag.Get("mapstructure")
		if name == "" || name == ",remain" {
			continue
		}
		all[name] = &hcldec.AttrSpec{Name: name, Type: ctyType(field.Type)}
	}
	return all
}

// ctyType is the type of an attribute. No kind of task has an attribute of another type.
func ctyType(of reflect.Type) cty.Type {
	switch of.Kind() {
	case reflect.Pointer:
		return ctyType(of.Elem())
	case reflect.Bool:
		return cty.Bool
	case reflect.Slice:
		return cty.List(ctyType(of.Elem()))
	case reflect.Map:
		return cty.Map(ctyType(of.Elem()))
	}
	return cty.String
}

// decode reads the configuration. Values of HCL become maps here and not in the SDK, which would want a generated
// struct of the blocks.
func (c *Config) decode(raws []any) error {
	raws = slices.Clone(raws)
	for i, raw := range raws {
		value, ok := raw.(cty.Value)
		if !ok {
			continue
		}
		*c = Config{} // Packer prepares a provisioner again when the builder's values are there
		var err error
		if raws[i], err = plainValue(value); err != nil {
			return err
		}
	}
	// No interpolation: Packer would take the braces in content and scripts for its own, and leave "<no value>" there.
	if err := config.Decode(c, &config.DecodeOpts{PluginType: "goldsmith-tasks"}, raws...); err != nil {
		return err
	}
	for _, t := range slices.Concat(c.Tasks, c.Handlers) {
		maps.DeleteFunc(t.Blocks, func(_ string, block any) bool { return block == nil }) // HCL has null for the others
	}
	return nil
}

// plainValue is a value of HCL as maps, lists and scalars.
func plainValue(value cty.Value) (map[string]any, error) {
	text, err := ctyjson.SimpleJSONValue{Value: value}.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	return plain, json.Unmarshal(text, &plain)
}

// block is the one block of a task, decoded into the struct of its kind.
func (t Task) block() (kind string, decoded any, err error) {
	known := Kinds()
	for _, name := range slices.Sorted(maps.Keys(t.Blocks)) {
		i := slices.IndexFunc(known, func(k Kind) bool { return k.Name == name })
		if i < 0 {
			return "", nil, fmt.Errorf("%s: there is no such attribute or kind of task", name)
		}
		into := reflect.New(reflect.TypeOf(known[i].Block))
		if err := decodeBlock(t.Blocks[name], into.Interface()); err != nil {
			return "", nil, fmt.Errorf("%s: %w", name, err)
		}
		kind, decoded = name, into.Elem().Interface()
	}
	if len(t.Blocks) != 1 {
		return "", nil, fmt.Errorf("there are %d blocks that say what should be so, such as package or file; "+
			"one is needed", len(t.Blocks))
	}
	return kind, decoded, nil
}

// decodeBlock reads a block as the SDK reads a configuration; JSON templates have a list of one for it.
func decodeBlock(raw, into any) error {
	if list, ok := raw.([]any); ok && len(list) == 1 {
		raw = list[0]
	}
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:           into,
		ErrorUnused:      true,
		WeaklyTypedInput: true,
		DecodeHook:       mapstructure.ComposeDecodeHookFunc(config.DefaultDecodeHookFuncs...),
	})
	if err != nil {
		return err
	}
	return decoder.Decode(raw)
}
