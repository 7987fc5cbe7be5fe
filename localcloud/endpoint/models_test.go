package endpoint

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/servicemodel"
)

// TestCallsAreChecked has calls that are not in the model refused before anything is done, dry runs too.
func TestCallsAreChecked(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "ec2", "2016-11-15")
	if err := os.MkdirAll(in, 0o755); err != nil {
		t.Fatal(err)
	}
	const model = `{"metadata": {"protocol": "ec2"},
		"operations": {"CreateVpc": {"input": {"shape": "In"}}}, "shapes": {
		"In": {"type": "structure", "members": {"CidrBlock": {"shape": "Text"}, "DryRun": {"shape": "Yes"}}},
		"Text": {"type": "string"}, "Yes": {"type": "boolean"}}}`
	if err := os.WriteFile(filepath.Join(in, "service-2.json"), []byte(model), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, newRegion(t), newMachinery(t))
	s.config.Models = servicemodel.New(dir)
	refused(t, s, "UnknownParameter", "CreateVpc", "CidrBlock", "10.8.0.0/16", "Else", "1")
	refused(t, s, "UnknownParameter", "CreateVpc", "CidrBlock", "10.8.0.0/16", "Else", "1", "DryRun", "true")
	refused(t, s, "InvalidParameterValue", "CreateVpc", "CidrBlock", "10.8.0.0/16", "DryRun", "perhaps")
	refused(t, s, "DryRunOperation", "CreateVpc", "CidrBlock", "10.8.0.0/16", "DryRun", "true")
}
