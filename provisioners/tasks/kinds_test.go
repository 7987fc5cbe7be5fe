package tasks

import (
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2/hcldec"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// TestHCLHasEveryKind holds the blocks of a task, as Packer gets them, to the table of kinds.
func TestHCLHasEveryKind(t *testing.T) {
	var blocks, attributes []string
	for name, spec := range new(FlatTask).HCL2Spec() {
		if _, ok := spec.(*hcldec.BlockSpec); ok {
			blocks = append(blocks, name)
		} else {
			attributes = append(attributes, name)
		}
	}
	want := []string{assertKind}
	for _, k := range task.Kinds() {
		want = append(want, k.Name())
	}
	slices.Sort(blocks)
	slices.Sort(attributes)
	slices.Sort(want)
	if !slices.Equal(blocks, want) {
		t.Errorf("HCL has the blocks %q, want %q", blocks, want)
	}
	if !slices.Equal(attributes, []string{"name", "notify", "sensitive"}) {
		t.Errorf("a task has the attributes %q", attributes)
	}
}

// TestAttributesHaveATypeOfHCL wants no field of a kind whose type would silently become text, and the same attributes
// in HCL and on the wire where one struct is both.
func TestAttributesHaveATypeOfHCL(t *testing.T) {
	good := []string{"string", "bool", "*bool", "[]string", "map[string]string"}
	for _, k := range Kinds() {
		of := reflect.TypeOf(k.Block)
		for i := range of.NumField() {
			field := of.Field(i)
			if field.Tag.Get("mapstructure") == "" {
				t.Errorf("%s.%s has no name in HCL", k.Name, field.Name)
			}
			if !slices.Contains(good, field.Type.String()) {
				t.Errorf("%s.%s is a %s; attributes has to learn it", k.Name, field.Name, field.Type)
			}
		}
	}
}
