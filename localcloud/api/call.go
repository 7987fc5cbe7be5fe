package api

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// call is one request for an AWS service, as it goes to the server behind.
type call struct {
	Service string      `json:"service"`
	Method  string      `json:"method"`
	Path    string      `json:"path"` // with the query
	Header  http.Header `json:"header,omitempty"`
	Body    []byte      `json:"body,omitempty"`

	form   url.Values // of the query protocol
	caller caller     // who signed it; nobody for a call of our own
}

// forwarded are the headers that the server behind looks at.
var forwarded = []string{"Content-Type", "X-Amz-Target", "X-Amz-Date", "Accept", "User-Agent", "X-Amz-Checksum", "X-Amz-Checksum-Algorithm", "X-Amz-Data-Length"}

// authorization is how the server behind learns which service is meant. It verifies nothing.
func authorization(service string) string {
	return "AWS4-HMAC-SHA256 Credential=local/20260101/" + Region + "/" + service + "/aws4_request, SignedHeaders=host, Signature=0"
}

// readCall reads a request, which is signed for a service, into a call.
func readCall(r *http.Request, service string, body []byte) (*call, error) {
	c := &call{Service: service, Method: r.Method, Path: withoutSignature(r.URL), Header: http.Header{}, Body: body}
	for _, name := range forwarded {
		if value := r.Header.Get(name); value != "" {
			c.Header.Set(name, value)
		}
	}
	c.Header.Set("Authorization", authorization(service))
	switch service {
	case "ssm":
		return c, c.checkTarget()
	case "ebs", checkIPService:
		c.Header.Del("X-Amz-Target")
		return c, nil
	}
	// The name of the operation is in the form, or, by GET, in the query: in one place, so that it is the same one for all
	// who look.
	c.Header.Del("X-Amz-Target")
	if query := unsignedQuery(r.URL); len(query) > 0 {
		if c.Method != http.MethodGet || len(body) > 0 {
			return c, fault("MalformedQueryString", "the parameters are in the query of a GET or in the form of a POST")
		}
		c.Method, c.Path, c.Body = http.MethodPost, "/", []byte(query.Encode())
		c.Header.Set("Content-Type", formType)
	}
	if c.Method != http.MethodPost {
		return c, fault("InvalidAction", "the API is asked by GET with a query, or by POST")
	}
	if err := c.parse(); err != nil {
		return c, err
	}
	if err := c.checkCharacters(); err != nil {
		return c, err
	}
	if !known(service, c.action()) && c.action() != "" {
		return c, fault("InvalidAction", "The action %.100q is not valid for this web service.", c.action())
	}
	return c, nil
}

// checkCharacters refuses a request whose text no answer could carry. A line of a journal of before may have such text.
func (c *call) checkCharacters() error {
	unreadable := func(r rune) bool { return !inXML(r) || r == utf8.RuneError }
	for _, name := range slices.Sorted(maps.Keys(c.form)) {
		if !strings.ContainsFunc(name+c.get(name), unreadable) {
			continue
		}
		code := "ValidationError"
		if c.Service == "ec2" {
			code = "InvalidCharacter"
		}
		return fault(code, "The parameter %.100q has a character that no answer could carry,"+
			" a control character for example", name)
	}
	return nil
}

// checkTarget has the operation of a service that speaks JSON in the one place where it belongs: the server behind would
// find it elsewhere too.
func (c *call) checkTarget() error {
	target, ok := strings.CutPrefix(c.Header.Get("X-Amz-Target"), "AmazonSSM.")
	kind, _, _ := strings.Cut(c.Header.Get("Content-Type"), ";")
	posted := c.Method == http.MethodPost && c.Path == "/" && kind == "application/x-amz-json-1.1"
	if !posted || !ok || !known("ssm", target) {
		return fault("UnknownOperationException",
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

// newCall is a call of our own, in the query protocol.
func newCall(service, action string, parameters ...string) *call {
	version := map[string]string{"ec2": "2016-11-15", "iam": "2010-05-08", "sts": "2011-06-15", "autoscaling": "2011-01-01"}[service]
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	return &call{Service: service, Method: http.MethodPost, Path: "/", form: form, Header: http.Header{
		"Content-Type":  {formType},
		"Authorization": {authorization(service)},
	}}
}

// parse reads the form of the query protocol, if the call is in it.
func (c *call) parse() error {
	if !strings.HasPrefix(c.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return nil
	}
	form, err := url.ParseQuery(string(c.Body))
	if err != nil {
		return fault("MalformedQueryString", "the form cannot be read: %v", err)
	}
	for name, values := range form {
		if len(values) > 1 { // of which the server behind would take another than is looked at here
			return fault("MalformedQueryString", "the parameter %.100q is there %d times", name, len(values))
		}
	}
	c.form = form
	return nil
}

// action is the operation's name; a REST call has none.
func (c *call) action() string {
	if target := c.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndexByte(target, '.')+1:]
	}
	return c.form.Get("Action")
}

// String names the call in errors and logs.
func (c *call) String() string {
	if action := c.action(); action != "" {
		return action
	}
	return c.Service + " " + c.Method + " " + c.Path
}

// reading are the beginnings of the names of actions that change nothing. Temporary credentials are not kept either.
var reading = regexp.MustCompile(`^(Describe|Get|List|Search|BatchGet|AssumeRole|DecodeAuthorization|Simulate|Validate)`)

// reads tells whether the call changes nothing that has to last.
func (c *call) reads() bool {
	if c.action() == "" {
		return c.Method == http.MethodGet || c.Method == http.MethodHead
	}
	return reading.MatchString(c.action())
}

// encoded is the body as it is sent.
func (c *call) encoded() []byte {
	if c.form == nil {
		return c.Body
	}
	return []byte(c.form.Encode())
}

// get is a parameter of the form.
func (c *call) get(name string) string { return c.form.Get(name) }

// list are the values of a form's list, Name.1, Name.2 and so on.
func (c *call) list(name string) []string {
	var values []string
	for i := 1; ; i++ {
		value, ok := c.form[fmt.Sprintf("%s.%d", name, i)]
		if !ok {
			return values
		}
		values = append(values, value[0])
	}
}

// clone copies a call whose form is going to be changed.
func (c *call) clone() *call {
	other := *c
	other.Header = c.Header.Clone()
	other.Body = bytes.Clone(c.Body)
	other.form = maps.Clone(c.form)
	return &other
}

// set changes a parameter of the form.
func (c *call) set(name, value string) { c.form.Set(name, value) }

// drop removes all parameters whose names start with one of these.
func (c *call) drop(prefixes ...string) {
	maps.DeleteFunc(c.form, func(name string, _ []string) bool {
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	})
}

// with is a copy of the call whose list of this name is these values.
func (c *call) with(name string, values ...string) *call {
	other := c.clone()
	other.drop(name + ".")
	for i, value := range values {
		other.set(fmt.Sprintf("%s.%d", name, i+1), value)
	}
	return other
}
