package servicemodel

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// Check refuses a call that its service's model does not have, nor the pinned SDK. A service without a model here is
// not looked at; no models check nothing.
func (m *Models) Check(c *awsquery.Call) error {
	return m.look(c, &checker{beside: func(member string) bool { return newer()[c.Service+" "+member] }})
}

// Beside are the members of a call that its service's model does not have, in the form of newer.txt: its action and the
// member's path, with N for the number of an element. Values are not looked at.
func (m *Models) Beside(c *awsquery.Call) ([]string, error) {
	var all []string
	err := m.look(c, &checker{anyValue: true, beside: func(member string) bool {
		all = append(all, member)
		return true
	}})
	return all, err
}

func (m *Models) look(c *awsquery.Call, k *checker) error {
	if m == nil || m.services[c.Service] == nil || c.Action() == "" {
		return nil
	}
	s, err := m.services[c.Service]()
	if err != nil {
		return err
	}
	operation, ok := s.Operations[c.Action()]
	if !ok {
		return nil // an action that is newer than the model; awsquery knows which there are
	}
	k.service, k.action, k.ec2 = s, c.Action(), c.Service == "ec2"
	input := &shape{Type: "structure"}
	if operation.Input != nil {
		input = s.Shapes[operation.Input.Shape]
	}
	if awsquery.JSONServices[c.Service] {
		return k.checkBody(input, c.Body)
	}
	form := &node{}
	for _, name := range slices.Sorted(maps.Keys(c.Form)) {
		if name == "Action" || name == "Version" {
			continue
		}
		form.put(strings.Split(name, "."), c.Get(name))
	}
	return k.structure(input, form, "")
}

// node is a part of a form: a value, or members by their names, or both where a caller is wrong.
type node struct {
	value   *string
	members map[string]*node
}

func (n *node) put(path []string, value string) {
	for _, name := range path {
		if n.members == nil {
			n.members = map[string]*node{}
		}
		if n.members[name] == nil {
			n.members[name] = &node{}
		}
		n = n.members[name]
	}
	n.value = &value
}

func (n *node) names() []string { return slices.Sorted(maps.Keys(n.members)) }

// checker checks one call.
type checker struct {
	service *service
	action  string
	ec2     bool
	// beside tells of a member that the model does not have whether it is one all the same.
	beside func(member string) bool
	// anyValue leaves values as they are.
	anyValue bool
}

// has tells whether there is a member that the model does not have.
func (k *checker) has(path string) bool {
	names := strings.Split(path, ".")
	for i, name := range names {
		if _, err := strconv.Atoi(name); err == nil {
			names[i] = "N"
		}
	}
	return k.beside(k.action + " " + strings.Join(names, "."))
}

func (k *checker) unknown(path string) error {
	if k.ec2 {
		return awsquery.Fault(apierror.UnknownParameter, path)
	}
	return k.invalid(path, "is not a member of the request")
}

func (k *checker) missing(path string) error {
	if k.ec2 {
		return awsquery.Fault(apierror.MissingParameter, path)
	}
	return k.invalid(path, "must not be null")
}

func (k *checker) wrong(path, value, why string) error {
	if k.ec2 {
		return awsquery.Fault(apierror.InvalidValue, value, path).Adding("%s", why)
	}
	return k.invalid(path, why)
}

// invalid is the error of the services other than EC2 for a member.
func (k *checker) invalid(path, why string) error {
	row := apierror.ConstraintViolation
	if k.service.Metadata.Protocol == "json" {
		row = apierror.ConstraintViolationJSON
	}
	return awsquery.Fault(row, path, why)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (k *checker) structure(s *shape, n *node, path string) error {
	wire := map[string]reference{}
	for name, member := range s.Members {
		wire[k.service.wireName(name, member)] = member
	}
	for _, name := range n.names() {
		member, ok := wire[name]
		if !ok && k.has(join(path, name)) {
			continue
		}
		if !ok {
			return k.unknown(join(path, name))
		}
		if err := k.check(k.service.Shapes[member.Shape], n.members[name], join(path, name)); err != nil {
			return err
		}
	}
	for _, name := range s.Required {
		if wired := k.service.wireName(name, s.Members[name]); n.members[wired] == nil {
			return k.missing(join(path, wired))
		}
	}
	return nil
}

func (k *checker) check(s *shape, n *node, path string) error {
	switch s.Type {
	case "structure":
		if n.value != nil && *n.value != "" {
			return k.unknown(path)
		}
		return k.structure(s, n, path)
	case "list":
		return k.list(s, n, path)
	case "map":
		return nil // EC2 has none, and those of the others have no member that could be wrong
	}
	if n.members != nil || n.value == nil {
		return k.unknown(join(path, n.names()[0]))
	}
	if why := s.scalar(*n.value); why != "" && !k.anyValue {
		return k.wrong(path, *n.value, why)
	}
	if k.ec2 {
		return k.id(path, *n.value)
	}
	return nil
}

// list checks the elements of a list, which are numbered from 1 on. An empty one is an empty value.
func (k *checker) list(s *shape, n *node, path string) error {
	if n.value != nil && *n.value != "" {
		return k.unknown(path)
	}
	if !k.ec2 && !s.Flattened && n.members != nil {
		name := s.Member.LocationName
		if name == "" {
			name = "member"
		}
		for _, given := range n.names() {
			if given != name {
				return k.unknown(join(path, given))
			}
		}
		n, path = n.members[name], join(path, name)
	}
	for i := range len(n.members) {
		number := strconv.Itoa(i + 1)
		if n.members[number] == nil {
			return k.unknown(join(path, k.unnumbered(n)))
		}
		if err := k.check(k.service.Shapes[s.Member.Shape], n.members[number], join(path, number)); err != nil {
			return err
		}
	}
	return nil
}

// unnumbered is the first element of a list whose name is not the number of its place.
func (k *checker) unnumbered(n *node) string {
	for _, name := range n.names() {
		if number, err := strconv.Atoi(name); err != nil || number < 1 || number > len(n.members) {
			return name
		}
	}
	return n.names()[0]
}

// scalar says what is wrong with a value, or nothing.
func (s *shape) scalar(value string) string {
	switch s.Type {
	case "boolean":
		if !slices.Contains([]string{"true", "false", "1", "0"}, strings.ToLower(value)) {
			return "It is true or false."
		}
	case "integer", "long":
		number, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return "It is a whole number."
		}
		return s.within(float64(number), "a number")
	case "double", "float":
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return "It is a number."
		}
		return s.within(number, "a number")
	case "timestamp":
		if !timestamp(value) {
			return "It is a time of ISO 8601, as 2026-01-02T15:04:05Z."
		}
	case "blob":
		if _, err := base64.StdEncoding.DecodeString(value); err != nil {
			return "It is base64."
		}
	case "string":
		return s.within(float64(utf8.RuneCountInString(value)), "a length")
	}
	return ""
}

// within says between which bounds a number has to be that is not.
func (s *shape) within(number float64, what string) string {
	switch {
	case s.Min != nil && number < *s.Min:
		return fmt.Sprintf("It has %s of %v or more.", what, *s.Min)
	case s.Max != nil && number > *s.Max:
		return fmt.Sprintf("It has %s of %v or less.", what, *s.Max)
	}
	return ""
}

func timestamp(value string) bool {
	if _, err := strconv.ParseFloat(value, 64); err == nil {
		return true
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999", "2006-01-02T15:04Z", time.DateOnly} {
		if _, err := time.Parse(form, value); err == nil {
			return true
		}
	}
	return false
}

// checkBody checks a request in JSON.
func (k *checker) checkBody(input *shape, body []byte) error {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return awsquery.Faultf(apierror.SerializationException, "the request is no JSON: %v", err)
	}
	return k.value(input, value, "")
}

func (k *checker) value(s *shape, value any, path string) error {
	switch value := value.(type) {
	case nil:
		return nil
	case map[string]any:
		return k.object(s, value, path)
	case []any:
		if s.Type != "list" {
			return k.mistyped(s, path)
		}
		for i, element := range value {
			if err := k.value(k.service.Shapes[s.Member.Shape], element, join(path, strconv.Itoa(i+1))); err != nil {
				return err
			}
		}
		return nil
	}
	return k.leaf(s, value, path)
}

func (k *checker) object(s *shape, value map[string]any, path string) error {
	if s.Type == "map" {
		return nil
	}
	if s.Type != "structure" {
		return k.mistyped(s, path)
	}
	for _, name := range slices.Sorted(maps.Keys(value)) {
		member, ok := s.Members[name]
		if !ok && k.has(join(path, name)) {
			continue
		}
		if !ok {
			return k.unknown(join(path, name))
		}
		if err := k.value(k.service.Shapes[member.Shape], value[name], join(path, name)); err != nil {
			return err
		}
	}
	for _, name := range s.Required {
		if value[name] == nil {
			return k.missing(join(path, name))
		}
	}
	return nil
}

// leaf checks a text, a number or a truth value.
func (k *checker) leaf(s *shape, value any, path string) error {
	text := ""
	fits := false
	switch value := value.(type) {
	case string:
		text, fits = value, s.Type == "string" || s.Type == "blob" || s.Type == "timestamp"
	case bool:
		text, fits = strconv.FormatBool(value), s.Type == "boolean"
	case float64:
		text = strconv.FormatFloat(value, 'f', -1, 64)
		fits = slices.Contains([]string{"integer", "long", "double", "float", "timestamp"}, s.Type)
	}
	if !fits {
		return k.mistyped(s, path)
	}
	if why := s.scalar(text); why != "" && !k.anyValue {
		return k.wrong(path, text, why)
	}
	return nil
}

func (k *checker) mistyped(s *shape, path string) error {
	return awsquery.Faultf(apierror.SerializationException, "%s is to be a %s", path, s.Type)
}
