package moto

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// Client speaks to moto. Its calls that change something are in a journal.
type Client struct {
	http    *http.Client
	log     *slog.Logger
	journal *journal
	// gate is held alone by a change, and shared by what only reads.
	gate sync.RWMutex
}

// New makes a client that connects to moto with dial.
func New(dial func(ctx context.Context, network, address string) (net.Conn, error), log *slog.Logger) *Client {
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8, DisableCompression: true}
	return &Client{http: &http.Client{Transport: transport}, log: log}
}

// Open reads the journal; Replay makes its calls again.
func (m *Client) Open(path string) (err error) {
	m.journal, err = openJournal(path)
	return err
}

// Replay brings a fresh moto to where the journal ends.
func (m *Client) Replay(ctx context.Context) error { return m.journal.replay(ctx, m) }

// Close closes the journal.
func (m *Client) Close() error {
	if m.journal == nil {
		return nil
	}
	return m.journal.close()
}

// Journaled are the calls of the journal, in order; nobody changes them.
func (m *Client) Journaled() []*awsquery.Call {
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	calls := make([]*awsquery.Call, 0, len(m.journal.entries))
	for _, e := range m.journal.entries {
		calls = append(calls, e.Call)
	}
	return calls
}

// exchange makes one call to moto. The caller holds s.gate.
func (m *Client) exchange(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	request, err := http.NewRequestWithContext(ctx, c.Method, "http://backend"+c.Path, bytes.NewReader(c.Encoded()))
	if err != nil {
		return nil, err
	}
	request.Header = c.Header.Clone()
	request.Host = c.Service + "." + awsquery.Region + ".amazonaws.com"
	response, err := m.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask moto for %s: %w", c, err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read moto's answer to %s: %w", c, err)
	}
	if response.StatusCode >= 500 {
		// A page for people, or none at all: it met what it does not know. As an error of the server's it would make
		// SDKs try again for minutes.
		m.log.Warn("moto failed", "call", c.String(), "status", response.StatusCode, "answer",
			string(got[:min(len(got), 300)]))
		return nil, awsquery.Faultf(apierror.UnsupportedOperation,
			"the local cloud's API server does not know this form of %s", c)
	}
	if c.Form != nil {
		got = awsquery.ReadableXML(got)
	}
	return &awsquery.Answer{Status: response.StatusCode, Header: response.Header, Body: got}, nil
}

// Read makes a call that changes nothing. Several may be under way at once, but none beside a change: what a change
// draws from the server's random numbers has to be the same when it is made again.
func (m *Client) Read(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	return m.exchange(ctx, c)
}

// CallUnjournaled makes a changing call that is not remembered, for what Start makes so again.
func (m *Client) CallUnjournaled(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	m.gate.Lock()
	defer m.gate.Unlock()
	a, err := m.exchange(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.XML()
}

// Ask makes a call that changes nothing and reads its answer.
func (m *Client) Ask(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	a, err := m.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.XML()
}

// Forward makes a call, which is remembered if it changes something, and reads its answer.
func (m *Client) Forward(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	a, err := m.PassThrough(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.XML()
}

// PassThrough makes a call, which is remembered if it changes something.
func (m *Client) PassThrough(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	var a *awsquery.Answer
	var err error
	if c.Reads() {
		a, err = m.Read(ctx, c)
	} else {
		a, err = m.journal.do(ctx, m, c)
	}
	if err != nil {
		return nil, err
	}
	return a.Unwrapped(c), nil
}

// Instance is an instance as moto has it.
func (m *Client) Instance(ctx context.Context, id string) (*awsquery.Node, error) {
	described, err := m.Ask(ctx, awsquery.NewCall("ec2", "DescribeInstances", "InstanceId.1", id))
	if err != nil {
		return nil, err
	}
	for _, reservation := range described.Items("reservationSet") {
		for _, item := range reservation.Items("instancesSet") {
			return item, nil
		}
	}
	return nil, awsquery.Fault(apierror.InvalidInstanceIDNotFound, id)
}

// UnrealError says that what was recorded could not be made real; so the record is taken back.
type UnrealError struct{ Err error }

// Error says what failed.
func (e *UnrealError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnrealError) Unwrap() error { return e.Err }

// LivingInstances are the instances, as moto has them, that are not terminated.
func (m *Client) LivingInstances(ctx context.Context) ([]*awsquery.Node, error) {
	question := awsquery.NewCall("ec2", "DescribeInstances", "MaxResults", Everything,
		"Filter.1.Name", "instance-state-name").
		With("Filter.1.Value", "pending", "running", "stopping", "stopped")
	described, err := m.Ask(ctx, question)
	if err != nil {
		return nil, err
	}
	var items []*awsquery.Node
	for _, reservation := range described.Items("reservationSet") {
		items = append(items, reservation.Items("instancesSet")...)
	}
	return items, nil
}

// Everything is a page size for all there is: moto has pages of 100 unless told.
const Everything = "1000000"

// First is the id of the first thing that a call describes.
func (m *Client) First(ctx context.Context, c *awsquery.Call, set, id string) (string, error) {
	described, err := m.Ask(ctx, c)
	if err != nil {
		return "", err
	}
	for _, item := range described.Items(set) {
		return item.Get(id), nil
	}
	return "", fmt.Errorf("%s: moto has none", c)
}

// Undo takes back in the records what could not be made real, and returns the error that says why.
func (m *Client) Undo(ctx context.Context, failure error, action, parameter, id string) error {
	_, err := m.Forward(ctx, awsquery.NewCall("ec2", action, parameter, id))
	return errors.Join(failure, err)
}
