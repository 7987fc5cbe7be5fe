// Package ec2fake is the one fake AWS account of all unit tests. The real clients of the SDK, their waiters and their
// paginators run against it: a middleware answers each call from memory, in the place of the network.
//
// It owns what the project asks of EC2, IAM, SSM, STS, Auto Scaling and Elastic Load Balancing, and no more: a call, or
// a filter, that it was not told of fails the test. It does not check permissions or quotas, does not repeat calls
// as the SDK would, and has no machines: what they say on their consoles and whether they are healthy is the test's.
// It has EC2's faults: calls that are refused, calls that are done and not answered, and things that are not found for
// a while after they were made.
package ec2fake

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/identity"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

// Number is the account's number.
const Number = resource.AccountID

// Account is an AWS account. Its fields are set before the first call.
type Account struct {
	*resource.Behaviour

	// Console returns an instance's console output; nil is for none.
	Console func(types.Instance) string
	// Offers tells whether a zone has an instance type. Without it each has all.
	Offers func(zone, instanceType string) bool
	// Quotas are the account's quotas, by their codes. It has no others.
	Quotas map[string]float64
	// Healthy tells whether an instance is for its load balancer. Without it all are.
	Healthy func(types.Instance) bool

	t        testing.TB
	mu       sync.Mutex
	region   string
	regions  map[string]*Region
	identity *identity.State
	numbers  resource.Numbers
	calls    []Call
	faults   []*fault
	watchers []watcher
	tokens   map[string]answered
}

// Call is a call that was made, whatever became of it.
type Call struct {
	// Region is the region that was called.
	Region string
	// Name is the operation's, such as RunInstances.
	Name string
	// Input is the SDK's, such as *ec2.RunInstancesInput.
	Input any
}

// answered is a call with a client token that was done.
type answered struct{ input, output any }

// New is an empty account. Who names no region is in us-east-1.
func New(t testing.TB) *Account {
	behaviour := &resource.Behaviour{}
	return &Account{
		Behaviour: behaviour,
		t:         t,
		region:    "us-east-1",
		regions:   map[string]*Region{},
		numbers:   resource.Numbers{},
		tokens:    map[string]answered{},
		identity:  identity.New(behaviour),
	}
}

// Config is an SDK configuration whose clients call this account.
func (a *Account) Config() aws.Config {
	return aws.Config{
		Region:      a.region,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAFAKE", "secret", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			// After the SDK's own checks of the input and its idempotency tokens.
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ec2fake", a.handle), middleware.After)
		}},
	}
}

// In is a region of the account.
func (a *Account) In(name string) *Region {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.in(name)
}

func (a *Account) in(name string) *Region {
	if a.regions[name] == nil {
		a.regions[name] = newRegion(a, name)
	}
	return a.regions[name]
}

// Calls are all calls that were made, in their order. With names only those of them.
func (a *Account) Calls(names ...string) []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.calls), func(c Call) bool {
		return len(names) > 0 && !slices.Contains(names, c.Name)
	})
}

// Forget forgets the calls, the faults and the watchers, as before the next run of a program.
func (a *Account) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls, a.faults, a.watchers = nil, nil, nil
}

// Things are the ids of all resources, in all regions; of roles, profiles, policies and parameters the names.
// Terminated instances and deleted resources are not among them.
func (a *Account) Things() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.identity.Things()
	for _, r := range a.regions {
		all = append(all, r.things()...)
	}
	slices.Sort(all)
	return all
}

func (a *Account) handle(
	ctx context.Context,
	in middleware.InitializeInput,
	_ middleware.InitializeHandler,
) (out middleware.InitializeOutput, metadata middleware.Metadata, err error) {
	if err = ctx.Err(); err != nil {
		return out, metadata, &smithy.CanceledError{Err: err}
	}
	region, name := awsmiddleware.GetRegion(ctx), middleware.GetOperationName(ctx)
	call := Call{region, name, in.Parameters}
	f := a.note(call)
	if f != nil && !f.Late {
		return out, metadata, f.Err
	}
	out.Result, err = a.answer(middleware.GetServiceID(ctx), call)
	a.watch(call, out.Result)
	if f != nil {
		return middleware.InitializeOutput{}, metadata, f.Err
	}
	return out, metadata, err
}

// answer does a call; one with the client token of another that was done gets that one's answer.
func (a *Account) answer(service string, call Call) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do := operations[service][call.Name]
	if do == nil {
		a.t.Errorf("ec2fake: nobody told of %s of %s: %+v", call.Name, service, call.Input)
		return nil, Errf(apierror.UnsupportedOperation, "the fake account has no %s", call.Name)
	}
	token := clientToken(call)
	if before, ok := a.tokens[token]; ok {
		if !reflect.DeepEqual(before.input, call.Input) {
			return nil, Errf(apierror.IdempotentParameterMismatch, "The client token is of another request")
		}
		return before.output, nil
	}
	output, err := do(a.in(call.Region), call.Input)
	if err == nil && token != "" {
		a.tokens[token] = answered{snapshot(call.Input), output}
	}
	return output, err
}

// clientToken identifies a call that must not be done twice; empty if it has no token.
func clientToken(call Call) string {
	field := reflect.ValueOf(call.Input).Elem().FieldByName("ClientToken")
	if !field.IsValid() || field.IsNil() {
		return ""
	}
	return call.Region + " " + call.Name + " " + field.Elem().String()
}

// snapshot is a copy of an input, whose owner may change it for the next call.
func snapshot(input any) any {
	copied := reflect.New(reflect.TypeOf(input).Elem())
	copied.Elem().Set(reflect.ValueOf(input).Elem())
	return copied.Interface()
}

// Err is an error of AWS.
func Err(row *apierror.Row, values ...any) error { return resource.Err(row, values...) }

// Errf is an error of AWS whose text it leaves open.
func Errf(row *apierror.Row, format string, args ...any) error {
	return resource.Errf(row, format, args...)
}

// AddProfile puts an instance profile with a role of its name into the account.
func (a *Account) AddProfile(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.identity.Add(name)
}

// Policy is the document of a role's policy, or empty.
func (a *Account) Policy(role, name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.identity.Policy(role, name)
}
