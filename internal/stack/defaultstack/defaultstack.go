// Package defaultstack makes the tiers of the default stack from a stack file: db, a database, and web, a page that
// needs it. It is the one place that knows their names, their ports and their parameters.
package defaultstack

import (
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Names of the tiers.
const (
	Database = "db"
	Web      = "web"
)

const mysqlPort = 3306

// New returns the stack that a file describes. logf is told what goes on, a line at a time.
func New(conf aws.Config, file *stackfile.File, logf func(format string, args ...any)) *stack.Stack {
	settings := stack.Settings{
		Network:             file.Network,
		Operator:            file.Operator,
		Deploy:              file.Deploy,
		PermissionsBoundary: file.PermissionsBoundary,
	}
	return stack.New(conf, file.Name, settings, Tiers(file), logf)
}

// Named returns the default stack under a name, for those who have no stack file and only look, or prove images in it.
func Named(conf aws.Config, name string, logf func(format string, args ...any)) (*stack.Stack, error) {
	file, err := stackfile.Named(name)
	if err != nil {
		return nil, err
	}
	return New(conf, file, logf), nil
}

// Tiers are those of a stack file, in the order in which they are deployed.
func Tiers(file *stackfile.File) []stack.Tier {
	db := tierOf(Database, "Database", stack.DataTier, file.Database.Tier)
	db.Ingress = append([]stack.Ingress{
		{Protocol: "tcp", Port: 22, Tier: Web},
		{Protocol: "tcp", Port: mysqlPort, Tier: Web},
		{Protocol: "icmp", Port: -1, Tier: Web},
	}, db.Ingress...)
	db.Reads = []string{"/db/app_password", "/db/ca", "/db/ca_key"}
	db.Data = stack.Data{
		Address:   file.Database.ServiceAddress,
		Port:      mysqlPort,
		Volume:    file.Database.DataVolume,
		ProbeName: "database",
	}
	web := tierOf(Web, "Web", stack.ServiceTier, file.Web.Tier)
	web.Ingress = append([]stack.Ingress{
		{Protocol: "tcp", Port: 22, Tier: stack.FromOperator},
		{Protocol: "tcp", Port: 80, Tier: stack.FromAnywhere},
		{Protocol: "tcp", Port: 443, Tier: stack.FromAnywhere},
	}, web.Ingress...)
	web.Reads = []string{"/db/app_password", "/db/ca", "/web/tls_certificate", "/web/tls_key"}
	web.Needs = []string{Database}
	web.Service = stack.Service{
		Count: file.Web.Count,
		Group: file.Web.Scaling == "asg",
		Ports: []int32{443, 80},
		Probe: file.HealthCheck,
	}
	return []stack.Tier{db, web}
}

// tierOf makes a stack.Tier of the fields that both tiers of a stack file have.
func tierOf(name, title string, kind stack.Kind, file stackfile.Tier) stack.Tier {
	t := stack.Tier{
		Name:         name,
		Title:        title,
		Kind:         kind,
		Subnet:       file.Subnet,
		InstanceType: file.InstanceType,
		Release:      file.Release,
		Image:        file.AMI,
		UserData:     file.UserData,
		Tags:         file.Tags,
	}
	for _, r := range file.Rules {
		t.Ingress = append(t.Ingress, stack.Ingress{
			Protocol:    r.Protocol,
			Port:        r.Port,
			Tier:        r.FromTier,
			CIDR:        r.CIDR,
			Description: r.Description,
		})
	}
	return t
}
