package authorization

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// principal is a user or a role, whose policies decide.
type principal struct{ kind, name string }

// principalOf is the principal whose policies decide for a caller.
func principalOf(c awsquery.Caller) principal {
	if _, session, ok := strings.Cut(c.ARN, ":assumed-role/"); ok {
		name, _, _ := strings.Cut(session, "/")
		return principal{"Role", name}
	}
	return principal{"User", c.ARN[strings.LastIndexByte(c.ARN, '/')+1:]}
}

// identity is a principal with its rights, as IAM has it. One that is not there has none.
type identity struct {
	arn, id  string
	tags     tags
	policies policyeval.Policies
}

// reader reads policies from moto.
type reader struct{ moto *moto.Client }

// ask returns nil for what is not there.
func (r reader) ask(ctx context.Context, action string, parameters ...string) (*awsquery.Node, error) {
	a, err := r.moto.Read(ctx, awsquery.NewCall("iam", action, parameters...))
	if err != nil {
		return nil, err
	}
	root, err := a.XML()
	if err != nil && !a.OK() {
		return nil, nil //nolint:nilnil // moto says that it is not there, and nil has no children
	}
	return root.At(action + "Result"), err
}

// read reads a principal and its policies: its own, those attached to it, and those of a user's groups.
func (r reader) read(ctx context.Context, p principal) (identity, error) {
	found, err := r.ask(ctx, "Get"+p.kind, p.kind+"Name", p.name)
	it := found.At(p.kind)
	if err != nil || it == nil {
		return identity{}, err
	}
	i := identity{
		arn:  it.Get("Arn"),
		id:   it.Get(p.kind + "Id"),
		tags: nodeTags(it.Items("Tags"), "Key", "Value"),
	}
	if limit := it.Get("PermissionsBoundary", "PermissionsBoundaryArn"); limit != "" {
		if i.policies.Boundary, err = r.managed(ctx, limit); err != nil {
			return identity{}, err
		}
	}
	holders := []principal{p}
	if p.kind == "User" {
		in, err := r.ask(ctx, "ListGroupsForUser", "UserName", p.name)
		if err != nil {
			return identity{}, err
		}
		for _, group := range in.Items("Groups") {
			holders = append(holders, principal{"Group", group.Get("GroupName")})
		}
	}
	for _, holder := range holders {
		documents, err := r.held(ctx, holder)
		if err != nil {
			return identity{}, err
		}
		i.policies.Identity = append(i.policies.Identity, documents...)
	}
	return i, nil
}

// held are the policies of a user, a role or a group.
func (r reader) held(ctx context.Context, p principal) ([]*policyeval.Document, error) {
	var all []*policyeval.Document
	names, err := r.ask(ctx, "List"+p.kind+"Policies", p.kind+"Name", p.name)
	if err != nil {
		return nil, err
	}
	for _, name := range names.All("PolicyNames", "*") {
		var answered *awsquery.Node
		if answered, err = r.ask(ctx, "Get"+p.kind+"Policy", p.kind+"Name", p.name, "PolicyName", name); err != nil {
			return nil, err
		}
		var d *policyeval.Document
		d, err = document(answered.Get("PolicyDocument"), policyeval.ParseIdentity)
		if err != nil {
			return nil, fmt.Errorf("policy %s of %s: %w", name, p.name, err)
		}
		all = append(all, d)
	}
	attached, err := r.ask(ctx, "ListAttached"+p.kind+"Policies", p.kind+"Name", p.name)
	if err != nil {
		return nil, err
	}
	for _, at := range attached.All("AttachedPolicies", "*", "PolicyArn") {
		d, err := r.managed(ctx, at)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// managed is the default version of a managed policy.
func (r reader) managed(ctx context.Context, at string) (*policyeval.Document, error) {
	found, err := r.ask(ctx, "GetPolicy", "PolicyArn", at)
	if err != nil {
		return nil, err
	}
	newest := found.Get("Policy", "DefaultVersionId")
	version, err := r.ask(ctx, "GetPolicyVersion", "PolicyArn", at, "VersionId", newest)
	if err != nil {
		return nil, err
	}
	d, err := document(version.Get("PolicyVersion", "Document"), policyeval.ParseIdentity)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", at, err)
	}
	return d, nil
}

// trust is a role's trust policy; nil where there is no such role.
func (r reader) trust(ctx context.Context, role string) (*policyeval.Document, error) {
	found, err := r.ask(ctx, "GetRole", "RoleName", role)
	if err != nil || found == nil {
		return nil, err
	}
	d, err := document(found.Get("Role", "AssumeRolePolicyDocument"), policyeval.ParseTrust)
	if err != nil {
		return nil, fmt.Errorf("trust policy of %s: %w", role, err)
	}
	return d, nil
}

// document reads a policy as IAM answers with it: the text is encoded as in a URL (API reference of GetRolePolicy).
func document(text string, parse func([]byte) (*policyeval.Document, error)) (*policyeval.Document, error) {
	if strings.HasPrefix(text, "%") {
		decoded, err := url.PathUnescape(text)
		if err != nil {
			return nil, fmt.Errorf("decode policy: %w", err)
		}
		text = decoded
	}
	return parse([]byte(text))
}

// affected are the principals whose rights a call of IAM's may change.
func (r reader) affected(ctx context.Context, c *awsquery.Call) ([]principal, error) {
	var all []principal
	if group := c.Get("GroupName"); group != "" && c.Get("UserName") == "" {
		members, err := r.ask(ctx, "GetGroup", "GroupName", group)
		if err != nil {
			return nil, err
		}
		for _, name := range members.All("Users", "*", "UserName") {
			all = append(all, principal{"User", name})
		}
	}
	for _, kind := range []string{"Role", "User"} {
		if name := c.Get(kind + "Name"); name != "" {
			all = append(all, principal{kind, name})
		}
	}
	if at := c.Get("PolicyArn"); at != "" && len(all) == 0 {
		holders, err := r.ask(ctx, "ListEntitiesForPolicy", "PolicyArn", at)
		if err != nil {
			return nil, err
		}
		for _, kind := range []string{"Role", "User"} {
			for _, name := range holders.All("Policy"+kind+"s", "*", kind+"Name") {
				all = append(all, principal{kind, name})
			}
		}
	}
	return all, nil
}
