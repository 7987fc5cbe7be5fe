//go:build acceptance

package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// region is the local cloud's only one.
const region = "us-east-1"

// user is somebody with an account at the cloud, who may do nothing yet.
type user struct {
	name  string
	admin *iam.Client // the operator's
	home  string      // has the profile of the user's name, as the user would have written it
	// policies is the number of those that the user has.
	policies int
}

// newUser has the operator make a user with an access key.
func newUser(t *testing.T, name string) *user {
	t.Helper()
	ctx := context.Background()
	conf, err := awsconfig.Load(ctx, awsconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	u := &user{name: name, admin: iam.NewFromConfig(conf), home: t.TempDir()}
	if _, err = u.admin.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}); err != nil {
		t.Fatal(err)
	}
	out, err := u.admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	id := out.AccessKey.AccessKeyId
	t.Cleanup(func() {
		_, err := u.admin.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: id})
		if err == nil {
			_, err = u.admin.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name})
		}
		if err != nil {
			t.Error(err)
		}
	})
	profile := fmt.Sprintf("[profile %s]\nendpoint_url = %s\naws_access_key_id = %s\naws_secret_access_key = %s\n",
		name, awsconfig.Endpoint(conf), *id, *out.AccessKey.SecretAccessKey)
	path := filepath.Join(u.home, ".aws", "config")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	return u
}

// shell is a shell that knows nothing of the cloud but what is in the user's home.
func (u *user) shell(t *testing.T) *rig.Shell {
	t.Helper()
	environment := []string{"HOME=" + u.home}
	for _, name := range []string{"PATH", "GOCACHE", "GOMODCACHE", "GOPATH", "PACKER_NO_COLOR"} {
		environment = append(environment, name+"="+os.Getenv(name))
	}
	return rig.NewShell(t, environment...)
}

var document = regexp.MustCompile(`(?ms)^\{$.*^\}$`)

// allow gives the user the policy that was printed, as a managed policy: it is too long for an inline
// one.
func (u *user) allow(t *testing.T, printed string) {
	t.Helper()
	ctx := context.Background()
	policy := document.FindString(printed)
	if !json.Valid([]byte(policy)) {
		t.Fatalf("no policy was printed:\n%s", printed)
	}
	u.policies++
	made, err := u.admin.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName:     aws.String(fmt.Sprintf("%s-may-%d", u.name, u.policies)),
		PolicyDocument: &policy,
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := made.Policy.Arn
	attach := &iam.AttachUserPolicyInput{UserName: &u.name, PolicyArn: arn}
	if _, err := u.admin.AttachUserPolicy(ctx, attach); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := u.admin.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: &u.name, PolicyArn: arn})
		if err == nil {
			_, err = u.admin.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn})
		}
		if err != nil {
			t.Error(err)
		}
	})
}
