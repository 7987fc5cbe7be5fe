package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// exchange makes one call to the server behind. The caller holds s.gate.
func (s *Server) exchange(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	request, err := http.NewRequestWithContext(ctx, c.Method, "http://backend"+c.Path, bytes.NewReader(c.Encoded()))
	if err != nil {
		return nil, err
	}
	request.Header = c.Header.Clone()
	request.Host = c.Service + "." + awsquery.Region + ".amazonaws.com"
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
		return nil, awsquery.Fault("UnsupportedOperation", "the local cloud's API server does not know this form of %s", c)
	}
	if c.Form != nil {
		got = awsquery.ReadableXML(got)
	}
	return &awsquery.Answer{Status: response.StatusCode, Header: response.Header, Body: got}, nil
}

// read makes a call that changes nothing. Several may be under way at once, but none beside a change: what a change
// draws from the server's random numbers has to be the same when it is made again.
func (s *Server) read(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.exchange(ctx, c)
}

// note makes a changing call that is not remembered, for what Start makes so again.
func (s *Server) note(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	s.gate.Lock()
	defer s.gate.Unlock()
	a, err := s.exchange(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.XML()
}

// ask makes a call that changes nothing and reads its answer.
func (s *Server) ask(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	a, err := s.read(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.XML()
}

// forward makes a call, which is remembered if it changes something, and reads its answer.
func (s *Server) forward(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	a, err := s.passThrough(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.XML()
}

func (s *Server) passThrough(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	var a *awsquery.Answer
	var err error
	if c.Reads() {
		a, err = s.read(ctx, c)
	} else {
		a, err = s.journal.do(ctx, s, c)
	}
	if err != nil {
		return nil, err
	}
	return a.Unwrapped(c), nil
}
