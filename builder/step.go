package builder

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// errHalt ends the build, and is no failure of its own.
var errHalt = errors.New("the build ends here")

// step is a stage of the bake as a step of the SDK's runner, which does -debug and -on-error.
type step struct {
	bake *bake
	name string
	do   func(context.Context) error
	// undo takes the stage back, on every way out. It may be nil.
	undo func(context.Context) error
	// skipIf leaves the stage out. It may be nil.
	skipIf func() bool
	// sdk is a step of the SDK's that stands in the place of do and undo.
	sdk multistep.Step
}

func (b *bake) step(name string, do, undo func(context.Context) error) step {
	return step{bake: b, name: name, do: do, undo: undo}
}

// unlessAdopted leaves the stage out where the AMI is there already and nothing is baked.
func (s step) unlessAdopted() step {
	s.skipIf = func() bool { return s.bake.image.adopted }
	return s
}

func (s step) skipped() bool { return s.skipIf != nil && s.skipIf() }

// Run does the stage.
func (s step) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	if s.skipped() {
		return multistep.ActionContinue
	}
	if s.sdk != nil {
		return s.sdk.Run(ctx, state)
	}
	err := s.do(ctx)
	if errors.Is(err, errHalt) {
		return multistep.ActionHalt
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", s.name, err)
		s.bake.fail(err)
		state.Put("error", s.bake.failure)
		return multistep.ActionHalt
	}
	return multistep.ActionContinue
}

// Cleanup undoes the stage, also when the build was interrupted: with a deadline of its own.
func (s step) Cleanup(state multistep.StateBag) {
	switch {
	case s.skipped():
		return
	case s.sdk != nil:
		s.sdk.Cleanup(state)
		return
	case s.undo == nil:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupDeadline)
	defer cancel()
	if err := s.undo(ctx); err != nil {
		err = fmt.Errorf("clean up after %q: %w\nhint: what is left has the tag %s=%s", s.name,
			awsconfig.Explain(err), buildTag, s.bake.owner())
		s.bake.job.ui.Error(err.Error())
		s.bake.failure = errors.Join(s.bake.failure, err)
	}
}

// fail notes a failure; the first one is the one that counts.
func (b *bake) fail(err error) {
	if b.failure == nil {
		b.failure = err
	}
	b.job.ui.Error(awsconfig.Explain(err).Error())
}
