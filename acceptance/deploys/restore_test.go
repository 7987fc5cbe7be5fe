//go:build acceptance

package deploys

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestRollbackToASnapshot has the data go back to what it was before the last deployment. A rollback to an image that
// cannot be launched leaves data and volumes alone.
func TestRollbackToASnapshot(t *testing.T) {
	write := func() *writer {
		w := &writer{prefix: fmt.Sprintf("s%d-", time.Now().UnixNano()%1e9), enough: 5}
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		w.run(ctx, aws.ToString(rig.Tier(t, "web").PublicIpAddress))
		return w
	}
	volumes := func() string {
		return rig.Must(t, "aws", "ec2", "describe-volumes", "--filters",
			"Name=tag:goldsmith:stack,Values="+rig.StackName, "Name=tag-key,Values=goldsmith:data", "--query",
			"Volumes[].VolumeId", "--output", "text")
	}
	first := write()
	rig.Must(t, rig.Goldsmith(), rig.DeployArgs("--replace", "db")...)
	snapshot := snapshotOfLastDeployment(t)
	second := write()
	before, held := withoutSnapshots(rig.Inventory(t)), volumes()
	back := rollbackArgs(t, "--snapshot", snapshot)

	out, err := rig.RunUntil(t, regexp.MustCompile(`made data volume vol-`),
		func(p *os.Process) { signalTo(t, p, os.Interrupt) }, back...)
	if err == nil || !strings.Contains(out, "going back") {
		t.Errorf("an interrupted rollback: %v\n%s", err, rig.End(t, out))
	}
	assertSame(t, before)
	if now := volumes(); now != held {
		t.Errorf("the data is on %s, and was on %s", now, held)
	}
	if n := rows(t, second.prefix); n != len(second.acked) {
		t.Errorf("after the failed rollback there are %d rows of %d", n, len(second.acked))
	}

	out = rig.Must(t, rig.Goldsmith(), back...)
	if !strings.Contains(out, "the data goes back to "+snapshot) {
		t.Errorf("it does not say what becomes of the data:\n%s", rig.End(t, out))
	}
	if n := rows(t, first.prefix); n != len(first.acked) || n == 0 {
		t.Errorf("of the rows from before the snapshot there are %d of %d", n, len(first.acked))
	}
	if n := rows(t, second.prefix); n != 0 {
		t.Errorf("of the rows from after the snapshot there are %d", n)
	}
	if now := strings.Fields(volumes()); len(now) != 1 || now[0] == strings.TrimSpace(held) {
		t.Errorf("the data volumes are %v, and was %s", now, held)
	}
	if kept := snapshotOfLastDeployment(t); kept == snapshot {
		t.Error("no snapshot has what was given up")
	}
	if told := rig.PlanOf(t, "--stack", rig.StackName); told != "" {
		t.Errorf("after the rollback there is something to do:\n%s", told)
	}
	rig.MustOnInstance(
		t,
		"db",
		fmt.Sprintf(`sudo mysql --execute "DELETE FROM app.users WHERE username LIKE '%s%%'"`, first.prefix),
	)
	rig.Must(t, rig.Goldsmith(), rig.DeployArgs("--replace", "db")...) // which finds the new volume
	rig.AssertServes(t)
}

// rows is the number of rows whose name begins with prefix.
func rows(t *testing.T, prefix string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(
		rig.MustOnInstance(
			t,
			"db",
			fmt.Sprintf(
				`sudo mysql --batch --skip-column-names --execute "SELECT COUNT(*) FROM app.users WHERE username `+
					`LIKE '%s%%'"`,
				prefix,
			),
		),
		&n,
	); err != nil {
		t.Fatal(err)
	}
	return n
}

// snapshotOfLastDeployment is the snapshot that it made.
func snapshotOfLastDeployment(t *testing.T) string {
	t.Helper()
	var records []struct{ Snapshot string }
	rig.Decode(
		t,
		strings.NewReader(rig.Must(t, rig.Goldsmith(), "history", "--stack", rig.StackName, "--json")),
		&records,
	)
	if records[0].Snapshot == "" {
		t.Fatal("the last deployment made no snapshot")
	}
	return records[0].Snapshot
}
