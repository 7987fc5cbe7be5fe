package ec2fake

import (
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/balancing"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/scaling"
)

// Region holds an account's resources in one region.
type Region struct {
	account *Account
	name    string
	store   *resource.Store

	compute    compute
	storage    storage
	network    network
	scaling    *scaling.State
	balancing  *balancing.State
	parameters *parameters.State
}

func newRegion(a *Account, name string) *Region {
	store := resource.NewStore(a.t, a.Behaviour, a.numbers)
	r := &Region{
		account:    a,
		name:       name,
		store:      store,
		compute:    newCompute(store),
		storage:    newStorage(store),
		network:    newNetwork(store),
		parameters: parameters.New(a.Behaviour),
	}
	r.scaling = scaling.New(store, fleet{r})
	r.balancing = balancing.New(name, store, balanced{r})
	return r
}

func (r *Region) things() []string {
	r.settle()
	return slices.Concat(r.compute.things(), r.storage.things(), r.network.things(), r.scaling.Things(),
		r.balancing.Things(), r.parameters.Things())
}

// Tag is the value of a tag on a thing, whether callers see it already or not.
func (r *Region) Tag(id, key string) string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	return r.store.Tag(id, key)
}

// SetTags gives tags to a thing, in pairs of key and value.
func (r *Region) SetTags(id string, pairs ...string) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	for pair := range slices.Chunk(pairs, 2) {
		r.store.SetTags(id, time.Time{}, []types.Tag{{Key: aws.String(pair[0]), Value: aws.String(pair[1])}})
	}
}

// Parameter is the value of a parameter, or empty.
func (r *Region) Parameter(name string) string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	return r.parameters.Value(name)
}

// SetParameter sets a parameter.
func (r *Region) SetParameter(name, value string) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.parameters.Set(name, value)
}

// ScalingGroup is an Auto Scaling group, or nil.
func (r *Region) ScalingGroup(name string) *astypes.AutoScalingGroup {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	return r.scaling.Group(name)
}

// some is a string that may be left out.
func some(text string) *string {
	if text == "" {
		return nil
	}
	return aws.String(text)
}
