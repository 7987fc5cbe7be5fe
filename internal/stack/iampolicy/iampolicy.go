// Package iampolicy makes the IAM policies of the people and runners that bake images and run stacks: the actions that
// each of them needs and no more, limited to the names and tags of Goldsmith's resources. It calls no API, and does not
// know an account's own guardrails.
package iampolicy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// Purpose is the kind of work that a policy allows.
type Purpose string

// Purposes. Bootstrap is for who makes a stack, with its first bake and its first deployment, and who ends it: it alone
// may make networks and roles.
const (
	All       Purpose = "all"
	Bake      Purpose = "bake"
	Deploy    Purpose = "deploy"
	Bootstrap Purpose = "bootstrap"
	Read      Purpose = "read"
	CI        Purpose = "ci"       // bakes and deploys
	Boundary  Purpose = "boundary" // of the roles that instances have
)

// Purposes are all of them.
var Purposes = []Purpose{All, Bake, Deploy, Bootstrap, Read, CI, Boundary}

// allows are the columns of the table of grants that a purpose has.
var allows = map[Purpose]string{
	All:       "bdsr",
	Bake:      "b",
	Deploy:    "d",
	Bootstrap: "bdsr",
	Read:      "r",
	CI:        "bd",
}

// Request has the purpose and the scope of a policy.
type Request struct {
	Purpose Purpose
	// Region says in which partition the account is, and, where it is not empty, which region is meant.
	Region string
	// Stack is the one stack that is meant; empty is each.
	Stack string
	// Groups says whether tiers may be kept by Auto Scaling groups, which those who end a stack look for in any case;
	// Networks whether Goldsmith makes networks.
	Groups, Networks bool
	// PermissionsBoundary is the ARN of a policy that the roles which are made must have as their boundary.
	PermissionsBoundary string
}

// Policy returns the policy, as JSON.
func (r Request) Policy() ([]byte, error) {
	if !slices.Contains(Purposes, r.Purpose) {
		return nil, fmt.Errorf("there is no policy for %q", r.Purpose)
	}
	statements := r.boundary()
	if r.Purpose != Boundary {
		statements = r.statements()
	}
	return json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": statements}, "", "  ")
}

// statement is one of a policy. The order of its members is that of AWS's own policies. It has no Sid: IAM needs none,
// and the largest policy has no room for them, see TestPoliciesFit.
type statement struct {
	Effect    string
	Action    []string
	Resource  any
	Condition map[string]map[string]any `json:",omitempty"`
}

func (r Request) statements() []statement {
	var all []statement
	add := func(on scope, resource any, condition ...map[string]map[string]any) {
		one := statement{Effect: "Allow", Action: r.actions(on, "bdsr"), Resource: resource}
		for _, c := range condition {
			one.Condition = c
		}
		if len(one.Action) > 0 {
			all = append(all, one)
		}
	}
	add(anything, "*")
	add(tagging, "*", when("Null", "ec2:CreateAction", "false"))
	for _, own := range r.owned() {
		actions := append(r.actions(tagged, own.who), r.actions(tagging, own.who)...)
		if len(actions) > 0 {
			all = append(all, statement{"Allow", actions, "*", own.condition})
		}
	}
	add(groups, r.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/"+r.name()+"*"))
	add(parameters, r.parameters())
	looks, made := r.roles()
	add(roleLooks, looks)
	if last := len(all) - 1; slices.Equal(looks, made) {
		all[last].Action = append(all[last].Action, r.actions(roleNames, "bdsr")...)
	} else {
		add(roleNames, made)
	}
	made = slices.DeleteFunc(slices.Clone(made), isProfile)
	if r.PermissionsBoundary == "" {
		add(boundedRoles, made)
	} else {
		add(boundedRoles, made, when("StringEquals", "iam:PermissionsBoundary", r.PermissionsBoundary))
	}
	partition := awsconfig.PartitionOf(r.Region)
	add(passRole, slices.DeleteFunc(slices.Clone(looks), isProfile),
		when("StringEquals", "iam:PassedToService", partition.EC2Principal()))
	// The services' name says all that the roles' would, and a policy may not be longer.
	add(serviceRoles, "*", when("StringEquals", "iam:AWSServiceName", r.serviceLinked()))
	add(keys, "*", when("StringLike", "kms:ViaService", partition.ViaService("ec2", r.region())))
	if slices.Contains(r.actions(anything, "bd"), "ec2:RunInstances") {
		// The credentials of an instance are for who gets a token of its metadata service alone. A launch that does not
		// say so is refused too: then the key has no value.
		all = append(all, statement{"Deny", []string{"ec2:RunInstances"}, r.arn("ec2", "instance/*"),
			when("StringNotEquals", "ec2:MetadataHttpTokens", "required")})
	}
	if r.Purpose == Read { // who looks needs no secret, and AWS's own key decrypts for all of the account
		all = append(all, statement{"Deny", []string{"kms:Decrypt"}, "*",
			when("StringLike", "kms:ViaService", partition.ViaService("ssm", r.region()))})
	}
	return all
}

func isProfile(arn string) bool { return strings.Contains(arn, ":instance-profile/") }

// actions are those of a scope that the purpose has, of the columns who, each once and in order.
func (r Request) actions(on scope, who string) []string {
	has := func(column rune) bool {
		return strings.ContainsRune(allows[r.Purpose], column) && strings.ContainsRune(who, column)
	}
	// Who ends a stack looks for groups in any case: the stack file may have had some before.
	grouped := r.Groups || strings.Contains(allows[r.Purpose], "s")
	var all []string
	for _, g := range grants {
		if g.on != on || !strings.ContainsFunc(g.who, has) || g.group && !grouped || g.network && !r.Networks {
			continue
		}
		for _, action := range g.actions {
			if !slices.Contains(all, action) {
				all = append(all, action)
			}
		}
	}
	slices.Sort(all)
	return all
}

// owned are the resources with a tag of Goldsmith's, as a condition, and the letters of those who change and end them.
type owned struct {
	who       string
	condition map[string]map[string]any
}

// owned are the resources of a stack, and those of a build, with the instances of its proof.
func (r Request) owned() []owned {
	stack := when("Null", "aws:ResourceTag/goldsmith:stack", "false")
	if r.Stack != "" {
		stack = when("StringEquals", "aws:ResourceTag/goldsmith:stack", r.Stack)
	}
	return []owned{
		{"ds", stack},
		{"b", when("Null", "aws:ResourceTag/goldsmith:build", "false")},
	}
}

func when(operator, key string, value any) map[string]map[string]any {
	return map[string]map[string]any{operator: {key: value}}
}

// name begins the names of a stack's roles and groups.
func (r Request) name() string {
	if r.Stack == "" {
		return "goldsmith-"
	}
	return "goldsmith-" + r.Stack + "-"
}

// roles are the ARNs of the roles and profiles that are looked at and passed on, and of those that are made and
// removed: who does not set a stack up makes none but a build's.
func (r Request) roles() (looks, made []string) {
	for _, kind := range []string{"role/", "instance-profile/"} {
		all := []string{r.global("iam", kind+r.name()+"*")}
		build := r.global("iam", kind+"goldsmith-build-*")
		if r.Stack != "" && strings.Contains(allows[r.Purpose], "b") {
			all = append(all, build)
		}
		looks = append(looks, all...)
		if strings.Contains(allows[r.Purpose], "s") {
			made = append(made, all...)
		} else {
			made = append(made, build)
		}
	}
	return looks, made
}

// parameters are the ARNs of the stack's parameters. Which releases there are is asked by path at the top, for the
// images of all stacks: whether IAM is asked for that path with its last slash is not documented.
func (r Request) parameters() []string {
	all := []string{"parameter/goldsmith", "parameter/goldsmith/*"}
	if r.Stack != "" {
		all = []string{"parameter/goldsmith", "parameter/goldsmith/", "parameter/goldsmith/" + r.Stack,
			"parameter/goldsmith/" + r.Stack + "/*"}
	}
	for i, resource := range all {
		all[i] = r.arn("ssm", resource)
	}
	return all
}

func (r Request) region() string {
	if r.Region == "" {
		return "*"
	}
	return r.Region
}

func (r Request) arn(service, resource string) string {
	return "arn:" + awsconfig.PartitionOf(r.Region).Name + ":" + service + ":" + r.region() + ":*:" + resource
}

func (r Request) global(service, resource string) string {
	return "arn:" + awsconfig.PartitionOf(r.Region).Name + ":" + service + "::*:" + resource
}

// serviceLinked are the services that make a role of their own in an account that has none yet: for the first spot
// instance, the first group and the first load balancer (IAM User Guide, Create a service-linked role).
func (r Request) serviceLinked() []string {
	var all []string
	if strings.Contains(allows[r.Purpose], "b") {
		all = append(all, "spot.amazonaws.com")
	}
	if r.Groups && strings.Contains(allows[r.Purpose], "s") {
		all = append(all, "autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com")
	}
	return all
}

// boundary is the most that a role of an instance may have: its stack's parameters, and their decryption.
func (r Request) boundary() []statement {
	return []statement{
		{
			Effect:   "Allow",
			Action:   []string{"ssm:GetParameter", "ssm:GetParameters"},
			Resource: r.parameters(),
		},
		{
			Effect:   "Allow",
			Action:   []string{"kms:Decrypt"},
			Resource: "*",
			Condition: when("StringLike", "kms:ViaService",
				awsconfig.PartitionOf(r.Region).ViaService("ssm", r.region())),
		},
	}
}
