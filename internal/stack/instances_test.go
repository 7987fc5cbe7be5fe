package stack

import "testing"

func TestServing(t *testing.T) {
	all := []Instance{{
		ID:     "i-new",
		Tier:   "web",
		Role:   Serving,
		Detail: Detail{Deploy: "20260102"},
	}, {ID: "i-old", Tier: "web", Role: Serving, Detail: Detail{Deploy: "20260101"}},
		{
			ID:     "i-candidate",
			Tier:   "web",
			Role:   Candidate,
			Detail: Detail{Deploy: "20260103"},
		}, {ID: "i-retired", Tier: "db", Role: Retired, Detail: Detail{Deploy: "20260101"}}}
	if got := ServingOf(all, "web"); got.ID != "i-new" {
		t.Errorf("%s serves, where the end of the older one broke off", got.ID)
	}
	if got := ServingOf(all, "db"); got.ID != "" {
		t.Errorf("%s serves, and is retired", got.ID)
	}
	if got := Others(all, "web", all[0]); len(got) != 2 || got[0].ID != "i-old" || got[1].ID != "i-candidate" {
		t.Errorf("got %+v", got)
	}
}
