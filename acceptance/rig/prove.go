//go:build acceptance

package rig

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Release is the name and the image ids of a release, as its parameter has them.
type Release struct{ Name, DB, Web string }

func CurrentRelease(t testing.TB) Release {
	t.Helper()
	var r Release
	Decode(
		t,
		strings.NewReader(
			Must(t, "aws", "ssm", "get-parameter", "--name", "/goldsmith/"+StackName+"/release", "--query",
				"Parameter.Value", "--output", "text"),
		),
		&r,
	)
	return r
}

// KeepRelease is the current release, which is the current one again when the test ends.
func KeepRelease(t testing.TB) Release {
	t.Helper()
	old := CurrentRelease(t)
	t.Cleanup(func() {
		text, err := json.Marshal(
			map[string]string{"name": old.Name, "db": old.DB, "web": old.Web, "created": "2026-01-01T00:00:00Z"},
		)
		if err != nil {
			t.Fatal(err)
		}
		Must(t, "aws", "ssm", "put-parameter", "--overwrite", "--type", "String", "--name",
			"/goldsmith/"+StackName+"/release", "--value", string(text))
		Must(t, "aws", "ec2", "create-tags", "--resources", old.DB, old.Web, "--tags",
			"Key=goldsmith:release,Value="+old.Name)
	})
	return old
}

// Proving is a source that is proved as a web or a db image of the stack.
func Proving(tier, more string) string {
	return fmt.Sprintf("tags = { \"goldsmith:tier\" = %q }\nprove {\nstack = %q\ntier = %q\n%s\n}", tier, StackName,
		tier, more)
}

// WebProvisioners make a web image as the project's own build does.
func WebProvisioners(more string) string {
	return fmt.Sprintf(`
provisioner "goldsmith-webapp" {
  binary = "%[1]s/.build/webapp-linux-amd64"
  unit   = "%[1]s/files/systemd/goldsmith-webapp.service.tmpl"
}
provisioner "goldsmith-nginx" {
  site = "%[1]s/files/nginx/site.conf.tmpl"
}
%[2]s`, Repository, more)
}
