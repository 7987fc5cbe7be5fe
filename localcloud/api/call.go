package api

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// call is one request for an AWS service, as it goes to the server behind.
type call struct {
	Service string      `json:"service"`
	Method  string      `json:"method"`
	Path    string      `json:"path"` // with the query
	Header  http.Header `json:"header,omitempty"`
	Body    []byte      `json:"body,omitempty"`

	region string
	form   url.Values // of the query protocol
}

// bodyLimit is more than any call of the services that are known here needs.
const bodyLimit = 8 << 20

// forwarded are the headers that the server behind looks at.
var forwarded = []string{"Authorization", "Content-Type", "X-Amz-Target", "X-Amz-Date", "X-Amz-Security-Token", "Accept", "User-Agent"}

var credential = regexp.MustCompile(`Credential=[^/]*/[^/]*/([^/]*)/([^/]*)/aws4_request`)

// readCall reads a request into a call. An unsigned one is taken for EC2's: no client but a person's curl sends such.
func readCall(r *http.Request) (*call, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit+1))
	c := &call{Service: "ec2", Method: r.Method, Path: r.URL.RequestURI(), Header: http.Header{}, Body: body}
	for _, name := range forwarded {
		if value := r.Header.Get(name); value != "" {
			c.Header.Set(name, value)
		}
	}
	if match := credential.FindStringSubmatch(r.Header.Get("Authorization")); match != nil {
		c.region, c.Service = match[1], match[2]
	}
	if err != nil || len(body) > bodyLimit {
		return c, fault("MalformedRequest", "the request cannot be read, or is larger than %d bytes", bodyLimit)
	}
	return c, c.parse()
}

// newCall is a call of our own, in the query protocol.
func newCall(service, action string, parameters ...string) *call {
	version := map[string]string{"ec2": "2016-11-15", "iam": "2010-05-08", "sts": "2011-06-15", "autoscaling": "2011-01-01"}[service]
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	return &call{Service: service, Method: http.MethodPost, Path: "/", form: form, Header: http.Header{
		"Content-Type":  {"application/x-www-form-urlencoded; charset=utf-8"},
		"Authorization": {"AWS4-HMAC-SHA256 Credential=local/20260101/" + Region + "/" + service + "/aws4_request, SignedHeaders=host, Signature=0"},
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
	return reading.MatchString(c.action()) || c.form.Get("DryRun") == "true"
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
