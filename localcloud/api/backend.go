package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
)

// answer is what the server behind answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) ok() bool { return a.status < 300 }

// exchange makes one call to the server behind. The caller holds s.gate.
func (s *Server) exchange(ctx context.Context, c *call) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, c.Method, "http://backend"+c.Path, bytes.NewReader(c.encoded()))
	if err != nil {
		return nil, err
	}
	request.Header = c.Header.Clone()
	request.Host = c.Service + "." + Region + ".amazonaws.com"
	response, err := s.backend.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the API server for %s: %w", c, err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the API server's answer to %s: %w", c, err)
	}
	if response.StatusCode >= 500 {
		// A page for people, or none at all: it met what it does not know. As an error of the server's it would make
		// SDKs try again for minutes.
		s.config.Log.Warn("the API server failed", "call", c.String(), "status", response.StatusCode, "answer", string(got[:min(len(got), 300)]))
		return nil, fault("UnsupportedOperation", "the local cloud's API server does not know this form of %s", c)
	}
	if c.form != nil {
		got = readableXML(got)
	}
	return &answer{status: response.StatusCode, header: response.Header, body: got}, nil
}

// read makes a call that changes nothing. Several may be under way at once, but none beside a change: what a change
// draws from the server's random numbers has to be the same when it is made again.
func (s *Server) read(ctx context.Context, c *call) (*answer, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.exchange(ctx, c)
}

// note makes a changing call that is not remembered, for what Start makes so again.
func (s *Server) note(ctx context.Context, c *call) (*node, error) {
	s.gate.Lock()
	defer s.gate.Unlock()
	a, err := s.exchange(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.xml()
}

// ask makes a call that changes nothing and reads its answer.
func (s *Server) ask(ctx context.Context, c *call) (*node, error) {
	a, err := s.read(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.xml()
}

// forward makes a call, which is remembered if it changes something, and reads its answer.
func (s *Server) forward(ctx context.Context, c *call) (*node, error) {
	a, err := s.passThrough(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.xml()
}

func (s *Server) passThrough(ctx context.Context, c *call) (*answer, error) {
	var a *answer
	var err error
	if c.reads() {
		a, err = s.read(ctx, c)
	} else {
		a, err = s.journal.do(ctx, s, c)
	}
	if err != nil {
		return nil, err
	}
	return a.unwrapped(c), nil
}

// unwrapped is an error of the query protocol as SDKs read it: the server behind wraps some once too often, in a list
// that only EC2 has.
func (a *answer) unwrapped(c *call) *answer {
	if a.ok() || c.Service == "ec2" || c.form == nil {
		return a
	}
	root, err := parseXML(a.body)
	if err != nil || root.at("Errors", "Error") == nil {
		return a
	}
	root.children = append([]*node{root.at("Errors", "Error")}, text("RequestId", requestID()))
	return &answer{status: a.status, header: a.header, body: root.bytes()}
}

// xml reads an answer in the query protocol, and turns an error in it into ours.
func (a *answer) xml() (*node, error) {
	root, err := parseXML(a.body)
	if err != nil {
		return nil, err
	}
	if a.ok() {
		return root, nil
	}
	failure := root.at("Errors", "Error")
	if failure == nil {
		failure = root.at("Error")
	}
	return nil, fault(failure.get("Code"), "%s", failure.get("Message"))
}

const ec2Space = "http://ec2.amazonaws.com/doc/2016-11-15/"

// reply is an answer of EC2's that is made here.
func reply(action string, children ...*node) *node {
	return &node{name: action + "Response", space: ec2Space, children: append([]*node{text("requestId", requestID())}, children...)}
}

// done is the answer of an action that has nothing to tell.
func done(action string) *node { return reply(action, text("return", "true")) }

func requestID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
