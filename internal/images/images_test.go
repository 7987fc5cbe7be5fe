package images

import (
	"slices"
	"testing"
)

func TestSuperseded(t *testing.T) {
	all := []Image{ // as List has them: the youngest of a series first
		{ID: "db-5", Series: "golden/db"},
		{ID: "db-4", Series: "golden/db"},
		{ID: "db-3", Series: "golden/db", Instances: []string{"i-1"}},
		{ID: "db-2", Series: "golden/db", Current: true},
		{ID: "db-1", Series: "golden/db"},
		{ID: "web-1", Series: "golden/web"},
		{ID: "own-2"}, {ID: "own-1"},
	}
	for keep, want := range map[int][]string{1: {"db-4", "db-1"}, 2: {"db-1"}, 4: {"db-1"}, 5: nil} {
		var got []string
		for _, image := range Superseded(all, keep) {
			got = append(got, image.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("keep %d: %v would go, want %v", keep, got, want)
		}
	}
}
