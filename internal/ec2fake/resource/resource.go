// Package resource holds the parts that the services of the fake account share: tables of resources with ids and tags,
// which are not found for a while after they were made, and operations by their names.
//
// It knows no service. Whoever calls holds the account's lock.
package resource

import (
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

// AccountID is the account's number.
const AccountID = "123456789012"

// Behaviour has the delays and page sizes of the account's answers. Its fields are set before the first call.
type Behaviour struct {
	// Lag is how long a thing, or a tag, is not found after it was made.
	Lag time.Duration
	// Pace is how long instances, images, volumes, gateways and balancers take to get from one state to the next.
	Pace time.Duration
	// Page is how many results an answer has at most; 0 has them all in one.
	Page int
}

// Visible tells whether a resource that was made then is found now.
func (b *Behaviour) Visible(made time.Time) bool { return time.Since(made) >= b.Lag }

// Page is a part of the results, from where a token says, and the token of the next part.
func Page[T any](b *Behaviour, all []T, token *string) ([]T, *string) {
	if b.Page == 0 {
		return all, nil
	}
	from, _ := strconv.Atoi(aws.ToString(token))
	to := min(from+b.Page, len(all))
	if to == len(all) {
		return all[min(from, to):], nil
	}
	return all[from:to], aws.String(strconv.Itoa(to))
}

// Numbers are the last number of each kind that the account has given.
type Numbers map[string]int

// Next is the next number of a kind.
func (n Numbers) Next(kind string) int {
	n[kind]++
	return n[kind]
}

// ID is a new id.
func (n Numbers) ID(prefix string) string { return fmt.Sprintf("%s-%08x", prefix, n.Next(prefix)) }

// Store holds the state that all tables of a region share: tags and the numbers for new ids.
type Store struct {
	Behaviour *Behaviour
	Numbers   Numbers

	t    testing.TB
	tags map[string][]tag // by what they are on
}

// NewStore is a store without tags. The test fails when a filter is asked for that a table does not know.
func NewStore(t testing.TB, behaviour *Behaviour, numbers Numbers) *Store {
	return &Store{
		Behaviour: behaviour,
		Numbers:   numbers,
		t:         t,
		tags:      map[string][]tag{},
	}
}

// Operations are calls by their names, for a service whose state is S.
type Operations[S any] map[string]func(*S, any) (any, error)

// Join puts operations together.
func Join[S any](all ...Operations[S]) Operations[S] {
	merged := Operations[S]{}
	for _, one := range all {
		maps.Copy(merged, one)
	}
	return merged
}

// Op is an operation by the name of its input.
func Op[S, I, O any](do func(*S, *I) (*O, error)) Operations[S] {
	name := strings.TrimSuffix(reflect.TypeFor[I]().Name(), "Input")
	return Operations[S]{name: func(state *S, in any) (any, error) {
		out, err := do(state, in.(*I))
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = new(O)
		}
		return out, nil
	}}
}

// Err is an error of AWS.
func Err(row *apierror.Row, values ...any) error {
	return &smithy.GenericAPIError{Code: row.Code, Message: row.Text(values...)}
}

// Errf is an error of AWS whose text it leaves open.
func Errf(row *apierror.Row, format string, args ...any) error {
	return &smithy.GenericAPIError{Code: row.Code, Message: fmt.Sprintf(format, args...)}
}
