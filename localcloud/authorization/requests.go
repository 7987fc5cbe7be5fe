package authorization

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// Mapper knows what calls ask for.
type Mapper struct {
	moto    *moto.Client
	records *records.Store
}

// NewMapper makes a mapper that looks resources and their tags up in these.
func NewMapper(moto *moto.Client, records *records.Store) *Mapper {
	return &Mapper{moto: moto, records: records}
}

// Requests are the requests for authorization that AWS makes of a call, all of which must be allowed: the call's own
// action on each resource that it is about, and what it asks for beside, ec2:CreateTags, iam:PassRole or kms:Decrypt
// for example. Their contexts have the keys of the call and of the resources, not those of the caller. None means that
// the call is allowed to everybody with a key. It only looks, and a resource that is not there has no tags; so it has
// to be asked before the call is carried out.
func (m *Mapper) Requests(ctx context.Context, c *awsquery.Call) ([]policyeval.Request, error) {
	q := &question{m: m, c: c}
	var err error
	switch c.Service {
	case "ec2":
		err = q.ec2(ctx)
	case "iam":
		err = q.iam(ctx)
	case "sts":
		q.sts()
	case "ssm":
		err = q.ssm(ctx)
	case "autoscaling":
		err = q.autoscaling(ctx)
	case "elasticloadbalancing":
		err = q.balancing(ctx)
	case "ebs":
		err = q.ebs(ctx)
	case awsquery.CheckIPService:
	default:
		q.ask(c.Service+":"+c.Action(), "*")
	}
	if err != nil {
		return nil, fmt.Errorf("find out what %s asks IAM for: %w", c, err)
	}
	return q.requests, nil
}

// question collects what one call asks for.
type question struct {
	m        *Mapper
	c        *awsquery.Call
	requests []policyeval.Request
}

// ask adds a request. Its keys are pairs of names and values; an empty value is none.
func (q *question) ask(action, resource string, keys ...string) policyeval.Context {
	context := policyeval.Of("aws:RequestedRegion", awsquery.Region)
	for i := 0; i+1 < len(keys); i += 2 {
		if keys[i+1] != "" {
			context.Set(keys[i], keys[i+1])
		}
	}
	if resource != "*" {
		context.Set("aws:ResourceAccount", awsquery.Account)
	}
	q.requests = append(q.requests, policyeval.Request{Action: action, Resource: resource, Context: context})
	return context
}

// own asks for the call's own action.
func (q *question) own(resource string, keys ...string) policyeval.Context {
	return q.ask(q.c.Service+":"+q.c.Action(), resource, keys...)
}

// tags are those of a resource or of a request, in the order in which they were given.
type tags []tag

type tag struct{ Key, Value string }

// of has a context say the tags of a resource. prefixes are the services whose own key for that there is.
func (t tags) of(context policyeval.Context, prefixes ...string) {
	for _, prefix := range append(prefixes, "aws") {
		for _, one := range t {
			context.Set(prefix+":ResourceTag/"+one.Key, one.Value)
		}
	}
}

// asked has a context say the tags that a request gives or takes.
func (t tags) asked(context policyeval.Context) {
	if len(t) == 0 {
		return
	}
	var keys []string
	for _, one := range t {
		context.Set("aws:RequestTag/"+one.Key, one.Value)
		if !slices.Contains(keys, one.Key) {
			keys = append(keys, one.Key)
		}
	}
	context.Set("aws:TagKeys", keys...)
}

// formTags reads the tags of a form, those of Tags.member for example.
func formTags(c *awsquery.Call, list string) tags {
	var all tags
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("%s.%d.", list, i)
		key, ok := c.Form[prefix+"Key"]
		if !ok {
			return all
		}
		all = append(all, tag{key[0], c.Get(prefix + "Value")})
	}
}

// nodeTags reads tags of an answer.
func nodeTags(items []*awsquery.Node, key, value string) tags {
	var all tags
	for _, item := range items {
		all = append(all, tag{item.Get(key), item.Get(value)})
	}
	return all
}

// arn is that of a resource in the cloud's region.
func arn(service, resource string) string {
	return "arn:aws:" + service + ":" + awsquery.Region + ":" + awsquery.Account + ":" + resource
}

// iamARN is that of a resource of IAM's, which is in no region.
func iamARN(resource string) string { return "arn:aws:iam::" + awsquery.Account + ":" + resource }

// lookup reads an answer of moto's; what moto refuses, as it is not there for example, gives nil: who carries the call
// out says what is wrong with it.
func (q *question) lookup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	a, err := q.m.moto.Read(ctx, c)
	if err != nil || !a.OK() {
		return nil, err
	}
	return a.XML()
}

// ec2Principal is EC2's name as a principal, to which roles are passed.
const ec2Principal = "ec2.amazonaws.com"

// passRole asks whether the role of an instance profile, by name or ARN, may be passed to EC2's instances (IAM User
// Guide, Grant a user permissions to pass a role to an AWS service).
func (q *question) passRole(ctx context.Context, profile string) error {
	name := profile[strings.LastIndexByte(profile, '/')+1:]
	if name == "" {
		return nil
	}
	found, err := q.lookup(ctx, awsquery.NewCall("iam", "GetInstanceProfile", "InstanceProfileName", name))
	if err != nil {
		return err
	}
	for _, role := range found.Items("GetInstanceProfileResult", "InstanceProfile", "Roles") {
		q.passed(role.Get("Arn"))
	}
	return nil
}

func (q *question) passed(role string) {
	// The API reference of AddRoleToInstanceProfile has this for the instance, as nobody knows it yet.
	q.ask("iam:PassRole", role, "iam:PassedToService", ec2Principal,
		"iam:AssociatedResourceArn", "arn:aws:ec2:*:"+awsquery.Account+":instance/*")
}

// useKey asks for actions on a KMS key by way of a service. The keys that AWS keeps for a service allow that by their
// own policy (KMS Developer Guide, AWS managed keys): then only a deny counts.
func (q *question) useKey(key, service string, managed bool, actions []string, keys ...string) {
	switch {
	case strings.HasPrefix(key, "arn:"):
	case strings.HasPrefix(key, "alias/"):
		key = arn("kms", key)
	default:
		key = arn("kms", "key/"+key)
	}
	for _, action := range actions {
		q.ask("kms:"+action, key, append([]string{"kms:ViaService", service + "." + awsquery.Region + ".amazonaws.com",
			"kms:CallerAccount", awsquery.Account}, keys...)...)
		q.requests[len(q.requests)-1].Granted = managed
	}
}
