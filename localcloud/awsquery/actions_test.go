package awsquery

import (
	"context"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

var update = flag.Bool("update", false, "write actions.txt anew, after the SDK was updated")

// actionsOf are all of a service's, as the SDK's client has them.
func actionsOf(client reflect.Type) []string {
	var all []string
	for i := range client.NumMethod() {
		method := client.Method(i)
		if method.Type.NumIn() != 4 || method.Type.In(1) != reflect.TypeFor[context.Context]() {
			continue
		}
		if strings.HasSuffix(method.Type.In(2).String(), method.Name+"Input") {
			all = append(all, method.Name)
		}
	}
	return all
}

// TestActions compares the names with those that the SDK has, which come from the services' models.
func TestActions(t *testing.T) {
	var lines []string
	for service, client := range map[string]reflect.Type{
		"ec2":                  reflect.TypeFor[*ec2.Client](),
		"iam":                  reflect.TypeFor[*iam.Client](),
		"sts":                  reflect.TypeFor[*sts.Client](),
		"ssm":                  reflect.TypeFor[*ssm.Client](),
		"servicequotas":        reflect.TypeFor[*servicequotas.Client](),
		"autoscaling":          reflect.TypeFor[*autoscaling.Client](),
		"elasticloadbalancing": reflect.TypeFor[*elasticloadbalancingv2.Client](),
	} {
		for _, action := range actionsOf(client) {
			lines = append(lines, service+" "+action+"\n")
		}
	}
	slices.Sort(lines)
	want := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile("actions.txt", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if actionNames != want {
		t.Error("actions.txt is not what the SDK has; go test ./localcloud/awsquery -run TestActions -update")
	}
}
