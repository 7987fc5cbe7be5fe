package trail

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// Event is one call. Its members have the names of CloudTrail's records, where there is such a one, so that what reads
// those reads these.
type Event struct {
	Time      time.Time `json:"eventTime"`
	Source    string    `json:"eventSource"` // the service, ec2.amazonaws.com for example
	Name      string    `json:"eventName"`   // the action
	Identity  Identity  `json:"userIdentity"`
	Address   string    `json:"sourceIPAddress"`
	UserAgent string    `json:"userAgent"`
	// Parameters are all parameters of the call. The value of one that is no id and no name is Hidden.
	Parameters map[string]string `json:"requestParameters,omitempty"`
	// Resources are the ids that the call names and, where it makes something, those that the answer does.
	Resources []string `json:"resources,omitempty"`
	// Authorization are the requests that AWS's IAM would decide on: all of them must be allowed.
	Authorization []policyeval.Request `json:"authorization,omitempty"`
	// ErrorCode is that of the answer; a call that was carried out has none.
	ErrorCode string `json:"errorCode,omitempty"`
	// Attempt is the number that the client's SDK gives this try of a call, from 1; 0 where it gives none.
	Attempt int `json:"attempt,omitempty"`
	// Took is how long the answer took, in milliseconds.
	Took float64 `json:"tookMilliseconds"`

	changes bool // something, so that the answer may tell what it made
}

// Identity tells who called.
type Identity struct {
	ARN string `json:"arn,omitempty"` // of a call with a good signature
}

// Service is the call's service as IAM's actions have it.
func (e Event) Service() string { return strings.TrimSuffix(e.Source, domain) }

// Action is the call as IAM and people write it, ec2:RunInstances for example.
func (e Event) Action() string { return e.Service() + ":" + e.Name }

const domain = ".amazonaws.com"

// Hidden stands for a value that the trail does not keep.
const Hidden = "HIDDEN"

// What a caller may fill the trail with is bounded: a call may have eight megabytes.
const (
	mostParameters = 200
	longestName    = 100
	longestValue   = 256
	mostResources  = 50
)

// EventOf is a call that begins now. Of a call that was not admitted c has no more than the service. What carries the
// call out may change c, so it is asked before.
func EventOf(r *http.Request, c *awsquery.Call) *Event {
	e := &Event{
		Time:      time.Now(),
		Source:    shortened(c.Service, longestName) + domain,
		Name:      nameOf(c),
		Identity:  Identity{ARN: c.Caller.ARN},
		Address:   r.RemoteAddr,
		UserAgent: shortened(r.UserAgent(), longestValue),
		changes:   !c.Reads(),
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		e.Address = host
	}
	// The SDKs' own header: "attempt=1; max=5". What is no number leaves 0.
	_, _ = fmt.Sscanf(r.Header.Get("Amz-Sdk-Request"), "attempt=%d", &e.Attempt)
	e.Parameters = parametersOf(c)
	e.Resources = resourcesOf(c, e.Parameters)
	return e
}

// End adds how the call was answered.
func (e *Event) End(a *awsquery.Answer, err error) {
	e.ErrorCode = errorCode(a, err)
	e.Took = float64(time.Since(e.Time).Microseconds()) / 1000
	e.Time = e.Time.UTC()
	if e.changes && a != nil && a.OK() {
		for _, match := range madeID.FindAllSubmatch(a.Body, mostResources) {
			e.Resources = append(e.Resources, string(match[1]))
		}
	}
	slices.Sort(e.Resources)
	e.Resources = slices.Compact(e.Resources)
	e.Resources = e.Resources[:min(len(e.Resources), mostResources)]
}

// nameOf is the action. The REST service EBS direct has none in its calls; its method and path say as much.
func nameOf(c *awsquery.Call) string {
	if action := c.Action(); action != "" {
		return shortened(action, longestName)
	}
	path, _, _ := strings.Cut(c.Path, "?")
	return shortened(c.Method+" "+path, longestName)
}

// told matches the ends of the names of parameters whose values are ids, names, kinds, places and switches. All others
// are hidden, those too that nobody thought of: user data, a parameter's value, a policy, a key.
var told = regexp.MustCompile(`(^|\.)(Filters?\.(member\.)?\d+\.Values?|Tags?(\.member)?\.\d+\.Key|TagKeys?|` +
	`NextToken|DryRun|MinCount|MaxCount|MaxResults|MaxRecords|Overwrite|WithDecryption|Recursive|Latest|Owner|` +
	`Attribute|State|Force|Encrypted|Tier|Protocol|IpProtocol|FromPort|ToPort|\w*Region|\w*Zone|` +
	`\w*Path|\w*PathPrefix|` +
	`\w*(Cidr|CidrIp|CidrBlock)|\w*(Id|ID|Ids|IDs|Name|Names|Arn|ARN|Arns|ARNs|Type|Types)|PublicIp|` +
	`PrivateIpAddress|SecurityGroups?|Subnets?|TargetGroups?|Granularity|Mode|Resource|Resources)$`)

// secret matches the names of parameters that end like those and may hold anything.
var secret = regexp.MustCompile(`(^|\.)ExternalId$|^Value\.`)

// index matches the number of an element of a list at the end of a parameter's name.
var index = regexp.MustCompile(`(\.member)?\.\d+$`)

// parametersOf are the parameters of a call, with the values that may be told.
func parametersOf(c *awsquery.Call) map[string]string {
	all := map[string]string{}
	for name, values := range c.Form {
		if name != "Action" && name != "Version" && len(values) > 0 {
			all[name] = values[0]
		}
	}
	if awsquery.JSONServices[c.Service] {
		var body map[string]any
		if json.Unmarshal(c.Body, &body) == nil {
			flatten(all, "", body, 0)
		}
	}
	kept := make(map[string]string, min(len(all), mostParameters))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if len(kept) == mostParameters {
			break
		}
		value := Hidden
		if told.MatchString(index.ReplaceAllString(name, "")) && !secret.MatchString(name) {
			value = shortened(all[name], longestValue)
		}
		kept[shortened(name, longestName)] = value
	}
	return kept
}

// flatten writes a JSON object's members as the query protocol does, Tags.1.Key for example.
func flatten(into map[string]string, name string, value any, depth int) {
	const deepest = 8
	if depth > deepest || len(into) > 2*mostParameters {
		return
	}
	if name != "" {
		name += "."
	}
	switch value := value.(type) {
	case map[string]any:
		for member, inner := range value {
			flatten(into, name+member, inner, depth+1)
		}
	case []any:
		for i, inner := range value {
			flatten(into, fmt.Sprintf("%s%d", name, i+1), inner, depth+1)
		}
	case nil:
	default:
		into[strings.TrimSuffix(name, ".")] = fmt.Sprint(value)
	}
}

// resourcesOf are the ids of EC2's in the parameters that are told, and in the path.
func resourcesOf(c *awsquery.Call, parameters map[string]string) []string {
	found := awsquery.ResourceID.FindAllString(c.Path, mostResources)
	for _, value := range parameters {
		if awsquery.IsResourceID(value) {
			found = append(found, value)
		}
	}
	return found
}

// madeID matches an id as the whole content of an element.
var madeID = regexp.MustCompile(`>([a-z]+(?:-[a-z]+)*-[0-9a-f]{8,17})<`)

// codeIn matches the code in an answer of moto's.
var codeIn = regexp.MustCompile(`<Code>([^<]{1,100})</Code>|"__type":\s*"(?:[^"#]*#)?([^"]{1,100})"`)

// errorCode is the code of a call that failed.
func errorCode(a *awsquery.Answer, err error) string {
	if err != nil {
		return awsquery.CodeOf(err)
	}
	if a == nil || a.OK() {
		return ""
	}
	if match := codeIn.FindSubmatch(a.Body); match != nil {
		return string(match[1]) + string(match[2])
	}
	return fmt.Sprintf("status %d", a.Status)
}

// shortened is the beginning of a text.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
