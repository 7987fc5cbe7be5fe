package task

import "fmt"

// Template is a file whose content is rendered on this machine (text/template with sprig's functions). It knows `.vars`
// and `.facts`.
type Template struct {
	// Where it is on the instance.
	Path string `mapstructure:"path" required:"true"`
	// The template, a file on this machine.
	Source string `mapstructure:"source" required:"true"`
	// The mode in octal. The default is `0644`.
	Mode string `mapstructure:"mode"`
	// The owner. The default is root.
	Owner string `mapstructure:"owner"`
	// The group. The default is root.
	Group string `mapstructure:"group"`
	// A command that must succeed with the new content before it takes the file's place; `%s` is the new file.
	Validate []string `mapstructure:"validate"`
}

// Kind is "template".
func (Template) Kind() string { return "template" }

// Spec is the rendered file.
func (t Template) Spec(render func(string) ([]byte, error)) (Spec, error) {
	content, err := render(t.Source)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return File{
		Path:    t.Path,
		Content: Bytes(content),
		Mode:    t.Mode,
		Owner:   t.Owner,
		Group:   t.Group,
		Test:    t.Validate,
	}, nil
}
