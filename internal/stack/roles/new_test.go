package roles

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
)

func TestRolesThatAreNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bodies := map[string]string{
			"CreateRole":               "<Role/>",
			"PutRolePolicy":            "",
			"CreateInstanceProfile":    "<InstanceProfile/>",
			"AddRoleToInstanceProfile": "",
			"GetInstanceProfile":       "<InstanceProfile/>",
		}
		s, a := stacktest.Slowly(t, bodies, map[string]stacktest.Fault{
			"PutRolePolicy": stacktest.For(5*time.Second, "NoSuchEntity",
				"The role with name goldsmith-golden-db cannot be found."),
			"AddRoleToInstanceProfile": stacktest.For(10*time.Second, "NoSuchEntity",
				"Instance Profile goldsmith-golden-db cannot be found."),
			"GetInstanceProfile": stacktest.For(20*time.Second, "NoSuchEntity",
				"Instance Profile goldsmith-golden-db cannot be found."),
		})
		if err := Ensure(t.Context(), s, plan.NewActor(false)); err != nil {
			t.Errorf("after %v: %v", a.Calls, err)
		}
	})
}
