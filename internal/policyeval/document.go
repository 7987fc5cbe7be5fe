package policyeval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Document is a policy that was read.
type Document struct {
	statements []statement
	// variables says that ${...} stands for a value: in documents of the older version it is text.
	variables bool
}

// statement is one of a policy. Of a pair of lists like actions and notActions one is nil.
type statement struct {
	sid                      string
	deny                     bool
	actions, notActions      []string
	resources, notResources  []string
	principals, noPrincipals principals
	conditions               []condition
}

// kind is the kind of a policy: what one must have, the other must not.
type kind int

const (
	identityPolicy kind = iota // names resources
	trustPolicy                // names principals
)

// ParseIdentity reads a policy of a user, group or role, a boundary or a session's policy. Its errors are worded for
// who wrote the policy.
func ParseIdentity(text []byte) (*Document, error) { return parse(text, identityPolicy) }

// ParseTrust reads a role's trust policy.
func ParseTrust(text []byte) (*Document, error) { return parse(text, trustPolicy) }

// versions of the language; the older one is also that of a document that says none.
const (
	olderVersion = "2008-10-17"
	version      = "2012-10-17"
)

func parse(text []byte, k kind) (*Document, error) {
	if err := unambiguous(text); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	members, err := object(text, "the policy", "Version", "Id", "Statement")
	if err != nil {
		return nil, err
	}
	d := &Document{}
	if d.variables, err = hasVariables(members["Version"]); err != nil {
		return nil, err
	}
	if raw, ok := members["Id"]; ok {
		if _, err := one(raw, "Id"); err != nil {
			return nil, err
		}
	}
	var list []json.RawMessage
	raw := members["Statement"]
	if bytes.HasPrefix(raw, []byte("{")) {
		list = []json.RawMessage{raw}
	} else if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
		return nil, errors.New("a policy has a statement, or a list of some")
	}
	seen := map[string]bool{}
	for i, raw := range list {
		s, err := readStatement(raw, k)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		if s.sid != "" && seen[s.sid] {
			return nil, fmt.Errorf("statement %d: its Sid %q is another's too", i+1, s.sid)
		}
		seen[s.sid] = true
		d.statements = append(d.statements, s)
	}
	return d, nil
}

// hasVariables reads a document's version: the older one, also where none is said, has no variables.
func hasVariables(raw json.RawMessage) (bool, error) {
	if raw == nil {
		return false, nil
	}
	given, err := one(raw, "Version")
	if err == nil && given != version && given != olderVersion {
		err = fmt.Errorf("version %q: it is %s or %s", given, version, olderVersion)
	}
	return given == version, err
}

// deepest is more than any policy needs: a condition's value is at depth 7.
const deepest = 10

// unambiguous refuses text that readers of JSON differ on: a member that is there twice, and more after the end.
func unambiguous(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := walk(decoder, 0); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after its end")
	}
	return nil
}

func walk(decoder *json.Decoder, depth int) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if depth > deepest {
		return errors.New("it is nested too deeply")
	}
	opening, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if opening == '{' {
			if token, err = decoder.Token(); err != nil {
				return err
			}
			name, _ := token.(string)
			if seen[name] {
				return fmt.Errorf("the member %q is there twice", name)
			}
			seen[name] = true
		}
		if err = walk(decoder, depth+1); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

// object reads the members of an object, of which it may have only some.
func object(raw json.RawMessage, what string, may ...string) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return nil, fmt.Errorf("%s is no JSON object", what)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if len(may) > 0 && !slices.Contains(may, name) {
			return nil, fmt.Errorf("%s has no element %q: it has %s", what, name, strings.Join(may, ", "))
		}
	}
	return members, nil
}

func one(raw json.RawMessage, what string) (string, error) {
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil || text == nil {
		return "", fmt.Errorf("%s is a string", what)
	}
	return *text, nil
}

// texts reads a string or a list of them.
func texts(raw json.RawMessage, what string) ([]string, error) {
	if text, err := one(raw, what); err == nil {
		return []string{text}, nil
	}
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil || list == nil || slices.Contains(list, nil) {
		return nil, fmt.Errorf("%s is a string, or a list of strings", what)
	}
	all := make([]string, 0, len(list))
	for _, text := range list {
		all = append(all, *text)
	}
	return all, nil
}

func readStatement(raw json.RawMessage, k kind) (statement, error) {
	var s statement
	members, err := object(raw, "a statement", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction",
		"Resource", "NotResource", "Condition")
	if err != nil {
		return s, err
	}
	if raw, ok := members["Sid"]; ok {
		if s.sid, err = one(raw, "Sid"); err != nil {
			return s, err
		}
	}
	effect, err := one(members["Effect"], "Effect")
	if err != nil || effect != "Allow" && effect != "Deny" {
		return s, fmt.Errorf("its Effect is Allow or Deny, not %s", members["Effect"])
	}
	s.deny = effect == "Deny"
	if s.actions, s.notActions, err = eitherOf(members, "Action"); err != nil {
		return s, err
	}
	for _, action := range append(slices.Clone(s.actions), s.notActions...) {
		if action != "*" && !actionName.MatchString(action) {
			return s, fmt.Errorf("action %q: it is *, or SERVICE:ACTION", action)
		}
	}
	if err = s.readSubjects(members, k); err != nil {
		return s, err
	}
	if raw, ok := members["Condition"]; ok {
		s.conditions, err = readConditions(raw)
	}
	return s, err
}

var actionName = regexp.MustCompile(`^[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+$`)

// readSubjects reads what a statement is about: resources, or who may do it.
func (s *statement) readSubjects(members map[string]json.RawMessage, k kind) (err error) {
	wanted, other := "Resource", "Principal"
	if k == trustPolicy {
		wanted, other = other, wanted
	}
	for _, name := range []string{other, "Not" + other} {
		if _, ok := members[name]; ok {
			return fmt.Errorf("this kind of policy has no %s", name)
		}
	}
	if k == trustPolicy {
		s.principals, s.noPrincipals, err = readPrincipals(members)
		return err
	}
	if s.resources, s.notResources, err = eitherOf(members, wanted); err != nil {
		return err
	}
	for _, resource := range append(slices.Clone(s.resources), s.notResources...) {
		if resource != "*" && !strings.HasPrefix(resource, "arn:") {
			return fmt.Errorf("resource %q: it is * or an ARN", resource)
		}
	}
	return nil
}

// eitherOf reads the one of a pair of elements, Action and NotAction for example, that a statement has.
func eitherOf(members map[string]json.RawMessage, name string) (is, not []string, err error) {
	yes, has := members[name]
	no, hasNot := members["Not"+name]
	switch {
	case has == hasNot:
		return nil, nil, fmt.Errorf("it has either %[1]s or Not%[1]s", name)
	case has:
		is, err = texts(yes, name)
		if err == nil && len(is) == 0 {
			err = fmt.Errorf("its %s is empty", name)
		}
		return is, nil, err
	}
	not, err = texts(no, "Not"+name)
	if err == nil && len(not) == 0 {
		err = fmt.Errorf("its Not%s is empty", name)
	}
	return nil, not, err
}
