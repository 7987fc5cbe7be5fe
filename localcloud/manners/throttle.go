package manners

import (
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// bucket holds tokens, of which each request takes one: so many, and so many more each second.
type bucket struct {
	capacity int
	refill   rate.Limit
}

// The classes of "Request throttling for the Amazon EC2 API".
var (
	readBucket       = bucket{100, 20}
	unfilteredBucket = bucket{50, 10}
	changeBucket     = bucket{50, 5}
	intensiveBucket  = bucket{50, 5}
)

// ownBuckets are actions that have a bucket of another size than others of their kind. GetConsoleOutput is in the class
// of those that take most resources by an older edition of "Troubleshooting API request errors".
var ownBuckets = map[string]bucket{
	"AssignPrivateIpAddresses":        {100, 5},
	"AssociateIamInstanceProfile":     {100, 5},
	"AuthorizeSecurityGroupIngress":   intensiveBucket,
	"CopyImage":                       {100, 1},
	"CreateDefaultSubnet":             {1, 1},
	"CreateDefaultVpc":                {1, 1},
	"CreateKeyPair":                   intensiveBucket,
	"CreateLaunchTemplateVersion":     {100, 5},
	"CreateNatGateway":                {10, 1},
	"CreateNetworkInterface":          {100, 5},
	"CreateSnapshot":                  {100, 5},
	"CreateSnapshots":                 {100, 5},
	"CreateSubnetCidrReservation":     {5, 1},
	"CreateTags":                      {100, 10},
	"CreateVolume":                    {100, 5},
	"CreateVpcEndpoint":               {4, 0.3},
	"DeleteNatGateway":                {10, 1},
	"DeleteNetworkInterface":          {100, 5},
	"DeleteSnapshot":                  {100, 5},
	"DeleteSubnetCidrReservation":     {5, 1},
	"DeleteTags":                      {100, 10},
	"DeleteVolume":                    {100, 5},
	"DeleteVpcEndpoints":              {4, 0.3},
	"DeregisterImage":                 {100, 5},
	"DescribeMovingAddresses":         {1, 1},
	"DescribeSecurityGroupReferences": {20, 5},
	"DescribeStaleSecurityGroups":     {20, 5},
	"DisassociateIamInstanceProfile":  {100, 5},
	"GetConsoleOutput":                intensiveBucket,
	"ModifyImageAttribute":            {100, 5},
	"ModifyInstanceMetadataOptions":   {100, 5},
	"ModifyLaunchTemplate":            {100, 5},
	"ModifyNetworkInterfaceAttribute": {100, 5},
	"ModifySnapshotAttribute":         {100, 5},
	"ModifyVpcEndpoint":               {4, 0.3},
	"RevokeSecurityGroupIngress":      intensiveBucket,
	"RunInstances":                    {5, 2},
	"StartInstances":                  {5, 2},
	"TerminateInstances":              {100, 5},
	"UnassignPrivateIpAddresses":      {100, 5},
}

// unfilteredActions take tokens from a smaller bucket if they are asked for without a filter and a page.
var unfilteredActions = []string{
	"DescribeInstances",
	"DescribeInstanceStatus",
	"DescribeNetworkInterfaces",
	"DescribeSecurityGroups",
	"DescribeSnapshots",
	"DescribeSpotInstanceRequests",
	"DescribeVolumes",
}

// bucketOf is the bucket of a call, with its name.
func bucketOf(c *awsquery.Call) (string, bucket) {
	action := c.Action()
	own, ok := ownBuckets[action]
	switch {
	case ok:
		return action, own
	case !c.Reads():
		return action, changeBucket
	case slices.Contains(unfilteredActions, action) && c.Get("Filter.1.Name") == "" && c.Get("MaxResults") == "" &&
		c.Get("NextToken") == "":
		return action + " unfiltered", unfilteredBucket
	}
	return action, readBucket
}

// otherBuckets are those of other services. Each is shared by the actions named, or by all of the service.
//
// Elastic Load Balancing: "Request throttling for the Elastic Load Balancing API". Parameter Store: "AWS Systems
// Manager endpoints and quotas"; of its other actions nothing is published. Of Auto Scaling and IAM is known that they
// throttle, Auto Scaling all actions together, and no number: those are ours.
var otherBuckets = map[string][]struct {
	actions []string
	size    bucket
}{
	"autoscaling":          {{nil, bucket{50, 10}}},
	"elasticloadbalancing": {{nil, bucket{40, 10}}},
	"iam":                  {{nil, bucket{30, 10}}},
	"ssm": {
		{[]string{"GetParameter", "GetParameters", "GetParametersByPath"}, bucket{40, 40}},
		{[]string{"PutParameter"}, bucket{3, 3}},
	},
}

// throttledAs are the errors of other services for one request too many.
var throttledAs = map[string]*apierror.Row{
	"autoscaling":          apierror.Throttling,
	"elasticloadbalancing": apierror.ThrottlingException,
	"iam":                  apierror.Throttling,
	"ssm":                  apierror.ThrottlingException,
}

// throttle takes a token for a call.
func (l *limits) throttle(c *awsquery.Call) error {
	if c.Service == "ec2" {
		name, size := bucketOf(c)
		if l.take(name, size) {
			return nil
		}
		return awsquery.Fault(apierror.RequestLimitExceeded)
	}
	for _, shared := range otherBuckets[c.Service] {
		if shared.actions != nil && !slices.Contains(shared.actions, c.Action()) {
			continue
		}
		if !l.take(sharedName(c.Service, shared.actions), shared.size) {
			return awsquery.Fault(throttledAs[c.Service])
		}
	}
	return nil
}

func sharedName(service string, actions []string) string {
	return service + " " + strings.Join(actions, ",")
}

// take takes a token from a bucket, if there is one.
func (l *limits) take(name string, size bucket) bool {
	l.mu.Lock()
	limiter := l.buckets[name]
	if limiter == nil {
		limiter = rate.NewLimiter(size.refill, size.capacity)
		l.buckets[name] = limiter
	}
	l.mu.Unlock()
	return limiter.Allow()
}
