//go:build acceptance

package aws

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// example is a directory of examples, whose README's block is typed.
type example struct {
	directory string
	// file is the stack file that the policy is printed for.
	file    string
	manners string
	// besides are the actions that the user is given beside the printed policy.
	besides string
	prepare func(*testing.T)
	// replaced are parts of the block that are another user's: ids, regions, where a plugin comes from.
	replaced []string
	remove   string // the command that takes away what the block made
}

// TestExamplesOnAWS types the block of each example's README, as TestReadmeOnAWS does with the README's own.
func TestExamplesOnAWS(t *testing.T) {
	for _, e := range []example{
		{
			directory: "existing-vpc",
			manners:   manners,
			file:      "examples/existing-vpc/stack.hcl",
			prepare:   makeMainVPC,
			replaced: []string{"packer build -var stack=shop -var subnet_id=subnet-0123456789abcdef0",
				"packer validate -var stack=shop"}, // the same build again, in a subnet of the reader's
			remove: "goldsmith destroy --file examples/existing-vpc/stack.hcl --yes",
		},
		{
			directory: "aws",
			manners:   manners,
			prepare:   makeApplication,
			remove:    "goldsmith destroy --stack shop --yes",
		},
		{
			directory: "amazon-ebs",
			manners:   "none", // HashiCorp's builder ends where EC2 does not know its new image yet
			besides:   "ec2:*",
			prepare:   func(t *testing.T) { rig.Must(t, "make", "-s", ".build/packer-plugin-amazon") },
			replaced: []string{"plugins install github.com/hashicorp/amazon",
				"plugins install --path .build/packer-plugin-amazon github.com/hashicorp/amazon"},
			remove: "goldsmith destroy --stack shop --yes",
		},
	} {
		t.Run(e.directory, e.run)
	}
}

var firstBlock = regexp.MustCompile("(?s)\n```\n(.*?)```")

// commands are the README's, each whole: one with a document has its lines up to the document's end.
func (e example) commands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rig.Repository, "examples", e.directory, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := firstBlock.FindStringSubmatch(string(text))
	if block == nil {
		t.Fatalf("examples/%s/README.md has no block of commands", e.directory)
	}
	replace := strings.NewReplacer(append(e.replaced, "eu-central-1", region)...)
	var all []string
	var document strings.Builder
	for line := range strings.Lines(block[1]) {
		document.WriteString(replace.Replace(line))
		if whole := document.String(); !strings.Contains(whole, "<<'END'") || line == "END\n" {
			all = append(all, strings.TrimRight(whole, "\n"))
			document.Reset()
		}
	}
	return all
}

func (e example) run(t *testing.T) {
	e.prepare(t)
	before := rig.Inventory(t)
	t.Cleanup(func() { rig.Must(t, rig.Goldsmith(), "cloud", "manners", "none") })
	person := newUser(t, "user-of-"+e.directory)
	shell := person.shell(t)
	shell.Run(`eval "$(make -s env-packer)" && export AWS_REGION=`+region+" AWS_PROFILE="+person.name, patience)
	policy := "goldsmith iam-policy"
	if e.file != "" {
		policy += " --file " + e.file
	}
	person.allow(t, shell.Run(policy, patience))
	if e.besides != "" {
		person.allow(t, fmt.Sprintf("{\n"+`"Version": "2012-10-17",
"Statement": [{"Effect": "Allow", "Action": %q, "Resource": "*"}]`+"\n}\n", e.besides))
	}
	// From here on: a policy that was attached a moment ago does not count at once.
	rig.Must(t, rig.Goldsmith(), "cloud", "manners", e.manners)
	for _, command := range e.commands(t) {
		shell.Run(command, patience)
	}
	shell.Run(e.remove, patience)
	rig.Must(t, rig.Goldsmith(), "cloud", "manners", "none") // an image's snapshot would be in use for a while
	assertOnlyImages(t, before)
}

// makeApplication puts an application and a seed where the example's block says that they are.
func makeApplication(t *testing.T) {
	t.Helper()
	for from, to := range map[string]string{
		".build/webapp-linux-amd64": "dist/shop",
		"files/mysql/seed.sql":      "db/schema.sql",
	} {
		to = filepath.Join(rig.Repository, to)
		if err := os.Mkdir(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(filepath.Dir(to)) })
		rig.Must(t, "cp", filepath.Join(rig.Repository, from), to)
	}
	t.Cleanup(func() { os.Remove(filepath.Join(rig.Repository, "shop.pkrvars.hcl")) })
}

// makeMainVPC has the operator make the VPC that the example's stack file names: somebody else's.
func makeMainVPC(t *testing.T) {
	t.Helper()
	rig.MakeVPC(t, rig.VPC{
		Prefix:     "10.40",
		Tag:        "Name=main",
		PublicTag:  "tier=public",
		PrivateTag: "tier=private",
	}).Route(t)
}
