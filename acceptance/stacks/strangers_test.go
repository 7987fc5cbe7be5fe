//go:build acceptance

package stacks

import (
	"os"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestStrangersGetNothing asks the local cloud as those ask who have no key of it: another user of this machine, a page
// in a browser, and a program in an instance.
func TestStrangersGetNothing(t *testing.T) {
	endpoint := os.Getenv("AWS_ENDPOINT_URL")
	curl := func(args ...string) string {
		t.Helper()
		line := append(
			[]string{
				"--reuid=65534",
				"--clear-groups",
				"curl",
				"--silent",
				"--output",
				"/dev/null",
				"--write-out",
				"%{http_code}",
			},
			args...)
		return rig.Must(t, "setpriv", line...)
	}
	for name, args := range map[string][]string{
		"unsigned": {"--data", "Action=DescribeInstances&Version=2016-11-15", endpoint + "/"},
		"a made-up key": {
			"--aws-sigv4",
			"aws:amz:us-east-1:ec2",
			"--user",
			"test:test",
			"--data",
			"Action=DescribeInstances&Version=2016-11-15",
			endpoint + "/",
		},
		"another secret": {
			"--aws-sigv4",
			"aws:amz:us-east-1:ec2",
			"--user",
			os.Getenv("AWS_ACCESS_KEY_ID") + ":test",
			"--data",
			"Action=DescribeInstances",
			endpoint + "/",
		},
		"moto's own interface": {endpoint + "/moto-api/data.json"},
		"moto's reset":         {"--request", "POST", endpoint + "/moto-api/reset"},
		"another origin":       {"--header", "Origin: https://evil.example", endpoint + "/"},
		"a question before":    {"--request", "OPTIONS", endpoint + "/"},
		"a rebound name":       {"--header", "Host: evil.example", endpoint + "/"},
	} {
		if status := curl(args...); status != "403" {
			t.Errorf("%s: status %s", name, status)
		}
	}
	if out, err := rig.Output("setpriv", "--reuid=65534", "--clear-groups", "env", "HOME=/nonexistent",
		rig.Goldsmith(), "cloud", "env"); err == nil {
		t.Errorf("another user gets the key: %s", out)
	}

	// With the key there is still no way to moto's own interface.
	out := rig.Must(t, "curl", "--silent", "--aws-sigv4", "aws:amz:us-east-1:ec2", "--user",
		os.Getenv("AWS_ACCESS_KEY_ID")+":"+os.Getenv("AWS_SECRET_ACCESS_KEY"), endpoint+"/moto-api/data.json")
	if !strings.Contains(out, "there is nothing at this path") {
		t.Errorf("moto's own interface: %s", rig.End(t, out))
	}
	for name, status := range map[string]string{
		"unsigned": rig.MustOnInstance(t, "web",
			"curl --silent --output /dev/null --write-out '%{http_code}' --data Action=DescribeInstances "+
				"http://198.51.100.20/"),
		"the operator's key": rig.MustOnInstance(t, "web",
			"curl --silent --output /dev/null --write-out '%{http_code}' --data Action=DescribeInstances "+
				"--aws-sigv4 aws:amz:us-east-1:ec2 --user '"+os.Getenv("AWS_ACCESS_KEY_ID")+":"+
				os.Getenv("AWS_SECRET_ACCESS_KEY")+"' http://198.51.100.20/"),
	} {
		if status != "403" {
			t.Errorf("an instance, %s: status %s", name, status)
		}
	}
	const whoAmI = `imds=http://169.254.169.254/latest
token=$(curl --silent --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' $imds/api/token)
imds() {
  curl --silent --header "X-aws-ec2-metadata-token: $token" "$imds/meta-data/iam/security-credentials/$1"
}
keys=$(imds "$(imds '')")
get() { echo "$keys" | grep --only-matching "\"$1\": *\"[^\"]*" | cut --delimiter='"' --fields=4; }
curl --silent --data 'Action=GetCallerIdentity&Version=2011-06-15' \
  --aws-sigv4 aws:amz:us-east-1:sts --user "$(get AccessKeyId):$(get SecretAccessKey)" \
  --header "X-Amz-Security-Token: $(get Token)" http://198.51.100.20/`
	said := rig.MustOnInstance(t, "web", "sudo bash -c '"+strings.ReplaceAll(whoAmI, "'", `'\''`)+"'")
	if !strings.Contains(said, ":assumed-role/goldsmith-"+rig.StackName+"-web/i-") {
		t.Errorf("an instance with its own credentials: %s", said)
	}
}

// TestHelpersHaveNoRights: what parses what others send is neither root nor has a capability.
func TestHelpersHaveNoRights(t *testing.T) {
	found := 0
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		line, _ := os.ReadFile("/proc/" + process.Name() + "/cmdline")
		words := strings.Split(string(line), "\x00")
		moto := strings.HasPrefix(words[0], "python3") && strings.Contains(string(line), "moto.server")
		if !moto && !strings.HasPrefix(words[0], "apt-cacher-ng") {
			continue
		}
		if !startedBy(process.Name(), rig.Goldsmith()) {
			continue // of another cloud
		}
		found++
		status, err := os.ReadFile("/proc/" + process.Name() + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, none := range []string{
			"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1",
		} {
			if !strings.Contains(string(status), none) {
				t.Errorf("%s: no %q in\n%s", words, none, status)
			}
		}
		if strings.Contains(string(status), "Uid:\t0\t") {
			t.Errorf("%s runs as root", words)
		}
	}
	if found == 0 { // the package cache may be another cloud's
		t.Error("no moto is running")
	}
}

// startedBy tells whether a process is below one that runs this program.
func startedBy(pid, program string) bool {
	for pid != "0" && pid != "" {
		if exe, err := os.Readlink("/proc/" + pid + "/exe"); err == nil && exe == program {
			return true
		}
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(string(status), "PPid:\t")
		pid, _, _ = strings.Cut(rest, "\n")
	}
	return false
}
