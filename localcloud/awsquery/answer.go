package awsquery

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Answer is an answer as it goes to the client.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// OK tells whether the call succeeded.
func (a *Answer) OK() bool { return a.Status < 300 }

// Unwrapped is an error of the query protocol as SDKs read it: moto wraps some once too often, in a list
// that only EC2 has.
func (a *Answer) Unwrapped(c *Call) *Answer {
	if a.OK() || c.Service == "ec2" || c.Form == nil {
		return a
	}
	root, err := ParseXML(a.Body)
	if err != nil || root.At("Errors", "Error") == nil {
		return a
	}
	root.Children = append([]*Node{root.At("Errors", "Error")}, Text("RequestId", RequestID()))
	return &Answer{Status: a.Status, Header: a.Header, Body: root.Bytes()}
}

// XML reads an answer in the query protocol, and turns an error in it into ours.
func (a *Answer) XML() (*Node, error) {
	root, err := ParseXML(a.Body)
	if err != nil {
		return nil, err
	}
	if a.OK() {
		return root, nil
	}
	failure := root.At("Errors", "Error")
	if failure == nil {
		failure = root.At("Error")
	}
	return nil, &Error{Code: failure.Get("Code"), Message: failure.Get("Message"), Status: a.Status}
}

const ec2Space = "http://ec2.amazonaws.com/doc/2016-11-15/"

// Reply is an answer of EC2's that is made here.
func Reply(action string, children ...*Node) *Node {
	return &Node{
		Name:     action + "Response",
		Space:    ec2Space,
		Children: append([]*Node{Text("requestId", RequestID())}, children...),
	}
}

// Done is the answer of an action that has nothing to tell.
func Done(action string) *Node { return Reply(action, Text("return", "true")) }

// RequestID makes the id of an answer.
func RequestID() string { return uuid.NewString() }

// QueryReply is an answer of a service that puts its results into an element of their own.
func QueryReply(space string, c *Call, children ...*Node) *Node {
	return &Node{Name: c.Action() + "Response", Space: space, Children: []*Node{
		Element(c.Action()+"Result", children...), Element("ResponseMetadata", Text("RequestId", RequestID()))}}
}

// Timestamp is a time as EC2 writes it.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
