package remote

import (
	"fmt"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// PlainUi is Packer's user interface, told nothing but printable text: what machines and EC2 say must not steer the
// terminal that Packer writes to.
func PlainUi(ui packersdk.Ui) packersdk.Ui {
	if plain, ok := ui.(plainUi); ok {
		return plain
	}
	return plainUi{ui}
}

type plainUi struct{ packersdk.Ui }

func (u plainUi) Say(text string) { u.Ui.Say(plaintext.Lines(text)) }

func (u plainUi) Sayf(format string, args ...any) { u.Say(fmt.Sprintf(format, args...)) }

func (u plainUi) Message(text string) { u.Say(text) }

func (u plainUi) Error(text string) { u.Ui.Error(plaintext.Lines(text)) }

func (u plainUi) Errorf(format string, args ...any) { u.Error(fmt.Sprintf(format, args...)) }
