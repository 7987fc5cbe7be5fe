package awsconfig

import (
	"reflect"
	"strings"
	"testing"
)

func TestPartitions(t *testing.T) {
	for _, c := range []struct {
		region, name, principal string
		via                     any
	}{
		{"eu-central-1", "aws", "ec2.amazonaws.com", "ssm.eu-central-1.amazonaws.com"},
		{"", "aws", "ec2.amazonaws.com", nil},
		{"us-gov-west-1", "aws-us-gov", "ec2.amazonaws.com", "ssm.us-gov-west-1.amazonaws.com"},
		{"cn-north-1", "aws-cn", "ec2.amazonaws.com.cn",
			[]string{"ssm.cn-north-1.amazonaws.com", "ssm.cn-north-1.amazonaws.com.cn"}},
	} {
		p := PartitionOf(c.region)
		if p.Name != c.name || p.EC2Principal() != c.principal {
			t.Errorf("%s is in %s, with %s", c.region, p.Name, p.EC2Principal())
		}
		if got := p.ViaService("ssm", c.region); c.via != nil && !reflect.DeepEqual(got, c.via) {
			t.Errorf("%s: %v, want %v", c.region, got, c.via)
		}
		if trust := p.InstanceTrust(); !strings.Contains(trust, `"Service":"`+c.principal+`"`) {
			t.Errorf("%s: %s", c.region, trust)
		}
	}
}
