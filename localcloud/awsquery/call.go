package awsquery

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

// Call is one request for an AWS service, as it goes to moto.
type Call struct {
	Service string      `json:"service"`
	Method  string      `json:"method"`
	Path    string      `json:"path"` // with the query
	Header  http.Header `json:"header,omitempty"`
	Body    []byte      `json:"body,omitempty"`

	Form   url.Values `json:"-"` // of the query protocol
	Caller Caller     `json:"-"` // who signed it; nobody for a call of our own
}

// forwarded are the headers that moto looks at.
var forwarded = []string{"Content-Type", "X-Amz-Target", "X-Amz-Date", "Accept", "User-Agent", "X-Amz-Checksum",
	"X-Amz-Checksum-Algorithm", "X-Amz-Data-Length"}

// authorization tells moto which service is meant. Moto verifies nothing.
func authorization(service string) string {
	return "AWS4-HMAC-SHA256 Credential=local/20260101/" + Region + "/" + service +
		"/aws4_request, SignedHeaders=host, Signature=0"
}

// ReadCall reads a request, which is signed for a service, into a call.
func ReadCall(r *http.Request, service string, body []byte) (*Call, error) {
	c := &Call{
		Service: service,
		Method:  r.Method,
		Path:    withoutSignature(r.URL),
		Header:  http.Header{},
		Body:    body,
	}
	for _, name := range forwarded {
		if value := r.Header.Get(name); value != "" {
			c.Header.Set(name, value)
		}
	}
	c.Header.Set("Authorization", authorization(service))
	switch service {
	case "ssm", "servicequotas":
		return c, c.checkTarget()
	case "ebs", CheckIPService:
		c.Header.Del("X-Amz-Target")
		return c, nil
	}
	// The name of the operation is in the form, or, by GET, in the query: in one place, so that it is the same one for
	// all who look.
	c.Header.Del("X-Amz-Target")
	if query := unsignedQuery(r.URL); len(query) > 0 {
		if c.Method != http.MethodGet || len(body) > 0 {
			return c, Faultf(apierror.MalformedQueryString,
				"the parameters are in the query of a GET or in the form of a POST")
		}
		c.Method, c.Path, c.Body = http.MethodPost, "/", []byte(query.Encode())
		c.Header.Set("Content-Type", formType)
	}
	if c.Method != http.MethodPost {
		return c, Faultf(apierror.MissingAction, "The API is asked by GET with a query, or by POST")
	}
	if err := c.Parse(); err != nil {
		return c, err
	}
	if err := c.checkCharacters(); err != nil {
		return c, err
	}
	if !known(service, c.Action()) && c.Action() != "" {
		return c, Fault(apierror.InvalidAction, fmt.Sprintf("%.100q", c.Action()))
	}
	return c, nil
}

// checkCharacters refuses a request whose text no answer could carry. A line of a journal of before may have such text.
func (c *Call) checkCharacters() error {
	unreadable := func(r rune) bool { return !inXML(r) || r == utf8.RuneError }
	for _, name := range slices.Sorted(maps.Keys(c.Form)) {
		if !strings.ContainsFunc(name+c.Get(name), unreadable) {
			continue
		}
		row := apierror.ValidationError
		if c.Service == "ec2" {
			row = apierror.InvalidCharacter
		}
		return Faultf(row, "The parameter %.100q has a character that no answer could carry,"+
			" a control character for example", name)
	}
	return nil
}

// targets are prefixes of operations, by service, of those that speak JSON.
var targets = map[string]string{"ssm": "AmazonSSM.", "servicequotas": "ServiceQuotasV20190624."}

// checkTarget has the operation of a service that speaks JSON in the one place where it belongs: moto would
// find it elsewhere too.
func (c *Call) checkTarget() error {
	target, ok := strings.CutPrefix(c.Header.Get("X-Amz-Target"), targets[c.Service])
	kind, _, _ := strings.Cut(c.Header.Get("Content-Type"), ";")
	posted := c.Method == http.MethodPost && c.Path == "/" && kind == "application/x-amz-json-1.1"
	if !posted || !ok || !known(c.Service, target) {
		return Faultf(apierror.UnknownOperation,
			"the request is no operation of this service: a POST of JSON to /, with its X-Amz-Target")
	}
	return nil
}

const formType = "application/x-www-form-urlencoded; charset=utf-8"

// unsignedQuery is a URL's query without what a presigned one has of its signature.
func unsignedQuery(u *url.URL) url.Values {
	query := u.Query()
	maps.DeleteFunc(query, func(name string, _ []string) bool { return strings.HasPrefix(name, "X-Amz-") })
	return query
}

// withoutSignature is a path with its query, less what a presigned URL has of its signature.
func withoutSignature(u *url.URL) string {
	query := unsignedQuery(u)
	if len(query) == 0 {
		return u.EscapedPath()
	}
	return u.EscapedPath() + "?" + query.Encode()
}

// NewCall is a call of our own, in the query protocol.
func NewCall(service, action string, parameters ...string) *Call {
	version := map[string]string{
		"ec2":         "2016-11-15",
		"iam":         "2010-05-08",
		"sts":         "2011-06-15",
		"autoscaling": "2011-01-01",
	}[service]
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	return &Call{
		Service: service,
		Method:  http.MethodPost,
		Path:    "/",
		Form:    form,
		Header: http.Header{
			"Content-Type":  {formType},
			"Authorization": {authorization(service)},
		},
	}
}

// Parse reads the form of the query protocol, if the call is in it.
func (c *Call) Parse() error {
	if !strings.HasPrefix(c.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return nil
	}
	form, err := url.ParseQuery(string(c.Body))
	if err != nil {
		return Faultf(apierror.MalformedQueryString, "the form cannot be read: %v", err)
	}
	for name, values := range form {
		if len(values) > 1 { // of which moto would take another than is looked at here
			return Faultf(apierror.MalformedQueryString, "the parameter %.100q is there %d times", name, len(values))
		}
	}
	c.Form = form
	return nil
}

// Action is the operation's name; a REST call has none.
func (c *Call) Action() string {
	if target := c.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndexByte(target, '.')+1:]
	}
	return c.Form.Get("Action")
}

// String names the call in errors and logs.
func (c *Call) String() string {
	if action := c.Action(); action != "" {
		return action
	}
	return c.Service + " " + c.Method + " " + c.Path
}

// reading are the beginnings of the names of actions that change nothing. Temporary credentials are not kept either.
var reading = regexp.MustCompile(
	`^(Describe|Get|List|Search|BatchGet|AssumeRole|DecodeAuthorization|Simulate|Validate)`)

// Reads tells whether the call changes nothing that has to last.
func (c *Call) Reads() bool {
	if c.Action() == "" {
		return c.Method == http.MethodGet || c.Method == http.MethodHead
	}
	return reading.MatchString(c.Action())
}

// Encoded is the body as it is sent.
func (c *Call) Encoded() []byte {
	if c.Form == nil {
		return c.Body
	}
	return []byte(c.Form.Encode())
}

// Get is a parameter of the form.
func (c *Call) Get(name string) string { return c.Form.Get(name) }

// List are the values of a form's list, Name.1, Name.2 and so on.
func (c *Call) List(name string) []string {
	var values []string
	for i := 1; ; i++ {
		value, ok := c.Form[fmt.Sprintf("%s.%d", name, i)]
		if !ok {
			return values
		}
		values = append(values, value[0])
	}
}

// Clone copies a call whose form is going to be changed.
func (c *Call) Clone() *Call {
	other := *c
	other.Header = c.Header.Clone()
	other.Body = bytes.Clone(c.Body)
	other.Form = maps.Clone(c.Form)
	return &other
}

// Set changes a parameter of the form.
func (c *Call) Set(name, value string) { c.Form.Set(name, value) }

// Drop removes all parameters whose names start with one of these.
func (c *Call) Drop(prefixes ...string) {
	maps.DeleteFunc(c.Form, func(name string, _ []string) bool {
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	})
}

// With is a copy of the call whose list of this name is these values.
func (c *Call) With(name string, values ...string) *Call {
	other := c.Clone()
	other.Drop(name + ".")
	for i, value := range values {
		other.Set(fmt.Sprintf("%s.%d", name, i+1), value)
	}
	return other
}

// CheckIPService is the name in the signature of a question for the own address; AWS has no such service.
const CheckIPService = "checkip"

// Caller identifies the signer of a call.
type Caller struct {
	ARN    string
	UserID string
	// Operator says that the key is that of whoever runs the cloud, or a session of it.
	Operator bool
	// Machine says that the key came from a machine's metadata service, at first or second hand.
	Machine bool
	// SessionPolicy and SessionPolicyARNs, with spaces between them, are the policies that limit a role's session.
	SessionPolicy, SessionPolicyARNs string
	// Source is the address that the call came from.
	Source string
}

// DryRun tells whether a call is a dry run. What is neither yes nor no is an error: it must not be carried out by
// mistake.
func (c *Call) DryRun() (bool, error) {
	switch given := strings.ToLower(c.Get("DryRun")); given {
	case "true", "1":
		return true, nil
	case "", "false", "0":
		return false, nil
	default:
		return false, Fault(apierror.InvalidValue, c.Get("DryRun"), "DryRun").Adding("It is true or false.")
	}
}

// Region and Account are the only ones that the local cloud has.
const (
	Region  = "us-east-1"
	Account = "123456789012"
)

// Handler answers a call.
type Handler func(context.Context, *Call) (*Node, error)
