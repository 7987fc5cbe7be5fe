package authorization

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// Patience tells how late changed policies count; the cloud's manners do.
type Patience interface {
	// PolicyTakes is how long some calls do not see that a user's or a role's rights changed.
	PolicyTakes(principal string) time.Duration
	// PolicyMissed draws whether one call does not see it.
	PolicyMissed(principal string) bool
}

// Asks tells what a call asks IAM for, as Mapper.Requests does.
type Asks func() ([]policyeval.Request, error)

// Authorizer decides calls by their callers' policies, as they are at the moment of the call.
type Authorizer struct {
	reader reader
	late   Patience

	mu sync.Mutex
	// known are identities that were read since IAM was changed last; changes counts the changes.
	known   map[principal]identity
	changes int
	// former are identities as some calls still see them.
	former map[principal]formerly
}

// formerly is an identity as it was.
type formerly struct {
	was   identity
	until time.Time
}

// New makes an authorizer that reads policies from there.
func New(moto *moto.Client, late Patience) *Authorizer {
	return &Authorizer{
		reader: reader{moto},
		late:   late,
		known:  map[principal]identity{},
		former: map[principal]formerly{},
	}
}

// Authorize refuses a call that its caller's policies do not allow. The operator of the cloud may do everything, but
// assume a role that does not trust its account: what its other calls ask for is not looked up.
func (a *Authorizer) Authorize(ctx context.Context, c *awsquery.Call, asks Asks) error {
	assumes := c.Service == "sts" && c.Action() == "AssumeRole"
	if c.Caller.Operator && !assumes {
		return nil
	}
	requests, err := asks()
	if err != nil || len(requests) == 0 {
		return err
	}
	who, err := a.caller(ctx, c.Caller)
	if err != nil {
		return fmt.Errorf("read the policies of %s: %w", c.Caller.ARN, err)
	}
	for _, r := range requests {
		r.Context = maps.Clone(r.Context) // the caller's keys are no part of what the call asks for
		a.describe(c, who, r.Context)
		decision, err := a.decide(ctx, c, who, r)
		if err != nil {
			return err
		}
		if !decision.Allowed {
			return refusal(c, r, decision)
		}
	}
	return nil
}

// decide asks the caller's policies, and, for a role that is to be assumed, whom it trusts.
func (a *Authorizer) decide(ctx context.Context, c *awsquery.Call, who identity,
	r policyeval.Request) (policyeval.Decision, error) {
	if r.Action != "sts:AssumeRole" {
		return who.policies.Decide(r), nil
	}
	trust, err := a.reader.trust(ctx, r.Resource[strings.LastIndexByte(r.Resource, '/')+1:])
	if err != nil {
		return policyeval.Decision{}, err
	}
	if trust == nil { // AWS does not tell who asks whether there is such a role
		return policyeval.Decision{By: "identity-based policy"}, nil
	}
	caller := policyeval.Caller{ARN: c.Caller.ARN, Account: awsquery.Account}
	if principalOf(c.Caller).kind == "Role" {
		caller.Role = who.arn
	}
	return trust.Trusts(caller, who.policies, r), nil
}

// operators may do everything.
var operators = sync.OnceValue(func() policyeval.Policies {
	all, err := policyeval.ParseIdentity(
		[]byte(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`))
	if err != nil {
		panic(err)
	}
	return policyeval.Policies{Identity: []*policyeval.Document{all}}
})

// caller is a caller with its policies, and with its session's.
func (a *Authorizer) caller(ctx context.Context, c awsquery.Caller) (identity, error) {
	if c.Operator {
		return identity{arn: c.ARN, id: c.UserID, policies: operators()}, nil
	}
	p := principalOf(c)
	a.mu.Lock()
	old, ok := a.former[p]
	a.mu.Unlock()
	var who identity
	if ok && time.Now().Before(old.until) && a.late.PolicyMissed(p.name) {
		who = old.was
	} else {
		var err error
		if who, err = a.identity(ctx, p); err != nil {
			return identity{}, err
		}
	}
	if c.SessionPolicy != "" {
		d, err := policyeval.ParseIdentity([]byte(c.SessionPolicy))
		if err != nil {
			return identity{}, err
		}
		who.policies.Session = append(who.policies.Session, d)
	}
	for _, at := range strings.Fields(c.SessionPolicyARNs) {
		d, err := a.reader.managed(ctx, at)
		if err != nil {
			return identity{}, err
		}
		who.policies.Session = append(who.policies.Session, d)
	}
	return who, nil
}

// identity is a principal as it is now.
func (a *Authorizer) identity(ctx context.Context, p principal) (identity, error) {
	a.mu.Lock()
	found, ok := a.known[p]
	changes := a.changes
	a.mu.Unlock()
	if ok {
		return found, nil
	}
	found, err := a.reader.read(ctx, p)
	if err != nil {
		return identity{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changes == changes {
		a.known[p] = found
	}
	return found, nil
}

// Changing is called before a call of IAM's is carried out that changes something, and what it returns after that. It
// refuses policies that nobody could evaluate.
func (a *Authorizer) Changing(ctx context.Context, c *awsquery.Call) (changed func(), err error) {
	if err = checkPolicies(c); err != nil {
		return nil, err
	}
	var before map[principal]formerly
	affected, err := a.reader.affected(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("find out whose rights %s changes: %w", c, err)
	}
	for _, p := range affected {
		takes := a.late.PolicyTakes(p.name)
		if takes == 0 {
			continue
		}
		was, err := a.identity(ctx, p)
		if err != nil {
			return nil, err
		}
		if before == nil {
			before = map[principal]formerly{}
		}
		before[p] = formerly{was, time.Now().Add(takes)}
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		clear(a.known)
		a.changes++
		for p, f := range before {
			a.former[p] = f
		}
	}, nil
}

// checkPolicies refuses a policy that is none.
func checkPolicies(c *awsquery.Call) error {
	for _, of := range []struct {
		parameter string
		trust     bool
	}{
		{"AssumeRolePolicyDocument", true},
		{"PolicyDocument", c.Action() == "UpdateAssumeRolePolicy"},
	} {
		text, ok := c.Form[of.parameter]
		if !ok {
			continue
		}
		parse := policyeval.ParseIdentity
		if of.trust {
			parse = policyeval.ParseTrust
		}
		if _, err := parse([]byte(text[0])); err != nil {
			return awsquery.Faultf(apierror.MalformedPolicyDocument, "%s of %s: %v", of.parameter, c.Action(), err)
		}
	}
	return nil
}

// describe adds the keys of the caller and of the call's time to a request's context (IAM User Guide, AWS global
// condition context keys).
func (a *Authorizer) describe(c *awsquery.Call, who identity, context policyeval.Context) {
	now := time.Now().UTC()
	p := principalOf(c.Caller)
	context.Set("aws:CurrentTime", now.Format(time.RFC3339))
	context.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	context.Set("aws:PrincipalAccount", awsquery.Account)
	context.Set("aws:PrincipalArn", who.arn)
	context.Set("aws:ViaAWSService", "false")
	context.Set("aws:PrincipalIsAWSService", "false")
	if agent := c.Header.Get("User-Agent"); agent != "" {
		context.Set("aws:UserAgent", agent)
	}
	if c.Caller.Source != "" {
		context.Set("aws:SourceIp", c.Caller.Source)
	}
	for _, one := range who.tags {
		context.Set("aws:PrincipalTag/"+one.Key, one.Value)
	}
	if p.kind == "User" {
		context.Set("aws:PrincipalType", "User")
		context.Set("aws:username", p.name)
		context.Set("aws:userid", who.id)
		return
	}
	context.Set("aws:PrincipalType", "AssumedRole")
	context.Set("aws:userid", c.Caller.UserID)
	if instance := c.Caller.ARN[strings.LastIndexByte(c.Caller.ARN, '/')+1:]; c.Caller.Machine &&
		awsquery.ResourceID.FindString(instance) == instance {
		context.Set("ec2:SourceInstanceARN", arn("ec2", "instance/"+instance))
	}
}

// refusal is the error of a call that is not allowed, in the words of IAM's User Guide (Troubleshoot access denied
// error messages).
func refusal(c *awsquery.Call, r policyeval.Request, d policyeval.Decision) error {
	on := ""
	if r.Resource != "*" {
		on = " on resource: " + r.Resource
	}
	because := fmt.Sprintf("because no %s allows the %s action", d.By, r.Action)
	if d.Deny {
		article := "a"
		if strings.ContainsRune("aeiou", rune(d.By[0])) {
			article = "an"
		}
		because = fmt.Sprintf("with an explicit deny in %s %s", article, d.By)
	}
	said := fmt.Sprintf("User: %s is not authorized to perform: %s%s %s", c.Caller.ARN, r.Action, on, because)
	if c.Service == "ec2" {
		return awsquery.Fault(apierror.UnauthorizedOperation).Adding("%s", said)
	}
	row := apierror.AccessDenied
	if awsquery.JSONServices[c.Service] {
		row = apierror.AccessDeniedException
	}
	e := awsquery.Faultf(row, "%s", said)
	if c.Service == "ssm" { // each error of a client's has this status there
		e.Status = http.StatusBadRequest
	}
	return e
}
