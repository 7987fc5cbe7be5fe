package task

import "fmt"

// Kind is a row of the table of kinds.
type Kind struct {
	// Spec is the zero value of what goes over the wire and is checked on the machine; nil of a kind that is in HCL
	// alone, and another one once it is read.
	Spec Spec
	// Block is the zero value of the kind's block in HCL; nil where Spec's own fields are the block's attributes.
	Block Block
}

// Block is a kind of task in HCL, where that is not what goes over the wire: a file has its content there by a path.
type Block interface {
	// Kind is the block's name.
	Kind() string
	// Spec makes the block's Spec. render renders a template of the operator's. An error begins with the attribute.
	Spec(render func(path string) ([]byte, error)) (Spec, error)
}

// Kinds is the table of the kinds of task: HCL, the wire, the engine and the documentation have these and no others, in
// this order.
func Kinds() []Kind { return kinds[:] }

var kinds = [...]Kind{
	{Spec: Package{}},
	{Spec: File{}, Block: FileBlock{}},
	{Block: Template{}},
	{Spec: Directory{}},
	{Spec: Link{}},
	{Spec: Group{}},
	{Spec: User{}},
	{Spec: Unit{}, Block: UnitBlock{}},
	{Spec: Service{}},
	{Spec: Command{}},
	{Spec: Sysctl{}},
	{Spec: SQL{}},
	{Spec: AptHold{}},
	{Spec: Line{}},
}

// Name is the kind's name, in HCL and on the wire.
func (k Kind) Name() string {
	if k.Block != nil {
		return k.Block.Kind()
	}
	return k.Spec.Kind()
}

// HCL is the zero value of the struct whose tags name the attributes of the kind's block.
func (k Kind) HCL() any {
	if k.Block != nil {
		return k.Block
	}
	return k.Spec
}

// onWire is the zero value of a kind as it comes over the wire.
func onWire(name string) (Spec, error) {
	for _, k := range kinds {
		if k.Spec != nil && k.Spec.Kind() == name {
			return k.Spec, nil
		}
	}
	return nil, fmt.Errorf("kind %q is not known to this agent", name)
}
