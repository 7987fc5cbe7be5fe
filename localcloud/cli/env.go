//go:build linux

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/daemon"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/identity"
)

func envCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "env", Short: "Print the environment that makes AWS clients use the local cloud", Args: cobra.NoArgs,
		Long: `Prints what a shell has to export so that the AWS CLI, the SDKs, Packer and Terraform use the local
cloud: its endpoint, and the access key of the cloud's operator, without which it answers nobody. The key was made by
"up"; root has it, and who called "up" by sudo has it in ~/.goldsmith/clouds.

Clients that are older than AWS_ENDPOINT_URL, as Debian 12's awscli and python3-boto3, are reached by
AWS_DATA_PATH: a directory of endpoint rules below your cache directory, which this command writes.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  eval \"$(goldsmith cloud env)\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := keyOf(cmd.Context(), *name)
			if err != nil {
				return err
			}
			endpoint, err := daemon.Endpoint(*name)
			if err != nil {
				return err
			}
			cache, err := os.UserCacheDir()
			if err != nil {
				return fmt.Errorf("write endpoint rules for older clients: %w", err)
			}
			rules := filepath.Join(cache, "goldsmith", *name, "botocore")
			if err := writeEndpointRules(rules, endpoint); err != nil {
				return fmt.Errorf("write endpoint rules for older clients: %w", err)
			}
			for _, pair := range environment(endpoint, key, rules, os.Getenv("AWS_DATA_PATH")) {
				fmt.Fprintf(cmd.OutOrStdout(), "export %s='%s'\n", pair[0], pair[1])
			}
			// One of another account's would be sent along with this key.
			fmt.Fprintln(cmd.OutOrStdout(), "unset AWS_SESSION_TOKEN")
			return nil
		},
	}
}

// keyOf is the caller's access key of a cloud.
func keyOf(ctx context.Context, name string) (identity.OperatorKey, error) {
	key, err := daemon.OperatorKey(name)
	switch {
	case !errors.Is(err, daemon.ErrNoKey):
		return key, err
	case !answers(ctx, name):
		return key, fmt.Errorf("read the access key of local cloud %s: it is not up\nhint: goldsmith cloud up%s",
			name, nameFlag(name))
	default:
		return key, fmt.Errorf("%w\nhint: goldsmith cloud up%s makes one; "+
			"as another user than root: sudo goldsmith cloud up%[2]s", err, nameFlag(name))
	}
}

// environment makes AWS clients use an endpoint. What dataPath held before is kept behind the rules, but for the rules
// of another cloud of ours.
func environment(endpoint string, key identity.OperatorKey, rules, dataPath string) [][2]string {
	paths := []string{rules}
	for _, path := range filepath.SplitList(dataPath) {
		if path != "" && filepath.Dir(filepath.Dir(path)) != filepath.Dir(filepath.Dir(rules)) {
			paths = append(paths, path)
		}
	}
	return [][2]string{
		{"AWS_ENDPOINT_URL", endpoint},
		{"AWS_ACCESS_KEY_ID", key.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", key.SecretAccessKey},
		{"AWS_REGION", awsquery.Region}, {"AWS_DEFAULT_REGION", awsquery.Region}, {"AWS_EC2_METADATA_DISABLED", "true"},
		{"AWS_DATA_PATH", strings.Join(paths, string(filepath.ListSeparator))},
	}
}

// services are those of the local cloud, with the version of their API by which botocore files them.
var services = []struct{ name, version string }{
	{"ec2", "2016-11-15"},
	{"ssm", "2014-11-06"},
	{"sts", "2011-06-15"},
	{"iam", "2010-05-08"},
	{"autoscaling", "2011-01-01"},
	{"elbv2", "2015-12-01"},
	{"ebs", "2019-11-02"},
}

// writeEndpointRules writes rules by which botocore finds each service at the endpoint, whatever the region.
func writeEndpointRules(dir, endpoint string) error {
	content, err := json.Marshal(endpointRules(endpoint))
	if err != nil {
		return err
	}
	for _, service := range services {
		path := filepath.Join(dir, service.name, service.version, "endpoint-rule-set-1.json")
		if before, err := os.ReadFile(path); err == nil && bytes.Equal(before, content) {
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// endpointRules is a rule set in the format of the AWS SDKs: the endpoint that the client was given, else this one.
func endpointRules(endpoint string) any {
	type object = map[string]any
	parameter := func(builtIn, kind string, required bool) object {
		p := object{"builtIn": builtIn, "type": kind, "required": required}
		if required {
			p["default"] = false
		}
		return p
	}
	rule := func(url any, conditions ...any) object {
		return object{
			"type":       "endpoint",
			"conditions": append([]any{}, conditions...),
			"endpoint":   object{"url": url, "properties": object{}, "headers": object{}},
		}
	}
	given := object{"ref": "Endpoint"}
	return object{
		"version": "1.0",
		"parameters": object{
			"Region":       parameter("AWS::Region", "String", false),
			"Endpoint":     parameter("SDK::Endpoint", "String", false),
			"UseDualStack": parameter("AWS::UseDualStack", "Boolean", true),
			"UseFIPS":      parameter("AWS::UseFIPS", "Boolean", true),
		},
		"rules": []any{rule(given, object{"fn": "isSet", "argv": []any{given}}), rule(endpoint)},
	}
}
