package policyeval

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// principals are those that a trust policy names, by their kind.
type principals map[string][]string

// principalAWS is the kind of principals that are accounts, users, roles and their sessions.
const principalAWS = "AWS"

const (
	everybody     = "*"
	accountDigits = 12 // of an account's number, which stands for its root
)

var principalKinds = []string{principalAWS, "Service", "Federated", "CanonicalUser"}

func readPrincipals(members map[string]json.RawMessage) (is, not principals, err error) {
	yes, has := members["Principal"]
	no, hasNot := members["NotPrincipal"]
	switch {
	case has == hasNot:
		return nil, nil, errors.New("it has either Principal or NotPrincipal")
	case has:
		is, err = readPrincipal(yes)
		return is, nil, err
	}
	not, err = readPrincipal(no)
	return nil, not, err
}

func readPrincipal(raw json.RawMessage) (principals, error) {
	if text, err := one(raw, "Principal"); err == nil {
		if text != everybody {
			return nil, fmt.Errorf("principal %q: it is *, or an object of kinds of principals", text)
		}
		return principals{principalAWS: {everybody}}, nil
	}
	members, err := object(raw, "Principal", principalKinds...)
	if err != nil {
		return nil, err
	}
	all := principals{}
	for _, kind := range slices.Sorted(maps.Keys(members)) {
		if all[kind], err = texts(members[kind], "Principal "+kind); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Caller is the user or the session that wants to assume a role.
type Caller struct {
	ARN string // of a user, or of a role's session
	// Role is the ARN of the session's role, empty for a user.
	Role    string
	Account string
}

// trusted is the way in which a trust policy names somebody.
type trusted int

const (
	unnamed   trusted = iota
	byAccount         // the identity's own policies decide
	byRole            // the role of a session: its boundary and its session's policies limit it
	byName            // the user or the session itself: nothing limits it but a deny
)

// names tells how principals name a caller.
func (p principals) names(c Caller) trusted {
	best := unnamed
	for _, name := range p[principalAWS] {
		how := unnamed
		switch {
		case name == everybody, name == c.ARN:
			how = byName
		case c.Role != "" && name == c.Role:
			how = byRole
		case len(name) == accountDigits && name == c.Account,
			strings.HasSuffix(name, ":"+c.Account+":root"):
			how = byAccount
		}
		best = max(best, how)
	}
	return best
}

// Trusts decides whether a caller of the role's own account may do an action with the role: both what its trust policy
// and what the caller's policies say counts. A policy that names the caller itself is enough; one that names the
// account leaves it to the caller's policies (IAM User Guide, Policy evaluation logic, "Evaluating policies within a
// single account").
func (d *Document) Trusts(c Caller, p Policies, r Request) Decision {
	how := unnamed
	for _, s := range d.statements {
		named := s.principals.names(c)
		if s.principals == nil && s.noPrincipals.names(c) == unnamed {
			named = byAccount
		}
		if named == unnamed || !d.concerns(s, r) {
			continue
		}
		if s.deny {
			return Decision{Deny: true, By: byTrust}
		}
		how = max(how, named)
	}
	switch how {
	case unnamed:
		if own := p.Decide(r); own.Deny {
			return own
		}
		return Decision{By: byTrust}
	case byName:
		r.Granted = true
	case byRole:
		p.Identity = append(slices.Clone(p.Identity), everything)
	}
	return p.Decide(r)
}

// everything allows all.
var everything = &Document{statements: []statement{{actions: []string{"*"}, resources: []string{"*"}}}}
