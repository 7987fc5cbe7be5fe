package seal

import "testing"

func TestBusy(t *testing.T) {
	for _, c := range []struct {
		name, shown string
		want        bool
	}{
		{"all done", "Id=cloud-init-local.service\nActiveState=active\nJob=\n\nId=cloud-final.service\nActiveState=active\n", false},
		{"not there", "Id=cloud-init.service\nActiveState=inactive\n", false},
		{"failed", "Id=cloud-final.service\nActiveState=failed\nJob=0\n", false},
		{"at work", "Id=cloud-init.service\nActiveState=active\n\nId=cloud-final.service\nActiveState=activating\nJob=120\n", true},
		{"about to be", "Id=cloud-final.service\nActiveState=inactive\nJob=77\n", true},
		{"empty", "", false},
	} {
		if got := busy(c.shown); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}
