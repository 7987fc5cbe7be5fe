package awsconfig

import "strings"

// Partition is the group of regions that ARNs and the names of services belong to (AWS General Reference, ARNs; IAM
// User Guide, AWS service principals).
type Partition struct {
	// Name is the second part of an ARN.
	Name string
	// Suffix ends the names of hosts and, in China, of some services.
	Suffix string
}

// PartitionOf is that of a region.
func PartitionOf(region string) Partition {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return Partition{"aws-cn", "amazonaws.com.cn"}
	case strings.HasPrefix(region, "us-gov-"):
		return Partition{"aws-us-gov", "amazonaws.com"}
	}
	return Partition{"aws", "amazonaws.com"}
}

// EC2Principal is the name by which EC2 is trusted and is passed roles.
func (p Partition) EC2Principal() string { return "ec2." + p.Suffix }

// ViaService is the value of a condition on kms:ViaService for a service in a region: a name, or a list of names. AWS
// documents the name that ends with amazonaws.com; in China the other may be used.
func (p Partition) ViaService(service, region string) any {
	name := service + "." + region + ".amazonaws.com"
	if p.Suffix == "amazonaws.com" {
		return name
	}
	return []string{name, service + "." + region + "." + p.Suffix}
}

// InstanceTrust is the policy of a role that EC2 hands out to instances.
func (p Partition) InstanceTrust() string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + p.EC2Principal() +
		`"},"Action":"sts:AssumeRole"}]}`
}
