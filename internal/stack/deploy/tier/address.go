package tier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
)

// addressLimit is how long EC2 may take to show that an address has moved.
const addressLimit = time.Minute

// AwaitAddress waits until an instance has an address that it was given.
func AwaitAddress(ctx context.Context, address, id string, has func(context.Context) (bool, error)) error {
	err := await.Until(ctx, addressLimit, has)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("give %s to %s: EC2 says that it did, and after %s %s does not have it: %w",
			address, id, addressLimit, id, err)
	}
	return err
}
