package authorization

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// row says what an action of EC2's is about, where it is not just each resource whose id a parameter has. Source of the
// rows: Service Authorization Reference, Actions defined by Amazon EC2.
type row struct {
	// on are the parameters that count, or lists of them; empty is each one.
	on string
	// makes are the types of what is made, which has no id yet.
	makes string
}

var rows = map[string]row{
	"AllocateAddress":               {makes: "elastic-ip"},
	"AuthorizeSecurityGroupEgress":  {on: "GroupId"},
	"AuthorizeSecurityGroupIngress": {on: "GroupId"},
	"CopyImage":                     {makes: "image snapshot"},
	"CopySnapshot":                  {makes: "snapshot"},
	"CreateImage":                   {on: "InstanceId", makes: "image snapshot"},
	"CreateInternetGateway":         {makes: "internet-gateway"},
	"CreateKeyPair":                 {on: "KeyName"},
	"CreateLaunchTemplate":          {on: "none", makes: "launch-template"},
	"CreateLaunchTemplateVersion":   {on: "LaunchTemplateId LaunchTemplateName"},
	"CreateNatGateway":              {on: "SubnetId AllocationId", makes: "natgateway"},
	"CreateNetworkAcl":              {makes: "network-acl"},
	"CreateNetworkInterface":        {makes: "network-interface"},
	"CreateRoute":                   {on: "RouteTableId"},
	"CreateRouteTable":              {makes: "route-table"},
	"CreateSecurityGroup":           {makes: "security-group"},
	"CreateSnapshot":                {makes: "snapshot"},
	"CreateSnapshots":               {makes: "snapshot volume"},
	"CreateSubnet":                  {makes: "subnet"},
	"CreateVolume":                  {makes: "volume"},
	"CreateVpc":                     {makes: "vpc"},
	"CreateVpcEndpoint":             {makes: "vpc-endpoint"},
	"DeleteRoute":                   {on: "RouteTableId"},
	"DeleteSubnetCidrReservation":   {on: "none"},
	"DescribeImageAttribute":        {on: "ImageId"},
	"DescribeInstanceAttribute":     {on: "InstanceId"},
	"DescribeSnapshotAttribute":     {on: "SnapshotId"},
	"DescribeVolumeAttribute":       {on: "VolumeId"},
	"DescribeVpcAttribute":          {on: "VpcId"},
	"GetConsoleOutput":              {on: "InstanceId"},
	"GetConsoleScreenshot":          {on: "InstanceId"},
	"GetPasswordData":               {on: "InstanceId"},
	"ImportKeyPair":                 {on: "KeyName"},
	"RegisterImage":                 {makes: "image"},
	"ReplaceRoute":                  {on: "RouteTableId"},
	"RevokeSecurityGroupEgress":     {on: "GroupId"},
	"RevokeSecurityGroupIngress":    {on: "GroupId"},
}

// looks matches the actions of which IAM knows no resource, rows apart.
var looks = regexp.MustCompile(`^(Describe|Get|List|Search)`)

// types are EC2's resource types by the beginnings of ids.
var types = map[string]string{
	"acl":      "network-acl",
	"ami":      "image",
	"cr":       "capacity-reservation",
	"dopt":     "dhcp-options",
	"eipalloc": "elastic-ip",
	"eni":      "network-interface",
	"i":        "instance",
	"igw":      "internet-gateway",
	"key":      "key-pair",
	"lt":       "launch-template",
	"nat":      "natgateway",
	"pcx":      "vpc-peering-connection",
	"pl":       "prefix-list",
	"rtb":      "route-table",
	"sg":       "security-group",
	"sgr":      "security-group-rule",
	"snap":     "snapshot",
	"subnet":   "subnet",
	"vol":      "volume",
	"vpc":      "vpc",
	"vpce":     "vpc-endpoint",
}

// resource is one of EC2's.
type resource struct {
	kind, id string
	// name stands for the id in the ARNs of key pairs.
	name string
}

// arn is the resource's; images and snapshots may be another account's.
func (r resource) arn() string {
	owner := awsquery.Account
	if r.kind == "image" || r.kind == "snapshot" {
		owner = ""
	}
	id := r.id
	if r.name != "" {
		id = r.name
	}
	return "arn:aws:ec2:" + awsquery.Region + ":" + owner + ":" + r.kind + "/" + id
}

// resourceOf is the resource of an id; ok is false for ids of what IAM knows no resource of.
func resourceOf(id string) (r resource, ok bool) {
	if awsquery.ResourceID.FindString(id) != id || id == "" {
		return resource{}, false
	}
	kind, ok := types[id[:strings.LastIndexByte(id, '-')]]
	return resource{kind: kind, id: id}, ok
}

func (q *question) ec2(ctx context.Context) error {
	action := q.c.Action()
	switch action {
	case "RunInstances":
		return q.launch(ctx, q.c, "LaunchTemplate.")
	case "AssociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation":
		if err := q.passRole(ctx, q.c.Get("IamInstanceProfile.Name")+q.c.Get("IamInstanceProfile.Arn")); err != nil {
			return err
		}
	}
	known := rows[action]
	if looks.MatchString(action) && known.on == "" {
		q.own("*", "ec2:Region", awsquery.Region)
		return nil
	}
	named, err := q.named(ctx, known.on)
	if err != nil {
		return err
	}
	given := tagSpecifications(q.c)
	for _, kind := range strings.Fields(known.makes) {
		given[kind].asked(q.own(resource{kind: kind, id: "*"}.arn(), "ec2:Region", awsquery.Region))
	}
	if err := q.about(ctx, named, given); err != nil {
		return err
	}
	if len(q.requests) == 0 {
		q.own("*", "ec2:Region", awsquery.Region)
	}
	q.tagged(given)
	q.encrypted()
	return nil
}

// about asks for the call's action on resources that are there, with their tags.
func (q *question) about(ctx context.Context, named []resource, given map[string]tags) error {
	present, err := q.present(ctx, named)
	if err != nil {
		return err
	}
	for _, r := range named {
		context := q.own(r.arn(), "ec2:Region", awsquery.Region)
		present[r.id].of(context, "ec2")
		switch q.c.Action() {
		case "CreateTags", "DeleteTags":
			formTags(q.c, "Tag").asked(context)
		case "ImportKeyPair", "CreateKeyPair":
			given[r.kind].asked(context)
		}
	}
	return nil
}

// named are the resources that the parameters name, each once, in order of the parameters' names.
func (q *question) named(ctx context.Context, on string) ([]resource, error) {
	var all []resource
	for _, name := range slices.Sorted(maps.Keys(q.c.Form)) {
		if !counts(name, on) {
			continue
		}
		for _, value := range q.c.Form[name] {
			found, err := q.resources(ctx, name, value)
			if err != nil {
				return nil, err
			}
			for _, r := range found {
				if !slices.Contains(all, r) {
					all = append(all, r)
				}
			}
		}
	}
	return all, nil
}

// counts tells whether a parameter is one of these, or of a list of theirs.
func counts(name, on string) bool {
	if on == "" {
		return !awsquery.FreeText.MatchString(name) && !strings.HasPrefix(name, "Filter.")
	}
	first, _, _ := strings.Cut(name, ".")
	return slices.Contains(strings.Fields(on), first)
}

// associations are the calls that tell what an association's id is about, with the set and the ids in an item of it.
var associations = map[string]struct {
	action, filter, set string
	ids                 []string
}{
	"eipassoc": {"DescribeAddresses", "association-id", "addressesSet", []string{"allocationId", "networkInterfaceId"}},
	"rtbassoc": {"DescribeRouteTables", "association.route-table-association-id", "routeTableSet",
		[]string{"routeTableId"}},
}

// resources are those that a parameter's value names.
func (q *question) resources(ctx context.Context, name, value string) ([]resource, error) {
	switch name {
	case "KeyName":
		return q.keyPair(ctx, "KeyName.1", value)
	case "LaunchTemplateName":
		return q.template(ctx, value)
	}
	if awsquery.ResourceID.FindString(value) != value || value == "" {
		return nil, nil
	}
	kind := value[:strings.LastIndexByte(value, '-')]
	if kind == "key" {
		return q.keyPair(ctx, "KeyPairId.1", value)
	}
	association, ok := associations[kind]
	if !ok {
		if r, ok := resourceOf(value); ok {
			return []resource{r}, nil
		}
		return nil, nil
	}
	found, err := q.lookup(ctx, awsquery.NewCall("ec2", association.action, "Filter.1.Name", association.filter,
		"Filter.1.Value.1", value))
	if err != nil {
		return nil, err
	}
	var all []resource
	for _, item := range found.Items(association.set) {
		for _, id := range association.ids {
			if r, ok := resourceOf(item.Get(id)); ok {
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// keyPair is the key pair of a name or id. Its ARN has its name, its tags are by its id.
func (q *question) keyPair(ctx context.Context, parameter, value string) ([]resource, error) {
	found, err := q.lookup(ctx, awsquery.NewCall("ec2", "DescribeKeyPairs", parameter, value))
	if err != nil {
		return nil, err
	}
	for _, item := range found.Items("keySet") {
		return []resource{{kind: "key-pair", id: item.Get("keyPairId"), name: item.Get("keyName")}}, nil
	}
	return []resource{{kind: "key-pair", id: value, name: value}}, nil
}

// template is the launch template of a name.
func (q *question) template(ctx context.Context, name string) ([]resource, error) {
	found, err := q.lookup(ctx, awsquery.NewCall("ec2", "DescribeLaunchTemplates", "LaunchTemplateName.1", name))
	if err != nil {
		return nil, err
	}
	for _, item := range found.Items("launchTemplates") {
		if item.Get("launchTemplateName") == name {
			return []resource{{kind: "launch-template", id: item.Get("launchTemplateId")}}, nil
		}
	}
	return []resource{{kind: "launch-template", id: "*"}}, nil
}

// present are the tags of resources, by id.
func (q *question) present(ctx context.Context, of []resource) (map[string]tags, error) {
	question := awsquery.NewCall("ec2", "DescribeTags", "Filter.1.Name", "resource-id")
	n := 0
	for _, r := range of {
		if awsquery.ResourceID.FindString(r.id) == r.id && r.id != "" {
			n++
			question.Set(fmt.Sprintf("Filter.1.Value.%d", n), r.id)
		}
	}
	if n == 0 {
		return nil, nil
	}
	found, err := q.lookup(ctx, question)
	if err != nil {
		return nil, err
	}
	all := map[string]tags{}
	for _, item := range found.Items("tagSet") {
		id := item.Get("resourceId")
		all[id] = append(all[id], tag{item.Get("key"), item.Get("value")})
	}
	return all, nil
}

// tagSpecifications are the tags that a call gives what it makes, by the type of it.
func tagSpecifications(c *awsquery.Call) map[string]tags {
	all := map[string]tags{}
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("TagSpecification.%d.", i)
		kind, ok := c.Form[prefix+"ResourceType"]
		if !ok {
			return all
		}
		all[kind[0]] = append(all[kind[0]], formTags(c, prefix+"Tag")...)
	}
}

// tagged asks for ec2:CreateTags where what is made gets tags (Amazon EC2 User Guide, Grant permission to tag Amazon
// EC2 resources during creation).
func (q *question) tagged(given map[string]tags) {
	for _, kind := range slices.Sorted(maps.Keys(given)) {
		if len(given[kind]) == 0 {
			continue
		}
		context := q.ask("ec2:CreateTags", resource{kind: kind, id: "*"}.arn(), "ec2:Region", awsquery.Region,
			"ec2:CreateAction", q.c.Action())
		given[kind].asked(context)
	}
}

// encrypted asks for a key of KMS where a volume or an image is to be encrypted (Amazon EBS User Guide, Permissions to
// use KMS keys).
func (q *question) encrypted() {
	if !strings.EqualFold(q.c.Get("Encrypted"), "true") {
		return
	}
	q.ebsKey(q.c.Get("KmsKeyId"))
}

func (q *question) ebsKey(key string) {
	managed := key == "" || key == "alias/aws/ebs"
	if managed {
		key = "alias/aws/ebs"
	}
	q.useKey(key, "ec2", managed, []string{"GenerateDataKeyWithoutPlaintext"})
	q.useKey(key, "ec2", managed, []string{"CreateGrant"}, "kms:GrantIsForAWSResource", "true")
}

// launch asks for what an instance is launched of, by a form as RunInstances has it. template is the beginning of the
// parameters that name a launch template, whose data counts where the form has none.
func (q *question) launch(ctx context.Context, form *awsquery.Call, template string) error {
	c, of, err := q.launched(ctx, form, template)
	if err != nil {
		return err
	}
	given := tagSpecifications(c)
	q.makes(c, of, given)
	var named []resource
	if of != "" {
		named = append(named, resource{kind: "launch-template", id: of})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Form)) {
		if name != "ImageId" && name != "KeyName" && name != "SubnetId" && !launchParts.MatchString(name) {
			continue
		}
		var found []resource
		if found, err = q.resources(ctx, name, c.Get(name)); err != nil {
			return err
		}
		named = append(named, found...)
	}
	if !slices.ContainsFunc(named, func(r resource) bool { return r.kind == "subnet" }) {
		named = append(named, resource{kind: "subnet", id: "*"}) // one of the default VPC
	}
	present, err := q.present(ctx, named)
	if err != nil {
		return err
	}
	for _, r := range named {
		present[r.id].of(q.ask("ec2:RunInstances", r.arn(), launchKeys(of)...), "ec2")
	}
	q.tagsAtLaunch(given)
	for i := 1; c.Get(fmt.Sprintf("BlockDeviceMapping.%d.DeviceName", i)) != ""; i++ {
		ebs := fmt.Sprintf("BlockDeviceMapping.%d.Ebs.", i)
		if strings.EqualFold(c.Get(ebs+"Encrypted"), "true") {
			q.ebsKey(c.Get(ebs + "KmsKeyId"))
		}
	}
	return q.passRole(ctx, c.Get("IamInstanceProfile.Name")+c.Get("IamInstanceProfile.Arn"))
}

// tagsAtLaunch asks for tags as RunInstances does, also where a group launches.
func (q *question) tagsAtLaunch(given map[string]tags) {
	first := len(q.requests)
	q.tagged(given)
	for _, r := range q.requests[first:] {
		r.Context.Set("ec2:CreateAction", "RunInstances")
	}
}

// launchParts matches the parameters of a launch whose values are ids of what it uses.
var launchParts = regexp.MustCompile(`^((NetworkInterface\.\d+\.)?(SecurityGroupId\.\d+|SubnetId|NetworkInterfaceId)|` +
	`BlockDeviceMapping\.\d+\.Ebs\.SnapshotId)$`)

func launchKeys(template string) []string {
	keys := []string{"ec2:Region", awsquery.Region, "ec2:IsLaunchTemplateResource", "false"}
	if template != "" {
		keys = append(keys, "ec2:LaunchTemplate", arn("ec2", "launch-template/"+template))
		keys[3] = "true"
	}
	return keys
}

// makes asks for the instance, its volumes and its interface.
func (q *question) makes(c *awsquery.Call, template string, given map[string]tags) {
	own := map[string][]string{
		"instance": {
			"ec2:InstanceType", c.Get("InstanceType"),
			"ec2:MetadataHttpTokens", c.Get("MetadataOptions.HttpTokens"),
			"ec2:MetadataHttpEndpoint", c.Get("MetadataOptions.HttpEndpoint"),
			"ec2:MetadataHttpPutResponseHopLimit", c.Get("MetadataOptions.HttpPutResponseHopLimit"),
			"ec2:InstanceMarketType", c.Get("InstanceMarketOptions.MarketType"),
			"ec2:InstanceProfile", profileARN(c),
			"ec2:AvailabilityZone", c.Get("Placement.AvailabilityZone"),
			"ec2:RootDeviceType", "ebs",
		},
		"volume": {
			"ec2:Encrypted", strings.ToLower(c.Get("BlockDeviceMapping.1.Ebs.Encrypted")),
			"ec2:VolumeSize", c.Get("BlockDeviceMapping.1.Ebs.VolumeSize"),
			"ec2:VolumeType", c.Get("BlockDeviceMapping.1.Ebs.VolumeType"),
		},
	}
	for _, kind := range []string{"instance", "volume", "network-interface"} {
		context := q.ask("ec2:RunInstances", resource{kind: kind, id: "*"}.arn(),
			append(launchKeys(template), own[kind]...)...)
		given[kind].asked(context)
	}
}

func profileARN(c *awsquery.Call) string {
	if name := c.Get("IamInstanceProfile.Name"); name != "" {
		return iamARN("instance-profile/" + name)
	}
	return c.Get("IamInstanceProfile.Arn")
}

// launched is a launch with what its template says, and the template's id.
func (q *question) launched(ctx context.Context, form *awsquery.Call, prefix string) (*awsquery.Call, string, error) {
	id, name := form.Get(prefix+"LaunchTemplateId"), form.Get(prefix+"LaunchTemplateName")
	if id == "" && name == "" {
		return form, "", nil
	}
	question := awsquery.NewCall("ec2", "DescribeLaunchTemplates", "LaunchTemplateName.1", name)
	if id != "" {
		question = awsquery.NewCall("ec2", "DescribeLaunchTemplates", "LaunchTemplateId.1", id)
	}
	found, err := q.lookup(ctx, question)
	if err != nil {
		return nil, "", err
	}
	version := form.Get(prefix + "Version")
	for _, item := range found.Items("launchTemplates") {
		id = item.Get("launchTemplateId")
		switch version {
		case "", "$Default":
			version = item.Get("defaultVersionNumber")
		case "$Latest":
			version = item.Get("latestVersionNumber")
		}
	}
	whole := form.Clone()
	for name, value := range q.m.records.TemplateValues(records.Template{ID: id, Version: version}) {
		if _, given := whole.Form[name]; !given {
			whole.Form[name] = value
		}
	}
	return whole, id, nil
}
