package mototest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// Moto is a moto with canned answers. It fails the test on a call that it was not told.
type Moto struct {
	t       *testing.T
	address string

	mu      sync.Mutex
	Answers map[string]func(url.Values) string // by action
	calls   []string                           // changing ones
	Forms   map[string]url.Values              // the last of each action
	seeds   []string                           // as they were set
}

// unchanging answers for an empty network, which most tests do not care for.
func unchanging() map[string]func(url.Values) string {
	answers := map[string]func(url.Values) string{}
	for action, set := range map[string]string{
		"DescribeVpcs":              "vpcSet",
		"DescribeSubnets":           "subnetSet",
		"DescribeRouteTables":       "routeTableSet",
		"DescribeSecurityGroups":    "securityGroupInfo",
		"DescribeInternetGateways":  "internetGatewaySet",
		"DescribeNatGateways":       "natGatewaySet",
		"DescribeAddresses":         "addressesSet",
		"DescribeNetworkInterfaces": "networkInterfaceSet",
		"DescribeInstances":         "reservationSet",
		"DescribeVolumes":           "volumeSet",
	} {
		answers[action] = Canned("<" + set + "/>")
	}
	return answers
}

// Canned is an answer that is always the same.
func Canned(inner string) func(url.Values) string { return func(url.Values) string { return inner } }

// New starts a moto that knows these answers beside an empty network.
func New(t *testing.T, answers map[string]func(url.Values) string) *Moto {
	b := &Moto{t: t, Answers: unchanging(), Forms: map[string]url.Values{}}
	for action, answer := range answers {
		b.Answers[action] = answer
	}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.address = server.Listener.Addr().String()
	return b
}

// ServeHTTP answers a call, or sets a seed.
func (b *Moto) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seed := r.URL.Query().Get("a"); r.URL.Path == "/moto-api/seed" {
		b.seeds = append(b.seeds, seed)
		return
	}
	if r.URL.Path == "/moto-api/reset" {
		b.calls = append(b.calls, "reset")
		return
	}
	if err := r.ParseForm(); err != nil {
		b.t.Error(err)
	}
	action, form := r.PostForm.Get("Action"), r.PostForm
	if _, target, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok { // in JSON, which the answer is too
		body, err := io.ReadAll(r.Body)
		if err != nil {
			b.t.Error(err)
		}
		action, form = target, url.Values{"body": {string(body)}}
	}
	answer := b.Answers[action]
	if answer == nil {
		b.t.Errorf("moto was not told of %s %v", action, form)
		http.Error(w, "<html>", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*") // as a real one does
	w.Header().Set("Set-Cookie", "a=b")
	if !awsquery.NewCall("ec2", action).Reads() {
		b.calls = append(b.calls, action)
	}
	b.Forms[action] = form
	inner := answer(form)
	switch {
	case strings.HasPrefix(inner, "{"):
		fmt.Fprint(w, inner)
	case strings.HasPrefix(inner, "<html"):
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, inner)
	case strings.HasPrefix(inner, "<Errors"):
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "<Response>%s</Response>", inner)
	default:
		fmt.Fprintf(w, "<%[1]sResponse xmlns=\"http://ec2.amazonaws.com/doc/2013-10-15/\">%[2]s</%[1]sResponse>",
			action, inner)
	}
}

// Set gives an action another answer.
func (b *Moto) Set(action, inner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Answers[action] = Canned(inner)
}

// Form is the form of the last call of an action.
func (b *Moto) Form(action string) url.Values {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Forms[action]
}

// Changes are the actions of the changing calls, in order.
func (b *Moto) Changes() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// Forget has the changing calls and the seeds that it had so far forgotten.
func (b *Moto) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls, b.seeds = nil, nil
}

// Seeds are the seeds that were set, in order.
func (b *Moto) Seeds() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seeds)
}

// Dial connects to it, whatever the address.
func (b *Moto) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", b.address)
}
