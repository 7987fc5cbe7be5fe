package api

import (
	"bytes"
	"context"
	"errors"
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

// rawInstance is an instance as the server behind has it.
func (s *Server) rawInstance(ctx context.Context, id string) (*awsquery.Node, error) {
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeInstances", "InstanceId.1", id))
	if err != nil {
		return nil, err
	}
	for _, reservation := range described.Items("reservationSet") {
		for _, item := range reservation.Items("instancesSet") {
			return item, nil
		}
	}
	return nil, awsquery.NoInstance(id)
}

// unrealError says that what was recorded could not be made real; so the record is taken back.
type unrealError struct{ err error }

func (e *unrealError) Error() string { return e.err.Error() }

func (e *unrealError) Unwrap() error { return e.err }

// livingInstances are the instances, as the server behind has them, that are not terminated.
func (s *Server) livingInstances(ctx context.Context) ([]*awsquery.Node, error) {
	question := awsquery.NewCall("ec2", "DescribeInstances", "MaxResults", everything, "Filter.1.Name", "instance-state-name").
		With("Filter.1.Value", "pending", "running", "stopping", "stopped")
	described, err := s.ask(ctx, question)
	if err != nil {
		return nil, err
	}
	var items []*awsquery.Node
	for _, reservation := range described.Items("reservationSet") {
		items = append(items, reservation.Items("instancesSet")...)
	}
	return items, nil
}

// everything is a page size for all there is: the server behind has pages of 100 unless told.
const everything = "1000000"

// first is the id of the first thing that a call describes.
func (s *Server) first(ctx context.Context, c *awsquery.Call, set, id string) (string, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return "", err
	}
	for _, item := range described.Items(set) {
		return item.Get(id), nil
	}
	return "", fmt.Errorf("%s: the API server has none", c)
}

// undo takes back in the records what could not be made real, and returns the error that says why.
func (s *Server) undo(ctx context.Context, failure error, action, parameter, id string) error {
	_, err := s.forward(ctx, awsquery.NewCall("ec2", action, parameter, id))
	return errors.Join(failure, err)
}
