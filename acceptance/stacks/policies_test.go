//go:build acceptance

package stacks

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// person makes a user whose only policy is the one that iam-policy prints for a purpose, and returns what runs a
// command as that user.
func person(t *testing.T, purpose string) func(command ...string) (string, error) {
	t.Helper()
	name := "goldsmith-test-" + purpose
	path := filepath.Join(t.TempDir(), "policy.json")
	policy := rig.Must(t, rig.Goldsmith(), "iam-policy", "--for", purpose, "--stack", rig.StackName)
	if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	rig.Must(t, "aws", "iam", "create-user", "--user-name", name)
	t.Cleanup(func() { rig.Must(t, "aws", "iam", "delete-user", "--user-name", name) })
	rig.Must(t, "aws", "iam", "put-user-policy", "--user-name", name, "--policy-name", "duty", "--policy-document",
		"file://"+path)
	t.Cleanup(func() {
		rig.Must(t, "aws", "iam", "delete-user-policy", "--user-name", name, "--policy-name", "duty")
	})
	var made struct {
		AccessKey struct{ AccessKeyID, SecretAccessKey string }
	}
	out := rig.Must(t, "aws", "iam", "create-access-key", "--user-name", name, "--output", "json")
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		rig.Must(t, "aws", "iam", "delete-access-key", "--user-name", name, "--access-key-id",
			made.AccessKey.AccessKeyID)
	})
	return func(command ...string) (string, error) {
		return rig.Output("env", append([]string{"AWS_ACCESS_KEY_ID=" + made.AccessKey.AccessKeyID,
			"AWS_SECRET_ACCESS_KEY=" + made.AccessKey.SecretAccessKey}, command...)...)
	}
}

// TestPolicySuffices: with the policy of a duty alone its commands work, and those of another are refused by IAM.
func TestPolicySuffices(t *testing.T) {
	for _, c := range []struct {
		purpose      string
		does, cannot [][]string
	}{
		{"read", [][]string{{"status"}, {"history"}, {"images"}}, [][]string{{"deploy"}}},
		{"deploy", [][]string{{"status"}, {"stack", "plan"}, {"deploy"}}, nil},
		{"bootstrap", [][]string{{"network", "up"}, {"stack", "plan"}, {"deploy"}}, nil},
		{"boundary", nil, [][]string{{"status"}, {"network", "up"}}},
	} {
		t.Run(c.purpose, func(t *testing.T) {
			as := person(t, c.purpose)
			run := func(command []string) (string, error) {
				return as(append([]string{rig.Goldsmith()}, append(command, "--stack", rig.StackName)...)...)
			}
			for _, command := range c.does {
				if out, err := run(command); err != nil {
					t.Errorf("%s: %v\n%s", strings.Join(command, " "), err, rig.End(t, out))
				}
			}
			for _, command := range c.cannot {
				out, err := run(command)
				if err == nil || !strings.Contains(out, "is not authorized to perform") {
					t.Errorf("%s: %v\n%s", strings.Join(command, " "), err, rig.End(t, out))
				}
			}
			out, err := as("aws", "ec2", "create-tags", "--resources", *rig.BaseImage(t, "debian-13-*"), "--tags",
				"Key=goldsmith:build,Value=x")
			if err == nil || !strings.Contains(out, "UnauthorizedOperation") {
				t.Errorf("what is nobody's can be tagged: %v: %s", err, out)
			}
		})
	}
}

// TestInstancesReadOnlyTheirOwn asks for parameters with the credentials of the web instance.
func TestInstancesReadOnlyTheirOwn(t *testing.T) {
	const ask = `imds=http://169.254.169.254/latest
token=$(curl --silent --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' $imds/api/token)
imds() {
  curl --silent --header "X-aws-ec2-metadata-token: $token" "$imds/meta-data/iam/security-credentials/$1"
}
keys=$(imds "$(imds '')")
get() { echo "$keys" | grep --only-matching "\"$1\": *\"[^\"]*" | cut --delimiter='"' --fields=4; }
curl --silent --header 'Content-Type: application/x-amz-json-1.1' --header "X-Amz-Target: AmazonSSM.$action" \
  --data "$body" --aws-sigv4 aws:amz:us-east-1:ssm --user "$(get AccessKeyId):$(get SecretAccessKey)" \
  --header "X-Amz-Security-Token: $(get Token)" http://198.51.100.20/`
	asks := func(action, body string) string {
		t.Helper()
		script := "action=" + action + "\nbody='" + body + "'\n" + ask
		return rig.MustOnInstance(t, "web", "sudo bash -c '"+strings.ReplaceAll(script, "'", `'\''`)+"'")
	}
	const at = "/goldsmith/" + rig.StackName
	if out := asks("GetParameter", `{"Name": "`+at+`/db/app_password", "WithDecryption": true}`); !strings.Contains(out,
		`"Value"`) {
		t.Errorf("its own: %s", out)
	}
	for action, body := range map[string]string{
		"GetParameter":        `{"Name": "` + at + `/db/ca_key", "WithDecryption": true}`,
		"GetParametersByPath": `{"Path": "` + at + `", "Recursive": true}`,
		"PutParameter":        `{"Name": "` + at + `/db/app_password", "Value": "x", "Overwrite": true}`,
	} {
		if out := asks(action, body); !strings.Contains(out, "AccessDeniedException") {
			t.Errorf("%s %s: %s", action, body, out)
		}
	}
}
