//go:build acceptance

package daemon

import (
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/servicemodel"
)

var update = flag.Bool("update", false, "write servicemodel/newer.txt anew, after the SDK or moto's root was updated")

const newerFile = "../servicemodel/newer.txt"

// theSDKIsKnown sends each of the SDK's actions with each of its members to the check of calls, as the SDK writes them.
// It knows them all: those that the model of moto's root lacks by servicemodel's list.
func (c *cloud) theSDKIsKnown(up Running) {
	// Mounts are the daemon's own.
	api := filepath.Join("/proc", strconv.Itoa(up.PID), "root", runRoot, testCloud, "mnt", "api")
	models := servicemodel.New(filepath.Join(api, servicemodel.Dir))
	if err := models.Load(); err != nil {
		c.Fatal(err)
	}
	list, err := os.ReadFile(newerFile)
	if err != nil {
		c.Fatal(err)
	}
	listed := strings.SplitAfter(string(list), "\n")
	var beside []string
	calls := c.sdkCalls()
	for _, call := range calls {
		members, err := models.Beside(call)
		if err != nil {
			c.Errorf("%s %s: %v", call.Service, call.Action(), err)
		}
		for _, member := range members {
			line := call.Service + " " + member + "\n"
			if !*update && !slices.Contains(listed, line) {
				c.Errorf("%swould be refused\nhint: run this test with -update", line)
			}
			beside = append(beside, line)
		}
	}
	c.Logf("%d actions, %d members that the model lacks", len(calls), len(beside))
	if len(calls) < 1000 {
		c.Errorf("only %d actions were sent", len(calls))
	}
	if *update {
		slices.Sort(beside)
		if err := os.WriteFile(newerFile, []byte(strings.Join(slices.Compact(beside), "")), 0o644); err != nil {
			c.Fatal(err)
		}
	}
}

// errCaught ends a call of the SDK's before it is sent.
var errCaught = errors.New("caught")

// catcher is an HTTP client that keeps a request and sends nothing.
type catcher struct {
	request *http.Request
	body    []byte
}

func (c *catcher) Do(r *http.Request) (*http.Response, error) {
	c.request, c.body = r, nil
	var err error
	if r.Body != nil {
		c.body, err = io.ReadAll(r.Body)
	}
	return nil, errors.Join(errCaught, err)
}

// sdkCalls are calls of all of the SDK's actions, each with all members.
func (c *cloud) sdkCalls() []*awsquery.Call {
	caught := &catcher{}
	config := aws.Config{
		Region:      awsquery.Region,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
		HTTPClient:  caught,
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		// A union cannot be filled: its kinds are not to be found in its type.
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			_, _ = stack.Initialize.Remove("OperationInputValidation") // which not all actions have
			return nil
		}},
	}
	var calls []*awsquery.Call
	for service, client := range map[string]any{
		"ec2":                  ec2.NewFromConfig(config),
		"iam":                  iam.NewFromConfig(config),
		"sts":                  sts.NewFromConfig(config),
		"ssm":                  ssm.NewFromConfig(config),
		"autoscaling":          autoscaling.NewFromConfig(config),
		"elasticloadbalancing": elasticloadbalancingv2.NewFromConfig(config),
	} {
		for _, action := range awsquery.Actions(service) {
			call := reflect.ValueOf(client).MethodByName(action)
			input := reflect.New(call.Type().In(1).Elem())
			fill(input.Elem(), map[reflect.Type]bool{})
			caught.request = nil
			out := call.Call([]reflect.Value{reflect.ValueOf(c.Context()), input})
			if err, _ := out[1].Interface().(error); caught.request == nil {
				c.Errorf("%s %s is not sent: %v", service, action, err)
				continue
			}
			read, err := awsquery.ReadCall(caught.request, service, caught.body)
			if err != nil {
				c.Errorf("%s %s: %v", service, action, err)
				continue
			}
			calls = append(calls, read)
		}
	}
	return calls
}

// fill gives each member of an input a value, each list and map an element. A type that holds itself is filled once.
func fill(v reflect.Value, above map[reflect.Type]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !above[v.Type().Elem()] {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), above)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
			return
		}
		above[v.Type()] = true
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), above)
			}
		}
		delete(above, v.Type())
	case reflect.Slice:
		if !above[v.Type().Elem()] {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), above)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, above)
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), value)
	case reflect.String:
		v.SetString("value")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint('x')
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1)
	}
}
