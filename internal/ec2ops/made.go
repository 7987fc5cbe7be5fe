package ec2ops

import (
	"context"
	"slices"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
)

const (
	// LookLimit is how long what was made may not be found by its tags, and LookPause the time between two looks.
	LookLimit = 15 * time.Second
	LookPause = 5 * time.Second
)

// Made are the ids of what was made: those that are known, where there are such, with those that look finds by a tag.
// Filters lag behind: where nothing is known or found and an answer was lost, so that something may be there, it looks
// again for a while. With an error it returns what is known.
func Made(
	ctx context.Context, lost bool, look func(context.Context) ([]string, error), known ...string,
) (ids []string, err error) {
	known = slices.DeleteFunc(known, func(id string) bool { return id == "" })
	for began := time.Now(); ; {
		ids, err = look(ctx)
		for _, id := range known {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if err != nil || len(ids) > 0 || !lost || time.Since(began) >= LookLimit {
			return ids, err
		}
		if err = await.Sleep(ctx, LookPause); err != nil {
			return nil, err
		}
	}
}
