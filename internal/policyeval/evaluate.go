package policyeval

import "slices"

// Request is one question: may this be done with this resource?
type Request struct {
	Action   string // ec2:RunInstances
	Resource string // an ARN; * where the action has no resource
	Context  Context
	// Granted says that a policy of the resource's allows it, the key policy of a key that AWS keeps for example: then
	// only an explicit deny refuses it.
	Granted bool
}

// Policies are those that decide for a principal.
type Policies struct {
	Identity []*Document
	// Boundary limits what Identity allows; nil does not.
	Boundary *Document
	// Session are the policies that a role's session was made with; nil are none, and do not limit.
	Session []*Document
}

// Decision is the answer to a request. The zero value refuses, as nothing was said.
type Decision struct {
	Allowed bool
	// Deny says that a policy denies it; else none of a kind allows it.
	Deny bool
	// By is the kind of policy that decided, as AWS words it: "identity-based policy".
	By string
}

// Kinds of policy, in AWS's words (IAM User Guide, Troubleshoot access denied error messages).
const (
	byIdentity = "identity-based policy"
	byBoundary = "permissions boundary"
	bySession  = "session policy"
	byTrust    = "role trust policy"
)

// Decide evaluates a request.
func (p Policies) Decide(r Request) Decision {
	sets := []struct {
		by        string
		documents []*Document
		limits    bool
	}{
		{byIdentity, p.Identity, true},
		{byBoundary, []*Document{p.Boundary}, p.Boundary != nil},
		{bySession, p.Session, len(p.Session) > 0},
	}
	refused := Decision{}
	for _, set := range sets {
		if !set.limits {
			continue
		}
		allowed := false
		for _, d := range set.documents {
			allows, denies := d.says(r)
			if denies {
				return Decision{Deny: true, By: set.by}
			}
			allowed = allowed || allows
		}
		if !allowed && refused.By == "" {
			refused.By = set.by
		}
	}
	if refused.By != "" && !r.Granted {
		return refused
	}
	return Decision{Allowed: true}
}

// says tells what a document has to say of a request.
func (d *Document) says(r Request) (allows, denies bool) {
	for _, s := range d.statements {
		if !d.concerns(s, r) {
			continue
		}
		allows = allows || !s.deny
		denies = denies || s.deny
	}
	return allows, denies
}

// concerns tells whether a statement is about a request.
func (d *Document) concerns(s statement, r Request) bool {
	switch {
	case s.actions != nil && !matchesAction(s.actions, r.Action),
		s.notActions != nil && matchesAction(s.notActions, r.Action),
		s.resources != nil && !d.matchesResource(s.resources, r.Resource, r.Context),
		s.notResources != nil && d.matchesResource(s.notResources, r.Resource, r.Context):
		return false
	}
	return !slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.met(d, r.Context) })
}
